//! One calm page for a console of 80 by 25.

use super::{
    ClusterStatus, PeerStatus, SeedStatus, Wait,
    text::{broken, short},
};
use crate::join::Phase;

/// How wide a line is at most.
pub const COLUMNS: usize = 78;
/// How many lines there are at most: the last one of a console is the cursor's.
pub const LINES: usize = 24;

/// Where what is said begins.
const INDENT: usize = 12;
/// How wide a name is among others.
const NAME: usize = 40;
/// A time that is further away than any wait is of a clock that was set in between, in milliseconds.
const WAIT_MAX: i64 = 3_600_000;

/// The page, at a time in milliseconds since 1970 by the machine's clock: [`LINES`] of [`COLUMNS`] at most, each with a
/// line feed, and no other control character.
pub fn screen(status: &ClusterStatus, now: i64) -> String {
    let mut page = Page(Vec::new());
    page.who(status);
    page.what(status, now);
    if let Some(seed) = &status.seed {
        page.cluster(seed, now);
    }
    page.0.truncate(LINES);
    page.0.into_iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

struct Page(Vec<String>);

impl Page {
    fn who(&mut self, status: &ClusterStatus) {
        let name =
            status.name.as_ref().map_or("this machine has no name yet".into(), ToString::to_string);
        self.say("coremax", &name);
        self.gap();
        if let Some(cluster) = status.cluster {
            let roster = match status.epoch {
                0 => String::new(),
                epoch => format!(", roster {epoch}"),
            };
            self.say("cluster", &format!("{cluster}{roster}"));
        }
        if let Some(address) = status.address {
            self.say("address", &address.to_string());
        }
        if let Some(fingerprint) = status.fingerprint {
            self.say("key", &fingerprint.to_string());
        }
    }

    fn what(&mut self, status: &ClusterStatus, now: i64) {
        self.gap();
        let all = Phase::ALL;
        let number = all.iter().position(|phase| *phase == status.phase).unwrap_or(0) + 1;
        self.say("phase", &format!("{} ({number} of {})", word(status.phase), all.len()));
        self.say("waits for", &waits(&status.waits));
        if let Some(asks) = &status.asks {
            self.say("asks", asks);
        }
        if let Some(next) = status.next_try {
            self.say("next try", &until(next.saturating_sub(now)));
        }
        if let Some(problem) = &status.problem {
            self.say("problem", problem);
        }
        if let Some(hint) = &status.hint {
            self.say("unproven", hint);
        }
    }

    fn cluster(&mut self, seed: &SeedStatus, now: i64) {
        self.gap();
        let is_ready = |peer: &&PeerStatus| peer.phase.is_some_and(|phase| phase >= Phase::Ready);
        let ready = seed.peers.iter().filter(is_ready).count();
        self.say("nodes", &format!("{ready} of {} ready", seed.peers.len()));
        if let Some(obstacle) = seed.obstacles.first() {
            self.say("not yet", obstacle);
        }
        for machine in seed.waiting.iter().take(2) {
            let mac = machine.macs.first().map(|mac| format!(" ({mac})")).unwrap_or_default();
            self.say("unknown", &format!("{}{mac}", machine.fingerprint));
        }
        if seed.waiting.len() > 2 {
            self.say("", &format!("and {} more", seed.waiting.len() - 2));
        }
        let (slow, well): (Vec<_>, Vec<_>) = seed.peers.iter().partition(|peer| !is_ready(peer));
        let all: Vec<_> = slow.into_iter().chain(well).collect();
        let room = LINES.saturating_sub(self.0.len());
        let shown = if all.len() > room { room.saturating_sub(1) } else { all.len() };
        all.iter().take(shown).for_each(|peer| self.line("", &row(peer, now)));
        if shown < all.len() {
            self.line("", &format!("and {} more", all.len() - shown));
        }
    }

    /// A text, broken between words where it is too long.
    fn say(&mut self, label: &str, text: &str) {
        let mut label = label;
        for line in broken(text, COLUMNS - INDENT) {
            self.line(label, &line);
            label = "";
        }
    }

    fn gap(&mut self) {
        if self.0.last().is_some_and(|line| !line.is_empty()) {
            self.0.push(String::new());
        }
    }

    fn line(&mut self, label: &str, text: &str) {
        self.0.push(format!("  {label:<width$}{text}", width = INDENT - 2));
    }
}

fn row(peer: &PeerStatus, now: i64) -> String {
    let name = short(peer.name.as_ref(), NAME);
    let phase = peer.phase.map_or("not heard", word);
    let ago = match peer.heard.map(|at| now.saturating_sub(at) / 1000) {
        Some(seconds @ 10..3600) => format!("{seconds} s ago"),
        Some(3600..) => "long ago".into(),
        _ => String::new(),
    };
    format!("{name:<NAME$}  {phase:<10}  {ago}")
}

/// What a phase is called.
pub const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Blank => "blank",
        Phase::Identified => "identified",
        Phase::Networked => "networked",
        Phase::Discovered => "discovered",
        Phase::Enrolled => "enrolled",
        Phase::TimeSynced => "timesynced",
        Phase::Prepared => "prepared",
        Phase::Ready => "ready",
        Phase::Deploying => "deploying",
        Phase::Formed => "formed",
    }
}

/// What a machine waits for, in words.
pub fn waits(wait: &Wait) -> String {
    match wait {
        Wait::Nothing => "nothing".into(),
        Wait::Identity => {
            "its identity: a medium made by `coremax cluster seed-medium`".into()
        }
        Wait::Network => "its network".into(),
        Wait::Seed => "a seed's answer".into(),
        Wait::Approval => {
            "its place: `coremax cluster approve` gives it one, or a pool that is complete".into()
        }
        Wait::Refused { why } => format!("another answer; it was refused: {why}"),
        Wait::ForeignDisk => {
            "a reset: its disk belongs to another machine (`coremax-node reset`)".into()
        }
        Wait::BadOrders => {
            "a seed that it may follow: this one has an older roster, one that is not signed, or another name for it, or it has promised itself to another seed".into()
        }
        Wait::Others => "the other nodes".into(),
    }
}

fn until(milliseconds: i64) -> String {
    match milliseconds {
        ..=999 => "now".into(),
        1000..WAIT_MAX => format!("in {} s", milliseconds / 1000),
        WAIT_MAX.. => "soon".into(),
    }
}
