//! The initrd of a sealed image: the node program as /init, the modules that lead it to its root,
//! and what repairs the data file system. No program of the distribution takes part in making it.
//!
//! Two archives, one behind the other. The first is as it is, for what is in it is compressed already:
//!
//! ```text
//! lib/modules/RELEASE/           modules, each compressed
//! lib/firmware/                  what these modules may ask for and the tree has
//! dev/console                    where the kernel gives /init its standard streams
//! ```
//!
//! The second is compressed as a whole:
//!
//! ```text
//! lib/modules/RELEASE/modules.*  depmod's index of these modules alone
//! init                           coremax-node
//! sbin/e2fsck                    static, out of the tools tree
//! ```

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};
use coremax_disk::cpio::{self, Content, Entry};
use coremax_fetch::Digest;
use coremax_kmod::{Compression, Initrd as Chosen, Modinfo, sets};
use coremax_recipe::Modules;

use super::{
    kernel::{self, INITRD},
    modules,
    site::{NODE, NODE_DIGEST},
    system, tools,
};
use crate::{
    event::{Stage, Unit},
    fingerprint::Fingerprint,
    run::{Outputs, Step},
};

/// Changes when the same tree makes another file.
const REVISION: u32 = 4;
/// zstd's level for a module: higher ones take twice the time for a fiftieth of the size.
const MODULE_LEVEL: i32 = 6;
/// zstd's level for the second archive.
const PACKED_LEVEL: i32 = 9;
/// Where e2fsck-static puts its program.
const E2FSCK: &str = "sbin/e2fsck.static";
/// Folders that early boot mounts over.
const FOLDERS: [&str; 6] = ["dev", "proc", "run", "sys", "sysroot", "tmp"];

/// The step that makes the initrd of a sealed image.
pub(crate) struct Initrd {
    /// Fingerprint of the system layer, whose kernel it is for.
    pub(crate) system: Digest,
    /// Fingerprint of the tools tree.
    pub(crate) tools: Digest,
    /// What machines it is for.
    pub(crate) modules: Modules,
    /// The time that it carries, in seconds since 1970.
    pub(crate) epoch: u64,
    /// Bytes that the packages take unpacked.
    pub(crate) unpacked: u64,
}

impl Step for Initrd {
    fn id(&self) -> &'static str {
        "initrd"
    }

    fn description(&self) -> String {
        "making the initrd".to_owned()
    }

    fn reads(&self) -> Fingerprint {
        Fingerprint::new("initrd", REVISION)
            .with_digest("system", &self.system)
            .with_digest("tools", &self.tools)
            .with_digest("node program", &NODE_DIGEST)
            .with_json("modules", &self.modules)
            .with("epoch", self.epoch.to_string())
    }

    fn needs(&self) -> &[&'static str] {
        &["system", "tools"]
    }

    fn room(&self) -> u64 {
        kernel::room(self.unpacked) + NODE.len() as u64
    }

    fn run(&self, needed: &Outputs, out: &Path, stage: &Stage<'_>) -> Result<String> {
        stage.started("choosing modules", None, Unit::Count);
        let tree = needed.path("system", system::TREE);
        let release = kernel::copy(&tree, out)?;
        let mut data: Vec<_> = FOLDERS.map(|path| Entry::folder(path, 0o755)).into();
        let console = Content::Character { major: 5, minor: 1 };
        data.push(Entry { path: "dev/console".to_owned(), mode: 0o600, content: console });
        let chosen = self.add_modules(&tree, &release, &mut data)?;
        let e2fsck = needed.path("tools", tools::TREE).join(E2FSCK);
        let mut packed: Vec<_> = index_files(&release, &chosen).into();
        packed.push(Entry::bytes("init", 0o755, NODE));
        packed.push(Entry::copy("sbin/e2fsck", 0o755, e2fsck));
        let path = out.join(INITRD);
        let file = fs::File::create(&path).with_context(|| format!("making {}", path.display()))?;
        let file = cpio::write(&data, self.epoch, None, file)?;
        cpio::write(&packed, self.epoch, Some(PACKED_LEVEL), file)?;
        let (size, modules) = (fs::metadata(&path)?.len(), chosen.files.len());
        Ok(format!("Linux {release}, {modules} modules, initrd {:.1} MiB", size as f64 / 1048576.0))
    }
}

