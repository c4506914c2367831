//! Judged by programs that others wrote: sbverify of what is signed, objcopy of what is put together.
//! Each test skips, and says so, without its own.

#![allow(clippy::unwrap_used)] // what helps a test may fail as the test does

use std::{fs, path::Path};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_secure_boot::{
    Error, Signer, enrol, key,
    uki::{self, Section},
};
use coremax_skip::skip;

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The file of a package; without it the reason for a skip.
fn given(path: &str, package: &str) -> Option<Vec<u8>> {
    let content = fs::read(path).ok();
    if content.is_none() {
        skip(format!("{path} is not here (install {package})"));
    }
    content
}

/// Whether a program ends well, and what it said; without it the reason for a skip.
fn oracle(program: &str, arguments: &[&Path]) -> Option<(bool, String)> {
    match Cmd::new(program, &Sandbox::host()).args(arguments).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
        }
        Err(error) => {
            skip(format!("{error} (install sbsigntool and binutils)"));
            None
        }
    }
}

#[test]
fn sbverify_takes_what_is_signed_and_nothing_else() {
    let Some(stub) = given(STUB, "systemd-boot-efi") else { return };
    let Some(loader) = given(LOADER, "systemd-boot-efi") else { return };
    let (own, other) = (key::generate("own").unwrap(), key::generate("other").unwrap());
    let signer = Signer::load(&own.key, &own.certificate).unwrap();
    assert!(matches!(Signer::load(&own.key, &other.certificate), Err(Error::NotAPair)));
    let sections = [
        Section { name: ".cmdline", content: b"quiet" },
        Section { name: ".linux", content: &[7; 70_001] },
    ];
    let unified = uki::assemble(&stub, &sections).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [own_file, other_file, image] =
        ["own", "other", "image"].map(|name| folder.path().join(name));
    fs::write(&own_file, &own.certificate).unwrap();
    fs::write(&other_file, &other.certificate).unwrap();
    let verified = |bytes: &[u8], by: &Path| {
        fs::write(&image, bytes).unwrap();
        oracle("sbverify", &["--cert".as_ref(), by, &image])
    };
    for program in [unified, loader] {
        let signed = signer.sign(&program).unwrap();
        assert_eq!(
            signed,
            signer.sign(&signed).unwrap(),
            "the same bytes, and one signature alone"
        );
        let Some((ok, said)) = verified(&signed, &own_file) else { return };
        assert!(ok, "{said}");
        for at in [0x41, 0x400, program.len() / 2, program.len() - 1] {
            let mut flipped = signed.clone();
            flipped[at] ^= 1;
            let (ok, said) = verified(&flipped, &own_file).unwrap();
            assert!(!ok, "a flipped byte at {at:#x}: {said}");
        }
        assert!(!verified(&signed, &other_file).unwrap().0, "another's certificate");
        assert!(!verified(&program, &own_file).unwrap().0, "no signature");
    }
}

#[test]
fn objcopy_finds_the_sections() {
    let Some(stub) = given(STUB, "systemd-boot-efi") else { return };
    let kernel = [9; 5000];
    let image = uki::assemble(&stub, &[Section { name: ".linux", content: &kernel }]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [file, section] = ["image", "section"].map(|name| folder.path().join(name));
    fs::write(&file, image).unwrap();
    let dump = format!(".linux={}", section.display());
    let arguments = ["-O", "binary", "--dump-section", &dump].map(Path::new);
    let arguments = [&arguments[..], &[&file, "/dev/null".as_ref()]].concat();
    let Some((ok, said)) = oracle("objcopy", &arguments) else { return };
    assert!(ok, "{said}");
    assert!(fs::read(section).unwrap().starts_with(&kernel));
}

#[test]
fn a_certificate_fits_into_ovmf_s_variables() {
    let Some(empty) = given(VARIABLES, "ovmf") else { return };
    let certificate = key::certificate_der(&key::generate("own").unwrap().certificate).unwrap();
    let enrolled = enrol::enrol(&empty, &certificate).unwrap();
    assert_eq!(enrolled.len(), empty.len());
    let times = enrolled.windows(certificate.len()).filter(|bytes| *bytes == certificate).count();
    assert_eq!(times, 3, "PK, KEK and db");
}
