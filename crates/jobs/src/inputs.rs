//! Where the inputs of a run come from: a book, or the pinned inputs of the run that is repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use book::{Book, PricePoint};
use chrono::NaiveDate;
use domain::ids::{PortfolioId, RunId};
use domain::night::NightBefore;
use domain::ports::{Clock, Documents, PinnedInputs, Randomness, RunInputs, Sleeper};
use domain::record::JobError;
use domain::retry::RetryPolicy;
use domain::run::{PlannedPortfolio, Run, RunLevelWork};
use domain::words::ErrorCategory;
use serde_json::{Map, Value, json};

use crate::job_list::{MARKET_DATA_UPDATE, job_list, job_name};
use crate::night::pinned_night;
use crate::runner::store_error;
use crate::snapshot::{Snapshot, SnapshotError};

/// What a price source adds to the prices of the book.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fetched {
    /// Closes by symbol, sorted by day; one of the book itself counts before one of these.
    pub closes: BTreeMap<String, Vec<PricePoint>>,
    /// What was done, in brief, for the record.
    pub metadata: Map<String, Value>,
}

/// The price source: it is asked once per attempt before the prices are pinned.
#[async_trait]
pub trait PriceGate: Send + Sync {
    /// Gives the closes that the book does not have, or says why they are not to be had. `attempt` counts from 1.
    ///
    /// # Errors
    /// Its category decides whether the source is asked again.
    async fn open(&self, book: &Book, as_of: NaiveDate, attempt: u32) -> Result<Fetched, JobError>;
}

/// A source that never fails: the prices of the book are there.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGate;

#[async_trait]
impl PriceGate for NoGate {
    async fn open(&self, _book: &Book, _as_of: NaiveDate, _attempt: u32) -> Result<Fetched, JobError> {
        Ok(Fetched::default())
    }
}

/// Why inputs cannot be pinned.
#[derive(Debug, thiserror::Error)]
enum InputsError {
    #[error("there is no portfolio {} in the book: name one that portfolios.csv has", list(.0))]
    UnknownPortfolios(Vec<String>),
    #[error("the portfolio {} is closed on {}: leave it out", list(.0), .1)]
    ClosedPortfolios(Vec<String>, NaiveDate),
    #[error("there is no portfolio {} in the run that is repeated: name one that it had", list(.0))]
    NotInRun(Vec<String>),
    #[error("run {0} was never sealed, so there are no inputs to repeat it on: run it again from the book")]
    NotSealed(RunId),
    #[error("the inputs of run {0} are of another date")]
    OtherDate(RunId),
    #[error("the inputs of the run cannot be pinned")]
    Snapshot(#[from] SnapshotError),
    #[error("the inputs could not be prepared")]
    Panicked(#[from] tokio::task::JoinError),
}

impl InputsError {
    fn category(&self) -> ErrorCategory {
        match self {
            Self::UnknownPortfolios(_)
            | Self::ClosedPortfolios(..)
            | Self::NotInRun(_)
            | Self::NotSealed(_)
            | Self::OtherDate(_) => ErrorCategory::Permanent,
            Self::Snapshot(SnapshotError::Encode(_)) | Self::Panicked(_) => ErrorCategory::Internal,
            Self::Snapshot(_) => ErrorCategory::Permanent,
        }
    }
}

impl From<InputsError> for JobError {
    fn from(error: InputsError) -> Self {
        Self::from_error(error.category(), &error)
    }
}

fn list(ids: &[String]) -> String {
    let shown = ids.iter().take(5).map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ");
    if ids.len() > 5 { format!("{shown} and {} others", ids.len() - 5) } else { shown }
}

/// Inputs from a book.
pub struct BookInputs {
    book: Arc<Book>,
    clock: Arc<dyn Clock>,
    gate: Arc<dyn PriceGate>,
    sleeper: Arc<dyn Sleeper>,
    randomness: Arc<dyn Randomness>,
}

impl std::fmt::Debug for BookInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BookInputs").field("book", &self.book.content_hash).finish_non_exhaustive()
    }
}

