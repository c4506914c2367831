//! What a program sees: the root it runs on, as a list of mounts to be made in order.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use crate::Error;

/// Top-level folders that are never taken from a tools tree: each sandbox has its own.
const FRESH: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];
/// The device nodes that every sandbox has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Where a program runs: on which root, with which further folders, with or without a network.
#[derive(Debug, Clone)]
pub struct Sandbox {
    pub(crate) root: Root,
    binds: Vec<Bind>,
    pub(crate) network: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Root {
    Host,
    Tools(PathBuf),
    Tree(PathBuf),
}

#[derive(Debug, Clone)]
struct Bind {
    source: PathBuf,
    target: PathBuf,
    writable: bool,
}

/// One action in making a root. Sources lie below `/old` and are canonical; targets are looked up
/// in the new root as a program in it would, so that a link in a tree cannot lead out of it.
#[derive(Debug)]
pub(crate) enum Action {
    Folder(At),
    File(At),
    Link { to: CString, at: At },
    Bind { source: CString, target: At, writable: bool },
    Tmpfs { at: At, mode: &'static std::ffi::CStr },
    Proc { at: At },
    Terminals { at: At },
}

/// A path from the new root's top, which is `.`, whole and in two parts: nothing can be taken apart
/// after the fork.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) path: CString,
    pub(crate) above: CString,
    pub(crate) name: CString,
}

impl At {
    fn new(path: &Path) -> Self {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let or_top = |path: Option<&Path>| {
            c_string(path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")))
        };
        Self {
            path: or_top(Some(relative)),
            above: or_top(relative.parent()),
            name: or_top(relative.file_name().map(Path::new)),
        }
    }
}

impl Sandbox {
    /// No isolation: the host's own programs and files.
    pub fn host() -> Self {
        Self { root: Root::Host, binds: Vec::new(), network: true }
    }

    /// `tree`, a tree of unpacked packages, read-only as `/`; fresh /proc, /dev, /run and /tmp;
    /// no network.
    pub fn tools(tree: &Path) -> Self {
        Self { root: Root::Tools(tree.to_owned()), binds: Vec::new(), network: false }
    }

    /// `tree` writable as `/`; fresh /proc, /dev, /run and /tmp; no network.
    pub fn tree(tree: &Path) -> Self {
        Self { root: Root::Tree(tree.to_owned()), binds: Vec::new(), network: false }
    }

    /// Adds a folder or file of the host, writable, at the same path.
    #[must_use]
    pub fn bind(self, path: &Path) -> Self {
        self.with(path, path, true)
    }

    /// Adds a folder or file of the host, read-only, at the same path.
    #[must_use]
    pub fn bind_ro(self, path: &Path) -> Self {
        self.with(path, path, false)
    }

    /// Adds a folder or file of the host, writable, at `target`.
    #[must_use]
    pub fn bind_at(self, source: &Path, target: &Path) -> Self {
        self.with(source, target, true)
    }

    /// Adds a folder or file of the host, read-only, at `target`.
    #[must_use]
    pub fn bind_ro_at(self, source: &Path, target: &Path) -> Self {
        self.with(source, target, false)
    }

    /// Adds a device node of the host, such as `/dev/kvm`. It can be used as the host's rights on it
    /// allow, and keeps its owner and mode.
    #[must_use]
    pub fn device(self, path: impl AsRef<Path>) -> Self {
        self.with(path.as_ref(), path.as_ref(), false)
    }

    /// Whether the host's network is reached (`true`) or there is none at all.
    #[must_use]
    pub fn network(mut self, on: bool) -> Self {
        self.network = on;
        self
    }

    fn with(mut self, source: &Path, target: &Path, writable: bool) -> Self {
        let bind = Bind { source: source.to_owned(), target: target.to_owned(), writable };
        self.binds.push(bind);
        self
    }

