//! The child's side of starting a program: namespaces, mounts, and a first process that reaps.
//!
//! Three processes come of one `Cmd`. The *supervisor* stays in the builder's namespaces and ends
//! as the program ends. The *first process* is pid 1 of the new namespace, makes the mounts and
//! waits for everything in it. The *program* is its child. Each is killed when its parent dies,
//! so that nothing survives the builder.
//!
//! All of this runs between fork and exec, where only system calls are safe: nothing here
//! allocates, locks or panics.

#![allow(unsafe_code)] // system calls that have no safe wrapper, each with its reason

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, RawFd},
};

use libc::{c_int, c_long};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::root::Action;

/// What the child needs, all of it allocated before the fork.
pub(crate) struct Spawn {
    /// How the root is made; empty for the host's.
    pub(crate) actions: Vec<Action>,
    pub(crate) network: bool,
    /// Whether the program keeps the terminal.
    pub(crate) interactive: bool,
    /// Where the number of a failed action and its errno are written.
    pub(crate) report: io::PipeWriter,
}

/// Failures that are no action's.
pub(crate) const NAMESPACES: u32 = u32::MAX;
pub(crate) const PIVOT: u32 = u32::MAX - 1;

impl Spawn {
    /// To be called after fork in the process that will exec; returns in the program's process
    /// alone.
    pub(crate) fn in_child(&self) -> io::Result<()> {
        die_with_parent()?;
        if self.actions.is_empty() {
            return Ok(());
        }
        match self.clone_into_namespaces() {
            0 => {}
            child if child > 0 => supervise(child),
            error => return self.fail(NAMESPACES, from_errno(error)),
        }
        die_with_parent()?;
        self.make_root()?;
        if !self.interactive {
            // SAFETY: takes nothing; a failure leaves the session as it was.
            unsafe { libc::setsid() };
        }
        match raw_clone(0) {
            0 => die_with_parent(),
            child if child > 0 => first_process(child),
            error => self.fail(NAMESPACES, from_errno(error)),
        }
    }

    fn clone_into_namespaces(&self) -> c_long {
        let mut flags =
            libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        if !self.network {
            flags |= libc::CLONE_NEWNET;
        }
        raw_clone(flags)
    }

    fn make_root(&self) -> io::Result<()> {
        self.enter_scaffold().or_else(|e| self.fail(PIVOT, e))?;
        for (number, action) in (0..).zip(&self.actions) {
            perform(action).or_else(|e| self.fail(number, e))?;
        }
        leave_scaffold().or_else(|e| self.fail(PIVOT, e))
    }

    /// A tmpfs as root, with the old root at /old and a folder /new: so no mount of ours can hide
    /// what a later one needs.
    fn enter_scaffold(&self) -> io::Result<()> {
        use rustix::{fs::Mode, mount, process};
        mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount::mount(c"tmpfs", c"/tmp", c"tmpfs", MountFlags::empty(), None::<&CStr>)?;
        rustix::fs::mkdir(c"/tmp/old", Mode::from_raw_mode(0o755))?;
        rustix::fs::mkdir(c"/tmp/new", Mode::from_raw_mode(0o755))?;
        process::pivot_root(c"/tmp", c"/tmp/old")?;
        process::chdir(c"/")?;
        Ok(rustix::system::sethostname(b"coremax")?)
    }

    fn fail(&self, action: u32, error: io::Error) -> io::Result<()> {
        let mut message = [0; 8];
        message[..4].copy_from_slice(&action.to_ne_bytes());
        message[4..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
        let fd = self.report.as_raw_fd();
        // SAFETY: writes 8 bytes of a live array to a descriptor this process owns.
        unsafe { libc::write(fd, message.as_ptr().cast(), message.len()) };
        Err(error)
    }
}

fn perform(action: &Action) -> io::Result<()> {
    use rustix::{fs, fs::Mode, mount};
    match action {
        Action::Folder(at) => exists_is_fine(fs::mkdir(at, Mode::from_raw_mode(0o755))),
        Action::File(at) => {
            let flags = fs::OFlags::CREATE | fs::OFlags::CLOEXEC | fs::OFlags::RDONLY;
            fs::open(at, flags, Mode::from_raw_mode(0o644))?;
            Ok(())
        }
        Action::Link { to, at } => exists_is_fine(fs::symlink(to, at)),
        Action::Bind { source, target, writable } => {
            mount::mount_bind_recursive(source, target)?;
            if *writable { Ok(()) } else { make_read_only(target) }
        }
        Action::Tmpfs { at, mode } => {
            Ok(mount::mount(c"tmpfs", at, c"tmpfs", MountFlags::NOSUID, Some(*mode))?)
        }
        Action::Proc { at } => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            // A container whose own /proc is masked may not mount a new one: share that one.
            let mounted = mount::mount(c"proc", at, c"proc", flags, None::<&CStr>);
            Ok(mounted.or_else(|_| mount::mount_bind_recursive(c"/old/proc", at))?)
        }
        Action::Terminals { at } => {
            let data = Some(c"newinstance,ptmxmode=0666,mode=0620");
            Ok(mount::mount(c"devpts", at, c"devpts", MountFlags::NOSUID, data)?)
        }
    }
}

fn exists_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// mount_setattr(2) (Linux 5.12) sets the flag on a whole tree of mounts and keeps the others,
/// which a remount in a user namespace must not drop.
fn make_read_only(target: &CStr) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: a NUL-terminated path and a struct of the size that is passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn leave_scaffold() -> io::Result<()> {
    rustix::process::chdir(c"/new")?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: plain numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// fork(2) without the C library's handlers, whose locks another thread of the builder may hold.
fn raw_clone(flags: c_int) -> c_long {
    // SAFETY: no stack is passed and CLONE_VM is not set, so this is a fork into namespaces.
    let result =
        unsafe { libc::syscall(libc::SYS_clone, c_long::from(flags | libc::SIGCHLD), 0, 0, 0, 0) };
    if result == -1 { -c_long::from(errno()) } else { result }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn from_errno(negated: c_long) -> io::Error {
    io::Error::from_raw_os_error(c_int::try_from(-negated).unwrap_or(libc::EIO))
}

/// Waits for the first process and ends as it did.
fn supervise(child: c_long) -> ! {
    close_all_but_standard();
    let status = wait_for(child);
    exit_like(status)
}

/// Pid 1: reaps whatever is orphaned to it, and ends as the program did, which ends all others.
fn first_process(child: c_long) -> ! {
    close_all_but_standard();
    let status = wait_for(child);
    exit_like(status)
}

fn wait_for(child: c_long) -> c_int {
    let mut status = 0;
    loop {
        // SAFETY: the status is a live local.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if c_long::from(pid) == child || (pid == -1 && errno() != libc::EINTR) {
            return status;
        }
    }
}

/// The pipe by which the builder learns of a failed exec is among them: while a copy is open, the
/// builder waits.
fn close_all_but_standard() {
    let from = RawFd::from(3_u8);
    // SAFETY: this process uses no descriptor above 2 from here on.
    unsafe { libc::syscall(libc::SYS_close_range, from, c_int::MAX, 0) };
}

fn exit_like(status: c_int) -> ! {
    let code = if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    };
    // SAFETY: ends this process without running the builder's exit handlers.
    unsafe { libc::_exit(code) }
}
