use std::{io::Write as _, net::TcpStream, os::unix::net::UnixStream, time::Duration};

use coremax_node_api::join::Now;
use rustix::{
    event::poll,
    net::{AddressFamily, SocketType, bind, connect, socket},
};

use super::*;

fn status() -> ClusterStatus {
    ClusterStatus::blank(Now { mono: 0, wall: 5 }, None)
}

/// Both doors, open, and where they are.
fn open() -> (tempfile::TempDir, Public, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = free.local_addr().unwrap();
    drop(free);
    let mut public = Public::new(&folder.path().join("run/status.sock"), Some(http));
    public.tidy(0);
    assert_eq!(public.problem, None);
    (folder, public, http)
}

/// Serves until nothing happens any more.
fn serve(public: &mut Public) {
    loop {
        let (waits, mut fds): (Vec<_>, Vec<_>) = public.waits().unzip();
        let soon = rustix::event::Timespec::try_from(Duration::from_millis(50)).unwrap();
        if poll(&mut fds, Some(&soon)).unwrap() == 0 {
            return;
        }
        let ready = fds.iter().zip(&waits).filter(|(fd, _)| !fd.revents().is_empty());
        let ready: Vec<_> = ready.map(|(_, at)| *at).collect();
        ready.into_iter().for_each(|at| public.go_on(at, Some(&status())));
    }
}

fn guests(public: &Public) -> usize {
    public.doors.iter().flatten().map(|door| door.guests.len()).sum()
}

/// A connection from an address of its own.
fn from(number: u8, http: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 1, number], 0))).unwrap();
    connect(&socket, &http).unwrap();
    socket.into()
}

fn hear(mut stream: impl io::Read) -> String {
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    told
}

#[test]
fn whoever_connects_to_the_socket_gets_the_status_and_the_end() {
    let (_folder, mut public, _) = open();
    let mode = fs::metadata(&public.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "not everybody may");
    for says in [&b""[..], b"something that nobody asked for"] {
        let mut stream = UnixStream::connect(&public.socket).unwrap();
        stream.write_all(says).unwrap();
        serve(&mut public);
        assert_eq!(hear(&stream), status().to_text());
        drop(stream);
        serve(&mut public);
        assert_eq!(guests(&public), 0);
    }
    // The next daemon takes its place.
    let mut next = Public::new(&public.socket, None);
    next.tidy(0);
    assert_eq!(next.problem, None);
    let stream = UnixStream::connect(&public.socket).unwrap();
    serve(&mut next);
    assert_eq!(hear(stream), status().to_text());
}

#[test]
fn a_request_is_answered_however_it_comes() {
    let (_folder, mut public, http) = open();
    for cut in [1, 7, 1000] {
        let mut stream = TcpStream::connect(http).unwrap();
        for part in b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n".chunks(cut) {
            stream.write_all(part).unwrap();
            if cut > 1 {
                serve(&mut public);
            }
        }
        serve(&mut public);
        let told = hear(&stream);
        assert!(
            told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with(&status().to_text()),
            "{told}"
        );
    }
    // Also to who says that this was all.
    for (says, want) in [("GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 503 "), ("GET /healthz", "")] {
        let mut stream = TcpStream::connect(http).unwrap();
        stream.write_all(says.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        serve(&mut public);
        let told = hear(&stream);
        assert!(told.starts_with(want) && told.is_empty() == want.is_empty(), "{told}");
    }
    // A body that is behind it takes nothing back.
    let mut stream = TcpStream::connect(http).unwrap();
    stream.write_all(b"POST /status HTTP/1.1\r\nContent-Length: 9\r\n\r\nsomething").unwrap();
    serve(&mut public);
    stream.write_all(b"more").unwrap();
    serve(&mut public);
    assert!(hear(&stream).starts_with("HTTP/1.1 405 "));
}

#[test]
fn one_address_elsewhere_does_not_fill_a_door() {
    for (listens, want) in
        [(Ipv4Addr::LOCALHOST, GUESTS_MAX), (Ipv4Addr::UNSPECIFIED, GUESTS_PER_ADDRESS)]
    {
        let listener = TcpListener::bind((listens, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut door = Door::new(Listener::Http(listener)).unwrap();
        let held: Vec<_> = (0..40)
            .map(|_| {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                door.accept(&status());
                stream
            })
            .collect();
        assert_eq!(door.guests.len(), want, "{listens}");
        drop(held);
    }
}

#[test]
fn strangers_are_few_at_a_time_and_say_little() {
    let (_folder, mut public, http) = open();
    let mut held = Vec::new();
    for number in 1..=100 {
        let mut stream = from(number, http);
        let _ = stream.write_all(&vec![b'x'; usize::from(number) * 100]);
        held.push((stream, UnixStream::connect(&public.socket).unwrap()));
        serve(&mut public);
        for door in public.doors.iter().flatten() {
            assert!(door.guests.len() <= GUESTS_MAX, "{} guests", door.guests.len());
            let kept = door.guests.values().map(|guest| guest.said.len()).max().unwrap_or(0);
            assert!(kept < http::HEAD_MAX + 1024, "{kept} bytes are kept");
        }
    }
    // Whoever is honest is answered beside them.
    let mut stream = TcpStream::connect(http).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    serve(&mut public);
    assert!(hear(&stream).starts_with("HTTP/1.1 503 "));
}

#[test]
fn whoever_is_slow_goes() {
    let (_folder, mut public, http) = open();
    let slow = TcpStream::connect(http).unwrap();
    let silent = UnixStream::connect(&public.socket).unwrap();
    serve(&mut public);
    assert_eq!(guests(&public), 2);
    let overdue = public.next_overdue().unwrap();
    public.tidy(overdue - 1);
    assert_eq!(guests(&public), 2);
    public.tidy(overdue + super::super::halves::HANDSHAKE_FOR);
    assert_eq!((guests(&public), public.next_overdue()), (0, None));
    drop((slow, silent));
}

#[test]
fn a_door_that_cannot_be_opened_is_said_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut public = Public::new(&folder.path().join("status.sock"), Some(http));
    public.tidy(0);
    assert!(public.problem.as_ref().unwrap().contains(&http.to_string()), "{:?}", public.problem);
    assert_eq!(public.waits().count(), 1, "the other one is open");
    drop(taken);
    public.tidy(OPEN_AFTER - 1);
    assert!(public.problem.is_some(), "it is not tried all the time");
    public.tidy(OPEN_AFTER);
    assert_eq!((public.waits().count(), &public.problem), (2, &None));
}
