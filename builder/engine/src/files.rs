//! What a recipe brings along from the host, overlays and files, as it was when the build was planned.
//!
//! It is read once for the fingerprint and the manifest, and once more when it is in the image: what changed
//! meanwhile must not be stored as what was planned.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, Metadata},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use coremax_fetch::Digest;
use coremax_publish::FileInput;
use coremax_recipe::{Content, Recipe};
use serde::Serialize;

use crate::fingerprint::Fingerprint;

/// Everything a recipe brings along, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Files(Vec<Found>);

/// One thing, by its path in the recipe's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Found {
    path: String,
    what: What,
}

/// Times and owners do not count: an overlay is laid without them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Folder,
    File { executable: bool, size: u64, sha256: Digest },
    Link { target: String },
}

impl Files {
    /// What the recipe names, as it is now.
    ///
    /// # Errors
    /// Where something cannot be read, or is no file, folder or symbolic link.
    pub(crate) fn of(recipe: &Recipe) -> Result<Self> {
        let mut files = Self::default();
        for overlay in &recipe.overlays {
            files.add_named(overlay.from.as_str(), &overlay.source)?;
        }
        for file in &recipe.files {
            if let Content::Copy { from, source } = &file.content {
                files.add_named(from.as_str(), source)?;
            }
        }
        if let (Some(key), Some(source)) = (&recipe.root.update_key, &recipe.root.update_key_source)
        {
            files.add_named(key.as_str(), source)?;
        }
        Ok(files)
    }

    /// The keys of the recipe's own archives.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub(crate) fn keys_of(recipe: &Recipe) -> Result<Self> {
        let mut files = Self::default();
        for archive in &recipe.archives {
            if let (Some(key), Some(source)) = (&archive.key, &archive.key_source) {
                files.add_named(key.as_str(), source)?;
            }
        }
        Ok(files)
    }

    /// The first path that is not the same in both.
    pub(crate) fn difference<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let longer = if self.0.len() < other.0.len() { other } else { self };
        let at = (0..longer.0.len()).find(|&at| self.0.get(at) != other.0.get(at))?;
        Some(&longer.0[at].path)
    }

    /// What is where, in a few words each.
    pub(crate) fn listed(&self) -> BTreeMap<String, String> {
        let shown = |found: &Found| match &found.what {
            What::Folder => "a folder".to_owned(),
            What::File { executable, sha256, .. } => {
                format!("a {} {sha256}", if *executable { "program" } else { "file" })
            }
            What::Link { target } => format!("a link to {target}"),
        };
        self.0.iter().map(|found| (found.path.clone(), shown(found))).collect()
    }

    /// The digest of a single file, or else of the list of everything.
    fn digest(&self) -> Digest {
        match self.0.as_slice() {
            [Found { what: What::File { sha256, .. }, .. }] => *sha256,
            several => Fingerprint::new("files", 1).with_json("files", &several).finish(),
        }
    }

    /// Bytes of all of it.
    pub(crate) fn bytes(&self) -> u64 {
        self.inputs().iter().map(|file| file.size).sum()
    }

    /// Files and links, as a manifest lists them.
    pub(crate) fn inputs(&self) -> Vec<FileInput> {
        let input = |found: &Found| {
            let (size, sha256, target) = match &found.what {
                What::File { size, sha256, .. } => (*size, *sha256, None),
                What::Link { target } => {
                    (target.len() as u64, Digest::of(target), Some(target.clone()))
                }
                What::Folder => return None,
            };
            Some(FileInput { path: found.path.clone(), size, sha256, target })
        };
        self.0.iter().filter_map(input).collect()
    }

    /// What the recipe itself names is followed if it is a link, as those who lay it do.
    fn add_named(&mut self, name: &str, path: &Path) -> Result<()> {
        let found = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        self.add(name, path, &found)
    }

    fn add(&mut self, name: &str, path: &Path, found: &Metadata) -> Result<()> {
        let failed = || format!("reading {}", path.display());
        let what = if found.is_dir() {
            What::Folder
        } else if found.is_symlink() {
            What::Link { target: text(fs::read_link(path).with_context(failed)?.as_os_str()) }
        } else if found.is_file() {
            let file = fs::File::open(path).with_context(failed)?;
            let (sha256, size) = Digest::of_reader(file).with_context(failed)?;
            What::File { executable: found.permissions().mode() & 0o100 != 0, size, sha256 }
        } else {
            bail!("{} is no file, folder or symbolic link", path.display());
        };
        self.0.push(Found { path: name.to_owned(), what });
        if found.is_dir() { self.add_folder(name, path) } else { Ok(()) }
    }

    fn add_folder(&mut self, name: &str, path: &Path) -> Result<()> {
        let failed = || format!("listing {}", path.display());
        let mut entries: Vec<_> =
            fs::read_dir(path).and_then(Iterator::collect).with_context(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        entries.iter().try_for_each(|entry| {
            let found = entry.metadata().with_context(failed)?;
            let name = format!("{name}/{}", text(&entry.file_name()));
            self.add(&name, &entry.path(), &found)
        })
    }
}

