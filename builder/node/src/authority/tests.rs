//! What OpenSSL and OpenSSH say of the certificates.

use std::{fs, path::Path};

use coremax_node_api::enrol::{BACKDATED, Secret, VALID_FOR};
use coremax_sandbox::{Cmd, Sandbox};

use super::*;
use crate::prepare::tests::roster;

const NODE: NodeKey = NodeKey([1; 32]);
const NOW: i64 = 1_795_608_000_000; // 2026-11-25 12:00 UTC
const MINUTE: i64 = 60_000;
const SSHD: &str = "/usr/sbin/sshd";

fn authority(folder: &Path) -> Authority {
    Authority::at(&folder.join("keys"), roster().cluster).unwrap()
}

fn secret(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

fn request() -> Request {
    Request::new(roster().cluster, NODE, &secret(1), secret(2).public(), None)
}

fn gift(folder: &Path, now: i64) -> Gift {
    let made = authority(folder).gift(&roster().nodes[1], NODE, &request(), now);
    made.unwrap().unwrap()
}

/// What a program prints and whether it is content; nothing, counted as a skip, where it is not there.
fn said(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Cmd::new(program, &Sandbox::host()).args(arguments).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            coremax_skip::skip(format_args!("{error}"));
            None
        }
    }
}

fn put(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_gift_is_given_once_and_again_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, row) = (authority(folder.path()), &roster().nodes[1]);
    let first = authority.gift(row, NODE, &request(), NOW).unwrap().unwrap();
    assert_eq!(first.valid, Window::at(NOW));
    let asked = Request { holds: Some(first.held()), ..request() };
    assert_eq!(authority.gift(row, NODE, &asked, NOW).unwrap(), None);
    let later = authority.gift(row, NODE, &asked, NOW + VALID_FOR).unwrap().unwrap();
    assert_eq!((&later.ca, later.authority()), (&first.ca, first.authority()));
    assert_ne!(later.certificate, first.certificate);
    let again = Authority::at(&folder.path().join("keys"), roster().cluster).unwrap();
    assert_eq!(again.gift(row, NODE, &asked, NOW).unwrap(), None, "a seed that was started again");
    let other = tempfile::tempdir().unwrap();
    let rebuilt = self::authority(other.path()).gift(row, NODE, &asked, NOW).unwrap();
    assert!(rebuilt.is_some(), "a seed that was replaced");
}

#[test]
fn a_request_that_proves_nothing_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let row = &roster().nodes[1];
    let error = authority(folder.path()).gift(row, NodeKey([2; 32]), &request(), NOW).unwrap_err();
    assert!(error.to_string().contains("does not prove"), "{error}");
}

/// Of all that an authority says and writes, its own file and the key to deploy with have secrets in them.
#[test]
fn no_secret_is_anywhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(folder.path());
    let keys = &authority.keys;
    let secrets = [&keys.ca, &keys.hosts, &keys.users, &keys.deploy].map(|key| *key.expose());
    authority.furnish_at(&folder.path().join("deploy"), &roster().nodes[0], NOW).unwrap();
    put(folder.path(), "gift", &serde_json::to_string(&gift(folder.path(), NOW)).unwrap());
    put(folder.path(), "ca", &String::from_utf8_lossy(authority.ca.as_bytes()));
    for entry in fs::read_dir(folder.path()).unwrap().flatten() {
        let (name, text) = (entry.file_name(), fs::read_to_string(entry.path()).unwrap());
        let has = secrets.iter().filter(|secret| holds(&text, *secret)).count();
        let want = [("keys", 4), ("deploy", 1)].iter().find(|(file, _)| name == *file);
        assert_eq!(has, want.map_or(0, |(_, count)| *count), "{name:?}");
    }
}

/// Whether a text has these bytes in hexadecimal digits or base64, wherever they begin in it.
fn holds(text: &str, secret: &[u8]) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = text.replace('\n', "");
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let in_base64 = |before: usize| {
        let encoded = STANDARD.encode([&vec![0; before][..], secret].concat());
        text.contains(&encoded[4..encoded.len() - 4]) // what is of these bytes alone
    };
    text.contains(&hex) || (0..3).any(in_base64)
}

#[test]
fn openssl_verifies_a_node_by_its_names_at_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The clock of a seed, and those of whoever looks at the certificate, in milliseconds after it.
    for now in [915_148_800_000, NOW, 2_208_988_800_000, 2_600_000_000_000] {
        let gift = gift(folder, now);
        let ca = put(folder, "ca.pem", &gift.ca.to_pem());
        let node = put(folder, "node.pem", &gift.certificate.to_pem());
        let verifies = |after: i64, more: &[&str]| {
            let at = ((now + after) / 1000).to_string();
            let arguments = ["verify", "-x509_strict", "-attime", &at, "-CAfile", &ca];
            said("openssl", &[&arguments[..], more, &[&node]].concat())
        };
        for (after, more, want) in [
            (0, &["-purpose", "sslserver", "-verify_hostname", "control-2"][..], true),
            (0, &["-purpose", "sslclient", "-verify_ip", "10.0.0.12"], true),
            (MINUTE - BACKDATED, &[], true),
            (-MINUTE - BACKDATED, &[], false),
            (VALID_FOR - MINUTE, &[], true),
            (VALID_FOR + MINUTE, &[], false),
            (0, &["-verify_hostname", "control-1"], false),
            (0, &["-verify_ip", "10.0.0.11"], false),
        ] {
            let Some((is_good, text)) = verifies(after, more) else { return };
            assert_eq!(is_good, want, "{now} {after} {more:?}: {text}");
        }
    }
}

