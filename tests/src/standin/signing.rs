//! What signs shim, GRUB and kernel in place of Microsoft and Canonical: sbsign with a key of the test.

use std::{fs, path::Path};

use coremax_sandbox::{Cmd, Sandbox};
use coremax_secure_boot::key;

use crate::failed;

/// The package with sbsign.
const SBSIGNTOOL: &str = "sbsigntool";
/// More signatures than any image has.
const MANY: usize = 8;

/// A key and its certificate.
pub(super) struct Signing {
    work: tempfile::TempDir,
    key: String,
    certificate: String,
}

impl Signing {
    /// A new key. Its certificate goes to `secure-boot.cer` in `folder`.
    pub(super) fn new(folder: &Path) -> Result<Self, String> {
        let pair = key::generate("Stand-in for Canonical").map_err(|e| e.to_string())?;
        let work = tempfile::tempdir().map_err(|e| e.to_string())?;
        let write = |path: &Path, bytes: &[u8]| fs::write(path, bytes).map_err(|e| e.to_string());
        let der = key::certificate_der(&pair.certificate).map_err(|e| e.to_string())?;
        write(&folder.join("secure-boot.cer"), &der)?;
        let [key, certificate] = ["key", "crt"].map(|name| work.path().join(name));
        write(&key, pair.key.as_bytes())?;
        write(&certificate, pair.certificate.as_bytes())?;
        let [key, certificate] = [key, certificate].map(|path| path.display().to_string());
        Ok(Self { work, key, certificate })
    }

    /// An image with no signature but this key's.
    pub(super) fn sign(&self, image: &[u8]) -> Result<Vec<u8>, String> {
        let [plain, signed] = ["plain.efi", "signed.efi"].map(|name| self.path(name));
        fs::write(&plain, self.bare(image)?).map_err(|e| e.to_string())?;
        let words = ["--key", &self.key, "--cert", &self.certificate, "--output", &signed, &plain];
        run("sbsign", &words)?;
        fs::read(&signed).map_err(|e| e.to_string())
    }

    /// An image without its signatures.
    pub(super) fn bare(&self, image: &[u8]) -> Result<Vec<u8>, String> {
        let path = self.path("bare.efi");
        fs::write(&path, image).map_err(|e| e.to_string())?;
        for _ in 0..MANY {
            let listed = run("sbverify", &["--list", &path])?;
            if listed.contains("No signature table present") {
                return fs::read(&path).map_err(|e| e.to_string());
            }
            run("sbattach", &["--remove", &path])?;
        }
        Err("its signatures do not come off".into())
    }

    fn path(&self, name: &str) -> String {
        self.work.path().join(name).display().to_string()
    }
}

/// What a program of sbsigntool says.
fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let ran = Cmd::new(program, &Sandbox::host()).args(words).run();
    let output = ran.map_err(|error| failed(&error, SBSIGNTOOL))?;
    Ok([output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat())
}
