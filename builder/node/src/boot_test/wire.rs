//! JSON lines over a virtio-serial port. The port can be opened once, so one file serves both ways.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    path::Path,
};

use anyhow::{Context, Result};
use coremax_node_api::{
    LINE_MAX,
    boot_test::{FromGuest, ToGuest},
    decode, encode,
};

/// The port to the tester.
pub(crate) struct Wire<F = File> {
    file: BufReader<F>,
}

impl Wire {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { file: BufReader::new(file) })
    }
}

impl<F: Read + Write> Wire<F> {
    pub(crate) fn say(&mut self, message: &FromGuest) -> Result<()> {
        let line = encode(message).context("writing a message to the tester")?;
        self.file.get_mut().write_all(&line).context("writing to the tester")
    }

    /// The next message, none when the tester has hung up; inside, why a line is no message.
    pub(crate) fn hear(&mut self) -> Result<Option<Result<ToGuest>>> {
        let mut line = Vec::new();
        let limit = LINE_MAX as u64 + 1;
        self.file
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut line)
            .context("reading from the tester")?;
        if line.is_empty() {
            return Ok(None);
        }
        Ok(Some(decode(&line).map_err(anyhow::Error::from)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn lines_are_messages_or_say_why_not() {
        let mut wire =
            Wire { file: BufReader::new(Cursor::new(b"{\"power_off\":{}}\n!\n".to_vec())) };
        assert_eq!(wire.hear().unwrap().unwrap().unwrap(), ToGuest::PowerOff {});
        assert!(wire.hear().unwrap().unwrap().is_err());
        assert!(wire.hear().unwrap().is_none());
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut wire = Wire { file: BufReader::new(Cursor::new(vec![b' '; 3 * LINE_MAX])) };
        assert!(wire.hear().unwrap().unwrap().is_err());
    }
}
