//! The endorsement key of a TPM 2.0, by the certificate that its maker wrote into it: TPM 2.0 Library, part 3, chapters 31.6
//! (TPM2_NV_ReadPublic) and 31.13 (TPM2_NV_Read), and for where it is TCG's EK Credential Profile 2.5, chapter 2.2.1.4.
//!
//! It is read and not asked to prove anything: whoever can lie about MACs can lie about this.

use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _, SliceReader},
};

/// The kernel's way to it that others do not get in the way of.
pub(super) const DEVICE: &str = "/dev/tpmrm0";
/// Where certificates of keys are: RSA 2048, P-256, P-384, RSA 3072.
const INDEXES: [u32; 4] = [0x01c0_0002, 0x01c0_000a, 0x01c0_0016, 0x01c0_001c];
/// Bytes of a certificate, at most. Set here: they have one or two thousand.
const CERTIFICATE_MAX: u16 = 8192;
/// Bytes that are read at a time: every TPM has a buffer for so many.
const AT_ONCE: u16 = 512;
/// Bytes of an answer, at most: the kernel's TPM_BUFSIZE.
const ANSWER_MAX: usize = 4096;
const HEADER: usize = 10;
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const NV_READ_PUBLIC: u32 = 0x0169;
/// TPM_RC_HANDLE of the first handle: there is no such index.
const NO_INDEX: [u8; 4] = 0x18b_u32.to_be_bytes();
const NV_READ: u32 = 0x014e;
/// TPM_RS_PW with an empty password: a handle, no nonce, no attributes, no password.
const NO_PASSWORD: [u8; 9] = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];

/// The SHA-256 of the endorsement key, as certificates have it (SubjectPublicKeyInfo); nothing where there is no TPM at
/// this device, or none that says.
pub(super) fn endorsement(device: &Path) -> Option<[u8; 32]> {
    let mut tpm = OpenOptions::new().read(true).write(true).open(device).ok()?;
    of(&mut tpm)
}

