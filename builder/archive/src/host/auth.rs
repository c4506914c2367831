//! Logins for archives and proxies, in the form of .netrc.
//!
//! ```text
//! machine https://mirror.example:8443/private login apt password secret
//! ```
//! See <https://manpages.debian.org/apt_auth.conf.5>: tokens in any layout, unknown ones ignored, `#` comments.

use coremax_fetch::{Login, Secret};

/// Reads the text of one file; what is not understood is ignored, as apt does.
pub fn parse(text: &str) -> Vec<Login> {
    let mut logins: Vec<Login> = Vec::new();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut tokens = lines.flat_map(str::split_ascii_whitespace);
    while let Some(token) = tokens.next() {
        match (token, logins.last_mut()) {
            ("machine", _) => logins.extend(tokens.next().map(login_of)),
            ("login", Some(login)) => login.user = tokens.next().unwrap_or_default().to_owned(),
            ("password", Some(login)) => {
                login.password = Secret(tokens.next().unwrap_or_default().to_owned());
            }
            _ => {}
        }
    }
    logins
}

/// `[protocol://]hostname[:port][/path]`.
fn login_of(machine: &str) -> Login {
    let (scheme, rest) = machine.split_once("://").unwrap_or(("", machine));
    let (machine, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Login {
        scheme: scheme.to_owned(),
        machine: machine.to_owned(),
        path: path.to_owned(),
        user: String::new(),
        password: Secret::default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layouts_of_the_manual_page() {
        let text = "# mine\nmachine example.org\nlogin apt\npassword debian\n\
                    machine http://m.example:80/deb login a macdef x password b # c\n";
        let logins = parse(text);
        let parts: Vec<_> = logins
            .iter()
            .map(|l| [&l.scheme, &l.machine, &l.path, &l.user, &l.password.0].map(String::as_str))
            .collect();
        assert_eq!(
            parts,
            [["", "example.org", "", "apt", "debian"], ["http", "m.example:80", "/deb", "a", "b"]]
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "((machine|login|password|://|/|[a-zé#\n ]){0,3} ?){0,8}") {
            parse(&text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn reads_what_is_written(
            scheme in "(https?)?", machine in "[a-z]{1,9}\\.example(:[0-9]{1,5})?", path in "(/[a-z]{1,5})?",
            user in "[!-\"$-~]{1,9}", password in "[!-\"$-~]{1,9}",
        ) {
            let prefix = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
            let text = format!("machine {prefix}{machine}{path}\n  login {user} password {password}\n");
            let wanted = Login { scheme, machine, path, user, password: Secret(password) };
            prop_assert_eq!(parse(&text), vec![wanted]);
        }
    }
}
