//! Probes: anybody's bytes, from anywhere.

use super::*;
use crate::roster::MTU;

const PROBE: Probe = Probe { cluster: [7; 32], is_answer: false, nonce: 0x0102_0304_0506_0708 };

/// The page's own words.
#[test]
fn a_probe_is_written_as_the_page_says() {
    for (mtu, length) in [(MTU.0, 1252), (1500, 1472), (MTU.1, 9188)] {
        let bytes = encode_probe(&PROBE, mtu);
        assert_eq!(bytes.len(), length);
        let said = [&b"coremaxP\0\x01"[..], &[7; 32], &[0, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
        assert_eq!(bytes[..51], said);
        assert!(bytes[51..].iter().all(|byte| *byte == 0));
        assert_eq!(decode_probe(&bytes, mtu), Ok(PROBE));
    }
    let answer = Probe { is_answer: true, ..PROBE };
    let bytes = encode_probe(&answer, 1500);
    assert_eq!((bytes[42], decode_probe(&bytes, 1500)), (1, Ok(answer)));
}

#[test]
fn a_probe_is_its_own_length_and_version() {
    let bytes = encode_probe(&PROBE, 1500);
    for (bad, want) in [
        (vec![], "a probe has 0 bytes, where 1472 are allowed"),
        (bytes[..51].to_vec(), "a probe has 51 bytes, where 1472 are allowed"),
        (bytes[..1471].to_vec(), "a probe has 1471 bytes"),
        ([&bytes[..], &[0]].concat(), "a probe has 1473 bytes"),
        (encode_probe(&PROBE, 9000), "a probe has 8972 bytes"),
        (with(&bytes, 7, b"B"), "this is no probe"),
        (encode_beacon(&BEACON).to_vec(), "this is no probe"),
        (
            with(&bytes, 8, &[0, 2]),
            "the probe is of version 2 of the protocol, and this program speaks version 1",
        ),
        (with(&bytes, 42, &[2]), "the probe says 2, which means nothing"),
        (with(&bytes, 51, &[3]), "the probe says 3, which means nothing"),
        (with(&bytes, 1471, &[4]), "the probe says 4, which means nothing"),
    ] {
        let error = decode_probe(&bad, 1500).unwrap_err().to_string();
        assert!(error.contains(want), "{error}, not {want}");
    }
    assert!(decode_beacon(&bytes[..BEACON_MAX]).is_err());
}

proptest! {
    #[test]
    fn what_is_asked_is_heard(cluster: [u8; 32], is_answer: bool, nonce: u64, mtu in MTU.0..=MTU.1) {
        let probe = Probe { cluster, is_answer, nonce };
        prop_assert_eq!(decode_probe(&encode_probe(&probe, mtu), mtu), Ok(probe));
    }

    /// Whatever comes, under whatever MTU: nothing panics, and what is taken is what was sent.
    #[test]
    fn foreign_probes_never_panic(bytes in vec(any::<u8>(), 0..200), at: prop::sample::Index, byte: u8, mtu: u16) {
        let _ = decode_probe(&bytes, mtu);
        let _ = decode_probe(&[&b"coremaxP\0\x01"[..], &bytes].concat(), mtu);
        let mut damaged = encode_probe(&PROBE, mtu);
        let at = at.index(damaged.len());
        damaged[at] = byte;
        if let Ok(read) = decode_probe(&damaged, mtu) {
            prop_assert_eq!(encode_probe(&read, mtu), damaged);
        }
    }
}
