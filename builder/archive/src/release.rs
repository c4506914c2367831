//! Release files: what a suite of an archive consists of, and until when that holds.
//!
//! ```text
//! Suite: oldstable-security
//! Codename: bookworm-security
//! Date: Sat, 21 Nov 2026 00:53:02 UTC
//! Valid-Until: Sat, 28 Nov 2026 00:53:02 UTC
//! SHA256:
//!  8575ec1f...  378100 main/binary-amd64/Packages.xz
//! ```
//! See <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>.

use std::collections::HashMap;

use coremax_fetch::Digest;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::{
    Error,
    deb822::{Malformed, Reader, Token},
};

/// How far a mirror's clock may be ahead of ours; ours (apt has 10 s, and virtual machines drift).
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// A Release file whose signature holds: only [`SignedRelease::verify`](crate::SignedRelease::verify) makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    name: String,
    origin: String,
    suite: String,
    codename: String,
    date: Timestamp,
    valid_until: Option<Timestamp>,
    by_hash: bool,
    not_automatic: bool,
    automatic_upgrades: bool,
    architectures: Vec<String>,
    components: Vec<String>,
    no_packages_for_all: bool,
    files: HashMap<String, (u64, Digest)>,
}

/// What a Release must be to be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expectation<'a> {
    /// The suite that was asked for, `None` for a flat archive, which has no name.
    pub(crate) suite: Option<&'a str>,
    pub(crate) now: Timestamp,
    pub(crate) check_valid_until: bool,
}

impl Release {
    /// The archive's name for itself, such as `Debian`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The suite, such as `oldstable-security`.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The codename, such as `bookworm-security`.
    pub fn codename(&self) -> &str {
        &self.codename
    }

    /// When it was made.
    pub fn date(&self) -> Timestamp {
        self.date
    }

    /// Until when it holds, where it says so.
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until
    }

    /// Whether indexes are to be fetched by their digests.
    pub fn by_hash(&self) -> bool {
        self.by_hash
    }

    /// The pin priority of its packages where no one sets another: 500, 100 for an archive like Debian's backports
    /// and 1 for one like experimental (apt_preferences(5)). As with apt, `ButAutomaticUpgrades` needs no
    /// `NotAutomatic` beside it.
    pub fn priority(&self) -> i32 {
        match (self.not_automatic, self.automatic_upgrades) {
            (_, true) => 100,
            (true, false) => 1,
            (false, false) => 500,
        }
    }

    /// The architectures it serves; may name `all`.
    pub fn architectures(&self) -> &[String] {
        &self.architectures
    }

    /// The components, such as `main`.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// Whether packages of architecture `all` have an index of their own.
    pub fn splits_all(&self) -> bool {
        !self.no_packages_for_all && self.architectures.iter().any(|name| name == "all")
    }

    /// Length and digest of a file, by its path below the suite.
    pub fn file(&self, path: &str) -> Option<(u64, Digest)> {
        self.files.get(path).copied()
    }

    /// Reads the text, which must have been checked.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let refuse = |line, what: &str| Error::Malformed {
            name: name.to_owned(),
            line,
            what: what.to_owned(),
        };
        let mut reader = Reader::new(text);
        let not_a_field = |m: Malformed| refuse(m.line, "it is not a field");
        while let Token::Field(field) = reader.next().map_err(not_a_field)? {
            let set = fields.set(field.name, field.value);
            set.map_err(|what| refuse(reader.line(), &what))?;
        }
        let Some(date) = fields.date else { return Err(refuse(1, "there is no Date")) };
        if fields.files.is_empty() {
            return Err(refuse(1, "there is no table of SHA-256 digests"));
        }
        Ok(Self { name: name.to_owned(), date, ..fields.into_release() })
    }

    /// Whether it is what was asked for, and holds at this time.
    pub(crate) fn check(&self, wanted: &Expectation<'_>) -> Result<(), Error> {
        let name = || self.name.clone();
        if let Some(suite) = wanted.suite.filter(|suite| !self.is_named(suite)) {
            let (wanted, got) = (suite.to_owned(), format!("{} ({})", self.suite, self.codename));
            return Err(Error::OtherSuite { name: name(), wanted, got });
        }
        if !wanted.check_valid_until {
            return Ok(());
        }
        if self.date > wanted.now.saturating_add(MAX_AHEAD).unwrap_or(Timestamp::MAX) {
            return Err(Error::FromTheFuture { name: name(), date: self.date, now: wanted.now });
        }
        match self.valid_until {
            Some(until) if until <= wanted.now => Err(Error::Expired { name: name(), until }),
            _ => Ok(()),
        }
    }

    /// Suites are asked for by either of their names, and Ubuntu's pockets by suite alone.
    fn is_named(&self, suite: &str) -> bool {
        let suite = suite.trim_end_matches("/updates");
        [&self.suite, &self.codename]
            .into_iter()
            .any(|name| name.trim_end_matches("/updates") == suite)
    }
}

