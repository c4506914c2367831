//! Which partitions a machine boots from, and what to say when there are none: pure.

use coremax_node_api::verity::RootHash;

use super::cmdline::Data;
use crate::gpt::{Guid, Partition, Table};

/// The label of the partition that keeps the machine's state.
pub(crate) const DATA: &str = "data";

/// A disk that was looked at.
#[derive(Debug)]
pub(crate) struct Disk {
    /// As in /dev.
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: u64,
    /// Whether it can be taken out, as a stick.
    pub(crate) removable: bool,
    /// Its table, or why it has none.
    pub(crate) table: Result<Table, String>,
}

/// What to boot from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The disk with root and verity.
    pub(crate) disk: &'a Disk,
    pub(crate) root: &'a Partition,
    pub(crate) verity: &'a Partition,
    /// The data partition and its disk.
    pub(crate) data: Option<(&'a Disk, &'a Partition)>,
}

/// The disk with both halves of the root; of several the one that also has the data, then one that
/// stays in the machine, then the first by name. Where both slots hold the same root, as two versions
/// may, it is that of `slot`: the other one must stay free for the next update.
pub(crate) fn choose<'a>(
    root: RootHash,
    slot: Option<&str>,
    data: &Data,
    disks: impl IntoIterator<Item = &'a Disk> + Clone,
) -> Option<Choice<'a>> {
    let all = disks.clone();
    disks
        .into_iter()
        .filter_map(|disk| {
            let data = match data {
                Data::WithRoot => named(disk, DATA).map(|partition| (disk, partition)),
                Data::Partition(id) => {
                    all.clone().into_iter().find_map(|other| Some((other, with_id(other, *id)?)))
                }
                Data::Nowhere => None,
            };
            let [root, verity] = root.partition_guids();
            let name = slot.map(|slot| format!("root-{slot}"));
            let root = of_slot(disk, root, name.as_deref())?;
            let name = name.map(|name| format!("{name}-verity"));
            let verity = of_slot(disk, verity, name.as_deref())?;
            Some(Choice { disk, root, verity, data })
        })
        .min_by_key(|choice| {
            (choice.data.is_none(), choice.disk.removable, choice.disk.name.clone())
        })
}

/// Whether there is nothing to wait for: a root, and the data where that may be on another disk.
pub(crate) fn is_complete(choice: Option<Choice<'_>>, data: &Data) -> bool {
    choice.is_some_and(|choice| choice.data.is_some() || !matches!(data, Data::Partition(_)))
}

fn partitions(disk: &Disk) -> &[Partition] {
    disk.table.as_ref().map_or(&[], Table::partitions)
}

fn with_id(disk: &Disk, id: Guid) -> Option<&Partition> {
    partitions(disk).iter().find(|partition| partition.id == id)
}

/// The partition with this id, of several the one with this name.
fn of_slot<'a>(disk: &'a Disk, id: Guid, name: Option<&str>) -> Option<&'a Partition> {
    let mut found = partitions(disk).iter().filter(|partition| partition.id == id);
    let named = |partition: &&Partition| name == Some(partition.name.as_str());
    found.clone().find(named).or_else(|| found.next())
}

fn named<'a>(disk: &'a Disk, name: &str) -> Option<&'a Partition> {
    partitions(disk).iter().find(|partition| partition.name == name)
}

/// What was looked for, what was found, and what to do.
pub(crate) fn report<'a>(root: RootHash, disks: impl IntoIterator<Item = &'a Disk>) -> String {
    let [root, verity] = root.partition_guids();
    let mut text = format!(
        "The root was not found.\nLooked for, on one disk:\n  root    PARTUUID {root}\n  verity  PARTUUID \
         {verity}\nFound:\n"
    );
    let before = text.len();
    disks.into_iter().for_each(|disk| describe(disk, &mut text));
    let nothing = text.len() == before;
    if nothing {
        text.push_str("  no disk at all\n");
    }
    text.push_str(advice(nothing));
    text
}

fn describe(disk: &Disk, text: &mut String) {
    let why = disk.table.as_ref().err().map(|why| format!(", {why}")).unwrap_or_default();
    text.push_str(&format!("  /dev/{}  {} MiB{why}\n", disk.name, disk.size >> 20));
    for partition in partitions(disk) {
        let (number, id, name) = (partition.number, partition.id, &partition.name);
        let size = partition.length >> 20;
        text.push_str(&format!("    {number:>3}  {name:<14} PARTUUID {id}  {size} MiB\n"));
    }
}

