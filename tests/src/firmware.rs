//! The host's OVMF, or SeaBIOS, for machines that a test starts itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coremax_secure_boot::enrol;

use crate::{Outcome, expect};

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const CODE_SECURE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const EMPTY: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const MICROSOFT: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// A machine for BIOS, and for UEFI that keeps no secret from its system.
const PLAIN: &str = "-machine q35";
/// A machine whose variables its system cannot write.
const GUARDED: &str = "-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on";

/// What a machine starts by.
#[derive(Debug, Clone)]
pub enum Firmware {
    /// BIOS.
    Bios,
    /// UEFI, which believes everybody.
    Uefi,
    /// UEFI with Secure Boot on, which believes Microsoft.
    Microsoft,
    /// The same, which believes whoever has this certificate, a file in DER.
    OwnKeys(PathBuf),
}

impl Firmware {
    /// QEMU's words for a machine with it; its variables are made anew in `work`.
    ///
    /// # Errors
    /// A skip where the host has no OVMF; failing I/O.
    pub fn arguments(&self, work: &Path) -> Result<Vec<String>, String> {
        let (code, machine, variables) = match self {
            Self::Bios => return Ok(words(PLAIN)),
            Self::Uefi => (CODE, PLAIN, given(EMPTY)?),
            Self::Microsoft => (CODE_SECURE, GUARDED, given(MICROSOFT)?),
            Self::OwnKeys(certificate) => {
                let certificate = fs::read(certificate).map_err(|e| e.to_string())?;
                let enrolled = enrol::enrol(&given(EMPTY)?, &certificate);
                (CODE_SECURE, GUARDED, enrolled.map_err(|e| e.to_string())?)
            }
        };
        is_there(code)?;
        let file = work.join("vars.fd");
        fs::write(&file, variables).map_err(|e| format!("writing {}: {e}", file.display()))?;
        let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={code}");
        let variables = format!("if=pflash,unit=1,format=raw,file={}", file.display());
        let drives = ["-drive".to_owned(), code, "-drive".to_owned(), variables];
        Ok(words(machine).into_iter().chain(drives).collect())
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn given(path: &str) -> Result<Vec<u8>, String> {
    is_there(path)?;
    fs::read(path).map_err(|e| format!("{path}: {e}"))
}

fn is_there(path: &str) -> Outcome {
    expect(Path::new(path).exists(), || format!("skipped: {path} is not here (install ovmf)"))
}
