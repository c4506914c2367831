use std::{collections::BTreeSet, sync::Arc};

use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

use super::*;
use crate::{
    enrol::{DER_MAX, Der, Gift, Holds, Request, SSH_MAX, Secret, Window},
    guid::Guid,
    identity::KeyId,
    join::{
        Answer, Beacon, Build, Disk, Edition, Formation, Hardware, Held, Lack, NodeKey, Orders,
        Phase, Refusal, Report, Stage, Verdict,
    },
    roster::{Mac, NODES_MAX},
};

mod made;
mod probe;

use made::*;

const BEACON: Beacon = Beacon { cluster: [7; 32], epoch: 3, port: 7433 };
const HELLO_OF: Hello = Hello { cluster: [7; 32], key_id: KeyId([9; 8]) };

#[test]
fn a_beacon_is_its_own_length_and_version() {
    let bytes = encode_beacon(&BEACON);
    assert_eq!(decode_beacon(&bytes), Ok(BEACON));
    assert!(bytes.len() <= BEACON_MAX);
    for (bad, want) in [
        (vec![], "a beacon has 0 bytes, where 52 are allowed"),
        (bytes[..51].to_vec(), "a beacon has 51 bytes"),
        ([&bytes[..], &[0]].concat(), "a beacon has 53 bytes"),
        (with(&bytes, 7, b"H"), "this is no beacon"),
        (b"GET / HTTP/1.1".to_vec(), "this is no beacon"),
        (
            with(&bytes, 8, &[0, 2]),
            "the beacon is of version 2 of the protocol, and this program speaks version 1",
        ),
        (with(&bytes, 8, &[0x1f, 0x90])[..10].to_vec(), "is of version 8080"),
        (with(&bytes, 50, &[0, 0]), "the beacon says 0, which means nothing"),
    ] {
        let error = decode_beacon(&bad).unwrap_err().to_string();
        assert!(error.contains(want), "{error}, not {want}");
    }
}

#[test]
fn what_is_said_in_clear_is_refused_as_soon_as_it_is_wrong() {
    let hello = HELLO_OF.encode();
    let reply = Reply::of(Word::GoOn).encode();
    assert_eq!(Hello::decode(&[&hello[..], b"and more"].concat()), Ok(Some(HELLO_OF)));
    for cut in 0..HELLO {
        assert_eq!(Hello::decode(&hello[..cut]), Ok(None));
    }
    for cut in 0..REPLY {
        assert_eq!(Reply::decode(&reply[..cut]), Ok(None));
    }
    let hellos = [
        (b"G".to_vec(), Error::NotOurs { what: "hello" }),
        (reply.to_vec(), Error::NotOurs { what: "hello" }),
        (with(&hello, 8, &[0, 2])[..10].to_vec(), Error::OtherVersion { what: "hello", theirs: 2 }),
    ];
    for (bad, want) in hellos {
        assert_eq!(Hello::decode(&bad), Err(want), "{bad:?}");
    }
    let replies = [
        (b"coremaxH".to_vec(), Error::NotOurs { what: "reply" }),
        (with(&reply, 8, &[9, 9]), Error::OtherVersion { what: "reply", theirs: 0x0909 }),
        (with(&reply, 10, &[5]), Error::Value { what: "reply", value: 5 }),
    ];
    for (bad, want) in replies {
        assert_eq!(Reply::decode(&bad), Err(want), "{bad:?}");
    }
    for word in [Word::GoOn, Word::OtherVersion, Word::OtherCluster, Word::UnknownKey, Word::BadKey]
    {
        assert_eq!(Reply::decode(&Reply::of(word).encode()), Ok(Some(Reply::of(word))));
    }
}

#[test]
fn what_was_said_in_clear_is_in_the_prologue() {
    let of = |cluster, key| prologue(Guid::literal(cluster), KeyId([key; 8]));
    assert_ne!(of(1, 1), of(2, 1));
    assert_ne!(of(1, 1), of(1, 2));
    assert_eq!(of(1, 1)[8..10], VERSION.to_be_bytes());
    assert_eq!(of(1, 1)[HELLO..], *Guid::literal(1).as_bytes());
}

