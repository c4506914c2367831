use std::os::unix::fs::PermissionsExt as _;

use coremax_node_api::{
    enrol::{Der, Window},
    roster::Roster,
};
use coremax_sandbox::{Cmd, Sandbox};
use ssh_key::certificate::{Builder, CertType};

use super::*;
use crate::{authority::Authority, prepare::tests::roster};

const CLUSTER: Guid = Guid::literal(1);
const NODE: NodeKey = NodeKey([7; 32]);
const NOW: i64 = 1_795_608_000_000; // 2026-11-25 12:00 UTC

fn now() -> i64 {
    NOW
}

fn own(folder: &Path, host: u8) -> Result<Own> {
    let ssh = folder.join("host.pub");
    let public = Secret::from_seed(&[host; 32]).public();
    fs::write(&ssh, format!("{} root@host\n", public.to_ssh())).unwrap();
    Own::at(&folder.join("tls/node.key"), &ssh, &folder.join("gift.json"))
}

/// What the authority in a folder gives this machine for the second row, at a time.
fn given(folder: &Path, authority: &str, own: &Own, now: i64) -> Gift {
    let authority = Authority::at(&folder.join(authority), roster().cluster).unwrap();
    let request = own.request(roster().cluster, NODE, None);
    let request = Request { holds: None, ..request };
    authority.gift(&roster().nodes[1], NODE, &request, now).unwrap().unwrap()
}

fn keep(own: &Own, gift: &Gift, generation: u32) -> Result<()> {
    let Roster { nodes, .. } = roster();
    own.keep(gift, &Of { node: NODE, row: &nodes[1], seed: &seed(generation) }, now)
}

fn seed(generation: u32) -> Held {
    Held { name: "control-1".parse().unwrap(), generation }
}

#[test]
fn a_key_is_made_once_and_openssl_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls/node.key");
    let first = own(folder.path(), 1).unwrap().request(CLUSTER, NODE, None);
    assert!(first.is_proven(CLUSTER, NODE));
    assert_eq!(own(folder.path(), 1).unwrap().request(CLUSTER, NODE, None), first);
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
    for bad in ["", &whole[..60], &whole.replace("MC4C", "MC4D"), &whole.replace("\n", "\n\n")] {
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
    assert_eq!(first.request(CLUSTER, NODE, None).holds, None);
    let gift = given(folder.path(), "authority", &first, NOW);
    keep(&first, &gift, 0).unwrap();
    let other = given(folder.path(), "other", &first, NOW);
    let error = keep(&first, &other, 0).unwrap_err().to_string();
    assert!(error.contains("by another authority"), "{error}");
    keep(&first, &other, 1).unwrap();
    keep(&first, &gift, 2).unwrap();
    let again = own(folder.path(), 1).unwrap();
    assert_eq!(again.gift(), Some(gift.clone()));
    assert_eq!(again.request(CLUSTER, NODE, None).holds, Some(gift.held()));
    assert_eq!(own(folder.path(), 2).unwrap().gift(), None, "another host key");
    fs::remove_file(folder.path().join("tls/node.key")).unwrap();
    assert_eq!(own(folder.path(), 1).unwrap().gift(), None, "another TLS key");
    fs::write(folder.path().join("gift.json"), "{").unwrap();
    assert_eq!(first.gift(), None);
}

/// A row that has another address now, or certificates that name another machine than this: others are asked for.
#[test]
fn certificates_of_another_row_are_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let own = own(folder.path(), 1).unwrap();
    let gift = given(folder.path(), "authority", &own, NOW);
    keep(&own, &gift, 0).unwrap();
    let row = roster().nodes[1].clone();
    let moved = Row { address: [10, 0, 0, 99].into(), ..row.clone() };
    for (node, row, want) in [
        (NODE, &row, Some(gift.held())),
        (NODE, &roster().nodes[0], None),
        (NODE, &moved, None),
        (NodeKey([8; 32]), &row, None),
    ] {
        assert_eq!(own.request(CLUSTER, node, Some(row)).holds, want, "{row:?}");
    }
    assert_eq!(own.papers(now).unwrap().own().node, NODE);
    assert!(own.papers(|| NOW + 31 * 86_400_000).is_none(), "they are over");
}

