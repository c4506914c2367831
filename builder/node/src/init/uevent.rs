//! What the kernel says of devices that come and go, on a netlink socket.
//!
//! A message is `ACTION@PATH` and then `KEY=value` strings, each ended by NUL. See netlink(7),
//! NETLINK_KOBJECT_UEVENT.

use std::{os::fd::OwnedFd, time::Instant};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with,
        sockopt,
    },
};

/// The group in which the kernel itself speaks; udev's is another.
const KERNEL: u32 = 1;
/// The longest message; set by the kernel (UEVENT_BUFFER_SIZE, and the path).
const MESSAGE_MAX: usize = 8192;
/// What may wait to be read: a machine with many disks says a lot at once.
const BUFFER: usize = 8 << 20;

/// The socket.
#[derive(Debug)]
pub(crate) struct Uevents(OwnedFd);

/// One message, as far as early boot wants to know.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Uevent {
    pub(crate) action: String,
    pub(crate) path: String,
    pub(crate) subsystem: String,
    pub(crate) modalias: Option<String>,
}

/// What came of waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Event(Uevent),
    /// Messages were lost: look at everything again.
    Lost,
    /// Nothing before the deadline.
    Silence,
}

impl Uevents {
    /// Listens from now on.
    pub(crate) fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::KOBJECT_UEVENT);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)
            .context("opening a socket for uevents")?;
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER); // smaller will do
        bind(&socket, &netlink::SocketAddrNetlink::new(0, KERNEL))
            .context("listening to uevents")?;
        Ok(Self(socket))
    }

    /// The next message, waited for until the deadline, for ever without one.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Result<Heard> {
        loop {
            let mut buffer = [0; MESSAGE_MAX];
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) => {
                    if let Some(event) = Uevent::parse(&buffer[..length]) {
                        return Ok(Heard::Event(event));
                    }
                }
                Err(Errno::NOBUFS) => return Ok(Heard::Lost),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.wait(deadline)? {
                        return Ok(Heard::Silence);
                    }
                }
                Err(error) => return Err(error).context("reading uevents"),
            }
        }
    }

    /// Whether something can be read before the deadline.
    fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], left.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error).context("waiting for uevents"),
        }
    }
}

impl Uevent {
    /// Reads a message of the kernel; nothing where it is none.
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        let text = str::from_utf8(message).ok()?;
        let mut parts = text.split('\0');
        let (action, path) = parts.next()?.split_once('@')?;
        let mut event = Self { action: action.into(), path: path.into(), ..Self::default() };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key {
                "SUBSYSTEM" => value.clone_into(&mut event.subsystem),
                "MODALIAS" => event.modalias = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(event)
    }

    /// The disk that this is about, itself or by one of its partitions.
    pub(crate) fn disk(&self) -> Option<&str> {
        let (_, below) = self.path.rsplit_once("/block/").filter(|_| self.subsystem == "block")?;
        below.split('/').next()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Uevent {
        Uevent::parse(text.replace(' ', "\0").as_bytes()).unwrap()
    }

    #[test]
    fn messages() {
        let event = parsed(
            "add@/devices/virtio0 ACTION=add SUBSYSTEM=virtio MODALIAS=virtio:d2v1 SEQNUM=7 ",
        );
        assert_eq!((&*event.action, event.modalias.as_deref()), ("add", Some("virtio:d2v1")));
        assert_eq!(event.disk(), None);
        for (path, disk) in [("vda", "vda"), ("vda/vda3", "vda"), ("nvme0n1/nvme0n1p2", "nvme0n1")]
        {
            let event =
                parsed(&format!("add@/devices/pci0/block/{path} SUBSYSTEM=block DEVTYPE=disk "));
            assert_eq!(event.disk(), Some(disk));
        }
        assert_eq!(Uevent::parse(b"libudev\0\xfe\xed"), None);
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let Ok(events) = Uevents::open() else {
            return coremax_skip::skip("no netlink socket here");
        };
        let heard = events.next(Some(Instant::now()));
        assert!(heard.is_ok(), "{heard:?}");
    }

    proptest! {
        #[test]
        fn foreign_messages_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(event) = Uevent::parse(&bytes) {
                event.disk();
            }
        }
    }
}
