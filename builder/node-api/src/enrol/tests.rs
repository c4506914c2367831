use proptest::prelude::*;

use super::*;

const CLUSTER: Guid = Guid::literal(1);
const NODE: NodeKey = NodeKey([7; 32]);

fn secret(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

fn request(holds: Option<Holds>) -> Request {
    Request::new(CLUSTER, NODE, &secret(1), secret(2).public(), holds)
}

fn gift() -> Gift {
    let certificate = "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned().try_into().unwrap();
    Gift {
        ca: Der::new(vec![1; 400]).unwrap(),
        certificate: Der::new(vec![2; 400]).unwrap(),
        ssh_hosts: secret(3).public(),
        ssh_users: secret(4).public(),
        ssh_certificate: certificate,
        valid: Window::at(0),
    }
}

#[test]
fn a_request_is_of_its_channel_and_its_keys() {
    type Change = fn(&mut Request);
    let good = request(None);
    assert!(good.is_proven(CLUSTER, NODE));
    assert!(!good.is_proven(Guid::literal(2), NODE));
    assert!(!good.is_proven(CLUSTER, NodeKey([8; 32])));
    let changes: [Change; 3] = [
        |request| request.tls = secret(5).public(),
        |request| request.ssh = secret(5).public(),
        |request| request.proof.0[0] ^= 1,
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(!bad.is_proven(CLUSTER, NODE), "{bad:?}");
    }
}

#[test]
fn what_is_due() {
    let ours = gift().authority();
    let now = 1_800_000_000_000;
    let holds = |authority, valid| Some(Holds { authority, valid });
    for (holds, due) in [
        (None, true),
        (holds(ours, Window::at(now)), false),
        (holds([0; 32], Window::at(now)), true),
        (holds(ours, Window::at(now - VALID_FOR + RENEWED_BEFORE)), false),
        (holds(ours, Window::at(now - VALID_FOR + RENEWED_BEFORE - 1000)), true),
        (holds(ours, Window::at(now + BACKDATED)), false),
        (holds(ours, Window::at(now + BACKDATED + 1000)), true), // the clock was ahead when it was given
    ] {
        assert_eq!(request(holds).is_due(ours, now), due, "{holds:?}");
    }
}

#[test]
fn a_window_is_thirty_days_and_begins_a_day_ago_in_every_year() {
    // 1969, 1999, 2026, 2040
    for now in [-1500, 915_148_800_123, 1_795_000_000_999, 2_208_988_800_000] {
        let Window { from, until } = Window::at(now);
        assert_eq!((from.rem_euclid(1000), until.rem_euclid(1000)), (0, 0));
        assert_eq!(until - from, VALID_FOR + BACKDATED);
        assert!((0..1000).contains(&(now - BACKDATED - from)), "{now}");
    }
}

#[test]
fn an_authority_is_each_of_its_keys() {
    type Change = fn(&mut Gift);
    let changes: [Change; 3] = [
        |gift| gift.ca = Der::new(vec![9]).unwrap(),
        |gift| gift.ssh_hosts = secret(9).public(),
        |gift| gift.ssh_users = secret(9).public(),
    ];
    for change in changes {
        let mut other = gift();
        change(&mut other);
        assert_ne!(other.authority(), gift().authority());
    }
}

#[test]
fn what_is_written_is_read_and_nothing_else() {
    let text = serde_json::to_string(&gift()).unwrap();
    assert_eq!(serde_json::from_str::<Gift>(&text).unwrap(), gift());
    let asked = serde_json::to_string(&request(Some(gift().held()))).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&asked).unwrap(), request(Some(gift().held())));
    let ca = String::from(gift().ca);
    let long = text.replace(&ca, &"AAAA".repeat(DER_MAX / 3 + 1));
    let long_line = text.replace("AAAA", &"AAAA".repeat(SSH_MAX / 4));
    let weak = serde_json::to_string(&gift())
        .unwrap()
        .replace(&gift().ssh_hosts.to_string(), &"0".repeat(64));
    for bad in [
        &long,
        &long_line,
        &weak,
        &text.replace("AAAA", "AAAA\\nPermitRootLogin yes"),
        &text.replace("AAAA", "AAAA a comment"),
        &text.replace("cert-v01", "cert-v02"),
        &text.replace("\"valid\"", "\"more\":1,\"valid\""),
    ] {
        assert!(serde_json::from_str::<Gift>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_host_key_is_read_as_openssh_writes_it() {
    let key = secret(1).public();
    let line = key.to_ssh();
    assert!(line.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"), "{line}");
    assert_eq!(Public::parse_ssh(&format!("{line} root@host\n")), Ok(key));
    let weak = Public::parse_ssh(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    );
    assert_eq!(weak, Err(NotAKey));
    for bad in ["", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 !", "ssh-ed25519 AAAA"] {
        assert_eq!(Public::parse_ssh(bad), Err(NotAKey), "{bad}");
    }
}

#[test]
fn a_certificate_in_pem() {
    let pem = Der::new(vec![0; 60]).unwrap().to_pem();
    let lines: Vec<_> = pem.lines().collect();
    assert_eq!((lines.len(), lines[1].len(), lines[2].len()), (4, 64, 16));
}

proptest! {
    #[test]
    fn no_time_is_too_far_away(now: i64, from: i64, until: i64) {
        let window = Window::at(now);
        prop_assert!(window.from <= now && window.until >= now.saturating_sub(1000));
        let _ = Window { from, until }.is_due(now);
    }

    #[test]
    fn foreign_text_never_panics(text in "\\PC{0,100}|ssh-ed25519(-cert-v01@openssh.com)? [A-Za-z0-9+/=]{0,80}") {
        let _ = Public::parse_ssh(&text);
        let _ = text.parse::<Public>();
        let _ = SshCertificate::try_from(text.clone());
        let _ = Der::try_from(text.clone());
        let _ = Proof::try_from(text);
    }
}
