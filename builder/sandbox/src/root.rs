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

/// One action in making a root. Sources lie below `/old`, targets below `/new`.
#[derive(Debug)]
pub(crate) enum Action {
    Folder(CString),
    File(CString),
    Link { to: CString, at: CString },
    Bind { source: CString, target: CString, writable: bool },
    Tmpfs { at: CString, mode: &'static std::ffi::CStr },
    Proc { at: CString },
    Terminals { at: CString },
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

    /// Adds a device node of the host, such as `/dev/kvm`.
    #[must_use]
    pub fn device(self, path: impl AsRef<Path>) -> Self {
        self.with(path.as_ref(), path.as_ref(), true)
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
            Root::Tools(tree) => plan.tools(tree)?,
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
                    self.actions.push(Action::Link { to: c_string(&to), at: below("/new", &at) });
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
        self.actions.push(Action::Proc { at: c"/new/proc".into() });
        for name in DEVICES {
            self.actions.push(Action::File(c_string(Path::new(&format!("/new/dev/{name}")))));
            let path = PathBuf::from(format!("/dev/{name}"));
            self.push_bind(&path, &path, true);
        }
        for (name, to) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            let at = below("/new/dev", Path::new(name));
            self.actions.push(Action::Link { to: c_string(Path::new(to)), at });
        }
        self.folder(Path::new("/dev/shm"));
        self.push_tmpfs("/dev/shm", c"mode=1777");
        self.folder(Path::new("/dev/pts"));
        self.actions.push(Action::Terminals { at: c"/new/dev/pts".into() });
    }

    /// A bind mount with the mount point it needs, which is a folder or a file as its source is.
    fn bind(&mut self, source: &Path, target: &Path, writable: bool) -> Result<(), Error> {
        let kind = fs::metadata(source)
            .map_err(|e| Error::Missing { path: source.to_owned(), source: e })?;
        if kind.is_dir() {
            self.folder(target);
        } else {
            self.folder(target.parent().unwrap_or(Path::new("/")));
            self.actions.push(Action::File(below("/new", target)));
        }
        self.push_bind(source, target, writable);
        Ok(())
    }

    fn push_bind(&mut self, source: &Path, target: &Path, writable: bool) {
        let (source, target) = (below("/old", source), below("/new", target));
        self.actions.push(Action::Bind { source, target, writable });
    }

    fn push_tmpfs(&mut self, at: &str, mode: &'static std::ffi::CStr) {
        self.actions.push(Action::Tmpfs { at: below("/new", Path::new(at)), mode });
    }

    /// The folder and all above it, as far as they are missing.
    fn folder(&mut self, path: &Path) {
        let mut so_far = PathBuf::from("/new");
        for part in path.components() {
            if let Component::Normal(name) = part {
                so_far.push(name);
                self.actions.push(Action::Folder(c_string(&so_far)));
            }
        }
    }
}

fn below(top: &str, path: &Path) -> CString {
    let relative = path.strip_prefix("/").unwrap_or(path);
    c_string(&Path::new(top).join(relative))
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
        let inside = |path: &CString| {
            let text = path.to_string_lossy();
            let text = text.strip_prefix("/new").unwrap_or(&text);
            if text.is_empty() { "/".to_owned() } else { text.to_owned() }
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
