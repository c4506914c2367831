//! Nodes that have their certificates speak TLS, and nobody is let in there without one.

use std::{fs, path::Path};

use coremax_node_api::{
    cluster_status::Spoken,
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
    let tls = site.machine(2).path("root/var/lib/coremax/tls");
    let strangers = stranger(&mut site)?;
    for (what, shows, want) in [
        ("a node's", Some((tls.join("node.pem"), tls.join("node.key"))), true),
        ("no", None, false),
        ("a stranger's", Some((strangers.join("node.pem"), strangers.join("node.key"))), false),
    ] {
        let (is_in, said) = connect(&mut site, shows.as_ref().map(|(a, b)| [a, b].map(|p| &**p)))?;
        expect(is_in == want, || format!("with {what} certificate: let in {is_in}: {said}"))?;
    }
    site.until("the seed has counted both", |site| {
        let seed = site.machine(1).status().and_then(|status| status.seed);
        Ok(seed.is_some_and(|seed| seed.turned_away.get("bad-certificate") == Some(&2)))
    })?;
    fall_back(&mut site)?;
    site.is_small()
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

/// A certificate with all the names of the second machine's, by nobody.
fn stranger(site: &mut Site) -> Result<std::path::PathBuf, String> {
    let folder = site.machine(2).path("stranger");
    fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let members = site.members()?;
    let node = members.iter().find(|(name, _)| name == "control-2").ok_or("no control-2")?;
    let names = format!(
        "subjectAltName=DNS:control-2,IP:{},URI:urn:coremax:node:{}",
        site.cluster.address(2),
        node.1
    );
    let issuer = format!("/CN=coremax cluster {}", site.cluster.roster.cluster);
    let arguments = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "node.key"];
    let openssl = Cmd::new("openssl", &Sandbox::host()).current_dir(&folder).args(arguments);
    let openssl = openssl.args(["-out", "node.pem", "-subj", &issuer, "-addext", &names]);
    openssl.run().map_err(|error| failed(&error, "openssl"))?;
    Ok(folder)
}

/// Whether the seed keeps a connection of OpenSSL's from the third machine, with this certificate and key, and what that says.
fn connect(site: &mut Site, shows: Option<[&Path; 2]>) -> Result<(bool, String), String> {
    let seed = site.cluster.address(1);
    let ca = site.machine(3).path("root/var/lib/coremax/tls/ca.pem");
    let inside = String::from_utf8_lossy(ALPN);
    let command = Cmd::new("ip", &Sandbox::host())
        .args(["netns", "exec", site.machine(3).namespace(), "timeout", "2", "openssl", "s_client"])
        .args(["-connect", &format!("{seed}:{PORT}"), "-verify_ip", &seed.to_string()])
        .args(["-alpn", &inside, "-verify_return_error", "-ign_eof", "-CAfile"])
        .arg(ca);
    let command = match shows {
        Some([certificate, key]) => command.arg("-cert").arg(certificate).arg("-key").arg(key),
        None => command,
    };
    let output = command.output().map_err(|error| failed(&error, "openssl"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    expect(said.contains("Verify return code: 0"), || format!("it is not the seed: {said}"))?;
    // timeout(1) ends one that is open still.
    Ok((output.status.code() == Some(124) && !said.contains("alert"), said))
}
