//! Files that are whole or not there, also after a power cut.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Puts these bytes in the place of a file, with this mode, with folders above it where there are none: what was there
/// before, or all of them, and nothing between; on the disk when it returns. They are nowhere else but in a file beside
/// it, with the same mode, which a cut may leave. One at a time for each file.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (new, file) = beside(path, bytes, mode)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// The same for what is made once: what is there stays.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`], and where the disk says so.
pub(crate) fn once(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (new, file) = beside(path, bytes, mode)?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, path);
    remove(&new)?;
    linked?;
    path.parent().map_or(Ok(()), sync)
}

/// [`replace`] for a file that is made anew at each boot: whole for whoever reads it, and no wait for a disk.
pub(crate) fn replace_quickly(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (new, _) = beside(path, bytes, mode)?;
    fs::rename(new, path)
}

/// Nothing where it is not there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file that is to take a place, next to it.
fn beside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<(PathBuf, File)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    folders(folder, 0o755)?;
    // Begins and ends as nothing that a program looks for in its folder of settings.
    let new = folder.join(format!(".{}.new", name.to_string_lossy()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(Permissions::from_mode(mode))?; // whatever the umask
    file.write_all(bytes)?;
    Ok((new, file))
}

/// Makes a folder with this mode where there is none; it and those above it that were not there are in their parents for
/// good.
pub(crate) fn folders(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().ok_or(ErrorKind::NotFound)?;
    folders(parent, 0o755)?;
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(parent)
}

fn sync(folder: &Path) -> io::Result<()> {
    // The parent of a path without a folder.
    let here = Path::new(".");
    File::open(if folder.as_os_str().is_empty() { here } else { folder })?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file.json");
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(path.with_file_name(".file.json.new"), "left by a power cut").unwrap();
        for (text, mode) in [("one", 0o600), ("two", 0o644)] {
            replace(&path, text.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
        }
        replace_quickly(&path, b"three", 0o644).unwrap();
        assert_eq!(once(&path, b"four", 0o644).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        once(&path, b"four", 0o644).unwrap();
    }
}
