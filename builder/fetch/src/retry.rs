//! Waiting between attempts: exponential, with jitter so that many clients do not return at once.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::Duration,
};

use crate::Error;

/// No single wait is longer; ours.
const LONGEST: Duration = Duration::from_secs(10);

/// How often something was tried in vain, and how long to wait before the next time.
pub(crate) struct Backoff {
    attempts: u32,
    limit: u32,
    pause: Duration,
}

impl Backoff {
    pub(crate) fn new(limit: u32, pause: Duration) -> Self {
        Self { attempts: 0, limit, pause }
    }

    /// Waits and lets the caller try again, or gives `error` back as final.
    pub(crate) fn after(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_transient() {
            return Err(error);
        }
        self.attempts += 1;
        if self.attempts >= self.limit {
            return Err(Error::GaveUp { attempts: self.attempts, source: Box::new(error) });
        }
        let doubled = self.pause.saturating_mul(1 << (self.attempts - 1).min(8)).min(LONGEST);
        thread::sleep(doubled.mul_f64(jitter()));
        Ok(())
    }

    /// Data came: what failed before does not count any more.
    pub(crate) fn progressed(&mut self) {
        self.attempts = 0;
    }
}

/// Between a half and one. The standard library's hash keys are the cheapest randomness at hand.
fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0_u8);
    0.5 + f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled() -> Error {
        Error::Stalled { url: "http://m.example/".into(), seconds: 1 }
    }

    #[test]
    fn gives_up_at_the_limit_and_at_once_where_hopeless() {
        let mut backoff = Backoff::new(3, Duration::ZERO);
        backoff.after(stalled()).unwrap();
        backoff.progressed();
        backoff.after(stalled()).unwrap();
        backoff.after(stalled()).unwrap();
        assert!(matches!(backoff.after(stalled()), Err(Error::GaveUp { attempts: 3, .. })));
        let missing = Error::Status { url: String::new(), status: 404 };
        let mut backoff = Backoff::new(3, Duration::ZERO);
        assert!(matches!(backoff.after(missing), Err(Error::Status { status: 404, .. })));
    }

    #[test]
    fn jitter_is_between_a_half_and_one() {
        assert!((0..100).all(|_| (0.5..=1.0).contains(&jitter())));
    }
}
