//! Which of the documents that a machine has holds.

use std::fmt;

use super::{Document, Malformed, command_line::CLUSTER};
use crate::guid::Guid;

/// A kind of place where a document may be, in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The node's own storage.
    Kept,
    /// The server that the kernel's command line names.
    CommandLine,
    /// A string of SMBIOS type 11.
    Smbios,
    /// QEMU's fw_cfg.
    FwCfg,
    /// A volume labelled COREMAX.
    Volume,
    /// A volume labelled cidata.
    Cidata,
    /// OpenStack's config drive.
    ConfigDrive,
    /// OpenStack's metadata service.
    Metadata,
}

/// What was read at one place that has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Which kind of place.
    pub place: Place,
    /// Which one, for people: a device, a file.
    pub at: String,
    /// The document, or why there is none: what it lacks, or how it could not be read.
    pub document: Result<Document, String>,
}

/// The document that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// It.
    pub document: Document,
    /// Where it was.
    pub place: Place,
    /// The same, for people.
    pub at: String,
    /// What other places say otherwise, for the log: nobody follows it until the node is reset.
    pub ignored: Vec<String>,
}

/// Documents that are there and cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// One cannot be read.
    #[error("the identity in {at} cannot be used: {why}")]
    Unread {
        /// What kind of place.
        place: Place,
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// Two places of one rank say different things.
    #[error("{one} and {other} name different clusters or keys")]
    Two {
        /// Where.
        one: String,
        /// Where else.
        other: String,
    },
}

impl Broken {
    /// What a person at the machine can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unread { place: Place::Kept, .. } => {
                "as root, `coremax-node reset` makes the machine forget it at the next boot, with all its data"
            }
            Self::Unread { place: Place::CommandLine, .. } => {
                "look at the words coremax.* in /proc/cmdline, and at what the server answers that they name"
            }
            Self::Unread { place: Place::Metadata, .. } => {
                "give the server the file of coremax cluster seed-medium as user data, and make it anew"
            }
            Self::Unread { .. } => {
                "take that medium out, or make it anew with coremax cluster seed-medium"
            }
            Self::Two { .. } => "leave in the one that is this machine's, and take the other out",
        }
    }
}

impl Reading {
    /// What the bytes at a place come to.
    pub fn of(place: Place, at: impl Into<String>, bytes: &[u8]) -> Self {
        let document = Document::parse(bytes).map_err(|malformed: Malformed| malformed.to_string());
        Self { place, at: at.into(), document }
    }

    /// The same, broken where it is for another cluster than the kernel's command line allows.
    #[must_use]
    pub fn of_cluster(mut self, wanted: Option<Guid>) -> Self {
        if let (Some(wanted), Ok(Document { cluster, .. })) = (wanted, &self.document)
            && *cluster != wanted
        {
            self.document =
                Err(format!("it is for cluster {cluster}, and {CLUSTER} says {wanted}"));
        }
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::CommandLine => "command-line",
            Self::Smbios => "smbios",
            Self::FwCfg => "fw-cfg",
            Self::Volume => "volume",
            Self::Cidata => "cidata",
            Self::ConfigDrive => "config-drive",
            Self::Metadata => "metadata",
        })
    }
}

/// The document that holds, of all that were found, in any order: that of the first place. Nothing where there is
/// none. What a node has kept is held against everything: what else there is, broken or not, is only told. A node that has
/// kept none follows none while one is broken, wherever that is.
///
/// # Errors
/// Where one is broken, or two of the first place differ.
pub fn choose(readings: &[Reading]) -> Result<Option<Choice>, Broken> {
    let mut readings: Vec<&Reading> = readings.iter().collect();
    readings.sort_by_key(|reading| (reading.place, &reading.at));
    let Some((first, others)) = readings.split_first() else { return Ok(None) };
    let document = usable(first)?.clone();
    for other in others.iter().filter(|_| first.place != Place::Kept) {
        let said = usable(other)?;
        if other.place == first.place && !said.agrees(&document) {
            return Err(Broken::Two { one: first.at.clone(), other: other.at.clone() });
        }
    }
    let (place, at) = (first.place, first.at.clone());
    let mut choice = Choice { document, place, at, ignored: Vec::new() };
    choice.ignored = others.iter().filter_map(|other| choice.conflict(other)).collect();
    Ok(Some(choice))
}

fn usable(reading: &Reading) -> Result<&Document, Broken> {
    reading.document.as_ref().map_err(|why| Broken::Unread {
        place: reading.place,
        at: reading.at.clone(),
        why: why.clone(),
    })
}

