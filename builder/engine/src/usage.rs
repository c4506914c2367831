//! What this process and its programs have used: getrusage(2).

use std::{collections::BTreeMap, fs, sync::Mutex, time::Instant};

use crate::store::Record;

/// CPU seconds, user and system, of this process and of the programs that it waited for.
pub fn cpu_seconds() -> f64 {
    // Fields 14 to 17 of proc_pid_stat(5), counted in ticks of 1/100 s on every Linux for x86-64.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(4);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// Takes the time of a stage that runs alone.
pub struct Stopwatch {
    stage: &'static str,
    begin: Instant,
    cpu: f64,
}

impl Stopwatch {
    /// Begins to count for `stage`.
    pub fn start(stage: &'static str) -> Self {
        Self { stage, begin: Instant::now(), cpu: cpu_seconds() }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// What it took, and what came of it.
    pub fn stop(self, summary: String) -> Record {
        let (seconds, cpu_seconds) = (self.seconds(), cpu_seconds() - self.cpu);
        Record { step: self.stage.to_owned(), summary, seconds, cpu_seconds }
    }
}

/// Tells the CPU seconds of things that run side by side, which the kernel only counts together: what was used
/// while several ran is shared out evenly, so that their sum is right.
pub struct Meter<C = fn() -> f64> {
    clock: C,
    shares: Mutex<Shares>,
}

#[derive(Default)]
struct Shares {
    /// What the clock said when the shares were right.
    at: f64,
    running: BTreeMap<&'static str, f64>,
}

impl Meter {
    /// One of this process.
    pub fn new() -> Self {
        Self::of(cpu_seconds)
    }
}

impl<C: Fn() -> f64> Meter<C> {
    fn of(clock: C) -> Self {
        Self { clock, shares: Mutex::default() }
    }

    /// Begins to count for `name`.
    pub fn begin(&self, name: &'static str) {
        self.settled(|shares| shares.running.insert(name, 0.0));
    }

    /// Ends counting for `name`, and says what it used.
    pub fn end(&self, name: &'static str) -> f64 {
        self.settled(|shares| shares.running.remove(name)).unwrap_or_default()
    }

    fn settled<T>(&self, change: impl FnOnce(&mut Shares) -> T) -> T {
        let mut shares = self.shares.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = (self.clock)();
        let each = (now - shares.at) / shares.running.len().max(1) as f64;
        shares.running.values_mut().for_each(|used| *used += each);
        shares.at = now;
        change(&mut shares)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_runs_side_by_side_shares() {
        let clock = Cell::new(5.0);
        let meter = Meter::of(|| clock.get());
        let on = |seconds: f64| clock.set(clock.get() + seconds);
        meter.begin("a");
        on(1.0);
        meter.begin("b");
        on(4.0);
        let a = meter.end("a");
        on(2.0);
        let b = meter.end("b");
        on(8.0);
        meter.begin("c");
        let c = meter.end("c");
        assert_eq!((a, b, c), (3.0, 4.0, 0.0));
    }
}
