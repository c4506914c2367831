//! What the kernel's command line may say of a cluster: where things are, and never a secret, for anybody on the machine
//! reads it.
//!
//! | word | what it says |
//! |---|---|
//! | [`IDENTITY`]`=URL` | where the [document](super::Document) is, on a server of http or https; the last one counts |
//! | [`ROSTER`]`=URL` | where the cluster's signed roster is, beside that |
//! | [`CLUSTER`]`=UUID` | no document of another cluster is taken, whichever place has it |
//! | [`SEED`]`=HOST[:PORT]` | where a seed may be: one more to try; again for more |

use std::{net::IpAddr, ops::RangeInclusive};

use super::{SEEDS_MAX, is_machine};
use crate::{guid::Guid, kernel_line::words, slot};

/// The URL of the document.
pub const IDENTITY: &str = "coremax.identity";
/// The URL of the signed roster.
pub const ROSTER: &str = "coremax.roster";
/// The cluster's UUID.
pub const CLUSTER: &str = "coremax.cluster";
/// Where a seed may be.
pub const SEED: &str = "coremax.seed";
/// Bytes of a command line that are looked at, at most: no architecture's COMMAND_LINE_SIZE is larger.
pub const LONGEST: usize = 1 << 16;

const PREFIX: &str = "coremax.";
/// Words that are for others: early boot, and who asks which slot and version runs.
const OF_OTHERS: [&str; 6] = [
    "coremax.data",
    "coremax.debug",
    "coremax.root",
    "coremax.wait",
    slot::PARAMETER,
    slot::VERSION,
];
/// What a word, or a part of it, is called that would carry a secret.
const SECRETS: [&str; 7] = ["key", "keys", "passphrase", "password", "psk", "secret", "token"];
/// Hex digits in a row that are a key, of 256 bits.
const KEY_DIGITS: usize = 64;
/// Bytes of a URL, at most. Set here.
const URL_MAX: usize = 2048;
/// RFC 1035, 2.3.4.
const NAME_MAX: usize = 253;
/// Characters of a word that are said again, at most.
const SAID_MAX: usize = 40;
/// Words that are said to be unknown, at most.
const UNKNOWN_MAX: usize = 8;

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The URL of the document; of http or https, without a login.
    pub identity: Option<String>,
    /// The URL of the signed roster, likewise.
    pub roster: Option<String>,
    /// The only cluster that this machine may be of.
    pub cluster: Option<Guid>,
    /// Where seeds may be, at most [`SEEDS_MAX`].
    pub seeds: Vec<Seed>,
    /// Words that begin as ours do and that nobody knows, fit to be shown, at most so many.
    pub unknown: Vec<String>,
    /// Why it cannot be followed; nothing in them is a value that may be a secret.
    pub problems: Vec<String>,
}

/// Where a seed may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// An address, or a name.
    pub host: Host,
    /// Where it listens, if that is said.
    pub port: Option<u16>,
}

/// A machine on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By a name of letters, digits, dots and hyphens.
    Name(String),
}

impl CommandLine {
    /// Reads the text of [`crate::kernel_line::FILE`]. Never panics.
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        for word in words(text).iter().filter(|word| word.starts_with(PREFIX)) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            if let Err(why) = line.set(name, value) {
                line.problems.push(format!("{} {why}", shown(name)));
            }
        }
        if line.roster.is_some() && line.identity.is_none() && line.problems.is_empty() {
            line.problems.push(format!("{ROSTER} is taken beside {IDENTITY}, which is not there"));
        }
        line
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            name if OF_OTHERS.contains(&name) => {}
            ROSTER => self.roster = Some(url(value)?),
            _ if carries_key(value) => return Err(CARRIES_KEY),
            IDENTITY => self.identity = Some(url(value)?),
            CLUSTER => self.cluster = Some(value.parse().map_err(|_| "names no cluster's UUID")?),
            SEED if self.seeds.len() == SEEDS_MAX => return Err("names more seeds than are asked"),
            SEED => self.seeds.push(seed(value).ok_or("names no machine's address or name")?),
            name if is_of_secret(name) => return Err(CARRIES_KEY),
            _ if self.unknown.len() < UNKNOWN_MAX => self.unknown.push(shown(name)),
            _ => {}
        }
        Ok(())
    }
}