impl Choice {
    /// What a place that is not followed says otherwise, for people; nothing where it agrees.
    pub fn conflict(&self, other: &Reading) -> Option<String> {
        match &other.document {
            Ok(said) if said.agrees(&self.document) => None,
            Ok(said) => {
                Some(format!("{} says cluster {}, key {}", other.at, said.cluster, said.key_id))
            }
            Err(why) => Some(format!("{}: {why}", other.at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::document, *};

    const ORDER: [Place; 8] = [
        Place::Kept,
        Place::CommandLine,
        Place::Smbios,
        Place::FwCfg,
        Place::Volume,
        Place::Cidata,
        Place::ConfigDrive,
        Place::Metadata,
    ];

    #[test]
    fn each_place_holds_against_those_after_it() {
        for (number, first) in ORDER.into_iter().enumerate() {
            for second in &ORDER[number + 1..] {
                let found =
                    choose(&readings(&format!("{second} y 2, {first} x 1"))).unwrap().unwrap();
                assert_eq!((found.place, found.document.key_id.0[0]), (first, 1), "{second}");
            }
        }
    }

    /// `PLACE AT KEY`, where key 0 is a broken document.
    fn readings(text: &str) -> Vec<Reading> {
        let place = |word: &str| ORDER.into_iter().find(|place| place.to_string() == word).unwrap();
        let reading = |words: Vec<&str>| Reading {
            place: place(words[0]),
            at: words[1].to_owned(),
            document: match words[2].parse().unwrap() {
                0 => Err("torn".to_owned()),
                key => Ok(document(key)),
            },
        };
        let lines = text.split(',').map(str::trim).filter(|line| !line.is_empty());
        lines.map(|line| reading(line.split_whitespace().collect())).collect()
    }

    #[test]
    fn one_of_another_cluster_is_broken_where_the_command_line_names_one() {
        let one = |wanted| readings("volume sdb 1").remove(0).of_cluster(wanted).document;
        let own = document(1).cluster;
        assert_eq!((one(None), one(Some(own))), (Ok(document(1)), Ok(document(1))));
        let why = one(Some(Guid::literal(7))).unwrap_err();
        let want =
            format!("it is for cluster {own}, and coremax.cluster says {}", Guid::literal(7));
        assert_eq!(why, want);
        let torn = readings("volume sdb 0").remove(0).of_cluster(Some(own));
        assert_eq!(torn.document, Err("torn".to_owned()));
    }

    #[test]
    fn the_first_place_holds() {
        for (text, want) in [
            ("", Ok(None)),
            ("volume sdb 1", Ok(Some((1, "sdb", 0)))),
            ("config-drive sr0 2, fw-cfg f 1", Ok(Some((1, "f", 1)))),
            ("volume sdc 1, volume sdb 1", Ok(Some((1, "sdb", 0)))),
            ("volume sdb 1, config-drive sr0 1", Ok(Some((1, "sdb", 0)))),
            ("volume sdb 0", Err("sdb cannot be used: torn")),
            ("fw-cfg f 0, volume sdb 1", Err("f cannot be used")),
            ("fw-cfg f 1, volume sdb 0", Err("sdb cannot be used: torn")),
            ("smbios s 1, fw-cfg f 1, metadata m 0", Err("m cannot be used")),
            ("fw-cfg f 1, volume sdb 2, volume sdc 0", Err("sdc cannot be used")),
            ("fw-cfg f 1, volume sdb 2, volume sdc 3", Ok(Some((1, "f", 2)))),
            ("volume sdb 1, volume sdc 2", Err("sdb and sdc name different")),
            ("volume sdb 1, volume sdc 0", Err("sdc cannot be used")),
            ("volume sdb 2, kept k 1", Ok(Some((1, "k", 1)))),
            ("volume sdb 0, kept k 1", Ok(Some((1, "k", 1)))),
            ("volume sdb 1, kept k 1", Ok(Some((1, "k", 0)))),
            ("smbios s 0, volume sdb 0, volume sdc 2, kept k 1", Ok(Some((1, "k", 3)))),
            ("volume sdb 1, kept k 0", Err("k cannot be used")),
        ] {
            match (choose(&readings(text)), want) {
                (Ok(found), Ok(want)) => {
                    let found =
                        found.map(|c| (c.document.key_id.0[0], c.at.clone(), c.ignored.len()));
                    let want = want.map(|(key, at, ignored)| (key, at.to_owned(), ignored));
                    assert_eq!(found, want, "{text}");
                }
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                (found, want) => panic!("{text}: {found:?}, not {want:?}"),
            }
        }
    }
}
