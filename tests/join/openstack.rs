//! A server of OpenStack's, as far as its firmware and the address of the metadata service go.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use coremax_sandbox::{Cmd, Error, Sandbox};
use coremax_tests::{Outcome, coremax_node, expect, switch::enter};

use crate::network::{Network, ip};

pub(crate) const SERVICE: &str = "169.254.169.254";

/// A service that has these files, for ever, in a namespace of its own with its address. How often it was asked.
pub(crate) fn service(
    network: &Network,
    number: u8,
    files: Vec<(String, String)>,
) -> Result<Arc<AtomicUsize>, String> {
    let namespace = network.add(number)?;
    ip(&["-n", &namespace, "address", "add", &format!("{SERVICE}/32"), "dev", "eth0"])?;
    let listener = thread::spawn(move || {
        enter(&format!("/run/netns/{namespace}"))?;
        TcpListener::bind((SERVICE, 80))
    });
    let listener = listener.join().map_err(|_| "the service panicked")?;
    let listener = listener.map_err(|error| format!("listening at {SERVICE}: {error}"))?;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            let head = BufReader::new(&stream).lines().map_while(Result::ok).next();
            let path = head.and_then(|line| line.split(' ').nth(1).map(str::to_owned));
            let file = files.iter().find(|(name, _)| path.as_ref() == Some(name));
            let (status, body) = file.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", body));
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close");
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    Ok(asked)
}

/// What `identify` says, twice, on a machine in this namespace whose firmware says that it is this product, and which was
/// booted with this command line; nothing else tells it anything, and all that it writes is gone with it.
pub(crate) fn identify(
    namespace: &str,
    product: &str,
    command_line: &str,
) -> Result<[String; 2], String> {
    let script = "\
        mount -t tmpfs none /var/lib; mount -t tmpfs none /sys/class; mount -t tmpfs none /sys/firmware
        mkdir -p /sys/class/block /sys/class/dmi/id; echo \"$1\" >/sys/class/dmi/id/product_name
        echo \"$2\" >/var/lib/cmdline; mount --bind /var/lib/cmdline /proc/cmdline
        \"$3\" identify --json; \"$3\" identify --json";
    let command = Cmd::new("ip", &Sandbox::host()).args(["netns", "exec", namespace]);
    let command = command.args(["sh", "-euc", script, "sh", product, command_line]);
    let command = command.arg(coremax_node());
    let output = command.run().map_err(|error| match error {
        Error::Failed { stderr, .. } => stderr,
        error => error.to_string(),
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().map(str::to_owned);
    let line = |line: Option<String>| line.ok_or_else(|| format!("it said {text}"));
    Ok([line(lines.next())?, line(lines.next())?])
}

/// That it was told this place, at once and from then on by what it keeps.
pub(crate) fn is_told(said: &[String; 2], place: &str, cluster: &str) -> Outcome {
    for (said, place) in said.iter().zip([place, "kept"]) {
        let is_so = said.contains(cluster) && said.contains(&format!("\"place\":\"{place}\""));
        expect(is_so, || format!("{said}, not {cluster} by {place}"))?;
    }
    Ok(())
}
