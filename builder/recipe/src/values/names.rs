//! Names, paths and other texts of a fixed form.
//!
//! Each form is one regular expression: the type is checked with it, and an editor gets the same one
//! through the schema. What an expression cannot say stands in the function named after `and`.

use std::{fmt, str::FromStr, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex_lite::Regex;

use super::{BadValue, TextValue, text_value};

/// Longest absolute path: Linux's PATH_MAX without the closing NUL.
const MAX_PATH: usize = 4095;
/// Longest unit name, from systemd.unit(5).
const MAX_UNIT: usize = 255;

/// Defines text newtypes: doc, name, kind with its article, pattern, the form in words, a further check.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $kind:literal, $pattern:literal, $form:literal $(, and $check:expr)?;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TextValue for $name {
            const KIND: &'static str = $kind;
            const PATTERN: &'static str = $pattern;
        }

        impl FromStr for $name {
            type Err = BadValue;

            fn from_str(text: &str) -> Result<Self, BadValue> {
                static FORM: LazyLock<Regex> = LazyLock::new(|| whole($pattern));
                if FORM.is_match(text) $(&& $check(text))? {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(BadValue::new(text, $kind, $form))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        text_value!($name);
    )+};
}

names! {
    /// A recipe's name, which names its folder in `images/` and, unless said otherwise, its host.
    RecipeName: "a recipe's name", "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "write lower-case letters, digits and inner hyphens, 63 at most";
    /// A part's name: the file `parts/NAME.toml` beside the recipe.
    PartName: "a part's name", "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "write lower-case letters, digits and inner hyphens, without `.toml`";
    /// What tells one result of a recipe from another; it names the result's folder.
    Version: "a version", "[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}",
        "write letters, digits and . + _ -, beginning with a letter or digit, \
         neither `failed` nor `latest` nor ending in `.untested`", and free_version;
    /// A binary package without architecture, Debian Policy 5.6.7.
    PackageName: "a package name", "[a-z0-9][a-z0-9+.-]+",
        "write lower-case letters, digits and + . -, two at least";
    /// A systemd unit with its suffix, systemd.unit(5).
    UnitName: "a unit name",
        r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.(service|socket|target|timer|path|mount|automount|swap|slice)",
        "write it with its suffix, as in `ssh.service`", and |text: &str| text.len() <= MAX_UNIT;
    /// A user, in the form Debian's useradd(8) takes.
    UserName: "a user name", "[a-z_][a-z0-9_-]{0,31}",
        "write lower-case letters, digits, _ and -, 32 at most, beginning with a letter or _";
    /// A group, in the form Debian's groupadd(8) takes.
    GroupName: "a group name", "[a-z_][a-z0-9_-]{0,31}",
        "write lower-case letters, digits, _ and -, 32 at most, beginning with a letter or _";
    /// A user's full name as passwd(5) keeps it.
    Gecos: "a user's full name", r"[^:\x00-\x1f\x7f]*", "write it on one line, without a colon";
    /// A host name of one label, RFC 1123.
    HostName: "a host name", "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "write one label of lower-case letters, digits and inner hyphens, 63 at most";
    /// A time zone below /usr/share/zoneinfo.
    TimeZone: "a time zone", "[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "write it as in `Etc/UTC`";
    /// A locale. `C.UTF-8` is in every image; others need the package that holds them.
    Locale: "a locale", "[A-Za-z][A-Za-z0-9_.@-]*", "write it as in `C.UTF-8`";
    /// An absolute path in the image, in its shortest form.
    AbsolutePath: "an absolute path", r"(/[^/\x00-\x1f\x7f]+)+",
        "begin with / and go without `.`, `..`, doubled and closing slashes", and plain_path;
    /// A path on the building machine; relative ones start at the folder that holds `recipes/`.
    SourcePath: "a path", r"[^\x00-\x1f\x7f]+", "write the path of a file or folder";
    /// One argument of the kernel's command line. The characters are those that no boot loader reads
    /// as its own syntax.
    KernelArgument: "a kernel argument", r"[A-Za-z0-9_.,:=/@+%~*!\[\]-]+",
        "write one argument without blanks and quotes, as in `console=ttyS0,115200n8`";
    /// The root of an archive mirror.
    MirrorUrl: "a mirror's URL", r#"(https?://[^/\s"'<>]+(/[^\s"'<>]*)?|file:///[^\s"'<>]*)"#,
        "write http://, https:// or file:/// and what follows";
    /// What messages and files call an additional archive.
    ArchiveName: "an archive's name", "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "write lower-case letters, digits and inner hyphens";
    /// A suite or codename of an archive: `stable-backports`.
    SuiteName: "a suite", "[A-Za-z0-9][A-Za-z0-9.+_-]*(/[A-Za-z0-9][A-Za-z0-9.+_-]*)*",
        "write it as in `stable-backports`";
    /// A component of a suite: `main`.
    ComponentName: "a component", "[A-Za-z0-9][A-Za-z0-9.+_-]*(/[A-Za-z0-9][A-Za-z0-9.+_-]*)*",
        "write it as in `main`";
    /// A public key as a line of authorized_keys, sshd(8): kind, base64, comment. Options are refused.
    SshKey: "a public SSH key",
        r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+={0,2}( [^\x00-\x1f\x7f]*)?",
        "write the one line of a .pub file", and key_of_its_kind;
}

