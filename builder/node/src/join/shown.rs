//! Whether the certificate that a machine shows to a seed is of the row that it has there.

use coremax_channel::Certified;
use coremax_node_api::{join::seed::Saved, roster::Roster};

/// Whether its names are exactly those of its machine's row, and it holds at this time, in milliseconds since 1970. Of a
/// machine that was replaced there is no row: the seed refuses it by its key, and says so.
pub(super) fn is_of_row(shown: &Certified, saved: &Saved, roster: &Roster, now: i64) -> bool {
    let member = saved.members.iter().find(|(_, member)| member.key == shown.node);
    let row = member.and_then(|(name, _)| roster.node(name));
    let is_it =
        row.map_or(saved.revoked.contains(&shown.node), |row| shown.is_of(&row.name, row.address));
    is_it && shown.holds(now)
}

#[cfg(test)]
mod tests {
    use coremax_node_api::{
        enrol::{Secret, Window},
        join::{Hardware, NodeKey, seed::Member},
    };

    use super::*;
    use crate::prepare::tests::roster;

    fn shown(node: u8, name: &str, address: u8) -> Certified {
        Certified {
            node: NodeKey([node; 32]),
            name: name.parse().unwrap(),
            address: [10, 0, 0, address].into(),
            key: Secret::from_seed(&[1; 32]).public(),
            valid: Window { from: 10, until: 20 },
        }
    }

    /// The first two rows have the machines 1 and 2, a third one has a row that is no more, and the fourth was replaced.
    fn saved() -> Saved {
        let member = |number| Member {
            key: NodeKey([number; 32]),
            hardware: Hardware::default(),
            generation: 0,
        };
        let members = [("control-1", 1), ("control-2", 2), ("gone", 3)];
        Saved {
            roster: Vec::new().into(),
            members: members.map(|(name, key)| (name.parse().unwrap(), member(key))).into(),
            revoked: [NodeKey([4; 32])].into(),
            approved: Default::default(),
            gone: Default::default(),
            window_used: 0,
            fired: None,
            is_formed: false,
            deploying: Default::default(),
            deployed: Default::default(),
        }
    }

    #[test]
    fn names_are_exactly_those_of_the_row() {
        for (what, shown, now, want) in [
            ("its own", shown(2, "control-2", 12), 15, true),
            ("another name", shown(2, "control-1", 12), 15, false),
            ("another address", shown(2, "control-2", 11), 15, false),
            ("another's row", shown(2, "control-1", 11), 15, false),
            ("another machine", shown(9, "control-2", 12), 15, false),
            ("a row that is no more", shown(3, "gone", 14), 15, false),
            ("replaced", shown(4, "control-2", 12), 15, true), // the seed says so
            ("not yet", shown(2, "control-2", 12), 9, false),
            ("over", shown(2, "control-2", 12), 21, false),
            ("replaced, and over", shown(4, "control-2", 12), 21, false),
        ] {
            assert_eq!(is_of_row(&shown, &saved(), &roster(), now), want, "{what}");
        }
    }
}
