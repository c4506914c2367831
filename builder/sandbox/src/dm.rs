//! Device-mapper: block devices made of others, by ioctl on /dev/mapper/control.
//!
//! A request is `struct dm_ioctl` (312 bytes: version, lengths, flags, name, uuid) and, for a table,
//! a `struct dm_target_spec` (40 bytes) for each target with its parameters as text behind it.
//! <https://docs.kernel.org/admin-guide/device-mapper/index.html>, linux/dm-ioctl.h.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
};

use crate::Error;

const CONTROL: &str = "/dev/mapper/control";
/// `_IOWR(0xfd, 0, struct dm_ioctl)`; a command's number is added.
const REQUEST: libc::c_ulong = 0xc138_fd00;
const DEV_CREATE: u8 = 3;
const DEV_REMOVE: u8 = 4;
const DEV_SUSPEND: u8 = 6; // and, without its flag, resume
const TABLE_LOAD: u8 = 9;
/// The interface's version; the kernel refuses another first number alone.
const VERSION: [u32; 3] = [4, 0, 0];
const READ_ONLY: u32 = 1;
/// Lengths of the two structures, and of the text in them with its NUL.
const HEADER: usize = 312;
const TARGET: usize = 40;
const NAME_BYTES: usize = 128;
const UUID_BYTES: usize = 129;
const KIND_BYTES: usize = 16;

/// A part of a device: which of its sectors (of 512 bytes) are made how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The first sector.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// The target's kind, such as `verity` or `linear`.
    pub kind: &'static str,
    /// Its parameters, in its own words.
    pub parameters: String,
}

/// A device that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The major number.
    pub major: u32,
    /// The minor number, which is in its name: /dev/dm-MINOR.
    pub minor: u32,
}

/// The kernel's device-mapper.
#[derive(Debug)]
pub struct DeviceMapper {
    control: File,
}

impl DeviceMapper {
    /// Opens the control device, which is there when dm_mod is loaded.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn open() -> Result<Self, Error> {
        let control = OpenOptions::new().read(true).write(true).open(CONTROL);
        let control = control.map_err(|e| failed("opening device-mapper", CONTROL, e))?;
        Ok(Self { control })
    }

    /// Makes a read-only device of these targets. When that fails nothing is left of it.
    ///
    /// # Errors
    /// [`Error::Device`], where the kernel refuses; it says why in its log.
    pub fn create(&self, name: &str, uuid: &str, targets: &[Target]) -> Result<Device, Error> {
        self.ask(DEV_CREATE, "making", name, message(name, uuid, &[])?)?;
        let made = self.fill(name, targets);
        if made.is_err() {
            let _ = self.remove(name);
        }
        made
    }

    /// Takes a device away that nothing uses.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.ask(DEV_REMOVE, "removing", name, message(name, "", &[])?).map(drop)
    }

    fn fill(&self, name: &str, targets: &[Target]) -> Result<Device, Error> {
        self.ask(TABLE_LOAD, "loading the table of", name, message(name, "", targets)?)?;
        let answer = self.ask(DEV_SUSPEND, "starting", name, message(name, "", &[])?)?;
        Ok(device(&answer))
    }

    /// Sends a request, which the kernel overwrites with its answer.
    #[allow(unsafe_code)] // ioctl
    fn ask(
        &self,
        command: u8,
        operation: &'static str,
        name: &str,
        mut message: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let fd = self.control.as_raw_fd();
        let request = REQUEST + libc::c_ulong::from(command);
        // SAFETY: the buffer is a live dm_ioctl whose data_size is its own length, and the kernel
        // writes at most so much.
        let result = unsafe { libc::ioctl(fd, request, message.as_mut_ptr()) };
        if result < 0 {
            return Err(failed(operation, name, io::Error::last_os_error()));
        }
        Ok(message)
    }
}

