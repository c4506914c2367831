//! The order of entries, and the folders above them.

use std::collections::BTreeMap;

use super::{Content, Entry, MAX_PATH, TRAILER};
use crate::Result;

/// The largest numbers of a device. Set by Linux (12 and 20 bits).
const MAX_DEVICE: [u32; 2] = [(1 << 12) - 1, (1 << 20) - 1];

/// Each entry by its path, and nothing for a folder that only stands above one. The bytes of a
/// folder's path are the first of all that is in it, so that it comes before them.
pub(super) fn by_path(entries: &[Entry]) -> Result<BTreeMap<&str, Option<&Entry>>> {
    let mut ordered = BTreeMap::new();
    for entry in entries {
        check(entry)?;
        if ordered.insert(entry.path.as_str(), Some(entry)).is_some() {
            return Err(entry.refuse("it is given twice"));
        }
    }
    for entry in entries {
        for (end, _) in entry.path.match_indices('/') {
            let above = ordered.entry(&entry.path[..end]).or_insert(None);
            if above.is_some_and(|above| above.content != Content::Folder) {
                return Err(entry.refuse("what is above it is no folder"));
            }
        }
    }
    Ok(ordered)
}

fn check(entry: &Entry) -> Result<()> {
    let usable = |name: &str| !["", ".", ".."].contains(&name) && !name.contains('\0');
    if !entry.path.split('/').all(usable) {
        return Err(entry.refuse("it is not a plain path from the top: names with / between them"));
    }
    if entry.path == TRAILER {
        return Err(entry.refuse("this name ends an archive"));
    }
    if entry.path.len() >= MAX_PATH {
        return Err(entry.refuse("the kernel skips paths of 4096 bytes and more"));
    }
    if entry.mode > 0o7777 {
        return Err(entry.refuse("its mode is more than permissions"));
    }
    match &entry.content {
        Content::Link(target) if target.is_empty() || target.contains('\0') => {
            Err(entry.refuse("it leads to what is no path"))
        }
        Content::Link(target) if target.len() >= MAX_PATH => {
            Err(entry.refuse("the kernel skips links to 4096 bytes and more"))
        }
        Content::Character { major, minor } | Content::Block { major, minor }
            if [*major, *minor].iter().zip(MAX_DEVICE).any(|(&own, most)| own > most) =>
        {
            Err(entry.refuse("there is no device of these numbers"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_first() {
        let entries = ["a/b/c", "a-b", "a/b", "d", "z/y"].map(|path| Entry::folder(path, 0o700));
        let ordered = by_path(&entries).unwrap();
        let found: Vec<_> = ordered.iter().map(|(&path, entry)| (path, entry.is_some())).collect();
        let expected = [
            ("a", false),
            ("a-b", true),
            ("a/b", true),
            ("a/b/c", true),
            ("d", true),
            ("z", false),
            ("z/y", true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_unpacked_is_refused() {
        let long = "x".repeat(4096);
        let refused = |entries: &[Entry]| by_path(entries).unwrap_err().to_string();
        for path in
            ["", "/", "/init", "a/", "a//b", ".", "./a", "..", "a/../b", "a\0b", TRAILER, &long]
        {
            let error = refused(&[Entry::folder(path, 0)]);
            assert!(error.contains("cannot be in an initrd"), "{error}");
        }
        let node = |major, minor| Entry {
            path: "node".into(),
            mode: 0,
            content: Content::Block { major, minor },
        };
        for (entries, why) in [
            (&[Entry::folder("a", 0), Entry::link("a", "b")][..], "twice"),
            (&[Entry::folder("a/b/c", 0), Entry::link("a", "b")], "no folder"),
            (&[Entry::bytes("a/b", 0, ""), Entry::link("a/b/c/d", "b")], "no folder"),
            (&[Entry::folder("a", 0o40755)], "permissions"),
            (&[Entry::link("a", "")], "no path"),
            (&[Entry::link("a", &*long)], "skips links"),
            (&[node(4096, 0)], "no device"),
            (&[node(0, 1 << 20)], "no device"),
        ] {
            let error = refused(entries);
            assert!(error.contains(why), "{error}");
        }
        let fine = [
            node(4095, (1 << 20) - 1),
            Entry::link("a", "/b"),
            Entry::bytes("x/TRAILER!!!", 0, ""),
        ];
        by_path(&fine).unwrap();
    }
}
