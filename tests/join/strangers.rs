//! Who else is on the wire: connections that are silent, speak garbage, break off or repeat, from many addresses, and
//! beacons that lead nowhere.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use coremax_node_api::{
    identity::KeyId,
    join::{Beacon, cluster_hash},
    wire::{GROUP, Hello, PORT, encode_beacon},
};
use coremax_tests::{Outcome, switch::enter};
use rand::{RngCore as _, random, thread_rng};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::{
    cluster::Cluster,
    network::{Network, ip},
    site::until,
};

/// Addresses that they come from: more than a seed takes half-open connections of one.
const ADDRESSES: usize = 60;
/// Connections that are held at a time, half of them in silence: many more than a seed keeps.
const HELD: usize = 2000;
/// Threads that open connections.
const THREADS: usize = 4;

pub(crate) struct Strangers {
    came: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Strangers {
    /// So many connections begin, and go on beside whatever else is done.
    pub(crate) fn come(
        network: &Network,
        number: u8,
        cluster: &Cluster,
        count: usize,
    ) -> Result<Self, String> {
        let namespace = network.add(number)?;
        for other in 0..ADDRESSES {
            let address = format!("10.77.9.{}/16", other + 1);
            ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
        }
        more_files()?;
        let (came, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let mut threads = Vec::new();
        let path = format!("/run/netns/{namespace}");
        let seed = SocketAddr::from((cluster.address(1), PORT));
        let hello = Hello { cluster: cluster_hash(cluster.roster.cluster), key_id: cluster.key_id };
        for _ in 0..THREADS {
            let (came, path) = (Arc::clone(&came), path.clone());
            threads.push(thread::spawn(move || {
                enter(&path)?;
                connections(seed, &hello, count, &came)
            }));
        }
        let over = Arc::clone(&is_over);
        threads.push(thread::spawn(move || {
            enter(&path)?;
            beacons(hello.cluster, &over)
        }));
        Ok(Self { came, is_over, threads })
    }

    /// Waits until a tenth of them or so has come.
    pub(crate) fn are_under_way(&self) -> Outcome {
        until("strangers come", || Ok(self.so_far() > HELD / 10))
    }

    pub(crate) fn so_far(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    /// Waits until the last one has gone.
    pub(crate) fn have_gone(self) -> Outcome {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let ended = thread.join().map_err(|_| "a stranger panicked")?;
            ended.map_err(|error| format!("a stranger: {error}"))?;
        }
        Ok(())
    }
}

/// So many descriptors as the strangers hold connections.
fn more_files() -> Outcome {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(1 << 16), |most| Some(most.min(1 << 16)));
    setrlimit(Resource::Nofile, limit).map_err(|error| format!("more descriptors: {error}"))
}

fn connections(
    seed: SocketAddr,
    known: &Hello,
    count: usize,
    came: &AtomicUsize,
) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        let number = came.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(());
        }
        // One that is refused is as good as one that was closed.
        let Ok(mut stream) = open(number % ADDRESSES, seed) else { continue };
        let _ = stream.write_all(&words(number, known));
        if number % 8 == 7 {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.read(&mut [0; 200]);
        }
        held.push(stream);
        if held.len() >= HELD / THREADS {
            held.remove(0);
        }
    }
}

fn open(address: usize, seed: SocketAddr) -> io::Result<TcpStream> {
    let [.., last] = (address + 1).to_be_bytes();
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::new(10, 77, 9, last), 0)))?;
    connect(&socket, &seed)?;
    Ok(TcpStream::from(socket))
}

/// What this one says: nothing, garbage, the beginning of a hello, a hello of another version, and one of another cluster
/// or, as everybody can hear it, of this one, each with a first message that is none; and what begins as TLS does.
fn words(number: usize, known: &Hello) -> Vec<u8> {
    let other = Hello { cluster: random(), key_id: KeyId(random()) };
    let hello = if number % 3 == 1 { other } else { *known }.encode();
    let mut garbage = vec![0; 1 << (number % 13)];
    thread_rng().fill_bytes(&mut garbage);
    match number % 8 {
        0 | 1 => Vec::new(),
        2 => garbage,
        3 => hello[..7 + number % 40].to_vec(),
        4 => [&hello[..8], &[9, 9], &hello[10..]].concat(),
        5 => [&hello[..], &[0, 48], &[0x55; 48]].concat(),
        // Of TLS, a record that promises more, and one that holds no ClientHello.
        6 => [&[0x16, 3, 1, 0x40, 0], &garbage[..]].concat(),
        _ => [&[0x16, 3, 1, 0, 4, 1, 0, 0, 0], &garbage[..]].concat(),
    }
}

/// Beacons of the cluster's that lead nowhere, each elsewhere, broken ones, and garbage.
fn beacons(cluster: [u8; 32], is_over: &AtomicBool) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut garbage = vec![0; 1400];
    while !is_over.load(Ordering::Relaxed) {
        thread_rng().fill_bytes(&mut garbage);
        let port = random::<u16>().max(1);
        let beacon = encode_beacon(&Beacon { cluster, epoch: u64::MAX, port });
        for bytes in [&beacon[..], &beacon[..40], &garbage[..52], &garbage] {
            let _ = socket.send_to(bytes, (GROUP, PORT));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
