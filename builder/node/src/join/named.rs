//! Seeds by their names: hints, as a lease's are.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use coremax_node_api::identity::SEEDS_MAX;

use crate::download;

/// How soon a name that nobody knows yet is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What names have come to so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    found: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Named {
    /// Asks for each of these, beside the join, until it has an address: the network may not be there yet.
    pub(super) fn ask(names: Vec<(String, u16)>) -> Self {
        let named = Self::default();
        if names.is_empty() {
            return named;
        }
        let found = named.clone();
        let asks = thread::Builder::new().name("names".into());
        if let Err(error) = asks.spawn(move || found.look_up(names, &resolve, ASK_AGAIN)) {
            eprintln!("asking for the names of seeds: {error}");
        }
        named
    }

    /// Those that are known by now, some at most.
    pub(super) fn so_far(&self) -> Vec<SocketAddr> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_up(
        &self,
        mut names: Vec<(String, u16)>,
        resolve: &dyn Fn(&str, u16) -> Vec<SocketAddr>,
        pause: Duration,
    ) {
        loop {
            names.retain(|(name, port)| {
                let addresses = resolve(name, *port);
                self.found
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&addresses);
                addresses.is_empty()
            });
            if names.is_empty() {
                return;
            }
            thread::sleep(pause);
        }
    }
}

fn resolve(name: &str, port: u16) -> Vec<SocketAddr> {
    let addresses = download::addresses(name).into_iter().take(SEEDS_MAX);
    addresses.map(|address| (address, port).into()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_name_is_asked_for_until_it_has_an_address() {
        let asked = AtomicUsize::new(0);
        let resolve = |name: &str, port| {
            let before = asked.fetch_add(1, Ordering::Relaxed);
            let is_known = name == "early" || before > 2;
            is_known.then(|| ([10, 0, 0, 1], port).into()).into_iter().collect()
        };
        let named = Named::default();
        let names = [("early", 1), ("late", 2)].map(|(name, port)| (name.to_owned(), port));
        named.look_up(names.into(), &resolve, Duration::ZERO);
        let found: Vec<_> = named.so_far().iter().map(SocketAddr::port).collect();
        assert_eq!((found, asked.into_inner()), (vec![1, 2], 4));
        assert_eq!(Named::ask(Vec::new()).so_far(), []);
    }
}