/// What is not what this node should be given is said, and not kept.
#[test]
fn a_gift_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let own = own(folder.path(), 1).unwrap();
    let at = |now| given(folder.path(), "authority", &own, now);
    let (good, other) = (at(NOW), given(folder.path(), "other", &own, NOW));
    let (again, past) = (at(NOW + 5000), at(NOW - 40 * 86_400_000));
    let elsewhere = tempfile::tempdir().unwrap();
    let another = self::own(elsewhere.path(), 2).unwrap();
    let theirs = given(folder.path(), "authority", &another, NOW);
    let mut spoilt = good.certificate.as_bytes().to_vec();
    *spoilt.last_mut().unwrap() ^= 1;
    let spoilt = Der::new(spoilt).unwrap();
    let window = Window { until: good.valid.until + 1000, ..good.valid };
    for (gift, wants) in [
        (
            Gift { ca: other.ca.clone(), ..good.clone() },
            "the TLS certificate: the certificate does not hold",
        ),
        (Gift { ca: spoilt.clone(), ..good.clone() }, "the TLS certificate: "),
        (Gift { certificate: spoilt, ..good.clone() }, "BadSignature"),
        (Gift { certificate: theirs.certificate.clone(), ..good.clone() }, "for another key"),
        (Gift { certificate: again.certificate, ..good.clone() }, "the gift does not say"),
        (Gift { valid: window, ..good.clone() }, "the gift does not say"),
        (past, "expired"),
        (at(NOW + 2 * 86_400_000), "not valid yet"),
        (Gift { ssh_hosts: other.ssh_hosts, ..good.clone() }, "by another authority"),
        (
            Gift { ssh_certificate: theirs.ssh_certificate, ..good.clone() },
            "the SSH host certificate: it is for another key",
        ),
        (
            Gift {
                ssh_certificate: "ssh-ed25519-cert-v01@openssh.com AAAA"
                    .to_owned()
                    .try_into()
                    .unwrap(),
                ..good.clone()
            },
            "the SSH host certificate: ",
        ),
    ] {
        let error = format!("{:#}", keep(&own, &gift, 0).unwrap_err());
        assert!(error.contains(wants), "{wants}: {error}");
        assert_eq!(own.gift(), None);
    }
    for (row, node, wants) in
        [(0, NODE, "not those of control-1"), (1, NodeKey([8; 32]), "of another machine")]
    {
        let of = Of { node, row: &roster().nodes[row], seed: &seed(0) };
        let error = format!("{:#}", own.keep(&good, &of, now).unwrap_err());
        assert!(error.contains(wants), "{error}");
    }
    keep(&own, &good, 0).unwrap();
    assert_eq!(own.gift(), Some(good));
}

/// A clock without a battery begins with 1970, and certificates know nothing before.
#[test]
fn a_gift_of_1970_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let own = own(folder.path(), 1).unwrap();
    let gift = given(folder.path(), "authority", &own, 5000);
    let of = Of { node: NODE, row: &roster().nodes[1], seed: &seed(0) };
    own.keep(&gift, &of, || 6000).unwrap();
    assert!(own.papers(|| 7000).is_some());
}

/// Host certificates by the right authority, each with one thing that should not be.
#[test]
fn the_host_s_certificate_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let own = own(folder.path(), 1).unwrap();
    let hosts = Secret::from_seed(&[5; 32]);
    let good = given(folder.path(), "authority", &own, NOW);
    let seconds = |time: i64| u64::try_from(time / 1000).unwrap();
    let (from, until) = (seconds(good.valid.from), seconds(good.valid.until));
    let names = ["control-2", "10.0.0.12"];
    let check = |names: &[&str], kind, (from, until), more: &dyn Fn(&mut Builder), by: &Secret| {
        let key = ssh_key::public::Ed25519PublicKey(*own.ssh.as_bytes());
        let mut builder =
            Builder::new([1; 16], ssh_key::public::KeyData::Ed25519(key), from, until).unwrap();
        builder.cert_type(kind).unwrap().key_id("x").unwrap();
        for name in names {
            builder.valid_principal(*name).unwrap();
        }
        more(&mut builder);
        let text = crate::authority::sign_ssh(builder, by).unwrap();
        let gift = Gift { ssh_hosts: hosts.public(), ssh_certificate: text, ..good.clone() };
        let kept = keep(&own, &gift, 0).map_err(|error| format!("{error:#}"));
        fs::remove_file(folder.path().join("gift.json")).ok();
        kept
    };
    let nothing = |_: &mut Builder| {};
    assert_eq!(check(&names, CertType::Host, (from, until), &nothing, &hosts), Ok(()));
    let window = (from, until);
    let option = |builder: &mut Builder| {
        builder.critical_option("x", "y").unwrap();
    };
    let extension = |builder: &mut Builder| {
        builder.extension("x", "").unwrap();
    };
    for (said, wants) in [
        (check(&names, CertType::User, window, &nothing, &hosts), "none of a host"),
        (check(&names[..1], CertType::Host, window, &nothing, &hosts), "its names"),
        (
            check(&["control-2", "10.0.0.12", "vip"], CertType::Host, window, &nothing, &hosts),
            "its names",
        ),
        (check(&["control-1", "10.0.0.12"], CertType::Host, window, &nothing, &hosts), "its names"),
        (check(&names, CertType::Host, (1, 2), &nothing, &hosts), "does not hold now"),
        (check(&names, CertType::Host, (until - 1, until), &nothing, &hosts), "does not hold now"),
        (check(&names, CertType::Host, window, &option, &hosts), "it has options"),
        (check(&names, CertType::Host, window, &extension, &hosts), "it has options"),
        (
            check(&names, CertType::Host, window, &nothing, &Secret::from_seed(&[6; 32])),
            "by another authority",
        ),
    ] {
        let error = said.unwrap_err();
        assert!(error.contains(wants), "{wants}: {error}");
    }
    // Of the right authority by its own word, with a bit of the signature changed.
    let mut bytes = ssh_key::Certificate::from_openssh(good.ssh_certificate.as_str())
        .unwrap()
        .to_bytes()
        .unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let text = format!("ssh-ed25519-cert-v01@openssh.com {}", STANDARD.encode(bytes));
    let gift = Gift { ssh_certificate: text.try_into().unwrap(), ..good };
    let error = format!("{:#}", keep(&own, &gift, 0).unwrap_err());
    assert!(error.contains("signature does not hold"), "{error}");
}
