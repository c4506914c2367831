//! A FAT32 volume with files in it, such as an EFI system partition.
//!
//! FAT32: a boot sector and an FSInfo sector (free clusters), each with a copy; two file allocation
//! tables, where 32 bits for each cluster name the next one of its file; then the clusters. Folders
//! hold entries of 32 bytes, a long name in entries before the short one. Everything is laid out
//! before the first byte is written, so that each file is one run of clusters.
//! <https://download.microsoft.com/download/1/6/1/161ba512-40e2-4cc9-843a-923143f3456c/fatgen103.doc>

mod entry;
mod geometry;
mod tree;

use std::{
    fs::File as HostFile,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{Bytes, Error, Progress, Result, error::During, sparse};
use geometry::Geometry;
use tree::Tree;

/// The size an ESP has unless something else is wanted: room for two slots' kernels and initrds.
pub const DEFAULT_SIZE: Bytes = Bytes::mib(512);

/// A volume to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its label: 1 to 11 of `A`-`Z`, `0`-`9`, hyphen, underscore and space.
    pub label: String,
    /// Its serial number, by which Linux and GRUB name it (`1234-ABCD`).
    pub id: u32,
    /// Its size, from 64 MiB to 32 GiB.
    pub size: Bytes,
    /// Its files; the folders above them are made.
    pub files: Vec<File>,
}

/// A file to be in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the volume with `/` between names: `EFI/BOOT/BOOTX64.EFI`.
    pub path: String,
    /// What it holds.
    pub content: Content,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes of a file of the host.
    Path(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl File {
    /// A file with these bytes.
    pub fn bytes(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: Content::Bytes(bytes.into()) }
    }

    /// A file with what the host's file `from` holds.
    pub fn copy(path: impl Into<String>, from: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), content: Content::Path(from.into()) }
    }
}

/// Writes the volume as a new sparse file, replacing any at `image`. All times in it are the first
/// of January 1980. `progress` counts the bytes of files.
///
/// # Errors
/// Labels, sizes and paths that FAT cannot have, two files of one path (in any case of letters),
/// files that do not fit, and failing I/O; each names the file.
pub fn make(volume: &Volume, image: &Path, progress: Progress<'_>) -> Result<()> {
    let plan = Plan::new(volume)?;
    let file = HostFile::create(image).during("creating", image)?;
    file.set_len(volume.size.0).during("sizing", image)?;
    for (at, bytes) in plan.metadata(volume) {
        file.write_all_at(&bytes, at).during("writing", image)?;
    }
    for (number, content) in volume.files.iter().enumerate() {
        content.write(&file, plan.geometry.offset(plan.files[number].start), image, progress)?;
    }
    Ok(())
}

/// A run of clusters; for what has no bytes the start is 0 and means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u32,
    /// In bytes.
    length: u32,
}

/// Where everything in a volume lies.
struct Plan {
    geometry: Geometry,
    tree: Tree,
    /// In the order of the tree's folders and of the volume's files.
    folders: Vec<Run>,
    files: Vec<Run>,
}

impl Plan {
    fn new(volume: &Volume) -> Result<Self> {
        let label = &volume.label;
        let refuse = |why| Error::FatVolume { label: label.clone(), size: volume.size, why };
        entry::check_label(label).map_err(refuse)?;
        let geometry = Geometry::new(volume.size).map_err(refuse)?;
        let tree = Tree::new(volume.files.iter().map(|file| file.path.as_str()))?;
        let mut next = geometry::FIRST_CLUSTER;
        let mut place = |length: u32| {
            let start = if length == 0 { 0 } else { next };
            next = next.saturating_add(length.div_ceil(geometry.cluster));
            Run { start, length }
        };
        let folders = tree.folders.iter().map(|folder| place(folder.length())).collect();
        let lengths = volume.files.iter().map(File::length).collect::<Result<Vec<_>>>()?;
        let files = lengths.into_iter().map(&mut place).collect();
        let needed = next - geometry::FIRST_CLUSTER;
        if needed > geometry.clusters {
            let bytes = |clusters| Bytes(u64::from(clusters) * u64::from(geometry.cluster));
            let (needed, size) = (bytes(needed), bytes(geometry.clusters));
            return Err(Error::FatFull { label: label.clone(), needed, size });
        }
        Ok(Self { geometry, tree, folders, files })
    }

    /// Boot sectors, tables and folders, each with its place in bytes.
    fn metadata(&self, volume: &Volume) -> Vec<(u64, Vec<u8>)> {
        let runs = self.folders.iter().chain(&self.files);
        let table = self.geometry.table(runs.copied());
        let used = table.len() / 4 - geometry::FIRST_CLUSTER as usize;
        let mut parts = self.geometry.boot_sectors(volume.id, &volume.label, used);
        parts.extend(self.geometry.tables().map(|at| (at, table.clone())));
        parts.extend(self.folders.iter().enumerate().map(|(number, run)| {
            let label = (number == 0).then_some(volume.label.as_str());
            (self.geometry.offset(run.start), self.folder(number, label))
        }));
        parts
    }

    /// A folder's entries; the label stands in the root.
    fn folder(&self, number: usize, label: Option<&str>) -> Vec<u8> {
        let folder = &self.tree.folders[number];
        let mut bytes = match label {
            Some(label) => entry::label(label).to_vec(),
            None => {
                let parent = if folder.parent == 0 { 0 } else { self.folders[folder.parent].start };
                entry::dots(self.folders[number].start, parent)
            }
        };
        let aliases = entry::aliases(folder.children.iter().map(|child| child.name.as_str()));
        for (child, alias) in folder.children.iter().zip(aliases) {
            let (run, is_folder) = match child.node {
                tree::Node::Folder(number) => (Run { length: 0, ..self.folders[number] }, true),
                tree::Node::File(number) => (self.files[number], false),
            };
            bytes.extend(entry::entries(&child.name, alias, run, is_folder));
        }
        bytes
    }
}

