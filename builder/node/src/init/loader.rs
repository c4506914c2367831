//! Loading modules: those that devices ask for and those that the root stands on.
//!
//! A few threads load, so that a controller that takes seconds to come up holds up nothing else; the
//! kernel itself makes a second load of one module wait for the first. Modules are plain `.ko` in our
//! initrd; compressed ones are handed to the kernel as they are, which takes them since Linux 5.17
//! where it was built so.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use coremax_kmod::{Compression, Files, Index, Name, sets};
use rustix::io::Errno;

use super::{cmdline::CommandLine, console};

/// Threads: enough for a controller or two that are slow.
const WORKERS: usize = 4;
/// finit_module(2): MODULE_INIT_COMPRESSED_FILE
const COMPRESSED: i32 = 4;
/// Modules that lead to no disk: the root's own udev loads them, from faster storage.
const LATER: [&str; 7] = [
    "kernel/drivers/net/",
    "kernel/drivers/hid/",
    "kernel/drivers/input/",
    "kernel/drivers/char/",
    "kernel/drivers/watchdog/",
    "kernel/drivers/gpu/",
    "kernel/sound/",
];

/// The initrd's modules.
pub(crate) struct Loader {
    shared: Arc<Shared>,
    sender: Option<mpsc::Sender<Name>>,
    workers: Vec<JoinHandle<()>>,
    asked: BTreeSet<Name>,
    later: BTreeSet<Name>,
}

struct Shared {
    index: Index,
    folder: PathBuf,
    line: CommandLine,
    loaded: Mutex<BTreeSet<Name>>,
    stopping: AtomicBool,
}

impl Loader {
    /// Reads the index of this kernel's modules and starts.
    pub(crate) fn start(line: &CommandLine) -> Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let folder = PathBuf::from("/lib/modules").join(release);
        let index = index(&folder)?;
        let shared = Arc::new(Shared {
            index,
            folder,
            line: line.clone(),
            loaded: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let worker = || {
            let (shared, receiver) = (Arc::clone(&shared), Arc::clone(&receiver));
            thread::Builder::new().spawn(move || shared.work(&receiver))
        };
        let workers = (0..WORKERS).map(|_| worker()).collect::<Result<_, _>>();
        let workers = workers.context("starting threads to load modules")?;
        let (asked, later) = Default::default();
        Ok(Self { shared, sender: Some(sender), workers, asked, later })
    }

    /// Loads what drives the device with this modalias, soon.
    pub(crate) fn drive(&mut self, modalias: &str) {
        let shared = Arc::clone(&self.shared);
        for name in shared.index.matching(modalias) {
            let path = shared.index.path(name).unwrap_or_default();
            if LATER.iter().any(|folder| path.starts_with(folder)) {
                self.later.insert(name.clone());
            } else if !shared.line.bans(name.as_str()) {
                self.load(name.clone());
            }
        }
    }

    /// Loads what leads to no disk too: a person may need the keyboard now.
    pub(crate) fn drive_the_rest(&mut self) {
        for name in std::mem::take(&mut self.later) {
            self.load(name);
        }
    }

    /// Loads what the root stands on, soon.
    pub(crate) fn prepare_root(&mut self) {
        for name in sets::ROOT.names.iter().chain(sets::ROOT.required) {
            self.load(Name::new(name));
        }
    }

    fn load(&mut self, name: Name) {
        if self.asked.insert(name.clone()) {
            let _ = self.sender.as_ref().map(|sender| sender.send(name));
        }
    }

    /// Loads what the root stands on, now.
    pub(crate) fn need_root(&self) -> Result<()> {
        for name in sets::ROOT.names {
            let _ = self.shared.load(&Name::new(name)); // faster with it, but not without it
        }
        sets::ROOT.required.iter().try_for_each(|name| self.shared.load(&Name::new(name)))
    }

    /// Begins no other module and waits for those that were begun.
    pub(crate) fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.sender = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join(); // one that panicked has loaded what it could
        }
    }
}

impl Shared {
    fn work(&self, receiver: &Mutex<mpsc::Receiver<Name>>) {
        loop {
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(name) = next else { return };
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = self.load(&name) {
                console::log(&format!("{error:#}"));
            }
        }
    }

    /// Loads a module with what it needs and wants. No device for it is no error.
    fn load(&self, name: &Name) -> Result<()> {
        for module in self.index.load_order(name)? {
            let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            if loaded().contains(module) {
                continue;
            }
            match self.insert(module) {
                Ok(()) => drop(loaded().insert(module.clone())),
                // What was needed and failed makes the module itself fail, which says so.
                Err(error) if module == name => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn insert(&self, module: &Name) -> Result<()> {
        let path = self.index.path(module).unwrap_or_default();
        let plain = Compression::of_file(path) == Some(Compression::Plain);
        let options = CString::new(self.line.options(module.as_str())).unwrap_or_default();
        let path = self.folder.join(path);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        match rustix::system::finit_module(&file, &options, if plain { 0 } else { COMPRESSED }) {
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("loading the module {module}")),
        }
    }
}

fn index(folder: &std::path::Path) -> Result<Index> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let dep = fs::read_to_string(folder.join("modules.dep"));
    let dep = dep.with_context(|| format!("reading {}/modules.dep", folder.display()))?;
    let (alias, softdep, builtin) =
        (read("modules.alias"), read("modules.softdep"), read("modules.builtin"));
    let files = Files { dep: &dep, alias: &alias, softdep: &softdep, builtin: &builtin };
    Index::parse(files).context("reading the index of modules")
}

/// The modaliases of all devices that are there.
pub(crate) fn modaliases() -> BTreeSet<String> {
    let folder = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    folder("/sys/bus".into())
        .flat_map(|bus| folder(bus.path().join("devices")))
        .filter_map(|device| fs::read_to_string(device.path().join("modalias")).ok())
        .map(|text| text.trim_end().to_owned())
        .filter(|modalias| !modalias.is_empty())
        .collect()
}
