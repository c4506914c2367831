//! Being asked to end: SIGTERM, SIGINT, SIGHUP and SIGQUIT as something to read, for who has something to put
//! right first, such as a terminal. See signal(7) and signal-safety(7).

#![allow(unsafe_code)] // sigaction(2) and what its handler does

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, IntoRawFd},
    sync::atomic::{AtomicI32, Ordering},
};

use libc::c_int;

use crate::Error;

/// The signals that ask a program to end.
const ENDING: [c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
/// No pipe is open.
const NONE: c_int = -1;

/// Where the handler writes.
static PIPE: AtomicI32 = AtomicI32::new(NONE);

/// While this lives, the signals that ask this process to end do nothing but make it readable. One at a time.
#[derive(Debug)]
pub struct Endings {
    asked: io::PipeReader,
}

impl Endings {
    /// Begins to catch the signals, in whichever thread they arrive. Programs that are started do not inherit this.
    ///
    /// # Errors
    /// Where the kernel has no pipe left.
    pub fn catch() -> Result<Self, Error> {
        let (asked, tell) =
            io::pipe().map_err(|source| Error::Signals { operation: "making a pipe", source })?;
        PIPE.store(tell.into_raw_fd(), Ordering::SeqCst);
        let handler: extern "C" fn(c_int) = note;
        set(handler as *const () as libc::sighandler_t);
        Ok(Self { asked })
    }
}

impl AsFd for Endings {
    /// Readable as soon as a signal arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.asked.as_fd()
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        set(libc::SIG_DFL);
        let pipe = PIPE.swap(NONE, Ordering::SeqCst);
        if pipe != NONE {
            // SAFETY: the descriptor was this module's alone, and no handler knows it any more.
            unsafe { libc::close(pipe) };
        }
    }
}

fn set(handler: libc::sighandler_t) {
    for signal in ENDING {
        // SAFETY: an all-zero sigaction is valid; the handler is the default one or `note`.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The handler: one system call, which signal-safety(7) allows; errno stays as the interrupted code left it.
extern "C" fn note(signal: c_int) {
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: errno's address is the thread's own; writes one byte of a live local. A pipe that is full was
    // written to before.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(PIPE.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *errno = before;
    }
}

#[cfg(test)]
mod tests {
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        process::{Signal, getpid, kill_process},
    };

    use super::*;

    #[test]
    fn a_signal_is_read_and_ends_nothing() {
        let endings = Endings::catch().unwrap();
        let asked = |seconds| {
            let wait = Timespec { tv_sec: seconds, tv_nsec: 0 };
            poll(&mut [PollFd::new(&endings, PollFlags::IN)], Some(&wait)).unwrap() == 1
        };
        assert!(!asked(0));
        kill_process(getpid(), Signal::TERM).unwrap();
        assert!(asked(10));
    }
}
