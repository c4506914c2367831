//! Nodes that have their certificates speak TLS, and nobody is let in there without one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use coremax_node_api::{
    cluster_status::Spoken,
    enrol::PKCS8,
    wire::{ALPN, PORT},
};
use coremax_sandbox::{Cmd, Sandbox};
use coremax_tests::{Outcome, expect, failed};

use crate::{Stage, cluster::Cluster, site::Site};

const GIFT: &str = "root/var/lib/coremax/gift.json";

pub(crate) fn speak(stage: &Stage) -> Outcome {
    let mut site = stage.site("tls", Cluster::of(3))?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add_seed()?;
    site.add(2, &identity)?;
    site.add(3, &identity)?;
    site.is_formed()?;
    all_speak_tls(&mut site)?;
    // Off, so that its seat is free.
    site.machine(2).kill()?;
    let own = site.machine(2).path("root/var/lib/coremax/tls");
    let (same, other, strangers) =
        (made(&mut site, 2, true)?, made(&mut site, 3, true)?, made(&mut site, 1, false)?);
    for (what, shows, want) in [
        ("a node's", Some(&own), true),
        ("the same, as the cluster's authority might give it", Some(&same), true),
        ("one of another row", Some(&other), false),
        ("no", None, false),
        ("one of another authority", Some(&strangers), false),
    ] {
        let (is_in, said) = connect(&mut site, shows)?;
        expect(is_in == want, || format!("with {what}: let in {is_in}: {said}"))?;
    }
    site.until("the seed has counted them", |site| {
        let seed = site.machine(1).status().and_then(|status| status.seed);
        let counted = |why| Some(seed.as_ref()?.turned_away.get(why).copied().unwrap_or_default());
        Ok((counted("bad-certificate"), counted("other-names")) == (Some(2), Some(1)))
    })?;
    fall_back(&mut site)?;
    site.is_small()?;
    another_authority(&mut site)
}

/// A node whose certificate is not its own, one that has none, and a seed that has none: each gets one by the channel.
fn fall_back(site: &mut Site) -> Outcome {
    let (second, third) = (site.machine(2).path(GIFT), site.machine(3).path(GIFT));
    let read = |path: &Path| -> Result<serde_json::Value, String> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (mut spoilt, others) = (read(&second)?, read(&third)?);
    spoilt["gift"]["certificate"] = others["gift"]["certificate"].clone();
    fs::write(&second, spoilt.to_string()).map_err(|error| error.to_string())?;
    for number in [1, 3] {
        site.machine(number).kill()?;
        let gift = site.machine(number).path(GIFT);
        fs::remove_file(&gift).map_err(|error| format!("{}: {error}", gift.display()))?;
    }
    for number in 1..=3 {
        site.machine(number).start()?;
    }
    site.until("all have certificates again, and their own", |site| {
        let gifts = (1..=3).filter_map(|number| read(&site.machine(number).path(GIFT)).ok());
        let gifts: Vec<_> = gifts.map(|kept| kept["gift"]["certificate"].clone()).collect();
        Ok(gifts.len() == 3 && gifts.iter().all(|it| *it != others["gift"]["certificate"]))
    })?;
    all_speak_tls(site)
}

