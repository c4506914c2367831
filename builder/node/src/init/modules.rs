//! Loading modules: those that devices ask for and those that the root stands on.
//!
//! A few threads load, the likeliest drivers first, so that a controller that takes seconds to come up
//! holds up nothing else and one that the root does not need is left to the root's own udev. Modules
//! are `.ko.zst` in our initrd, each by itself: a machine loads few of the hundreds that are there, and
//! the kernel would take seconds to unpack them all. Those in xz are handed to the kernel as they are,
//! which takes them since Linux 5.17 where it was built so.

mod work;

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use coremax_kmod::{Compression, Files, Index, Name, sets};
use rustix::io::Errno;

use self::work::{Rank, Work};
use super::{cmdline::CommandLine, console};

/// Threads: one a processor, and a second so that a controller that sleeps holds up nothing.
const WORKERS_MIN: usize = 2;
const WORKERS_MAX: usize = 8;
/// The largest module, unpacked. Set by us: the largest of any distribution, amdgpu, has 20 MiB.
const MODULE_MAX: u64 = 256 << 20;
/// finit_module(2): MODULE_INIT_COMPRESSED_FILE
const COMPRESSED: i32 = 4;
/// Modules of disks that are there at once: if one of them has the root, the others are not needed.
const FIRST: [&str; 9] = [
    "kernel/drivers/virtio/",
    "kernel/drivers/block/virtio_blk",
    "kernel/drivers/scsi/virtio_scsi",
    "kernel/drivers/scsi/sd_mod",
    "kernel/drivers/nvme/",
    "kernel/drivers/hv/",
    "kernel/drivers/scsi/hv_storvsc",
    "kernel/drivers/scsi/vmw_pvscsi",
    "kernel/drivers/block/xen-blkfront",
];
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
pub(crate) struct Modules {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    asked: BTreeSet<Name>,
    later: BTreeSet<Name>,
}

struct Shared {
    index: Index,
    folder: PathBuf,
    line: CommandLine,
    work: Work,
}

impl Modules {
    /// Reads the index of this kernel's modules and starts.
    pub(crate) fn start(line: &CommandLine) -> Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let folder = PathBuf::from("/lib/modules").join(release);
        let index = index(&folder)?;
        let shared = Arc::new(Shared { index, folder, line: line.clone(), work: Work::default() });
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let worker = |_| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().spawn(move || shared.work())
        };
        let workers = (0..cpus.clamp(WORKERS_MIN, WORKERS_MAX)).map(worker);
        let workers = workers.collect::<Result<_, _>>().context("starting threads")?;
        let (asked, later) = Default::default();
        Ok(Self { shared, workers, asked, later })
    }

    /// Loads what drives the device with this modalias, soon.
    pub(crate) fn drive(&mut self, modalias: &str) {
        let shared = Arc::clone(&self.shared);
        for name in shared.index.matching(modalias) {
            let path = shared.index.path(name).unwrap_or_default();
            if begins(path, &LATER) {
                self.later.insert(name.clone());
            } else if !shared.line.bans(name.as_str()) {
                self.load(
                    if begins(path, &FIRST) { Rank::First } else { Rank::Rest },
                    name.clone(),
                );
            }
        }
    }

    /// Loads what leads to no disk too: a person may need the keyboard now.
    pub(crate) fn drive_the_rest(&mut self) {
        for name in std::mem::take(&mut self.later) {
            self.load(Rank::Rest, name);
        }
    }

    /// Loads what the root stands on, soon.
    pub(crate) fn prepare_root(&mut self) {
        for name in sets::ROOT.names.iter().chain(sets::ROOT.required) {
            self.load(Rank::Root, Name::new(name));
        }
    }

    fn load(&mut self, rank: Rank, name: Name) {
        if self.asked.insert(name.clone()) {
            self.shared.work.add(rank, name);
        }
    }

    /// Loads what the root stands on, now, and begins nothing else any more.
    pub(crate) fn need_root(&self) -> Result<()> {
        self.shared.work.close();
        for name in sets::ROOT.names {
            let _ = self.shared.load(&Name::new(name)); // faster with it, but not without it
        }
        sets::ROOT.required.iter().try_for_each(|name| self.shared.load(&Name::new(name)))
    }

    /// Loads these now, as far as they are there.
    pub(crate) fn need(&self, names: &[&str]) {
        for name in names {
            let _ = self.shared.load(&Name::new(name)); // what they are for says what is missing
        }
    }

    /// Waits for the modules that were begun: to become another program would kill their threads.
    pub(crate) fn stop(&mut self) {
        self.shared.work.close();
        for worker in self.workers.drain(..) {
            let _ = worker.join(); // one that panicked has loaded what it could
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(name) = self.work.next() {
            if let Err(error) = self.load(&name) {
                console::log(&format!("{error:#}"));
            }
        }
    }

    /// Loads a module with what it needs and wants. No device for it is no error.
    fn load(&self, name: &Name) -> Result<()> {
        for module in self.index.load_order(name)? {
            let loaded = self.work.once(module, || self.insert(module));
            // What was needed and failed makes the module itself fail, which says so.
            if module == name {
                loaded?;
            }
        }
        Ok(())
    }

    fn insert(&self, module: &Name) -> Result<()> {
        let path = self.index.path(module).unwrap_or_default();
        let compression = Compression::of_file(path).unwrap_or(Compression::Plain);
        let options = CString::new(self.line.options(module.as_str())).unwrap_or_default();
        let path = self.folder.join(path);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let inserted = match compression {
            Compression::Plain => rustix::system::finit_module(&file, &options, 0),
            Compression::Xz => rustix::system::finit_module(&file, &options, COMPRESSED),
            Compression::Zstd => rustix::system::init_module(&unpacked(&file, &path)?, &options),
        };
        match inserted {
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("loading the module {module}")),
        }
    }
}

fn unpacked(file: &File, path: &Path) -> Result<Vec<u8>> {
    let mut module = Vec::new();
    zstd::Decoder::new(file)
        .and_then(|decoder| decoder.take(MODULE_MAX).read_to_end(&mut module))
        .with_context(|| format!("unpacking {}", path.display()))?;
    Ok(module)
}

fn begins(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
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
