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
        seed_key: None,
        subnet: "10.0.0.0/24".parse().unwrap(),
        vip: Ipv4Addr::new(10, 0, 0, 10),
        mtu: 1500,
        gateway: None,
        dns: Vec::new(),
        registry: None,
        minimum_workers: 2,
        versions: Versions::default(),
        nodes: (1..=5).map(row).collect(),
    }
}

fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, last]).unwrap()
}

/// A card with an address, the number of which is its MAC's too.
fn storage(number: u8, address: &str) -> Nic {
    let name = format!("storage{number}");
    Nic { address: Some(address.parse().unwrap()), ..card(&name, mac(number)) }
}

fn card(name: &str, mac: Mac) -> Nic {
    Nic { mac, name: name.parse().unwrap(), address: None }
}

#[test]
fn what_looks_odd_and_is_well() {
    type Change = fn(&mut Roster);
    let cases: &[Change] = &[
        |r| r.nodes[4].name = "1e3".parse().unwrap(),
        |r| r.nodes[4].name = "0xg".parse().unwrap(),
        |r| r.nodes[4].nics.push(card("storage-netwrk0", mac(9))), // 15
        |r| r.nodes[4].matches = Some(Match::Serial(" A1 ".into())),
        |r| r.nodes[4].nics = vec![storage(8, "10.0.1.8/24"), storage(9, "10.1.0.9/30")],
        |r| r.versions.image = "2026.11.22".parse().ok(),
        |r| r.mtu = 1280,
        |r| r.mtu = 9216,
        |r| r.gateway = Some(Ipv4Addr::new(10, 0, 0, 1)),
        |r| r.dns = vec![r.nodes[0].address, r.vip, Ipv4Addr::new(192, 0, 2, 53)],
        |r| r.registry = "10.0.0.10:5000".parse().ok(),
    ];
    for (number, change) in cases.iter().enumerate() {
        let mut changed = roster();
        change(&mut changed);
        assert_eq!(changed.faults(), [], "case {number}");
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
        (|r| r.mtu = 1279, "the MTU is 1279, where 1280 to 9216 can be"),
        (|r| r.mtu = 9217, "the MTU is 9217"),
        (
            |r| r.gateway = Some(Ipv4Addr::new(10, 0, 1, 1)),
            "the gateway 10.0.1.1 is no host's address in 10.0.0.0/24",
        ),
        (|r| r.gateway = Some(Ipv4Addr::new(10, 0, 0, 0)), "the gateway 10.0.0.0 is no host's"),
        (|r| r.gateway = Some(r.vip), "the gateway 10.0.0.10 is the VIP"),
        (|r| r.gateway = Some(r.nodes[1].address), "control-2 has the gateway's address"),
        (|r| r.dns = (1..=4).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect(), "4 name servers"),
        (|r| r.dns = vec![r.vip; 2], "the name server 10.0.0.10 is named twice"),
        (|r| r.dns = vec![Ipv4Addr::LOCALHOST], "no machine elsewhere has the address 127.0.0.1"),
        (|r| r.dns = vec![Ipv4Addr::UNSPECIFIED], "the address 0.0.0.0"),
        (|r| r.dns = vec![Ipv4Addr::BROADCAST], "the address 255.255.255.255"),
        (|r| r.registry = "127.0.0.1:5000".parse().ok(), "the address 127.0.0.1"),
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
        (|r| r.nodes[4].matches = Some(Match::Serial(" ".into())), "a vendor left empty"),
        (|r| r.nodes[4].matches = Some(Match::Serial("00000000".into())), "a vendor left empty"),
        (
            |r| r.nodes[4].matches = Some(Match::Serial("To be filled by O.E.M.".into())),
            "a vendor left empty",
        ),
        (
            |r| r.nodes[4].matches = Some(Match::Mac(Mac::example(5))),
            "00:00:5e:00:53:05 is no card's",
        ),
        (|r| (r.nodes[1].generation, r.nodes[2].generation) = (1, 1), "and the seed was not"),
        (
            |r| {
                r.nodes[4].roles = [Role::Storage].into();
                r.nodes[4].osd_disks = vec!["/dev/disk/by-id/CHANGE-ME".into()];
            },
            "CHANGE-ME\" is none",
        ),
        (
            |r| {
                let Some(Match::Mac(mac)) = r.nodes[0].matches else { return };
                r.nodes[4].nics.push(card("storage0", mac));
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
        (
            |r| {
                r.nodes[3].matches = Some(Match::Serial("A1".into()));
                r.nodes[4].matches = Some(Match::Serial(" A1 ".into()));
            },
            "serial number A1 is named twice",
        ),
        (|r| r.nodes[4].matches = Some(Match::Serial("CHANGE-ME".into())), "\"CHANGE-ME\" is none"),
        (
            |r| r.nodes[4].nics.push(card("storage0", Mac::example(9))),
            "00:00:5e:00:53:09 of storage0 is no card's",
        ),
        (|r| r.nodes[4].nics.push(card("storage-network0", mac(9))), "no card storage-network0"),
        (|r| r.nodes[4].nics.push(card("12", mac(9))), "no card 12"),
        (
            |r| r.nodes[4].nics.push(storage(9, "10.0.0.99/24")),
            "worker-5's card storage9 has 10.0.0.99/24, in a network with 10.0.0.0/24",
        ),
        (|r| r.nodes[4].nics.push(storage(9, "10.1.0.9/8")), "in a network with 10.0.0.0/24"),
        (
            |r| r.nodes[4].nics = vec![storage(8, "10.1.0.8/24"), storage(9, "10.1.0.9/30")],
            "worker-5's cards storage8 and storage9 are in one network",
        ),
        (
            |r| {
                r.nodes[3].nics.push(storage(8, "10.1.0.9/24"));
                r.nodes[4].nics.push(storage(9, "10.1.0.9/24"));
            },
            "the address 10.1.0.9 is named twice",
        ),
        (|r| r.nodes[4].nics.push(card("default", mac(9))), "no card default"),
        (
            |r| r.nodes[4].nics = vec![card("storage0", mac(8)), card("storage0", mac(9))],
            "worker-5's card storage0 is named twice",
        ),
        (
            |r| {
                r.nodes[3].nics.push(card("storage0", mac(9)));
                r.nodes[4].nics.push(card("storage0", mac(9)));
            },
            "MAC 02:00:00:00:00:09 is named twice",
        ),
        (|r| r.nodes[4].name = "localhost".parse().unwrap(), "called localhost"),
        (|r| r.nodes[4].name = "worker".parse().unwrap(), "called worker"),
        (|r| r.nodes[4].name = "127".parse().unwrap(), "127 is read as an address"),
        (|r| r.nodes[4].name = "0x7f".parse().unwrap(), "0x7f is read as an address"),
        (
            |r| r.subnet = "224.0.0.0/24".parse().unwrap(),
            "no machine has an address in 224.0.0.0/24",
        ),
        (|r| r.subnet = "0.0.0.0/8".parse().unwrap(), "no machine has an address in 0.0.0.0/8"),
        (|r| r.subnet = "255.255.255.0/24".parse().unwrap(), "no machine has an address in 255"),
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
    fn other(row: &mut Node, generation: u32) {
        (row.generation, row.matches) = (generation, Mac::new([2; 6]).map(Match::Mac));
    }
    let cases: &[(Change, bool)] = &[
        (|_| {}, true),
        (|r| r.nodes[4].address = Ipv4Addr::new(10, 0, 0, 99), false),
        (|r| r.nodes[4].roles = [Role::Compute].into(), false),
        (|r| r.nodes[4].matches = Mac::new([2; 6]).map(Match::Mac), false),
        (|r| other(&mut r.nodes[4], 1), false), // not above the seed's, which is 1
        (|r| other(&mut r.nodes[4], 2), true),
        (|r| r.nodes[4].generation = 0, true), // as it was
        (|r| r.nodes[0].generation = 0, false),
        (|r| other(&mut r.nodes[0], 2), false), // the highest is 2
        (|r| other(&mut r.nodes[0], 3), true),
        (|r| (other(&mut r.nodes[0], 3), other(&mut r.nodes[4], 1)).0, true),
        (|r| drop(r.nodes.pop()), true),
        (|r| drop(r.nodes.drain(1..3)), false), // the seed alone
        (|r| r.nodes.push(Node { name: "new".parse().unwrap(), ..r.nodes[4].clone() }), true),
        (|r| r.nodes.push(Node { name: "new".parse().unwrap(), ..r.nodes[1].clone() }), false),
        (|r| r.seed = "control-2".parse().unwrap(), false),
        (|r| (r.seed, r.nodes[1].generation) = ("control-2".parse().unwrap(), 3), true),
    ];
    let mut before = roster();
    (before.nodes[0].generation, before.nodes[3].generation) = (1, 2);
    for (number, (change, may)) in cases.iter().enumerate() {
        let mut after = before.clone();
        change(&mut after);
        assert_eq!(after.unfaithful_to(&before).is_none(), *may, "case {number}");
    }
}

/// The ground that the promise of one formation stands on.
#[test]
fn rosters_under_one_seed_share_a_controller() {
    // An operator who replaces, adds and removes as it comes, with five controllers.
    let mut random = 1_u64;
    let mut draw = move |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for _ in 0..200 {
        let mut all = vec![roster()];
        for step in 0..30 {
            let mut next = all.last().unwrap().clone();
            let row = usize::try_from(draw(next.nodes.len() as u64)).unwrap();
            match draw(4) {
                0 if next.nodes.len() > 4 && row > 0 => drop(next.nodes.remove(row)),
                1 => {
                    let name = format!("new-{step}").parse().unwrap();
                    let generation = u32::try_from(draw(6)).unwrap();
                    next.nodes.push(Node { name, generation, ..next.nodes[row].clone() });
                }
                _ => next.nodes[row].generation = next.next_generation(&next.nodes[row]),
            }
            let is_taken = !next.faults().iter().any(|fault| fault.what.contains("replaced"));
            if is_taken && next.unfaithful_to(all.last().unwrap()).is_none() {
                all.push(next);
            }
        }
        let machines = |roster: &Roster| -> BTreeSet<(Name, u32)> {
            let others = roster.control_plane().filter(|row| row.name != roster.seed);
            others.map(|row| (row.name.clone(), row.generation)).collect()
        };
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
            let (one_s, other_s) = (machines(one), machines(other));
            let is_alone = one_s.is_empty() && other_s.is_empty();
            let share = is_alone || !one_s.is_disjoint(&other_s);
            assert!(
                one.seed_generation() != other.seed_generation() || share,
                "{one:#?}\n{other:#?}"
            );
        }
    }
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