    /// The actions that make this root; none for the host's.
    pub(crate) fn actions(&self) -> Result<Vec<Action>, Error> {
        let mut plan = Plan::default();
        match &self.root {
            Root::Host => return Ok(Vec::new()),
            Root::Tools(tree) => plan.tools(&absolute(tree)?)?,
            Root::Tree(tree) => plan.bind(&absolute(tree)?, Path::new("/"), true)?,
        }
        plan.fresh_folders();
        for bind in &self.binds {
            plan.bind(&absolute(&bind.source)?, &bind.target, bind.writable)?;
        }
        Ok(plan.actions)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|source| Error::Missing { path: path.to_owned(), source })
}

#[derive(Default)]
struct Plan {
    actions: Vec<Action>,
}

impl Plan {
    /// A tmpfs that shows each top-level entry of the tree, so that mount points can be added.
    fn tools(&mut self, tree: &Path) -> Result<(), Error> {
        let failed = |source| Error::Missing { path: tree.to_owned(), source };
        self.push_tmpfs("/", c"mode=755");
        let entries: Result<Vec<_>, _> = fs::read_dir(tree).map_err(failed)?.collect();
        let mut entries = entries.map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let at = Path::new("/").join(entry.file_name());
            if FRESH.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            match fs::read_link(entry.path()) {
                Ok(to) => {
                    self.actions.push(Action::Link { to: c_string(&to), at: At::new(&at) });
                }
                Err(_) => self.bind(&entry.path(), &at, false)?,
            }
        }
        Ok(())
    }

    fn fresh_folders(&mut self) {
        for (folder, mode) in [("/dev", c"mode=755"), ("/run", c"mode=755"), ("/tmp", c"mode=1777")]
        {
            self.folder(Path::new(folder));
            self.push_tmpfs(folder, mode);
        }
        self.folder(Path::new("/sys"));
        self.folder(Path::new("/proc"));
        self.actions.push(Action::Proc { at: At::new(Path::new("/proc")) });
        for name in DEVICES {
            let path = PathBuf::from(format!("/dev/{name}"));
            self.actions.push(Action::File(At::new(&path)));
            // Written to all the same; what is read-only is the node's own owner, mode and times.
            self.push_bind(&path, &path, false);
        }
        for (name, to) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            let at = At::new(&Path::new("/dev").join(name));
            self.actions.push(Action::Link { to: c_string(Path::new(to)), at });
        }
        self.folder(Path::new("/dev/shm"));
        self.push_tmpfs("/dev/shm", c"mode=1777");
        self.folder(Path::new("/dev/pts"));
        self.actions.push(Action::Terminals { at: At::new(Path::new("/dev/pts")) });
    }

    /// A bind mount with the mount point it needs, which is a folder or a file as its source is.
    fn bind(&mut self, source: &Path, target: &Path, writable: bool) -> Result<(), Error> {
        let kind = fs::metadata(source)
            .map_err(|e| Error::Missing { path: source.to_owned(), source: e })?;
        if kind.is_dir() {
            self.folder(target);
        } else {
            self.folder(target.parent().unwrap_or(Path::new("/")));
            self.actions.push(Action::File(At::new(target)));
        }
        self.push_bind(source, target, writable);
        Ok(())
    }

    fn push_bind(&mut self, source: &Path, target: &Path, writable: bool) {
        let source = c_string(&Path::new("/old").join(source.strip_prefix("/").unwrap_or(source)));
        let target = At::new(target);
        self.actions.push(Action::Bind { source, target, writable });
    }

    fn push_tmpfs(&mut self, at: &str, mode: &'static std::ffi::CStr) {
        self.actions.push(Action::Tmpfs { at: At::new(Path::new(at)), mode });
    }

    /// The folder and all above it, as far as they are missing.
    fn folder(&mut self, path: &Path) {
        let mut so_far = PathBuf::new();
        for part in path.components() {
            if let Component::Normal(name) = part {
                so_far.push(name);
                self.actions.push(Action::Folder(At::new(&so_far)));
            }
        }
    }
}

/// A path for the kernel. A NUL cannot be in a path that was looked up; one that was only written
/// down is cut there, and then not found.
fn c_string(path: &Path) -> CString {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

impl Action {
    /// The action in a few words, for an error.
    pub(crate) fn describe(&self) -> String {
        let inside = |at: &At| match at.path.to_string_lossy().as_ref() {
            "." => "/".to_owned(),
            path => format!("/{path}"),
        };
        match self {
            Self::Folder(at) => format!("making the folder {}", inside(at)),
            Self::File(at) => format!("making the mount point {}", inside(at)),
            Self::Link { at, .. } => format!("making the link {}", inside(at)),
            Self::Bind { source, target, .. } => {
                let source = source.to_string_lossy();
                let source = source.strip_prefix("/old").unwrap_or(&source);
                format!("binding {source} at {}", inside(target))
            }
            Self::Tmpfs { at, .. } => format!("mounting a tmpfs at {}", inside(at)),
            Self::Proc { at } => format!("mounting proc at {}", inside(at)),
            Self::Terminals { at } => format!("mounting devpts at {}", inside(at)),
        }
    }
}

/// `io::Error` for what a child reported as a number.
pub(crate) fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
