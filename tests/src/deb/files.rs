//! A tar in memory whose entries stay as they were read, but for those that are changed.

use std::io::Read as _;

use tar::{EntryType, Header};

const BLOCK: usize = 512;

/// The files of a tar in their order. Paths have neither `./` before nor `/` behind them.
#[derive(Debug, Clone, Default)]
pub struct Files(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    kind: EntryType,
    /// The blocks before its content; those with a long name among them.
    head: Vec<u8>,
    content: Vec<u8>,
}

impl Files {
    /// The entries of a tar.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn read(tar: &[u8]) -> Result<Self, String> {
        let mut files = Vec::new();
        let (mut before, mut long) = (Vec::new(), None);
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().map_err(|e| e.to_string())?.raw(true) {
            let mut entry = entry.map_err(|e| e.to_string())?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|e| e.to_string())?;
            let (header, kind) = (entry.header(), entry.header().entry_type());
            before.extend(header.as_bytes());
            if matches!(kind, EntryType::GNULongName | EntryType::GNULongLink) {
                if kind == EntryType::GNULongName {
                    long = Some(content.split(|byte| *byte == 0).next().unwrap_or(&[]).to_vec());
                }
                content.resize(content.len().next_multiple_of(BLOCK), 0);
                before.extend(content);
                continue;
            }
            let path = long.take().unwrap_or_else(|| header.path_bytes().into_owned());
            let path = plain(&String::from_utf8_lossy(&path)).to_owned();
            files.push(Entry { path, kind, head: std::mem::take(&mut before), content });
        }
        Ok(Self(files))
    }

    /// The tar.
    pub fn write(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for entry in &self.0 {
            tar.extend(&entry.head);
            tar.extend(&entry.content);
            tar.resize(tar.len().next_multiple_of(BLOCK), 0);
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        tar
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.path.as_str()).filter(|path| !path.is_empty())
    }

    /// A file's content.
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        self.find(path).map(|entry| entry.content.as_slice())
    }

    /// A file's content, where it is text.
    pub fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(self.content(path)?.to_vec()).ok()
    }

    /// Whether there is a link of this path.
    pub fn is_link(&self, path: &str) -> bool {
        self.find(path).is_some_and(|entry| entry.kind == EntryType::Symlink)
    }

    /// A file, in place of the one of this path, and the folders above it.
    pub fn put(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.add(path, EntryType::Regular, mode, "", content);
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.add(path, EntryType::Symlink, 0o777, to, b"");
    }

    /// Takes out what has a path that is chosen; the folders above it come along as copies.
    pub fn take(&mut self, chosen: impl Fn(&str) -> bool) -> Self {
        let (taken, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|entry| chosen(&entry.path));
        let is_above = |folder: &Entry| {
            let below = format!("{}/", folder.path);
            folder.kind == EntryType::Directory
                && taken
                    .iter()
                    .any(|entry| folder.path.is_empty() || entry.path.starts_with(&below))
        };
        let above: Vec<_> = left.iter().filter(|entry| is_above(entry)).cloned().collect();
        self.0 = left;
        Self(above.into_iter().chain(taken).collect())
    }

    /// Adds all of another tar; folders that are there already stay as they are.
    pub fn extend(&mut self, other: Self) {
        for entry in other.0 {
            if entry.kind != EntryType::Directory || self.find(&entry.path).is_none() {
                self.0.push(entry);
            }
        }
    }

    fn find(&self, path: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.path == path)
    }

    fn add(&mut self, path: &str, kind: EntryType, mode: u32, link: &str, content: &[u8]) {
        for (at, _) in path.match_indices('/') {
            if self.find(&path[..at]).is_none() {
                self.0.push(entry(&path[..at], EntryType::Directory, 0o755, "", b""));
            }
        }
        let new = entry(path, kind, mode, link, content);
        match self.0.iter_mut().find(|entry| entry.path == path) {
            Some(old) => *old = new,
            None => self.0.push(new),
        }
    }
}

/// An entry of root's, as old as can be; the prefix `./` is as dpkg-deb writes it.
fn entry(path: &str, kind: EntryType, mode: u32, link: &str, content: &[u8]) -> Entry {
    let mut header = Header::new_gnu();
    let slash = if kind == EntryType::Directory { "/" } else { "" };
    let name = format!("./{path}{slash}");
    // `set_path` would take the prefix away; this field holds no more, and its neighbours follow.
    assert!(name.len() <= 100, "{name} is too long for a header");
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_link_name_literal(link).expect("a short link");
    header.set_cksum();
    let head = header.as_bytes().to_vec();
    Entry { path: path.to_owned(), kind, head, content: content.to_vec() }
}

fn plain(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
    if path == "." { "" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_go_with_their_files() {
        let long = format!("usr/{}/file", "x".repeat(120));
        let mut builder = tar::Builder::new(Vec::new());
        for path in [long.as_str(), "usr/short"] {
            let mut header = Header::new_gnu();
            header.set_size(3);
            builder.append_data(&mut header, path, &b"abc"[..]).unwrap();
        }
        let mut files = Files::read(&builder.into_inner().unwrap()).unwrap();
        let taken = files.take(|path| path == long);
        for (files, path) in [(&files, "usr/short"), (&taken, long.as_str())] {
            let again = Files::read(&files.write()).unwrap();
            assert_eq!(again.paths().collect::<Vec<_>>(), [path]);
            assert_eq!(again.content(path), Some(&b"abc"[..]));
        }
    }

    #[test]
    fn what_is_taken_has_its_folders() {
        let mut files = Files::default();
        files.put("lib/modules/a/one.ko", 0o644, b"1");
        files.put("lib/modules/b/two.ko", 0o644, b"2");
        let taken = files.take(|path| path.ends_with("two.ko"));
        assert_eq!(
            taken.paths().collect::<Vec<_>>(),
            ["lib", "lib/modules", "lib/modules/b", "lib/modules/b/two.ko"]
        );
        assert!(files.content("lib/modules/b/two.ko").is_none());
    }
}
