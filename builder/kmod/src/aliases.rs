//! Aliases: which modules drive a device.
//!
//! `modules.alias` has lines `alias PATTERN MODULE`. A device's modalias is compared with each, which
//! costs too much at early boot where there are thousands; so they are kept by what stands before
//! their first wildcard, and only those are compared whose beginning is the modalias's own.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, Name, glob};

const FILE: &str = "modules.alias";

/// All aliases, by the part before the first wildcard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Aliases(BTreeMap<String, Vec<(String, Name)>>);

impl Aliases {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut aliases = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("alias"), Some(pattern), Some(module)) => aliases.add(pattern, module),
                (Some(word), ..) if !word.starts_with('#') => {
                    let what = "not an alias with its module";
                    return Err(Error::Malformed { file: FILE, line: number, what });
                }
                _ => {}
            }
        }
        Ok(aliases)
    }

    fn add(&mut self, pattern: &str, module: &str) {
        let pattern = glob::normalised(pattern);
        let prefix = glob::literal_prefix(&pattern).to_owned();
        let rest = pattern[prefix.len()..].to_owned();
        self.0.entry(prefix).or_default().push((rest, Name::new(module)));
    }

    /// The modules for a modalias, each once, by name.
    pub(crate) fn matching(&self, modalias: &str) -> BTreeSet<&Name> {
        let text = modalias.replace('-', "_");
        (0..=text.len())
            .filter_map(|end| text.split_at_checked(end))
            .filter_map(|(prefix, rest)| Some((self.0.get(prefix)?, rest)))
            .flat_map(|(entries, rest)| {
                entries.iter().filter(move |(pattern, _)| glob::matches(pattern, rest))
            })
            .map(|(_, module)| module)
            .collect()
    }

    /// The file's text with the aliases of these modules alone.
    pub(crate) fn render(&self, keep: &BTreeSet<Name>) -> String {
        let mut text = String::new();
        for (prefix, entries) in &self.0 {
            for (rest, module) in entries.iter().filter(|(_, module)| keep.contains(module)) {
                text.push_str(&format!("alias {prefix}{rest} {module}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "# Aliases extracted from modules themselves.\n\
        alias virtio:d00000002v* virtio_blk\n\
        alias crypto-crc32c crc32c-intel\n\
        alias crypto-crc32c crc32c_generic\n\
        alias scsi:t-0x00* sd_mod\n\
        alias * everything\n";

    #[test]
    fn devices_find_their_modules() {
        let aliases = Aliases::parse(TEXT).unwrap();
        for (modalias, expected) in [
            ("virtio:d00000002v00001AF4", "everything virtio_blk"),
            ("crypto-crc32c", "crc32c_generic crc32c_intel everything"),
            ("crypto_crc32c", "crc32c_generic crc32c_intel everything"),
            ("scsi:t-0x00", "everything sd_mod"),
            ("scsi:t-0x05", "everything"),
            ("é", "everything"),
        ] {
            let found: Vec<_> = aliases.matching(modalias).into_iter().map(Name::as_str).collect();
            assert_eq!(found.join(" "), expected, "{modalias}");
        }
    }

    #[test]
    fn what_is_no_alias_is_named() {
        let error = Aliases::parse("alias a b\nalias c\n").unwrap_err();
        assert_eq!(error.to_string(), "modules.alias, line 2: not an alias with its module");
    }

    proptest! {
        #[test]
        fn rendered_aliases_are_the_same(lines in prop::collection::vec("[a-z*?:-]{1,8} [a-z]{1,4}", 0..20)) {
            let text: String = lines.iter().map(|line| format!("alias {line}\n")).collect();
            let aliases = Aliases::parse(&text).unwrap();
            let all = aliases.0.values().flatten().map(|(_, module)| module.clone()).collect();
            prop_assert_eq!(Aliases::parse(&aliases.render(&all)).unwrap(), aliases);
        }

        #[test]
        fn foreign_text_never_panics(text in any::<String>()) {
            if let Ok(aliases) = Aliases::parse(&text) {
                aliases.matching(&text);
            }
        }
    }
}
