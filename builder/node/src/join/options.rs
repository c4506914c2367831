//! What the command line says.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail, ensure};
use coremax_node_api::{
    identity::command_line::{Host, Seed},
    kernel_line,
    update::key,
    wire,
};

use super::{leases, tpm};
use crate::paths;

/// The flags, for people. `--faster N` and `--root FOLDER` are for tests, and not among them.
pub(crate) const USAGE: &str = "\
flags of join, with what holds without them:
  --state FOLDER            what outlives a power cut
                            [/var/lib/coremax/join]
  --identity FILE           which cluster, and its key [what `identify` finds]
  --keys FOLDER             on the seed: identities of media that have keys of
                            their own [/var/lib/coremax/join-keys]
  --operators FILE          public keys that sign rosters
                            [/usr/lib/coremax/update-keys]
  --roster FILE             on the seed: the signed roster
                            [/var/lib/coremax/cluster.coremax-roster]
  --status FILE             what anybody may know
                            [/run/coremax/cluster-status.json]
  --socket FILE             who connects is told the same
                            [/run/coremax/status.sock]
  --http ADDRESS:PORT|off   and here, read-only: /status, /healthz
                            [127.0.0.1:7434]
  --port N                  TCP of the seed, UDP of its beacons [7433]
  --seed ADDRESS[:PORT]     a seed to ask first, beside those of the identity;
                            again for more
  --interface NAME          where beacons go and come from; again for more
                            [all]
  --cmdline FILE            the kernel's command line: coremax.identity=,
                            .seed=, .cluster=, .roster= [/proc/cmdline]
  --leases FOLDER           leases of DHCP, which may name a seed
                            [/run/systemd/netif/leases]
  --dmi FOLDER              what firmware says of the machine
                            [/sys/class/dmi/id]
  --tpm DEVICE              a TPM 2.0, whose key tells machines apart
                            [/dev/tpmrm0]
  --leave-clock             another program sets this machine's clock
";

/// Where the status is given over HTTP, unless told otherwise: whoever is not on the machine learns nothing there.
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7434);
/// How much faster than a clock's the seconds may pass, in tests.
const FASTER_MAX: u64 = 60;

/// Where a daemon has what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub state: PathBuf,
    pub identity: Option<PathBuf>,
    pub keys: PathBuf,
    pub operators: PathBuf,
    pub roster: PathBuf,
    pub status: PathBuf,
    pub socket: PathBuf,
    /// Where it is given over HTTP, if anywhere.
    pub http: Option<SocketAddr>,
    pub port: u16,
    pub seeds: Vec<SocketAddr>,
    pub interfaces: Vec<String>,
    pub command_line: PathBuf,
    pub leases: PathBuf,
    /// Names that may be a seed's, and its port there.
    pub named: Vec<(String, u16)>,
    pub dmi: PathBuf,
    pub tpm: PathBuf,
    pub leaves_clock: bool,
    /// Where the files of the machine begin: `/`, but in tests. Below another one nothing is deployed.
    pub root: PathBuf,
    /// The join's own seconds in one of the clock's: 1, but in tests.
    pub faster: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state: "/var/lib/coremax/join".into(),
            identity: None,
            keys: "/var/lib/coremax/join-keys".into(),
            operators: key::ON_NODE.into(),
            roster: paths::ROSTER.into(),
            status: paths::STATUS.into(),
            socket: paths::STATUS_SOCKET.into(),
            http: Some(HTTP),
            port: wire::PORT,
            seeds: Vec::new(),
            interfaces: Vec::new(),
            command_line: kernel_line::FILE.into(),
            leases: leases::FOLDER.into(),
            named: Vec::new(),
            dmi: "/sys/class/dmi/id".into(),
            tpm: tpm::DEVICE.into(),
            leaves_clock: false,
            root: "/".into(),
            faster: 1,
        }
    }
}

