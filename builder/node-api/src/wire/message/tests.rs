use super::*;
use crate::wire::{FRAME_MAX, TAG};

#[test]
fn parts_make_one_message_and_no_longer_one() {
    for length in [1, 2, PART_MAX, PART_MAX + 1, ANSWER_MAX] {
        let message: Vec<u8> = (0..=250).cycle().take(length).collect();
        let mut parts = Parts::new(&[Message::Answer]);
        let payloads: Vec<_> = Parts::cut(Message::Answer, &message).collect();
        assert!(payloads.iter().all(|payload| payload.len() + TAG <= FRAME_MAX));
        let (last, others) = payloads.split_last().unwrap();
        for payload in others {
            assert_eq!(parts.take(payload), Ok(None));
        }
        assert_eq!(parts.take(last), Ok(Some(message)));
        assert_eq!(parts.take(&[0, b'x']), Ok(Some(vec![b'x'])), "what was before is left in it");
    }
    let mut parts = Parts::new(&[Message::Report]);
    for bad in [&[][..], &[0], &[1], &[2, b'x']] {
        assert!(parts.take(bad).is_err(), "{bad:?}");
    }
    let part = [&[1][..], &[b'x'; REPORT_MAX / 2]].concat();
    assert_eq!(parts.take(&part), Ok(None));
    assert_eq!(parts.take(&part), Ok(None));
    assert!(
        matches!(parts.take(&[0, b'x']), Err(Error::Length { length, .. }) if length == REPORT_MAX + 1)
    );
}

#[test]
fn the_first_part_says_of_which_kind_all_are() {
    const SEED: &[Message] = &[Message::Report, Message::Request];
    for kind in [Message::Report, Message::Request] {
        let long = vec![b'x'; kind.most()];
        let mut parts = Parts::new(SEED);
        assert_eq!(parts.kind(), None);
        let payloads: Vec<_> = Parts::cut(kind, &long).collect();
        let whole = payloads.iter().find_map(|payload| parts.take(payload).unwrap());
        assert_eq!((whole, parts.kind()), (Some(long), Some(kind)));
        for other in [Message::Report, Message::Request] {
            let payload = Parts::cut(other, b"x").next().unwrap();
            assert_eq!(parts.take(&payload).is_ok(), other == kind, "{other:?} after {kind:?}");
        }
    }
    // Nobody but a seed hears both.
    for (kind, other) in
        [(&[Message::Answer], Message::Response), (&[Message::Response], Message::Answer)]
    {
        let payload = Parts::cut(other, b"x").next().unwrap();
        assert!(matches!(Parts::new(kind).take(&payload), Err(Error::Value { .. })), "{other:?}");
    }
    for bad in [4, 5, 0x80, 0xff] {
        assert!(matches!(Parts::new(SEED).take(&[bad, b'x']), Err(Error::Value { .. })), "{bad}");
    }
}
