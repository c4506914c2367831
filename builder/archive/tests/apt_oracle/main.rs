//! apt as the oracle: for each request, the set chosen here is the set that
//! `apt-get -s install ESSENTIAL... REQUEST...` chooses on an empty system, from the same indexes.

mod apt;
mod index;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use apt::Apt;
use coremax_archive::{Package, Request, Unsolvable, resolve};

/// Requests with a solution; `+` in front follows recommendations.
const SOLVED: &[&str] = &[
    "",
    "bash",
    "hello",
    "vim",
    "docker.io",
    "+docker.io",
    "podman",
    "+podman",
    "ceph-common",
    "xrdp xorgxrdp",
    "+xrdp xorgxrdp",
    "libvirt-daemon-system",
    "+libvirt-daemon-system",
    "keystone",
    "nova-compute",
    "neutron-server",
    "rabbitmq-server",
    "mariadb-server",
    "qemu-system-x86 ovmf",
    "+qemu-system-x86 ovmf",
    "grub-pc-bin grub-efi-amd64-bin",
    "grub-efi-amd64-signed shim-signed",
    "default-jre-headless",
    "+default-jre-headless",
    "openvswitch-switch",
    "xfce4",
    "+xfce4",
    "+gnome-core",
    "ansible",
    "+ansible",
    "default-mta",
    "mailutils",
    "+mailutils",
    "bsd-mailx postfix",
    "libnss3-tools mawk gawk",
    "build-essential",
    "linux-image-amd64 systemd systemd-sysv udev dbus systemd-resolved openssh-server chrony initramfs-tools kmod iproute2 \
     ifupdown nftables sudo curl ca-certificates e2fsprogs dosfstools gdisk zstd less vim-tiny locales",
    "+linux-image-amd64 systemd systemd-sysv udev dbus systemd-resolved openssh-server chrony initramfs-tools kmod iproute2 \
     ifupdown nftables sudo curl ca-certificates e2fsprogs dosfstools gdisk zstd less vim-tiny locales",
    "squashfs-tools erofs-utils mtools xorriso genisoimage wimtools libhivex-bin swtpm",
    "docker.io podman ceph-common libvirt-daemon-system openvswitch-switch xrdp xorgxrdp xfce4 ansible",
    "tini=0.19.0-1+b3",
];

/// Requests that neither side can meet, with a part of what the message says.
const REFUSED: &[(&str, &str)] = &[
    ("mail-transport-agent", "virtual package, provided by"),
    ("no-such-package", "no package is called"),
    ("dockerio", "no package is called"),
    ("bash=0.1", "has no version 0.1"),
    ("postfix exim4-daemon-light", "conflicts with"),
    ("systemd-sysv sysvinit-core", "conflicts with"),
    ("xrdp tigervnc-standalone-server=0", "has no version 0"),
];

#[test]
fn agrees_with_apt() {
    let Some(oracle) = Oracle::ready() else { return };
    let differing = oracle.compare_all(SOLVED);
    assert_eq!(differing, 0, "of {} requests, {differing} differ", SOLVED.len());
}

#[test]
fn refuses_what_apt_refuses() {
    let Some(oracle) = Oracle::ready() else { return };
    for (request, message) in REFUSED {
        let ours = oracle.ours(request).expect_err(request);
        println!("{request:40} {ours}");
        assert!(ours.to_string().contains(message), "{request}: {ours}");
        assert!(ours.hint().is_some(), "{request}: {ours}");
        assert!(oracle.apts(request).is_err(), "apt has a solution for {request}");
    }
}

/// Only apt's own word counts as a refusal.
#[test]
fn an_apt_that_fails_refuses_nothing() {
    for (words, refuses) in [
        ("E: Unable to locate package no-such-package", true),
        ("E: Version '0.1' for 'bash' was not found", true),
        ("E: Package 'mail-transport-agent' has no installation candidate", true),
        ("E: Unable to correct problems, you have held broken packages.", true),
        (
            "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)",
            false,
        ),
        ("E: The package cache file is corrupted", false),
        ("E: Command line option --nonsense is not understood", false),
        ("", false),
    ] {
        assert_eq!(apt::is_refusal(words), refuses, "{words}");
    }
}

