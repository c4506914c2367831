//! What became of the calls that came to nothing, in clear, for people. Nobody proved anything by it, and nobody acts on it.

use std::net::SocketAddr;

use coremax_channel::Failure;
use coremax_node_api::wire;

use super::line::End;

/// For how long the word of somebody who answered counts before silence at other addresses, in milliseconds. Set here: each of
/// several addresses has its turn in that time.
const SAID_FOR: u64 = 300_000;

/// The last one that is worth telling.
#[derive(Debug, Default)]
pub(super) struct Hint {
    text: Option<String>,
    /// When somebody said it, by the machine's clock; nothing where the network failed.
    said: Option<u64>,
}

impl Hint {
    /// A call to there has ended like this. That another address is silent hides no `bad-key`.
    pub(super) fn ended(&mut self, to: Option<SocketAddr>, why: &End, now: u64) {
        let is_said = is_a_word(why);
        let is_fresh = self.said.is_some_and(|said| now.saturating_sub(said) < SAID_FOR);
        if is_said || !is_fresh {
            let to = to.map(|to| format!("{to}: ")).unwrap_or_default();
            self.text = Some(format!("{to}{why}"));
            self.said = is_said.then_some(now);
        }
    }

    /// Somebody answered who has proven the cluster's key.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    pub(super) fn text(&self) -> Option<&String> {
        self.text.as_ref()
    }
}

fn is_a_word(why: &End) -> bool {
    matches!(why, End::Channel(Failure::Told(_) | Failure::Wire(wire::Error::OtherVersion { .. })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_hides_no_word() {
        let mut hint = Hint::default();
        let to = |last: u8| Some(SocketAddr::from(([10, 0, 0, last], 7433)));
        let (closed, bad_key) = (End::Closed, End::Channel(Failure::Told(wire::Word::BadKey)));
        for (last, why, now, want) in [
            (1, &closed, 0, "10.0.0.1:7433: the other end closed"),
            (2, &bad_key, 1, "10.0.0.2:7433: "),
            (1, &closed, SAID_FOR, "10.0.0.2:7433: "),
            (3, &bad_key, SAID_FOR, "10.0.0.3:7433: "),
            (1, &closed, 2 * SAID_FOR, "10.0.0.1:7433: the other end closed"),
        ] {
            hint.ended(to(last), why, now);
            assert!(hint.text().unwrap().starts_with(want), "{hint:?}");
        }
        hint.answered();
        assert_eq!(hint.text(), None);
    }
}
