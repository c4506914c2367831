//! Connections whose other end has proven nothing yet: how many there may be, and for how long.
//!
//! Where there are too many the oldest goes. Whoever is honest is through within a few round trips, and is pushed out only by
//! as many others that come within these.

use std::{collections::VecDeque, net::IpAddr};

/// Of them all, at most. Set here: they have file descriptors, and a kilobyte each.
pub(super) const HALF_OPEN_MAX: usize = 128;
/// From one address, at most. Set here: a node has one, and perhaps one that it has given up.
pub(super) const HALF_OPEN_PER_ADDRESS: usize = 4;
/// For how long, in milliseconds. Set here: three round trips by satellite, and a machine that is busy booting.
pub(super) const HANDSHAKE_FOR: u64 = 5_000;

/// Which ones there are, the oldest first.
#[derive(Debug)]
pub(super) struct Halves {
    all: VecDeque<Half>,
    most: usize,
    of_address: usize,
}

#[derive(Debug, Clone, Copy)]
struct Half {
    id: u64,
    from: IpAddr,
    since: u64,
}

impl Default for Halves {
    fn default() -> Self {
        Self::of(HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS)
    }
}

impl Halves {
    /// So many at most, and so many of one address.
    pub(super) const fn of(most: usize, of_address: usize) -> Self {
        Self { all: VecDeque::new(), most, of_address }
    }

    /// Another one. The one that has to go for it, if there is one.
    pub(super) fn enter(&mut self, id: u64, from: IpAddr, now: u64) -> Option<u64> {
        let of_address = self.all.iter().filter(|half| half.from == from).count();
        let goes = match of_address >= self.of_address {
            true => self.all.iter().find(|half| half.from == from).map(|half| half.id),
            false if self.all.len() >= self.most => self.all.front().map(|half| half.id),
            false => None,
        };
        if let Some(id) = goes {
            self.leave(id);
        }
        self.all.push_back(Half { id, from, since: now });
        goes
    }

    /// One that has proven who it is, or is over.
    pub(super) fn leave(&mut self, id: u64) {
        self.all.retain(|half| half.id != id);
    }

    /// Those whose time is over, which are no more in it.
    pub(super) fn overdue(&mut self, now: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        while let Some(half) =
            self.all.front().filter(|half| now.saturating_sub(half.since) >= HANDSHAKE_FOR)
        {
            gone.push(half.id);
            self.all.pop_front();
        }
        gone
    }

    /// When the next one's time is over.
    pub(super) fn next_overdue(&self) -> Option<u64> {
        self.all.front().map(|half| half.since + HANDSHAKE_FOR)
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: usize) -> IpAddr {
        let [.., a, b] = number.to_be_bytes();
        [10, 0, a, b].into()
    }

    #[test]
    fn one_address_has_its_few_and_pushes_out_its_own() {
        let mut halves = Halves::default();
        assert_eq!(halves.enter(0, at(1), 0), None, "the joiner");
        let pushed: Vec<_> = (1..=1000).filter_map(|id| halves.enter(id, at(2), id)).collect();
        assert_eq!(pushed, (1..=996).collect::<Vec<_>>());
        assert_eq!(halves.count(), 1 + HALF_OPEN_PER_ADDRESS);
        assert!(halves.all.iter().any(|half| half.id == 0), "the joiner was pushed out");
    }

    #[test]
    fn of_all_the_oldest_goes() {
        let mut halves = Halves::default();
        let pushed: Vec<_> = (0..200)
            .filter_map(|id| halves.enter(id, at(usize::try_from(id).unwrap()), id))
            .collect();
        assert_eq!(pushed, (0..72).collect::<Vec<_>>());
        assert_eq!(halves.count(), HALF_OPEN_MAX);
    }

    #[test]
    fn whoever_is_silent_goes() {
        let mut halves = Halves::default();
        for id in 0..3 {
            assert_eq!(halves.enter(id, at(1), id * 1000), None);
        }
        halves.leave(1);
        assert_eq!(halves.next_overdue(), Some(HANDSHAKE_FOR));
        assert_eq!(halves.overdue(HANDSHAKE_FOR - 1), [0; 0]);
        assert_eq!(halves.overdue(HANDSHAKE_FOR + 1999), [0]);
        assert_eq!(halves.overdue(HANDSHAKE_FOR + 2000), [2]);
        assert_eq!((halves.count(), halves.next_overdue()), (0, None));
    }
}
