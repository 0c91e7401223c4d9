//! A token bucket: so many requests a minute, and not all of them at once.

use std::time::{Duration, Instant};

/// Requests that may follow one another without a pause.
const BURST: f64 = 5.0;

/// Says how long to wait before the next request.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket of so many requests a minute.
    #[must_use]
    pub fn new(per_minute: u32, now: Instant) -> Self {
        Self {
            per_second: f64::from(per_minute.max(1)) / 60.0,
            tokens: BURST.min(f64::from(per_minute.max(1))),
            filled: now,
        }
    }

    /// Takes a token, and says how long to wait until it is there.
    pub fn take(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed * self.per_second).min(BURST) - 1.0;
        Duration::from_secs_f64((-self.tokens).max(0.0) / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Who waits as told never asks more often than allowed, but for the first few.
        #[test]
        fn the_rate_is_kept(per_minute in 1u32..6_000, pauses in prop::collection::vec(0u64..3_000, 1..60)) {
            let begin = Instant::now();
            let mut bucket = Bucket::new(per_minute, begin);
            let mut now = begin;
            let mut asked = 0.0;
            for pause in pauses {
                now += Duration::from_millis(pause);
                now += bucket.take(now);
                asked += 1.0;
                let allowed = BURST + now.duration_since(begin).as_secs_f64() * f64::from(per_minute) / 60.0;
                prop_assert!(asked <= allowed + 1e-6, "{asked} of {allowed}");
            }
        }
    }
}
