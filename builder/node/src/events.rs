//! What the node program says to the journal, each kind of event with an id that stays.
//!
//! It is sent by journald's own protocol, for a line on standard error carries no MESSAGE_ID:
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. `journalctl MESSAGE_ID=...` finds every event of a kind, whatever its
//! words are by then. Where there is no journald the words go to standard error. README has the same table.

use std::{os::unix::net::UnixDatagram, path::Path};

use anyhow::{Context as _, Result};
use coremax_node_api::guid::Guid;

const SOCKET: &str = "/run/systemd/journal/socket";
/// Bytes of a message or of a field, at most: a datagram has to take all of them. Set here.
const LONGEST: usize = 4096;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Phase,
    Identity,
    IdentityIgnored,
    Pending,
    Refused,
    ForeignDisk,
    BadOrders,
    ClockSet,
    Prepared,
    NotPrepared,
    AuthorityMade,
    Certified,
    Admitted,
    RosterPutIn,
    DeployBegun,
    StepEnded,
    StepFailed,
    Deployed,
}

/// How it counts: syslog's levels, RFC 5424, 6.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

use Level::{Error, Info, Notice, Warning};

/// Every kind: its id, for ever, how it counts, and what it is.
#[rustfmt::skip]
const TABLE: [(Event, u128, Level, &str); 18] = [
    (Event::Phase, 0x8b52_e595_5a45_48e4_82bd_6f3e_f86a_10f3, Info, "the node reached a phase"),
    (Event::Identity, 0xeb29_f3c2_2964_4b1d_bb4d_a080_9bf0_09dc, Error, "nobody says which cluster this machine is of, or what says it cannot be used"),
    (Event::IdentityIgnored, 0xa99b_979d_83c0_4f1d_ae6a_a5bc_91e5_15fb, Warning, "a source of the identity is ignored: it says otherwise than the one that holds, is broken, or has words that nobody knows"),
    (Event::Pending, 0xd5c9_8993_111a_481f_a310_84e3_a6e3_629e, Notice, "the node waits for a place"),
    (Event::Refused, 0x6dd4_61ca_b3c2_4253_aa40_846c_3a47_23c0, Error, "the seed refused the node"),
    (Event::ForeignDisk, 0x1b1a_c2a1_9261_458e_b7da_3354_ec7b_fd4e, Error, "the disk belongs to another machine"),
    (Event::BadOrders, 0xea81_8aac_4c6e_46ad_98e6_83f2_6dcd_2054, Error, "the seed's orders are none that the node may follow"),
    (Event::ClockSet, 0xcc75_b22a_60cd_4ce5_bb7d_d606_312a_aaec, Notice, "the clock was set to the seed's"),
    (Event::Prepared, 0x6ba5_0347_177b_4343_845a_f012_2dca_91c7, Info, "the files of the roster are written"),
    (Event::NotPrepared, 0x51e9_943f_a547_42bf_b680_96c9_550c_1efb, Error, "a file of the roster cannot be written, or is not taken"),
    (Event::AuthorityMade, 0x068a_e7a6_d1cf_4469_91af_eafb_b7e5_b893, Notice, "the seed made the cluster's authority"),
    (Event::Certified, 0xbf21_f383_611f_40be_9640_19c2_346c_b2ff, Info, "the seed gave a node certificates"),
    (Event::Admitted, 0xe6bb_75da_9cb6_40b3_a875_c808_5aee_53d8, Notice, "the seed gave a machine its row"),
    (Event::RosterPutIn, 0x2163_b6ab_1102_4b35_9e77_0285_ffdf_1b12, Notice, "the seed took in a newer roster"),
    (Event::DeployBegun, 0x6858_0e84_104f_47d8_9355_d5ed_f592_8982, Notice, "the seed deploys"),
    (Event::StepEnded, 0x7d55_b797_8832_4d42_95ec_b9da_19c0_b6e8, Info, "a step of the deployment is done"),
    (Event::StepFailed, 0x30db_36a8_1b2e_4230_aaf1_dfc2_45fa_279b, Error, "a step of the deployment failed"),
    (Event::Deployed, 0xc5e1_a4eb_12d1_4a08_85b9_95bc_120b_30fe, Notice, "the cluster is deployed"),
];

/// Says that it happened, in words and in fields: their names are upper-case letters, digits and underscores. Nothing is
/// waited for, and nothing comes of it where it cannot be said.
pub(crate) fn tell(event: Event, message: &str, fields: &[(&str, &str)]) {
    if let Err(error) = send(Path::new(SOCKET), event, message, fields) {
        let level = entry(event).map_or(Warning, |(_, level)| level);
        eprintln!("<{}>{message} ({error:#})", level as u8);
    }
}

