//! Hard links, made once everything else is unpacked and it is settled whose each path is.
//!
//! A package may link to a file of its own that another package takes. Where that other one comes
//! first, dpkg finds its file there when it makes the link; where it comes later, the link holds what
//! its own package shipped, and goes on to hold it. So it is here, in the order of the packages.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use rustix::fs::{self, AtFlags};
use tar::EntryType;

use super::{
    Files, Job, Package,
    claims::{Key, Owner},
    writer::{self, Place, Writer},
};
use crate::{Error, deb::Entries, tree::Metadata};

/// A link that is yet to be made.
#[derive(Debug)]
pub(super) struct HardLink {
    pub(super) path: PathBuf,
    pub(super) target: PathBuf,
    pub(super) metadata: Metadata,
}

/// Makes the links of all packages, each package's in the order in which it has them.
pub(super) fn make(job: &Job<'_>, files: &mut [Files]) -> Result<(), Error> {
    let mut buffer = vec![0; writer::BUFFER_BYTES];
    for (index, files) in files.iter_mut().enumerate() {
        let links = std::mem::take(&mut files.links);
        let writer = Writer::new(job, index, &mut buffer);
        let mut linker = Linker { writer, files: HashMap::new(), copies: HashMap::new() };
        for link in links {
            linker.make(link)?;
        }
        files.bytes += linker.writer.files.bytes;
    }
    Ok(())
}

/// Makes the links of one package.
struct Linker<'a> {
    writer: Writer<'a>,
    /// The file that a link made before leads to.
    files: HashMap<PathBuf, PathBuf>,
    /// Where what the package shipped under a path that it lost is instead.
    copies: HashMap<PathBuf, PathBuf>,
}

impl Linker<'_> {
    fn make(&mut self, link: HardLink) -> Result<(), Error> {
        let place = self.writer.place(link.path, link.metadata)?;
        self.link(&place, &link.target)?;
        let file = self.files.get(&link.target).unwrap_or(&link.target).clone();
        self.files.insert(place.path, file);
        Ok(())
    }

    fn link(&mut self, place: &Place, target: &Path) -> Result<(), Error> {
        match self.owner(target)? {
            Some(Owner::Itself) => self.link_to(place, target, self.writer.package),
            Some(Owner::Other { by, .. }) if by < self.writer.index => {
                self.link_to(place, target, &self.writer.job.packages[by])
            }
            Some(Owner::Other { lost, .. }) => self.hold_own(place, &lost),
            None => {
                let problem = format!("it is a link to {}, which is not its own", target.display());
                Err(self.writer.refused(&place.path, problem))
            }
        }
    }

    /// Has at `place` what the package shipped under a path that a later one took.
    fn hold_own(&mut self, place: &Place, lost: &Path) -> Result<(), Error> {
        let file = self.files.get(lost).map_or(lost, PathBuf::as_path).to_owned();
        let there = self.copies.get(&file).unwrap_or(&file).clone();
        if self.is_own(&there)? {
            return self.link_to(place, &there, self.writer.package);
        }
        self.write_again(place, &file)?;
        self.copies.insert(file, place.path.clone());
        Ok(())
    }

    fn link_to(&mut self, place: &Place, target: &Path, owner: &Package) -> Result<(), Error> {
        let folder = self.writer.folder_of(target)?;
        let name = owner.written_name(target, target.file_name().unwrap_or_default());
        let (from, to) = (&folder.handle, &place.folder.handle);
        let link = || fs::linkat(from, &name, to, &place.written, AtFlags::empty());
        self.writer.claim(place, link).map(drop)
    }

    fn is_own(&mut self, path: &Path) -> Result<bool, Error> {
        Ok(matches!(self.owner(path)?, Some(Owner::Itself)))
    }

    fn owner(&mut self, path: &Path) -> Result<Option<Owner>, Error> {
        let folder = self.writer.folder_of(path)?.id;
        let name = path.file_name().unwrap_or_default().into();
        Ok(self.writer.job.claims.owner(&Key { folder, name }, self.writer.index))
    }

    /// Reads the package once more, for the content that was in the way of another's.
    fn write_again(&mut self, place: &Place, path: &Path) -> Result<(), Error> {
        let deb = &self.writer.package.deb;
        let failed = |source| deb.failed("data.tar", source);
        let mut data = deb.data()?;
        for item in Entries::of(&mut data).map_err(failed)? {
            let mut item = item.map_err(failed)?;
            let is_link = item.entry.header().entry_type() == EntryType::Link;
            if !is_link && self.writer.relative(&item.path)? == path {
                return self.writer.make(&mut item, place);
            }
        }
        Err(self.writer.refused(&place.path, format!("it is a link to {}", path.display())))
    }
}
