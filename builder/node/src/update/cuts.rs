//! What an update does to a disk, and what a cut of power at any moment leaves.

use coremax_node_api::{
    slot::{
        self,
        Slot::{self, A, B},
        State, Trial,
        grub::{Blocks, Description},
    },
    update::{Digest, Error, Kind, Manifest, Part, UPDATER, head, key::SecretKey},
};
use proptest::prelude::*;

use super::{
    recorder::{Disk, Op, Recorder},
    *,
};

const ROOM: usize = 32 << 10;

fn key() -> SecretKey {
    SecretKey::from_seed([7; 32], "")
}

fn running(slot: Slot, version: u8) -> Running {
    let version = version.to_string().parse().unwrap();
    Running { slot, recipe: "node".into(), version }
}

/// The parts of version `number`. Both layers begin as a squashfs does.
fn content(number: u8, kind: Kind) -> Vec<u8> {
    let layer = |length: usize, fill| {
        let mut bytes = vec![fill; length];
        bytes[..4].copy_from_slice(b"hsqs");
        // Blocks of 128 KiB, zstd, version 4.0.
        bytes[12..16].copy_from_slice(&(1_u32 << 17).to_le_bytes());
        for (place, value) in [(20, 6_u16), (22, 17), (28, 4), (30, 0)] {
            bytes[place..place + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes[40..48].copy_from_slice(&(length as u64 - 100).to_le_bytes());
        bytes
    };
    match kind {
        Kind::Kernel => vec![number; 1500],
        Kind::Initrd => vec![number + 100; 3000],
        // Two versions share it.
        Kind::System => layer(12288, number / 2),
        Kind::Site => layer(4096, number + 50),
        Kind::Verity => vec![number; 8192],
        Kind::Description => {
            let (title, version) = (format!("node {number}"), number.to_string());
            let command_line = format!("coremax.root={}", Digest::of([number]));
            Description { title, version, command_line }.encode().unwrap()
        }
    }
}

fn manifest(number: u8, carried: bool) -> Manifest {
    let part = |kind| {
        let bytes = content(number, kind);
        let carried = carried || kind != Kind::System;
        Part { kind, size: bytes.len() as u64, sha256: Digest::of(&bytes), carried }
    };
    Manifest {
        updater: UPDATER,
        recipe: "node".into(),
        version: number.to_string().parse().unwrap(),
        base: "debian-12".into(),
        created: "2026-11-22T10:00:00Z".into(),
        root_hash: Digest::of([number]),
        parts: Kind::ALL.map(part).into(),
    }
}

fn file(manifest: &Manifest, number: u8) -> Vec<u8> {
    let parts = manifest.parts.iter().filter(|part| part.carried);
    let bytes = parts.flat_map(|part| content(number, part.kind));
    head(manifest, &key()).unwrap().into_iter().chain(bytes).collect()
}

fn update(disk: &mut Recorder, running: &Running, number: u8) -> anyhow::Result<(Slot, Manifest)> {
    apply(disk, &*file(&manifest(number, true), number), &[key().public()], running)
}

/// A disk with version 2 in slot a, and room for another.
fn installed() -> Disk {
    let mut disk = Disk::default();
    for slot in Slot::BOTH {
        disk.places.insert(Place::Root(slot), vec![0; ROOM]);
        disk.places.insert(Place::Verity(slot), vec![0; ROOM]);
    }
    let mut put = |place, at: usize, bytes: Vec<u8>| {
        let content: &mut Vec<u8> = disk.places.entry(place).or_default();
        content.resize(content.len().max(at + bytes.len()), 0);
        content[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    for (name, kind) in
        [("vmlinuz", Kind::Kernel), ("initrd.img", Kind::Initrd), ("slot.env", Kind::Description)]
    {
        put(Place::File(format!("coremax/a/{name}")), 0, content(2, kind));
    }
    put(Place::Root(A), 0, content(2, Kind::System));
    put(Place::Root(A), 12288, content(2, Kind::Site));
    put(Place::Verity(A), 0, content(2, Kind::Verity));
    let Blocks { blessed, copy, trial } = Blocks::of(&State::NEW);
    for (name, block) in [("blessed", blessed), ("blessed2", copy), ("trial", trial)] {
        put(Place::File(format!("coremax/{name}.env")), 0, block);
    }
    disk.ids.insert(A, *Digest::of([2]).as_bytes());
    disk
}

/// The version in a slot, all of whose parts must be there; none for a slot that is none.
fn version(disk: &Disk, slot: Slot) -> Option<u8> {
    let place = |name: &str| disk.places.get(&Place::File(format!("coremax/{slot}/{name}")));
    let number = Description::parse(place("slot.env")?).ok()?.version.parse().unwrap();
    assert_eq!(place("vmlinuz"), Some(&content(number, Kind::Kernel)));
    assert_eq!(place("initrd.img"), Some(&content(number, Kind::Initrd)));
    let root = [content(number, Kind::System), content(number, Kind::Site)].concat();
    assert!(disk.places[&Place::Root(slot)].starts_with(&root));
    assert!(disk.places[&Place::Verity(slot)].starts_with(&content(number, Kind::Verity)));
    assert_eq!(disk.ids[&slot], *Digest::of([number]).as_bytes());
    Some(number)
}

/// The slot that boots from a disk, the version in it, and the disk as the loader leaves it. The
/// other slot is whole or none, too: the loader goes there when a kernel cannot be read.
fn boot(disk: &Disk) -> (Slot, u8, Disk) {
    let _ = Slot::BOTH.map(|slot| version(disk, slot));
    let mut medium = Recorder::new(disk.clone());
    let state = load(&medium).unwrap();
    let (chosen, after) = slot::boot(&state, |slot| version(disk, slot).is_some());
    let chosen = chosen.expect("a slot that boots");
    save(&mut medium, &after).unwrap();
    (chosen, version(disk, chosen).unwrap(), medium.now)
}

#[test]
fn an_update_is_tried_and_blessed() {
    let mut disk = Recorder::new(installed());
    assert_eq!(update(&mut disk, &running(A, 2), 3).unwrap().0, B);
    let (slot, number, after) = boot(&disk.now);
    assert_eq!((slot, number), (B, 3));
    let mut disk = Recorder::new(after);
    let error = update(&mut disk, &running(B, 3), 4).unwrap_err();
    assert_eq!(error.to_string(), "slot b runs on trial, and slot a is the one to fall back to");
    bless(&mut disk, B).unwrap();
    assert_eq!(load(&disk).unwrap(), State { blessed: B, trial: None });
    assert_eq!(update(&mut disk, &running(B, 3), 4).unwrap().0, A);
    assert_eq!(boot(&disk.now).1, 4);
}

#[test]
fn an_update_that_never_becomes_healthy_gives_way() {
    let mut disk = Recorder::new(installed());
    update(&mut disk, &running(A, 2), 3).unwrap();
    let mut now = disk.now;
    let mut booted = Vec::new();
    for _ in 0..5 {
        let (slot, _, after) = boot(&now);
        booted.push(slot);
        now = after;
    }
    assert_eq!(booted, [B, B, B, A, A]);
}

#[test]
fn rollback_goes_to_the_other_version_and_stays_where_there_is_none() {
    let mut disk = Recorder::new(installed());
    let error = roll_back(&mut disk, A).unwrap_err();
    assert_eq!(error.to_string(), "slot b holds no version to go back to");
    update(&mut disk, &running(A, 2), 3).unwrap();
    assert_eq!(roll_back(&mut disk, A).unwrap(), A);
    let failed = Some(Trial { slot: B, tries: 0 });
    assert_eq!(load(&disk).unwrap(), State { blessed: A, trial: failed });
    update(&mut disk, &running(A, 2), 3).unwrap();
    bless(&mut disk, B).unwrap();
    assert_eq!(roll_back(&mut disk, B).unwrap(), A);
    let (slot, number, after) = boot(&disk.now);
    assert_eq!((slot, number), (A, 2));
    let mut disk = Recorder::new(after);
    bless(&mut disk, A).unwrap();
    assert_eq!(load(&disk).unwrap(), State::NEW);
}

#[test]
fn layers_that_are_here_need_not_be_carried() {
    let bytes = file(&manifest(3, false), 3);
    let keys = [key().public()];
    let mut disk = Recorder::new(installed());
    check(&disk, &*bytes, &keys, &running(A, 2)).unwrap();
    apply(&mut disk, &*bytes, &keys, &running(A, 2)).unwrap();
    assert_eq!(boot(&disk.now).1, 3);
    let other = file(&manifest(4, false), 4);
    let error = check(&Recorder::new(installed()), &*other, &keys, &running(A, 2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the update does not carry the system layer, and this node does not have it"
    );
}

#[test]
fn what_is_refused_writes_nothing() {
    let whole = file(&manifest(3, true), 3);
    let keys = [key().public()];
    for (bytes, running) in [
        (&whole[..], running(A, 3)),
        (&whole[..], running(B, 2)),
        (&whole[..100], running(A, 2)),
        (&[], running(A, 2)),
    ] {
        let mut disk = Recorder::new(installed());
        assert!(apply(&mut disk, bytes, &keys, &running).is_err());
        assert!(check(&disk, bytes, &keys, &running).is_err());
        assert!(disk.ops.is_empty(), "{:?}", disk.ops);
    }
    assert!(
        check(&Recorder::new(installed()), &whole[..whole.len() - 1], &keys, &running(A, 2))
            .is_err()
    );
}

#[test]
fn a_disk_that_lies_is_found_out() {
    /// Takes every write to a root partition, and forgets one byte.
    struct Liar(Recorder);
    impl Medium for Liar {
        fn length(&self, place: &Place) -> std::io::Result<Option<u64>> {
            self.0.length(place)
        }
        fn list(&self, folder: &str) -> std::io::Result<Option<Vec<String>>> {
            self.0.list(folder)
        }
        fn read_at(&self, place: &Place, at: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.0.read_at(place, at, buffer)
        }
        fn write_at(&mut self, place: &Place, at: u64, bytes: &[u8]) -> std::io::Result<()> {
            let mut bytes = bytes.to_vec();
            if let (Place::Root(_), Some(byte)) = (place, bytes.last_mut()) {
                *byte ^= 1;
            }
            self.0.write_at(place, at, &bytes)
        }
        fn sync(&mut self, place: &Place) -> std::io::Result<()> {
            self.0.sync(place)
        }
        fn create(&mut self, file: &str) -> std::io::Result<()> {
            self.0.create(file)
        }
        fn rename(&mut self, from: &str, to: &str) -> std::io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&mut self, file: &str) -> std::io::Result<()> {
            self.0.remove(file)
        }
        fn sync_folder(&mut self, folder: &str) -> std::io::Result<()> {
            self.0.sync_folder(folder)
        }
        fn set_ids(&mut self, slot: Slot, ids: PartitionIds) -> std::io::Result<()> {
            self.0.set_ids(slot, ids)
        }
        fn free(&self) -> std::io::Result<u64> {
            self.0.free()
        }
    }
    let mut disk = Liar(Recorder::new(installed()));
    let bytes = file(&manifest(3, true), 3);
    let error = apply(&mut disk, &*bytes, &[key().public()], &running(A, 2)).unwrap_err();
    let cause = error.downcast_ref::<Error>();
    assert!(matches!(cause, Some(Error::Damaged { part: Kind::System })), "{error:#}");
    assert_eq!(boot(&disk.0.now).1, 2);
}

/// Notes what it is asked for.
#[derive(Default)]
struct Notes(Vec<(Slot, PartitionIds)>);

impl SetPartitionIds for Notes {
    fn set_ids(&mut self, slot: Slot, ids: PartitionIds) -> std::io::Result<()> {
        self.0.push((slot, ids));
        Ok(())
    }
}

#[test]
fn files_end_as_the_recorder_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Files::new(folder.path().into(), folder.path().join("esp"), Notes::default());
    let on_disk = |place: &Place| match place {
        Place::Root(slot) => folder.path().join(format!("root-{slot}")),
        Place::Verity(slot) => folder.path().join(format!("verity-{slot}")),
        Place::File(path) => folder.path().join("esp").join(path),
    };
    for (place, content) in installed().places {
        std::fs::create_dir_all(on_disk(&place).parent().unwrap()).unwrap();
        std::fs::write(on_disk(&place), content).unwrap();
    }
    let mut recorder = Recorder::new(installed());
    update(&mut recorder, &running(A, 2), 3).unwrap();
    let bytes = file(&manifest(3, true), 3);
    apply(&mut files, &*bytes, &[key().public()], &running(A, 2)).unwrap();
    for (place, content) in &recorder.now.places {
        assert!(std::fs::read(on_disk(place)).unwrap() == *content, "{place:?}");
    }
    assert!(!on_disk(&Place::File("coremax/b/slot.new".into())).exists());
    assert_eq!(files.table.0, [(B, PartitionIds::of(&Digest::of([3])))]);
}

/// A disk as it may be before an update: slot b empty, holding the version before, on a trial that
/// has not begun, or after one that failed.
fn before(kind: u8) -> Disk {
    let mut disk = Recorder::new(installed());
    if kind > 0 {
        update(&mut disk, &Running { version: "0".parse().unwrap(), ..running(A, 2) }, 1).unwrap();
        let state = load(&disk).unwrap();
        let tries = [0, 0, 3, 1][usize::from(kind)];
        let trial = (kind > 1).then_some(Trial { slot: B, tries });
        save(&mut disk, &State { trial, ..state }).unwrap();
    }
    disk.now
}

fn coin(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state & 8 != 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After every operation, whatever is lost of what was not synced: what boots is whole, it is
    /// the old version until the trial has begun, and the update can be done again.
    #[test]
    fn every_cut_of_an_update_boots(seed: u64, kind in 0u8..4) {
        let mut disk = Recorder::new(before(kind));
        update(&mut disk, &running(A, 2), 3).unwrap();
        let last = disk.ops.iter().rposition(|op| matches!(op, Op::Write(..))).unwrap();
        for done in 0..=disk.ops.len() {
            let left = disk.cut(done, coin(seed.wrapping_add(done as u64)));
            let (slot, number, after) = boot(&left);
            let finished = done > last;
            prop_assert!(number == 2 || finished || kind > 1 && number == 1, "{number} at {done}");
            prop_assert!(done < disk.ops.len() || number == 3);
            if slot == A {
                let mut again = Recorder::new(after);
                update(&mut again, &running(A, 2), 3).unwrap();
                prop_assert_eq!(boot(&again.now).1, 3);
            }
        }
    }

    /// The same for blessing and for going back: the new version or the old, and always whole.
    #[test]
    fn every_cut_of_blessing_and_rollback_boots(seed: u64, tries in 0u8..3) {
        let mut disk = Recorder::new(installed());
        update(&mut disk, &running(A, 2), 3).unwrap();
        save(&mut disk, &State { blessed: A, trial: Some(Trial { slot: B, tries }) }).unwrap();
        let mut blessing = Recorder::new(disk.now);
        bless(&mut blessing, B).unwrap();
        let mut rollback = Recorder::new(blessing.now.clone());
        roll_back(&mut rollback, B).unwrap();
        for disk in [blessing, rollback] {
            for done in 0..=disk.ops.len() {
                let (_, number, after) = boot(&disk.cut(done, coin(seed.wrapping_add(done as u64))));
                prop_assert!([2, 3].contains(&number));
                boot(&after);
            }
        }
    }
}
