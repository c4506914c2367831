//! Messages, drawn and by hand.

use super::*;

pub(super) fn edition() -> impl Strategy<Value = Edition> {
    any::<(u64, [u8; 32])>().prop_map(|(epoch, digest)| Edition { epoch, digest })
}

pub(super) fn held() -> impl Strategy<Value = Held> {
    let name = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|name| name.parse().unwrap());
    (name, any::<u32>()).prop_map(|(name, generation)| Held { name, generation })
}

pub(super) fn formation() -> impl Strategy<Value = Formation> {
    let rest = any::<(u128, u32, [u8; 32])>();
    (edition(), rest).prop_map(|(edition, (cluster, generation, seed))| Formation {
        cluster: Guid::literal(cluster),
        edition,
        generation,
        seed: NodeKey(seed),
    })
}

pub(super) fn hardware() -> impl Strategy<Value = Hardware> {
    let mac = any::<[u8; 6]>().prop_filter_map("a card's", Mac::new);
    let macs = vec(mac, 0..20).prop_map(|macs| macs.into_iter().collect::<BTreeSet<_>>());
    let serial = option::of("\\PC{0,30}");
    (macs, serial, any::<Option<u128>>(), any::<Option<[u8; 32]>>()).prop_map(
        |(macs, serial, uuid, endorsement)| Hardware {
            macs,
            serial,
            uuid: uuid.map(Guid::literal),
            endorsement,
        },
    )
}

pub(super) fn build() -> impl Strategy<Value = Build> {
    let image = option::of("[a-zA-Z0-9][a-z0-9.+_-]{0,63}".prop_map(|text| text.parse().unwrap()));
    let disk = ("\\PC{0,30}", any::<u64>()).prop_map(|(path, bytes)| Disk { path, bytes });
    (image, vec(disk, 0..4)).prop_map(|(image, disks)| Build { image, disks })
}

pub(super) fn report() -> impl Strategy<Value = Report> {
    let lacks = [Lack::Disk, Lack::Address, Lack::Registry, Lack::Image];
    let around = (btree_set(select(lacks.to_vec()), 0..=4), btree_set(any::<u8>(), 0..=NODES_MAX));
    let rest =
        (any::<u64>(), select(Phase::ALL.to_vec()), any::<i64>(), option::of(formation()), around);
    let enrol = option::of(any::<(u8, bool)>());
    (hardware(), option::of(held()), edition(), rest, (build(), enrol)).prop_map(
        |(hardware, held, edition, (number, phase, wall, promise, around), (build, enrol))| {
            Report {
                lacks: around.0,
                unreached: around.1,
                number,
                hardware,
                held,
                edition,
                phase,
                wall,
                promise,
                build,
                enrol: enrol.map(|(key, holds)| Box::new(request(key, holds))),
            }
        },
    )
}

pub(super) fn answer() -> impl Strategy<Value = Answer> {
    let refusals = [
        Refusal::BadKey,
        Refusal::UnknownHardware,
        Refusal::WindowClosed,
        Refusal::DuplicateHardware,
        Refusal::Revoked,
        Refusal::OtherName,
        Refusal::OldRoster,
        Refusal::OtherRoster,
        Refusal::TwoRows,
    ];
    let stage = prop_oneof![
        Just(Stage::Gathering),
        formation().prop_map(Stage::Forming),
        formation().prop_map(Stage::Deploying),
        formation().prop_map(Stage::Formed),
    ];
    let roster = option::of(vec(any::<u8>(), 0..300)).prop_map(|bytes| bytes.map(Arc::from));
    let orders = (held(), edition(), roster, any::<i64>(), stage).prop_map(
        |(held, edition, roster, wall, stage)| Orders { held, edition, roster, wall, stage },
    );
    let verdict = prop_oneof![
        Just(Verdict::Pending),
        select(refusals.to_vec()).prop_map(Verdict::Refused),
        orders.prop_map(Verdict::Member),
    ];
    (any::<u64>(), verdict, option::of(0..=DER_MAX)).prop_map(|(number, verdict, length)| {
        let gift = length.map(|length| Box::new(gift(length)));
        Answer { number, verdict, gift }
    })
}

pub(super) fn request(key: u8, holds: bool) -> Request {
    let (tls, ssh) = (Secret::from_seed(&[key; 32]), Secret::from_seed(&[1; 32]).public());
    let valid = Window { from: i64::MIN, until: i64::MAX };
    let holds = holds.then_some(Holds { authority: [0xaa; 32], valid });
    Request::new(Guid::literal(1), NodeKey([1; 32]), &tls, ssh, holds)
}

/// With certificates of so many bytes.
pub(super) fn gift(length: usize) -> Gift {
    let public = Secret::from_seed(&[2; 32]).public();
    let kind = "ssh-ed25519-cert-v01@openssh.com ";
    let ssh = "A".repeat((SSH_MAX - kind.len()).min(length) / 4 * 4);
    Gift {
        ca: Der::new(vec![1; length]).unwrap(),
        certificate: Der::new(vec![2; length]).unwrap(),
        ssh_hosts: public,
        ssh_users: public,
        ssh_certificate: format!("{kind}{}", if ssh.is_empty() { "AAAA" } else { &ssh })
            .try_into()
            .unwrap(),
        valid: Window { from: i64::MIN, until: i64::MAX },
    }
}

pub(super) fn a_report() -> Report {
    Report {
        number: u64::MAX,
        hardware: Hardware {
            macs: Mac::new([2, 0, 0, 0, 0, 1]).into_iter().collect(),
            serial: Some("A1".into()),
            uuid: Some(Guid::literal(1)),
            endorsement: Some([0xee; 32]),
        },
        held: Some(Held { name: "a".parse().unwrap(), generation: 0 }),
        edition: Edition { epoch: 1, digest: [0xdd; 32] },
        phase: Phase::TimeSynced,
        wall: i64::MIN,
        lacks: [Lack::Disk, Lack::Registry].into(),
        unreached: [2, 249].into(),
        promise: None,
        build: Build {
            image: "2026.11.22".parse().ok(),
            disks: vec![Disk { path: "/dev/disk/by-path/a".into(), bytes: 1 }],
        },
        enrol: None,
    }
}

pub(super) fn a_formation() -> Formation {
    Formation {
        cluster: Guid::literal(u128::MAX),
        edition: Edition { epoch: u64::MAX, digest: [0xdd; 32] },
        generation: u32::MAX,
        seed: NodeKey([0xcc; 32]),
    }
}

pub(super) fn member(roster: usize) -> Answer {
    let orders = Orders {
        held: Held { name: "a".parse().unwrap(), generation: u32::MAX },
        edition: Edition { epoch: u64::MAX, digest: [0xdd; 32] },
        roster: Some(vec![0; roster].into()),
        wall: i64::MIN,
        stage: Stage::Formed(a_formation()),
    };
    Answer { number: u64::MAX, verdict: Verdict::Member(orders), gift: None }
}

/// The bytes with some of them replaced.
pub(super) fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.splice(at..at + other.len(), other.iter().copied());
    bytes
}
