//! The clock, waiting and chance of this machine.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::ids::Owner;
use domain::ports::{Clock, Randomness, Sleeper};
use rand::RngExt as _;

/// The clock of the machine, to the microsecond (what the stores keep).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one real clock")]
    fn now(&self) -> DateTime<Utc> {
        let now = Utc::now();
        now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
    }
}

/// Waiting, by tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioSleeper;

#[async_trait]
impl Sleeper for TokioSleeper {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Chance, from the operating system's seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn owner(&self) -> Owner {
        Owner(uuid::Builder::from_random_bytes(rand::rng().random()).into_uuid())
    }

    fn jitter(&self) -> f64 {
        rand::rng().random()
    }
}
