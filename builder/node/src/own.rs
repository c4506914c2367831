//! What a node has of its own for its cluster: a TLS key made here, the machine's SSH host key, and what the seed gave
//! for both.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use coremax_node_api::{
    enrol::{Gift, Public, Request, Secret},
    guid::Guid,
    join::{Held, NodeKey},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    durable::{once, replace},
    paths,
    prepare::within,
    random,
};

/// PKCS#8 of an Ed25519 key up to its 32 bytes: RFC 8410, 7.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const END: &str = "\n-----END PRIVATE KEY-----\n";
/// Bytes of the file of a key, at most: it has 119.
const KEY_MAX: usize = 256;
/// Bytes of what the seed gave, at most, as it is kept. Set here: the bounds of its parts leave it half of that.
const GIFT_MAX: u64 = 16 << 10;

/// The keys that certificates are asked for.
pub(crate) struct Own {
    tls: Secret,
    ssh: Public,
    gift: PathBuf,
}

/// A gift with the keys that it is for: made anew, they need another one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    tls: Public,
    ssh: Public,
    /// The seed's row, as the roster has it.
    seed: Held,
    gift: Gift,
}

impl Own {
    /// Reads them, below `root`. A TLS key that is not there yet is made; the host key is made by ssh-host-key.service.
    ///
    /// # Errors
    /// Where one cannot be read, is damaged, or is not there yet.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let [tls, ssh, gift] = [paths::TLS_KEY, paths::SSH_HOST_KEY, paths::GIFT];
        Self::at(&within(root, tls), &within(root, ssh), &within(root, gift))
    }

    pub(crate) fn at(tls: &Path, ssh: &Path, gift: &Path) -> Result<Self> {
        let about = |path: &Path| format!("reading the key in {}", path.display());
        let host = fs::read_to_string(ssh).with_context(|| about(ssh))?;
        let host = Public::parse_ssh(&host).with_context(|| about(ssh))?;
        let key = key(tls).with_context(|| about(tls))?;
        Ok(Self { tls: key, ssh: host, gift: gift.to_owned() })
    }

    /// What is asked of the seed of this cluster on the channel of this node.
    pub(crate) fn request(&self, cluster: Guid, node: NodeKey) -> Request {
        let holds = self.gift().map(|gift| gift.held());
        Request::new(cluster, node, &self.tls, self.ssh, holds)
    }

    /// What the seed gave last for these keys. One that cannot be read is none: the next report asks for another.
    pub(crate) fn gift(&self) -> Option<Gift> {
        let kept = self.kept().filter(|kept| kept.tls == self.tls.public() && kept.ssh == self.ssh);
        kept.map(|kept| kept.gift)
    }

    /// Keeps what the seed gave that has this row.
    ///
    /// # Errors
    /// Where the disk says so, and where it is by another authority than what the same seed gave before: that is another
    /// machine, and an operator who has replaced the seed has raised its generation.
    pub(crate) fn keep(&self, gift: &Gift, seed: &Held) -> Result<()> {
        let is_another =
            |kept: &Kept| kept.seed == *seed && kept.gift.authority() != gift.authority();
        ensure!(
            !self.kept().is_some_and(|kept| is_another(&kept)),
            "certificates by another authority than this node's, of the same seed {}, are not taken",
            seed.name
        );
        let kept =
            Kept { tls: self.tls.public(), ssh: self.ssh, seed: seed.clone(), gift: gift.clone() };
        let text = serde_json::to_string(&kept).context("writing the certificates")?;
        replace(&self.gift, text.as_bytes(), 0o644)
            .with_context(|| format!("keeping the certificates in {}", self.gift.display()))
    }

    fn kept(&self) -> Option<Kept> {
        let mut text = Vec::new();
        fs::File::open(&self.gift).ok()?.take(GIFT_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

fn key(path: &Path) -> Result<Secret> {
    match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match once(path, new()?.as_bytes(), 0o600) {
                // Another one was quicker.
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    Err(error).context("keeping a new one")
                }
                _ => parse(fs::File::open(path)?),
            }
        }
        opened => parse(opened?),
    }
}

fn new() -> Result<Zeroizing<String>> {
    let mut pkcs8 = Zeroizing::new([0; 48]);
    let (head, seed) = pkcs8.split_at_mut(PKCS8.len());
    head.copy_from_slice(&PKCS8);
    random::fill(seed)?;
    let mut text = Zeroizing::new(String::with_capacity(KEY_MAX));
    text.push_str(BEGIN);
    STANDARD.encode_string(pkcs8.as_slice(), &mut text);
    text.push_str(END);
    Ok(text)
}

