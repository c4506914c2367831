//! Machines of QEMU's on a switch, as far as a switch can tell.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use super::*;

const BROADCAST: [u8; 6] = [0xff; 6];

/// What QEMU does with `-netdev stream`.
struct Machine(UnixStream);

impl Machine {
    fn on(socket: &PathBuf) -> Self {
        Self(UnixStream::connect(socket).unwrap())
    }

    fn send(&mut self, to: [u8; 6], from: u8, text: &str) {
        let frame = [&to[..], &mac(from), &[0x88, 0xb5], text.as_bytes()].concat();
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], &frame].concat()).unwrap();
    }

    /// The text of the next frame.
    fn hear(&mut self) -> String {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        String::from_utf8(frame[14..].to_vec()).unwrap()
    }
}

fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// A switch with so many sockets.
fn switch(folder: &Path, count: usize) -> (Switch, Vec<PathBuf>, Vec<PortId>) {
    let switch = Switch::new(1).unwrap();
    let sockets: Vec<_> = (0..count).map(|number| folder.join(number.to_string())).collect();
    let ports = sockets.iter().map(|socket| switch.qemu(socket).unwrap()).collect();
    (switch, sockets, ports)
}

#[test]
fn machines_hear_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (switch, sockets, ports) = switch(folder.path(), 3);
    let [mut one, mut two, mut three] = [0, 1, 2].map(|number| Machine::on(&sockets[number]));
    one.send(BROADCAST, 1, "all");
    assert_eq!((two.hear(), three.hear()), ("all".into(), "all".into()));
    two.send(mac(1), 2, "to one");
    assert_eq!(one.hear(), "to one");
    switch.cut(&ports[2..]);
    one.send(BROADCAST, 1, "cut");
    assert_eq!(two.hear(), "cut");
    switch.heal();
    switch.set_lines(Line { latency: Duration::from_millis(1), ..Line::default() });
    one.send(BROADCAST, 1, "healed");
    assert_eq!((two.hear(), three.hear()), ("healed".into(), "healed".into()));
    let counts = switch.counts();
    assert_eq!((counts.taken, counts.delivered, counts.cut), (4, 6, 1));
    drop(switch);
    assert!(!sockets[0].exists() && one.0.read(&mut [0; 9]).unwrap() == 0);
}

#[test]
fn another_machine_comes_in_place_of_one_that_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let (_switch, sockets, _) = switch(folder.path(), 2);
    let mut two = Machine::on(&sockets[1]);
    for begun in [&[][..], &[0, 0], &[0, 0, 0, 20, 1, 2, 3], &[0xff; 5]] {
        let mut one = Machine::on(&sockets[0]);
        one.send(BROADCAST, 1, "on");
        assert_eq!(two.hear(), "on");
        one.0.write_all(begun).unwrap();
        drop(one);
    }
    let mut one = Machine::on(&sockets[0]);
    one.send(BROADCAST, 1, "on again");
    assert_eq!(two.hear(), "on again");
    two.send(mac(1), 2, "welcome");
    assert_eq!(one.hear(), "welcome");
}

#[test]
fn who_does_not_listen_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let (switch, sockets, _) = switch(folder.path(), 3);
    let [mut one, _deaf, mut three] = [0, 1, 2].map(|number| Machine::on(&sockets[number]));
    let text = "x".repeat(60_000);
    for _ in 0..100 {
        one.send(BROADCAST, 1, &text);
        assert_eq!(three.hear(), text);
    }
    assert_eq!(switch.counts().delivered, 200);
}

#[test]
fn what_qemu_is_told() {
    let told = netdev("n", Path::new("/a,b"));
    assert_eq!(told, "stream,id=n,server=off,addr.type=unix,addr.path=/a,,b");
}
