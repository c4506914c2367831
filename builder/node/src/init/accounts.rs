//! The image's users and groups in files of the machine's own.
//!
//! Once a machine has changed passwd(5), group(5), shadow(5) or gshadow(5), its copy hides the image's for
//! good, and with it every account that a later image brings. So a new root adds to each copy what it lacks:
//! rows whose name is missing, and members of groups. What the machine has stays as it is, byte for byte.
//! An account whose number, or whose primary group's number, the machine has given to another is left out
//! of all four: it would own what the other owns.
//!
//! systemd-sysusers does less: it looks at passwd alone, and a user known there gets no row in a copy of shadow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use anyhow::{Context, Error, Result};

/// One of the four: its name, whose rows it has, and which field lists members.
struct Kind {
    name: &'static str,
    of: Of,
    members: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Users,
    Groups,
}

/// Groups come first: a user whose group is not there yet is worse than a group without its user.
const KINDS: [Kind; 4] = [
    Kind { name: GROUP, of: Of::Groups, members: Some(3) },
    Kind { name: PASSWD, of: Of::Users, members: None },
    Kind { name: "shadow", of: Of::Users, members: None },
    Kind { name: "gshadow", of: Of::Groups, members: Some(3) },
];
const GROUP: &str = "group";
const PASSWD: &str = "passwd";
/// The field of a row's name, that of its own number, and in passwd that of its primary group's.
const NAME: usize = 0;
const NUMBER: usize = 2;
const PRIMARY: usize = 3;

type Row = Vec<Vec<u8>>;

/// A file of the machine's own, and the image's.
#[derive(Default)]
struct Pair {
    own: Vec<Row>,
    image: Vec<Row>,
}

/// Names that stay out, each with the one that has the number.
#[derive(Default)]
struct Refused {
    users: BTreeMap<Vec<u8>, Vec<u8>>,
    groups: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Names that were left out, each with the one that has its number.
    pub(crate) refused: Vec<String>,
    /// Files that could not be completed. The others were.
    pub(crate) failed: Vec<Error>,
}

/// Adds to the files in `own` what they lack of those in the first of `lowers` that has them. A file that
/// `own` has not is seen from the image and left alone. `aside`, a folder on the same file system, is where
/// a new file is written. All is read and decided before anything is written.
pub(crate) fn complete(own: &Path, lowers: &[&Path], aside: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let mut pairs = BTreeMap::new();
    for kind in &KINDS {
        match read(kind, own, lowers) {
            Ok(Some(pair)) => drop(pairs.insert(kind.name, pair)),
            Ok(None) => {}
            Err(error) => outcome.failed.push(error),
        }
    }
    let refused = Refused::of(pairs.get(PASSWD), pairs.get(GROUP));
    for (kind, pair) in KINDS.iter().filter_map(|kind| Some((kind, pairs.get(kind.name)?))) {
        let rows = completed(kind, pair, &refused);
        let path = own.join(kind.name);
        if rows != pair.own
            && let Err(error) = replace(&path, &text(&rows), &aside.join(kind.name))
        {
            let what = format!("adding the image's accounts to {}", path.display());
            outcome.failed.push(error.context(what));
        }
    }
    outcome.refused = refused.told();
    outcome
}

/// None where the machine has no copy or the image no such file.
fn read(kind: &Kind, own: &Path, lowers: &[&Path]) -> Result<Option<Pair>> {
    let path = own.join(kind.name);
    let image = lowers.iter().map(|lower| lower.join(kind.name)).find(|path| path.is_file());
    let (Some(image), true) = (image, is_plain(&path)) else { return Ok(None) };
    let rows = |path: &Path| {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok::<_, Error>(rows(&text))
    };
    Ok(Some(Pair { own: rows(&path)?, image: rows(&image)? }))
}

