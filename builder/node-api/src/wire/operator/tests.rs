use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    join::Now,
    wire::{
        Error, REQUEST_MAX, RESPONSE_MAX, ROSTER_MAX, decode_request, decode_response,
        encode_request, encode_response,
    },
};

const CLUSTER: Guid = Guid::literal(7);
const EDITION: Edition = Edition { epoch: 3, digest: [0xdd; 32] };

fn operator(number: u8) -> SecretKey {
    SecretKey::from_seed([number; 32], "")
}

fn approval() -> Approval {
    let name = "worker-1".parse().unwrap();
    Approval { cluster: CLUSTER, edition: EDITION, node: NodeKey([0xcc; 32]), name }
}

fn of_roster(length: usize) -> Request {
    Request { ask: Ask::Roster(SignedRoster(vec![0; length].into())) }
}

#[test]
fn an_approval_is_the_operator_s_of_one_cluster_and_one_roster() {
    let signed = approval().sign(&operator(1));
    let open = |signed: &SignedApproval, key: u8, cluster, edition| {
        signed.clone().open(&[operator(9).public(), operator(key).public()], cluster, edition)
    };
    // Also when it is said again.
    assert_eq!(open(&signed, 1, CLUSTER, EDITION), Ok(approval()));
    assert_eq!(open(&signed, 1, CLUSTER, EDITION), Ok(approval()));
    assert_eq!(open(&signed, 2, CLUSTER, EDITION), Err(NotApproved::Signature));
    assert_eq!(open(&signed, 1, Guid::literal(8), EDITION), Err(NotApproved::OtherCluster));
    for edition in [Edition { epoch: 4, ..EDITION }, Edition { digest: [0; 32], ..EDITION }] {
        let refused = open(&signed, 1, CLUSTER, edition);
        assert!(matches!(refused, Err(NotApproved::OtherRoster { theirs: 3, .. })), "{refused:?}");
    }
    // Whatever is changed in it, it is not what was signed.
    type Change = fn(&mut Approval);
    let changes: [Change; 5] = [
        |a| a.cluster = Guid::literal(8),
        |a| a.edition.epoch = 4,
        |a| a.edition.digest[31] ^= 1,
        |a| a.node.0[31] ^= 1,
        |a| a.name = "worker-11".parse().unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = signed.clone();
        change(&mut changed.approval);
        let (cluster, edition) = (changed.approval.cluster, changed.approval.edition);
        let refused = open(&changed, 1, cluster, edition);
        assert_eq!(refused, Err(NotApproved::Signature), "change {number}");
    }
}

/// Whoever has a signature of a roster or of an update has none of an approval.
#[test]
fn what_is_signed_is_said() {
    let signed = approval().signed();
    let rest = [&7_u128.to_be_bytes()[..], &3_u64.to_be_bytes(), &[0xdd; 32], &[0xcc; 32]];
    let want = [b"coremax approval\0", &rest.concat()[..], b"worker-1"].concat();
    assert_eq!(signed.len(), want.len());
    assert!(signed.starts_with(b"coremax approval\0") && signed.ends_with(&want[33..]));
    let plain = operator(1).sign(&signed[DOMAIN.len()..]);
    let plain = SignedApproval { approval: approval(), signature: plain };
    let opened = plain.open(&[operator(1).public()], CLUSTER, EDITION);
    assert_eq!(opened, Err(NotApproved::Signature));
}

