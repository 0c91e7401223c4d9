//! Refused tokens, logged once a minute with their number: who tries many leaves a trace, and does not fill the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines.
const EVERY: Duration = Duration::from_secs(60);

/// Refused requests since the last line.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    count: u64,
    told: Option<Instant>,
}

impl Refusals {
    /// Counts a refused request; gives the number since the last line where a line is due.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.count += 1;
        if counted.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return None;
        }
        counted.told = Some(now);
        Some(std::mem::take(&mut counted.count))
    }

    /// Counts a refused request and logs the number where a line is due: the first at once.
    pub(crate) fn note(&self) {
        if let Some(count) = self.count(Instant::now()) {
            tracing::warn!(count, event = "access.refused", "requests without a valid token were refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_a_line_a_minute_and_all_are_counted() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let lines: Vec<u64> =
            (0..1_676_u64).filter_map(|n| refusals.count(start + Duration::from_millis(n * 100))).collect();
        assert_eq!(lines, [1, 600, 600]);
    }
}