fn failed(operation: &'static str, device: &str, source: io::Error) -> Error {
    Error::Device { operation, device: device.to_owned(), source }
}

/// The bytes of a request.
fn message(name: &str, uuid: &str, targets: &[Target]) -> Result<Vec<u8>, Error> {
    let too_long = || {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "a name or table is too long");
        failed("describing", name, source)
    };
    let number = |n: usize| u32::try_from(n).map_err(|_| too_long());
    let table = targets.iter().map(target).collect::<Option<Vec<_>>>().ok_or_else(too_long)?;
    let table = table.concat();
    let flags = if targets.is_empty() { 0 } else { READ_ONLY };
    let mut bytes = Vec::with_capacity(HEADER + table.len());
    bytes.extend(VERSION.iter().flat_map(|n| n.to_ne_bytes()));
    for field in
        [number(HEADER + table.len())?, number(HEADER)?, number(targets.len())?, 0, flags, 0, 0]
    {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend(0_u64.to_ne_bytes()); // the device's number, which the kernel chooses
    bytes.extend(padded(name, NAME_BYTES).ok_or_else(too_long)?);
    bytes.extend(padded(uuid, UUID_BYTES).ok_or_else(too_long)?);
    bytes.resize(HEADER, 0);
    bytes.extend(table);
    Ok(bytes)
}

fn target(target: &Target) -> Option<Vec<u8>> {
    let next = (TARGET + target.parameters.len() + 1).next_multiple_of(8);
    let mut bytes = Vec::with_capacity(next);
    bytes.extend(target.start.to_ne_bytes());
    bytes.extend(target.length.to_ne_bytes());
    bytes.extend(0_i32.to_ne_bytes());
    bytes.extend(u32::try_from(next).ok()?.to_ne_bytes());
    bytes.extend(padded(target.kind, KIND_BYTES)?);
    bytes.extend(target.parameters.as_bytes());
    bytes.resize(next, 0);
    Some(bytes)
}

/// The text with NULs to this length, of which there is at least one.
fn padded(text: &str, length: usize) -> Option<Vec<u8>> {
    let mut bytes = text.as_bytes().to_vec();
    (bytes.len() < length && !bytes.contains(&0)).then(|| bytes.resize(length, 0))?;
    Some(bytes)
}

/// The number in an answer, which the kernel writes as `huge_encode_dev` has it.
fn device(answer: &[u8]) -> Device {
    let number =
        answer.get(40..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_ne_bytes(*b));
    Device { major: libc::major(number), minor: libc::minor(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_kernel_reads() {
        let linear = |parameters: &str| Target {
            start: 0,
            length: 8,
            kind: "linear",
            parameters: parameters.into(),
        };
        let bytes = message("root", "U", &[linear("254:0 16"), linear("")]).unwrap();
        let number = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
        assert_eq!([number(12), number(16), number(20), number(28)], [bytes.len(), HEADER, 2, 1]);
        assert_eq!(&bytes[48..53], b"root\0");
        assert_eq!(&bytes[176..178], b"U\0");
        assert_eq!(number(HEADER + 20), 56); // 40 and 9, to a multiple of 8
        assert_eq!(&bytes[HEADER + 24..HEADER + 31], b"linear\0");
        assert_eq!(&bytes[HEADER + 40..HEADER + 49], b"254:0 16\0");
        assert_eq!(bytes.len(), HEADER + 56 + 48);
    }

    #[test]
    fn names_have_a_longest_length() {
        assert!(message(&"x".repeat(127), "", &[]).is_ok());
        assert!(message(&"x".repeat(128), "", &[]).is_err() && message("a\0b", "", &[]).is_err());
    }

    #[test]
    fn a_device_has_two_numbers() {
        let mut answer = vec![0; HEADER];
        answer[40..48].copy_from_slice(&0xfe03_u64.to_ne_bytes());
        assert_eq!(device(&answer), Device { major: 254, minor: 3 });
    }
}
