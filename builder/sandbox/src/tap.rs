//! A network card whose cable is a file: tuntap.rst in the kernel's documentation. For tests' networks.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt as _},
};

use crate::Error;

const DEVICE: &str = "/dev/net/tun";
/// `_IOW('T', 202, int)`
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
/// linux/if_tun.h, `IFF_TAP | IFF_NO_PI`: frames of Ethernet, and nothing before them.
const FLAGS: libc::c_short = 0x1002;

/// `struct ifreq`, as far as this call has it: 40 bytes on machines of 64 bits.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Makes a card with this name in the network namespace that the calling thread is in. Each read of the file is a frame that
/// the card sends, each write one that it receives; neither blocks. The card is gone when the file is closed.
///
/// # Errors
/// [`Error::Device`]: no right to it, no such device in this kernel, a name that is taken or too long.
#[allow(unsafe_code)] // ioctl
pub fn open(name: &str) -> Result<File, Error> {
    let failed = |source| Error::Device {
        operation: "making the network card",
        device: name.to_owned(),
        source,
    };
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: FLAGS, rest: [0; 22] };
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= request.name.len() {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    request.name[..bytes.len()].copy_from_slice(bytes);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE);
    let file = file.map_err(failed)?;
    // SAFETY: the structure is live and as large as linux/if.h has it; the kernel reads it, and writes the name into it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if result < 0 { Err(failed(io::Error::last_os_error())) } else { Ok(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_kernel_s_size() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
    }

    #[test]
    fn a_name_that_no_card_can_have_is_refused() {
        for name in ["", "sixteen-letters-"] {
            let error = open(name).unwrap_err();
            assert_eq!(error.to_string(), format!("making the network card {name}"));
        }
    }
}
