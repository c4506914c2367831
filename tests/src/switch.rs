//! An Ethernet switch of our own, in this process, with lines that lose, delay and double frames, and can be cut.
//!
//! ```no_run
//! # use coremax_tests::switch::{Line, Switch, netdev};
//! # use std::{path::Path, time::Duration};
//! # fn main() -> Result<(), String> {
//! let switch = Switch::new(7)?;
//! let one = switch.qemu(Path::new("/tmp/one.socket"))?; // QEMU: -netdev with netdev("net0", path)
//! let two = switch.tap("/run/netns/two", "eth0")?; // a card in that namespace, down and without a MAC of its own
//! switch.set_line(one, Line { loss: 0.01, latency: Duration::from_millis(5), ..Line::default() });
//! switch.cut(&[two]); // two is alone
//! switch.heal();
//! # Ok(()) }
//! ```
//!
//! [`Fabric`] decides and does no I/O; a [`Port`] moves frames; here is the thread that does both. What becomes of the n-th
//! frame on a line is the seed's, whatever else is on the switch; which frame is the n-th is up to the machines.

mod fabric;
mod port;
mod qemu;
mod tap;

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use fabric::{Counts, Fabric, Line, PortId};
pub use port::{FRAME_MAX, Port};
pub use qemu::{Qemu, netdev};
pub use tap::{Tap, enter};

/// A switch that runs until it is dropped.
#[derive(Debug)]
pub struct Switch {
    orders: Sender<Order>,
    bell: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// What is done in the switch's thread, between two frames. The thread ends with an order that says so.
type Order = Box<dyn FnOnce(&mut Running) + Send>;

/// What the thread has.
struct Running {
    fabric: Fabric,
    ports: Vec<Box<dyn Port>>,
    began: Instant,
    is_over: bool,
}

impl Switch {
    /// One without ports, whose chances come of this seed.
    ///
    /// # Errors
    /// Where there is no thread or socket for it.
    pub fn new(seed: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("starting a switch: {error}");
        let (bell, ear) = UnixStream::pair().map_err(failed)?;
        ear.set_nonblocking(true).map_err(failed)?;
        let (orders, come) = channel();
        let running = Running {
            fabric: Fabric::new(seed),
            ports: Vec::new(),
            began: Instant::now(),
            is_over: false,
        };
        let thread = thread::Builder::new().name("switch".into());
        let thread = thread.spawn(move || running.run(&come, &ear)).map_err(failed)?;
        Ok(Self { orders, bell, thread: Some(thread) })
    }

    /// Plugs something in, with a line that is perfect, or as [`Self::set_lines`] said last.
    pub fn plug(&self, port: impl Port + 'static) -> PortId {
        self.order(|running| {
            running.ports.push(Box::new(port));
            running.fabric.add()
        })
    }

    /// Plugs in whichever QEMU connects to this socket, which is made here: one at a time, another one when that has ended.
    /// QEMU 7.2 connects once, at its start, and has to find it.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn qemu(&self, socket: &Path) -> Result<PortId, String> {
        let port = Qemu::listen(socket);
        Ok(self.plug(port.map_err(|error| format!("listening at {}: {error}", socket.display()))?))
    }

    /// Makes a card with this name in the network namespace that is this file, and plugs it in. It is gone with the switch.
    ///
    /// # Errors
    /// Where the kernel refuses it; a skip where it has no such cards.
    pub fn tap(&self, namespace: &str, name: &str) -> Result<PortId, String> {
        Ok(self.plug(Tap::open(namespace, name)?))
    }

    /// What a port's line is like from now on.
    pub fn set_line(&self, port: PortId, line: Line) {
        self.order(move |running| running.fabric.set_line(port, line));
    }

    /// The same for all there are and all that come.
    pub fn set_lines(&self, line: Line) {
        self.order(move |running| running.fabric.set_lines(line));
    }

    /// These are cut off from all others, and not from each other; what was said of others before is over.
    pub fn cut(&self, away: &[PortId]) {
        let away = away.to_vec();
        self.order(move |running| running.fabric.cut(&away));
    }

    /// All reach each other again.
    pub fn heal(&self) {
        self.cut(&[]);
    }

    /// What became of all frames so far.
    pub fn counts(&self) -> Counts {
        self.order(|running| running.fabric.counts())
    }

    /// Done when this returns.
    fn order<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Running) -> T + Send + 'static,
    ) -> T {
        let (done, wait) = channel();
        let order: Order = Box::new(move |running| drop(done.send(order(running))));
        let _ = self.orders.send(order);
        let _ = (&self.bell).write(&[0]);
        wait.recv().expect("the switch runs until it is dropped")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.orders.send(Box::new(|running| running.is_over = true));
        let _ = (&self.bell).write(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Running {
    fn run(mut self, orders: &Receiver<Order>, ear: &UnixStream) {
        while !self.is_over {
            self.wait(ear);
            let mut bell = ear;
            while bell.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
            orders.try_iter().for_each(|order| order(&mut self));
            self.deliver();
        }
    }

    /// Until something comes or is due, and takes in what has come.
    fn wait(&mut self, ear: &UnixStream) {
        let now = self.began.elapsed();
        let timeout = self.fabric.next().map(|due| due.saturating_sub(now));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let flags = |port: &dyn Port| {
            if port.is_behind() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
        };
        let mut numbers = Vec::new();
        let mut fds = vec![PollFd::new(ear, PollFlags::IN)];
        for (number, port) in self.ports.iter().enumerate() {
            if let Some(fd) = port.fd() {
                numbers.push(number);
                fds.push(PollFd::from_borrowed_fd(fd, flags(&**port)));
            }
        }
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return;
        }
        let ready = fds[1..].iter().zip(numbers).filter(|(fd, _)| !fd.revents().is_empty());
        let ready: Vec<_> = ready.map(|(_, number)| number).collect();
        let now = self.began.elapsed();
        for number in ready {
            let (port, fabric) = (&mut self.ports[number], &mut self.fabric);
            port.receive(&mut |frame| fabric.take(PortId(number), frame, now));
            port.send_rest();
        }
    }

    fn deliver(&mut self) {
        let now: Duration = self.began.elapsed();
        while let Some((PortId(to), frame)) = self.fabric.due(now) {
            self.ports[to].send(&frame);
        }
    }
}

#[cfg(test)]
mod tests;
