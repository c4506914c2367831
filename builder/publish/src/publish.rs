//! From a draft to a result that everybody sees.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{
    Draft, Error, Proven,
    draft::plain,
    manifest::{Build, MANIFEST, Manifest},
    sums::{SUMS, Sums},
};

/// What an untested result's folder ends in.
const UNTESTED: &str = ".untested";
/// What the last failed boot left stands under this name.
const FAILED: &str = "failed";
/// The link to the last result that is wholly proven.
const LATEST: &str = "latest";

/// What to do with a result of the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse to publish, whatever it holds: the version was to be a new one.
    Spare,
    /// Refuse to publish if it holds something else. One that holds the same is replaced, for its report is older.
    Keep,
    /// Put the new one in its place.
    Replace,
}

/// A published result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Receipt {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether boot tests stand behind it.
    pub verified: bool,
}

/// Publishes what boot tests proved, as `images/RECIPE/VERSION`. The draft is read again: each artefact must have
/// the digest that it was booted with. It is used up, unless the version is taken: then
/// it can be published under another. `latest` stays where it is: whether all that should be proven was is the
/// caller's to say, see [`point_latest`].
///
/// # Errors
/// An artefact that changed since its boot, an older result with other content, or a failing disk. In each
/// case the older result is as it was.
pub fn publish(draft: &Draft, proven: Proven, existing: Existing) -> Result<Receipt, Error> {
    let manifest = proven.into_manifest();
    lay(draft, &manifest, &manifest.build.version, existing)
}

/// Publishes what nothing proves, as `images/RECIPE/VERSION.untested`. `latest` stays where it is.
///
/// # Errors
/// As [`publish`], but for the proof.
pub fn publish_untested(draft: &Draft, build: Build, existing: Existing) -> Result<Receipt, Error> {
    let name = format!("{}{UNTESTED}", build.version);
    lay(draft, &Manifest { build, verified: None }, &name, existing)
}

fn lay(
    draft: &Draft,
    manifest: &Manifest,
    name: &str,
    existing: Existing,
) -> Result<Receipt, Error> {
    check_version(&manifest.build.version)?;
    complete(draft.path(), manifest)?;
    let folder = draft.shelf().join(name);
    move_into_place(draft, &folder, &manifest.build, existing)?;
    sync(draft.shelf())?;
    Ok(Receipt { folder, verified: manifest.verified.is_some() })
}

/// A version may name a folder, but not one that publishing names itself.
fn check_version(version: &str) -> Result<(), Error> {
    plain("version", version)?;
    if [FAILED, LATEST].contains(&version) || version.ends_with(UNTESTED) {
        return Err(Error::Name { kind: "version", name: version.to_owned() });
    }
    Ok(())
}

/// Checks the artefacts, adds manifest and sums, and brings all of it to the disk.
fn complete(draft: &Path, manifest: &Manifest) -> Result<(), Error> {
    let failed = |path: &Path, source| Error::Write { path: path.to_owned(), source };
    let path = draft.join(MANIFEST);
    fs::write(&path, manifest.to_text()).map_err(|source| failed(&path, source))?;
    let _ = fs::remove_file(draft.join(SUMS));
    let mut tree = Tree::default();
    tree.walk(draft, Path::new(""))?;
    let sums = Sums::of(draft, &tree.files)?;
    check_artefacts(&sums, &manifest.build)?;
    sums.write(draft)?;
    tree.files.push(SUMS.into());

    // mkdtemp(3) made it for its owner alone.
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(draft, mode).map_err(|source| failed(draft, source))?;
    tree.files.iter().chain(&tree.folders).try_for_each(|name| sync(&draft.join(name)))
}

fn check_artefacts(sums: &Sums, build: &Build) -> Result<(), Error> {
    let images = build.artefacts.iter().map(|made| (&made.name, made.sha256, made.size));
    let update = build.update.iter().map(|made| (&made.name, made.sha256, made.size));
    let is_same = |(name, sha256, size): &(&String, _, _)| sums.get(name) == Some((*sha256, *size));
    match images.chain(update).find(|made| !is_same(made)) {
        Some((name, ..)) => Err(Error::Changed { artefact: name.clone() }),
        None => Ok(()),
    }
}

