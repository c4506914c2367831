//! The few settings that every system has: its name, its time zone, its language.

use std::path::{Path, PathBuf};

use coremax_sandbox::{Cmd, Sandbox};

use crate::{Error, tree::Tree};

/// Settings of a tree; what is not given stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The host's name.
    pub hostname: Option<String>,
    /// A name of the time zone database, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// Such as `C.UTF-8` or `de_DE.UTF-8`; the second kind needs the package locales.
    pub locale: Option<String>,
}

/// The longest host name. Set by Linux (HOST_NAME_MAX).
const MAX_HOSTNAME_BYTES: usize = 64;

/// Applies the settings.
///
/// # Errors
/// Where a value is wrong or not in the tree, or the tree cannot be written.
pub fn apply_settings(tree: &Path, settings: &Settings) -> Result<(), Error> {
    let opened = Tree::open(tree)?;
    if let Some(name) = &settings.hostname {
        set_hostname(&opened, name)?;
    }
    if let Some(zone) = &settings.timezone {
        set_timezone(&opened, zone)?;
    }
    if let Some(locale) = &settings.locale {
        set_locale(tree, &opened, locale)?;
    }
    Ok(())
}

fn set_hostname(tree: &Tree, name: &str) -> Result<(), Error> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() > MAX_HOSTNAME_BYTES || !name.split('.').all(label) {
        return Err(wrong("setting the host name", name, "it is no host name"));
    }
    tree.write(Path::new("etc/hostname"), format!("{name}\n").as_bytes(), 0o644)?;
    let short = name.split('.').next().unwrap_or(name);
    let own = if short == name { name.to_owned() } else { format!("{name} {short}") };
    let hosts = format!(
        "127.0.0.1 localhost\n127.0.1.1 {own}\n\n::1 localhost ip6-localhost ip6-loopback\n\
         ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
    );
    tree.write(Path::new("etc/hosts"), hosts.as_bytes(), 0o644)
}

fn set_timezone(tree: &Tree, zone: &str) -> Result<(), Error> {
    let plain = zone
        .split('/')
        .all(|part| !part.is_empty() && part != ".." && !part.contains(['\0', '\n']));
    let file = Path::new("usr/share/zoneinfo").join(zone);
    // A folder of zones is none.
    if !plain || tree.read(&file).is_err() {
        return Err(wrong("setting the time zone", zone, "the tree has no such zone"));
    }
    tree.write(Path::new("etc/timezone"), format!("{zone}\n").as_bytes(), 0o644)?;
    tree.link(Path::new("etc/localtime"), &Path::new("/").join(file))
}

fn set_locale(path: &Path, tree: &Tree, locale: &str) -> Result<(), Error> {
    let plain = !locale.is_empty()
        && locale.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.@-".contains(&b));
    if !plain {
        return Err(wrong("setting the locale", locale, "it is no name of a locale"));
    }
    if !matches!(locale, "C" | "POSIX" | "C.UTF-8" | "C.utf8") {
        make_locale(path, tree, locale)?;
    }
    tree.write(Path::new("etc/default/locale"), format!("LANG={locale}\n").as_bytes(), 0o644)
}

/// Compiles a locale, and notes it where locale-gen will find it after an update.
fn make_locale(path: &Path, tree: &Tree, locale: &str) -> Result<(), Error> {
    let (name, charset) = locale.split_once('.').unwrap_or((locale, "UTF-8"));
    let source = PathBuf::from(format!("usr/share/i18n/locales/{name}"));
    if !tree.exists(&source)? {
        let problem = "the tree cannot make it: it needs the package locales";
        return Err(wrong("setting the locale", locale, problem));
    }
    let list = Path::new("etc/locale.gen");
    let line = format!("{locale} {charset}\n");
    let mut text = if tree.exists(list)? { tree.read(list)? } else { Vec::new() };
    if !String::from_utf8_lossy(&text).lines().any(|known| known == line.trim_end()) {
        text.extend_from_slice(line.as_bytes());
        tree.write(list, &text, 0o644)?;
    }
    Cmd::new("localedef", &Sandbox::tree(path))
        .args(["-i", name, "-f", charset, "-A", "/usr/share/locale/locale.alias", locale])
        .run()
        .map(drop)
        .map_err(|source| Error::Program { program: "localedef".into(), source })
}

fn wrong(operation: &'static str, name: &str, problem: &str) -> Error {
    Error::Account { operation, name: name.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn settings_are_written_or_refused() {
        let tree = tempfile::tempdir().unwrap();
        for folder in ["etc/default", "usr/share/zoneinfo/Europe"] {
            fs::create_dir_all(tree.path().join(folder)).unwrap();
        }
        fs::write(tree.path().join("usr/share/zoneinfo/Europe/Berlin"), "").unwrap();
        let set = |hostname: &str, zone: &str, locale: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let settings =
                Settings { hostname: some(hostname), timezone: some(zone), locale: some(locale) };
            apply_settings(tree.path(), &settings)
        };
        set("node.example", "Europe/Berlin", "C.UTF-8").unwrap();
        set("node.example", "Europe/Berlin", "C.UTF-8").unwrap();
        let read = |name: &str| fs::read_to_string(tree.path().join(name)).unwrap();
        assert_eq!(read("etc/hostname"), "node.example\n");
        assert!(read("etc/hosts").contains("127.0.1.1 node.example node\n"));
        assert_eq!(read("etc/default/locale"), "LANG=C.UTF-8\n");
        let link = fs::read_link(tree.path().join("etc/localtime")).unwrap();
        assert_eq!(link, Path::new("/usr/share/zoneinfo/Europe/Berlin"));
        for (hostname, zone, locale) in [
            ("a b", "", ""),
            ("-a", "", ""),
            ("", "Europe/Nowhere", ""),
            ("", "Europe", ""),
            ("", ".", ""),
            ("", "../../etc/hostname", ""),
            ("", "", "de_DE.UTF-8"),
            ("", "", "x;y"),
        ] {
            assert!(set(hostname, zone, locale).is_err(), "{hostname} {zone} {locale}");
        }
    }
}
