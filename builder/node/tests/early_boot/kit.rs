//! What all machines here boot: kernel, initrd, root, hash tree, an empty data file system. Made once.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use coremax_sandbox::{Cmd, Error, Sandbox};
use coremax_skip::skip;

use crate::{disk::Disk, initrd, machine::CONSOLE};

/// What is needed and the package that has it.
const NEEDED: [(&str, &str); 8] = [
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/bin/mksquashfs", "squashfs-tools"),
    ("/usr/sbin/veritysetup", "cryptsetup-bin"),
    ("/usr/sbin/sgdisk", "gdisk"),
    ("/usr/sbin/mke2fs", "e2fsprogs"),
    ("/usr/sbin/depmod", "kmod"),
    ("/usr/bin/dpkg-deb", "dpkg"),
    ("/usr/bin/busybox", "busybox-static"),
];
const KERNEL: &str = "linux-image-amd64";

pub(crate) struct Kit {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) verity: PathBuf,
    pub(crate) data: PathBuf,
    /// The root hash.
    pub(crate) hash: String,
    /// A byte of the root that nothing reads but the large file's reader.
    pub(crate) large_file_at: u64,
}

impl Kit {
    pub(crate) fn command_line(&self, more: &str) -> String {
        // Less than the tests wait: a root that is missed is said before they give up.
        format!("{CONSOLE} coremax.root={} single coremax.wait=40 {more}", self.hash)
    }
}

/// Nothing, and a word why, where something is missing here.
pub(crate) fn kit() -> Option<&'static Kit> {
    static KIT: LazyLock<Result<Kit, String>> = LazyLock::new(make);
    KIT.as_ref().map_err(skip).ok()
}

pub(crate) fn run(program: &str, arguments: &[impl AsRef<OsStr>]) -> Result<String, Error> {
    let output = Cmd::new(program, &Sandbox::host()).args(arguments).run()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn make() -> Result<Kit, String> {
    if let Some((path, package)) = NEEDED.iter().find(|(path, _)| !Path::new(path).exists()) {
        return Err(format!("{path} is not here (install {package})"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err("a root with owners and devices is made by root alone".into());
    }
    let tree = kernel().map_err(|error| format!("no kernel to boot: {error}"))?;
    let (kernel, modules) =
        (first(&tree.join("boot"), "vmlinuz")?, first(&tree.join("lib/modules"), "")?);
    // What is made once for all tests is dropped by none: the next run replaces it.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("early_boot");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let at = |name: &str| folder.join(name);
    let node =
        std::env::var_os("COREMAX_NODE").unwrap_or(env!("CARGO_BIN_EXE_coremax-node").into());
    initrd::write(&modules, Path::new(&node), &at("initrd"));
    let large_file_at = root(&at("tree"), &at("root"));
    let hash = verity(&at("root"), &at("verity"));
    File::create(at("data")).unwrap().set_len(Disk::DATA_LENGTH).unwrap();
    run("mke2fs", &["-q", "-t", "ext4", "-F", at("data").to_str().unwrap()]).unwrap();
    Ok(Kit {
        kernel,
        initrd: at("initrd"),
        root: at("root"),
        verity: at("verity"),
        data: at("data"),
        hash,
        large_file_at,
    })
}

/// A folder with a kernel and its modules, as its package has them.
fn kernel() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os("COREMAX_KERNEL") {
        return Ok(named.into());
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kernel");
    let tree = folder.join("tree");
    if tree.exists() {
        return Ok(tree);
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let depends = run("apt-cache", &["depends", KERNEL])?;
    let package =
        depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).unwrap_or(KERNEL);
    Cmd::new("apt-get", &Sandbox::host())
        .args(["download", "-q", package])
        .current_dir(&folder)
        .run()?;
    let archive = first(&folder, "linux-image").unwrap_or_default();
    let unfinished = folder.join("unfinished");
    run("dpkg-deb", &[OsStr::new("-x"), archive.as_os_str(), unfinished.as_os_str()])?;
    let release = package.strip_prefix("linux-image-").unwrap_or(package);
    run("depmod", &["-b", unfinished.to_str().unwrap_or_default(), release])?;
    fs::rename(unfinished, &tree).unwrap();
    Ok(tree)
}

fn first(folder: &Path, prefix: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .into_iter()
        .find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        })
        .ok_or_else(|| format!("{} has no {prefix}", folder.display()))
}

/// Two layers, one behind the other; where in them a byte of the large file is.
fn root(tree: &Path, to: &Path) -> u64 {
    let (system, site) = (tree.join("system"), tree.join("site"));
    for folder in
        ["dev", "proc", "sys", "run", "etc", "var/lib/seeded", "opt", "home", "root", "bin", "sbin"]
    {
        fs::create_dir_all(system.join(folder)).unwrap();
    }
    fs::create_dir_all(site.join("etc")).unwrap();
    fs::copy("/usr/bin/busybox", system.join("bin/busybox")).unwrap();
    symlink("/bin/init-script", system.join("sbin/init")).unwrap();
    let script = include_str!("guest.sh");
    for (layer, path, content, mode) in [
        (&system, "bin/init-script", script, 0o755),
        (&system, "file", "system-file", 0o644),
        (&system, "shadowed", "system-file", 0o644),
        (&system, "hidden", "", 0o644),
        (&site, "shadowed", "site-file", 0o644),
        (&site, "etc/from-site", "", 0o644),
    ] {
        fs::write(layer.join(path), content).unwrap();
        fs::set_permissions(layer.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let whiteout = site.join("hidden");
    run("mknod", &[whiteout.to_str().unwrap(), "c", "0", "0"]).unwrap();
    let seeded = system.join("var/lib/seeded");
    symlink("../link", seeded.join("link")).unwrap();
    chown(&seeded, Some(12), Some(34)).unwrap();
    fs::set_permissions(&seeded, fs::Permissions::from_mode(0o750)).unwrap();
    // Noise that does not compress, so that it is found again in the image.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    fs::write(system.join("large"), &noise).unwrap();
    let mut image = layer(&system, &tree.join("system.squashfs"));
    let place = image.windows(64).position(|window| window == &noise[1 << 19..(1 << 19) + 64]);
    image.extend(layer(&site, &tree.join("site.squashfs")));
    image.extend([0; 1 << 16]);
    fs::write(to, &image).unwrap();
    place.unwrap() as u64
}

fn layer(tree: &Path, to: &Path) -> Vec<u8> {
    let (from, to_text) = (tree.to_str().unwrap(), to.to_str().unwrap());
    let options =
        ["-comp", "zstd", "-Xcompression-level", "3", "-quiet", "-no-progress", "-noappend"];
    run("mksquashfs", &[&[from, to_text], &options[..]].concat()).unwrap();
    let bytes = fs::read(to).unwrap();
    assert_eq!(bytes.len() % 4096, 0);
    bytes
}

fn verity(root: &Path, tree: &Path) -> String {
    File::create(tree).unwrap();
    let (root, tree) = (root.to_str().unwrap(), tree.to_str().unwrap());
    let salt = format!("--salt={}", "5a".repeat(32));
    let said = run("veritysetup", &["format", root, tree, &salt]).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("Root hash:"));
    line.unwrap().trim().to_owned()
}