impl File {
    fn length(&self) -> Result<u32> {
        let length = match &self.content {
            Content::Path(path) => path.metadata().during("reading", path)?.len(),
            Content::Bytes(bytes) => bytes.len() as u64,
        };
        let refuse = |_| Error::FatPath { path: self.path.clone(), why: "it has 4 GiB or more" };
        u32::try_from(length).map_err(refuse)
    }

    fn write(&self, to: &HostFile, at: u64, image: &Path, progress: Progress<'_>) -> Result<()> {
        let written = match &self.content {
            Content::Bytes(bytes) => {
                to.write_all_at(bytes, at).inspect(|()| progress(bytes.len() as u64))
            }
            Content::Path(path) => {
                let from = HostFile::open(path).during("opening", path)?;
                sparse::copy(&from, u64::from(self.length()?), to, at, progress)
            }
        };
        written.map_err(|source| {
            let (path, volume) = (self.path.clone(), image.to_owned());
            Error::FatFile { path, volume, source }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, HashSet},
        io::{self, Read, Write},
        os::unix::fs::MetadataExt,
        sync::atomic::{AtomicU64, Ordering},
    };

    use fatfs::{FileSystem, FsOptions};

    use proptest::prelude::*;

    use super::*;

    fn volume(files: Vec<File>) -> Volume {
        Volume { label: "ESP".into(), id: 0x1234_abcd, size: Bytes::mib(64), files }
    }

    fn read_back(image: &Path) -> BTreeMap<String, Vec<u8>> {
        let system =
            FileSystem::new(HostFile::open(image).map(ReadOnly).unwrap(), FsOptions::new())
                .unwrap();
        let mut found = BTreeMap::new();
        collect(&system.root_dir(), "", &mut found);
        found
    }

    fn collect(
        folder: &fatfs::Dir<'_, ReadOnly>,
        above: &str,
        found: &mut BTreeMap<String, Vec<u8>>,
    ) {
        for entry in folder.iter().map(|entry| entry.unwrap()) {
            let path = format!("{above}{}", entry.file_name());
            if entry.is_file() {
                let mut bytes = Vec::new();
                entry.to_file().read_to_end(&mut bytes).unwrap();
                found.insert(path, bytes);
            } else if !entry.file_name().starts_with('.') {
                collect(&entry.to_dir(), &format!("{path}/"), found);
            }
        }
    }

    /// fatfs asks for a writer even where it only reads.
    struct ReadOnly(HostFile);

    impl Read for ReadOnly {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for ReadOnly {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Seek for ReadOnly {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn the_same_volume_has_the_same_bytes_and_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let volume = Volume {
            size: DEFAULT_SIZE,
            ..volume(vec![
                File::bytes("EFI/BOOT/BOOTX64.EFI", vec![1; 100_000]),
                File::bytes("EFI/BOOT/grub.cfg", "echo"),
                File::bytes("a/long name of a kernel-6.1.0-41-cloud-amd64", vec![2; 3_000_000]),
            ])
        };
        let count = AtomicU64::new(0);
        let progress = |n| _ = count.fetch_add(n, Ordering::Relaxed);
        make(&volume, &one, &progress).unwrap();
        make(&volume, &two, &|_| ()).unwrap();
        assert_eq!(count.into_inner(), 3_100_004);
        assert!(std::fs::read(&one).unwrap() == std::fs::read(&two).unwrap());
        assert!(one.metadata().unwrap().blocks() * 512 < 3_400_000);
        let found = read_back(&one);
        assert_eq!(found.len(), 3);
        assert_eq!(found["EFI/BOOT/grub.cfg"], b"echo");
        assert!(found["a/long name of a kernel-6.1.0-41-cloud-amd64"] == vec![2; 3_000_000]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("esp.img");
        let missing = folder.path().join("vmlinuz");
        let large = folder.path().join("large");
        HostFile::create(&large).unwrap().set_len(Bytes::mib(70).0).unwrap();
        for (volume, expected) in [
            (Volume { size: Bytes::mib(63), ..volume(vec![]) }, "from 64 MiB"),
            (Volume { label: "esp".into(), ..volume(vec![]) }, "label"),
            (Volume { label: "COREMAX-ESP-1".into(), ..volume(vec![]) }, "label"),
            (Volume { label: " ".into(), ..volume(vec![]) }, "label"),
            (volume(vec![File::copy("vmlinuz", &missing)]), "vmlinuz"),
            (volume(vec![File::copy("vmlinuz", &large)]), "the files need"),
        ] {
            let error = make(&volume, &image, &|_| ()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn names_and_contents_come_back(
            files in prop::collection::btree_map("[a-z0-9][a-zA-Z0-9 ._+~-]{0,40}[a-z0-9]", prop::collection::vec(any::<u8>(), 0..9000), 0..12),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let image = folder.path().join("esp.img");
            let list = files.iter().map(|(name, bytes)| File::bytes(format!("Some Folder/{name}"), &bytes[..]));
            let volume = volume(list.collect());
            let lower: HashSet<_> = files.keys().map(|name| name.to_lowercase()).collect();
            prop_assume!(lower.len() == files.len());
            make(&volume, &image, &|_| ()).unwrap();
            let expected: BTreeMap<_, _> = files.into_iter().map(|(name, bytes)| (format!("Some Folder/{name}"), bytes)).collect();
            prop_assert_eq!(read_back(&image), expected);
        }
    }
}