#[test]
fn the_authority_holds_at_any_date_and_is_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ca = gift(folder, NOW).ca;
    assert_eq!(gift(folder, NOW + VALID_FOR).ca, ca);
    let path = put(folder, "ca.pem", &ca.to_pem());
    let arguments = ["x509", "-noout", "-text", "-in", &path];
    let Some((_, text)) = said("openssl", &arguments) else { return };
    for want in [
        "Not Before: Jan  1 00:00:00 1970 GMT",
        "Not After : Dec 31 23:59:59 9999 GMT",
        "Issuer: CN = coremax cluster 3f0c9d7e-5b7b-8f6e-9a40-6d1f6a3c2b10",
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
    ] {
        assert!(text.contains(want), "{want} is not in {text}");
    }
}

#[test]
fn another_authority_vouches_for_nobody_here() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = put(one.path(), "node.pem", &gift(one.path(), NOW).certificate.to_pem());
    let ca = put(one.path(), "ca.pem", &gift(other.path(), NOW).ca.to_pem());
    let at = (NOW / 1000).to_string();
    let Some((is_good, text)) = said("openssl", &["verify", "-attime", &at, "-CAfile", &ca, &node])
    else {
        return;
    };
    assert!(!is_good, "{text}");
}

#[test]
fn ssh_keygen_shows_the_names_the_time_and_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = authority(folder);
    authority.furnish_at(&folder.join("deploy"), &roster().nodes[0], NOW).unwrap();
    let host = put(folder, "host-cert.pub", gift(folder, NOW).ssh_certificate.as_str());
    let user = folder.join("deploy-cert.pub").display().to_string();
    let uuid = roster().cluster;
    let valid = "Valid: from 2026-11-24T12:00:00 to 2026-12-25T12:00:00";
    let key_id = format!("Key ID: \"{uuid}/control-2/0\"");
    for (path, kind, key_id, principals, end) in [
        (
            host,
            "host certificate",
            &*key_id,
            "control-2\n10.0.0.12",
            "Critical Options: (none)\nExtensions: (none)",
        ),
        (
            user,
            "user certificate",
            "Key ID: \"coremax-deploy@control-1\"",
            "root",
            "Critical Options:\nsource-address 10.0.0.11/32\nExtensions:\npermit-pty",
        ),
    ] {
        let arguments = ["TZ=UTC", "ssh-keygen", "-L", "-f", &path];
        let Some((is_good, text)) = said("env", &arguments) else { return };
        if !is_good && text.contains("No such file") {
            return coremax_skip::skip("there is no ssh-keygen here (install openssh-client)");
        }
        let text: Vec<_> = text.lines().map(str::trim).collect();
        let text = text.join("\n");
        for want in [kind, key_id, valid, &format!("Principals:\n{principals}\nCritical"), end] {
            assert!(text.contains(want), "{want} is not in {text}");
        }
        assert!(text.trim_end().ends_with(end), "{text}");
    }
}

/// What a machine has of its row is worth nothing to whoever has the roster in which another one has it.
#[test]
fn ssh_keygen_finds_the_certificate_of_a_machine_that_was_replaced_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let host = put(folder, "host-cert.pub", gift(folder, NOW).ssh_certificate.as_str());
    let list = folder.join("list");
    for (row, generation, is_good) in
        [(1, 0, true), (0, 7, true), (1, 1, false), (1, 64, false), (1, u32::MAX, false)]
    {
        let mut roster = roster();
        roster.nodes[row].generation = generation;
        fs::write(&list, crate::prepare::revoked::list(&roster)).unwrap();
        let list = list.to_str().unwrap();
        let Some((found, text)) = said("ssh-keygen", &["-Q", "-f", list, &host]) else { return };
        assert!(text.contains(if is_good { ": ok" } else { ": REVOKED" }), "{text}");
        assert_eq!(found, is_good, "{row} {generation}");
    }
}

#[test]
fn the_deploying_key_stays_and_its_certificate_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("deploy");
    let authority = authority(folder.path());
    let furnish = |row: usize, now: i64| {
        authority.furnish_at(&key, &roster().nodes[row], now).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        (read("deploy"), read("deploy-cert.pub"))
    };
    let first = furnish(0, NOW);
    assert_eq!(furnish(0, NOW), first);
    let renewed = furnish(0, NOW + VALID_FOR);
    assert_eq!(renewed.0, first.0);
    assert_ne!(renewed.1, first.1);
    assert_ne!(furnish(1, NOW + VALID_FOR).1, renewed.1, "the seed has another address");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o600);
}

