//! A port that is a network card in a namespace.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    thread,
};

use coremax_sandbox::{Error, tap};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::port::{AT_ONCE, FRAME_MAX, Port};

/// The cable of a card that the kernel has.
#[derive(Debug)]
pub struct Tap {
    /// Nothing when the card is gone, with its namespace.
    file: Option<File>,
}

impl Tap {
    /// Makes a card with this name in the network namespace that is this file.
    ///
    /// # Errors
    /// Where the kernel refuses it; a skip where it has no such cards.
    pub fn open(namespace: &str, name: &str) -> Result<Self, String> {
        let made = thread::scope(|scope| {
            let make = || {
                enter(namespace).map_err(|error| format!("entering {namespace}: {error}"))?;
                tap::open(name).map_err(|error| failed(&error))
            };
            scope.spawn(make).join()
        });
        made.map_err(|_| "making a card panicked".to_owned())?.map(|file| Self { file: Some(file) })
    }
}

fn failed(error: &Error) -> String {
    match error {
        Error::Device { source, .. } if source.kind() == ErrorKind::NotFound => {
            "skipped: this kernel, or this container, has no /dev/net/tun".into()
        }
        Error::Device { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

/// Puts this thread, and no other, on the network of a namespace.
///
/// # Errors
/// Where there is none, or no right to it.
pub fn enter(namespace: &str) -> io::Result<()> {
    let namespace = File::open(namespace)?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

impl Port for Tap {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(|file| file.as_fd())
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) {
        let mut frame = [0; FRAME_MAX];
        for _ in 0..AT_ONCE {
            let Some(file) = &mut self.file else { return };
            match file.read(&mut frame) {
                Ok(length) => take(&frame[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.file = None,
            }
        }
    }

    fn send(&mut self, frame: &[u8]) {
        // A card that is down takes none.
        self.file.iter_mut().for_each(|file| drop(file.write(frame)));
    }
}