/// A seed that has lost its authority has certificates by another one, which the others do not take: they are heard all the
/// same, by the channel.
fn another_authority(site: &mut Site) -> Outcome {
    site.machine(1).kill()?;
    for lost in ["root/var/lib/coremax/authority/keys", GIFT] {
        let path = site.machine(1).path(lost);
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    site.machine(1).start()?;
    let mut said = String::new();
    let heard = site.until("the others are heard by the channel", |site| {
        let seed = site.machine(1).status().and_then(|status| status.seed);
        let bad = seed.as_ref().and_then(|seed| seed.turned_away.get("bad-certificate").copied());
        let heard = seed.iter().flat_map(|seed| &seed.peers).filter(|peer| peer.heard.is_some());
        let (heard, bad) = (heard.count(), bad.unwrap_or_default());
        let spoken: Vec<_> = (2..=3).map(|number| site.machine(number).status()?.channel).collect();
        said = format!("{heard} heard, {bad} with a bad certificate, {spoken:?}");
        Ok(heard == 3 && bad >= 2 && spoken == [Some(Spoken::Noise); 2])
    });
    heard.map_err(|why| format!("{why}: {said}"))
}

fn all_speak_tls(site: &mut Site) -> Outcome {
    let mut said = String::new();
    let speak = site.until("all speak TLS", |site| {
        let spoken = (1..=3).map(|number| site.machine(number).status()?.channel);
        let spoken: Vec<_> = spoken.collect();
        said = format!("{spoken:?}");
        Ok(spoken == [Some(Spoken::Tls); 3])
    });
    speak.map_err(|why| format!("{why}: {said}"))
}

/// A certificate for the key of the second machine's certificate that names that machine and the row with this number, by
/// an authority of its own or by the cluster's: a folder with it.
fn made(site: &mut Site, row: u8, is_clusters: bool) -> Result<PathBuf, String> {
    let folder = site.machine(2).path(&format!("made-{row}"));
    let (tls, key) = (site.machine(2).path("root/var/lib/coremax/tls"), folder.join("ca.key"));
    let members = site.members()?;
    let node = &members.iter().find(|(name, _)| name == "control-2").ok_or("no control-2")?.1;
    let address = site.cluster.address(row);
    let settings = format!(
        "[req]\ndistinguished_name = name\nx509_extensions = all\n[name]\n[all]\n\
         basicConstraints = critical, CA:FALSE\nextendedKeyUsage = serverAuth, clientAuth\n\
         subjectAltName = DNS:control-{row}, IP:{address}, URI:urn:coremax:node:{node}\n"
    );
    let authority = site.machine(1).read("root/var/lib/coremax/authority/keys");
    let write = || {
        fs::create_dir(&folder)?;
        fs::write(folder.join("settings"), settings)?;
        fs::write(&key, pkcs8(&authority))
    };
    write().map_err(|error| format!("{}: {error}", folder.display()))?;
    let words = "req -x509 -config settings -subj /CN=node -out node.pem -key";
    let openssl = Cmd::new("openssl", &Sandbox::host()).current_dir(&folder);
    let openssl = openssl.args(words.split(' ')).arg(tls.join("node.key"));
    let openssl = match is_clusters {
        true => openssl.arg("-CA").arg(tls.join("ca.pem")).args(["-CAkey", "ca.key"]),
        false => openssl,
    };
    let ran = openssl.run().map(drop).map_err(|error| failed(&error, "openssl"));
    fs::remove_file(&key).map_err(|error| format!("{}: {error}", key.display()))?;
    ran.map(|()| folder)
}

/// The key for X.509 in the file of an authority: the first of four.
fn pkcs8(authority: &str) -> String {
    let seeds = authority.split_whitespace().last().and_then(|keys| STANDARD.decode(keys).ok());
    let seed = seeds.unwrap_or_default().into_iter().take(32);
    let whole = STANDARD.encode(PKCS8.into_iter().chain(seed).collect::<Vec<_>>());
    format!("-----BEGIN PRIVATE KEY-----\n{whole}\n-----END PRIVATE KEY-----\n")
}

/// Whether the seed keeps a connection of OpenSSL's from the third machine, with the certificate in this folder and its key, and
/// what that says.
fn connect(site: &mut Site, shows: Option<&PathBuf>) -> Result<(bool, String), String> {
    let seed = site.cluster.address(1);
    let key = site.machine(2).path("root/var/lib/coremax/tls/node.key");
    let ca = site.machine(3).path("root/var/lib/coremax/tls/ca.pem");
    let inside = String::from_utf8_lossy(ALPN);
    let command = Cmd::new("ip", &Sandbox::host())
        .args(["netns", "exec", site.machine(3).namespace(), "timeout", "5", "openssl", "s_client"])
        .args(["-connect", &format!("{seed}:{PORT}"), "-verify_ip", &seed.to_string()])
        .args(["-alpn", &inside, "-verify_return_error", "-ign_eof", "-CAfile"])
        .arg(ca);
    let command = match shows {
        Some(folder) => {
            let command = command.arg("-cert").arg(folder.join("node.pem"));
            command.arg("-key").arg(key)
        }
        None => command,
    };
    let output = command.output().map_err(|error| failed(&error, "openssl"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    expect(said.contains("Verify return code: 0"), || format!("it is not the seed: {said}"))?;
    // timeout(1) ends one that is open still.
    Ok((output.status.code() == Some(124) && !said.contains("alert"), said))
}
