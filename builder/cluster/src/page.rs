//! A cluster's status as a page for people, 80 columns wide.

use std::collections::BTreeMap;

use coremax_node_api::{
    cluster_status::{
        ClusterStatus, PeerStatus, Progress, SeedStatus,
        text::{broken, plain, short},
        word,
    },
    join::Phase,
    update::Version,
};

use crate::machine::describe;

/// How wide a line is at most.
const COLUMNS: usize = 80;
/// Where what is said begins.
const INDENT: usize = 12;
/// How wide a name is among others; a longer one is cut.
const NAME: usize = 16;

/// The page, each line with a line feed, and no other control character. How long ago something was goes by the seed's clock.
pub fn page(status: &ClusterStatus) -> String {
    let mut page = Page(String::new());
    page.head(status);
    match &status.seed {
        Some(seed) => page.cluster(seed, status.written),
        None => page.say("seed", "the machine that answered is no seed"),
    }
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, status: &ClusterStatus) {
        let cluster = status.cluster.map(|cluster| cluster.to_string()).unwrap_or_default();
        self.say("cluster", &cluster);
        let name = status.name.as_ref().map_or("a machine without a name yet", AsRef::as_ref);
        let address = status.address.map(|address| format!(", {address}")).unwrap_or_default();
        let key = status.fingerprint.map(|key| format!(", key {key}")).unwrap_or_default();
        self.say("seed", &format!("{name}{address}{key}"));
        if let Some(problem) = &status.problem {
            self.say("problem", problem);
        }
    }

    fn cluster(&mut self, seed: &SeedStatus, now: i64) {
        let digest: String = seed.edition.digest[..4].iter().map(|b| format!("{b:02x}")).collect();
        self.say("roster", &format!("epoch {} ({digest})", seed.edition.epoch));
        self.say("stage", stage(seed.stage));
        let mut label = "not yet";
        for obstacle in &seed.obstacles {
            self.say(label, obstacle);
            label = "";
        }
        if seed.peers.iter().any(|peer| peer.fingerprint.is_none()) {
            self.say("window", &window(seed.window));
        }
        self.line("");
        self.line(&format!(
            "  {:<NAME$}  {:<15}  {:<10}  {:<9}  machine",
            "node", "address", "phase", "heard"
        ));
        seed.peers.iter().for_each(|peer| self.line(&format!("  {}", row(peer, now))));
        let is_ready = |peer: &&PeerStatus| peer.phase.is_some_and(|phase| phase >= Phase::Ready);
        let ready = seed.peers.iter().filter(is_ready).count();
        self.line(&format!("  {ready} of {} are ready", seed.peers.len()));
        self.images(seed);
        if !seed.waiting.is_empty() {
            self.line("");
            self.line("  machines that wait for a row, by coremax cluster approve:");
            for machine in &seed.waiting {
                broken(&describe(machine), COLUMNS - 4)
                    .iter()
                    .for_each(|line| self.line(&format!("    {line}")));
                for disk in &machine.disks {
                    self.line(&format!("      {:>8}  {}", size(disk.bytes), disk.path));
                }
                if machine.more_disks > 0 {
                    self.line(&format!("      and {} more disks", machine.more_disks));
                }
            }
        }
        if !seed.turned_away.is_empty() {
            self.line("");
            let counts = seed.turned_away.iter().map(|(why, count)| format!("{count} {why}"));
            self.say("turned away", &counts.collect::<Vec<_>>().join(", "));
        }
    }

    /// Which images those have that were heard: each with its nodes, where there are several.
    fn images(&mut self, seed: &SeedStatus) {
        let mut images: BTreeMap<Option<&Version>, Vec<&str>> = BTreeMap::new();
        for peer in seed.peers.iter().filter(|peer| peer.phase.is_some()) {
            images.entry(peer.image.as_ref()).or_default().push(peer.name.as_ref());
        }
        if images.keys().all(Option::is_none) {
            return;
        }
        let is_one = images.len() == 1;
        for (image, names) in images {
            let of = if is_one { String::new() } else { format!(": {}", names.join(", ")) };
            self.say("image", &format!("{}{of}", image.map_or("of no version", Version::as_str)));
        }
    }

    /// A text, broken between words where it is too long.
    fn say(&mut self, label: &str, text: &str) {
        let mut label = label;
        for line in broken(text, COLUMNS - INDENT - 2) {
            self.line(&format!("  {label:<INDENT$}{line}"));
            label = "";
        }
    }

    fn line(&mut self, text: &str) {
        self.0.push_str(plain(text).trim_end());
        self.0.push('\n');
    }
}

