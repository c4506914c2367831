//! The lines between a machine and its tester, each read by a thread into one channel.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::Sender,
    thread,
};

use coremax_node_api::{LINE_MAX, boot_test::FromGuest, decode};
use qapi::qmp::Event;

use crate::{Error, error::file};

/// How much of a line's text is kept. Set by us: a guest that prints without end must not fill
/// the disk; a whole boot with every message is below 1 MiB.
const LOG_MAX: usize = 16 << 20;

/// What a machine says.
#[derive(Debug)]
pub(crate) enum Input {
    /// Text on the serial line.
    Serial(Vec<u8>),
    /// Text of the firmware, on the debug port.
    Debug(Vec<u8>),
    /// A message of the node program, or why a line is none.
    Node(Result<FromGuest, String>),
    /// An event of QEMU's.
    Event(Box<Event>),
    /// QEMU has ended.
    Ended,
}

/// Sends all that `stream` says, as it comes, and keeps it in the file `log`.
pub(crate) fn follow(
    stream: &UnixStream,
    log: &Path,
    inputs: &Sender<Input>,
    input: fn(Vec<u8>) -> Input,
) -> Result<(), Error> {
    let mut stream = stream.try_clone().map_err(file("reading", log))?;
    let mut kept = Kept { file: File::create(log).map_err(file("making", log))?, left: LOG_MAX };
    let inputs = inputs.clone();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            kept.write(&buffer[..length]);
            if inputs.send(input(buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    Ok(())
}

/// Sends every message that the node program says.
pub(crate) fn follow_node(stream: &UnixStream, inputs: &Sender<Input>) -> Result<(), Error> {
    let stream = stream.try_clone().map_err(file("reading", "the node's port"))?;
    let inputs = inputs.clone();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        while let Some(message) = hear(&mut stream) {
            let stop = message.is_err();
            if inputs.send(Input::Node(message)).is_err() || stop {
                break;
            }
        }
    });
    Ok(())
}

fn hear(stream: &mut impl BufRead) -> Option<Result<FromGuest, String>> {
    let mut line = Vec::new();
    match stream.take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line) {
        Ok(1..) => Some(decode(&line).map_err(|e| complaint(&e))),
        _ => None,
    }
}

fn complaint(error: &coremax_node_api::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

struct Kept {
    file: File,
    left: usize,
}

impl Kept {
    /// The log is a help, not a proof: a full disk does not end a test.
    fn write(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.left)];
        self.left -= bytes.len();
        let _ = self.file.write_all(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, sync::mpsc::channel};

    use super::*;

    #[test]
    fn a_line_is_kept_and_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (sender, inputs) = channel();
        let log = folder.path().join("serial.log");
        follow(&ours, &log, &sender, Input::Serial).unwrap();
        drop(sender);
        theirs.write_all(b"Linux version 6.1\n").unwrap();
        drop(theirs);
        let said: Vec<u8> = inputs
            .iter()
            .flat_map(|input| match input {
                Input::Serial(bytes) => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said, b"Linux version 6.1\n");
        assert_eq!(std::fs::read(log).unwrap(), said);
    }

    #[test]
    fn a_node_that_talks_nonsense_is_told() {
        let mut lines = Cursor::new(b"{\"waiting\":{\"jobs\":[]}}\n{\"moon\":1}\n".to_vec());
        assert!(hear(&mut lines).unwrap().is_ok());
        let said = hear(&mut lines).unwrap().unwrap_err();
        assert!(said.contains("moon"), "{said}");
        assert!(hear(&mut lines).is_none());
        assert!(hear(&mut Cursor::new(vec![b' '; 2 * LINE_MAX])).unwrap().is_err());
    }
}
