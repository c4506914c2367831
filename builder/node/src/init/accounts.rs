//! The image's users and groups in files of the machine's own.
//!
//! Once a machine has changed passwd(5), group(5), shadow(5) or gshadow(5), its copy hides the image's for
//! good, and with it every account that a later image brings. So a new root adds to each copy what it lacks:
//! rows whose name is missing, and members of groups. What the machine has stays as it is. An account whose
//! number the machine has given to another is left out of all four: it would own what the other owns.
//!
//! systemd-sysusers does less: it looks at passwd alone, and a user known there gets no row in a copy of shadow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use anyhow::{Context, Result};

/// One of the four: its name, and which fields hold a number that only one row may have, and members.
struct Kind {
    name: &'static str,
    number: Option<usize>,
    members: Option<usize>,
}

/// The files with numbers come first: who is left out of them is left out of the others.
const KINDS: [Kind; 4] = [
    Kind { name: "passwd", number: Some(2), members: None },
    Kind { name: "group", number: Some(2), members: Some(3) },
    Kind { name: "shadow", number: None, members: None },
    Kind { name: "gshadow", number: None, members: Some(3) },
];

/// Adds to the files in `own` what they lack of those in the first of `lowers` that has them. A file that
/// `own` has not is seen from the image and left alone. `aside`, a folder on the same file system, is where
/// a new file is written. Returns the names that were left out, each with the one that has its number.
pub(crate) fn complete(own: &Path, lowers: &[&Path], aside: &Path) -> Result<Vec<String>> {
    let mut refused = BTreeMap::new();
    for kind in &KINDS {
        let path = own.join(kind.name);
        let image = lowers.iter().map(|lower| lower.join(kind.name)).find(|path| path.is_file());
        let (Some(image), true) = (image, is_plain(&path)) else { continue };
        let text = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
        };
        let had = text(&path)?;
        let has = completed(kind, &had, &text(&image)?, &mut refused);
        if has != had {
            replace(&path, &has, &aside.join(kind.name))
                .with_context(|| format!("adding the image's accounts to {}", path.display()))?;
        }
    }
    Ok(refused.into_iter().map(|(name, by)| format!("{name} (its number is {by}'s)")).collect())
}

