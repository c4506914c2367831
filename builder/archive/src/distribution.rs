//! A distribution's archives: its keys, its mirrors and its suites there.

use coremax_distribution::{Distribution, Side, distributions};

use crate::{Error, Keyring, Source};

/// Where the two archives of a distribution are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// The archive's root.
    pub main: String,
    /// The security archive's root; `None` where there is none, which leaves an image without its updates.
    pub security: Option<String>,
}

/// The distribution that a recipe calls `id`.
///
/// # Errors
/// Lists those that there are.
pub fn distribution(id: &str) -> Result<&'static Distribution, Error> {
    let found = coremax_distribution::distribution(id);
    found.ok_or_else(|| Error::UnknownDistribution { id: id.to_owned() })
}

/// The keys of a distribution, each checked to be the pinned one.
///
/// # Errors
/// Where a file holds another key than it should.
pub fn keyring_of(base: &Distribution) -> Result<Keyring, Error> {
    let keys = base.keys.iter().map(|key| {
        Keyring::parse(key.armored.as_bytes(), base.name)?.pinned(&[key.fingerprint], base.name)
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let joined = keys.into_iter().reduce(|all, key| all.and(&key));
    joined.ok_or_else(|| Error::NoKey { name: base.name.to_owned() })
}

/// A distribution's own archives, where it has some that may be used unasked.
pub fn default_mirrors(base: &Distribution) -> Option<Mirrors> {
    let (main, security) = base.mirrors?;
    Some(Mirrors { main: main.to_owned(), security: Some(security.to_owned()) })
}

/// The suites of a distribution at `mirrors`, with its own keys. Without a security archive its suite is left out.
///
/// # Errors
/// Where its keys are not what they should be.
pub fn sources_of(base: &Distribution, mirrors: &Mirrors) -> Result<Vec<Source>, Error> {
    let keyring = keyring_of(base)?;
    let sources = base.suites.iter().filter_map(|(suite, side)| {
        let mirror = match side {
            Side::Main => mirrors.main.clone(),
            Side::Security => mirrors.security.clone()?,
        };
        Some(Source {
            mirror,
            suite: (*suite).to_owned(),
            components: base.components.iter().map(ToString::to_string).collect(),
            architecture: "amd64".to_owned(),
            keyring: keyring.clone(),
            pin: None,
            check_valid_until: true,
        })
    });
    Ok(sources.collect())
}

/// The ids of all that recipes may name, for a hint.
pub(crate) fn offered() -> Vec<&'static str> {
    distributions().iter().filter(|row| row.is_offered).map(|row| row.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_the_keys_that_it_pins() {
        for row in distributions() {
            let pinned: Vec<_> = row.keys.iter().map(|key| key.fingerprint).collect();
            assert_eq!(keyring_of(row).unwrap().fingerprints(), pinned);
            assert_eq!(distribution(row.id).unwrap(), row);
        }
    }

    #[test]
    fn an_unknown_one_is_refused_with_a_list() {
        let error = distribution("debian-1").unwrap_err();
        assert!(error.hint().unwrap().contains("debian-12"), "{error}");
    }
}
