//! Which files of a tree a boot reads, as far as the tree itself tells: what systemd, udev and PAM read of
//! themselves, the programs that units start, and the libraries that these name.
//!
//! It is a guess, and one that does no harm where it errs: whoever lays out a file system by it makes these files
//! quick to read. Which modules a kernel loads depends on the machine and is not said here.

mod elf;

use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{Error, tree::Tree};

/// Folders that are read as a whole, links to files of others not followed.
const FOLDERS: [&str; 12] = [
    "etc",
    "usr/lib/environment.d",
    "usr/lib/locale/C.utf8",
    "usr/lib/modprobe.d",
    "usr/lib/modules-load.d",
    "usr/lib/pam.d",
    "usr/lib/sysctl.d",
    "usr/lib/systemd",
    "usr/lib/sysusers.d",
    "usr/lib/tmpfiles.d",
    "usr/lib/udev",
    "usr/share/dbus-1",
];
/// Of these: sources of what udev reads, and texts that explain messages.
const EXCEPT: [&str; 2] = ["usr/lib/udev/hwdb.d", "usr/lib/systemd/catalog"];
/// Where units lie.
const UNITS: [&str; 2] = ["etc/systemd/system", "usr/lib/systemd/system"];
/// Where a program of a unit that has no folder is looked for.
const PROGRAMS: [&str; 2] = ["usr/bin", "usr/sbin"];
/// What systemd, the kernel and scripts start without a unit that says so.
const STARTED: [&str; 5] = ["bin/sh", "sbin/agetty", "sbin/modprobe", "bin/mount", "sbin/init"];
/// Libraries are in the second on Debian and Ubuntu, by the kind of machine.
const LIBRARIES: [&str; 2] = ["usr/lib", "usr/lib/x86_64-linux-gnu"];
/// Libraries that are loaded by a name that is put together: for accounts and host names, and for PAM.
const PLUGINS: [(&str, &str); 2] =
    [("usr/lib/x86_64-linux-gnu", "libnss_"), ("usr/lib/x86_64-linux-gnu/security", "pam_")];
/// depmod's index is in these folders, by the kernel's release.
const MODULES: &str = "usr/lib/modules";

/// Plain files that a boot of this tree reads, by their paths from its top, sorted.
///
/// # Errors
/// Where a folder of the tree cannot be listed, or a file of it not be read.
pub fn read_at_boot(tree: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Found { tree: Tree::open(tree)?, files: BTreeSet::new(), new: Vec::new() };
    for folder in FOLDERS {
        found.add_folder(Path::new(folder))?;
    }
    for folder in UNITS {
        found.add_programs(Path::new(folder))?;
    }
    for program in STARTED {
        found.add(Path::new(program));
    }
    for (folder, prefix) in PLUGINS {
        found.add_plain(Path::new(folder), prefix)?;
    }
    for release in found.tree.folder_names(Path::new(MODULES))? {
        found.add_plain(&Path::new(MODULES).join(release), "modules.")?;
    }
    while let Some(file) = found.new.pop() {
        found.add_needed(&file)?;
    }
    Ok(found.files.into_iter().collect())
}

struct Found {
    tree: Tree,
    files: BTreeSet<PathBuf>,
    /// Those of `files` that nobody has looked into.
    new: Vec<PathBuf>,
}

impl Found {
    /// Adds the plain file that this path leads to, if there is one.
    fn add(&mut self, path: &Path) -> bool {
        let Some(file) = self.tree.plain_file(path) else { return false };
        if self.files.insert(file.clone()) {
            self.new.push(file);
        }
        true
    }

    /// Adds the plain files in a folder and below.
    fn add_folder(&mut self, folder: &Path) -> Result<(), Error> {
        if EXCEPT.iter().any(|except| folder == Path::new(except)) {
            return Ok(());
        }
        self.add_plain(folder, "")?;
        for below in self.tree.folder_names(folder)? {
            self.add_folder(&folder.join(below))?;
        }
        Ok(())
    }

    /// Adds the plain files in a folder whose names begin so.
    fn add_plain(&mut self, folder: &Path, prefix: &str) -> Result<(), Error> {
        for name in self.tree.file_names(folder)? {
            if name.as_bytes().starts_with(prefix.as_bytes()) {
                self.add(&folder.join(name));
            }
        }
        Ok(())
    }

