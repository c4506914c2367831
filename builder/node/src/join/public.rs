//! What anybody may ask a machine: its status, over a local socket, and over HTTP that changes nothing.
//!
//! ```text
//! the socket        connect: the status, as in its file, and the end
//! GET /status       200, the same
//! GET /healthz      200 where the node is ready and nothing is wrong with it, else 503; a line that says why
//! anything else     404, 405, 400, 431
//! ```
//! HTTP/1.1 (RFC 9112), one request a connection. Each has few guests, for seconds, and keeps a few kilobytes of what each says:
//! where there are too many the oldest goes. They are in the daemon's one `poll`, and nothing waits for them.

mod http;

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::PermissionsExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use coremax_node_api::cluster_status::ClusterStatus;
use rustix::{
    event::{PollFd, PollFlags},
    fs::{OFlags, fcntl_setfl},
    io::{Errno, read, write},
    net::{Shutdown, shutdown},
};

use super::{clock::real, halves::Halves};

/// Guests at one door, at most. Set here: each may have a whole status that it is slow to read.
const GUESTS_MAX: usize = 16;
/// Of those, from one address elsewhere, at most. Set here: the machine's own programs have one address together.
const GUESTS_PER_ADDRESS: usize = 4;
/// Guests that are taken in at a time.
const ACCEPTED_AT_ONCE: usize = 32;
/// Bytes that a guest may go on to say after it was answered, at most. Set here: more is no slip.
const REST_MAX: usize = 64 << 10;
/// How long a door that cannot be opened stays shut, in milliseconds.
const OPEN_AFTER: u64 = 5_000;

/// Both doors.
#[derive(Debug)]
pub(super) struct Public {
    socket: PathBuf,
    http: Option<SocketAddr>,
    doors: [Option<Door>; 2],
    opens_after: u64,
    /// Why one is shut.
    pub problem: Option<String>,
}

/// What poll waits for: at which door, and which guest; 0 is who has not come in yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At(usize, u64);

const SOCKET: usize = 0;
const HTTP: usize = 1;

#[derive(Debug)]
struct Door {
    listener: Listener,
    guests: BTreeMap<u64, Guest>,
    halves: Halves,
    last: u64,
}

#[derive(Debug)]
enum Listener {
    Socket(UnixListener),
    Http(TcpListener),
}

/// Somebody who asks.
#[derive(Debug)]
struct Guest {
    stream: OwnedFd,
    said: Vec<u8>,
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes that came after.
    rest: usize,
}

impl Public {
    /// With a socket here, and HTTP there if anywhere.
    pub(super) fn new(socket: &Path, http: Option<SocketAddr>) -> Self {
        let socket = socket.to_owned();
        Self { socket, http, doors: [None, None], opens_after: 0, problem: None }
    }

    /// Closes what has been open for too long, and opens the doors that are shut and need not be. The time is the clock's.
    pub(super) fn tidy(&mut self, now: u64) {
        for door in self.doors.iter_mut().flatten() {
            door.halves.overdue(now).iter().for_each(|id| drop(door.guests.remove(id)));
        }
        if now < self.opens_after {
            return;
        }
        self.problem = None;
        if self.doors[SOCKET].is_none() {
            let opened = listen_here(&self.socket).map(Listener::Socket);
            self.open(SOCKET, opened, &self.socket.display().to_string(), now);
        }
        if let (None, Some(http)) = (&self.doors[HTTP], self.http) {
            let opened = TcpListener::bind(http).map(Listener::Http);
            self.open(HTTP, opened, &http.to_string(), now);
        }
    }

    fn open(&mut self, door: usize, listener: io::Result<Listener>, place: &str, now: u64) {
        let opened = listener.and_then(Door::new);
        if let Err(error) = &opened {
            self.problem = Some(format!("giving the status at {place}: {error}"));
            self.opens_after = now + OPEN_AFTER;
        }
        self.doors[door] = opened.ok();
    }

    /// What poll is to wait for.
    pub(super) fn waits(&self) -> impl Iterator<Item = (At, PollFd<'_>)> {
        let doors = self.doors.iter().enumerate();
        doors.filter_map(|(number, door)| Some((number, door.as_ref()?))).flat_map(
            |(number, door)| {
                let guests = door.guests.iter();
                let guests = guests.map(move |(id, guest)| (At(number, *id), guest.waits()));
                let listener = PollFd::from_borrowed_fd(door.listener.as_fd(), PollFlags::IN);
                std::iter::once((At(number, 0), listener)).chain(guests)
            },
        )
    }

    /// When [`Self::tidy`] has something to do.
    pub(super) fn next_overdue(&self) -> Option<u64> {
        self.doors.iter().flatten().filter_map(|door| door.halves.next_overdue()).min()
    }

    /// Goes on where poll says that something happened.
    pub(super) fn go_on(&mut self, At(number, id): At, status: Option<&ClusterStatus>) {
        let (Some(door), Some(status)) = (&mut self.doors[number], status) else { return };
        if id == 0 { door.accept(status) } else { door.go_on(id, status) }
    }
}

