//! A port that is the card of a QEMU machine: `-netdev stream` over a unix socket, each frame after its length in four
//! bytes, big-endian.

use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use super::port::{AT_ONCE, FRAME_MAX, Port};

/// Bytes that wait for a machine which does not take them, at most: a network card has no more either.
const BEHIND_MAX: usize = 1 << 20;
const LENGTH: usize = 4;

/// The machine that has connected, or will.
#[derive(Debug)]
pub struct Qemu {
    path: PathBuf,
    listener: UnixListener,
    stream: Option<UnixStream>,
    /// What has come, and is no whole frame yet.
    came: Vec<u8>,
    /// What the machine has not taken yet.
    behind: Vec<u8>,
}

/// What QEMU is told after `-netdev`, for a card with `netdev=ID`.
pub fn netdev(id: &str, socket: &Path) -> String {
    // In QEMU's options a comma is two.
    let path = socket.display().to_string().replace(',', ",,");
    format!("stream,id={id},server=off,addr.type=unix,addr.path={path}")
}

impl Qemu {
    /// Makes the socket, in place of what was there.
    ///
    /// # Errors
    /// Where it cannot be made; paths have 107 bytes at most (unix(7)).
    pub fn listen(path: &Path) -> io::Result<Self> {
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let (came, behind) = (Vec::new(), Vec::new());
        Ok(Self { path: path.to_owned(), listener, stream: None, came, behind })
    }

    /// The machine is off.
    fn hang_up(&mut self) {
        (self.stream, self.came, self.behind) = (None, Vec::new(), Vec::new());
    }

    fn connect(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        self.stream = stream.set_nonblocking(true).is_ok().then_some(stream);
    }

    /// Gives the frames that are whole. Whether the machine speaks as it should.
    fn frames(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        let mut rest = &self.came[..];
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > FRAME_MAX {
                return false;
            }
            let Some((frame, next)) = behind.split_at_checked(length) else { break };
            take(frame);
            rest = next;
        }
        let done = self.came.len() - rest.len();
        self.came.drain(..done);
        true
    }
}

impl Port for Qemu {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.as_ref().map_or(self.listener.as_fd(), |stream| stream.as_fd()))
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0; 1 << 16];
        for _ in 0..AT_ONCE {
            let Some(stream) = &mut self.stream else { return self.connect() };
            match stream.read(&mut buffer) {
                Ok(length @ 1..) => {
                    self.came.extend_from_slice(&buffer[..length]);
                    if !self.frames(take) {
                        self.hang_up();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.hang_up(),
            }
        }
    }

    fn send(&mut self, frame: &[u8]) {
        let Ok(length) = u32::try_from(frame.len()) else { return };
        if self.stream.is_some() && self.behind.len() + LENGTH + frame.len() <= BEHIND_MAX {
            self.behind.extend(length.to_be_bytes());
            self.behind.extend_from_slice(frame);
            self.send_rest();
        }
    }

    fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    fn send_rest(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut sent = 0;
        while sent < self.behind.len() {
            match stream.write(&self.behind[sent..]) {
                Ok(length @ 1..) => sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // That it is off is seen when it is read.
                Ok(0) | Err(_) => break,
            }
        }
        self.behind.drain(..sent);
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
