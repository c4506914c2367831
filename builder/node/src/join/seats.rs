//! The connections that come to a seed.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use coremax_channel::{Certified, Connection, Credentials, Failure, Papers};
use coremax_node_api::{join::NodeKey, wire};
use serde::Serialize;

use super::{
    clock::real,
    halves::Halves,
    line::{End, Line, Said},
};

/// Connections with an open channel, at most. Set here: twice what a roster has rows, and all of them have the cluster's key.
const OPEN_MAX: usize = 512;
/// Of these an operator's, at most. Set here: what they say and hear may have half a megabyte each, and who has the cluster's
/// key is no operator yet.
const OPERATORS_MAX: usize = 4;
/// For how long an open channel may be silent, in milliseconds. Set here: a node that nobody answers reports every
/// minute at least.
const SILENT_FOR: u64 = 150_000;
/// Connections that are taken in at a time: those that are there have their turn between.
const ACCEPTED_AT_ONCE: usize = 32;

/// All of them.
#[derive(Debug)]
pub(super) struct Seats {
    listener: TcpListener,
    own: Arc<Credentials>,
    /// What it shows to whoever speaks TLS: nothing before its own node has certificates.
    pub papers: Option<Arc<Papers>>,
    lines: BTreeMap<u64, Seat>,
    halves: Halves,
    last: u64,
    /// How connections ended that opened nothing.
    pub turned_away: TurnedAway,
}

/// One of them.
#[derive(Debug)]
struct Seat {
    line: Line,
    /// When something came, or it did.
    heard: u64,
}

/// How many connections came to nothing, since the start. For people: nobody proved anything by them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TurnedAway {
    /// They spoke something else.
    pub garbage: u64,
    /// They spoke another version.
    pub other_version: u64,
    /// They are of another cluster.
    pub other_cluster: u64,
    /// They have a key that is not known here.
    pub unknown_key: u64,
    /// They do not have the key that they name, or repeat another's words.
    pub bad_key: u64,
    /// They spoke TLS without a certificate of this cluster that holds, or broke off.
    pub bad_certificate: u64,
    /// Their certificate is not of the row that its machine has, or is over.
    pub other_names: u64,
    /// They spoke TLS, and this seed has no certificate yet.
    pub no_papers: u64,
    /// They were silent, broke off, or were too many.
    pub given_up: u64,
}

impl Seats {
    pub(super) fn new(listener: TcpListener, own: Arc<Credentials>) -> Self {
        let (lines, halves) = (BTreeMap::new(), Halves::default());
        let turned_away = TurnedAway::default();
        Self { listener, own, papers: None, lines, halves, last: 0, turned_away }
    }

