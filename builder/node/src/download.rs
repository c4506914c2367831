//! An update that comes over the network: read from front to back, and kept in a file while it comes.
//!
//! What was fetched stays there when the connection breaks, the program is killed or the power goes, and the next run
//! asks for what lies behind it (range requests: RFC 9110, 14). Whether it is right is for the reader to say, who has
//! the digests; a file that went on as another one is found out by them.

mod error;
mod names;
mod web;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use coremax_node_api::update::Digest;

pub(crate) use error::Error;
pub(crate) use names::{Names, addresses};
use web::{Address, Answer, Web};
pub(crate) use web::{certificates, trust};

/// Attempts without a byte more, before it is given up.
const ATTEMPTS: u32 = 5;
/// The wait before the second of them; it doubles from there.
const PAUSE: Duration = Duration::from_secs(1);

/// An update on its way.
pub(crate) struct Download {
    address: Address,
    web: Web,
    kept: Kept,
    /// Where the reader is, in bytes.
    at: u64,
    answer: Option<Answer>,
    /// The server has no more than is kept.
    ended: bool,
    /// What was kept when this began, in bytes.
    resumed: u64,
    /// What was kept when the server was last thought to have more, in bytes.
    expected: u64,
    pause: Duration,
}

impl Download {
    /// Goes on with what `folder` keeps of the file at `url`. What it keeps of others goes.
    ///
    /// # Errors
    /// What is no http or https URL, unreadable certificates, a folder that cannot be written to.
    pub(crate) fn open(url: &str, folder: &Path) -> Result<Self, Error> {
        let address = Address::parse(url)?;
        let web = Web::new(&address)?;
        let kept = Kept::open(folder, &Digest::of(url).to_string())?;
        let (resumed, expected, pause) = (kept.length, kept.length, PAUSE);
        Ok(Self { address, web, kept, at: 0, answer: None, ended: false, resumed, expected, pause })
    }

    /// How many bytes were here before anybody was asked; none where all is fetched.
    pub(crate) fn resumed(&self) -> Option<u64> {
        Some(self.resumed).filter(|bytes| *bytes > 0)
    }

    /// Reads what is kept again from its beginning.
    pub(crate) fn rewind(&mut self) {
        self.at = 0;
    }

    /// Asks again for what lies behind the end: a server that does not tell a file's length cannot be told from one
    /// that broke off. False if nothing came since the last time.
    pub(crate) fn go_on(&mut self) -> bool {
        let grew = self.kept.length > self.expected;
        (self.expected, self.answer, self.ended) = (self.kept.length, None, false);
        grew
    }

    /// Fetches all of it again.
    ///
    /// # Errors
    /// A file that cannot be written to.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.kept.clear()?;
        (self.at, self.answer, self.ended) = (0, None, false);
        (self.resumed, self.expected) = (0, 0);
        Ok(())
    }

    /// Keeps nothing of it.
    pub(crate) fn forget(self) {
        let _ = fs::remove_file(&self.kept.path); // the next download clears the folder
    }

    /// Fetches what comes next and keeps it; 0 at the end. A broken connection is another attempt.
    fn fetch(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut attempt = 1;
        while !self.ended {
            match self.try_fetch(buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.kept.append(&buffer[..count])?;
                    return Ok(count);
                }
                Err(error) if attempt == ATTEMPTS || !error.is_passing() => return Err(error),
                Err(_) => {
                    self.answer = None;
                    thread::sleep(self.pause * 2_u32.pow(attempt - 1));
                    attempt += 1;
                }
            }
        }
        Ok(0)
    }

    fn try_fetch(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let answer = match &mut self.answer {
            Some(answer) => answer,
            none => match self.web.ask(&self.address, self.kept.length)? {
                Some(answer) => none.insert(answer),
                None => return Ok(0),
            },
        };
        answer.read(&self.address, buffer)
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.kept.read(self.at, buffer)? {
            0 if !buffer.is_empty() => self.fetch(buffer).map_err(io::Error::other)?,
            count => count,
        };
        self.at += count as u64;
        Ok(count)
    }
}

/// The file that holds what was fetched.
struct Kept {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Kept {
    fn open(folder: &Path, name: &str) -> Result<Self, Error> {
        let path = folder.join(name);
        let open = || {
            fs::create_dir_all(folder)?;
            for other in fs::read_dir(folder)?.flatten().filter(|found| *found.file_name() != *name)
            {
                fs::remove_file(other.path())?;
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        match open() {
            Ok((file, length)) => Ok(Self { path, file, length }),
            Err(source) => Err(Error::Keep { path, source }),
        }
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let wrote = self.file.write_all_at(bytes, self.length);
        wrote.map_err(|source| Error::Keep { path: self.path.clone(), source })?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Error> {
        let cut = self.file.set_len(0);
        cut.map_err(|source| Error::Keep { path: self.path.clone(), source })?;
        self.length = 0;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
