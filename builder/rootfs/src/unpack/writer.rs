//! One package's files, written into the tree as they come out of the .deb.
//!
//! Owners are taken by number: the few that are not root are of base-passwd's fixed ids, which the
//! policy lets packages use, and the tree has no /etc/passwd yet in which dpkg would look up names.
//! Extended attributes are no part of the format. Nothing is synced: a tree that a power cut
//! interrupts is made anew.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags},
    io::Errno,
};
use tar::{Entry, EntryType};

use super::{
    Files, Job, Package,
    claims::{Claimant, Key, Made},
    layout,
    links::HardLink,
    package::NEW_CONFFILE,
    paths,
};
use crate::{
    Error,
    deb::{Entries, Item},
    tree::Metadata,
};

/// How much of a file is written at a time.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// Writes one package.
pub(super) struct Writer<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) index: usize,
    pub(super) package: &'a Package,
    buffer: &'a mut [u8],
    /// The folder of the entry before, which is mostly that of the next.
    here: Option<(PathBuf, Rc<Folder>)>,
    pub(super) files: Files,
}

/// A folder held open, and its device and inode.
pub(super) struct Folder {
    pub(super) handle: OwnedFd,
    pub(super) id: (u64, u64),
}

/// Where an entry goes.
pub(super) struct Place {
    /// From the tree's top.
    pub(super) path: PathBuf,
    pub(super) folder: Rc<Folder>,
    /// In the folder, as the package has it.
    name: OsString,
    /// In the folder, as it is written.
    pub(super) written: OsString,
    metadata: Metadata,
}

impl<'a> Writer<'a> {
    pub(super) fn new(job: &'a Job<'a>, index: usize, buffer: &'a mut [u8]) -> Self {
        let package = &job.packages[index];
        Self { job, index, package, buffer, here: None, files: Files::default() }
    }

    /// Writes all files.
    pub(super) fn write_all(mut self) -> Result<Files, Error> {
        let deb = &self.package.deb;
        let failed = |source| deb.failed("data.tar", source);
        let mut data = deb.data()?;
        for item in Entries::of(&mut data).map_err(failed)? {
            self.write(&mut item.map_err(failed)?)?;
        }
        // The rest is padding, and the checksum of all.
        io::copy(&mut data.into_inner(), &mut io::sink()).map_err(failed)?;
        Ok(self.files)
    }

    fn write(&mut self, item: &mut Item<'_, impl Read>) -> Result<(), Error> {
        let path = self.relative(&item.path)?;
        self.list(&path);
        let metadata = self.metadata(item, &path)?;
        if item.entry.header().entry_type() == EntryType::Link {
            let target = self.relative(&item.target)?;
            self.files.links.push(HardLink { path, target, metadata });
            return Ok(());
        }
        let place = self.place(path, metadata)?;
        self.make(item, &place)
    }

    /// Makes what an entry is, other than a hard link, at a place of its own or another's.
    pub(super) fn make(
        &mut self,
        item: &mut Item<'_, impl Read>,
        place: &Place,
    ) -> Result<(), Error> {
        match item.entry.header().entry_type() {
            EntryType::Directory => self.folder(place),
            // So said the tar of Unix version 7.
            EntryType::Regular if item.path.ends_with(b"/") => self.folder(place),
            EntryType::Regular | EntryType::Continuous => self.file(&mut item.entry, place),
            EntryType::Symlink => self.symlink(&item.target, place),
            EntryType::Fifo => self.pipe(place),
            // Policy 10.6; besides, a user namespace may make none.
            EntryType::Char | EntryType::Block => {
                Err(self.refused(&place.path, "no package may ship a device node".into()))
            }
            other => Err(self.refused(&place.path, format!("its type is {other:?}"))),
        }
    }

    pub(super) fn metadata(
        &self,
        item: &Item<'_, impl Read>,
        path: &Path,
    ) -> Result<Metadata, Error> {
        let header = item.entry.header();
        let number = |value: io::Result<u64>, what| {
            let value = value.ok().and_then(|value| u32::try_from(value).ok());
            value.ok_or_else(|| self.refused(path, format!("its {what} is no number")))
        };
        Ok(Metadata {
            uid: number(header.uid(), "owner")?,
            gid: number(header.gid(), "group")?,
            mode: number(header.mode().map(u64::from), "mode")? & 0o7777,
            mtime: i64::from(number(header.mtime(), "time")?),
        })
    }

    pub(super) fn place(&mut self, path: PathBuf, metadata: Metadata) -> Result<Place, Error> {
        let folder = self.folder_of(&path)?;
        let name = path.file_name().unwrap_or(OsStr::new(".")).to_owned();
        let written = self.package.written_name(&path, &name);
        Ok(Place { path, folder, name, written, metadata })
    }