    pub(super) fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Those that are there, and whether they have something to write.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &TcpStream, bool)> {
        self.lines.iter().map(|(id, seat)| (*id, &seat.line.stream, !seat.line.is_flushed()))
    }

    /// Takes in who is at the door.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTED_AT_ONCE {
            match self.listener.accept() {
                Ok((stream, from)) => {
                    if stream.set_nonblocking(true).is_err() {
                        continue;
                    }
                    let _ = stream.set_nodelay(true); // it is slower without
                    self.last += 1;
                    if let Some(oldest) =
                        self.halves.enter(self.last, from.ip().to_canonical(), real())
                    {
                        self.give_up(oldest);
                    }
                    let own = Arc::clone(&self.own);
                    let line = Line::new(stream, Connection::of_seed(own, self.papers.clone()));
                    self.lines.insert(self.last, Seat { line, heard: real() });
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
    }

    /// What one says, and who it is: nothing, and nobody, before it has proven that.
    pub(super) fn receive(&mut self, id: u64) -> Option<Said> {
        let seat = self.lines.get_mut(&id)?;
        let was_open = seat.line.peer().is_some();
        let received = seat.line.flush().and_then(|()| seat.line.receive());
        match received {
            Ok(messages) => {
                seat.heard = real();
                let peer = seat.line.peer()?;
                let is_operators = seat.line.is_operators();
                if !was_open {
                    self.halves.leave(id);
                    self.seat(id, peer);
                }
                if is_operators {
                    self.keep_operators(id);
                }
                Some((peer, messages))
            }
            Err(end) => {
                if !was_open {
                    self.count(&end);
                }
                self.close(id);
                None
            }
        }
    }

    /// Whether what one says are an operator's requests.
    pub(super) fn is_operators(&self, id: u64) -> bool {
        self.lines.get(&id).is_some_and(|seat| seat.line.is_operators())
    }

    /// What the certificate says that one has shown, in TLS.
    pub(super) fn certified(&self, id: u64) -> Option<&Certified> {
        self.lines.get(&id)?.line.certified()
    }

    /// Closes one whose certificate is not of the row that it should be.
    pub(super) fn turn_away(&mut self, id: u64) {
        self.turned_away.other_names += 1;
        self.close(id);
    }

    /// Sends an answer. One that the other end does not take is its loss.
    pub(super) fn send(&mut self, id: u64, answer: &[u8]) {
        let Some(seat) = self.lines.get_mut(&id) else { return };
        if !seat.line.is_flushed() || seat.line.send(answer).is_err() {
            self.close(id);
        }
    }

    pub(super) fn close(&mut self, id: u64) {
        self.lines.remove(&id);
        self.halves.leave(id);
    }

    /// Closes those whose time is over.
    pub(super) fn tidy(&mut self) {
        let now = real();
        for id in self.halves.overdue(now) {
            self.give_up(id);
        }
        self.lines.retain(|_, seat| now.saturating_sub(seat.heard) < SILENT_FOR);
    }

    /// When [`Self::tidy`] has something to do.
    pub(super) fn next_overdue(&self) -> Option<u64> {
        self.halves.next_overdue()
    }

    /// One channel a key: who opens another has given up the first. Where there are too many the one that was silent for
    /// longest goes.
    fn seat(&mut self, id: u64, peer: NodeKey) {
        self.lines.retain(|other, seat| *other == id || seat.line.peer() != Some(peer));
        let open = self.lines.iter().filter(|(_, seat)| seat.line.peer().is_some());
        if open.clone().count() > OPEN_MAX
            && let Some((silent, _)) = open.min_by_key(|(other, seat)| (**other == id, seat.heard))
        {
            self.lines.remove(&silent.clone());
        }
    }

    /// Where there are too many operators the oldest goes, but not the one that speaks.
    fn keep_operators(&mut self, id: u64) {
        let operators = self.lines.iter().filter(|(_, seat)| seat.line.is_operators());
        let operators: Vec<_> = operators.map(|(other, _)| *other).collect();
        let too_many = operators.len().saturating_sub(OPERATORS_MAX);
        for oldest in operators.into_iter().filter(|other| *other != id).take(too_many) {
            self.lines.remove(&oldest);
        }
    }

    fn give_up(&mut self, id: u64) {
        self.turned_away.given_up += 1;
        self.close(id);
    }

    fn count(&mut self, end: &End) {
        let count = &mut self.turned_away;
        let count = match end {
            End::Channel(Failure::Wire(wire::Error::OtherVersion { .. })) => {
                &mut count.other_version
            }
            End::Channel(Failure::Refused(wire::Word::OtherCluster)) => &mut count.other_cluster,
            End::Channel(Failure::Refused(_)) => &mut count.unknown_key,
            End::Channel(Failure::Handshake) => &mut count.bad_key,
            End::Channel(Failure::Tls(_)) => &mut count.bad_certificate,
            End::Channel(Failure::NoPapers) => &mut count.no_papers,
            End::Channel(_) => &mut count.garbage,
            End::Closed | End::Network(_) => &mut count.given_up,
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use coremax_channel::{Channel, Secret};
    use coremax_node_api::{
        guid::Guid,
        identity::{Key, KeyId},
    };
    use rustix::event::{PollFd, PollFlags, poll};
    use zeroize::Zeroizing;

    use super::*;

    fn credentials(machine: u8) -> Arc<Credentials> {
        let secret = Secret::new(Zeroizing::new([machine; 32]));
        let keys = vec![(KeyId([1; 8]), Key::new([1; 32]))];
        Arc::new(Credentials { cluster: Guid::literal(1), secret, keys })
    }

    fn seats() -> Seats {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Seats::new(listener, credentials(9))
    }

    /// A machine that has connected, and who the seed thinks it is with all that it has said.
    fn come(seats: &mut Seats, machine: u8) -> (TcpStream, Vec<Said>) {
        come_with(seats, Channel::of_node(credentials(machine)).unwrap())
    }

    fn come_with(seats: &mut Seats, mut channel: Channel) -> (TcpStream, Vec<Said>) {
        let mut stream = TcpStream::connect(seats.listener().local_addr().unwrap()).unwrap();
        let mut said = Vec::new();
        seats.accept();
        let id = seats.last;
        while channel.peer().is_none() {
            stream.write_all(&std::mem::take(channel.output())).unwrap();
            said.extend(wait(seats, id));
            let mut buffer = [0; 1000];
            let read = stream.read(&mut buffer).unwrap();
            channel.take(&buffer[..read]).unwrap();
        }
        assert_eq!(said, [], "it knows somebody before the third message");
        channel.send(b"report").unwrap();
        stream.write_all(&std::mem::take(channel.output())).unwrap();
        said.extend(wait(seats, id));
        (stream, said)
    }

    /// Reads from a seat when something has arrived.
    fn wait(seats: &mut Seats, id: u64) -> Option<Said> {
        poll(&mut [PollFd::new(&seats.lines[&id].line.stream, PollFlags::IN)], None).unwrap();
        seats.receive(id)
    }

    #[test]
    fn a_machine_has_one_seat() {
        let mut seats = seats();
        let key = |machine| credentials(machine).secret.public();
        let (mut first, said) = come(&mut seats, 1);
        assert_eq!(said, [(key(1), vec![b"report".to_vec()])]);
        let (_other, _) = come(&mut seats, 2);
        let (_second, _) = come(&mut seats, 1);
        let open: Vec<_> = seats.lines.values().filter_map(|seat| seat.line.peer()).collect();
        assert_eq!(open, [key(2), key(1)]);
        assert_eq!(first.read(&mut [0; 10]).unwrap(), 0, "the first one is closed");
    }

    #[test]
    fn few_operators_have_seats_and_nodes_keep_theirs() {
        let mut seats = seats();
        let (_node, _) = come(&mut seats, 99);
        let mut streams = Vec::new();
        for machine in 1..=6 {
            let channel = Channel::of_operator(credentials(machine)).unwrap();
            streams.push(come_with(&mut seats, channel).0);
        }
        let open: Vec<_> = seats.lines.keys().copied().collect();
        assert_eq!(open, [1, 4, 5, 6, 7], "the first was a node's");
        assert!(!seats.is_operators(1) && (4..=7).all(|id| seats.is_operators(id)));
        assert_eq!(streams[1].read(&mut [0; 10]).unwrap(), 0, "the second is closed");
    }

    #[test]
    fn who_proves_nothing_is_counted_and_closed() {
        let mut seats = seats();
        let at = seats.listener().local_addr().unwrap();
        let mut garbage = TcpStream::connect(at).unwrap();
        garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        seats.accept();
        assert_eq!(wait(&mut seats, 1), None);
        let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(at).unwrap()).collect();
        seats.accept();
        assert_eq!(seats.lines.len(), super::super::halves::HALF_OPEN_PER_ADDRESS);
        let count = TurnedAway { garbage: 1, given_up: 16, ..TurnedAway::default() };
        assert_eq!(seats.turned_away, count);
        drop(silent);
    }
}