    /// Adds what units in a folder, and what is laid over them there, start.
    fn add_programs(&mut self, folder: &Path) -> Result<(), Error> {
        for name in self.tree.file_names(folder)? {
            let unit = self.tree.read(&folder.join(name))?;
            for program in programs(&String::from_utf8_lossy(&unit)) {
                match program.strip_prefix('/') {
                    Some(path) => _ = self.add(Path::new(path)),
                    None => _ = PROGRAMS.iter().any(|at| self.add(&Path::new(at).join(program))),
                }
            }
        }
        for below in self.tree.folder_names(folder)? {
            self.add_programs(&folder.join(below))?;
        }
        Ok(())
    }

    /// Adds the libraries that a program or library names, each from the first folder that has it.
    fn add_needed(&mut self, file: &Path) -> Result<(), Error> {
        let failed = |source| Error::Tree { operation: "reading", path: file.into(), source };
        let content = self.tree.open_file(file).and_then(elf::read).map_err(failed)?;
        let Some(content) = content else { return Ok(()) };
        let Ok(needs) = elf::needs(&content) else { return Ok(()) };
        for name in &needs.libraries {
            let own = needs.folders.iter().map(|folder| folder.trim_start_matches('/'));
            _ = own.chain(LIBRARIES).any(|folder| self.add(&Path::new(folder).join(name)));
        }
        if let Some(linker) = needs.linker {
            self.add(Path::new(linker.trim_start_matches('/')));
        }
        Ok(())
    }
}

/// The programs that a unit starts, as it names them; see systemd.service(5).
fn programs(unit: &str) -> impl Iterator<Item = &str> {
    let commands = unit.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once('='));
    commands.filter_map(|(_, command)| {
        command.trim_start().trim_start_matches(['@', '-', ':', '+', '!']).split_whitespace().next()
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_unit_names_programs() {
        let unit = "[Service]\nExecStartPre=-/bin/a b\nExecStart=@!!/sbin/c c --d\nExecReload= e\n\
                    ExecStop=\nEnvironment=ExecStart=/no\nExecSearchPath=/f:/g\n";
        assert_eq!(programs(unit).collect::<Vec<_>>(), ["/bin/a", "/sbin/c", "e", "/f:/g"]);
    }

    #[test]
    fn what_units_start_is_read_at_boot_and_the_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        let write = |path: &str, text: &str| {
            fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            fs::write(tree.join(path), text).unwrap();
        };
        symlink("usr/bin", tree.join("bin")).unwrap();
        for program in ["started", "bare", "late", "never", "dash"] {
            write(&format!("usr/bin/{program}"), "");
        }
        symlink("dash", tree.join("usr/bin/sh")).unwrap();
        write("usr/lib/systemd/system/a.service", "ExecStart=/bin/started\nExecStop=bare\n");
        write("etc/systemd/system/a.service.d/more.conf", "ExecStartPost=+/usr/bin/late now");
        write("usr/lib/udev/rules.d/50.rules", "");
        write("usr/lib/udev/hwdb.d/20.hwdb", "");
        write("usr/lib/modules/6.1/modules.dep.bin", "");
        write("usr/lib/modules/6.1/kernel/a.ko", "");
        symlink("/nowhere", tree.join("etc/link")).unwrap();
        let expected = [
            "etc/systemd/system/a.service.d/more.conf",
            "usr/bin/bare",
            "usr/bin/dash",
            "usr/bin/late",
            "usr/bin/started",
            "usr/lib/modules/6.1/modules.dep.bin",
            "usr/lib/systemd/system/a.service",
            "usr/lib/udev/rules.d/50.rules",
        ];
        assert_eq!(read_at_boot(tree).unwrap(), expected.map(PathBuf::from));
        assert_eq!(read_at_boot(&tree.join("usr/lib/udev")).unwrap(), Vec::<PathBuf>::new());
    }

    /// By the programs and libraries of the machine that runs the test.
    #[test]
    fn libraries_come_with_what_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("usr/bin");
        let libraries = folder.path().join("usr/lib/x86_64-linux-gnu");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&libraries).unwrap();
        fs::copy("/bin/sh", bin.join("sh")).unwrap();
        symlink("usr/bin", folder.path().join("bin")).unwrap();
        fs::write(libraries.join("libc.so.6.real"), "").unwrap();
        symlink("libc.so.6.real", libraries.join("libc.so.6")).unwrap();
        let found = read_at_boot(folder.path()).unwrap();
        let expected = ["usr/bin/sh", "usr/lib/x86_64-linux-gnu/libc.so.6.real"];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