/// The page's own words: another implementation is written from them.
#[test]
fn requests_and_responses_are_written_as_the_page_says() {
    let signed = approval().sign(&operator(1));
    let signature = hex::encode(&signed.signature);
    let (dd, cc) = ("dd".repeat(32), "cc".repeat(32));
    let approve = format!(
        "{{\"ask\":{{\"approve\":{{\"approval\":{{\"cluster\":\"{CLUSTER}\",\"edition\":{{\"epoch\":3,\"digest\":\"{dd}\"}},\
         \"node\":\"{cc}\",\"name\":\"worker-1\"}},\"signature\":\"{signature}\"}}}}}}"
    );
    for (ask, want) in [
        (Ask::Status, "{\"ask\":\"status\"}"),
        (of_roster(3).ask, "{\"ask\":{\"roster\":\"AAAA\"}}"),
        (Ask::Approve(signed), &approve),
    ] {
        let json = String::from_utf8(encode_request(&Request { ask: ask.clone() }).unwrap());
        assert_eq!(json.unwrap(), want);
        assert_eq!(decode_request(want.as_bytes()), Ok(Request { ask }));
    }
    let refused = Refused { why: "no".into(), hint: None };
    for (told, want) in [
        (Told::Done, "{\"told\":\"done\"}"),
        (Told::Refused(refused), "{\"told\":{\"refused\":{\"why\":\"no\",\"hint\":null}}}"),
    ] {
        let json = String::from_utf8(encode_response(&Response { told: told.clone() }).unwrap());
        assert_eq!(json.unwrap(), want);
        assert_eq!(decode_response(want.as_bytes()), Ok(Response { told }));
    }
    let status = ClusterStatus::blank(Now { mono: 0, wall: 5 }, None);
    let told = Told::Status(Box::new(status));
    let json = encode_response(&Response { told: told.clone() }).unwrap();
    assert!(json.starts_with(b"{\"told\":{\"status\":{\"format\":1,"));
    let newer = String::from_utf8(json).unwrap().replace("\"format\":1", "\"format\":1,\"more\":0");
    assert_eq!(decode_response(newer.as_bytes()), Ok(Response { told }));
}

#[test]
fn what_a_request_may_not_be() {
    let longest = of_roster(ROSTER_MAX);
    assert_eq!(decode_request(&encode_request(&longest).unwrap()), Ok(longest));
    let error = encode_request(&of_roster(ROSTER_MAX + 1)).unwrap_err();
    assert!(matches!(error, Error::Many { .. }), "{error}");
    let long = String::from_utf8(encode_request(&of_roster(ROSTER_MAX)).unwrap()).unwrap();
    let over = long.replace("AA==", "AAA=");
    assert!(over != long && matches!(decode_request(over.as_bytes()), Err(Error::Many { .. })));
    let approve = Request { ask: Ask::Approve(approval().sign(&operator(1))) };
    let json = String::from_utf8(encode_request(&approve).unwrap()).unwrap();
    let change = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        json.replacen(from, to, 1)
    };
    for bad in [
        change("{\"ask\"", "{\"more\":0,\"ask\""),
        change("{\"approval\"", "{\"more\":0,\"approval\""),
        change("{\"cluster\"", "{\"more\":0,\"cluster\""),
        change("{\"epoch\"", "{\"more\":0,\"epoch\""),
        change("\"worker-1\"", "\"Worker\""),
        change(&"cc".repeat(32), &"cc".repeat(31)),
        change("\"signature\":\"", "\"signature\":\"0"),
        "{\"ask\":\"moon\"}".into(),
        "{\"ask\":\"roster\"}".into(),
        "{\"ask\":{\"roster\":\"AAA\"}}".into(),
        "{\"ask\":\"status\"}{}".into(),
        "{}".into(),
        String::new(),
    ] {
        assert!(matches!(decode_request(bad.as_bytes()), Err(Error::Json { .. })), "{bad}");
    }
    let long = [&b"{\"ask\":\"status\"}"[..], &vec![b' '; REQUEST_MAX]].concat();
    assert!(matches!(decode_request(&long), Err(Error::Length { .. })));
    let long = [&b"{\"told\":\"done\"}"[..], &vec![b' '; RESPONSE_MAX]].concat();
    assert!(matches!(decode_response(&long), Err(Error::Length { .. })));
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), known in 0_usize..4) {
        let begun = [&b""[..], b"{\"ask\":", b"{\"told\":", b"{\"ask\":{\"approve\":{\"approval\":"][known];
        let bytes = [begun, &bytes].concat();
        let _ = (decode_request(&bytes), decode_response(&bytes));
    }

    /// A byte changed is refused, or it is another request, which no operator signed.
    #[test]
    fn a_damaged_approval_approves_nothing(at: prop::sample::Index, byte: u8) {
        let request = Request { ask: Ask::Approve(approval().sign(&operator(1))) };
        let mut bytes = encode_request(&request).unwrap();
        let at = at.index(bytes.len());
        let before = std::mem::replace(&mut bytes[at], byte);
        if let Ok(Request { ask: Ask::Approve(read) }) = decode_request(&bytes) {
            let opened = read.open(&[operator(1).public()], CLUSTER, EDITION);
            // Hex digits have two cases.
            prop_assert!(before.eq_ignore_ascii_case(&byte) == opened.is_ok());
        }
    }
}
