//! What a job gets to work with: it says how far it is, and asks whether to stop.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ports::Clock;
use crate::record::{JobError, Progress};
use crate::words::ErrorCategory;

const GO_ON: u8 = 0;
const TIME_IS_UP: u8 = 1;
const STOP: u8 = 2;

struct Shared {
    stop: AtomicU8,
    progress: Mutex<Option<Progress>>,
    waits: Mutex<Waits>,
    clock: Arc<dyn Clock>,
}

/// How long the job waited for its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// Whether it waits now.
    pub is_waiting: bool,
    /// The sum of the waits that ended.
    pub waited: Duration,
}

/// The context of one attempt of one job. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct JobContext {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for JobContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobContext").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

impl JobContext {
    /// A context of a job that has said nothing yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (progress, waits) = (Mutex::new(None), Mutex::default());
        Self { shared: Arc::new(Shared { stop: AtomicU8::new(GO_ON), progress, waits, clock }) }
    }

    /// Says that the job waits for its turn: this time does not count toward its limit.
    pub fn wait_begins(&self) {
        self.shared.waits.lock().unwrap_or_else(PoisonError::into_inner).is_waiting = true;
    }

    /// Says that the job works from now on, after it waited for so long.
    pub fn wait_ended(&self, waited: Duration) {
        let mut waits = self.shared.waits.lock().unwrap_or_else(PoisonError::into_inner);
        *waits = Waits { is_waiting: false, waited: waits.waited + waited };
    }

    /// How long the job waited for its turn so far.
    #[must_use]
    pub fn waits(&self) -> Waits {
        *self.shared.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how far the job is, and asks whether to go on. To be called at least every 50 ms of work.
    ///
    /// `item` is only made when the progress is told, which is every time.
    ///
    /// # Errors
    /// The error to return from the job: `timeout` when its time is up, `transient` when the worker has to stop.
    pub fn progress(&self, done: u64, total: u64, item: impl FnOnce() -> String) -> Result<(), JobError> {
        let progress = Progress { done, total, item: item(), at: self.shared.clock.now() };
        *self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
        self.check()
    }

    /// Asks whether to go on.
    ///
    /// # Errors
    /// As [`Self::progress`].
    pub fn check(&self) -> Result<(), JobError> {
        match self.shared.stop.load(Ordering::Relaxed) {
            GO_ON => Ok(()),
            TIME_IS_UP => Err(JobError::new(ErrorCategory::Timeout, "the job ran longer than its time limit")),
            _ => Err(JobError::new(ErrorCategory::Transient, "the worker was told to stop")),
        }
    }

    /// How far the job last said it is.
    #[must_use]
    pub fn last_progress(&self) -> Option<Progress> {
        self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the job that its time is up.
    pub fn time_is_up(&self) {
        self.shared.stop.store(TIME_IS_UP, Ordering::Relaxed);
    }

    /// Tells the job to stop, its result is not wanted any more.
    pub fn stop(&self) {
        self.shared.stop.store(STOP, Ordering::Relaxed);
    }

    /// Whether it was told either.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed) != GO_ON
    }
}
