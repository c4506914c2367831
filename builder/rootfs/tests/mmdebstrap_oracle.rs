//! The root file system against mmdebstrap's: the same packages, file by file.
//!
//! mmdebstrap makes a tree of Debian 12 by running dpkg and apt in it. The very .debs it used are
//! then unpacked and configured by this crate, and the two trees compared: path, type, mode, owner,
//! extended attributes, content, target, hard links. Each difference that may be stands in
//! [`ALLOWED`] with its reason. Run as root, for mmdebstrap is to make a folder with every owner and
//! attribute. `COREMAX_ORACLE=FOLDER` keeps mmdebstrap's tree there, and takes it from there the
//! next time.

#[path = "mmdebstrap_oracle/compare.rs"]
mod compare;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use coremax_rootfs::{Configure, Deb, Unpack, configure, unpack};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_skip::skip_test;

use compare::Allowed::{self, Anything, OtherNumbers, OtherOrder};

/// What it is, where tests are counted.
const TEST: &str = "a tree is mmdebstrap's";
const SUITE: &str = "bookworm";
const EPOCH: u64 = 1_760_000_000;
/// A server with a kernel, and packages with scripts of many kinds.
const PACKAGES: &str = "linux-image-amd64,initramfs-tools,zstd,systemd,systemd-sysv,systemd-resolved,\
    libpam-systemd,udev,dbus,kmod,openssh-server,chrony,iproute2,ca-certificates,locales,sudo,\
    e2fsprogs,less,nano,apt,python3-yaml,python3-dbus";

/// What may differ: a path (`*` stands for anything), how, and why.
const ALLOWED: &[(&str, Allowed, &str)] = &[
    ("/boot/initrd.img-*", Anything, "update-initramfs is not run here"),
    ("/dev/*", Anything, "mmdebstrap makes device nodes; here devtmpfs does"),
    ("/run/*", Anything, "scripts see a fresh tmpfs here"),
    ("/etc/apt/sources.list", Anything, "written by mmdebstrap"),
    ("/etc/fstab", Anything, "written by mmdebstrap"),
    ("/etc/hostname", Anything, "taken from the host by mmdebstrap"),
    ("/etc/.resolv.conf.systemd-resolved.bak", Anything, "the host's resolv.conf, by mmdebstrap"),
    ("/etc/machine-id", Anything, "emptied by mmdebstrap at its end, and by clean() here"),
    ("/var/lib/dbus/machine-id", Anything, "removed by mmdebstrap at its end, and by clean() here"),
    ("/etc/ssh/ssh_host_*", Anything, "no host keys are made here"),
    ("/etc/passwd", OtherNumbers, "apt configures in another order, and numbers are given by it"),
    ("/etc/group", OtherNumbers, "as /etc/passwd"),
    ("/etc/shadow", OtherNumbers, "as /etc/passwd"),
    ("/etc/gshadow", OtherNumbers, "as /etc/passwd"),
    ("/etc/*-", Anything, "the accounts before the last was added, which was another"),
    ("/var/lib/dpkg/triggers/File", OtherOrder, "apt unpacks in another order"),
    ("/var/lib/dpkg/*-old", Anything, "the state before the last change, which was another"),
    ("/var/cache/debconf/*", Anything, "apt asks all questions beforehand, by dpkg-preconfigure"),
    (
        "/var/cache/ldconfig/aux-cache",
        Anything,
        "removed by mmdebstrap at its end, by clean() here",
    ),
    ("/var/cache/apt/*", Anything, "apt was not run here"),
    ("/var/lib/apt/*", Anything, "apt was not run here"),
    ("/var/log/*.log", Anything, "removed by mmdebstrap at its end, and by clean() here"),
];

fn main() -> ExitCode {
    match reason_to_skip() {
        Some(reason) => {
            skip_test(TEST, reason);
            println!("0 passed, 0 failed, 1 skipped");
            ExitCode::SUCCESS
        }
        None => run(),
    }
}

fn reason_to_skip() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("it has to run as root");
    }
    let version = Cmd::new("mmdebstrap", &Sandbox::host()).arg("--version").run();
    version.err().map(|_| "mmdebstrap is not installed")
}

