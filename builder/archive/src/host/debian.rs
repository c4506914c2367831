//! Which of the host's archives is Debian's own.
//!
//! Third parties call their suites `bookworm` and their component `main` too, so names are not enough. Counted are,
//! in this order: whose keys the entry's `Signed-By` names, what apt's copy of the Release (`var/lib/apt/lists`)
//! gives as its `Origin`, and the suite that is wanted. This chooses an address; what is served there must be
//! signed by the distribution's keys in any case.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use super::Entry;
use crate::{Distribution, Error, Family, Keyring, Side, distributions};

/// What Debian's suites are called, without their pockets, beside those in the table of distributions.
const SUITES: &[&str] = &[
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "sid",
    "buster",
    "bullseye",
    "forky",
];
const POCKETS: &[&str] = &["-proposed-updates", "-updates", "-security", "-backports"];
/// The origins of Debian's own suites, backports included.
const ORIGINS: &[&str] = &["Debian", "Debian Backports"];
/// Debian's keyrings are called so, also those of releases whose keys are not shipped here.
const KEYRINGS: &str = "debian-archive-";
/// A Release names its origin within its first bytes; ours.
const MAX_HEAD: u64 = 8 << 10;

/// How sure it is that an archive is Debian's, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Certain,
    /// Nothing speaks against it: no keys are named.
    Likely,
    /// Keys are named that cannot be looked at.
    Doubtful,
    Foreign,
}

/// The archives among `entries` that may be Debian's and have what `side` asks for, the likeliest first.
pub(super) fn rank<'a>(
    root: &Path,
    entries: &'a [Entry],
    base: &Distribution,
    keys: &Keyring,
    side: Side,
) -> Result<Vec<&'a Entry>, Error> {
    let keys = known(keys)?;
    let named = entries.iter().filter(|entry| {
        suite_of(entry).is_some() && is_security(&entry.suite) == (side == Side::Security)
    });
    let standing = |entry| (standing(root, entry, &keys), suite_of(entry) != Some(base.codename));
    let mut ranked: Vec<_> = named.map(|entry| (standing(entry), entry)).collect();
    ranked.retain(|((standing, _), _)| *standing != Standing::Foreign);
    ranked.sort_by_key(|(rank, _)| *rank);
    Ok(ranked.into_iter().map(|(_, entry)| entry).collect())
}

/// Debian's suite of that name, without its pocket; `None` where Debian has none or `main` is not asked for.
fn suite_of(entry: &Entry) -> Option<&str> {
    let suite = entry.suite.trim_end_matches("/updates");
    let suite = POCKETS.iter().find_map(|pocket| suite.strip_suffix(pocket)).unwrap_or(suite);
    let is_main = entry.components.iter().any(|name| name == "main");
    let is_in_table = || debians().any(|row| row.codename == suite);
    Some(suite).filter(|suite| is_main && (SUITES.contains(suite) || is_in_table()))
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

/// The keys that a build believes, and those of every Debian release: the host's may be another than the base.
fn known(keys: &Keyring) -> Result<Keyring, Error> {
    debians().map(crate::keyring_of).try_fold(keys.clone(), |all, keys| Ok(all.and(&keys?)))
}

/// Every Debian in the table.
fn debians() -> impl Iterator<Item = &'static Distribution> {
    distributions().iter().filter(|row| row.family == Family::Debian)
}

fn standing(root: &Path, entry: &Entry, keys: &Keyring) -> Standing {
    let signed = entry.signed_by.as_deref().filter(|text| !text.trim().is_empty());
    let signed = signed.map_or(Standing::Likely, |text| signers(root, text, keys));
    match origin(root, entry) {
        _ if matches!(signed, Standing::Certain | Standing::Foreign) => signed,
        Some(origin) if ORIGINS.contains(&origin.as_str()) => Standing::Certain,
        Some(_) => Standing::Foreign,
        None => signed,
    }
}

/// Whose keys a `Signed-By` names: a key itself, or paths and fingerprints. One of ours is enough.
fn signers(root: &Path, text: &str, keys: &Keyring) -> Standing {
    if text.contains("-----BEGIN PGP") {
        return Keyring::parse(text.as_bytes(), "Signed-By")
            .map_or(Standing::Doubtful, |named| shared(&named, keys));
    }
    let named = text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty());
    let standings = named.map(|word| match word.strip_prefix('/') {
        Some(path) => keyring(&root.join(path), keys),
        None if keys.holds(word.trim_end_matches('!')) => Standing::Certain,
        None => Standing::Foreign,
    });
    standings.min().unwrap_or(Standing::Likely)
}

fn keyring(path: &Path, keys: &Keyring) -> Standing {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match Keyring::load(path) {
        _ if name.starts_with(KEYRINGS) => Standing::Certain,
        Ok(named) => shared(&named, keys),
        Err(_) => Standing::Doubtful,
    }
}

fn shared(named: &Keyring, keys: &Keyring) -> Standing {
    match named.fingerprints().iter().any(|fingerprint| keys.holds(fingerprint)) {
        true => Standing::Certain,
        false => Standing::Foreign,
    }
}

/// The origin in the Release that apt has of it, if it has one.
fn origin(root: &Path, entry: &Entry) -> Option<String> {
    let lists = root.join("var/lib/apt/lists");
    let stem = format!("{}_dists_{}", flat(&entry.uri), flat(&entry.suite));
    ["InRelease", "Release"].iter().find_map(|file| {
        let file = File::open(lists.join(format!("{stem}_{file}"))).ok()?;
        let mut lines = BufReader::new(file.take(MAX_HEAD)).lines().map_while(Result::ok);
        lines.find_map(|line| Some(line.strip_prefix("Origin:")?.trim().to_owned()))
    })
}

/// How apt turns an address into a part of a file name (`URItoFileName`).
fn flat(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{host}{path}")
        }
        None => rest.to_owned(),
    };
    let quoted = |byte: u8| match byte {
        b'/' => "_".to_owned(),
        b'!'..=b'~' if !br#"\|{}[]<>"^~_=!@#$%&*"#.contains(&byte) => char::from(byte).into(),
        _ => format!("%{byte:02x}"),
    };
    rest.trim_end_matches('/').bytes().map(quoted).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_apt_s_copies() {
        for (uri, name) in [
            ("http://mirror.example.org/debian/", "mirror.example.org_debian"),
            ("https://a:b@m.example:8080/x_y", "m.example:8080_x%5fy"),
            ("file:/srv/debian", "_srv_debian"),
            ("file:///srv/debian", "_srv_debian"),
            ("mirror+file:/etc/apt/mirrors/debian.list", "_etc_apt_mirrors_debian.list"),
            ("bookworm-updates", "bookworm-updates"),
            ("bookworm/updates", "bookworm_updates"),
        ] {
            assert_eq!(flat(uri), name, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_nor_climbs(text in ".{0,60}", signed in "(/|[A-F0-9]{8}|-----BEGIN PGP|[ ,\n!é]){0,9}") {
            prop_assert!(!flat(&text).contains('/'));
            let keys = crate::keyring_of(&distributions()[0]).unwrap();
            signers(Path::new("/nonexistent"), &signed, &keys);
        }
    }
}
