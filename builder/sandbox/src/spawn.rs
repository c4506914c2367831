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
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

use libc::{c_int, c_long};
use rustix::{
    fs::{self, CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{self, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags},
    process::{self, Pid, PidfdFlags},
};

use crate::root::{Action, At};

/// What the child needs, all of it allocated before the fork.
pub(crate) struct Spawn {
    /// How the root is made; empty for the host's.
    pub(crate) actions: Vec<Action>,
    pub(crate) network: bool,
    /// Whether the program keeps the terminal.
    pub(crate) interactive: bool,
    /// The process that makes this one.
    pub(crate) builder: Pid,
    /// Where the number of a failed action and its errno are written.
    pub(crate) report: io::PipeWriter,
}

/// Failures that are no action's.
pub(crate) const NAMESPACES: u32 = u32::MAX;
pub(crate) const PIVOT: u32 = u32::MAX - 1;
pub(crate) const START_FOLDER: u32 = u32::MAX - 2;
pub(crate) const CAPABILITIES: u32 = u32::MAX - 3;

/// What a program in a sandbox may do as root, by numbers of capabilities(7): own, open and remove
/// any file of its tree, become any user, and end its own processes. Not among them is
/// CAP_SYS_ADMIN, by which it could mount and undo what is read-only, nor any other that reaches
/// beyond files. Other capabilities come back in a user namespace that the program makes, and there
/// the kernel keeps the mounts locked.
const KEPT_CAPABILITIES: [u32; 12] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP: to drop more of them
    10, // NET_BIND_SERVICE
    18, // SYS_CHROOT
    27, // MKNOD: pipes; devices are refused in a user namespace
    31, // SETFCAP
];
/// How often a lookup is tried again that a rename elsewhere disturbed. Set here.
const MAX_TRIES: usize = 64;

impl Spawn {
    /// To be called after fork in the process that will exec; returns in the program's process
    /// alone.
    pub(crate) fn in_child(&self) -> io::Result<()> {
        die_with_parent()?;
        // Had it died before, no signal would come.
        if process::getppid() != Some(self.builder) {
            end(1);
        }
        if self.actions.is_empty() {
            return Ok(());
        }
        let supervisor = process::pidfd_open(process::getpid(), PidfdFlags::empty())
            .map_err(|e| self.fail(NAMESPACES, e.into()))?;
        match self.clone_into_namespaces() {
            0 => {}
            child if child > 0 => supervise(child),
            error => return Err(self.fail(NAMESPACES, from_errno(error))),
        }
        die_with_parent()?;
        // In this namespace the parent has no number.
        if has_ended(&supervisor) {
            end(1);
        }
        self.make_root()?;
        if !self.interactive {
            // SAFETY: takes nothing; a failure leaves the session as it was.
            unsafe { libc::setsid() };
        }
        match raw_clone(0) {
            // The first process is this one's parent, and the kernel ends all others with it.
            0 => drop_capabilities().map_err(|e| self.fail(CAPABILITIES, e)),
            child if child > 0 => first_process(child),
            error => Err(self.fail(NAMESPACES, from_errno(error))),
        }
    }

    /// Changes to the folder that the program starts in.
    pub(crate) fn start_in(&self, folder: &CStr) -> io::Result<()> {
        process::chdir(folder).map_err(|e| self.fail(START_FOLDER, e.into()))
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
        enter_scaffold().map_err(|e| self.fail(PIVOT, e))?;
        for (number, action) in (0..).zip(&self.actions) {
            perform(action).map_err(|e| self.fail(number, e))?;
        }
        leave_scaffold().map_err(|e| self.fail(PIVOT, e))
    }