impl Door {
    fn new(listener: Listener) -> io::Result<Self> {
        fcntl_setfl(listener.as_fd(), OFlags::NONBLOCK)?;
        let of_address = if listener.is_local() { GUESTS_MAX } else { GUESTS_PER_ADDRESS };
        let halves = Halves::of(GUESTS_MAX, of_address);
        Ok(Self { listener, guests: BTreeMap::new(), halves, last: 0 })
    }

    fn accept(&mut self, status: &ClusterStatus) {
        for _ in 0..ACCEPTED_AT_ONCE {
            let (stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => return,
            };
            if fcntl_setfl(&stream, OFlags::NONBLOCK).is_err() {
                continue;
            }
            self.last += 1;
            if let Some(oldest) = self.halves.enter(self.last, from, real()) {
                self.guests.remove(&oldest);
            }
            self.guests.insert(self.last, Guest { stream, said: Vec::new(), answer: None });
            self.go_on(self.last, status);
        }
    }

    fn go_on(&mut self, id: u64, status: &ClusterStatus) {
        let is_http = matches!(self.listener, Listener::Http(_));
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if guest.go_on(is_http, status).is_none() {
            self.guests.remove(&id);
            self.halves.leave(id);
        }
    }
}

impl Guest {
    /// That it takes what is written, or else says something: who says on and on and takes nothing would wake the daemon for
    /// ever.
    fn waits(&self) -> PollFd<'_> {
        let writes = |answer: &Answer| answer.written < answer.bytes.len();
        let flags = match self.answer.as_ref().is_some_and(writes) {
            true => PollFlags::OUT,
            false => PollFlags::IN,
        };
        PollFd::new(&self.stream, flags)
    }

    /// Reads and writes as much as there is. Nothing when it is over.
    fn go_on(&mut self, is_http: bool, status: &ClusterStatus) -> Option<()> {
        if self.answer.is_none() {
            let bytes = if is_http {
                let is_end = self.hear()?;
                let bytes = http::answer(&self.said, status);
                if bytes.is_none() && is_end {
                    return None;
                }
                bytes
            } else {
                Some(status.to_text().into_bytes())
            };
            self.answer = bytes.map(|bytes| Answer { bytes, written: 0, rest: 0 });
        }
        let Some(answer) = &mut self.answer else { return Some(()) };
        answer.write(&self.stream)?;
        if answer.written == answer.bytes.len() {
            answer.read_rest(&self.stream)?;
        }
        Some(())
    }

    /// Reads what it says, no more than is looked at. Whether that is all that it says.
    fn hear(&mut self) -> Option<bool> {
        let mut buffer = [0; 1024];
        while self.said.len() < http::HEAD_MAX {
            match now(read(&self.stream, &mut buffer))? {
                Some(0) => return Some(true),
                Some(length) => self.said.extend_from_slice(&buffer[..length]),
                None => break,
            }
        }
        Some(false)
    }
}

impl Answer {
    fn write(&mut self, stream: &OwnedFd) -> Option<()> {
        while self.written < self.bytes.len() {
            match now(write(stream, &self.bytes[self.written..]))? {
                Some(0) => return None,
                Some(length) => self.written += length,
                None => return Some(()),
            }
            if self.written == self.bytes.len() {
                shutdown(stream, Shutdown::Write).ok()?;
            }
        }
        Some(())
    }

    /// To the end: who closes while something is unread takes back what was written.
    fn read_rest(&mut self, stream: &OwnedFd) -> Option<()> {
        let mut buffer = [0; 1024];
        while let Some(length) = now(read(stream, &mut buffer))? {
            self.rest += length;
            if length == 0 || self.rest > REST_MAX {
                return None;
            }
        }
        Some(())
    }
}

/// Nothing inside where it would have to be waited for; nothing at all where it failed.
fn now(done: rustix::io::Result<usize>) -> Option<Option<usize>> {
    match done {
        Ok(length) => Some(Some(length)),
        Err(Errno::AGAIN | Errno::INTR) => Some(None),
        Err(_) => None,
    }
}

impl Listener {
    /// Only the machine's own programs come.
    fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Http(listener) => listener.local_addr().is_ok_and(|it| it.ip().is_loopback()),
        }
    }

    fn accept(&self) -> io::Result<(OwnedFd, IpAddr)> {
        match self {
            Self::Socket(listener) => {
                listener.accept().map(|(stream, _)| (stream.into(), Ipv4Addr::UNSPECIFIED.into()))
            }
            Self::Http(listener) => {
                listener.accept().map(|(stream, from)| (stream.into(), from.ip()))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(listener) => listener.as_fd(),
            Self::Http(listener) => listener.as_fd(),
        }
    }
}

/// A socket that anybody may connect to, in the place of one that an earlier daemon has left.
fn listen_here(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o666))?;
    fs::rename(new, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests;