/// The page's own words: another implementation is written from them.
#[test]
fn a_report_is_written_as_the_page_says() {
    let json = String::from_utf8(encode_report(&a_report()).unwrap()).unwrap();
    let want = format!(
        "{{\"number\":18446744073709551615,\"hardware\":{{\"macs\":[\"02:00:00:00:00:01\"],\"serial\":\"A1\",\
         \"uuid\":\"00000000-0000-0000-0000-000000000001\",\"endorsement\":\"{}\"}},\"held\":{{\"name\":\"a\",\
         \"generation\":0}},\"edition\":{{\"epoch\":1,\"digest\":\"{}\"}},\"phase\":\"timesynced\",\
         \"wall\":-9223372036854775808,\"lacks\":[\"disk\",\"registry\"],\"unreached\":[2,249],\"promise\":null,\
         \"build\":{{\"image\":\"2026.11.22\",\"disks\":[{{\"path\":\"/dev/disk/by-path/a\",\"bytes\":1}}]}}}}",
        "ee".repeat(32),
        "dd".repeat(32)
    );
    assert_eq!(json, want);
    let least = json.replace(",\"promise\":null", "").replace("\"serial\":\"A1\",", "");
    assert_eq!(decode_report(least.as_bytes()).unwrap().hardware.serial, None);
}

#[test]
fn what_a_report_may_not_be() {
    let json = String::from_utf8(encode_report(&a_report()).unwrap()).unwrap();
    let macs = |count: usize| {
        let mac = |number| format!("\"02:00:00:00:{:02x}:{:02x}\"", number / 256, number % 256);
        json.replace("\"02:00:00:00:00:01\"", &(0..count).map(mac).collect::<Vec<_>>().join(","))
    };
    assert!(decode_report(macs(MACS_MAX).as_bytes()).is_ok());
    let serial = |length: usize| json.replace("\"A1\"", &format!("\"{}\"", "x".repeat(length)));
    assert!(decode_report(serial(SERIAL_MAX).as_bytes()).is_ok());
    let most = decode_report(macs(MACS_MAX).replace("\"A1\"", "\"\\u0001\"").as_bytes()).unwrap();
    let mut hardware = most.hardware.clone();
    hardware.serial = Some("\u{1}".repeat(SERIAL_MAX));
    let enrol = Some(Box::new(request(3, true)));
    let lacks = [Lack::Disk, Lack::Address, Lack::Registry, Lack::Image].into();
    let disk = Disk { path: "/".repeat(PATH_MAX), bytes: u64::MAX };
    let build = Build { image: "1".repeat(64).parse().ok(), disks: vec![disk; DISKS_MAX] };
    let (unreached, promise) = ((6..=255).collect(), Some(a_formation()));
    let most = Report { hardware, enrol, lacks, unreached, promise, build, ..most };
    assert_eq!(decode_report(&encode_report(&most).unwrap()), Ok(most), "the longest");
    let rows = |count: u8| {
        let all: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        json.replace("2,249", &all.join(","))
    };
    assert!(decode_report(rows(250).as_bytes()).is_ok());
    let disks = |count: usize| {
        let disk = "{\"path\":\"/dev/disk/by-path/a\",\"bytes\":1}";
        json.replace(disk, &vec![disk; count].join(","))
    };
    let change = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        json.replacen(from, to, 1)
    };
    for (bad, want) in [
        (macs(MACS_MAX + 1), "the report has 257 MACs, where 256 are allowed"),
        (serial(SERIAL_MAX + 1), "the report has 129 bytes of a serial number"),
        (serial(REPORT_MAX), "where 20480 are allowed"),
        (json.clone() + &" ".repeat(REPORT_MAX), "where 20480 are allowed"),
        (disks(DISKS_MAX + 1), "the report has 65 disks, where 64 are allowed"),
        (
            json.replace("by-path/a", &"x".repeat(PATH_MAX)),
            "the report has 138 bytes of a disk's path, where 128 are allowed",
        ),
        (change("\"2026.11.22\"", "\"2026 11\""), "the report is none"),
        (change("{\"path\"", "{\"extra\":0,\"path\""), "the report is none"),
        (change("{\"image\"", "{\"extra\":0,\"image\""), "the report is none"),
        (rows(251), "the report has 251 rows that are not reached, where 250 are allowed"),
        (change("[2,249]", "[256]"), "the report is none"),
        (change("[2,249]", "null"), "the report is none"),
        (change("\"unreached\":[2,249],", ""), "the report is none"),
        (change("\"lacks\":[\"disk\",\"registry\"],", ""), "the report is none"),
        (change("\"disk\"", "\"moon\""), "the report is none"),
        (json.clone() + "x", "the report is none"),
        (String::new(), "the report is none: byte"),
        ("[".repeat(REPORT_MAX), "the report is none: byte"),
        (change("{\"number\"", "{\"extra\":0,\"number\""), "the report is none"),
        (change("{\"macs\"", "{\"extra\":0,\"macs\""), "the report is none"),
        (change("{\"name\"", "{\"extra\":0,\"name\""), "the report is none"),
        (change("{\"epoch\"", "{\"extra\":0,\"epoch\""), "the report is none"),
        (change("\"wall\"", "\"number\":1,\"wall\""), "the report is none"),
        (change("\"number\":18446744073709551615,", ""), "the report is none"),
        (change("18446744073709551615", "18446744073709551616"), "the report is none"),
        (change("18446744073709551615", "-1"), "the report is none"),
        (change("18446744073709551615", "1.5"), "the report is none"),
        (change("timesynced", "happy"), "the report is none"),
        (change("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"), "the report is none"),
        (change(&"dd".repeat(32), &"dd".repeat(31)), "the report is none"),
        (change(&"dd".repeat(32), &"dg".repeat(32)), "the report is none"),
        (change("\"a\"", "\"A\""), "the report is none"),
        (change("\"wall\"", "\"enrol\":{},\"wall\""), "the report is none"),
    ] {
        let error = decode_report(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(want), "{error}, not {want}: {}", &bad[..bad.len().min(300)]);
    }
}