/// Whether a word that begins as ours do is one that somebody knows.
pub fn is_known(name: &str) -> bool {
    [IDENTITY, ROSTER, CLUSTER, SEED].contains(&name) || OF_OTHERS.contains(&name)
}

const CARRIES_KEY: &str =
    "is refused: it carries a secret, and anybody on the machine reads the kernel's command line";

fn is_of_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    name.split(['.', '-', '_']).any(|part| SECRETS.contains(&part))
}

/// Whether a value is, or has in it, what the document keeps secret.
fn carries_key(value: &str) -> bool {
    let mut run = 0;
    let is_long = value.bytes().any(|byte| {
        run = if byte.is_ascii_hexdigit() { run + 1 } else { 0 };
        run == KEY_DIGITS
    });
    is_long || value.starts_with('{') || value.starts_with(super::SMBIOS)
}

fn url(text: &str) -> Result<String, &'static str> {
    const PRINTED: RangeInclusive<char> = '!'..='~';
    let scheme =
        |scheme: &str| text.get(..scheme.len()).filter(|it| it.eq_ignore_ascii_case(scheme));
    let start =
        scheme("http://").or_else(|| scheme("https://")).ok_or("is no http or https URL")?;
    let rest = &text[start.len()..];
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if rest.split(['?', '#']).next().is_some_and(|before| before.contains('@')) {
        return Err(CARRIES_KEY);
    }
    let is_well = text.len() <= URL_MAX && text.chars().all(|c| PRINTED.contains(&c));
    if is_well && !authority.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("is no http or https URL")
    }
}

