//! Which of the machines that wait an operator means.

use coremax_node_api::{
    cluster_status::{Fingerprint, SeedStatus, Waiting, text::plain},
    roster::Mac,
};

/// Characters of a fingerprint, at least: fewer are often those of several machines.
const FINGERPRINT_LEAST: usize = 4;

/// Why a machine is not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// None waits that is meant by it.
    #[error("no machine waits whose key, MAC or serial number is {wanted}{}", list(.waiting))]
    Nobody {
        /// What the operator said.
        wanted: String,
        /// Those that wait.
        waiting: Vec<String>,
    },
    /// Several are meant by it.
    #[error("{wanted} is said of several machines{}", list(.found))]
    Several {
        /// What the operator said.
        wanted: String,
        /// Which.
        found: Vec<String>,
    },
}

impl NotFound {
    /// What mends it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Nobody { .. } => {
                "a machine waits once it has proven the cluster's key; coremax cluster status lists those that do"
            }
            Self::Several { .. } => "give the whole fingerprint, as the machine's console shows it",
        }
    }
}

/// The machine that waits, and that is meant: by its key's fingerprint, as the console shows it, or the first characters of
/// that, by one of its MACs, or by its serial number.
///
/// # Errors
/// Every [`NotFound`].
pub fn find<'a>(seed: &'a SeedStatus, wanted: &str) -> Result<&'a Waiting, NotFound> {
    let found: Vec<_> = seed.waiting.iter().filter(|machine| is_meant(machine, wanted)).collect();
    let wanted = wanted.to_owned();
    match found[..] {
        [one] => Ok(one),
        [] => {
            let waiting = seed.waiting.iter().map(describe).collect();
            Err(NotFound::Nobody { wanted, waiting })
        }
        _ => {
            let found = found.into_iter().map(describe).collect();
            Err(NotFound::Several { wanted, found })
        }
    }
}

fn is_meant(machine: &Waiting, wanted: &str) -> bool {
    let lower = wanted.to_ascii_lowercase();
    // Of the key, whatever the seed calls it.
    let fingerprint = Fingerprint::of(machine.key).to_string();
    let digits = |text: &str| text.replace('-', "");
    let is_begun = digits(&lower).len() >= FINGERPRINT_LEAST
        && !lower.contains(':')
        && digits(&fingerprint).starts_with(&digits(&lower));
    let mac = lower.parse::<Mac>().ok();
    let serial = machine.serial.as_deref().map(str::trim);
    is_begun || mac.is_some_and(|mac| machine.macs.contains(&mac)) || serial == Some(wanted.trim())
}

/// On one line: fingerprint, MACs and serial number.
pub fn describe(machine: &Waiting) -> String {
    let macs = machine.macs.iter().map(ToString::to_string);
    let serial = machine.serial.iter().map(|serial| format!("serial {}", plain(serial)));
    let fingerprint = Fingerprint::of(machine.key).to_string();
    [fingerprint].into_iter().chain(macs).chain(serial).collect::<Vec<_>>().join("  ")
}

fn list(machines: &[String]) -> String {
    let lines: String = machines.iter().map(|machine| format!("\n  {machine}")).collect();
    match machines.is_empty() {
        true => "; none waits".into(),
        false => format!("; there are{lines}"),
    }
}

#[cfg(test)]
mod tests {
    use coremax_node_api::{
        cluster_status::Progress,
        join::{Edition, NodeKey},
    };

    use super::*;

    fn machine(key: u8, mac: u8, serial: &str) -> Waiting {
        let key = NodeKey([key; 32]);
        let macs = vec![Mac::example(mac), Mac::example(mac + 100)];
        let serial = Some(serial.to_owned());
        Waiting {
            key,
            fingerprint: Fingerprint::of(key),
            macs,
            serial,
            disks: Vec::new(),
            more_disks: 0,
        }
    }

    fn seed(waiting: Vec<Waiting>) -> SeedStatus {
        SeedStatus {
            stage: Progress::Gathering,
            edition: Edition::default(),
            peers: Vec::new(),
            waiting,
            obstacles: Vec::new(),
            window: 240,
            turned_away: Default::default(),
        }
    }

    #[test]
    fn a_machine_is_found_by_what_stands_on_it() {
        let seed = seed(vec![machine(1, 1, "A1"), machine(2, 2, "B2"), machine(3, 3, "B2")]);
        let print = |key: u8| Fingerprint::of(NodeKey([key; 32])).to_string();
        for (wanted, want) in [
            (print(2), Some(2)),
            (print(2).to_uppercase(), Some(2)),
            (print(2).replace('-', ""), Some(2)),
            (print(1)[..6].to_owned(), Some(1)),
            (print(1)[..3].to_owned(), None),
            (Mac::example(3).to_string(), Some(3)),
            (Mac::example(103).to_string().to_uppercase(), Some(3)),
            ("A1".into(), Some(1)),
            ("A".into(), None),
            ("a1".into(), None),
            (String::new(), None),
        ] {
            let found = find(&seed, &wanted).map(|machine| machine.key.0[0]);
            assert_eq!(found.clone().ok(), want, "{wanted}: {found:?}");
        }
        let several = find(&seed, "B2").unwrap_err();
        let told = several.to_string();
        assert!(told.contains(&print(2)) && told.contains(&print(3)), "{told}");
        assert!(!told.contains(&print(1)), "{told}");
    }

    /// A seed that calls a key by another one's fingerprint gets nothing approved by it.
    #[test]
    fn a_fingerprint_is_of_the_key_that_is_approved() {
        let other = Fingerprint::of(NodeKey([9; 32]));
        let liar = Waiting { fingerprint: other, ..machine(1, 1, "A1") };
        assert!(find(&seed(vec![liar]), &other.to_string()).is_err());
    }

    #[test]
    fn what_a_machine_says_moves_no_cursor() {
        let told = describe(&machine(1, 1, "\u{1b}[2J\n"));
        assert!(told.ends_with("serial ?[2J?"), "{told}");
    }
}