fn whole(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "every pattern is in this file and tested below")]
    Regex::new(&format!(r"\A(?:{pattern})\z")).expect("a pattern of this file")
}

/// Publishing uses these forms itself.
fn free_version(text: &str) -> bool {
    !matches!(text, "failed" | "latest") && !text.ends_with(".untested")
}

fn plain_path(text: &str) -> bool {
    text.len() <= MAX_PATH && text.split('/').all(|name| name != "." && name != "..")
}

/// A key's blob begins with its kind again (RFC 4253, 6.6), so that a key cut in pasting is noticed.
fn key_of_its_kind(text: &str) -> bool {
    let mut fields = text.split(' ');
    let (Some(kind), Some(blob)) = (fields.next(), fields.next()) else { return false };
    let Ok(blob) = STANDARD.decode(blob) else { return false };
    let mut rest = blob.as_slice();
    let mut strings = std::iter::from_fn(|| {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (string, after) = after.split_at_checked(length)?;
        rest = after;
        Some(string)
    });
    let same = strings.next() == Some(kind.as_bytes());
    let more = strings.count();
    same && more > 0 && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn check<T: FromStr + fmt::Display>(good: &[&str], bad: &[&str])
    where
        T::Err: fmt::Debug,
    {
        for text in good {
            assert_eq!(text.parse::<T>().unwrap().to_string(), *text);
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn each_form_takes_its_own_and_refuses_the_rest() {
        let long = "a".repeat(64);
        check::<RecipeName>(
            &["a", "node-2", &long[1..]],
            &["", "-a", "a-", "A", "a.b", "../x", &long],
        );
        check::<PartName>(&["base"], &["base.toml", "../base", "a/b"]);
        check::<Version>(
            &["2026.11.22", "1.0+a_b-c"],
            &["", ".1", "failed", "latest", "1.untested", "1/2", "1 2", "1\n"],
        );
        check::<PackageName>(
            &["g++", "libc6", "0ad"],
            &["", "x", "Foo", "foo:amd64", "foo=1", "a\n"],
        );
        check::<UnitName>(
            &["ssh.service", "serial-getty@ttyS0.service", "getty@.service", r"dev-\x2d.mount"],
            &[
                "ssh",
                "",
                ".service",
                "a b.service",
                "a@b@c.service",
                "x.scope",
                &format!("{}.service", "a".repeat(248)),
            ],
        );
        check::<UserName>(&["root", "_apt", "a-1"], &["", "1a", "Root", "a:b", &long]);
        check::<Gecos>(&["", "Ada L., room 1"], &["a:b", "a\nb"]);
        check::<HostName>(&["n", "node-1"], &["", "a.b", "-", "n_1"]);
        check::<TimeZone>(&["Etc/UTC", "Etc/GMT+1", "UTC"], &["", "/etc", "../x", "a//b"]);
        check::<Locale>(&["C.UTF-8", "de_DE@euro"], &["", "a/b", "C\n"]);
        check::<AbsolutePath>(
            &["/etc/motd", "/a b", "/é"],
            &[
                "",
                "/",
                "etc",
                "/a/",
                "//a",
                "/a/../b",
                "/.",
                "/a\0",
                "/a\nb",
                &format!("/{}", "a".repeat(4095)),
            ],
        );
        check::<KernelArgument>(
            &["quiet", "console=ttyS0,115200n8", "root=/dev/vda1"],
            &["", "a b", "a\"b", "a;b", "$a", "a\nb"],
        );
        check::<MirrorUrl>(
            &["http://mirror.example/debian", "https://mirror.example:8443", "file:///srv/debian"],
            &["", "mirror.example", "ftp://mirror.example", "http://", "http:///x", "http://a b"],
        );
        check::<SuiteName>(
            &["bookworm-backports", "bookworm-updates/main"],
            &["", "/", "a/../b", ".."],
        );
    }

    #[test]
    fn ssh_keys_are_whole() {
        let commented = format!("{KEY} ada@desk one");
        let cut = &KEY[..KEY.len() - 8];
        let other_kind = KEY.replace("ssh-ed25519 ", "ssh-rsa ");
        let options = format!("no-pty {KEY}");
        let two_lines = format!("{KEY}\n{KEY}");
        check::<SshKey>(
            &[KEY, &commented],
            &["", "ssh-ed25519", "ssh-ed25519 AAAA", cut, &other_kind, &options, &two_lines],
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken_whole_or_refused(text in "\\PC{0,40}|[a-z/.@-]{0,20}(\\n)?") {
            if let Ok(path) = text.parse::<AbsolutePath>() {
                prop_assert_eq!(path.as_str(), &text);
            }
            if let Ok(unit) = text.parse::<UnitName>() {
                prop_assert_eq!(unit.as_str(), &text);
            }
            let _ = text.parse::<SshKey>();
        }
    }
}
