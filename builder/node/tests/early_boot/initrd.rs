//! An initrd as the builder will write it: cpio (newc), modules with their index, the node program as
//! /init, e2fsck with its libraries.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use coremax_kmod::{Compression, Files, Index, sets};

use crate::kit::run;

/// The files by their paths in the initrd.
pub(crate) fn write(modules: &Path, node: &Path, to: &Path) {
    let mut archive = Archive::default();
    archive.folder("dev");
    archive.entry("dev/console", 0o020_600, (5, 1), &[]);
    let mut programs = BTreeSet::new();
    for (program, at) in [(node, "init"), (&PathBuf::from("/usr/sbin/e2fsck"), "sbin/e2fsck")] {
        archive.file(at, 0o755, &fs::read(program).unwrap());
        programs.extend(libraries(program));
    }
    archive.file("bin/sh", 0o755, &fs::read("/usr/bin/busybox").unwrap());
    for library in programs {
        archive.file(
            library.to_str().unwrap().trim_start_matches('/'),
            0o755,
            &fs::read(&library).unwrap(),
        );
    }
    add_modules(modules, &mut archive);
    fs::write(to, archive.end()).unwrap();
}

fn add_modules(folder: &Path, archive: &mut Archive) {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let (dep, alias) = (read("modules.dep"), read("modules.alias"));
    let (softdep, builtin) = (read("modules.softdep"), read("modules.builtin"));
    let files = Files { dep: &dep, alias: &alias, softdep: &softdep, builtin: &builtin };
    let index = Index::parse(files).unwrap();
    let initrd = index.initrd(&index.select(sets::CLOUD).unwrap(), Compression::Zstd);
    let top = format!("lib/modules/{}", folder.file_name().unwrap().to_str().unwrap());
    for (from, to) in initrd.files {
        // As the builder does it: compressed each by itself, which only what is loaded pays for.
        let module = zstd::encode_all(fs::File::open(folder.join(from)).unwrap(), 1).unwrap();
        archive.file(&format!("{top}/{to}"), 0o644, &module);
    }
    for (name, text) in [
        ("modules.dep", initrd.dep),
        ("modules.alias", initrd.alias),
        ("modules.softdep", initrd.softdep),
        ("modules.builtin", initrd.builtin),
    ] {
        archive.file(&format!("{top}/{name}"), 0o644, text.as_bytes());
    }
}

/// The shared libraries of a program, none of a static one.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let Ok(output) = run("ldd", &[program.to_str().unwrap()]) else { return Vec::new() };
    output
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
}

impl Archive {
    fn folder(&mut self, path: &str) {
        if !path.is_empty() && self.folders.insert(path.to_owned()) {
            self.folder(path.rsplit_once('/').map_or("", |(above, _)| above));
            self.entry(path, 0o040_755, (0, 0), &[]);
        }
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.folder(path.rsplit_once('/').map_or("", |(above, _)| above));
        self.entry(path, 0o100_000 | mode, (0, 0), content);
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let (size, name) = (content.len(), path.len() + 1);
        let mut header = "070701".to_owned();
        let (major, minor) = device;
        let name = u32::try_from(name).unwrap();
        let size = u32::try_from(size).unwrap();
        for field in [0, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name, 0] {
            header.push_str(&format!("{field:08x}"));
        }
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}
