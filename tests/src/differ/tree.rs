//! A tree of files, by what makes two of them equal.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use coremax_fetch::Digest;
use rustix::{
    fs::{FileType, lgetxattr, llistxattr},
    io::Errno,
};

/// Bytes of a list of attributes' names, and of a value, at most. Set by Linux (XATTR_SIZE_MAX).
const MAX_ATTRIBUTES: usize = 65536;

/// Its files by path.
pub(super) struct Tree(BTreeMap<String, Found>);

/// A file, folder or link.
#[derive(PartialEq, Eq)]
struct Found {
    /// Kind and mode.
    mode: u32,
    owner: (u32, u32),
    /// Seconds since 1970, where the file system keeps them.
    time: i64,
    /// Of a file the digest, of a link where it leads to.
    content: String,
    /// Extended ones by name, as far as the file system keeps them: capabilities, access lists.
    attributes: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// That of a folder.
    pub(super) fn of(folder: &Path) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        walk(folder, "", &mut files).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Self(files))
    }

    /// That of an image of FAT, which has no owners and no modes.
    pub(super) fn of_fat(image: &Path) -> Result<Self, String> {
        // To be written too, or it is not taken for a disk.
        let file = File::options().read(true).write(true).open(image).map_err(|e| e.to_string())?;
        let volume = fatfs::FileSystem::new(file, fatfs::FsOptions::new());
        let volume = volume.map_err(|e| format!("{}: {e}", image.display()))?;
        let mut files = BTreeMap::new();
        walk_fat(&volume.root_dir(), "", &mut files).map_err(|e| e.to_string())?;
        Ok(Self(files))
    }

    /// The same, with no word on when links were made.
    pub(super) fn without_times_of_links(mut self) -> Self {
        let is_link = |found: &&mut Found| FileType::from_raw_mode(found.mode) == FileType::Symlink;
        self.0.values_mut().filter(is_link).for_each(|found| found.time = 0);
        self
    }

    /// In the order of paths, a line each.
    pub(super) fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = String> + 'a {
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        paths.into_iter().filter_map(|path| {
            let what = match (self.0.get(path), other.0.get(path)) {
                (Some(one), Some(two)) => one.difference(two)?,
                (Some(_), None) => "only in the first".to_owned(),
                _ => "only in the second".to_owned(),
            };
            Some(format!("{path}: {what}"))
        })
    }
}

impl Found {
    fn difference(&self, other: &Self) -> Option<String> {
        let mode = format!("mode {:o} and {:o}", self.mode, other.mode);
        let owner = format!("owner {:?} and {:?}", self.owner, other.owner);
        let time = format!("time {} and {}", self.time, other.time);
        let attributes = format!("attributes {:?} and {:?}", self.attributes, other.attributes);
        let what = [
            (self.content != other.content, "content".to_owned()),
            (self.mode != other.mode, mode),
            (self.owner != other.owner, owner),
            (self.time != other.time, time),
            (self.attributes != other.attributes, attributes),
        ];
        let what: Vec<_> =
            what.into_iter().filter_map(|(differs, what)| differs.then_some(what)).collect();
        (!what.is_empty()).then(|| what.join(", "))
    }
}

fn walk(folder: &Path, below: &str, files: &mut BTreeMap<String, Found>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (found, path) = (entry.metadata()?, entry.path());
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        let content = match () {
            () if found.is_symlink() => fs::read_link(&path)?.to_string_lossy().into_owned(),
            () if found.is_file() => Digest::of_reader(File::open(&path)?)?.0.to_string(),
            () => String::new(),
        };
        if found.is_dir() {
            walk(&path, &format!("{name}/"), files)?;
        }
        let (mode, owner, time) = (found.mode(), (found.uid(), found.gid()), found.mtime());
        let attributes = attributes(&path)?;
        files.insert(name, Found { mode, owner, time, content, attributes });
    }
    Ok(())
}

fn attributes(path: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = vec![0; MAX_ATTRIBUTES];
    let length = match llistxattr(path, &mut names) {
        Err(Errno::NOTSUP) => 0,
        found => found?,
    };
    let mut attributes = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0; MAX_ATTRIBUTES];
        let length = lgetxattr(path, &name, &mut value)?;
        attributes.insert(name, value[..length].to_vec());
    }
    Ok(attributes)
}

fn walk_fat(
    folder: &fatfs::Dir<'_, File>,
    below: &str,
    files: &mut BTreeMap<String, Found>,
) -> std::io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let name = format!("{below}{name}");
        let content = if entry.is_dir() {
            walk_fat(&entry.to_dir(), &format!("{name}/"), files)?;
            String::new()
        } else {
            let mut bytes = Vec::new();
            entry.to_file().read_to_end(&mut bytes)?;
            Digest::of(&bytes).to_string()
        };
        let time = seconds(entry.modified());
        let (mode, owner, attributes) = (0, (0, 0), BTreeMap::new());
        files.insert(name, Found { mode, owner, time, content, attributes });
    }
    Ok(())
}

/// As if every month had 31 days: enough to tell times apart.
fn seconds(at: fatfs::DateTime) -> i64 {
    let days =
        (i64::from(at.date.year) * 12 + i64::from(at.date.month)) * 31 + i64::from(at.date.day);
    let [hour, minute, second] = [at.time.hour, at.time.min, at.time.sec].map(i64::from);
    ((days * 24 + hour) * 60 + minute) * 60 + second
}