/// The digest of each thing beside the recipe that a build reads: of a file as it is, of a folder of all that is in it.
///
/// # Errors
/// Where something cannot be read.
pub(crate) fn digests(recipe: &Recipe) -> Result<BTreeMap<String, Digest>> {
    let overlays = recipe.overlays.iter().map(|overlay| (overlay.from.as_str(), &overlay.source));
    let copies = recipe.files.iter().filter_map(|file| match &file.content {
        Content::Copy { from, source } => Some((from.as_str(), source)),
        Content::Text(_) => None,
    });
    let update = recipe.root.update_key.iter().zip(&recipe.root.update_key_source);
    let archives = recipe.archives.iter().filter_map(|a| a.key.as_ref().zip(a.key_source.as_ref()));
    let keys = update.chain(archives).map(|(key, source)| (key.as_str(), source));
    let digest = |(name, source): (&str, &PathBuf)| {
        let mut files = Files::default();
        files.add_named(name, source)?;
        Ok((name.to_owned(), files.digest()))
    };
    overlays.chain(copies).chain(keys).map(digest).collect()
}

/// A name as text, of which no other name makes the same.
fn text(name: &OsStr) -> String {
    let escaped = || name.as_encoded_bytes().escape_ascii().to_string();
    name.to_str().map_or_else(escaped, str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn of(path: &Path) -> Files {
        let mut files = Files::default();
        files.add_named("overlays/a", path).unwrap();
        files
    }

    #[test]
    fn what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |text: &str| fs::write(at("a"), text).unwrap();
        let mode = |bits| fs::set_permissions(at("a"), PermissionsExt::from_mode(bits)).unwrap();
        write("1");
        let one = of(folder.path());
        assert_eq!(one.difference(&of(folder.path())), None);
        for (change, undo) in [
            (&(|| write("2")) as &dyn Fn(), &(|| write("1")) as &dyn Fn()),
            (&|| mode(0o755), &|| mode(0o644)),
            (&|| symlink("a", at("b")).unwrap(), &|| fs::remove_file(at("b")).unwrap()),
            (&|| fs::create_dir(at("b")).unwrap(), &|| fs::remove_dir(at("b")).unwrap()),
        ] {
            change();
            let other = of(folder.path());
            let difference = one.difference(&other);
            assert!(difference.is_some_and(|path| path.starts_with("overlays/a/")), "{other:?}");
            assert_eq!(difference, other.difference(&one));
            undo();
            assert_eq!(one, of(folder.path()));
        }
    }

    #[test]
    fn a_link_that_the_recipe_names_is_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("one")).unwrap();
        fs::write(at("one/motd"), "1").unwrap();
        symlink("one", at("link")).unwrap();
        symlink("one/motd", at("motd")).unwrap();
        let (through, file) = (of(&at("link")), of(&at("motd")));
        assert_eq!(through, of(&at("one")));
        assert_eq!(through.inputs()[0].path, "overlays/a/motd");
        symlink("motd", at("one/other")).unwrap();
        let below = of(&at("link")).inputs();
        assert_eq!(below.len(), 2);
        assert_eq!(below[1].target.as_deref(), Some("motd"));
        fs::write(at("one/motd"), "2").unwrap();
        assert_ne!(through, of(&at("link")));
        assert_ne!(file, of(&at("motd")));
    }

    /// Opening one would wait for its writer.
    #[test]
    fn pipes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        for named in [folder.path(), &pipe] {
            let error = Files::default().add_named("a", named).unwrap_err();
            assert!(error.to_string().contains("no file, folder or symbolic link"), "{error}");
        }
    }
}