/// `ssh -i deploy root@control-1`, which is sshd's test here, from 127.0.0.1.
#[test]
fn ssh_logs_in_by_certificates_alone() {
    if !rustix::process::geteuid().is_root() {
        return coremax_skip::skip("sshd logs in as root for root alone");
    }
    if !Path::new(SSHD).exists() {
        return coremax_skip::skip(format_args!("{SSHD} is not here (install openssh-server)"));
    }
    let folder = tempfile::tempdir().unwrap();
    let stage = ssh_stage(folder.path());
    // Whom ssh looks for, by which name it knows that host, and whether it comes in.
    for (source, name, want) in [
        ("127.0.0.1", "control-1", true),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "control-2", false), // its certificate has another name
        ("127.0.0.2", "control-1", false), // the key is the seed's alone
    ] {
        let ssh = format!(
            "ssh -F none -p 2222 -b {source} -i {stage}/deploy -o HostKeyAlias={name} \
                -o UserKnownHostsFile=none -o GlobalKnownHostsFile={stage}/known_hosts \
                -o RevokedHostKeys={stage}/coremax-revoked -o BatchMode=yes \
                -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes root@127.0.0.1 echo in 2>&1"
        );
        let Some((is_in, text)) = beside_sshd(&stage, &ssh) else { return };
        let log = fs::read_to_string(format!("{stage}/log")).unwrap_or_default();
        assert_eq!(is_in && text.contains("in\n"), want, "{source} {name}: {text}\n{log}");
    }
}

/// Ansible itself, by the inventory of the seed: what the deployment's first step does.
#[test]
fn ansible_reaches_a_node_by_the_inventory_and_certificates_alone() {
    if !rustix::process::geteuid().is_root() || !Path::new(SSHD).exists() {
        return coremax_skip::skip(format_args!(
            "{SSHD} lets root in for root alone, if it is here"
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let stage = ssh_stage(folder.path());
    let ansible = format!(
        "HOME={stage} ANSIBLE_NOCOLOR=1 ansible -i {stage}/cluster.yml -m ping control-1 2>&1"
    );
    let Some((_, version)) = said("sh", &["-c", "ansible --version"]) else { return };
    if !version.contains("ansible [core") {
        return coremax_skip::skip("there is no ansible here (install ansible-core)");
    }
    let Some((is_well, text)) = beside_sshd(&stage, &ansible) else { return };
    assert!(is_well && text.contains("\"ping\": \"pong\""), "{text}");
}

/// What a command says in a network of its own, with that sshd in it.
fn beside_sshd(stage: &str, command: &str) -> Option<(bool, String)> {
    let script = format!(
        "ip link set lo up; mkdir -p /run/sshd; {SSHD} -t -f {stage}/sshd_config
        {SSHD} -D -e -f {stage}/sshd_config 2>{stage}/log & pid=$!
        for n in $(seq 100); do if ss -ltn | grep -q :2222; then break; fi; sleep 0.1; done
        said=0; {command} || said=$?
        kill $pid; exit $said"
    );
    said("unshare", &["--net", "sh", "-euc", &script])
}

/// The files of a seed at 127.0.0.1, with an sshd that has nothing besides.
fn ssh_stage(folder: &Path) -> String {
    let mut roster = roster();
    roster.nodes[0].address = [127, 0, 0, 1].into();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let authority = authority(folder);
    authority.furnish_at(&folder.join("deploy"), &roster.nodes[0], now).unwrap();
    let host = ssh::private(&secret(2)).unwrap();
    replace(&folder.join("ssh_host_ed25519_key"), host.as_bytes(), 0o600).unwrap();
    let gift = authority.gift(&roster.nodes[0], NODE, &request(), now).unwrap().unwrap();
    let card = coremax_node_api::roster::Mac::example(1);
    let own = &roster.nodes[0];
    let facts = crate::prepare::Facts { roster: &roster, own, card, gift: &gift };
    let stage = folder.display().to_string();
    let mut config = format!(
        "HostKey {stage}/ssh_host_ed25519_key\nListenAddress 127.0.0.1:2222\nPidFile none\n"
    );
    config += "AuthorizedKeysFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nUsePAM no\n";
    for file in crate::prepare::files(&facts) {
        match file.path.rsplit('/').next().unwrap() {
            "05-coremax.conf" => config += &file.text().replace("/etc/ssh", &stage),
            "ssh_known_hosts" => drop(put(folder, "known_hosts", &file.text())),
            "cluster.yml" => {
                let text = file.text().replace("/var/lib/coremax/authority", &stage);
                let known = format!(
                    "-F none -p 2222 -o GlobalKnownHostsFile={stage}/known_hosts -o RevokedHostKeys={stage}/coremax-revoked -o User"
                );
                drop(put(
                    folder,
                    "cluster.yml",
                    &text.replace(
                        "-o Identities",
                        &format!("{known}KnownHostsFile=none -o Identities"),
                    ),
                ));
            }
            "coremax-revoked" => fs::write(folder.join("coremax-revoked"), &file.bytes).unwrap(),
            name => drop(put(folder, name, &file.text())),
        }
    }
    put(folder, "sshd_config", &config);
    stage
}