const fn stage(stage: Progress) -> &'static str {
    match stage {
        Progress::Gathering => "gathering: it waits for its nodes",
        Progress::Forming => "forming: all is well, and its nodes promise themselves to it",
        Progress::Deploying => "deploying",
        Progress::Formed => "formed",
    }
}

fn window(minutes: u16) -> String {
    match minutes {
        0 => "closed: a signed roster with a new epoch opens it for new machines".into(),
        minutes => format!("new machines are taken for {} h {:02} min", minutes / 60, minutes % 60),
    }
}

fn row(peer: &PeerStatus, now: i64) -> String {
    let name = short(peer.name.as_ref(), NAME);
    let machine = peer.fingerprint.map_or("no machine yet".into(), |key| key.to_string());
    let phase = match (peer.phase, peer.fingerprint) {
        (Some(phase), _) => word(phase),
        (None, Some(_)) => "not heard",
        (None, None) => "-",
    };
    let heard = peer.heard.map_or("-".into(), |at| ago(now.saturating_sub(at)));
    let address = peer.address.to_string();
    format!("{name:<NAME$}  {address:<15}  {phase:<10}  {heard:<9}  {machine}")
}

/// As makers of disks count.
fn size(bytes: u64) -> String {
    match bytes / 1_000_000_000 {
        0 => format!("{} MB", bytes / 1_000_000),
        gigabytes @ 1..10_000 => format!("{gigabytes} GB"),
        gigabytes => format!("{} TB", gigabytes / 1000),
    }
}

fn ago(milliseconds: i64) -> String {
    match milliseconds / 1000 {
        ..10 => "now".into(),
        seconds @ 10..100 => format!("{seconds} s ago"),
        seconds @ 100..6000 => format!("{} m ago", seconds / 60),
        seconds @ 6000..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", (seconds / 86_400).min(999)),
    }
}

#[cfg(test)]
mod tests {
    use coremax_node_api::{
        cluster_status::{Fingerprint, Waiting},
        guid::Guid,
        join::{Disk, Edition, NodeKey, Now},
        roster::Mac,
    };

    use super::*;

    const NOW: i64 = 1_795_608_000_000;

    fn status() -> ClusterStatus {
        let print = |key| Fingerprint::of(NodeKey([key; 32]));
        let peer = |number: u8, phase, seconds: i64| PeerStatus {
            name: format!("control-{number}").parse().unwrap(),
            address: [10, 0, 0, number].into(),
            fingerprint: (number < 4).then(|| print(number)),
            mac: None,
            phase,
            heard: phase.map(|_| NOW - seconds * 1000),
            image: format!("2026.11.{}", number / 2).parse().ok().filter(|_| phase.is_some()),
        };
        let waiting = Waiting {
            key: NodeKey([9; 32]),
            fingerprint: print(9),
            macs: (0..4).map(Mac::example).collect(),
            serial: Some("\u{1b}[2J é".into()),
            disks: vec![
                Disk { path: "/dev/disk/by-path/pci-0000:00:05.0".into(), bytes: 480_103_981_056 },
                Disk { path: "/dev/disk/by-id/\u{1b}".into(), bytes: 16_000_900_661_248 },
            ],
            more_disks: 16,
        };
        let seed = SeedStatus {
            stage: Progress::Gathering,
            edition: Edition { epoch: 3, digest: [0xab; 32] },
            peers: vec![
                peer(1, Some(Phase::Ready), 3),
                peer(2, Some(Phase::TimeSynced), 26),
                peer(3, None, 0),
                PeerStatus { name: "n".repeat(63).parse().unwrap(), ..peer(4, None, 0) },
            ],
            waiting: vec![waiting],
            obstacles: vec!["control-2 is not ready".into(), "a word ".repeat(40)],
            window: 125,
            turned_away: [("bad-key".to_owned(), 3), ("garbage".to_owned(), 12)].into(),
        };
        ClusterStatus {
            cluster: Some(Guid::literal(7)),
            name: Some("control-1".parse().unwrap()),
            address: Some([10, 0, 0, 1].into()),
            fingerprint: Some(print(1)),
            problem: Some("x".repeat(200)),
            seed: Some(seed),
            ..ClusterStatus::blank(Now { mono: 0, wall: NOW }, None)
        }
    }

