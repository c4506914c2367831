//! What a machine is plugged in by.

use std::os::fd::BorrowedFd;

/// Bytes of a frame, at most: QEMU's `NET_BUFSIZE`.
pub const FRAME_MAX: usize = 4096 + 65536;
/// Frames that are taken from one port at a time: others have their turn between.
pub(super) const AT_ONCE: usize = 64;

/// One end of a line. Nothing here blocks, and nothing fails: what cannot be sent is lost.
pub trait Port: Send {
    /// What is waited for; nothing when it is gone for good.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Gives frames that have come, some at a time.
    fn receive(&mut self, take: &mut dyn FnMut(&[u8]));

    /// Sends a frame.
    fn send(&mut self, frame: &[u8]);

    /// Whether some of what was sent is not with the machine yet.
    fn is_behind(&self) -> bool {
        false
    }

    /// Goes on with that.
    fn send_rest(&mut self) {}
}
