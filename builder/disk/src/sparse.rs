//! Files with holes: reading where their data lies, and copying it alone.
//!
//! A hole takes no space and reads as zeros. lseek(2) with SEEK_DATA and SEEK_HOLE tells data and
//! holes apart; a file system that cannot tell reports one extent over the whole file.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path};

use rustix::{
    fs::{SeekFrom, copy_file_range, seek},
    io::Errno,
};

use crate::{Bytes, Result, error::During};

/// How much is copied between two reports of progress.
const CHUNK: usize = 8 << 20;
/// How much is held in memory where the kernel cannot copy by itself.
const BUFFER: usize = 256 << 10;

/// Where a regular file has data, in order and apart from each other. Moves the file's cursor.
pub(crate) fn extents(file: &File) -> io::Result<Vec<Range<u64>>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut from = 0;
    loop {
        let start = match seek(file, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(found), // no data from here to the end
            Err(e) => return Err(e.into()),
        };
        from = seek(file, SeekFrom::Hole(start))?;
        found.push(start..from);
    }
}

/// How many bytes of a file are data.
///
/// # Errors
/// Where it cannot be read.
pub fn data(path: &Path) -> Result<Bytes> {
    let found = File::open(path).and_then(|file| extents(&file)).during("reading", path)?;
    Ok(Bytes(found.iter().map(|extent| extent.end - extent.start).sum()))
}

/// Copies a file to a new one, holes as holes.
///
/// # Errors
/// Where the one cannot be read or the other written.
pub fn copy_file(from: &Path, to: &Path, progress: crate::Progress<'_>) -> Result<()> {
    let source = File::open(from).during("opening", from)?;
    let length = source.metadata().during("reading", from)?.len();
    let target = File::create(to).during("making", to)?;
    target.set_len(length).during("making", to)?;
    copy(&source, length, &target, 0, progress).during("copying to", to)
}

/// Copies the data in the first `length` bytes of `from` to `offset` in `to`; what are holes in
/// `from` is not written.
pub(crate) fn copy(
    from: &File,
    length: u64,
    to: &File,
    offset: u64,
    progress: crate::Progress<'_>,
) -> io::Result<()> {
    for extent in extents(from)? {
        let (mut position, end) = (extent.start, extent.end.min(length));
        while position < end {
            let wanted = usize::try_from(end - position).map_or(CHUNK, |left| left.min(CHUNK));
            let done = copy_some(from, to, position, offset + position, wanted)?;
            if done == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into()); // it shrank meanwhile
            }
            progress(done as u64);
            position += done as u64;
        }
    }
    Ok(())
}

/// Shares or copies up to `length` bytes within the kernel, else through a buffer.
fn copy_some(from: &File, to: &File, at: u64, target: u64, length: usize) -> io::Result<usize> {
    let (mut source, mut sink) = (at, target);
    match copy_file_range(from, Some(&mut source), to, Some(&mut sink), length) {
        // Some kernels report nothing copied where a file system cannot do it.
        Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let mut buffer = vec![0; length.min(BUFFER)];
            let read = from.read_at(&mut buffer, at)?;
            to.write_all_at(&buffer[..read], target)?;
            Ok(read)
        }
        Ok(copied) => Ok(copied),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_stay_holes() {
        let from = tempfile::tempfile().unwrap();
        let to = tempfile::tempfile().unwrap();
        let length = 1 << 30;
        from.set_len(length).unwrap();
        to.set_len(length + (1 << 20)).unwrap();
        from.write_all_at(&[1; 4096], 0).unwrap();
        from.write_all_at(&[2; 4096], 512 << 20).unwrap();
        from.write_all_at(&[3; 100], length - 100).unwrap();
        copy(&from, length, &to, 1 << 20, &|_| ()).unwrap();
        for (value, position) in
            [(0, 0), (1, 1 << 20), (2, 513 << 20), (3, length + (1 << 20) - 100)]
        {
            let mut byte = [9];
            to.read_exact_at(&mut byte, position).unwrap();
            assert_eq!(byte, [value]);
        }
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_device_is_refused() {
        assert!(extents(&File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn an_empty_file_has_no_extents() {
        let file = tempfile::tempfile().unwrap();
        assert!(extents(&file).unwrap().is_empty());
        file.set_len(1 << 40).unwrap();
        assert!(extents(&file).unwrap().is_empty());
    }
}
