//! What the kernel is told about partitions and file systems by ioctl: linux/blkpg.h, ext4(5).

use std::{fs::File, io, mem::size_of, os::fd::AsRawFd};

use crate::Error;

/// `_IO(0x12, 105)`
const BLKPG: libc::c_ulong = 0x1269;
const ADD_PARTITION: libc::c_int = 1;
const RESIZE_PARTITION: libc::c_int = 3;
/// `_IOW('f', 16, __u64)`
const EXT4_RESIZE: libc::c_ulong = 0x4008_6610;

/// A partition as the kernel is to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its number on its disk, from 1.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// `struct blkpg_ioctl_arg`
#[repr(C)]
struct Request {
    operation: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    partition: *const Partition,
}

/// `struct blkpg_partition`
#[repr(C)]
struct Partition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    names: [u8; 128],
}

/// Makes a partition known that the kernel did not find by itself.
///
/// # Errors
/// [`Error::Device`]; `disk` names the device there.
pub fn add_partition(device: &File, disk: &str, extent: Extent) -> Result<(), Error> {
    change(device, extent, ADD_PARTITION)
        .map_err(|source| failed("adding a partition to", disk, source))
}

/// Gives a partition another length, which may be mounted.
///
/// # Errors
/// [`Error::Device`]; `disk` names the device there.
pub fn resize_partition(device: &File, disk: &str, extent: Extent) -> Result<(), Error> {
    change(device, extent, RESIZE_PARTITION)
        .map_err(|source| failed("resizing a partition of", disk, source))
}

#[allow(unsafe_code)] // ioctl
fn change(device: &File, extent: Extent, operation: libc::c_int) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let partition = Partition {
        start: extent.start.try_into().map_err(invalid)?,
        length: extent.length.try_into().map_err(invalid)?,
        number: extent.number.try_into().map_err(invalid)?,
        names: [0; 128],
    };
    let length = size_of::<Partition>().try_into().map_err(invalid)?;
    let request = Request { operation, flags: 0, length, partition: &raw const partition };
    // SAFETY: both structures are live and laid out as linux/blkpg.h has them; the kernel only
    // reads them.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), BLKPG, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Grows the mounted ext4 file system that `folder` lies on to so many of its blocks.
///
/// # Errors
/// [`Error::Device`]; `name` names the file system there.
#[allow(unsafe_code)] // ioctl
pub fn grow_ext4(folder: &File, name: &str, blocks: u64) -> Result<(), Error> {
    // SAFETY: the kernel reads eight bytes of a live number.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), EXT4_RESIZE, &raw const blocks) };
    let source = io::Error::last_os_error();
    if result < 0 { Err(failed("growing the file system on", name, source)) } else { Ok(()) }
}

fn failed(operation: &'static str, device: &str, source: io::Error) -> Error {
    Error::Device { operation, device: device.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_refuses() {
        let null = File::open("/dev/null").unwrap();
        let extent = Extent { number: 1, start: 512, length: 512 };
        let error = resize_partition(&null, "null", extent).unwrap_err();
        assert_eq!(error.to_string(), "resizing a partition of null");
        assert!(
            add_partition(&null, "null", extent).is_err() && grow_ext4(&null, "null", 1).is_err()
        );
    }

    #[test]
    fn structures_have_the_kernel_s_size() {
        assert_eq!((size_of::<Request>(), size_of::<Partition>()), (24, 152));
    }
}