/// Every so many names of the index, alone, with and without recommendations.
#[test]
#[ignore = "takes minutes; COREMAX_SURVEY says how many names (default 100)"]
fn survey() {
    let Some(oracle) = Oracle::ready() else { return };
    let count: usize =
        std::env::var("COREMAX_SURVEY").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let names: BTreeSet<&str> = oracle.packages.iter().map(|p| p.name.as_str()).collect();
    let drawn = names.iter().step_by((names.len() / count).max(1));
    let requests: Vec<_> =
        drawn.flat_map(|name| [(*name).to_owned(), format!("+{name}")]).collect();
    let differing = oracle.compare_all(&requests);
    assert_eq!(differing, 0, "of {} requests, {differing} differ", requests.len());
}

struct Oracle {
    apt: Apt,
    packages: Vec<Package>,
    essential: Vec<String>,
}

struct Row {
    agrees: bool,
    text: String,
}

impl Oracle {
    fn ready() -> Option<Self> {
        let apt = match Apt::isolated() {
            Ok(apt) => apt,
            Err(reason) => {
                coremax_skip::skip(reason);
                return None;
            }
        };
        let packages: Vec<_> = apt
            .indexes
            .iter()
            .enumerate()
            .flat_map(|(source, text)| index::packages(text, source))
            .collect();
        let essential: BTreeSet<_> =
            packages.iter().filter(|p| p.essential).map(|p| p.name.clone()).collect();
        Some(Self { apt, packages, essential: essential.into_iter().collect() })
    }

    /// Prints a line for each request, two being asked at a time; how many differ.
    fn compare_all(&self, requests: &[impl AsRef<str> + Sync]) -> usize {
        let next = AtomicUsize::new(0);
        let differing = AtomicUsize::new(0);
        let work = || {
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let row = self.compare(request.as_ref());
                println!("{}", row.text);
                differing.fetch_add(usize::from(!row.agrees), Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
        differing.into_inner()
    }

    fn compare(&self, request: &str) -> Row {
        let start = Instant::now();
        let ours = self.ours(request);
        let took = start.elapsed().as_millis();
        let apts = self.apts(request);
        let short: String = request.chars().take(60).collect();
        match (ours, apts) {
            (Ok(ours), Ok(apts)) if ours == apts => Row {
                agrees: true,
                text: format!("{short:60} {:5} packages {took:5} ms", ours.len()),
            },
            (Ok(ours), Ok(apts)) => {
                let (more, less) = (join(ours.difference(&apts)), join(apts.difference(&ours)));
                Row {
                    agrees: false,
                    text: format!(
                        "{short:60} differs\n    here only: {more}\n    apt only:  {less}"
                    ),
                }
            }
            (Err(ours), Err(_)) => {
                Row { agrees: true, text: format!("{short:60} refused by both: {ours}") }
            }
            (Err(ours), Ok(apts)) => Row {
                agrees: false,
                text: format!("{short:60} apt finds {} packages; here: {ours}", apts.len()),
            },
            (Ok(ours), Err(apts)) => Row {
                agrees: false,
                text: format!("{short:60} {} packages here; apt: {apts}", ours.len()),
            },
        }
    }

    fn ours(&self, request: &str) -> Result<BTreeSet<String>, Unsolvable> {
        let (recommends, names) = split(request);
        let install = names.map(str::to_owned).collect();
        let request = Request {
            install,
            exclude: Vec::new(),
            recommends,
            essential: true,
            architecture: "amd64".to_owned(),
        };
        let set = resolve(&self.packages, &request)?;
        Ok(set
            .selected
            .iter()
            .map(|s| format!("{} {}", s.package.name, s.package.version))
            .collect())
    }

    fn apts(&self, request: &str) -> Result<BTreeSet<String>, String> {
        let (recommends, names) = split(request);
        let names: Vec<_> = names.collect();
        let named: BTreeSet<_> =
            names.iter().map(|name| name.split('=').next().unwrap_or(name)).collect();
        let essential =
            self.essential.iter().map(String::as_str).filter(|name| !named.contains(name));
        self.apt.simulate(recommends, essential.chain(names.iter().copied()))
    }
}

fn split(request: &str) -> (bool, impl Iterator<Item = &str>) {
    let names = request.strip_prefix('+').unwrap_or(request);
    (request.starts_with('+'), names.split_whitespace())
}

fn join<'a>(items: impl Iterator<Item = &'a String>) -> String {
    items.map(String::as_str).collect::<Vec<_>>().join(", ")
}