/// By the first index that has something: one that fails this once is not passed over, or the next one's key would make
/// the machine another one.
fn of<T: Read + Write>(tpm: &mut T) -> Option<[u8; 32]> {
    for index in INDEXES {
        match stored(tpm, index) {
            Ok(bytes) => return key(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    None
}

/// Behind the certificate there may be what was never written.
fn key(bytes: &[u8]) -> Option<[u8; 32]> {
    let certificate = Certificate::decode(&mut SliceReader::new(bytes).ok()?).ok()?;
    let key = certificate.tbs_certificate.subject_public_key_info.to_der().ok()?;
    Some(Sha256::digest(key).into())
}

/// What is at an index that anybody may read.
fn stored<T: Read + Write>(tpm: &mut T, index: u32) -> io::Result<Vec<u8>> {
    let size = size(tpm, index)?.min(CERTIFICATE_MAX);
    let mut bytes = Vec::new();
    while bytes.len() < usize::from(size) {
        let offset = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        let length = AT_ONCE.min(size - offset);
        let handles = [index.to_be_bytes(), index.to_be_bytes()].concat();
        let session = [&9_u32.to_be_bytes()[..], &NO_PASSWORD].concat();
        let part = [length.to_be_bytes(), offset.to_be_bytes()].concat();
        let answer = ask(tpm, SESSIONS, NV_READ, &[handles, session, part].concat())?;
        // How long its parameters are, and then the only one, with its length.
        let data = answer.get(4..).and_then(sized).filter(|data| data.len() == usize::from(length));
        bytes.extend_from_slice(data.ok_or(io::ErrorKind::InvalidData)?);
    }
    Ok(bytes)
}

/// TPMS_NV_PUBLIC ends with it.
fn size<T: Read + Write>(tpm: &mut T, index: u32) -> io::Result<u16> {
    let answer = ask(tpm, NO_SESSIONS, NV_READ_PUBLIC, &index.to_be_bytes())?;
    let size = sized(&answer).and_then(|public| public.last_chunk());
    size.map(|size| u16::from_be_bytes(*size)).ok_or(io::ErrorKind::InvalidData.into())
}

/// A TPM2B: bytes after their length.
fn sized(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// What follows the header of an answer that is no error.
fn ask<T: Read + Write>(tpm: &mut T, tag: u16, code: u32, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let header = [&tag.to_be_bytes()[..], &length.to_be_bytes(), &code.to_be_bytes()].concat();
    // A command is one write, and its answer one read.
    tpm.write_all(&[&header, body].concat())?;
    let mut answer = vec![0; ANSWER_MAX];
    let length = tpm.read(&mut answer)?;
    answer.truncate(length);
    match answer.get(6..HEADER) {
        Some([0, 0, 0, 0]) => Ok(answer.split_off(HEADER)),
        Some(code) if code == NO_INDEX => Err(io::ErrorKind::NotFound.into()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixStream, thread, time::Duration};

    use coremax_sandbox::{Cmd, Sandbox};
    use proptest::prelude::*;

    use super::*;

    /// A program's end; not where it is not there, which is a skip.
    fn runs(program: &str, arguments: &[&str]) -> bool {
        match Cmd::new(program, &Sandbox::host()).args(arguments).run() {
            Ok(_) => true,
            Err(error) if error.hint().is_some() => {
                coremax_skip::skip(format_args!("{error}"));
                false
            }
            Err(error) => panic!("{program} {arguments:?}: {error}"),
        }
    }

    #[test]
    fn a_tpm_of_software_has_the_key_that_its_maker_certified() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (state, socket, made) = (at("state"), at("socket"), at("made"));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&made).unwrap();
        let setup = ["--tpm2", "--tpmstate", &state, "--create-ek-cert"];
        if !runs("swtpm_setup", &[&setup[..], &["--write-ek-cert-files", &made]].concat()) {
            return;
        }
        let arguments = ["socket", "--tpm2", "--tpmstate", &format!("dir={state}"), "--server"];
        let server = [&format!("type=unixio,path={socket}"), "--flags", "startup-clear"];
        let swtpm = Cmd::new("swtpm", &Sandbox::host()).args(arguments).args(server);
        let _swtpm = swtpm.spawn().unwrap();
        let mut tpm = loop {
            match UnixStream::connect(&socket) {
                Ok(tpm) => break tpm,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        let found = of(&mut tpm).expect("a key");
        // What OpenSSL finds in the certificate that was written beside it.
        let mut certificates = fs::read_dir(&made).unwrap().flatten().map(|file| file.path());
        let rsa = certificates.find(|path| path.display().to_string().contains("rsa"));
        let rsa = rsa.unwrap().display().to_string();
        let script = "openssl x509 -inform der -in \"$1\" -noout -pubkey | openssl pkey -pubin -outform der -out \"$2\"";
        if runs("sh", &["-c", script, "sh", &rsa, &at("key")]) {
            assert_eq!(found, <[u8; 32]>::from(Sha256::digest(fs::read(at("key")).unwrap())));
        }
    }

    #[test]
    fn no_tpm_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(endorsement(&folder.path().join("tpmrm0")), None);
        assert_eq!(endorsement(Path::new("/dev/null")), None);
        assert_eq!(endorsement(Path::new("/dev/zero")), None);
    }

    /// Answers whatever it is asked with these.
    struct Liar(Vec<Vec<u8>>);

    impl Read for Liar {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.pop().unwrap_or_default().as_slice().read(buffer)
        }
    }

    impl Write for Liar {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn foreign_answers_never_panic(
            mut answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..9),
            is_good in any::<bool>(),
        ) {
            for answer in answers.iter_mut().filter(|answer| is_good && answer.len() >= HEADER) {
                answer[6..HEADER].fill(0);
            }
            prop_assert_eq!(of(&mut Liar(answers)), None);
        }
    }
}
