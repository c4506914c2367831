//! Soft dependencies: what a module wants before or after it, and can do without.
//!
//! `modules.softdep` has lines `softdep MODULE pre: NAME... post: NAME...`; a name may be an alias
//! (`crypto-crc32c`). Names before the first `pre:` or `post:` mean nothing. See modprobe.d(5).

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, Name};

const FILE: &str = "modules.softdep";

/// What one module wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Soft {
    pub(crate) pre: Vec<String>,
    pub(crate) post: Vec<String>,
}

pub(crate) fn parse(text: &str) -> Result<BTreeMap<Name, Soft>, Error> {
    let mut all: BTreeMap<Name, Soft> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("softdep"), Some(module)) => all.entry(Name::new(module)).or_default().add(words),
            (Some(word), _) if !word.starts_with('#') => {
                let what = "not a soft dependency of a module";
                return Err(Error::Malformed { file: FILE, line: number, what });
            }
            _ => {}
        }
    }
    Ok(all)
}

pub(crate) fn render(all: &BTreeMap<Name, Soft>, keep: &BTreeSet<Name>) -> String {
    let mut text = String::new();
    for (module, soft) in all.iter().filter(|(module, _)| keep.contains(*module)) {
        for (word, names) in [("pre", &soft.pre), ("post", &soft.post)] {
            if !names.is_empty() {
                text.push_str(&format!("softdep {module} {word}: {}\n", names.join(" ")));
            }
        }
    }
    text
}

impl Soft {
    /// Adds words such as `pre: a b post: c`.
    pub(crate) fn add<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        let mut to = None;
        for word in words {
            match (word, &mut to) {
                ("pre:", _) => to = Some(false),
                ("post:", _) => to = Some(true),
                (name, Some(false)) => self.pre.push(name.to_owned()),
                (name, Some(true)) => self.post.push(name.to_owned()),
                (_, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn before_and_after() {
        let all = parse(
            "# a comment\nsoftdep ext4 pre: crypto-crc32c\nsoftdep cifs gcm\n\
             softdep a-b pre: c d post: e\nsoftdep ext4 post: f\n",
        )
        .unwrap();
        assert_eq!(
            (&*all["ext4"].pre, &*all["ext4"].post),
            (&["crypto-crc32c".into()][..], &["f".into()][..])
        );
        assert_eq!(all["a_b"].pre, ["c", "d"]);
        assert_eq!(all["cifs"], Soft::default());
        let keep = all.keys().cloned().collect();
        let again = parse(&render(&all, &keep)).unwrap();
        assert_eq!((&again["ext4"], &again["a_b"]), (&all["ext4"], &all["a_b"]));
        assert!(parse("ext4 pre: a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_written(text in "(softdep [a-c_-]{1,3}( (pre:|post:|[a-c]{1,3})){0,5}\n){0,4}") {
            let all = parse(&text).unwrap();
            let keep = all.keys().cloned().collect();
            let again = parse(&render(&all, &keep)).unwrap();
            let said = |soft: &&Soft| !soft.pre.is_empty() || !soft.post.is_empty();
            let of = |all: &BTreeMap<Name, Soft>| all.values().filter(said).cloned().collect::<Vec<_>>();
            prop_assert_eq!(of(&again), of(&all));
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,100}") {
            drop(parse(&text));
        }
    }
}
