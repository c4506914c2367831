//! What is done on a machine that has become a node: its files are written, and on the seed the cluster is deployed once
//! all are ready.

use std::{
    cmp::Reverse,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread::JoinHandle,
};

use anyhow::{Context as _, Result, anyhow, bail};
use coremax_node_api::{
    enrol::Gift,
    join::Formation,
    roster::{Mac, Match, Node, Roster},
};

use super::links::{self, Link};
use crate::{
    deploy::{self, Outcome},
    events::{Event, tell},
    prepare::{self, Facts},
};

/// The kernel's table of routes, as text: proc_pid_net(5).
const ROUTES: &str = "/proc/self/net/route";
/// A route that says that there is none: linux/route.h.
const RTF_REJECT: u32 = 0x200;

/// Writes what a node has by its row. Called once it is enrolled, for each newer roster and for new certificates, and
/// again where a crash came before it was done: it makes the same of whatever is there.
pub(super) fn prepare(
    root: &Path,
    asked: Option<SocketAddr>,
    roster: &Roster,
    row: &Node,
    gift: &Gift,
) -> Result<()> {
    let reached_by = match (&row.matches, asked) {
        (Some(Match::Mac(mac)), _) => *mac,
        // An address within the link says which card that is.
        (_, Some(SocketAddr::V6(six))) if six.scope_id() > 0 => card(
            |link| link.index == six.scope_id(),
            || format!("the card that leads to {six} has no MAC"),
        )?,
        _ => card_towards(roster.vip)?,
    };
    let prepared = prepare::prepare(root, &Facts { roster, own: row, reached_by, gift });
    match &prepared {
        Ok(warnings) => {
            tell(Event::Prepared, "the files of the roster are written", &[]);
            warnings.iter().for_each(|warning| tell(Event::Prepared, warning, &[]));
        }
        Err(error) => tell(Event::NotPrepared, &format!("{error:#}"), &[]),
    }
    prepared.map(drop)
}

/// A deployment under way, beside the join: others are answered meanwhile.
#[derive(Default)]
pub(super) struct Deployment(Option<JoinHandle<Result<Outcome>>>);

impl Deployment {
    /// Begins it, or goes on; whether it is done. Again after a crash, and after a step that failed.
    ///
    /// # Errors
    /// A step failed, or its journal cannot be used.
    pub(super) fn go_on(&mut self, formation: Formation) -> Result<bool> {
        let thread = match self.0.take() {
            None => {
                let thread = std::thread::Builder::new().name("deploy".into());
                let thread = thread.spawn(move || deploy::deploy(&formation));
                thread.context("starting the deployment")?
            }
            Some(running) => running,
        };
        if !thread.is_finished() {
            self.0 = Some(thread);
            return Ok(false);
        }
        match thread.join().map_err(|_| anyhow!("the deployment broke off"))?? {
            Outcome::Deployed => Ok(true),
            Outcome::Failed { step, why } => bail!("the step {step}: {why}"),
        }
    }
}

/// The card that the kernel would reach an address by.
fn card_towards(address: Ipv4Addr) -> Result<Mac> {
    let routes = fs::read_to_string(ROUTES).with_context(|| format!("reading {ROUTES}"))?;
    let name = route(&routes, address).with_context(|| format!("no card leads to {address}"))?;
    card(|link| link.name == name, || format!("{name}, which leads to {address}, has no MAC"))
}

fn card(is_it: impl FnMut(&&Link) -> bool, without: impl FnOnce() -> String) -> Result<Mac> {
    let links = links::links().context("asking the kernel for the machine's cards")?;
    links.iter().find(is_it).and_then(mac).with_context(without)
}

fn mac(link: &Link) -> Option<Mac> {
    link.permanent.or(link.address)
}

/// The interface of the narrowest route that an address is in, and of two the one that the kernel prefers.
fn route(routes: &str, address: Ipv4Addr) -> Option<&str> {
    let narrowest = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        // Both as the machine has them in memory, which is the order of the network.
        let number = |at: usize| Some(u32::from_str_radix(fields.get(at)?, 16).ok()?.to_ne_bytes());
        let [to, mask] = [number(1)?, number(7)?].map(u32::from_be_bytes);
        let metric = fields.get(6)?.parse::<u32>().ok()?;
        let leads = u32::from_str_radix(fields.get(3)?, 16).ok()? & RTF_REJECT == 0;
        (leads && u32::from(address) & mask == to)
            .then_some(((Reverse(mask), metric), *fields.first()?))
    });
    narrowest.min_by_key(|(order, _)| *order).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_reached_by_the_narrowest_route() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      ens3\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      ens4\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                      ens5\t00004D0A\t00000000\t0001\t0\t0\t9\t0000FFFF\t0\t0\t0\n\
                      ens6\t00004D0A\t00000000\t0201\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      ens7\t0001\n";
        let at = |text: &str| route(routes, text.parse().unwrap());
        assert_eq!(at("10.77.0.4"), Some("ens4"));
        assert_eq!(at("10.78.0.1"), Some("ens3"));
        assert_eq!(route("head\n", Ipv4Addr::LOCALHOST), None);
    }

    proptest! {
        #[test]
        fn any_table_is_read(text in "\\PC*\n(\\PC|\n)*", address: u32) {
            let _ = route(&text, address.into());
        }
    }
}