impl Options {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut seeds = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            if *flag == "--leave-clock" {
                options.leaves_clock = true;
                continue;
            }
            let value =
                arguments.next().with_context(|| format!("{flag} needs a value\n{USAGE}"))?;
            match *flag {
                "--state" => options.state = value.into(),
                "--identity" => options.identity = Some(value.into()),
                "--keys" => options.keys = value.into(),
                "--operators" => options.operators = value.into(),
                "--roster" => options.roster = value.into(),
                "--status" => options.status = value.into(),
                "--socket" => options.socket = value.into(),
                "--http" => options.http = http(value)?,
                "--port" => options.port = port(value)?,
                "--seed" => seeds.push(*value),
                "--interface" => options.interfaces.push((*value).to_owned()),
                "--cmdline" => options.command_line = value.into(),
                "--leases" => options.leases = value.into(),
                "--dmi" => options.dmi = value.into(),
                "--tpm" => options.tpm = value.into(),
                "--root" => options.root = value.into(),
                "--faster" => options.faster = faster(value)?,
                _ => bail!("no such flag: {flag}\n{USAGE}"),
            }
        }
        options.seeds =
            seeds.into_iter().map(|seed| address(seed, options.port)).collect::<Result<_>>()?;
        Ok(options)
    }

    /// Takes in where else a seed may be, by the kernel's command line.
    pub(super) fn hear(&mut self, seeds: &[Seed]) {
        for Seed { host, port } in seeds {
            let port = port.unwrap_or(self.port);
            match host {
                Host::Address(address) => self.seeds.push((*address, port).into()),
                Host::Name(name) => self.named.push((name.clone(), port)),
            }
        }
    }
}

fn http(text: &str) -> Result<Option<SocketAddr>> {
    if text == "off" {
        return Ok(None);
    }
    let place = text.parse::<SocketAddr>().ok().filter(|place| place.port() != 0);
    place.map(Some).with_context(|| format!("{text} is no address and port, nor off"))
}

fn port(text: &str) -> Result<u16> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.with_context(|| format!("{text} is no port"))
}

fn faster(text: &str) -> Result<u64> {
    let faster = text.parse().with_context(|| format!("{text} is no number"))?;
    ensure!((1..=FASTER_MAX).contains(&faster), "--faster is 1 to {FASTER_MAX}");
    Ok(faster)
}

/// An address, with this port where it has none.
fn address(text: &str, port: u16) -> Result<SocketAddr> {
    let bare = || text.parse::<Ipv4Addr>().ok().map(|address| (address, port).into());
    text.parse().ok().or_else(bare).with_context(|| format!("{text} is no address of a seed"))
}

#[cfg(test)]
mod tests {
    use coremax_node_api::identity::command_line::CommandLine;

    use super::*;

    #[test]
    fn flags_and_what_they_are_without() {
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        let words = "--state s --identity i --keys k --operators o --roster r --status t --seed 10.0.0.1 --seed 10.0.0.2:9 \
                     --interface a --interface b --dmi d --leave-clock --faster 10 --port 8";
        let options = Options::parse(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(options.seeds, ["10.0.0.1:8", "10.0.0.2:9"].map(|text| text.parse().unwrap()));
        assert_eq!((options.interfaces.len(), options.faster, options.port), (2, 10, 8));
        assert!(options.leaves_clock && options.identity == Some("i".into()));
        let http = |value| Options::parse(&["--http", value]).unwrap().http;
        assert!(Options::default().http.unwrap().ip().is_loopback());
        assert_eq!((http("off"), http("[::1]:9")), (None, "[::1]:9".parse().ok()));
    }

    #[test]
    fn seeds_of_the_kernel_s_command_line_come_after_those_of_the_flags() {
        let mut options = Options::parse(&["--seed", "10.0.0.1", "--port", "8"]).unwrap();
        let line = "coremax.seed=10.0.0.2 coremax.seed=[fd00::1]:9 coremax.seed=seed.example coremax.seed=b:7";
        options.hear(&CommandLine::parse(line).seeds);
        let want = ["10.0.0.1:8", "10.0.0.2:8", "[fd00::1]:9"].map(|text| text.parse().unwrap());
        assert_eq!(options.seeds, want);
        assert_eq!(options.named, [("seed.example".to_owned(), 8), ("b".to_owned(), 7)]);
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        for (words, want) in [
            ("--moon 1", "no such flag: --moon"),
            ("state", "state needs a value"),
            ("--state", "--state needs a value"),
            ("--port 0", "0 is no port"),
            ("--port 70000", "70000 is no port"),
            ("--seed here", "here is no address of a seed"),
            ("--http here", "here is no address and port, nor off"),
            ("--http 127.0.0.1:0", "127.0.0.1:0 is no address and port"),
            ("--faster 0", "--faster is 1 to 60"),
            ("--faster 61", "--faster is 1 to 60"),
        ] {
            let error = Options::parse(&words.split_whitespace().collect::<Vec<_>>()).unwrap_err();
            assert!(error.to_string().starts_with(want), "{error}");
        }
    }
}
