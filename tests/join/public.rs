//! Who asks a machine for its status, by the socket and by HTTP.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use coremax_node_api::cluster_status::ClusterStatus;
use coremax_tests::{Outcome, expect, switch::enter};
use rand::{RngCore as _, thread_rng};

use crate::{Stage, cluster::Cluster, site::until};

/// Where a machine answers to itself.
const HTTP: ([u8; 4], u16) = ([127, 0, 0, 1], 7434);
/// How many ask that nobody wants to, at least.
const CROWD: usize = 3_000;
/// Connections that are held at a time: many more than a machine keeps.
const HELD: usize = 500;
/// What a machine may keep open with all of them: 16 guests at each door, and its own.
const DESCRIPTORS_MAX: usize = 70;

pub(crate) fn asked(stage: &Stage) -> Outcome {
    let mut site = stage.site("public", Cluster::of(3))?;
    let identity = site.cluster.identity(&[site.cluster.address(1)]);
    site.add(2, &identity)?;
    let alone = site.machine(2).network();
    until("a machine without a seed says that it is not well", || {
        let head = said(&alone, "GET /healthz HTTP/1.1\r\n\r\n").map(|(head, _)| head);
        Ok(head.is_ok_and(|head| head.starts_with("HTTP/1.1 503 ")))
    })?;
    site.add_seed()?;
    let (seed, socket) = (site.machine(1).network(), site.machine(1).path("status.sock"));
    until("the socket answers", || Ok(by_socket(&socket).is_ok()))?;
    let by_http = |target: &str| said(&seed, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let (head, body) = by_http("/status")?;
    let status = ClusterStatus::parse(body.as_bytes()).map_err(|error| error.to_string())?;
    expect(head.starts_with("HTTP/1.1 200 ") && status.seed.is_some(), || {
        format!("{head}: {body}")
    })?;
    for (request, code) in
        [("POST /status HTTP/1.1\r\n\r\n", 405), ("GET /etc/passwd HTTP/1.1\r\n\r\n", 404)]
    {
        let (head, _) = said(&seed, request)?;
        expect(head.starts_with(&format!("HTTP/1.1 {code} ")), || format!("{request}: {head}"))?;
    }
    // Who is not on the machine has nobody to ask.
    let there = SocketAddr::from((site.cluster.address(1), HTTP.1));
    let refused = on(&site.machine(2).network(), move || TcpStream::connect(there));
    expect(refused.is_err(), || "the network is answered too".into())?;

    let crowd = Crowd::come(&seed);
    until("they come", || Ok(crowd.so_far() > HELD))?;
    site.add(3, &identity)?;
    let mut most = 0;
    site.until("a machine has its name beside them, and the socket answers", |site| {
        most = most.max(site.machine(1).descriptors()?);
        by_socket(&socket)?;
        let has_name = site.machine(3).status().is_some_and(|status| status.name.is_some());
        Ok(has_name && crowd.so_far() >= CROWD)
    })?;
    expect(most < DESCRIPTORS_MAX, || format!("the seed had {most} descriptors"))?;
    crowd.goes()?;
    site.is_formed()?;
    site.is_small()?;
    let mut head = String::new();
    site.until("the seed says that it is well", |_| {
        head = said(&seed, "GET /healthz HTTP/1.1\r\n\r\n")?.0;
        Ok(head.starts_with("HTTP/1.1 200 "))
    })
}

/// The status that whoever connects is given.
fn by_socket(path: &Path) -> Result<ClusterStatus, String> {
    let read = || {
        let mut text = Vec::new();
        UnixStream::connect(path)?.read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
    ClusterStatus::parse(&text).map_err(|error| error.to_string())
}

/// Head and body of what a machine says to a request from itself.
fn said(network: &str, request: &str) -> Result<(String, String), String> {
    let request = request.to_owned();
    let ask = move || {
        let mut stream = TcpStream::connect(SocketAddr::from(HTTP))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = on(network, ask).map_err(|error| format!("asking by HTTP: {error}"))?;
    let parts = text.split_once("\r\n\r\n").ok_or_else(|| format!("it said {text:?}"))?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

/// Does something on a machine's network.
fn on<T: Send + 'static>(
    network: &str,
    what: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let network = network.to_owned();
    let done = thread::spawn(move || {
        enter(&network)?;
        what()
    });
    done.join().map_err(|_| io::Error::other("it panicked"))?
}

/// Those who ask, say garbage, or are slow to say or to hear anything, on the machine itself.
struct Crowd {
    came: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Crowd {
    fn come(network: &str) -> Self {
        let (came, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (path, count, over) = (network.to_owned(), Arc::clone(&came), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            enter(&path)?;
            let mut held = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(std::time::Duration::from_millis(1));
                let Ok(mut stream) = TcpStream::connect(SocketAddr::from(HTTP)) else { continue };
                let _ = stream.write_all(&words(number));
                held.push(stream);
                if held.len() >= HELD {
                    held.remove(0);
                }
            }
            Ok(())
        });
        Self { came, is_over, thread }
    }

    fn so_far(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    fn goes(self) -> Outcome {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.join().map_err(|_| "the crowd panicked")?;
        ended.map_err(|error| format!("the crowd: {error}"))
    }
}

fn words(number: usize) -> Vec<u8> {
    let mut garbage = vec![0; 1 << (number % 15)];
    thread_rng().fill_bytes(&mut garbage);
    match number % 5 {
        0 => Vec::new(),
        1 => garbage,
        2 => b"GET /sta".to_vec(),
        3 => b"GET /status HTTP/1.1\r\n\r\n".to_vec(),
        _ => [b"POST /status HTTP/1.1\r\nX: ", &garbage[..]].concat(),
    }
}
