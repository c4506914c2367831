//! Files that are whole or not there, also after a power cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Puts these bytes in the place of a file, with this mode, on the disk when it returns: what was there before, or all of
/// them, and nothing between. One at a time for each file.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut file = beside(path, bytes, mode)?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(path.with_extension("new"), path)?;
    File::open(folder)?.sync_all()
}

/// The same of a file that is made anew at each boot: whole for whoever reads it, and no wait for a disk.
pub(crate) fn replace_quickly(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    drop(beside(path, bytes, mode)?);
    fs::rename(path.with_extension("new"), path)
}

fn beside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?; // whatever the umask
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        fs::write(path.with_extension("new"), "left by a power cut").unwrap();
        for (text, mode) in [("one", 0o600), ("two", 0o644)] {
            replace(&path, text.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
        }
        replace_quickly(&path, b"three", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