fn send(socket: &Path, event: Event, message: &str, fields: &[(&str, &str)]) -> Result<()> {
    let text = entry_text(event, message, fields);
    let to = UnixDatagram::unbound().context("making a socket")?;
    to.set_nonblocking(true).context("making a socket")?;
    to.send_to(&text, socket).with_context(|| format!("writing to {}", socket.display()))?;
    Ok(())
}

fn entry(event: Event) -> Option<(Guid, Level)> {
    let row = TABLE.iter().find(|(other, ..)| *other == event);
    row.map(|(_, id, level, _)| (Guid::literal(*id), *level))
}

/// One entry of the journal.
fn entry_text(event: Event, message: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    if let Some((id, level)) = entry(event) {
        field(&mut text, "MESSAGE_ID", &id.to_string().replace('-', ""));
        field(&mut text, "PRIORITY", &(level as u8).to_string());
    }
    field(&mut text, "SYSLOG_IDENTIFIER", "coremax-node");
    field(&mut text, "MESSAGE", message);
    fields.iter().for_each(|(name, value)| field(&mut text, name, value));
    text
}

/// With its length before it, so that no line feed in a value begins another field.
fn field(text: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.len().min(LONGEST)];
    text.extend(
        [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat(),
    );
}

#[cfg(test)]
mod tests {
    use coremax_sandbox::{Cmd, Sandbox};
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_event_has_an_id_of_its_own_that_readme_names() {
        let readme = include_str!("../../../README.md");
        for (number, (event, id, _, what)) in TABLE.iter().enumerate() {
            let id = Guid::literal(*id).to_string().replace('-', "");
            assert!(
                TABLE[..number]
                    .iter()
                    .all(|(other, before, ..)| other != event && before != &TABLE[number].1)
            );
            assert_eq!((&id[12..13], id.len()), ("4", 32), "{event:?} is a random UUID");
            assert!(
                readme.contains(&format!("| `{id}` | {what} |")),
                "README lacks | `{id}` | {what} |"
            );
        }
    }

    #[test]
    fn a_value_begins_no_field() {
        let text = entry_text(Event::Phase, "one\nPRIORITY=0", &[("COREMAX_PHASE", "é")]);
        let message = [b"\nMESSAGE\n\x0e\0\0\0\0\0\0\0".as_slice(), b"one\nPRIORITY=0\n"].concat();
        assert!(text.windows(message.len()).any(|part| part == message));
        assert!(text.ends_with("COREMAX_PHASE\n\x02\0\0\0\0\0\0\0é\n".as_bytes()));
        let long = entry_text(Event::Phase, &"é".repeat(LONGEST), &[]);
        assert!(long.len() < LONGEST + 200);
    }

    #[test]
    fn without_journald_nothing_fails() {
        assert!(send(Path::new("/nowhere"), Event::Phase, "x", &[]).is_err());
    }

    /// A journald of the test's own, in a /run that nobody else has.
    #[test]
    fn journald_finds_it_by_its_id() {
        let journald = "/lib/systemd/systemd-journald";
        if !rustix::process::geteuid().is_root() || !Path::new(journald).exists() {
            return coremax_skip::skip(format_args!(
                "{journald} runs as root alone, if it is here"
            ));
        }
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().display().to_string();
        let script =
            "mount --bind $1 /run; mkdir -p /run/log/journal; exec /lib/systemd/systemd-journald";
        let arguments = ["--mount", "sh", "-euc", script, "sh", &run];
        let mut server = Cmd::new("unshare", &Sandbox::host()).args(arguments).spawn().unwrap();
        let socket = folder.path().join("systemd/journal/socket");
        let tell = |event, text: &str| send(&socket, event, text, &[("COREMAX_PHASE", "ready")]);
        while tell(Event::Phase, "it is\nready").is_err() {
            assert!(server.try_wait().unwrap().is_none(), "journald ended");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        tell(Event::Pending, "it waits").unwrap();
        let id = Guid::literal(TABLE[0].1).to_string().replace('-', "");
        let script = "mount --bind $1 /run; journalctl --sync >/dev/null 2>&1 || true
            for n in $(seq 100); do
                journalctl -q -o json -D /run/log/journal MESSAGE_ID=$2 >$1/found
                if test -s $1/found; then break; fi; sleep 0.1
            done; cat $1/found";
        let arguments = ["--mount", "sh", "-euc", script, "sh", &run, &id];
        let found = Cmd::new("unshare", &Sandbox::host()).args(arguments).run().unwrap();
        server.kill().unwrap();
        let text = String::from_utf8(found.stdout).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!(lines[0]["MESSAGE"], "it is\nready");
        assert_eq!(
            (&lines[0]["PRIORITY"], &lines[0]["COREMAX_PHASE"]),
            (&"6".into(), &"ready".into())
        );
    }
}