    /// Tells the builder what failed, and returns it.
    fn fail(&self, action: u32, error: io::Error) -> io::Error {
        let mut message = [0; 8];
        message[..4].copy_from_slice(&action.to_ne_bytes());
        message[4..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
        let fd = self.report.as_raw_fd();
        // SAFETY: writes 8 bytes of a live array to a descriptor this process owns.
        unsafe { libc::write(fd, message.as_ptr().cast(), message.len()) };
        error
    }
}

/// A tmpfs as root, with the old root at /old and a folder /new: so no mount of ours can hide what a
/// later one needs.
fn enter_scaffold() -> io::Result<()> {
    mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount::mount(c"tmpfs", c"/tmp", c"tmpfs", MountFlags::empty(), None::<&CStr>)?;
    fs::mkdir(c"/tmp/old", Mode::from_raw_mode(0o755))?;
    fs::mkdir(c"/tmp/new", Mode::from_raw_mode(0o755))?;
    process::pivot_root(c"/tmp", c"/tmp/old")?;
    process::chdir(c"/")?;
    Ok(rustix::system::sethostname(b"coremax")?)
}

fn perform(action: &Action) -> io::Result<()> {
    match action {
        Action::Folder(at) => {
            let above = inside(&at.above, OFlags::PATH | OFlags::DIRECTORY)?;
            exists_is_fine(fs::mkdirat(above, at.name.as_c_str(), Mode::from_raw_mode(0o755)))
        }
        Action::File(at) => make_file(at),
        Action::Link { to, at } => {
            let above = inside(&at.above, OFlags::PATH | OFlags::DIRECTORY)?;
            exists_is_fine(fs::symlinkat(to.as_c_str(), above, at.name.as_c_str()))
        }
        Action::Bind { source, target, writable } => bind(source, target, *writable),
        Action::Tmpfs { at, mode } => mount_new(c"tmpfs", at, MountFlags::NOSUID, Some(mode)),
        Action::Proc { at } => {
            // Root of the build may be root of the host, whose settings are below /proc/sys.
            let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
            // A container whose own /proc is masked may not mount a new one: share that one, in
            // which the kernel shows a program nothing of a process with more rights than its own.
            mount_new(c"proc", at, flags | MountFlags::NOEXEC, None)
                .or_else(|_| bind(c"/old/proc", at, false))
        }
        Action::Terminals { at } => {
            let data = Some(c"newinstance,ptmxmode=0666,mode=0620");
            mount_new(c"devpts", at, MountFlags::NOSUID, data)
        }
    }
}

/// Opens a path of the new root as a program in it would: no link leads out of it.
fn inside(path: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    let root = fs::open(c"/new", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    for _ in 0..MAX_TRIES {
        let mode = Mode::from_raw_mode(if flags.contains(OFlags::CREATE) { 0o644 } else { 0 });
        match fs::openat2(&root, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT) {
            Err(Errno::AGAIN) => {}
            opened => return Ok(opened?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// A file to mount over, where there is none. One that is there is not opened: it may be a pipe.
fn make_file(at: &At) -> io::Result<()> {
    match inside(&at.path, OFlags::PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            inside(&at.path, OFlags::CREATE | OFlags::RDONLY | OFlags::NONBLOCK).map(drop)
        }
        found => found.map(drop),
    }
}

/// The mounts of `source` as a tree of their own, put on `target` when they are as they should be.
fn bind(source: &CStr, target: &At, writable: bool) -> io::Result<()> {
    let recursive = OpenTreeFlags::AT_RECURSIVE;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
    let tree = mount::open_tree(CWD, source, flags)?;
    if !writable {
        make_read_only(&tree)?;
    }
    let by_handles =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let target = inside(&target.path, OFlags::PATH)?;
    Ok(mount::move_mount(&tree, c"", &target, c"", by_handles)?)
}

/// Mounts a new file system on a folder of the new root, by way of the current folder: mount(2) takes
/// a path and would follow its links.
fn mount_new(kind: &CStr, at: &At, flags: MountFlags, data: Option<&CStr>) -> io::Result<()> {
    process::fchdir(inside(&at.path, OFlags::PATH | OFlags::DIRECTORY)?)?;
    Ok(mount::mount(kind, c".", kind, flags, data)?)
}

fn exists_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// mount_setattr(2) (Linux 5.12) sets the flag on a whole tree of mounts and keeps the others,
/// which a remount in a user namespace must not drop.
fn make_read_only(tree: &OwnedFd) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: an open descriptor, a NUL-terminated path and a struct of the size that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
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

fn has_ended(process: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)) != Ok(0)
}

/// From the next exec on, for this process and all it starts.
fn drop_capabilities() -> io::Result<()> {
    for capability in (0..64).filter(|number| !KEPT_CAPABILITIES.contains(number)) {
        // SAFETY: plain numbers.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability)) };
        match io::Error::last_os_error() {
            _ if result == 0 => {}
            // This kernel has no more of them.
            error if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            error => return Err(error),
        }
    }
    Ok(())
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
        if c_long::from(pid) == child {
            return status;
        } else if pid == -1 && errno() != libc::EINTR {
            end(1); // it cannot be said how the program ended, and so not that it ended well
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
    end(code)
}

fn end(code: c_int) -> ! {
    // SAFETY: ends this process without running the builder's exit handlers.
    unsafe { libc::_exit(code) }
}
