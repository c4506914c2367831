//! Reports and answers, requests and responses, and the parts that they travel in.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    ANSWER_MAX, Ask, DISKS_MAX, Error, MACS_MAX, PART_MAX, PATH_MAX, REPORT_MAX, REQUEST_MAX,
    RESPONSE_MAX, ROSTER_MAX, Request, Response, SERIAL_MAX, Told,
};
use crate::{
    join::{Answer, Report, Verdict},
    roster::NODES_MAX,
};

/// What the first byte of a part says: more parts follow; the message is an operator's, or to one.
const MORE: u8 = 1;
const OPERATORS: u8 = 2;

/// What one end of a connection has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A node's.
    Report,
    /// A seed's to a node.
    Answer,
    /// An operator's.
    Request,
    /// A seed's to an operator.
    Response,
}

impl Message {
    /// Bytes of one, at most.
    pub const fn most(self) -> usize {
        match self {
            Self::Report => REPORT_MAX,
            Self::Answer => ANSWER_MAX,
            Self::Request => REQUEST_MAX,
            Self::Response => RESPONSE_MAX,
        }
    }

    const fn mark(self) -> u8 {
        match self {
            Self::Report | Self::Answer => 0,
            Self::Request | Self::Response => OPERATORS,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Answer => "answer",
            Self::Request => "request",
            Self::Response => "response",
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

/// The bytes of a request.
///
/// # Errors
/// Where its receiver would refuse it.
pub fn encode_request(request: &Request) -> Result<Vec<u8>, Error> {
    check_request(request)?;
    encode(Message::Request, request)
}

/// The request that these bytes are. The roster in it is as long as one may be, and else unread; an approval is believed by
/// nobody before its signature was looked at.
///
/// # Errors
/// [`Error::Length`], [`Error::Json`], [`Error::Many`].
pub fn decode_request(bytes: &[u8]) -> Result<Request, Error> {
    let request = decode(Message::Request, bytes)?;
    check_request(&request)?;
    Ok(request)
}

/// The bytes of a response: texts and lists of a status that are longer than they may be are cut.
///
/// # Errors
/// Where its receiver would refuse it.
pub fn encode_response(response: &Response) -> Result<Vec<u8>, Error> {
    match &response.told {
        Told::Status(status) => {
            let told = Told::Status(Box::new(status.short()));
            encode(Message::Response, &Response { told })
        }
        _ => encode(Message::Response, response),
    }
}

/// The response that these bytes are.
///
/// # Errors
/// [`Error::Length`], [`Error::Json`].
pub fn decode_response(bytes: &[u8]) -> Result<Response, Error> {
    decode(Message::Response, bytes)
}

fn check_request(request: &Request) -> Result<(), Error> {
    let Ask::Roster(roster) = &request.ask else { return Ok(()) };
    at_most(Message::Request, "bytes of a roster", roster.0.len(), ROSTER_MAX)
}

fn check_report(report: &Report) -> Result<(), Error> {
    let Report { hardware, unreached, build, .. } = report;
    at_most(Message::Report, "rows that are not reached", unreached.len(), NODES_MAX)?;
    at_most(Message::Report, "MACs", hardware.macs.len(), MACS_MAX)?;
    at_most(Message::Report, "disks", build.disks.len(), DISKS_MAX)?;
    let longest = build.disks.iter().map(|disk| disk.path.len()).max().unwrap_or_default();
    at_most(Message::Report, "bytes of a disk's path", longest, PATH_MAX)?;
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
    /// What may come, not both of it by one connection.
    kinds: &'static [Message],
    /// What has come.
    kind: Option<Message>,
    whole: Vec<u8>,
}

impl Parts {
    /// Waits for messages of one of these kinds, of which there is one at least: the first part says of which.
    pub const fn new(kinds: &'static [Message]) -> Self {
        Self { kinds, kind: None, whole: Vec::new() }
    }

    /// Which kind it is; nothing before the first part came.
    pub const fn kind(&self) -> Option<Message> {
        self.kind
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
    /// means nothing here.
    pub fn take(&mut self, payload: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let what = self.kind.or(self.kinds.first().copied()).map_or("message", Message::what);
        let (mark, part) = match payload {
            [mark, part @ ..] if !part.is_empty() => (*mark, part),
            _ => return Err(Error::Length { what, length: 0, allowed: PART_MAX }),
        };
        let is_it = |kind: &&Message| {
            kind.mark() == mark & !MORE && self.kind.is_none_or(|before| before == **kind)
        };
        let kind = self.kinds.iter().find(is_it).copied();
        let kind = kind.ok_or(Error::Value { what, value: u64::from(mark) })?;
        self.kind = Some(kind);
        check_length(kind, self.whole.len() + part.len())?;
        self.whole.extend_from_slice(part);
        Ok((mark & MORE == 0).then(|| std::mem::take(&mut self.whole)))
    }

    /// The payloads of the frames that a message goes in.
    pub fn cut(kind: Message, message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let parts = message.len().div_ceil(PART_MAX);
        message.chunks(PART_MAX).enumerate().map(move |(number, part)| {
            let more = if number + 1 == parts { 0 } else { MORE };
            [&[kind.mark() | more], part].concat()
        })
    }
}

#[cfg(test)]
mod tests;