/// A link or a whiteout is no copy.
fn is_plain(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

impl Refused {
    /// A user takes the group of its name with it, and a group all users whose primary one it is. What is seen
    /// from the image, for want of a copy, is there and cannot be refused.
    fn of(passwd: Option<&Pair>, group: Option<&Pair>) -> Self {
        let mut refused = Self::default();
        loop {
            let before = refused.users.len() + refused.groups.len();
            for row in group.into_iter().flat_map(Pair::lacking) {
                let by = holder(group, number(row, NUMBER));
                if let Some(by) = by.or_else(|| refused.users.get(&row[NAME])).cloned() {
                    refused.groups.insert(row[NAME].clone(), by);
                }
            }
            for row in passwd.into_iter().flat_map(Pair::lacking) {
                let primary = number(row, PRIMARY);
                let by = holder(passwd, number(row, NUMBER)).or_else(|| holder(group, primary));
                let by = by.or_else(|| refused.groups.get(&row[NAME]));
                if let Some(by) = by.or_else(|| refused.with_number(group, primary)).cloned() {
                    refused.users.insert(row[NAME].clone(), by);
                }
            }
            if refused.users.len() + refused.groups.len() == before {
                return refused;
            }
        }
    }

    /// What keeps the image's group of this number out.
    fn with_number(&self, group: Option<&Pair>, wanted: Option<u32>) -> Option<&Vec<u8>> {
        let mut groups = group?.image.iter().filter(|row| number(row, NUMBER) == wanted);
        groups.find_map(|row| self.groups.get(&row[NAME]).filter(|_| wanted.is_some()))
    }

    fn has(&self, of: Of, name: &[u8]) -> bool {
        match of {
            Of::Users => self.users.contains_key(name),
            Of::Groups => self.groups.contains_key(name),
        }
    }

    fn told(&self) -> Vec<String> {
        let all: BTreeMap<_, _> = self.groups.iter().chain(&self.users).collect();
        let text = |name| String::from_utf8_lossy(name);
        all.into_iter()
            .map(|(name, by)| format!("{} (its number is {}'s)", text(name), text(by)))
            .collect()
    }
}

impl Pair {
    /// The image's rows whose name the machine has not.
    fn lacking(&self) -> impl Iterator<Item = &Row> {
        let names: BTreeSet<_> = self.own.iter().map(|row| &row[NAME]).collect();
        let lacks = move |row: &&Row| !row[NAME].is_empty() && !names.contains(&row[NAME]);
        self.image.iter().filter(lacks)
    }
}

/// To whom the machine has given a number, if not to one who has it in the image.
fn holder(pair: Option<&Pair>, wanted: Option<u32>) -> Option<&Vec<u8>> {
    let (pair, wanted) = (pair?, Some(wanted?));
    let has_it = |row: &&Row| number(row, NUMBER) == wanted;
    let rightful: BTreeSet<_> = pair.image.iter().filter(has_it).map(|row| &row[NAME]).collect();
    pair.own.iter().filter(has_it).map(|row| &row[NAME]).find(|name| !rightful.contains(name))
}

fn number(row: &Row, field: usize) -> Option<u32> {
    std::str::from_utf8(row.get(field)?).ok()?.parse().ok()
}

/// A machine's file with what it lacks of the image's.
fn completed(kind: &Kind, pair: &Pair, refused: &Refused) -> Vec<Row> {
    let mut rows = pair.own.clone();
    for theirs in &pair.image {
        let name = &theirs[NAME];
        if name.is_empty() || refused.has(kind.of, name) {
            continue;
        }
        let mut theirs = theirs.clone();
        if let Some(members) = kind.members.and_then(|field| theirs.get_mut(field)) {
            without(members, &refused.users);
        }
        match rows.iter_mut().find(|row| row[NAME] == *name) {
            Some(mine) => kind.members.into_iter().for_each(|field| add(mine, &theirs, field)),
            None => rows.push(theirs),
        }
    }
    rows
}

/// Takes users out of a list of members.
fn without(members: &mut Vec<u8>, users: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let names = names(members);
    if names.iter().any(|name| users.contains_key(*name)) {
        let left: Vec<_> = names.into_iter().filter(|name| !users.contains_key(*name)).collect();
        *members = left.join(&b',');
    }
}

/// A machine's group gets the image's members besides its own.
fn add(mine: &mut Row, theirs: &Row, field: usize) {
    let (Some(mine), Some(theirs)) = (mine.get_mut(field), theirs.get(field)) else { return };
    let has = names(mine);
    let known: BTreeSet<_> = has.iter().copied().collect();
    let lacks: Vec<_> = names(theirs).into_iter().filter(|name| !known.contains(name)).collect();
    if !lacks.is_empty() {
        *mine = [has, lacks].concat().join(&b',');
    }
}

fn names(list: &[u8]) -> Vec<&[u8]> {
    list.split(|byte| *byte == b',').filter(|name| !name.is_empty()).collect()
}

/// Lines, cut into fields; each has one at least.
fn rows(text: &[u8]) -> Vec<Row> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    lines.map(|line| line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect()).collect()
}

fn text(rows: &[Row]) -> Vec<u8> {
    rows.iter().flat_map(|row| [row.join(&b':'), b"\n".to_vec()].concat()).collect()
}

/// Puts a file in the place of another at once, with its owner and mode.
fn replace(path: &Path, text: &[u8], aside: &Path) -> Result<()> {
    let like = path.metadata()?;
    let _ = fs::remove_file(aside); // what a power cut left
    let mut file = File::create_new(aside)?;
    lchown(aside, Some(like.uid()), Some(like.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(fs::rename(aside, path)?)
}

#[cfg(test)]
mod tests;
