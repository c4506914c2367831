//! QEMU's control socket: commands with their replies, and events as they come.
//!
//! JSON lines: a greeting, then for each command `{"return": ...}` or `{"error": ...}`, and
//! `{"event": ...}` at any time. See <https://www.qemu.org/docs/master/interop/qmp-spec.html>.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use qapi::{
    Command, Execute, ExecuteError,
    qmp::{Event, QmpMessage, qmp_capabilities},
};

use crate::Error;

/// How long QEMU may take for a command; it answers in milliseconds unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Qmp {
    stream: UnixStream,
    replies: Receiver<Vec<u8>>,
}

impl Qmp {
    /// Takes over a fresh connection; `on_event` gets every event, and none at the end.
    pub(crate) fn connect(
        stream: UnixStream,
        on_event: impl FnMut(Option<Event>) + Send + 'static,
    ) -> Result<Self, Error> {
        let (reply, replies) = channel();
        let reader = stream.try_clone().map_err(|e| failed::<qmp_capabilities>(e.into()))?;
        thread::spawn(move || read(reader, on_event, |line| drop(reply.send(line))));
        let qmp = Self { stream, replies };
        qmp.execute(&qmp_capabilities { enable: None })?;
        Ok(qmp)
    }

    /// Runs a command.
    pub(crate) fn execute<C: Command>(&self, command: &C) -> Result<C::Ok, Error> {
        self.exchange(command).map_err(failed::<C>)
    }

    fn exchange<C: Command>(&self, command: &C) -> Result<C::Ok, ExecuteError> {
        let mut line =
            serde_json::to_vec(&Execute::<&C>::from(command)).map_err(io::Error::from)?;
        line.push(b'\n');
        (&self.stream).write_all(&line)?;
        let reply = self.replies.recv_timeout(PATIENCE).map_err(|e| match e {
            RecvTimeoutError::Timeout => io::Error::from(io::ErrorKind::TimedOut),
            RecvTimeoutError::Disconnected => io::ErrorKind::UnexpectedEof.into(),
        })?;
        match serde_json::from_slice(&reply).map_err(io::Error::from)? {
            QmpMessage::Response(response) => Ok(response.result()?),
            QmpMessage::Event(_) => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        }
    }
}

fn read(
    stream: UnixStream,
    mut on_event: impl FnMut(Option<Event>),
    mut on_reply: impl FnMut(Vec<u8>),
) {
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        match kind(&line) {
            Kind::Reply => on_reply(line),
            // An event that this version of the crate does not know is of no use here either.
            Kind::Event => serde_json::from_slice(&line).map_or((), |event| on_event(Some(event))),
            Kind::Other => {}
        }
    }
    on_event(None);
}

enum Kind {
    Reply,
    Event,
    Other,
}

fn kind(line: &[u8]) -> Kind {
    let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    if value.get("event").is_some() {
        Kind::Event
    } else if value.get("return").is_some() || value.get("error").is_some() {
        Kind::Reply
    } else {
        Kind::Other
    }
}

fn failed<C: Command>(source: ExecuteError) -> Error {
    Error::Qmp { command: C::NAME, source }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use qapi::qmp::query_status;

    use super::*;

    /// A QEMU that says these lines, one after each command after the greeting.
    fn double(lines: &'static [&'static str]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut commands = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut theirs = theirs;
            writeln!(theirs, "{{\"QMP\": {{}}}}").unwrap();
            for line in lines {
                commands.next();
                writeln!(theirs, "{line}").unwrap();
            }
        });
        ours
    }

    #[test]
    fn replies_and_events_are_told_apart() {
        let (seen, events) = channel();
        let stream = double(&[
            "{\"return\": {}}",
            "{\"event\":\"STOP\",\"timestamp\":{\"seconds\":1,\"microseconds\":2}}\n\
             {\"event\":\"OF_THE_FUTURE\",\"data\":{}}\n\
             {\"return\":{\"running\":false,\"singlestep\":false,\"status\":\"internal-error\"}}",
            "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}",
        ]);
        let qmp = Qmp::connect(stream, move |event| seen.send(event).unwrap()).unwrap();
        assert!(!qmp.execute(&query_status {}).unwrap().running);
        assert!(matches!(
            qmp.execute(&query_status {}),
            Err(Error::Qmp { command: "query-status", source: ExecuteError::Qapi(_) })
        ));
        assert!(matches!(events.recv().unwrap(), Some(Event::STOP { .. })));
        assert!(events.recv().unwrap().is_none(), "the end comes as none");
        assert!(matches!(
            qmp.execute(&query_status {}),
            Err(Error::Qmp { source: ExecuteError::Io(_), .. })
        ));
    }
}