/// The names below a folder, relative to it.
#[derive(Default)]
struct Tree {
    files: Vec<PathBuf>,
    /// Each after those it holds.
    folders: Vec<PathBuf>,
}

impl Tree {
    fn walk(&mut self, root: &Path, folder: &Path) -> Result<(), Error> {
        let path = root.join(folder);
        let failed = |source| Error::Read { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                self.walk(root, &name)?;
            } else if kind.is_file() {
                self.files.push(name);
            } else {
                return Err(Error::NotPlain { path: entry.path() });
            }
        }
        self.folders.push(folder.to_owned());
        Ok(())
    }
}

fn sync(path: &Path) -> Result<(), Error> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Gives the draft its name. What had that name goes with the draft.
fn move_into_place(
    draft: &Draft,
    folder: &Path,
    build: &Build,
    existing: Existing,
) -> Result<(), Error> {
    let failed = |source| Error::Write { path: folder.to_owned(), source };
    // rename(2) takes the place of nothing, or of an empty folder.
    match fs::rename(draft.path(), folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        other => return other.map_err(failed),
    }
    let replaces = match existing {
        Existing::Spare => false,
        Existing::Keep => holds_the_same(folder, build),
        Existing::Replace => true,
    };
    if !replaces {
        return Err(Error::Exists { path: folder.to_owned() });
    }
    renameat_with(CWD, draft.path(), CWD, folder, RenameFlags::EXCHANGE)
        .map_err(|error| failed(error.into()))
}

/// Whether a result folder holds what `build` made. One that cannot be read holds something else.
fn holds_the_same(folder: &Path, build: &Build) -> bool {
    let found = Manifest::load(folder).ok().flatten();
    found.is_some_and(|manifest| manifest.build.same_content(build))
}