/// A link or a whiteout is no copy.
fn is_plain(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

/// A machine's file with what it lacks of the image's. Names in `refused` do not come in; those whose number
/// is taken are added to it, with who has it.
fn completed(
    kind: &Kind,
    own: &str,
    image: &str,
    refused: &mut BTreeMap<String, String>,
) -> String {
    let mut rows: Vec<Vec<String>> = own.lines().map(fields).collect();
    for theirs in image.lines().map(fields) {
        let name = &theirs[0];
        if name.is_empty() || refused.contains_key(name) {
            continue;
        }
        if let Some(mine) = rows.iter_mut().find(|row| row[0] == *name) {
            kind.members.into_iter().for_each(|field| add_members(mine, &theirs, field));
            continue;
        }
        match rows.iter().find(|row| has_number_of(row, &theirs, kind.number)) {
            Some(holder) => drop(refused.insert(name.clone(), holder[0].clone())),
            None => rows.push(theirs),
        }
    }
    rows.into_iter().map(|row| row.join(":") + "\n").collect()
}

fn fields(line: &str) -> Vec<String> {
    line.split(':').map(str::to_owned).collect()
}

fn has_number_of(row: &[String], other: &[String], field: Option<usize>) -> bool {
    let number = |row: &[String]| row.get(field?)?.parse::<u32>().ok();
    number(row).is_some() && number(row) == number(other)
}

/// A machine's group gets the image's members besides its own.
fn add_members(mine: &mut [String], theirs: &[String], field: usize) {
    let (Some(mine), Some(theirs)) = (mine.get_mut(field), theirs.get(field)) else { return };
    let names = |list: &str| -> Vec<String> {
        list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let (has, known) = (names(mine), names(mine).into_iter().collect::<BTreeSet<_>>());
    let lacks = names(theirs).into_iter().filter(|name| !known.contains(name));
    let all: Vec<_> = has.into_iter().chain(lacks).collect();
    if all.len() > known.len() {
        *mine = all.join(",");
    }
}

/// Puts a file in the place of another at once, with its owner and mode.
fn replace(path: &Path, text: &str, aside: &Path) -> Result<()> {
    let like = path.metadata()?;
    let _ = fs::remove_file(aside); // what a power cut left
    let mut file = File::create_new(aside)?;
    lchown(aside, Some(like.uid()), Some(like.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(fs::rename(aside, path)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn completed_by(
        kind: &str,
        own: &str,
        image: &str,
        refused: &[&str],
    ) -> (String, Vec<(String, String)>) {
        let kind = KINDS.iter().find(|known| known.name == kind).unwrap();
        let mut refused = refused.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let text = completed(kind, own, image, &mut refused);
        (text, refused.into_iter().filter(|(_, by)| !by.is_empty()).collect())
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        for (kind, own, image, wanted) in [
            ("passwd", "a:x:1:1::/:/bin/zsh\n", "a:x:1:1::/:/bin/sh\n", "a:x:1:1::/:/bin/zsh\n"),
            ("passwd", "a:x:1:1:::\n", "b:x:2:2:::\n", "a:x:1:1:::\nb:x:2:2:::\n"),
            // The machine may have given an account of the image another number.
            ("passwd", "a:x:5:5:::\n", "a:x:1:1:::\n", "a:x:5:5:::\n"),
            ("passwd", "a:x:1:1:::\n", "", "a:x:1:1:::\n"),
            ("group", "g:x:1:me\n", "g:x:1:svc,me\n", "g:x:1:me,svc\n"),
            ("group", "g:x:1:\n", "g:x:1:\n", "g:x:1:\n"),
            ("group", "g:x:1:svc,me\n", "g:x:1:svc\nh:x:2:me\n", "g:x:1:svc,me\nh:x:2:me\n"),
            (
                "shadow",
                "a:$y$own:1::::::\n",
                "a:*:1::::::\nb:*:1::::::\n",
                "a:$y$own:1::::::\nb:*:1::::::\n",
            ),
            ("gshadow", "g:!::me\n", "g:!::svc\n", "g:!::me,svc\n"),
            // What is no row is left as it is.
            ("passwd", "+::::::\n\na:x\n", "a:x:1:1:::\n", "+::::::\n\na:x\n"),
        ] {
            let (text, refused) = completed_by(kind, own, image, &[]);
            assert_eq!(text, wanted, "{kind}: {own:?} {image:?}");
            assert!(refused.is_empty(), "{refused:?}");
        }
    }

    #[test]
    fn a_number_that_is_taken_keeps_an_account_out() {
        let (text, refused) =
            completed_by("passwd", "local:x:100:100:::\n", "svc:x:100:100:::\nn:x:2:2:::\n", &[]);
        assert_eq!(text, "local:x:100:100:::\nn:x:2:2:::\n");
        assert_eq!(refused, [("svc".to_owned(), "local".to_owned())]);
        let (text, _) = completed_by("shadow", "local:*:::::::\n", "svc:*:::::::\n", &["svc"]);
        assert_eq!(text, "local:*:::::::\n");
    }

    #[test]
    fn files_are_completed_where_the_machine_has_its_own() {
        let place = tempfile::tempdir().unwrap();
        let [own, site, system] = ["own", "site", "system"].map(|name| place.path().join(name));
        for folder in [&own, &site, &system] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(own.join("passwd"), "me:x:1000:1000:::\n").unwrap();
        fs::write(site.join("passwd"), "svc:x:100:100:::\nbad:x:1000:1000:::\n").unwrap();
        fs::write(system.join("passwd"), "old:x:1:1:::\n").unwrap();
        fs::write(own.join("shadow"), "me:*:::::::\n").unwrap();
        fs::set_permissions(own.join("shadow"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(system.join("shadow"), "svc:*:::::::\nbad:*:::::::\n").unwrap();
        fs::write(system.join("group"), "svc:x:100:\n").unwrap();
        fs::write(place.path().join("passwd"), "torn").unwrap();
        for _ in 0..2 {
            let out = complete(&own, &[&site, &system], place.path()).unwrap();
            assert_eq!(out, ["bad (its number is me's)"]);
            let read = |name: &str| fs::read_to_string(own.join(name)).unwrap();
            assert_eq!(read("passwd"), "me:x:1000:1000:::\nsvc:x:100:100:::\n");
            assert_eq!(read("shadow"), "me:*:::::::\nsvc:*:::::::\n");
            let mode = own.join("shadow").metadata().unwrap().mode();
            assert_eq!(mode & 0o7777, 0o640);
            assert!(!own.join("group").exists() && !place.path().join("passwd").exists());
        }
    }

    proptest! {
        #[test]
        fn nothing_of_the_machine_is_lost(
            own in "([a-c]:x:[0-3]:[0-3]:\n){0,4}", image in "([a-e]:x:[0-9]:[0-3]:\n){0,4}",
        ) {
            let (text, _) = completed_by("passwd", &own, &image, &[]);
            prop_assert!(text.starts_with(&own));
            prop_assert_eq!(&completed_by("passwd", &text, &image, &[]).0, &text);
        }

        #[test]
        fn foreign_text_never_panics(own in ".{0,80}", image in ".{0,80}") {
            KINDS.iter().for_each(|kind| drop(completed_by(kind.name, &own, &image, &[])));
        }
    }
}
