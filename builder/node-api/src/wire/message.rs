//! Reports and answers, and the parts that they travel in.

use serde::{Serialize, de::DeserializeOwned};

use super::{ANSWER_MAX, Error, MACS_MAX, PART_MAX, REPORT_MAX, ROSTER_MAX, SERIAL_MAX};
use crate::{
    join::{Answer, Report, Verdict},
    roster::NODES_MAX,
};

const MORE: u8 = 1;
const LAST: u8 = 0;

/// What one end of a connection has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A node's.
    Report,
    /// A seed's.
    Answer,
}

impl Message {
    /// Bytes of one, at most.
    pub const fn most(self) -> usize {
        match self {
            Self::Report => REPORT_MAX,
            Self::Answer => ANSWER_MAX,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Answer => "answer",
        }
    }
}

/// The bytes of a report.
///
/// # Errors
/// Where its receiver would refuse it.
pub fn encode_report(report: &Report) -> Result<Vec<u8>, Error> {
    check_report(report)?;
    encode(Message::Report, report)
}

/// The report that these bytes are.
///
/// # Errors
/// [`Error::Length`], [`Error::Json`], [`Error::Many`].
pub fn decode_report(bytes: &[u8]) -> Result<Report, Error> {
    let report = decode(Message::Report, bytes)?;
    check_report(&report)?;
    Ok(report)
}

/// The bytes of an answer.
///
/// # Errors
/// Where its receiver would refuse it.
pub fn encode_answer(answer: &Answer) -> Result<Vec<u8>, Error> {
    check_answer(answer)?;
    encode(Message::Answer, answer)
}

/// The answer that these bytes are. The roster in it is as long as one may be, and else unread.
///
/// # Errors
/// [`Error::Length`], [`Error::Json`], [`Error::Many`].
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, Error> {
    let answer = decode(Message::Answer, bytes)?;
    check_answer(&answer)?;
    Ok(answer)
}

fn check_report(report: &Report) -> Result<(), Error> {
    let Report { hardware, unreached, .. } = report;
    at_most(Message::Report, "rows that are not reached", unreached.len(), NODES_MAX)?;
    at_most(Message::Report, "MACs", hardware.macs.len(), MACS_MAX)?;
    let serial = hardware.serial.as_deref().unwrap_or_default();
    at_most(Message::Report, "bytes of a serial number", serial.len(), SERIAL_MAX)
}

fn check_answer(answer: &Answer) -> Result<(), Error> {
    let Verdict::Member(orders) = &answer.verdict else { return Ok(()) };
    let roster = orders.roster.as_deref().unwrap_or_default();
    at_most(Message::Answer, "bytes of a roster", roster.len(), ROSTER_MAX)
}

fn at_most(of: Message, what: &'static str, count: usize, allowed: usize) -> Result<(), Error> {
    match count <= allowed {
        true => Ok(()),
        false => Err(Error::Many { what: of.what(), of: what, count, allowed }),
    }
}

fn encode<T: Serialize>(kind: Message, message: &T) -> Result<Vec<u8>, Error> {
    let broken =
        |error: serde_json::Error| Error::Json { what: kind.what(), column: error.column() };
    let bytes = serde_json::to_vec(message).map_err(broken)?;
    check_length(kind, bytes.len())?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(kind: Message, bytes: &[u8]) -> Result<T, Error> {
    check_length(kind, bytes.len())?;
    let broken =
        |error: serde_json::Error| Error::Json { what: kind.what(), column: error.column() };
    serde_json::from_slice(bytes).map_err(broken)
}

fn check_length(kind: Message, length: usize) -> Result<(), Error> {
    let allowed = kind.most();
    match length <= allowed {
        true => Ok(()),
        false => Err(Error::Length { what: kind.what(), length, allowed }),
    }
}

/// Puts together what arrives in parts.
#[derive(Debug)]
pub struct Parts {
    kind: Message,
    whole: Vec<u8>,
}

impl Parts {
    /// Waits for messages of this kind.
    pub const fn new(kind: Message) -> Self {
        Self { kind, whole: Vec::new() }
    }

    /// Bytes of the message that have arrived.
    #[cfg(test)]
    pub(super) fn whole(&self) -> usize {
        self.whole.len()
    }

    /// Takes the payload of one frame. The message, when this was its last part.
    ///
    /// # Errors
    /// [`Error::Length`] for an empty part and for more than a message may have, [`Error::Value`] for a first byte that
    /// means nothing.
    pub fn take(&mut self, payload: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let what = self.kind.what();
        let (mark, part) = match payload {
            [mark @ (LAST | MORE), part @ ..] if !part.is_empty() => (*mark, part),
            [LAST | MORE] | [] => return Err(Error::Length { what, length: 0, allowed: PART_MAX }),
            [mark, ..] => return Err(Error::Value { what, value: u64::from(*mark) }),
        };
        check_length(self.kind, self.whole.len() + part.len())?;
        self.whole.extend_from_slice(part);
        Ok((mark == LAST).then(|| std::mem::take(&mut self.whole)))
    }

    /// The payloads of the frames that a message goes in.
    pub fn cut(message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let parts = message.len().div_ceil(PART_MAX);
        message.chunks(PART_MAX).enumerate().map(move |(number, part)| {
            let mark = if number + 1 == parts { LAST } else { MORE };
            [&[mark], part].concat()
        })
    }
}