impl BookInputs {
    /// Inputs from this book, its prices behind a gate.
    #[must_use]
    pub fn new(
        book: Arc<Book>,
        clock: Arc<dyn Clock>,
        gate: Arc<dyn PriceGate>,
        sleeper: Arc<dyn Sleeper>,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        Self { book, clock, gate, sleeper, randomness }
    }

    /// Asks the price source until it answers or the policy gives up; how often, and its answer or the last error.
    async fn pass_gate(&self, as_of: NaiveDate, retry: &RetryPolicy) -> (u32, Result<Fetched, JobError>) {
        let mut attempt = 1;
        loop {
            let error = match self.gate.open(&self.book, as_of, attempt).await {
                Ok(fetched) => return (attempt, Ok(fetched)),
                Err(error) => error,
            };
            let Some(wait) = retry.wait_after(error.category, attempt, self.randomness.jitter()) else {
                return (attempt, Err(error));
            };
            let recorded = error.recorded(&job_name(MARKET_DATA_UPDATE), &[]);
            tracing::warn!(
                as_of = %as_of, job_name = MARKET_DATA_UPDATE, attempt, category = %error.category,
                error = %recorded.message, wait_seconds = wait.as_secs_f64(), event = "job.retried",
                "the price source failed and is asked again"
            );
            self.sleeper.sleep(wait).await;
            attempt += 1;
        }
    }
}

#[async_trait]
impl RunInputs for BookInputs {
    async fn pin(
        &self,
        as_of: NaiveDate,
        filter: &[PortfolioId],
        before: &NightBefore,
    ) -> Result<PinnedInputs, JobError> {
        let unknown = filter.iter().filter(|id| self.book.portfolio(id).is_none());
        let unknown: Vec<String> = unknown.map(ToString::to_string).collect();
        if !unknown.is_empty() {
            return Err(InputsError::UnknownPortfolios(unknown).into());
        }
        let known = filter.iter().filter_map(|id| self.book.portfolio(id));
        let closed: Vec<String> =
            known.filter(|portfolio| portfolio.is_closed(as_of)).map(|portfolio| portfolio.id.to_string()).collect();
        if !closed.is_empty() {
            return Err(InputsError::ClosedPortfolios(closed, as_of).into());
        }
        let run = &self.book.settings.run;
        let retry = RetryPolicy { attempts: run.retries.max(1), backoff_seconds: run.backoff_seconds };
        let started_at = self.clock.now();
        let (attempts, answer) = self.pass_gate(as_of, &retry).await;
        let (fetched, error) = match answer {
            Ok(fetched) => (fetched, None),
            Err(error) => (Fetched::default(), Some(error)),
        };

        let (mut book, filter, closes) = (Arc::clone(&self.book), filter.to_vec(), fetched.closes);
        let before = before.clone();
        let pinning = tokio::task::spawn_blocking(move || {
            if !closes.is_empty() {
                let book = Arc::make_mut(&mut book);
                closes.iter().for_each(|(symbol, points)| book.prices.add_missing(symbol, points));
            }
            let snapshot = Snapshot::of_night(&book, as_of, &filter, &before.kept_equity);
            let bytes = snapshot.encode()?;
            let night = pinned_night(&book, &snapshot, &before, !filter.is_empty());
            Ok((snapshot, bytes, night))
        });
        let (snapshot, bytes, night) = pinning.await.map_err(InputsError::Panicked)?.map_err(InputsError::Snapshot)?;
        let market_data = RunLevelWork {
            attempts,
            started_at,
            completed_at: self.clock.now(),
            error: error.map(|error| error.recorded(&job_name(MARKET_DATA_UPDATE), &[])),
            metadata: metadata(&snapshot, bytes.len()).into_iter().chain(fetched.metadata).collect(),
            quality: None,
        };
        Ok(PinnedInputs {
            night: Some(night),
            book: self.book.content_hash.clone(),
            portfolios: planned(&snapshot, &[]),
            jobs: job_list(&snapshot.settings),
            retry,
            deadline_minutes: run.deadline_minutes,
            snapshot: bytes,
            market_data,
        })
    }
}

