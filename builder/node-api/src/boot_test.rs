//! The boot test: what a tester asks a guest, and what the guest answers.
//!
//! The two speak JSON lines over the virtio-serial port [`PORT`]:
//!
//! ```text
//! guest   {"hello":{"protocol":1,"node_version":"0.1.0","stage":"starting"}}
//! tester  {"request":{"protocol":1,"nonce":"<32 hex digits>","expect":{"units":["ssh.service"]}}}
//! guest   {"waiting":{"jobs":["systemd-networkd-wait-online.service"]}}     any number of times
//! guest   {"answer":{"nonce":"<the same>","checks":[...],"facts":{...}}}
//! tester  {"power_off":{}}
//! ```
//!
//! Version rule: a field may be added without a new number, and an unknown field is ignored. What
//! changes a meaning raises [`PROTOCOL`]; the tester then refuses guests of another number by name.
//! An expectation that an older guest does not know is no silent pass: [`Answer::problems`] misses
//! its check.

mod answer;
mod expect;

pub use answer::{Answer, Check, Facts, Firmware, Kind, Root, Times};
pub use expect::{Expect, Listen, Nonce, Package, Transport};

use serde::{Deserialize, Serialize};

/// The version of this protocol.
pub const PROTOCOL: u32 = 1;

/// The name of the virtio-serial port, seen in the guest as `/dev/virtio-ports/` and this.
pub const PORT: &str = "coremax.boot-test";

/// What a tester says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToGuest {
    /// Check yourself and answer.
    Request(Request),
    /// Power off in an orderly way; there is no answer.
    PowerOff {},
}

/// What a guest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromGuest {
    /// The node program runs.
    Hello(Hello),
    /// systemd has not finished booting yet.
    Waiting {
        /// The units it waits for.
        jobs: Vec<String>,
    },
    /// The guest has checked itself.
    Answer(Box<Answer>),
    /// The guest could not understand a request.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

/// The first message: who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol the guest speaks.
    pub protocol: u32,
    /// The version of its node program.
    pub node_version: String,
    /// systemd's state at this moment, as `systemctl is-system-running` names it.
    pub stage: String,
}

/// What a tester asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The protocol the tester speaks.
    pub protocol: u32,
    /// To be sent back: proof that the answer belongs to this boot.
    pub nonce: Nonce,
    /// What must hold.
    pub expect: Expect,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{decode, encode};

    fn request() -> Request {
        Request {
            protocol: PROTOCOL,
            nonce: Nonce::from_bytes([7; 16]),
            expect: Expect {
                packages: vec!["openssh-server".parse().unwrap()],
                listens: vec!["tcp/22".parse().unwrap()],
                ..Expect::default()
            },
        }
    }

    #[test]
    fn messages_have_the_documented_form() {
        let table = [
            (
                encode(&ToGuest::Request(request())).unwrap(),
                r#"{"request":{"protocol":1,"nonce":"07070707070707070707070707070707","expect":{"packages":["openssh-server"],"files":[],"units":[],"listens":["tcp/22"]}}}"#,
            ),
            (encode(&ToGuest::PowerOff {}).unwrap(), r#"{"power_off":{}}"#),
            (
                encode(&FromGuest::Waiting { jobs: vec!["a.service".into()] }).unwrap(),
                r#"{"waiting":{"jobs":["a.service"]}}"#,
            ),
        ];
        for (line, want) in table {
            assert_eq!(String::from_utf8(line).unwrap(), format!("{want}\n"));
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_expectations_are_empty() {
        let line = br#"{"request":{"protocol":1,"nonce":"07070707070707070707070707070707","expect":{"moon":["full"]},"more":1}}"#;
        let ToGuest::Request(request) = decode(line).unwrap() else { panic!() };
        assert_eq!(request.expect, Expect::default());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode::<ToGuest>(&bytes);
            let _ = decode::<FromGuest>(&bytes);
        }

        #[test]
        fn damaged_messages_never_panic(at in 0usize..200, byte in any::<u8>()) {
            let mut line = encode(&ToGuest::Request(request())).unwrap();
            let at = at % line.len();
            line[at] = byte;
            let _ = decode::<ToGuest>(&line);
        }
    }
}
