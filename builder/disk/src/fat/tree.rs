//! The folders that a list of paths needs, and which paths FAT can hold.

use std::collections::HashMap;

use super::entry;
use crate::{Error, Result};

/// The most entries a folder holds, less two for its label or its dots.
const MOST_ENTRIES: usize = 65_534;

/// Folders, the root first, each before those in it.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) folders: Vec<Folder>,
}

/// A folder: the number of the one above (the root is its own), and what is in it.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) parent: usize,
    pub(super) children: Vec<Child>,
    /// By name in upper case, for which FAT takes names that differ in case alone as one.
    numbers: HashMap<String, Node>,
    /// How many entries its children take at most.
    entries: usize,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) node: Node,
}

/// A folder's number in the tree, or a file's in the list of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Folder(usize),
    File(usize),
}

impl Tree {
    /// The tree of these files.
    pub(super) fn new<'a>(paths: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut tree = Self { folders: vec![Folder::default()] };
        for (number, path) in paths.enumerate() {
            let refuse = |why| Error::FatPath { path: path.to_owned(), why };
            tree.insert(path, number).map_err(refuse)?;
        }
        Ok(tree)
    }

    fn insert(&mut self, path: &str, number: usize) -> std::result::Result<(), &'static str> {
        let (above, name) = path.rsplit_once('/').map_or((None, path), |(a, name)| (Some(a), name));
        let mut at = 0;
        for folder in above.into_iter().flat_map(|above| above.split('/')) {
            let new = self.folders.len();
            at = match self.folders[at].enter(folder, Node::Folder(new))? {
                Node::File(_) => return Err("a file stands where it needs a folder"),
                Node::Folder(number) => {
                    if number == new {
                        self.folders.push(Folder { parent: at, ..Folder::default() });
                    }
                    number
                }
            };
        }
        match self.folders[at].enter(name, Node::File(number))? {
            Node::File(found) if found == number => Ok(()),
            Node::File(_) => {
                Err("it is there twice, as FAT takes upper and lower case for the same")
            }
            Node::Folder(_) => Err("it is a folder already"),
        }
    }
}

impl Folder {
    /// Its length in bytes, at most: entries for its label or its dots, and for all that is in it.
    pub(super) fn length(&self) -> u32 {
        u32::try_from((2 + self.entries) * entry::LENGTH).unwrap_or(u32::MAX)
    }

    /// What stands under `name`, which is `node` where nothing did.
    fn enter(&mut self, name: &str, node: Node) -> std::result::Result<Node, &'static str> {
        check(name)?;
        if let Some(found) = self.numbers.get(&name.to_uppercase()) {
            return Ok(*found);
        }
        self.numbers.insert(name.to_uppercase(), node);
        self.entries += entry::count(name);
        if self.entries > MOST_ENTRIES {
            return Err("its folder would have more than 65536 entries");
        }
        self.children.push(Child { name: name.to_owned(), node });
        Ok(node)
    }
}

fn check(name: &str) -> std::result::Result<(), &'static str> {
    let forbidden = |c: char| c.is_control() || "\"*/:<>?\\|".contains(c);
    match name {
        "" => Err("a name in it is empty"),
        "." | ".." => Err("it holds . or .."),
        _ if name.ends_with(['.', ' ']) => Err("a name in it ends in a dot or a space"),
        _ if name.contains(forbidden) => Err("a name in it holds a character that FAT forbids"),
        _ if name.encode_utf16().count() > entry::LONGEST_NAME => {
            Err("a name in it is longer than 255")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_once() {
        let paths = ["EFI/BOOT/BOOTX64.EFI", "efi/boot/grub.cfg", "a/b", "c"];
        let tree = Tree::new(paths.into_iter()).unwrap();
        let parents: Vec<usize> = tree.folders.iter().map(|folder| folder.parent).collect();
        assert_eq!(parents, [0, 0, 1, 0]);
        let names: Vec<&str> = tree.folders[0].children.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["EFI", "a", "c"]);
        assert_eq!(tree.folders[2].children[1].node, Node::File(1));
        assert_eq!(tree.folders[3].length(), 4 * 32);
    }

    #[test]
    fn bad_paths_are_named() {
        let long = "x".repeat(256);
        for (paths, expected) in [
            (vec![""], "empty"),
            (vec!["/EFI"], "empty"),
            (vec!["EFI//a"], "empty"),
            (vec!["EFI/"], "empty"),
            (vec!["a/../b"], ".."),
            (vec!["a."], "dot"),
            (vec!["a/b "], "space"),
            (vec!["a:b"], "forbids"),
            (vec!["a\nb"], "forbids"),
            (vec![long.as_str()], "255"),
            (vec!["efi/a", "EFI/A"], "twice"),
            (vec!["efi", "EFI/A"], "needs a folder"),
            (vec!["EFI/A", "efi"], "a folder already"),
        ] {
            let error = Tree::new(paths.iter().copied()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
