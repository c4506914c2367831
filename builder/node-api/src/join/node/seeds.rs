//! Where seeds may be, and which of them is asked.

use std::net::SocketAddr;

/// The most seeds that are remembered from beacons. Set here: these are anybody's.
const HEARD_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Seeds {
    /// Those that the node was told of, and then those that it heard.
    all: Vec<SocketAddr>,
    told: usize,
    asked: usize,
    /// Whose orders were obeyed last.
    kept: Option<SocketAddr>,
}

impl Seeds {
    pub(super) fn new(told: Vec<SocketAddr>) -> Self {
        Self { told: told.len(), all: told, asked: 0, kept: None }
    }

    /// The one whose turn it is.
    pub(super) fn asked(&self) -> Option<SocketAddr> {
        self.all.get(self.asked).copied()
    }

    /// How many there are; 1 where there are none.
    pub(super) fn count(&self) -> u64 {
        self.all.len().max(1) as u64
    }

    /// It is the next one's turn.
    pub(super) fn next(&mut self) {
        self.asked = (self.asked + 1) % self.all.len().max(1);
    }

    /// The one that is asked gave orders that were obeyed: no beacon pushes it out.
    pub(super) fn keep(&mut self) {
        self.kept = self.asked();
    }

    /// Remembers one that a beacon told of, in place of the one heard first where there are too many. Whether it is new.
    pub(super) fn hear(&mut self, seed: SocketAddr) -> bool {
        if self.all.contains(&seed) {
            return false;
        }
        if self.all.len() - self.told >= HEARD_MAX {
            let heard = self.all.iter().enumerate().skip(self.told);
            // Nor the one whose answer may be on its way.
            let is_spared =
                |at: usize, seed: SocketAddr| at == self.asked || Some(seed) == self.kept;
            let mut others = heard.filter(|(at, seed)| !is_spared(*at, **seed));
            let Some((oldest, _)) = others.next() else { return false };
            self.all.remove(oldest);
            if oldest < self.asked {
                self.asked -= 1;
            }
        }
        self.all.push(seed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u16) -> SocketAddr {
        ([10, 0, 0, 1], number).into()
    }

    #[test]
    fn the_one_that_is_obeyed_stays_and_is_asked_again() {
        for kept in [1, 5, 8] {
            let mut seeds = Seeds::new(Vec::new());
            (1..=8).for_each(|number| assert!(seeds.hear(at(number))));
            assert!(!seeds.hear(at(3)));
            while seeds.asked() != Some(at(kept)) {
                seeds.next();
            }
            seeds.keep();
            for number in 100..200 {
                assert!(seeds.hear(at(number)));
                assert_eq!((seeds.asked(), seeds.all.len()), (Some(at(kept)), HEARD_MAX));
            }
        }
    }

    #[test]
    fn the_one_that_is_asked_is_heard_out() {
        for asked in 1..=8 {
            let mut seeds = Seeds::new(Vec::new());
            (1..=8).for_each(|number| assert!(seeds.hear(at(number))));
            while seeds.asked() != Some(at(asked)) {
                seeds.next();
            }
            (100..200).for_each(|number| assert!(seeds.hear(at(number))));
            assert_eq!(seeds.asked(), Some(at(asked)));
        }
    }

    #[test]
    fn everyone_has_its_turn() {
        let mut seeds = Seeds::new(vec![at(1), at(2)]);
        seeds.hear(at(3));
        let asked = [(); 4].map(|()| {
            let asked = seeds.asked();
            seeds.next();
            asked
        });
        assert_eq!(asked, [at(1), at(2), at(3), at(1)].map(Some));
        let mut none = Seeds::new(Vec::new());
        none.next();
        assert_eq!(none.asked(), None);
    }
}
