use proptest::prelude::*;

use super::{
    Slot::{A, B},
    *,
};

fn state(blessed: Slot, trial: Option<(Slot, u8)>) -> State {
    State { blessed, trial: trial.map(|(slot, tries)| Trial { slot, tries }) }
}

#[test]
fn what_boots() {
    for (before, slot, after) in [
        (state(A, None), A, state(A, None)),
        (state(B, None), B, state(B, None)),
        (state(A, Some((B, 3))), B, state(A, Some((B, 2)))),
        (state(A, Some((B, 1))), B, state(A, Some((B, 0)))),
        (state(A, Some((B, 0))), A, state(A, Some((B, 0)))),
        (state(B, Some((A, 2))), A, state(B, Some((A, 1)))),
        (state(B, Some((B, 2))), B, state(B, Some((B, 1)))),
    ] {
        assert_eq!(choose(&before), (slot, after), "{before:?}");
        assert_eq!(boot(&before, |_| true), (Some(slot), after));
        assert_eq!(boot(&before, |loads| loads != slot), (Some(slot.other()), after));
        assert_eq!(boot(&before, |_| false), (None, after));
    }
}

#[test]
fn what_may_be_done() {
    let updated = State::NEW.begin_trial(B).unwrap();
    assert_eq!(updated, state(A, Some((B, 3))));
    assert_eq!(updated.begin_trial(A), Err(Error::Blessed(A)));
    assert_eq!(updated.free_slot(A), Ok(B));
    assert_eq!(updated.free_slot(B), Err(Error::OnTrial { running: B, blessed: A }));
    assert_eq!(updated.end_trial(), State::NEW);
    for (before, running, after) in [
        (state(A, Some((B, 2))), B, state(B, None)),
        // The old slot is healthy: that says nothing about an update begun since, or failed.
        (state(A, Some((B, 3))), A, state(A, Some((B, 3)))),
        (state(A, Some((B, 0))), A, state(A, Some((B, 0)))),
        // GRUB could not load the blessed slot.
        (state(A, None), B, state(B, None)),
    ] {
        assert_eq!(before.bless(running), after, "{before:?}");
    }
    for (before, running, after) in [
        (state(A, Some((B, 2))), B, state(A, Some((B, 0)))),
        (state(A, Some((B, 0))), B, state(A, Some((B, 0)))),
        (state(A, Some((B, 3))), A, state(A, Some((B, 0)))),
        (state(B, None), B, state(B, Some((A, 3)))),
        (state(A, Some((B, 0))), A, state(A, Some((B, 3)))),
        (state(A, None), B, state(A, None)),
    ] {
        assert_eq!(before.roll_back(running), after, "{before:?}");
    }
}

#[test]
fn the_slot_that_the_loader_took() {
    for (line, want) in [
        ("root=x coremax.slot=b quiet", Some(B)),
        ("coremax.slot=b coremax.slot=a\n", Some(A)),
        ("coremax.slot=c", None),
        ("coremax.slots=a", None),
        ("", None),
    ] {
        assert_eq!(Slot::of_command_line(line), want, "{line}");
    }
}

pub(super) fn any_state() -> impl Strategy<Value = State> {
    let slot = || prop::sample::select(Slot::BOTH.to_vec());
    (slot(), prop::option::of((slot(), 0..=TRIES))).prop_map(|(b, t)| state(b, t))
}

proptest! {
    #[test]
    fn a_trial_ends_by_itself(before in any_state()) {
        let mut now = before;
        for _ in 0..TRIES {
            now = choose(&now).1;
        }
        prop_assert_eq!(choose(&now), (before.blessed, now));
        prop_assert_eq!(now.blessed, before.blessed);
    }
}