fn run() -> ExitCode {
    let (theirs, debs, temporary) = mmdebstraps_tree();
    let ours = temporary.path().join("ours");
    make_tree(&debs, &ours, &temporary.path().join("configure.log"));
    let report = compare::compare(&theirs, &ours, ALLOWED);
    for (path, _, reason) in report.unused {
        println!("  allowed but not seen: {path} ({reason})");
    }
    println!(
        "mmdebstrap_oracle: {} paths compared, {} differ and may, {} differ",
        report.compared,
        report.allowed,
        report.differences.len()
    );
    for difference in &report.differences {
        println!("  {difference}");
    }
    let failed = usize::from(!report.differences.is_empty());
    println!("{} passed, {failed} failed, 0 skipped", 1 - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// mmdebstrap's tree, the .debs in it, and a folder for this run.
fn mmdebstraps_tree() -> (PathBuf, Vec<Deb>, tempfile::TempDir) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let kept = std::env::var_os("COREMAX_ORACLE").map(PathBuf::from);
    let place = kept.unwrap_or_else(|| temporary.path().to_owned());
    let (tree, cache) = (place.join("theirs"), place.join("debs"));
    if !place.join("complete").exists() {
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(&cache).expect("a folder for the packages");
        let started = Instant::now();
        run_mmdebstrap(&tree, &cache);
        println!("  mmdebstrap: {:.1} s", started.elapsed().as_secs_f64());
        fs::write(place.join("complete"), "").expect("a mark");
    }
    let debs = packages_in(&cache);
    (tree, debs, temporary)
}

fn run_mmdebstrap(tree: &Path, cache: &Path) {
    let copy = format!("cp \"$1\"/var/cache/apt/archives/*.deb {}", cache.display());
    let merge =
        "for d in bin lib lib64 sbin; do mkdir -p \"$1/usr/$d\"; ln -s usr/$d \"$1/$d\"; done";
    Cmd::new("mmdebstrap", &Sandbox::host())
        .args(["--mode=root", "--format=directory", "--variant=essential"])
        .arg(format!("--include={PACKAGES}"))
        .arg(format!("--setup-hook={merge}"))
        .arg(format!("--extract-hook={copy}"))
        .arg(format!("--customize-hook={copy}"))
        .arg(SUITE)
        .arg(tree)
        .args(debian_sources())
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .run()
        .expect("mmdebstrap makes a tree");
}

/// The host's own sources, as far as they are Debian's of this suite; none: mmdebstrap's default.
fn debian_sources() -> Vec<String> {
    let format = "deb $(SITE) $(RELEASE) $(COMPONENT)";
    let listed = Cmd::new("apt-get", &Sandbox::host())
        .args(["indextargets", "--format", format, "Created-By: Packages", "Origin: Debian"])
        .run();
    let text = listed.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().filter(|line| line.contains(SUITE)).map(str::to_owned).collect()
}

/// The packages of a folder, by the names that apt gives to .debs: `NAME_VERSION_ARCHITECTURE.deb`.
fn packages_in(folder: &Path) -> Vec<Deb> {
    let paths = fs::read_dir(folder).expect("the packages").map(|entry| entry.expect("one").path());
    let mut debs: Vec<Deb> = paths.filter_map(package).collect();
    debs.sort_by(|a, b| a.name.cmp(&b.name));
    debs
}

fn package(path: PathBuf) -> Option<Deb> {
    let file_name = path.file_name()?.to_str()?.strip_suffix(".deb")?.to_owned();
    let [name, version, architecture] = file_name.split('_').collect::<Vec<_>>().try_into().ok()?;
    let version = version.replace("%3a", ":");
    Some(Deb { name: name.into(), version, architecture: architecture.into(), path })
}

fn make_tree(debs: &[Deb], tree: &Path, log: &Path) {
    fs::create_dir(tree).expect("a folder for the tree");
    let started = Instant::now();
    let unpacked = unpack(debs, tree, &Unpack::default(), &|_| ()).expect("unpacking");
    let seconds = started.elapsed().as_secs_f64();
    println!("  {} packages, {} bytes unpacked: {seconds:.1} s", unpacked.packages, unpacked.bytes);

    let started = Instant::now();
    let options = Configure { epoch: EPOCH, left: unpacked.left, ..Configure::default() };
    configure(tree, &options, log, &|_| ()).expect("configuring");
    println!("  configured: {:.1} s", started.elapsed().as_secs_f64());
    let audit = Cmd::new("dpkg", &Sandbox::tree(tree)).arg("--audit").run().expect("dpkg --audit");
    assert_eq!(String::from_utf8_lossy(&audit.stdout), "", "dpkg --audit is clean");
}
