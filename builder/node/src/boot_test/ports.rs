//! Ports that something listens on, from /proc/net.
//!
//! A line is `sl local_address rem_address st ...`; an address is `HEX:PORT` with the port as four
//! hexadecimal digits, and `st` is 0A for a listening TCP socket, 07 for an unconnected UDP one.
//! See proc_pid_net(5).

use coremax_node_api::boot_test::{Listen, Transport};

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// The addresses at which something listens on this port, as /proc/net shows them.
pub(crate) fn listening(listen: Listen) -> bool {
    let (files, state) = match listen.transport {
        Transport::Tcp => (["/proc/net/tcp", "/proc/net/tcp6"], TCP_LISTEN),
        Transport::Udp => (["/proc/net/udp", "/proc/net/udp6"], UDP_UNCONNECTED),
    };
    files.iter().any(|file| {
        let table = std::fs::read_to_string(file).unwrap_or_default();
        ports(&table, state).any(|port| port == listen.port)
    })
}

fn ports<'a>(table: &'a str, state: &'a str) -> impl Iterator<Item = u16> + 'a {
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        (words.nth(1)? == state)
            .then(|| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn listening_sockets_are_told_from_connected_ones() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000\n   \
            1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000\n   \
            2: 00000000000000000000000000000000:0050 0:0000 0A\n   3: junk\n";
        assert_eq!(ports(table, TCP_LISTEN).collect::<Vec<_>>(), [22, 80]);
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in any::<String>()) {
            ports(&text, TCP_LISTEN).count();
        }
    }
}
