//! What a node has of its own for its cluster: a TLS key made here, the machine's SSH host key, and what the seed gave
//! for both.

mod check;

use std::{
    fs,
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use coremax_channel::{Certified, Papers, Time};
use coremax_node_api::{
    enrol::{Gift, PKCS8, Public, Request, Secret},
    guid::Guid,
    join::{Held, NodeKey},
    roster::Node as Row,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    durable::{once, replace},
    paths,
    prepare::within,
    random,
};

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

/// Whom a gift is for, and from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    /// This machine,
    pub(crate) node: NodeKey,
    /// the row that it has,
    pub(crate) row: &'a Row,
    /// and the seed's.
    pub(crate) seed: &'a Held,
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

    /// What is asked of the seed of this cluster on the channel of this node: others than there are where those name
    /// another machine than this one, or not the row that it has now.
    pub(crate) fn request(&self, cluster: Guid, node: NodeKey, row: Option<&Row>) -> Request {
        let is_ours = |gift: &Gift| {
            Certified::read(gift.certificate.as_bytes()).is_ok_and(|it| {
                it.node == node && row.is_none_or(|row| it.is_of(&row.name, row.address))
            })
        };
        let holds = self.gift().filter(is_ours).map(|gift| gift.held());
        Request::new(cluster, node, &self.tls, self.ssh, holds)
    }

    /// What the seed gave last for these keys. One that cannot be read is none: the next report asks for another.
    pub(crate) fn gift(&self) -> Option<Gift> {
        let kept = self.kept().filter(|kept| kept.tls == self.tls.public() && kept.ssh == self.ssh);
        kept.map(|kept| kept.gift)
    }

    /// What this node proves itself with in TLS, by what the seed gave last, if that holds.
    pub(crate) fn papers(&self, time: Time) -> Option<Papers> {
        let gift = self.gift()?;
        Papers::new(&gift.ca, &gift.certificate, &self.tls, time).ok()
    }

    /// Keeps what the seed gave, after it was looked at.
    ///
    /// # Errors
    /// Where the disk says so, where it is not what this node should be given ([`check`]), and where it is by another
    /// authority than what the same seed gave before: that is another machine, and an operator who has replaced the seed has raised its generation.
    pub(crate) fn keep(&self, gift: &Gift, of: &Of<'_>, time: Time) -> Result<()> {
        let seed = of.seed;
        check::gift(gift, self, of, time).context("the certificates that came are not taken")?;
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
mod tests;