fn seed(text: &str) -> Option<Seed> {
    let (host, port) = match text.rsplit_once(':') {
        // An address of IPv6 has colons of its own: with a port it stands in brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port
        .map(|port| port.parse().ok().filter(|port| *port != 0))
        .map_or(Some(None), |port| port.map(Some))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = match bare.parse() {
        Ok(IpAddr::V4(address)) if !is_machine(&address) => return None,
        Ok(IpAddr::V6(address)) if address.is_unspecified() || address.is_multicast() => {
            return None;
        }
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(name(bare)?),
    };
    Some(Seed { host, port })
}

/// RFC 1123, 2.1; one of digits and dots alone is an address that is none.
fn name(text: &str) -> Option<String> {
    let is_of = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_one = begins && text.len() <= NAME_MAX && text.chars().all(is_of);
    (is_one && text.chars().any(|c| c.is_ascii_alphabetic())).then(|| text.to_owned())
}

/// A word's name, as it may stand on a console.
fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    name.chars().take(SAID_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10";

    #[test]
    fn what_is_said() {
        let digits = "0f".repeat(32);
        let line = CommandLine::parse(&format!(
            "BOOT_IMAGE=/a/vmlinuz coremax.root={digits} coremax.slot=b coremax.version=1 coremax.data=none coremax.wait=5 \
             coremax.debug coremax.identity=http://a/ coremax.identity=https://10.0.0.2:8443/id?mac=02:00 \
             coremax.roster=\"http://[::1]/{digits}\" coremax.cluster={UUID} coremax.seed=10.0.0.11 coremax.seed=seed-1.example:9 \
             coremaxx.y=1 my.coremax.seed=z -- coremax.seed=10.0.0.12\n"
        ));
        let seed = |host, port| Seed { host, port };
        assert_eq!(
            line,
            CommandLine {
                identity: Some("https://10.0.0.2:8443/id?mac=02:00".into()),
                roster: Some(format!("http://[::1]/{digits}")),
                cluster: UUID.parse().ok(),
                seeds: vec![
                    seed(Host::Address([10, 0, 0, 11].into()), None),
                    seed(Host::Name("seed-1.example".into()), Some(9)),
                ],
                ..CommandLine::default()
            }
        );
        assert_eq!(CommandLine::parse("ro quiet"), CommandLine::default());
    }

    #[test]
    fn seeds() {
        for (text, want) in [
            ("10.0.0.11", "Address(10.0.0.11) None"),
            ("10.0.0.11:7", "Address(10.0.0.11) Some(7)"),
            ("fd00::1", "Address(fd00::1) None"),
            ("[fd00::1]", "Address(fd00::1) None"),
            ("[fd00::1]:7", "Address(fd00::1) Some(7)"),
            ("seed", "Name(\"seed\") None"),
            ("3com.example:65535", "Name(\"3com.example\") Some(65535)"),
            ("", ""),
            (":7", ""),
            ("seed:", ""),
            ("seed:0", ""),
            ("seed:65536", ""),
            ("seed:http", ""),
            ("10.0.0", ""),
            ("10.0.0.256", ""),
            ("0.0.0.0", ""),
            ("224.0.0.1:7", ""),
            ("::", ""),
            ("ff02::1", ""),
            ("-seed", ""),
            ("--help", ""),
            ("a/b", ""),
            ("a@b", ""),
            ("é", ""),
            (&"a".repeat(254), ""),
        ] {
            let found = seed(text).map(|Seed { host, port }| format!("{host:?} {port:?}"));
            assert_eq!(found.unwrap_or_default(), want, "{text}");
        }
        let many = CommandLine::parse(&"coremax.seed=10.0.0.1 ".repeat(SEEDS_MAX + 1));
        assert_eq!(many.seeds.len(), SEEDS_MAX);
        assert_eq!(many.problems, ["coremax.seed names more seeds than are asked"]);
    }

    #[test]
    fn a_secret_is_refused_by_its_name_and_not_said_again() {
        let key = "abab".repeat(16);
        for (word, want) in [
            (format!("coremax.key={key}"), "coremax.key is refused: it carries a secret"),
            ("coremax.key=abab".to_owned(), "coremax.key is refused"),
            ("coremax.PSK=abab".to_owned(), "coremax.PSK is refused"),
            ("coremax.join-token=abab".to_owned(), "coremax.join-token is refused"),
            (format!("coremax.x={key}"), "coremax.x is refused"),
            (format!("coremax.seed={key}"), "coremax.seed is refused"),
            (format!("coremax.identity=http://a/{key}"), "coremax.identity is refused"),
            ("coremax.identity={\"key\":\"abab\"}".to_owned(), "coremax.identity is refused"),
            ("coremax.identity=coremax-identity:abab".to_owned(), "coremax.identity is refused"),
            ("coremax.identity=https://me:abab@a/".to_owned(), "coremax.identity is refused"),
            ("coremax.identity=https://me:ab/ab@a/".to_owned(), "coremax.identity is refused"),
            ("coremax.identity=abab".to_owned(), "coremax.identity is no http or https URL"),
            ("coremax.identity=ftp://abab/".to_owned(), "coremax.identity is no http or https URL"),
            (
                "coremax.identity=http:///abab".to_owned(),
                "coremax.identity is no http or https URL",
            ),
            (
                "coremax.identity=\"http://ab ab\"".to_owned(),
                "coremax.identity is no http or https",
            ),
            (format!("coremax.identity=http://{}", "abab/".repeat(500)), "coremax.identity is no"),
            ("coremax.roster=abab".to_owned(), "coremax.roster is no http or https URL"),
            (
                "coremax.roster=http://a/".to_owned(),
                "coremax.roster is taken beside coremax.identity",
            ),
            ("coremax.cluster=abab".to_owned(), "coremax.cluster names no cluster's UUID"),
            ("coremax.seed=a@abab".to_owned(), "coremax.seed names no machine's"),
        ] {
            let line = CommandLine::parse(&word);
            assert_eq!(line.problems.len(), 1, "{word}");
            assert!(line.problems[0].starts_with(want), "{word}: {:?}", line.problems);
            assert!(!format!("{:?}{:?}", line.problems, line.unknown).contains("abab"), "{line:?}");
        }
    }

    #[test]
    fn a_word_that_nobody_knows_is_said_once_for_each_and_shown_plainly() {
        let line = CommandLine::parse("coremax.keyboard=us coremax.x\u{1b}[31m coremax. coremax.");
        assert_eq!(line.unknown, ["coremax.keyboard", "coremax.x?[31m", "coremax.", "coremax."]);
        assert_eq!(line.problems, [""; 0]);
        let many = CommandLine::parse(&format!("coremax.{} ", "x".repeat(100)).repeat(20));
        assert_eq!((many.unknown.len(), many.unknown[0].len()), (UNKNOWN_MAX, SAID_MAX));
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(
            text in "(coremax\\.|identity=|roster=|cluster=|seed=|http://|[\\[\\]:@ \"=]|\\PC){0,40}",
        ) {
            let line = CommandLine::parse(&text);
            prop_assert!(line.seeds.len() <= SEEDS_MAX && line.unknown.len() <= UNKNOWN_MAX);
        }
    }
}
