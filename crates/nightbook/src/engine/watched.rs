//! The job runner, watched: what is being worked on now, for progress bars, metrics and the API.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use backends::system::SystemClock;
use chrono::{DateTime, Utc};
use domain::ids::{JobName, PortfolioId};
use domain::job_context::JobContext;
use domain::ports::{Clock as _, JobRunner, PortfolioJobs};
use domain::record::{JobError, JobOutput};
use domain::run::Run;
use jobs::Runner;

/// A running job, as progress bars show it.
pub(crate) struct InHandNow {
    /// The portfolio.
    pub(crate) portfolio: PortfolioId,
    /// The job.
    pub(crate) job: JobName,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
    /// Its context, which knows how far it is.
    pub(crate) context: JobContext,
}

/// The job runner, watched: it knows which jobs run.
pub(crate) struct WatchedRunner {
    inner: Runner,
    /// The running jobs, by a number of their own.
    pub(crate) in_hand: Arc<Mutex<BTreeMap<u64, InHandNow>>>,
    next: AtomicU64,
    /// Items handled so far.
    pub(crate) ended: AtomicU64,
}

impl WatchedRunner {
    /// Watches this runner.
    pub(super) fn new(inner: Runner) -> Self {
        Self { inner, in_hand: Arc::default(), next: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    /// Portfolios that are opened from now on share so many jobs at once.
    pub(super) fn limit(&self, jobs: usize) {
        self.inner.limit(jobs);
    }

    /// Items handled so far.
    pub(crate) fn handled(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Counts an item that was handled.
    pub(super) fn count_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl JobRunner for WatchedRunner {
    async fn open(&self, run: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError> {
        let inner = self.inner.open(run, portfolio).await?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(WatchedJobs { inner, portfolio: portfolio.clone(), number, in_hand: Arc::clone(&self.in_hand) }))
    }
}

struct WatchedJobs {
    inner: Arc<dyn PortfolioJobs>,
    portfolio: PortfolioId,
    number: u64,
    in_hand: Arc<Mutex<BTreeMap<u64, InHandNow>>>,
}

/// Takes an entry out when the job ends, or its future is dropped.
struct Entry<'a>(&'a WatchedJobs);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0.number);
    }
}

#[async_trait]
impl PortfolioJobs for WatchedJobs {
    async fn run(&self, job: &JobName, context: JobContext) -> Result<JobOutput, JobError> {
        let now = InHandNow {
            portfolio: self.portfolio.clone(),
            job: job.clone(),
            since: SystemClock.now(),
            context: context.clone(),
        };
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number, now);
        let _entry = Entry(self);
        self.inner.run(job, context).await
    }

    fn results(&self) -> Result<Option<Vec<u8>>, JobError> {
        self.inner.results()
    }

    fn known_ids(&self) -> Vec<String> {
        self.inner.known_ids()
    }
}

impl api::Live for WatchedRunner {
    fn in_hand(&self) -> Vec<api::Hand> {
        let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hands: Vec<api::Hand> = in_hand
            .values()
            .map(|hand| api::Hand {
                portfolio: hand.portfolio.clone(),
                job: hand.job.clone(),
                since: hand.since,
                progress: hand.context.last_progress(),
            })
            .collect();
        hands.sort_by_key(|hand| hand.since);
        hands
    }
}