fn planned(snapshot: &Snapshot, filter: &[PortfolioId]) -> Vec<PlannedPortfolio> {
    let wanted = snapshot.portfolios.iter().filter(|portfolio| filter.is_empty() || filter.contains(&portfolio.id));
    wanted.map(|portfolio| PlannedPortfolio { id: portfolio.id.clone(), name: portfolio.name.clone() }).collect()
}

/// What was read for the run, in brief: it goes into the record of every portfolio, beside that portfolio's own figures.
fn metadata(snapshot: &Snapshot, bytes: usize) -> Map<String, Value> {
    let observed = |symbol: usize| snapshot.closes_of(symbol).iter().any(|close| close.is_finite());
    let missing: Vec<&String> =
        (0..snapshot.symbols.len()).filter(|at| !observed(*at)).map(|at| &snapshot.symbols[at]).collect();
    let entries = [
        ("run_symbols", json!(snapshot.symbols.len())),
        ("run_prices", json!(snapshot.closes.iter().filter(|close| close.is_finite()).count())),
        ("run_symbols_without_prices", json!(missing.len())),
        ("run_missing_symbols", json!(missing.into_iter().take(20).collect::<Vec<_>>())),
        ("run_snapshot_bytes", json!(bytes)),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Inputs of a rerun: those that the original run pinned, to the byte.
pub struct SnapshotInputs {
    documents: Arc<dyn Documents>,
    original: Run,
    portfolios: Vec<PortfolioId>,
}

impl std::fmt::Debug for SnapshotInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotInputs").field("original", &self.original.batch_run_id).finish_non_exhaustive()
    }
}

impl SnapshotInputs {
    /// The inputs of this run, for these of its portfolios (empty: all).
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, original: Run, portfolios: Vec<PortfolioId>) -> Self {
        Self { documents, original, portfolios }
    }
}

#[async_trait]
impl RunInputs for SnapshotInputs {
    async fn pin(&self, as_of: NaiveDate, filter: &[PortfolioId], _: &NightBefore) -> Result<PinnedInputs, JobError> {
        let id = self.original.batch_run_id;
        let plan = self.original.plan.as_ref().ok_or(InputsError::NotSealed(id))?;
        let bytes = self.documents.snapshot(&plan.snapshot).await.map_err(|error| store_error(&error))?;
        let decoding = tokio::task::spawn_blocking(move || Snapshot::decode(&bytes).map(|snapshot| (snapshot, bytes)));
        let (snapshot, bytes) = decoding.await.map_err(InputsError::Panicked)?.map_err(InputsError::Snapshot)?;
        if snapshot.as_of != as_of {
            return Err(InputsError::OtherDate(id).into());
        }
        let wanted = if self.portfolios.is_empty() { filter } else { &self.portfolios[..] };
        let portfolios = planned(&snapshot, wanted);
        let unknown = wanted.iter().filter(|id| portfolios.iter().all(|portfolio| portfolio.id != **id));
        let unknown: Vec<String> = unknown.map(ToString::to_string).collect();
        if !unknown.is_empty() {
            return Err(InputsError::NotInRun(unknown).into());
        }
        Ok(PinnedInputs {
            night: None,
            book: plan.book.clone(),
            portfolios,
            jobs: plan.jobs.clone(),
            retry: plan.retry,
            deadline_minutes: snapshot.settings.run.deadline_minutes,
            snapshot: bytes,
            market_data: plan.market_data.clone(),
        })
    }
}
