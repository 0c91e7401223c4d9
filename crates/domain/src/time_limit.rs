//! The time limit of an attempt of a job: it counts work, not the wait for a turn.

use std::time::Duration;

use crate::job_context::Waits;

/// The limit of one attempt, and how much time has passed of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    limit: Duration,
    passed: Duration,
}

impl TimeLimit {
    pub(crate) fn of_seconds(seconds: u32) -> Self {
        Self { limit: Duration::from_secs(seconds.into()), passed: Duration::ZERO }
    }

    /// How long to sleep until the limit may be reached; `None`: it is reached. To be called first at the start of the
    /// attempt, and again after each of these sleeps.
    pub(crate) fn next_sleep(&mut self, waits: Waits) -> Option<Duration> {
        let left = if waits.is_waiting {
            // The program starts later than now, so it has its whole limit from now on at least.
            self.limit
        } else {
            self.limit.saturating_sub(self.passed.saturating_sub(waits.waited))
        };
        self.passed += left;
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The moment at which the limit of 8 s is reached by a job that waits for so long before it works.
    fn reached_after(wait: u64) -> u64 {
        let mut limit = TimeLimit::of_seconds(8);
        let mut now = Duration::ZERO;
        loop {
            let is_waiting = now < seconds(wait);
            let waited = if is_waiting { Duration::ZERO } else { seconds(wait) };
            match limit.next_sleep(Waits { is_waiting, waited }) {
                Some(sleep) => now += sleep,
                None => return now.as_secs(),
            }
        }
    }

    #[test]
    fn a_job_has_its_whole_limit_from_its_start_on() {
        for wait in 0..40 {
            assert_eq!(reached_after(wait), wait + 8, "waited {wait} s");
        }
    }
}