/// A Release in the making.
#[derive(Default)]
struct Fields {
    origin: String,
    suite: String,
    codename: String,
    date: Option<Timestamp>,
    valid_until: Option<Timestamp>,
    by_hash: bool,
    not_automatic: bool,
    automatic_upgrades: bool,
    architectures: Vec<String>,
    components: Vec<String>,
    no_packages_for_all: bool,
    files: HashMap<String, (u64, Digest)>,
}

impl Fields {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let words = || value.split_ascii_whitespace().map(str::to_owned).collect();
        let date = || parse_date(value).ok_or_else(|| format!("{value:?} is not a date"));
        match name {
            "Origin" => self.origin = value.to_owned(),
            "Suite" => self.suite = value.to_owned(),
            "Codename" => self.codename = value.to_owned(),
            "Date" => self.date = Some(date()?),
            "Valid-Until" => self.valid_until = Some(date()?),
            "Acquire-By-Hash" => self.by_hash = is_yes(value),
            "NotAutomatic" => self.not_automatic = is_yes(value),
            "ButAutomaticUpgrades" => self.automatic_upgrades = is_yes(value),
            "Architectures" => self.architectures = words(),
            "Components" => self.components = words(),
            "No-Support-for-Architecture-all" => self.no_packages_for_all = value == "Packages",
            "SHA256" => self.files = parse_files(value)?,
            _ => {}
        }
        Ok(())
    }

    fn into_release(self) -> Release {
        Release {
            name: String::new(),
            date: self.date.unwrap_or_default(),
            origin: self.origin,
            suite: self.suite,
            codename: self.codename,
            valid_until: self.valid_until,
            by_hash: self.by_hash,
            not_automatic: self.not_automatic,
            automatic_upgrades: self.automatic_upgrades,
            architectures: self.architectures,
            components: self.components,
            no_packages_for_all: self.no_packages_for_all,
            files: self.files,
        }
    }
}