    fn folder(&self, place: &Place) -> Result<(), Error> {
        if self.job.options.merged_usr && layout::is_on_demand(&place.path) {
            layout::link(&self.job.tree, &place.name)?;
        }
        let make = || {
            let (folder, name) = (&place.folder.handle, &place.name);
            match fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => return Ok(Made::Folder),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed(&place.path, errno.into())),
            }
            let found = fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| self.failed(&place.path, errno.into()))?;
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                return Ok(Made::Folder);
            }
            let through = self.job.tree.folder(&place.path);
            through.map(|_| Made::Link).map_err(|source| self.failed(&place.path, source))
        };
        self.job.claims.folder(place.key(), self.claimant(&place.path), place.metadata, make)
    }

    fn file(&mut self, entry: &mut Entry<'_, impl Read>, place: &Place) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let opened = self.claim(place, || {
            fs::openat(&place.folder.handle, &place.written, flags, Mode::from_raw_mode(0o600))
        })?;
        let Some(file) = opened else { return Ok(()) };
        let mut file = File::from(file);
        self.copy(entry, &mut file, &place.path)?;
        place.metadata.apply(&file).map_err(|source| self.failed(&place.path, source))
    }

    fn copy(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        file: &mut File,
        path: &Path,
    ) -> Result<(), Error> {
        let mut left = entry.size();
        let deb = &self.package.deb;
        while left > 0 {
            let count = entry.read(self.buffer).map_err(|e| deb.failed("data.tar", e))?;
            if count == 0 {
                return Err(deb.failed("data.tar", io::ErrorKind::UnexpectedEof.into()));
            }
            file.write_all(&self.buffer[..count]).map_err(|source| self.failed(path, source))?;
            left = left.saturating_sub(count as u64);
            self.files.bytes += count as u64;
            (self.job.progress)(count as u64);
        }
        Ok(())
    }

    fn symlink(&self, target: &[u8], place: &Place) -> Result<(), Error> {
        if target.is_empty() || target.contains(&0) {
            return Err(self.refused(&place.path, "it is a link to nothing".into()));
        }
        let target = OsStr::from_bytes(target);
        self.claim(place, || {
            fs::symlinkat(target, &place.folder.handle, &place.written)?;
            Ok(place.metadata.apply_to_link(&place.folder.handle, &place.written))
        })?
        .unwrap_or(Ok(()))
        .map_err(|source| self.failed(&place.path, source))
    }

    fn pipe(&self, place: &Place) -> Result<(), Error> {
        self.claim(place, || {
            let (folder, mode) = (&place.folder.handle, Mode::from_raw_mode(0o600));
            fs::mknodat(folder, &place.written, FileType::Fifo, mode, 0)?;
            Ok(place.metadata.apply_at(folder, &place.written))
        })?
        .unwrap_or(Ok(()))
        .map_err(|source| self.failed(&place.path, source))
    }

    /// Claims a path and makes what is to be there, in place of what is there. `None`: it belongs
    /// to another package.
    pub(super) fn claim<T>(
        &self,
        place: &Place,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<Option<T>, Error> {
        let claimant = self.claimant(&place.path);
        self.job.claims.file(place.key(), claimant, |taken_over| {
            if taken_over {
                place.remove().map_err(|errno| self.failed(&place.path, errno.into()))?;
            }
            let made = match make() {
                // Of no package: it is in the way as it would be in dpkg's.
                Err(Errno::EXIST) => place.remove().and_then(|()| make()),
                other => other,
            };
            made.map_err(|errno| self.failed(&place.path, errno.into()))
        })
    }

    /// The folder that holds a path. Those that no package ships are made.
    pub(super) fn folder_of(&mut self, path: &Path) -> Result<Rc<Folder>, Error> {
        let above = path.parent().unwrap_or(Path::new(""));
        if let Some((here, folder)) = &self.here
            && here == above
        {
            return Ok(Rc::clone(folder));
        }
        let opened = match self.job.tree.folder(above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.job.tree.make_folders(above)
            }
            other => other,
        };
        let handle = opened.map_err(|source| self.failed(path, source))?;
        let found = fs::fstat(&handle).map_err(|errno| self.failed(path, errno.into()))?;
        let folder = Rc::new(Folder { handle, id: (found.st_dev, found.st_ino) });
        self.here = Some((above.to_owned(), Rc::clone(&folder)));
        Ok(folder)
    }

    fn list(&mut self, path: &Path) {
        let path = path.as_os_str().as_bytes();
        self.files.list.push(b'/');
        self.files.list.extend_from_slice(if path.is_empty() { b"." } else { path });
        self.files.list.push(b'\n');
    }

    pub(super) fn relative(&self, path: &[u8]) -> Result<PathBuf, Error> {
        let shown = || Path::new(OsStr::from_bytes(path));
        paths::relative(path).map_err(|problem| self.refused(shown(), problem.to_owned()))
    }

    fn claimant<'p>(&self, path: &'p Path) -> Claimant<'p>
    where
        'a: 'p,
    {
        Claimant { packages: &self.job.packages, by: self.index, path }
    }

    pub(super) fn refused(&self, path: &Path, problem: String) -> Error {
        Error::Entry { package: self.package.deb.name.clone(), path: path.into(), problem }
    }

    fn failed(&self, path: &Path, source: io::Error) -> Error {
        let path = Path::new("/").join(path);
        Error::Unpack { package: self.package.deb.name.clone(), path, source }
    }
}

impl Place {
    fn key(&self) -> Key {
        Key { folder: self.folder.id, name: self.name.as_os_str().into() }
    }

    /// Takes away what is there, be it a package's configuration file or another's plain one.
    fn remove(&self) -> Result<(), Errno> {
        let mut conffile = self.name.clone();
        conffile.push(NEW_CONFFILE);
        for name in [&self.name, &conffile] {
            match fs::unlinkat(&self.folder.handle, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