fn advice(nothing: bool) -> &'static str {
    if nothing {
        "What to do: check that the disk is connected. If it needs a driver that this image's initrd \
         has not, build the image with [kernel] modules = \"metal\".\n"
    } else {
        "What to do: boot the other slot from the boot menu, connect the disk that holds this version, \
         or write the image again.\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::tests::{disk as table, read};

    const HASH: &str = "01070707070707070707070707070707\
                        02070707070707070707070707070707";

    /// A disk whose partitions have GUIDs that begin with these bytes, 0x10 being data.
    fn disk(name: &str, removable: bool, ids: &[u8]) -> Disk {
        let parts: Vec<_> = (0_u64..)
            .zip(ids)
            .map(|(n, &id)| {
                let name = if id & 0x10 == 0 { "root-a" } else { "data" };
                (64 + n * 8, 71 + n * 8, id, name)
            })
            .collect();
        Disk {
            name: name.into(),
            size: 2 << 20,
            removable,
            table: read(&table(4096, &parts)).map_err(|error| error.to_string()),
        }
    }

    fn hash(disk: &Disk) -> RootHash {
        let id = |n: usize| partitions(disk)[n].id.to_string().replace('-', "");
        (id(0) + &id(1)).parse().unwrap()
    }

    #[test]
    fn the_disk_with_both_halves() {
        let whole = || disk("vda", false, &[1, 2, 0x10]);
        let wanted = hash(&whole());
        for (disks, expected) in [
            (vec![], None),
            (vec![disk("vda", false, &[1, 3])], None),
            (vec![disk("vda", false, &[1]), disk("vdb", false, &[2])], None),
            (vec![whole()], Some(("vda", true))),
            (vec![disk("vda", false, &[1, 2])], Some(("vda", false))),
            (
                vec![disk("sda", false, &[1, 2]), disk("sdb", true, &[1, 2, 0x10])],
                Some(("sdb", true)),
            ),
            (
                vec![disk("sda", true, &[1, 2, 0x10]), disk("sdb", false, &[1, 2, 0x10])],
                Some(("sdb", true)),
            ),
            (vec![disk("vdb", false, &[1, 2]), disk("vda", false, &[1, 2])], Some(("vda", false))),
        ] {
            let choice = choose(wanted, None, &Data::WithRoot, &disks);
            let found = choice.map(|choice| (choice.disk.name.as_str(), choice.data.is_some()));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn of_two_equal_roots_the_slot_s_own() {
        let parts = [(64, 71, 1, "root-a"), (72, 79, 2, "root-a-verity")];
        let twice = [(80, 87, 1, "root-b"), (88, 95, 2, "root-b-verity")];
        let read = read(&table(4096, &[parts, twice].concat()));
        let table = read.map_err(|error| error.to_string());
        let disks = [Disk { table, ..disk("vda", false, &[]) }];
        for (slot, want) in [
            (Some("a"), ["root-a", "root-a-verity"]),
            (Some("b"), ["root-b", "root-b-verity"]),
            (Some("c"), ["root-a", "root-a-verity"]),
            (None, ["root-a", "root-a-verity"]),
        ] {
            let choice = choose(hash(&disks[0]), slot, &Data::WithRoot, &disks).unwrap();
            assert_eq!([&*choice.root.name, &*choice.verity.name], want, "{slot:?}");
        }
    }

    #[test]
    fn data_may_be_elsewhere_or_nowhere() {
        let disks = [disk("sda", false, &[1, 2, 0x10]), disk("sdb", false, &[0x11])];
        let id = partitions(&disks[1])[0].id;
        let place = |data| {
            choose(hash(&disks[0]), None, &data, &disks)
                .unwrap()
                .data
                .map(|(disk, _)| disk.name.as_str())
        };
        assert_eq!(place(Data::WithRoot), Some("sda"));
        assert_eq!(place(Data::Partition(id)), Some("sdb"));
        assert_eq!(place(Data::Nowhere), None);
        for (data, complete) in [
            (Data::Nowhere, true),
            (Data::WithRoot, true),
            (Data::Partition(id), true),
            (Data::Partition(Guid::from_bytes([9; 16])), false),
        ] {
            let choice = choose(hash(&disks[0]), None, &data, &disks);
            assert_eq!(is_complete(choice, &data), complete, "{data:?}");
        }
        assert!(!is_complete(None, &Data::Nowhere));
    }

    #[test]
    fn a_report_says_what_was_looked_for_found_and_what_to_do() {
        let hash: RootHash = HASH.parse().unwrap();
        let none = report(hash, []);
        assert!(
            none.contains("01070707-0707-0707-0707-070707070707") && none.contains("no disk"),
            "{none}"
        );
        let empty = Disk { table: Err("no GPT: empty".into()), ..disk("sdb", false, &[]) };
        let found = report(hash, [&disk("vda", false, &[3, 0x10]), &empty]);
        for part in [
            "/dev/vda  2 MiB\n",
            "  2  data ",
            "/dev/sdb  2 MiB, no GPT: empty",
            "What to do: boot the other",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
}
