//! How failures are tried again: how often, and how long to wait.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::ErrorCategory;

/// Longest wait between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// How failures of a run's jobs are tried again. Stored with the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts at most, the first included.
    pub attempts: u32,
    /// Wait before the second attempt, in seconds; it doubles for each further one.
    pub backoff_seconds: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 3, backoff_seconds: 1.0 }
    }
}

impl RetryPolicy {
    /// The wait before the next attempt, or none where there is to be no other.
    ///
    /// `attempt` is the one that failed, from 1; `jitter` is uniform in [0, 1) and spreads the wait over half to
    /// one and a half times its length, so that many failures at once do not come back at once.
    #[must_use]
    pub fn wait_after(&self, category: ErrorCategory, attempt: u32, jitter: f64) -> Option<Duration> {
        match category {
            ErrorCategory::Permanent => None,
            ErrorCategory::Transient | ErrorCategory::Internal | ErrorCategory::Timeout => {
                if attempt >= self.attempts {
                    return None;
                }
                let doubled = self.backoff_seconds.max(0.0) * 2f64.powi(attempt.saturating_sub(1).min(30) as i32);
                let spread = doubled * (0.5 + jitter.clamp(0.0, 1.0));
                Some(Duration::from_secs_f64(spread.min(MAX_BACKOFF.as_secs_f64())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn permanent_is_never_tried_again_and_the_rest_three_times() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait_after(ErrorCategory::Permanent, 1, 0.5), None);
        for category in [ErrorCategory::Transient, ErrorCategory::Internal, ErrorCategory::Timeout] {
            assert_eq!(policy.wait_after(category, 1, 0.5), Some(Duration::from_secs(1)));
            assert_eq!(policy.wait_after(category, 2, 0.5), Some(Duration::from_secs(2)));
            assert_eq!(policy.wait_after(category, 3, 0.5), None);
        }
    }

    proptest! {
        #[test]
        fn waits_are_spread_and_bounded(attempts in 0u32..2000, attempt in 0u32..2000, base in 0.0f64..1e9, jitter in 0.0f64..1.0) {
            let policy = RetryPolicy { attempts, backoff_seconds: base };
            if let Some(wait) = policy.wait_after(ErrorCategory::Transient, attempt, jitter) {
                prop_assert!(wait <= MAX_BACKOFF && attempt < attempts);
            }
        }
    }
}
