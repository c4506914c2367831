//! Hints that DHCP gives of where a seed is: addresses to try like those of beacons, and nothing more.
//!
//! systemd-networkd keeps each link's lease as a file of lines, `NAME=VALUE`. It calls them its own affair, and so what is not as
//! it is in systemd 249 to 252 is no hint.
//!
//! | line | what it names |
//! |---|---|
//! | `OPTION_224=` | IPv4 addresses, in hex, one after the other: an option of a site's own (RFC 3942), for this. networkd asks for it where a `.network` says `RequestOptions=224`, as that of `overlays/cluster` does |
//! | `NEXT_SERVER=` | who boots machines here (RFC 2131, siaddr): often the seed itself |

use std::{
    fs::{self, File},
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Result;
use coremax_node_api::{
    identity::{SEEDS_MAX, is_machine},
    join::{Beacon, cluster_hash, node},
};

use super::{clock::real, driver::Driver, named::Named};

/// Where networkd has its leases.
pub(super) const FOLDER: &str = "/run/systemd/netif/leases";
/// Bytes of a lease, at most. Set here: one has some hundred.
const LEASE_MAX: u64 = 1 << 16;
/// How often they are looked at, in milliseconds.
const LOOK_EVERY: u64 = 5_000;

/// Leases, whoever gave them, and names that may be a seed's.
#[derive(Debug)]
pub(super) struct Leases {
    folder: PathBuf,
    named: Named,
    looked: Option<u64>,
}

impl Leases {
    pub(super) fn new(folder: PathBuf, names: Vec<(String, u16)>) -> Self {
        Self { folder, named: Named::ask(names), looked: None }
    }

    /// What they name now, some at most, leases with this port; nothing between two looks.
    pub(super) fn look(&mut self, port: u16) -> Vec<SocketAddr> {
        let now = real();
        if self.looked.is_some_and(|last| now.saturating_sub(last) < LOOK_EVERY) {
            return Vec::new();
        }
        self.looked = Some(now);
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| read(&file.path()));
        let leases = texts.flat_map(|text| addresses(&text)).map(|address| (address, port).into());
        let mut all = Vec::new();
        for address in self.named.so_far().into_iter().chain(leases) {
            if !all.contains(&address) && all.len() < SEEDS_MAX {
                all.push(address);
            }
        }
        all
    }
}

impl Driver {
    /// Hears what DHCP and names hint at as if a beacon had come from there: it is tried, after seeds that the node was told of.
    pub(super) fn hear_leases(&mut self) -> Result<()> {
        for from in self.leases.look(self.beacons.port()) {
            let cluster = cluster_hash(self.own.cluster);
            let beacon = Beacon { cluster, epoch: 0, port: from.port() };
            self.step_node(node::Input::Beacon(from, beacon))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(LEASE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The addresses in a lease, those of the site's own option first.
fn addresses(lease: &str) -> Vec<Ipv4Addr> {
    let value = |name: &str| {
        lease.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    let digits = value("OPTION_224").as_bytes().chunks_exact(8);
    let number = |digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let own = digits.filter_map(number).map(Ipv4Addr::from);
    let all = own.chain(value("NEXT_SERVER").parse().ok());
    all.filter(is_machine).take(SEEDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_lease_names() {
        for (lease, want) in [
            (
                "# This is private data. Do not parse.\nADDRESS=10.0.0.9\nSERVER_ADDRESS=10.0.0.2\n",
                "",
            ),
            ("ADDRESS=10.0.0.9\nNEXT_SERVER=10.0.0.3\nMTU=1500\n", "10.0.0.3"),
            ("NEXT_SERVER=10.0.0.3\nOPTION_224=0a00000b0a00000c\n", "10.0.0.11 10.0.0.12 10.0.0.3"),
            ("OPTION_224=0A00000B0a\n", "10.0.0.11"),
            ("OPTION_224=00000000ffffffffe0000001\nNEXT_SERVER=0.0.0.0\n", ""),
            ("OPTION_224=zz00000b+a00000c\nNEXT_SERVER=seed\nNEXT_SERVER\n", "10.0.0.12"),
            ("OPTION_225=0a00000b\nXNEXT_SERVER=10.0.0.3\n", ""),
        ] {
            let found: Vec<_> = addresses(lease).iter().map(Ipv4Addr::to_string).collect();
            assert_eq!(found.join(" "), want, "{lease}");
        }
        let many = format!("OPTION_224={}", "0a00000b".repeat(100));
        assert_eq!(addresses(&many).len(), SEEDS_MAX);
    }

    #[test]
    fn all_leases_are_looked_at_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let leases = folder.path().join("leases");
        let none: [SocketAddr; 0] = [];
        assert_eq!(Leases::new(leases.clone(), Vec::new()).look(9), none);
        fs::create_dir_all(leases.join("3")).unwrap();
        fs::write(leases.join("2"), "NEXT_SERVER=10.0.0.3\n").unwrap();
        fs::write(leases.join("4"), "NEXT_SERVER=10.0.0.3\n").unwrap();
        let mut found = Leases::new(leases, Vec::new());
        assert_eq!(found.look(9), ["10.0.0.3:9".parse().unwrap()]);
        assert_eq!(found.look(9), none, "not all the time");
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "(OPTION_224=|NEXT_SERVER=|\n|\\PC){0,40}") {
            let _ = addresses(&text);
        }
    }
}