/// Points `latest` at the result in `folder`, which it stands beside. At every moment there is a link, and a whole
/// one.
///
/// # Errors
/// Where it points elsewhere and cannot be moved.
pub fn point_latest(folder: &Path) -> Result<(), Error> {
    let (Some(shelf), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
    let link = shelf.join(LATEST);
    if fs::read_link(&link).is_ok_and(|target| target == Path::new(name)) {
        return Ok(());
    }
    let failed = |source| Error::Write { path: link.clone(), source };
    // Made in a draft of its own, so that a leftover is swept like one.
    let recipe = shelf.file_name().unwrap_or_default().to_string_lossy();
    let draft = Draft::begin(shelf.parent().unwrap_or(Path::new("")), &recipe)?;
    let fresh = draft.path().join(LATEST);
    symlink(name, &fresh).map_err(failed)?;
    fs::rename(&fresh, &link).map_err(failed)?;
    sync(shelf)
}

#[cfg(test)]
pub(crate) mod tests {
    use coremax_fetch::Digest;

    use super::*;
    use crate::manifest::{Artefact, Boot, FileInput, Package, Proof, Stage};

    /// A draft with one artefact of this content, and what its build knows.
    fn drafted(images: &Path, content: &str) -> (Draft, Build) {
        let draft = Draft::begin(images, "node").unwrap();
        fs::write(draft.path().join("node.qcow2"), content).unwrap();
        fs::create_dir(draft.path().join("boot")).unwrap();
        fs::write(draft.path().join("boot/serial.log"), "login:").unwrap();
        (draft, build(content))
    }

    /// What a build knows that has made one artefact of this content.
    pub(crate) fn build(content: &str) -> Build {
        let digest = Digest::of(content);
        let artefact = Artefact {
            name: "node.qcow2".to_owned(),
            format: "qcow2".to_owned(),
            size: content.len() as u64,
            sha256: digest,
            virtual_size: 1 << 30,
        };
        Build {
            recipe: "node".to_owned(),
            version: "1".to_owned(),
            base: "debian-12".to_owned(),
            builder: "coremax 0.1.0".to_owned(),
            fingerprint: "f".repeat(64),
            machine: None,
            machine_packages: Vec::new(),
            created: 1_700_000_000,
            secure_boot: Some("shim".to_owned()),
            packages: vec![Package {
                name: "less".to_owned(),
                version: "590-2.1~deb12u2".to_owned(),
                architecture: "amd64".to_owned(),
                archive: "bookworm/main".to_owned(),
                size: 131_000,
                installed: 340,
                sha256: Digest::of("less"),
            }],
            files: vec![FileInput {
                path: "overlays/node/etc/motd".to_owned(),
                size: 0,
                sha256: Digest::of(""),
                target: None,
            }],
            masked: Vec::new(),
            artefacts: vec![artefact],
            update: None,
            stages: vec![Stage {
                name: "root".to_owned(),
                wall_seconds: 9.5,
                cpu_seconds: 14.25,
                stored: false,
            }],
        }
    }

    fn boots(content: &str) -> Vec<Boot> {
        let boot = Boot {
            artefact: "node.qcow2".to_owned(),
            sha256: Digest::of(content),
            firmware: "uefi".to_owned(),
            accelerator: "tcg".to_owned(),
            seconds: 31.5,
            checks: vec!["ssh.service is active".to_owned()],
        };
        vec![boot]
    }

    fn publish(
        draft: &Draft,
        build: Build,
        content: &str,
        existing: Existing,
    ) -> Result<Receipt, Error> {
        super::publish(draft, Proven::new(build, boots(content))?, existing)
    }

    fn published(images: &Path, content: &str, existing: Existing) -> Result<Receipt, Error> {
        let (draft, build) = drafted(images, content);
        let receipt = publish(&draft, build, content, existing)?;
        point_latest(&receipt.folder)?;
        Ok(receipt)
    }

    /// The names in the recipe's folder, hidden ones too.
    fn shelf(images: &Path) -> Vec<String> {
        let entries = fs::read_dir(images.join("node")).unwrap().map(Result::unwrap);
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn image(images: &Path, version: &str) -> String {
        fs::read_to_string(images.join("node").join(version).join("node.qcow2")).unwrap()
    }

    #[test]
    fn a_proven_result_is_whole_and_the_latest() {
        let images = tempfile::tempdir().unwrap();
        let receipt = published(images.path(), "one", Existing::Keep).unwrap();
        assert_eq!(receipt, Receipt { folder: images.path().join("node/1"), verified: true });
        assert_eq!(shelf(images.path()), ["1", "latest"]);
        assert_eq!(image(images.path(), "latest"), "one");
        let mode = fs::metadata(&receipt.folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        let sums = fs::read_to_string(receipt.folder.join(SUMS)).unwrap();
        let names: Vec<_> = sums.lines().map(|line| &line[66..]).collect();
        assert_eq!(names, ["boot/serial.log", "manifest.json", "node.qcow2"]);
        insta::assert_snapshot!(fs::read_to_string(receipt.folder.join(MANIFEST)).unwrap());
        let manifest = Manifest::load(&receipt.folder).unwrap().unwrap();
        assert_eq!(manifest.verified, Some(Proof { boots: boots("one") }));
    }

    #[test]
    fn nothing_unproven_is_published_as_proven() {
        let images = tempfile::tempdir().unwrap();
        for boots in [Vec::new(), boots("another image")] {
            let (_draft, build) = drafted(images.path(), "one");
            let error = Proven::new(build, boots).unwrap_err();
            assert!(matches!(error, Error::Unproven { .. }), "{error}");
        }
        // Proven it is, and not in this draft.
        let (draft, _) = drafted(images.path(), "one");
        let error = publish(&draft, build("two"), "two", Existing::Keep).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error}");
        drop(draft);
        assert!(shelf(images.path()).is_empty());
    }

    #[test]
    fn an_artefact_that_changed_after_its_boot_is_refused() {
        let images = tempfile::tempdir().unwrap();
        for change in [|path: &Path| fs::write(path, "two"), |path: &Path| fs::remove_file(path)] {
            let (draft, build) = drafted(images.path(), "one");
            change(&draft.path().join("node.qcow2")).unwrap();
            let error = publish(&draft, build, "one", Existing::Keep).unwrap_err();
            assert!(matches!(error, Error::Changed { .. }), "{error}");
        }
        assert!(shelf(images.path()).is_empty());
    }

    #[test]
    fn an_untested_result_says_so_and_is_not_the_latest() {
        let images = tempfile::tempdir().unwrap();
        let (draft, build) = drafted(images.path(), "one");
        let receipt = publish_untested(&draft, build, Existing::Keep).unwrap();
        assert!(!receipt.verified);
        assert_eq!(shelf(images.path()), ["1.untested"]);
        assert_eq!(Manifest::load(&receipt.folder).unwrap().unwrap().verified, None);
    }

    #[test]
    fn other_content_replaces_an_older_result_only_when_told() {
        let images = tempfile::tempdir().unwrap();
        let _ = published(images.path(), "one", Existing::Keep).unwrap();
        let error = published(images.path(), "two", Existing::Keep).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }) && error.hint().is_some(), "{error}");
        assert_eq!(image(images.path(), "1"), "one");
        let _ = published(images.path(), "two", Existing::Replace).unwrap();
        assert_eq!(image(images.path(), "latest"), "two");
        assert_eq!(shelf(images.path()), ["1", "latest"]);
    }

    #[test]
    fn a_result_that_is_to_be_new_takes_no_other_s_place() {
        let images = tempfile::tempdir().unwrap();
        let _ = published(images.path(), "one", Existing::Spare).unwrap();
        for content in ["one", "two"] {
            let (draft, build) = drafted(images.path(), content);
            let taken = publish(&draft, build.clone(), content, Existing::Spare);
            assert!(matches!(taken, Err(Error::Exists { .. })), "{taken:?}");
            assert_eq!(image(images.path(), "1"), "one");
            let version = format!("1.{content}");
            let build = Build { version: version.clone(), ..build };
            let _ = publish(&draft, build, content, Existing::Spare).unwrap();
            assert_eq!(image(images.path(), &version), content);
        }
    }

    #[test]
    fn the_same_content_again_brings_the_newer_report() {
        let images = tempfile::tempdir().unwrap();
        let _ = published(images.path(), "one", Existing::Keep).unwrap();
        let (draft, build) = drafted(images.path(), "one");
        fs::write(draft.path().join("report.html"), "newer").unwrap();
        let receipt = publish(&draft, build, "one", Existing::Keep).unwrap();
        drop(draft);
        assert!(receipt.folder.join("report.html").exists());
        assert_eq!(shelf(images.path()), ["1", "latest"]);
    }

    #[test]
    fn what_cannot_be_read_is_other_content() {
        let images = tempfile::tempdir().unwrap();
        let receipt = published(images.path(), "one", Existing::Keep).unwrap();
        fs::write(receipt.folder.join(MANIFEST), "{").unwrap();
        assert!(matches!(Manifest::load(&receipt.folder), Err(Error::Parse { .. })));
        assert!(published(images.path(), "one", Existing::Keep).is_err());
        assert_eq!(Manifest::load(images.path()).unwrap(), None);
    }

    #[test]
    fn the_latest_is_what_was_last_called_so() {
        let images = tempfile::tempdir().unwrap();
        let latest = || fs::read_link(images.path().join("node/latest")).ok();
        for version in ["1", "2"] {
            let (draft, build) = drafted(images.path(), version);
            let build = Build { version: version.to_owned(), ..build };
            let before = latest();
            let receipt = publish(&draft, build, version, Existing::Keep).unwrap();
            assert_eq!(latest(), before);
            point_latest(&receipt.folder).unwrap();
            assert_eq!(latest().unwrap(), Path::new(version));
        }
        point_latest(&images.path().join("node/1")).unwrap();
        assert_eq!(latest().unwrap(), Path::new("1"));
    }

    #[test]
    fn names_that_publishing_uses_itself_are_refused() {
        let images = tempfile::tempdir().unwrap();
        for version in ["failed", "latest", "1.untested", "../1", ""] {
            let (draft, build) = drafted(images.path(), "one");
            let build = Build { version: version.to_owned(), ..build };
            let error = publish(&draft, build, "one", Existing::Keep).unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{version}: {error}");
        }
    }

    #[test]
    fn links_in_a_draft_are_refused() {
        let images = tempfile::tempdir().unwrap();
        let (draft, build) = drafted(images.path(), "one");
        symlink("/etc/passwd", draft.path().join("link")).unwrap();
        let error = publish(&draft, build, "one", Existing::Keep).unwrap_err();
        assert!(matches!(error, Error::NotPlain { .. }), "{error}");
    }
}
