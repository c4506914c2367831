//! Where the parts of a FAT32 volume lie, and the sectors that say so.

use super::Run;
use crate::{Bytes, Sectors};

/// Clusters are numbered from here; the root folder is the first.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// Below this there are too few clusters for FAT32, as Microsoft counts them.
const SMALLEST: Bytes = Bytes::mib(64);
/// What Windows formats at most; FAT itself could have more.
const LARGEST: Bytes = Bytes::gib(32);
/// Sectors before the tables.
const RESERVED: u32 = 32;
const FSINFO: u8 = 1;
/// Where the copies of boot sector and FSInfo begin.
const BACKUP: u8 = 6;
const SECTOR: u32 = 512;
/// Tables have a multiple of this many sectors, so that clusters begin on a page boundary.
const PAGE: u32 = 8;
/// The table's entry of a file's last cluster.
const END: u32 = 0x0fff_ffff;
/// What runs where a BIOS takes the volume for bootable: "next device, please" (int 18h), then halt.
const NOT_BOOTABLE: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

/// The sizes of a volume's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    sectors: u32,
    table_sectors: u32,
    /// Bytes in a cluster.
    pub(super) cluster: u32,
    /// How many clusters there are for files and folders.
    pub(super) clusters: u32,
}

impl Geometry {
    /// The geometry of a volume of `size`, or what is wrong with that size.
    pub(super) fn new(size: Bytes) -> Result<Self, &'static str> {
        let sectors = u32::try_from(size.0 / Sectors::SIZE).unwrap_or(u32::MAX);
        if !(SMALLEST..=LARGEST).contains(&size) {
            return Err("its size must be from 64 MiB to 32 GiB");
        }
        // Microsoft's sizes: small volumes would not reach 65525 clusters otherwise.
        let cluster_sectors = match size {
            size if size <= Bytes::mib(260) => 1,
            size if size <= Bytes::gib(8) => 8,
            size if size <= Bytes::gib(16) => 16,
            _ => 32,
        };
        // Each cluster needs its sectors and 4 bytes in each of two tables.
        let table_entries = (sectors - RESERVED) / cluster_sectors + FIRST_CLUSTER;
        let table_sectors = (table_entries * 4).div_ceil(SECTOR).next_multiple_of(PAGE);
        let clusters = (sectors - RESERVED - 2 * table_sectors) / cluster_sectors;
        Ok(Self { sectors, table_sectors, cluster: cluster_sectors * SECTOR, clusters })
    }

    /// Where a cluster begins, in bytes.
    pub(super) fn offset(&self, cluster: u32) -> u64 {
        let start = u64::from(RESERVED + 2 * self.table_sectors) * Sectors::SIZE;
        start + u64::from(cluster.saturating_sub(FIRST_CLUSTER)) * u64::from(self.cluster)
    }

    /// Where the two tables begin, in bytes.
    pub(super) fn tables(&self) -> impl Iterator<Item = u64> {
        [RESERVED, RESERVED + self.table_sectors].into_iter().map(|s| Sectors(s.into()).bytes().0)
    }

    /// The allocation table up to the last cluster in use, for runs that follow each other.
    pub(super) fn table(&self, runs: impl Iterator<Item = Run>) -> Vec<u8> {
        let mut table = vec![0x0fff_fff8, END]; // the medium (a disk), and the state (clean)
        for run in runs.filter(|run| run.length > 0) {
            let end = run.start + run.length.div_ceil(self.cluster);
            table.extend(run.start + 1..end);
            table.push(END);
        }
        table.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Boot sector, FSInfo and the copies of both, each with its place in bytes.
    pub(super) fn boot_sectors(&self, id: u32, label: &str, used: usize) -> Vec<(u64, Vec<u8>)> {
        let (boot, info) = (self.boot_sector(id, label), self.info_sector(used));
        let at = |sector: u8| u64::from(sector) * Sectors::SIZE;
        vec![
            (0, boot.clone()),
            (at(FSINFO), info.clone()),
            (at(BACKUP), boot),
            (at(BACKUP + FSINFO), info),
        ]
    }

    fn boot_sector(&self, id: u32, label: &str) -> Vec<u8> {
        let mut sector = vec![0xeb, 0x58, 0x90]; // jump over what follows
        sector.extend(b"COREMAX ");
        sector.extend(512_u16.to_le_bytes());
        sector.extend([(self.cluster / SECTOR).to_le_bytes()[0], RESERVED.to_le_bytes()[0], 0]);
        sector.extend([2, 0, 0, 0, 0]); // two tables; fields of FAT16
        sector.extend([0xf8, 0, 0]); // a disk; a field of FAT16
        sector.extend([63, 0, 255, 0]); // sectors and heads, which nobody counts any more
        sector.extend([0; 4]); // sectors before the partition, which only boot code reads
        sector.extend(self.sectors.to_le_bytes());
        sector.extend(self.table_sectors.to_le_bytes());
        sector.extend([0; 4]); // both tables are kept; version 0
        sector.extend(FIRST_CLUSTER.to_le_bytes());
        sector.extend([FSINFO, 0, BACKUP, 0]);
        sector.extend([0; 12]);
        sector.extend([0x80, 0, 0x29]); // first disk of a BIOS; what follows is there
        sector.extend(id.to_le_bytes());
        sector.extend(super::entry::padded(label));
        sector.extend(b"FAT32   ");
        sector.extend(NOT_BOOTABLE);
        signed(sector, &[0x55, 0xaa])
    }

    fn info_sector(&self, used: usize) -> Vec<u8> {
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        let mut sector = b"RRaA".to_vec();
        sector.resize(484, 0);
        sector.extend(b"rrAa");
        sector.extend(self.clusters.saturating_sub(used).to_le_bytes());
        sector.extend((FIRST_CLUSTER + used).to_le_bytes()); // look for free ones from here
        signed(sector, &[0, 0, 0x55, 0xaa])
    }
}

/// A whole sector with its signature at the end.
fn signed(mut sector: Vec<u8>, signature: &[u8]) -> Vec<u8> {
    sector.resize(SECTOR as usize - signature.len(), 0);
    sector.extend(signature);
    sector
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_bounds() {
        assert!(Geometry::new(Bytes(SMALLEST.0 - 1)).is_err());
        assert!(Geometry::new(Bytes(LARGEST.0 + 1)).is_err());
        let esp = Geometry::new(Bytes::mib(512)).unwrap();
        assert_eq!((esp.cluster, esp.clusters), (4096, 130_812));
    }

    #[test]
    fn a_table_chains_runs() {
        let geometry = Geometry::new(SMALLEST).unwrap();
        let runs =
            [(2, 512), (0, 0), (3, 1025), (6, 1)].map(|(start, length)| Run { start, length });
        let table = geometry.table(runs.into_iter());
        let entries: Vec<u32> =
            table.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(entries, [0x0fff_fff8, END, END, 4, 5, END, END]);
    }

    proptest! {
        #[test]
        fn the_parts_fit(size in SMALLEST.0..=LARGEST.0) {
            let geometry = Geometry::new(Bytes(size)).unwrap();
            prop_assert!(geometry.clusters >= 65_525);
            prop_assert!(geometry.table_sectors * 128 >= geometry.clusters + FIRST_CLUSTER);
            prop_assert!(geometry.offset(FIRST_CLUSTER + geometry.clusters) <= size);
            prop_assert_eq!(geometry.offset(FIRST_CLUSTER) % 4096, 0);
        }
    }
}