/// As apt reads the flags of a Release.
fn is_yes(value: &str) -> bool {
    ["yes", "true", "with", "on", "enable", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

fn parse_files(value: &str) -> Result<HashMap<String, (u64, Digest)>, String> {
    let lines = value.lines().map(str::trim_ascii).filter(|line| !line.is_empty());
    lines.map(|line| parse_file(line).ok_or_else(|| format!("{line:?} names no file"))).collect()
}

fn parse_file(line: &str) -> Option<(String, (u64, Digest))> {
    let mut words = line.split_ascii_whitespace();
    let digest = words.next()?.parse().ok()?;
    let size = words.next()?.parse().ok()?;
    let path = words.next()?;
    words.next().is_none().then(|| (path.to_owned(), (size, digest)))
}

/// `Sat, 21 Nov 2026 00:53:02 UTC`: always in English, always UTC. The day's name says nothing new.
fn parse_date(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "UTC" | "GMT" | "Z" | "+0000"] = words[..] else { return None };
    let text = format!("{day:0>2} {month} {year} {time}");
    let date = DateTime::strptime("%d %b %Y %H:%M:%S", &text).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn release(extra: &str) -> Result<Release, Error> {
        let digest = Digest::of("");
        let text = format!(
            "Origin: Test\nSuite: stable\nCodename: tested\nDate: Sat, 21 Nov 2026 00:53:02 UTC\n\
             Architectures: all amd64\nComponents: main extra\nAcquire-By-Hash: yes\nMD5Sum:\n bogus\n\
             SHA256:\n {digest} 0 main/a\n  {digest}      12 main/b\n{extra}"
        );
        Release::parse(&text, "test")
    }

    #[test]
    fn fields() {
        let release = release("").unwrap();
        assert_eq!(release.date().to_string(), "2026-11-21T00:53:02Z");
        assert_eq!(release.file("main/b"), Some((12, Digest::of(""))));
        assert_eq!(release.file("main/c"), None);
        assert!(release.by_hash() && release.splits_all());
        assert_eq!(release.components(), ["main", "extra"]);
        let dates = ["Sat,  1 Jul 2026 00:53:02 UTC", "Thu, 21 Apr 2022 17:16:08 +0000"];
        assert!(dates.iter().all(|date| parse_date(date).is_some()));
        assert_eq!(parse_date("Sat, 21 Nov 2026 00:53:02 CET"), None);
    }

    #[test]
    fn malformed_files_are_refused_with_their_line() {
        for (extra, why) in [("Valid-Until: soon\n", "line 13: \"soon\""), ("broken\n", "line 13")]
        {
            let error = release(extra).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(Release::parse("Suite: x\n", "test").is_err());
    }

    #[test]
    fn priorities_are_apt_s() {
        for (extra, priority) in [
            ("", 500),
            ("ButAutomaticUpgrades: yes\n", 100),
            ("NotAutomatic: no\n", 500),
            ("NotAutomatic: yes\n", 1),
            ("NotAutomatic: yes\nButAutomaticUpgrades: no\n", 1),
            ("ButAutomaticUpgrades: yes\nNotAutomatic: yes\n", 100),
        ] {
            assert_eq!(release(extra).unwrap().priority(), priority, "{extra}");
        }
    }

    #[test]
    fn names_and_times() {
        let release = release("Valid-Until: Sat, 28 Nov 2026 00:53:02 UTC\n").unwrap();
        let check = |suite, now: &str, check_valid_until| {
            let now = now.parse().unwrap();
            release.check(&Expectation { suite: Some(suite), now, check_valid_until })
        };
        for suite in ["stable", "tested"] {
            check(suite, "2026-11-22T00:00:00Z", true).unwrap();
        }
        assert!(matches!(
            check("other", "2026-11-22T00:00:00Z", true),
            Err(Error::OtherSuite { .. })
        ));
        assert!(matches!(
            check("tested", "2026-11-28T00:53:02Z", true),
            Err(Error::Expired { .. })
        ));
        check("tested", "2026-11-28T00:53:02Z", false).unwrap();
        check("tested", "2026-11-21T00:49:00Z", true).unwrap();
        let early = check("tested", "2026-11-20T00:00:00Z", true);
        assert!(matches!(early, Err(Error::FromTheFuture { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in "((Date|Valid-Until|SHA256|Suite): ?|[a-f0-9]{64} |[0-9A-Z]|\n|é){0,40}") {
            let _ = Release::parse(&text, "test");
            let _ = parse_date(&text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Release::parse(&String::from_utf8_lossy(&bytes), "test");
        }

        #[test]
        fn reads_what_is_written(
            files in prop::collection::hash_map("[a-z0-9./_-]{1,20}", (any::<u64>(), any::<[u8; 4]>()), 1..5),
        ) {
            let files = files.into_iter().map(|(path, (size, seed))| (path, (size, Digest::of(seed))));
            let files: HashMap<_, _> = files.collect();
            let table = files.iter().map(|(path, (size, digest))| format!("\n {digest} {size:>8} {path}"));
            let text = format!("Date: Sat, 21 Nov 2026 00:53:02 UTC\nSHA256:{}\n", table.collect::<String>());
            prop_assert_eq!(Release::parse(&text, "test").unwrap().files, files);
        }

        #[test]
        fn reads_every_date(second in 0_i64..4_000_000_000) {
            let time = Timestamp::from_second(second).unwrap();
            let text = time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string();
            prop_assert_eq!(parse_date(&text), Some(time));
        }
    }
}