    #[test]
    fn a_page_is_as_wide_as_a_terminal_and_says_all() {
        let page = page(&status());
        let is_plain = |line: &str| line.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        assert!(page.lines().all(|line| line.len() <= COLUMNS && is_plain(line)), "{page}");
        for want in [
            "  cluster     00000000-0000-0000-0000-000000000007\n",
            "  roster      epoch 3 (abababab)\n",
            "  stage       gathering: it waits for its nodes\n",
            "  not yet     control-2 is not ready\n",
            "  window      new machines are taken for 2 h 05 min\n",
            "  control-1         10.0.0.1         ready       now        ",
            "  control-2         10.0.0.2         timesynced  26 s ago   ",
            "  control-3         10.0.0.3         not heard   -          ",
            "  nnnnnnnnnnnnnn..  10.0.0.4         -           -          no machine yet\n",
            "  1 of 4 are ready\n",
            "  image       2026.11.0: control-1\n",
            "  image       2026.11.1: control-2\n",
            "serial ?[2J ?\n",
            "        480 GB  /dev/disk/by-path/pci-0000:00:05.0\n",
            "         16 TB  /dev/disk/by-id/?\n      and 16 more disks\n",
            "  turned away 3 bad-key, 12 garbage\n",
        ] {
            assert!(page.contains(want), "{want} is not in\n{page}");
        }
    }

    #[test]
    fn one_image_is_everybody_s() {
        let mut status = status();
        let peers = &mut status.seed.as_mut().unwrap().peers;
        peers[1].image = peers[0].image.clone();
        let one = page(&status);
        assert!(one.contains("  image       2026.11.0\n"), "{one}");
        status.seed.as_mut().unwrap().peers[1].image = None;
        let apart = page(&status);
        for want in ["of no version: control-2", "2026.11.0: control-1"] {
            assert!(apart.contains(&format!("  image       {want}\n")), "{apart}");
        }
    }

    #[test]
    fn a_window_is_told_of_while_somebody_may_come() {
        let page_with = |window, fingerprint| {
            let mut status = status();
            let seed = status.seed.as_mut().unwrap();
            seed.window = window;
            seed.peers.iter_mut().for_each(|peer| peer.fingerprint = fingerprint);
            page(&status)
        };
        let has_machine = status().fingerprint;
        assert!(
            page_with(0, None).contains("  window      closed: a signed roster with a new epoch")
        );
        assert!(!page_with(0, has_machine).contains("window"));
    }

    #[test]
    fn how_long_ago_fits() {
        for (seconds, want) in [
            (-5, "now"),
            (9, "now"),
            (99, "99 s ago"),
            (100, "1 m ago"),
            (5999, "99 m ago"),
            (6000, "1 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 d ago"),
            (i64::MAX / 1000, "999 d ago"),
        ] {
            assert_eq!(ago(seconds.saturating_mul(1000)), want);
        }
    }
}