#[test]
fn what_an_answer_may_not_be() {
    let longest = Answer { gift: Some(Box::new(gift(DER_MAX))), ..member(ROSTER_MAX) };
    assert_eq!(decode_answer(&encode_answer(&longest).unwrap()), Ok(longest));
    let error = encode_answer(&member(ROSTER_MAX + 1)).unwrap_err().to_string();
    assert!(error.contains("bytes of a roster, where"), "{error}");
    let json = String::from_utf8(encode_answer(&member(3)).unwrap()).unwrap();
    let change = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        json.replacen(from, to, 1)
    };
    for bad in [
        change("AAAA", "AAA"),
        change("AAAA", "AA A"),
        change("\"member\"", "\"master\""),
        change("\"formed\"", "\"reformed\""),
        change("{\"held\"", "{\"extra\":0,\"held\""),
        change("{\"cluster\"", "{\"extra\":0,\"cluster\""),
        change("\"held\"", "\"wall\":0,\"held\""),
        "{\"number\":1,\"verdict\":{\"refused\":\"moon\"}}".into(),
        "{\"number\":1,\"verdict\":\"member\"}".into(),
        "{\"number\":1}".into(),
    ] {
        let error = decode_answer(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("the answer is none: byte"), "{error}: {bad}");
    }
    let long = vec![b' '; ANSWER_MAX + 1];
    assert!(matches!(decode_answer(&long), Err(Error::Length { .. })));
}

proptest! {
    #[test]
    fn what_is_written_is_read(report in report(), answer in answer(), epoch: u64, port in 1_u16..) {
        prop_assert_eq!(decode_report(&encode_report(&report).unwrap()), Ok(report));
        prop_assert_eq!(decode_answer(&encode_answer(&answer).unwrap()), Ok(answer));
        let beacon = Beacon { cluster: [1; 32], epoch, port };
        prop_assert_eq!(decode_beacon(&encode_beacon(&beacon)), Ok(beacon));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), known in 0_usize..5) {
        let begun = [&b"coremaxB\0\x01"[..], b"coremaxH\0\x01", b"coremaxR\0\x01", b"{\"number\":", b""][known];
        let bytes = [begun, &bytes].concat();
        let _ = (decode_beacon(&bytes), Hello::decode(&bytes), Reply::decode(&bytes));
        let _ = (decode_report(&bytes), decode_answer(&bytes), decode_request(&bytes), decode_response(&bytes));
        let mut parts = Parts::new(&[Message::Report]);
        for payload in bytes.chunks(7) {
            let _ = parts.take(payload);
            prop_assert!(parts.whole() <= REPORT_MAX);
        }
    }

    /// A byte changed, or left out, is refused or is another message; never a panic, and never one beyond its bounds.
    #[test]
    fn a_damaged_message_is_no_worse(answer in answer(), report in report(), at: prop::sample::Index, byte: u8) {
        for mut bytes in [encode_report(&report).unwrap(), encode_answer(&answer).unwrap()] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = decode_report(&bytes) {
                prop_assert!(encode_report(&read).is_ok());
            }
            if let Ok(read) = decode_answer(&bytes) {
                prop_assert!(encode_answer(&read).is_ok());
            }
            bytes.remove(at);
            let _ = (decode_report(&bytes), decode_answer(&bytes));
        }
    }
}