impl Initrd {
    /// Adds the modules and their firmware. Returns which modules they are.
    fn add_modules(&self, tree: &Path, release: &str, entries: &mut Vec<Entry>) -> Result<Chosen> {
        let folder = tree.join(modules::FOLDER).join(release);
        let index = modules::index(&folder)?;
        let sets = match self.modules {
            Modules::Cloud => sets::CLOUD,
            Modules::Metal => sets::METAL,
        };
        let chosen = index.initrd(&index.select(sets)?, Compression::Zstd);
        let target = target(release);
        let mut firmware = BTreeSet::new();
        for (packed, (_, to)) in pack_all(&folder, &chosen.files)?.into_iter().zip(&chosen.files) {
            firmware.extend(packed.firmware);
            entries.push(Entry::bytes(format!("{target}/{to}"), 0o644, packed.file));
        }
        entries.extend(firmware_files(tree, &firmware)?);
        Ok(chosen)
    }
}

/// A module as the initrd has it.
struct Packed {
    /// Compressed with zstd.
    file: Vec<u8>,
    /// What it may ask for, perhaps patterns.
    firmware: Vec<String>,
}

/// All modules in their order, by as many threads as there are processors.
fn pack_all(folder: &Path, files: &[(String, String)]) -> Result<Vec<Packed>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let pack_share = |share: &[(String, String)]| -> Result<Vec<Packed>> {
            share.iter().map(|(from, _)| pack(&folder.join(from))).collect()
        };
        let threads: Vec<_> =
            files.chunks(share).map(|share| scope.spawn(move || pack_share(share))).collect();
        let shares = threads.into_iter().map(|thread| match thread.join() {
            Ok(packed) => packed,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        Ok(shares.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

fn pack(path: &Path) -> Result<Packed> {
    let context = || format!("reading the module {}", path.display());
    let file = fs::read(path).with_context(context)?;
    let plain = plain(&path.to_string_lossy(), &file).with_context(context)?;
    let info = Modinfo::parse(&plain).with_context(context)?;
    let firmware = info.firmware().map(str::to_owned).collect();
    let file = zstd::bulk::compress(&plain, MODULE_LEVEL).with_context(context)?;
    Ok(Packed { file, firmware })
}

/// The folder of the modules in the initrd.
fn target(release: &str) -> String {
    format!("lib/modules/{release}")
}

fn index_files(release: &str, chosen: &Chosen) -> [Entry; 4] {
    let target = target(release);
    [
        ("modules.dep", &chosen.dep),
        ("modules.alias", &chosen.alias),
        ("modules.softdep", &chosen.softdep),
        ("modules.builtin", &chosen.builtin),
    ]
    .map(|(name, text)| Entry::bytes(format!("{target}/{name}"), 0o644, text.as_bytes()))
}

/// A module as the kernel loads it, however the distribution has compressed it.
fn plain<'a>(path: &str, file: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
    let mut module = Vec::new();
    match Compression::of_file(path) {
        Some(Compression::Xz) => {
            liblzma::read::XzDecoder::new(file).read_to_end(&mut module)?;
        }
        Some(Compression::Zstd) => {
            zstd::Decoder::new(file)?.read_to_end(&mut module)?;
        }
        _ => return Ok(Cow::Borrowed(file)),
    }
    Ok(Cow::Owned(module))
}

/// The firmware of these names, perhaps patterns, that the tree has: kernels name much more than
/// any machine needs, and a recipe installs what its machines do.
fn firmware_files(tree: &Path, wanted: &BTreeSet<String>) -> Result<Vec<Entry>> {
    let folder = tree.join("usr/lib/firmware");
    let mut found = BTreeMap::new();
    if folder.is_dir() {
        list(&folder, Path::new(""), &mut found)?;
    }
    let is_wanted = |name: &str| {
        let name = name.trim_end_matches(".xz").trim_end_matches(".zst");
        wanted.contains(name) || wanted.iter().any(|pattern| coremax_kmod::matches(pattern, name))
    };
    let files = found.into_iter().filter(|(name, _)| is_wanted(name));
    let entry = |(name, path)| Entry::copy(format!("lib/firmware/{name}"), 0o644, path);
    Ok(files.map(entry).collect())
}

fn list(folder: &Path, below: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let failed = || format!("listing {}", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let (path, name) = (entry.path(), below.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            list(&path, &name, found)?;
        } else if path.is_file() {
            found.insert(name.to_string_lossy().into_owned(), path);
        }
    }
    Ok(())
}