fn parse(file: fs::File) -> Result<Secret> {
    let damaged =
        || anyhow!("it is no Ed25519 key in PKCS#8; a reset of this machine makes another one");
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_MAX + 1));
    file.take(KEY_MAX as u64).read_to_end(&mut text)?;
    let body =
        text.strip_prefix(BEGIN.as_bytes()).and_then(|rest| rest.strip_suffix(END.as_bytes()));
    let mut pkcs8 = Zeroizing::new([0; 51]); // as much room as decoding asks for
    let length =
        STANDARD.decode_slice(body.ok_or_else(damaged)?, &mut *pkcs8).map_err(|_| damaged())?;
    let seed = pkcs8[..length].strip_prefix(&PKCS8).and_then(|seed| seed.try_into().ok());
    Ok(Secret::from_seed(seed.ok_or_else(damaged)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use coremax_node_api::enrol::{Der, Window};
    use coremax_sandbox::{Cmd, Sandbox};

    use super::*;

    const CLUSTER: Guid = Guid::literal(1);
    const NODE: NodeKey = NodeKey([7; 32]);

    fn own(folder: &Path, host: u8) -> Result<Own> {
        let ssh = folder.join("host.pub");
        let public = Secret::from_seed(&[host; 32]).public();
        fs::write(&ssh, format!("{} root@host\n", public.to_ssh())).unwrap();
        Own::at(&folder.join("tls/node.key"), &ssh, &folder.join("gift.json"))
    }

    fn gift() -> Gift {
        let public = |number| Secret::from_seed(&[number; 32]).public();
        let line = "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned();
        Gift {
            ca: Der::new(vec![1]).unwrap(),
            certificate: Der::new(vec![2]).unwrap(),
            ssh_hosts: public(3),
            ssh_users: public(4),
            ssh_certificate: line.try_into().unwrap(),
            valid: Window::at(0),
        }
    }

    fn seed(generation: u32) -> Held {
        Held { name: "control-1".parse().unwrap(), generation }
    }

    #[test]
    fn a_key_is_made_once_and_openssl_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls/node.key");
        let first = own(folder.path(), 1).unwrap().request(CLUSTER, NODE);
        assert!(first.is_proven(CLUSTER, NODE));
        assert_eq!(own(folder.path(), 1).unwrap().request(CLUSTER, NODE), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let arguments = ["pkey", "-pubout", "-outform", "DER", "-in"];
        let ran = Cmd::new("openssl", &Sandbox::host()).args(arguments).arg(&path).run();
        match ran {
            Ok(output) => assert!(output.stdout.ends_with(first.tls.as_bytes())),
            Err(error) if error.hint().is_some() => {
                coremax_skip::skip(format_args!("{error} (install openssl)"));
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_damaged_key_is_said_and_left() {
        let folder = tempfile::tempdir().unwrap();
        own(folder.path(), 1).unwrap();
        let path = folder.path().join("tls/node.key");
        let whole = fs::read_to_string(&path).unwrap();
        for bad in ["", &whole[..60], &whole.replace("MC4C", "MC4D"), &whole.replace("\n", "\n\n")]
        {
            fs::write(&path, bad).unwrap();
            let error = format!("{:#}", own(folder.path(), 1).err().unwrap());
            assert!(error.contains("PKCS#8"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_gift_is_kept_for_the_keys_that_it_is_for() {
        let folder = tempfile::tempdir().unwrap();
        let first = own(folder.path(), 1).unwrap();
        assert_eq!(first.request(CLUSTER, NODE).holds, None);
        first.keep(&gift(), &seed(0)).unwrap();
        let other = Gift { ca: Der::new(vec![9]).unwrap(), ..gift() };
        let error = first.keep(&other, &seed(0)).unwrap_err().to_string();
        assert!(error.contains("by another authority"), "{error}");
        first.keep(&other, &seed(1)).unwrap();
        first.keep(&gift(), &seed(2)).unwrap();
        let again = own(folder.path(), 1).unwrap();
        assert_eq!(again.gift(), Some(gift()));
        assert_eq!(again.request(CLUSTER, NODE).holds, Some(gift().held()));
        assert_eq!(own(folder.path(), 2).unwrap().gift(), None, "another host key");
        fs::remove_file(folder.path().join("tls/node.key")).unwrap();
        assert_eq!(own(folder.path(), 1).unwrap().gift(), None, "another TLS key");
        fs::write(folder.path().join("gift.json"), "{").unwrap();
        assert_eq!(first.gift(), None);
    }
}
