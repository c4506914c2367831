use proptest::{prelude::*, sample::Index};

use super::*;
use crate::update::key::SecretKey;
use signed::Error;

/// Three controllers and two workers, named by MAC.
pub(crate) fn roster() -> Roster {
    let row = |number: u8| {
        let is_control = number <= 3;
        let role = if is_control { Role::Control } else { Role::Worker };
        Node {
            name: format!("{}-{number}", if is_control { "control" } else { "worker" })
                .parse()
                .unwrap(),
            roles: [role].into(),
            address: Ipv4Addr::new(10, 0, 0, 10 + number),
            matches: Mac::new([0x52, 0x54, 0, 0, 0, number]).map(Match::Mac),
            generation: 0,
            nics: Vec::new(),
            osd_disks: Vec::new(),
        }
    };
    Roster {
        format: FORMAT,
        cluster: Guid::literal(0x3f0c_9d7e_5b7b_8f6e_9a40_6d1f_6a3c_2b10),
        epoch: 1,
        mode: Mode::Static,
        seed: "control-1".parse().unwrap(),
        subnet: "10.0.0.0/24".parse().unwrap(),
        vip: Ipv4Addr::new(10, 0, 0, 10),
        minimum_workers: 2,
        nodes: (1..=5).map(row).collect(),
    }
}

#[test]
fn every_rule_finds_its_fault() {
    type Change = fn(&mut Roster);
    let cases: &[(Change, &str)] = &[
        (|r| r.format = 2, "format 2"),
        (|r| r.epoch = 0, "the epoch is 0"),
        (|r| r.vip = Ipv4Addr::new(10, 0, 1, 1), "no host's address in 10.0.0.0/24"),
        (|r| r.vip = Ipv4Addr::new(10, 0, 0, 255), "no host's address in 10.0.0.0/24"),
        (|r| r.vip = r.nodes[1].address, "control-2 has the VIP"),
        (|r| r.seed = "nobody".parse().unwrap(), "nobody is no node"),
        (|r| r.seed = "worker-4".parse().unwrap(), "not of the control plane"),
        (|r| r.nodes[1].roles = [Role::Worker].into(), "an odd number"),
        (|r| r.nodes[4].roles.clear(), "has no role"),
        (|r| r.minimum_workers = 3, "there are 2"),
        (|r| r.nodes[4].address = Ipv4Addr::new(10, 0, 0, 0), "no host's in"),
        (|r| r.nodes[4].address = r.nodes[3].address, "address 10.0.0.14 is named twice"),
        (|r| r.nodes[4].name = r.nodes[3].name.clone(), "name worker-4 is named twice"),
        (|r| r.nodes[4].matches = r.nodes[3].matches.clone(), "named twice"),
        (|r| r.nodes[4].matches = None, "which machine worker-5 is"),
        (|r| r.nodes[4].matches = Some(Match::Serial(" ".into())), "serial number is empty"),
        (
            |r| {
                let Some(Match::Mac(mac)) = r.nodes[0].matches else { return };
                r.nodes[4].nics.push(Nic { mac, name: "storage0".parse().unwrap() });
            },
            "MAC 52:54:00:00:00:01 is named twice",
        ),
        (|r| r.mode = Mode::Pool, "in a pool all are alike"),
        (|r| r.nodes[4].roles = [Role::Storage].into(), "no disk for it"),
        (|r| r.nodes[4].osd_disks = vec!["/dev/disk/by-id/a".into()], "without the role `storage`"),
        (|r| r.nodes[4].osd_disks = vec!["/dev/sdb".into()], "another one after the next boot"),
        (
            |r| r.nodes[4].osd_disks = vec!["/dev/disk/by-id/a".into(); 2],
            "worker-5's disk /dev/disk/by-id/a is named twice",
        ),
        (|r| r.nodes.clear(), "0 nodes"),
    ];
    assert_eq!(roster().faults(), []);
    for (change, want) in cases {
        let mut changed = roster();
        change(&mut changed);
        let faults = changed.faults();
        assert!(faults.iter().any(|fault| fault.what.contains(want)), "{want}: {faults:?}");
    }
}

#[test]
fn what_may_follow() {
    type Change = fn(&mut Roster);
    let cases: &[(Change, bool)] = &[
        (|_| {}, true),
        (|r| r.nodes[4].address = Ipv4Addr::new(10, 0, 0, 99), false),
        (|r| r.nodes[4].roles = [Role::Compute].into(), false),
        (|r| r.nodes[4].matches = Mac::new([2; 6]).map(Match::Mac), false),
        (
            |r| (r.nodes[4].generation, r.nodes[4].matches) = (1, Mac::new([2; 6]).map(Match::Mac)),
            true,
        ),
        (|r| drop(r.nodes.pop()), true),
    ];
    for (number, (change, may)) in cases.iter().enumerate() {
        let mut after = roster();
        change(&mut after);
        assert_eq!(after.unfaithful_to(&roster()).is_none(), *may, "case {number}");
    }
    let raised =
        Roster { nodes: vec![Node { generation: 1, ..roster().nodes[4].clone() }], ..roster() };
    assert!(roster().unfaithful_to(&raised).is_some(), "a generation is never lowered");
}

#[test]
fn a_signed_roster_is_opened_with_the_public_half() {
    let (key, other) = (SecretKey::from_seed([1; 32], "a"), SecretKey::from_seed([2; 32], "b"));
    let bytes = signed::sign(&roster(), &key).unwrap();
    assert_eq!(signed::open(&bytes, &[other.public(), key.public()]).unwrap(), roster());
    assert!(matches!(signed::open(&bytes, &[other.public()]), Err(Error::UnknownKey { .. })));
    let faulty = Roster { epoch: 0, ..roster() };
    assert!(matches!(signed::sign(&faulty, &key), Err(Error::Faulty(_))));
}

proptest! {
    #[test]
    fn no_byte_of_a_signed_roster_can_be_changed(at: Index, flip in 1..=255u8, cut: Index) {
        let key = SecretKey::from_seed([1; 32], "a");
        let bytes = signed::sign(&roster(), &key).unwrap();
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= flip;
        prop_assert!(signed::open(&changed, &[key.public()]).is_err());
        prop_assert!(signed::open(&bytes[..cut.index(bytes.len())], &[key.public()]).is_err());
        prop_assert!(signed::open(&[&bytes[..], &[flip]].concat(), &[key.public()]).is_err());
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(signed::open(&[&b"coremax-roster\n\0"[..], &bytes].concat(), &[]).is_err());
    }
}
