//! A real kernel's modules: the orders that modprobe(8) would load them in, and what a set comes to.
//! `COREMAX_KERNEL_MODULES` names a folder such as /lib/modules/6.1.0-56-amd64 that depmod has seen;
//! without it the first below /lib/modules is taken, and without any this is skipped.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_kmod::{Compression, Files, Index, Modinfo, Name, sets};

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("COREMAX_KERNEL_MODULES").map(PathBuf::from);
    let found = || fs::read_dir("/lib/modules").ok()?.flatten().map(|entry| entry.path()).next();
    let folder = named.or_else(found).filter(|folder| folder.join("modules.dep").exists());
    if folder.is_none() {
        coremax_skip::skip("no kernel with a modules.dep (set COREMAX_KERNEL_MODULES)");
    }
    folder
}

fn index(folder: &Path) -> Index {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let (dep, alias) = (read("modules.dep"), read("modules.alias"));
    let (softdep, builtin) = (read("modules.softdep"), read("modules.builtin"));
    let files = Files { dep: &dep, alias: &alias, softdep: &softdep, builtin: &builtin };
    Index::parse(files).unwrap()
}

#[test]
fn a_kernel_has_what_an_initrd_needs() {
    let Some(folder) = folder() else { return };
    let index = index(&folder);
    // The bounds of the initrd in MiB, which is compressed to less than half.
    for (name, set, least, most) in
        [("cloud", sets::CLOUD, 30, 12), ("metal", sets::METAL, 200, 60)]
    {
        let modules = index.select(set).unwrap();
        let paths: Vec<_> = modules.iter().map(|module| index.path(module).unwrap()).collect();
        let sizes = paths.iter().map(|path| fs::metadata(folder.join(path)).unwrap().len());
        let size: u64 = sizes.sum();
        println!("{name}: {} modules, {size} bytes", paths.len());
        assert!(
            paths.len() >= least && size < (most << 20) * 2,
            "{name}: {} modules, {size}",
            paths.len()
        );
        let initrd = index.initrd(&modules, Compression::Plain);
        assert_eq!(initrd.files.len(), paths.len());
    }
}

#[test]
fn a_device_finds_its_driver() {
    let Some(folder) = folder() else { return };
    let index = index(&folder);
    for (modalias, module) in [
        ("virtio:d00000002v00001AF4", "virtio_blk"),
        ("pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc80i00", "virtio_pci"),
        ("pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", "ahci"),
        ("scsi:t-0x00", "sd_mod"),
        ("crypto-crc32c", "crc32c_generic"),
    ] {
        let module = Name::new(module);
        let found = index.matching(modalias).contains(&&module) || index.is_builtin(&module);
        assert!(found, "{modalias}: {:?}", index.matching(modalias));
    }
}

#[test]
fn modules_say_what_depmod_found() {
    let Some(folder) = folder() else { return };
    let index = index(&folder);
    let plain = index.names().filter_map(|name| Some((name, index.path(name)?)));
    let mut seen = 0;
    for (name, path) in plain.filter(|(_, path)| path.ends_with(".ko")).step_by(16) {
        let info = Modinfo::parse(&fs::read(folder.join(path)).unwrap()).unwrap();
        let order = index.load_order(name).unwrap();
        for needed in info.depends() {
            assert!(order.contains(&&needed) || index.is_builtin(&needed), "{name} {needed}");
        }
        seen += 1;
    }
    println!("{seen} modules read");
}
