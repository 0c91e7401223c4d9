//! Time and randomness.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::ids::Owner;

/// The time.
pub trait Clock: Send + Sync {
    /// Now, in UTC, to the microsecond.
    fn now(&self) -> DateTime<Utc>;
}

/// Waiting.
#[async_trait]
pub trait Sleeper: Send + Sync {
    /// Returns after this time.
    async fn sleep(&self, time: Duration);
}

/// Chance.
pub trait Randomness: Send + Sync {
    /// An owner that was never used before.
    fn owner(&self) -> Owner;
    /// Uniform in [0, 1).
    fn jitter(&self) -> f64;
}
