//! One machine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{
    Firmware,
    guest::{Disk, Guest, Machine, Network},
};

use crate::operator::Operator;

/// How a machine is told its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A volume labelled COREMAX, with the signed roster.
    Volume,
    /// QEMU's fw_cfg.
    FwCfg,
    /// OpenStack's config drive.
    ConfigDrive,
    /// fw_cfg, with another key of the same id.
    WrongKey,
    /// Not at all.
    None,
}

/// A machine to be.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) number: u8,
    medium: Medium,
    /// What else QEMU is told.
    more: Vec<String>,
}

/// The card of a machine.
pub(crate) fn mac(number: u8) -> String {
    format!("52:54:00:77:00:{number:02x}")
}

/// What Ceph is to have, in bytes.
const OSD: u64 = 64 << 20;

impl Node {
    pub(crate) fn new(number: u8, medium: Medium) -> Self {
        Self { number, medium, more: Vec::new() }
    }

    /// The same with what else QEMU is told.
    pub(crate) fn with(mut self, more: &[&str]) -> Self {
        self.more = more.iter().copied().map(str::to_owned).collect();
        self
    }

    /// Where its disk is, or is to be.
    pub(crate) fn disk(&self, operator: &Operator) -> Result<PathBuf, String> {
        let work = self.folder(operator);
        fs::create_dir_all(&work).map_err(|e| e.to_string())?;
        Ok(work.join("disk.raw"))
    }

    /// Starts it with its own disk, a copy of the image where it has none yet.
    pub(crate) fn boot(
        &self,
        operator: &Operator,
        image: &Path,
        socket: &Path,
    ) -> Result<Guest, String> {
        let (work, disk) = (self.folder(operator), self.disk(operator)?);
        if !disk.exists() {
            copy(image, &disk)?;
        }
        let (firmware, mac) = (Firmware::Bios, mac(self.number));
        let machine = Machine {
            firmware: &firmware,
            disk: Disk::Raw(&disk),
            files: None,
            processors: 1,
            network: Network::Switch { socket, mac: &mac },
            work: &work,
        };
        let more = [self.told(operator), self.hardware(&work)?, self.more.clone()].concat();
        Guest::start_with(&machine, &more)
    }

    fn folder(&self, operator: &Operator) -> PathBuf {
        operator.file(&format!("machine-{}", self.number))
    }

    /// Its medium, for QEMU.
    fn told(&self, operator: &Operator) -> Vec<String> {
        let volume = |file: &str| {
            let drive = operator.file(file).display().to_string();
            let drive = format!("if=none,id=medium,format=raw,readonly=on,file={drive}");
            vec!["-drive".into(), drive, "-device".into(), "virtio-blk-pci,drive=medium".into()]
        };
        let fw_cfg = |file: &str| {
            let file = operator.file(file).display().to_string();
            vec!["-fw_cfg".into(), format!("name=opt/coremax/identity,file={file}")]
        };
        match self.medium {
            Medium::Volume => volume("cluster.seed.img"),
            Medium::ConfigDrive => volume("drive.img"),
            Medium::FwCfg => fw_cfg("cluster.identity.json"),
            Medium::WrongKey => fw_cfg("wrong.identity.json"),
            Medium::None => Vec::new(),
        }
    }

    /// Its serial number and UUID, and the disk that the roster names for Ceph.
    fn hardware(&self, work: &Path) -> Result<Vec<String>, String> {
        let osd = work.join("osd.raw");
        let made = File::options().create(true).append(true).open(&osd);
        made.and_then(|file| file.set_len(OSD)).map_err(|e| e.to_string())?;
        let number = self.number;
        let system = format!(
            "type=1,serial=machine-{number},uuid=6c1d2f5e-4a1b-4f0e-9c3d-0000000000{number:02x}"
        );
        let drive = format!("if=none,id=osd,format=raw,cache=unsafe,file={}", osd.display());
        let words = ["-drive", &drive, "-device", "virtio-blk-pci,drive=osd,serial=osd"];
        Ok(["-smbios", &system].into_iter().chain(words).map(str::to_owned).collect())
    }
}

/// Holes stay holes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = Cmd::new("cp", &Sandbox::host()).arg("--sparse=always").args([from, to]).run();
    copied.map(drop).map_err(|e| e.to_string())
}
