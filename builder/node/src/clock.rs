//! The machine's clocks, and the join's.

use std::time::Duration;

use anyhow::{Context as _, Result};
use coremax_node_api::join::Now;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

/// Time, perhaps faster than it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// The join's own milliseconds in one of the machine's.
    pub faster: u64,
}

impl Clock {
    pub(crate) fn now(self) -> Now {
        Now { mono: real() * self.faster, wall: wall() }
    }

    /// How long it is from `now` until the join's own clock has come to this.
    pub(crate) fn until(self, mono: u64, now: Now) -> Duration {
        Duration::from_millis(mono.saturating_sub(now.mono).div_ceil(self.faster))
    }
}

/// The machine's own milliseconds since its start, in sleep too: what connections are timed by.
pub(crate) fn real() -> u64 {
    milliseconds(clock_gettime(ClockId::Boottime)).unsigned_abs()
}

/// Milliseconds since 1970, as far as the machine knows.
pub(crate) fn wall() -> i64 {
    milliseconds(clock_gettime(ClockId::Realtime))
}

/// Sets the machine's clock.
pub(crate) fn set(wall: i64) -> Result<()> {
    let (seconds, rest) = (wall.div_euclid(1000), wall.rem_euclid(1000));
    let time = Timespec { tv_sec: seconds, tv_nsec: rest * 1_000_000 };
    clock_settime(ClockId::Realtime, time)
        .with_context(|| format!("setting the clock to {wall} ms"))
}

fn milliseconds(time: Timespec) -> i64 {
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_clock_is_sooner_there() {
        let now = Now { mono: 60_000, wall: 0 };
        for (faster, mono, want) in
            [(1, 61_000, 1000), (10, 61_000, 100), (10, 60_001, 1), (10, 5, 0)]
        {
            assert_eq!(Clock { faster }.until(mono, now), Duration::from_millis(want));
        }
        let (slow, fast) = (Clock { faster: 1 }.now(), Clock { faster: 10 }.now());
        assert!(fast.mono >= slow.mono * 10 && slow.wall > 1_000_000_000_000);
    }
}
