//! The run control of the history API.
//!
//! `history` may read neither the book nor the pinned inputs, so `start-run` decides starts and reruns, and records the
//! run. What is recorded is run even if the call that begins it is lost: `watch` finds the run without a plan, and calls
//! again.

use std::sync::Arc;

use app::{
    Accepted, ActiveRuns, ControlError, ControlParts, Refusal, RerunRequest, RunControl, RunWorker, StartElsewhere,
    StartRequest, Starts,
};
use async_trait::async_trait;
use domain::close_run::request_pages;
use domain::ids::RunId;
use domain::note::RunNotes;
use domain::ports::{AlertBooks, Clock, Randomness, RunQuery, RunStore, StoreError};
use domain::redact::redact;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::watch::CallStart;

/// Runs that are looked through for the newest closed one.
const NEWEST: usize = 20;

/// Calls `start-run` and waits for its answer.
#[async_trait]
pub trait AskStart: CallStart {
    /// The answer to a payload.
    ///
    /// # Errors
    /// The call was not taken, or the function failed.
    async fn ask_start(&self, payload: &Value) -> Result<Value, StoreError>;
}

#[async_trait]
impl AskStart for backends::aws::StartFunction {
    async fn ask_start(&self, payload: &Value) -> Result<Value, StoreError> {
        self.ask(payload).await
    }
}

/// The answer of `start-run` to a request that it records only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// The run is recorded and will be run.
    Begun(RunId),
    /// The same run exists and is closed.
    Finished(RunId),
    /// Another run is active.
    Active(RunId),
    /// The book cannot be used, as an earlier release reports it.
    Refused(String),
    /// Every job of this run succeeded.
    NothingToRepeat(RunId),
    /// The request was refused.
    Declined(Refusal),
}

impl Recorded {
    /// The answer for an outcome.
    ///
    /// # Errors
    /// The store: the function fails, and the caller is asked to try again.
    pub fn of(outcome: Result<Accepted, ControlError>) -> Result<Self, StoreError> {
        Ok(match outcome {
            Ok(Accepted::Begun(run) | Accepted::Continued(run) | Accepted::Canceling(run)) => Self::Begun(run),
            Ok(Accepted::Finished(run)) => Self::Finished(run),
            Ok(Accepted::NothingToRepeat(run)) => Self::NothingToRepeat(run),
            Err(ControlError::Refused(Refusal::Active { run })) => Self::Active(run),
            Err(ControlError::Refused(refusal)) => Self::Declined(refusal),
            Err(ControlError::Store(error)) => return Err(error),
        })
    }

    fn outcome(self) -> Result<Accepted, ControlError> {
        match self {
            Self::Begun(run) => Ok(Accepted::Begun(run)),
            Self::Finished(run) => Ok(Accepted::Finished(run)),
            Self::NothingToRepeat(run) => Ok(Accepted::NothingToRepeat(run)),
            Self::Active(run) => Err(Refusal::Active { run }.into()),
            Self::Refused(why) => Err(Refusal::BookUnusable(why).into()),
            Self::Declined(refusal) => Err(refusal.into()),
        }
    }
}

/// What the run control of `history` decides on and acts through.
pub struct HistoryParts {
    /// The records.
    pub store: Arc<dyn RunStore>,
    /// The notes of runs.
    pub notes: Arc<dyn RunNotes>,
    /// The alert books.
    pub alerts: Arc<dyn AlertBooks>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Names of planners.
    pub randomness: Arc<dyn Randomness>,
    /// Calls `start-run`.
    pub start: Arc<dyn AskStart>,
}

impl std::fmt::Debug for HistoryParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HistoryParts")
    }
}

/// The run control of `history`.
#[must_use]
pub fn control(parts: HistoryParts) -> RunControl {
    let HistoryParts { store, notes, alerts, clock, randomness, start } = parts;
    let starts = Starts::Elsewhere(Arc::new(StartRun(Arc::clone(&start))));
    let worker = Arc::new(Functions { store: Arc::clone(&store), start });
    let active_runs = ActiveRuns::Refuse;
    RunControl::new(ControlParts { store, notes, alerts, clock, randomness, starts, active_runs, worker })
}

/// `start-run`, as it decides starts and reruns.
struct StartRun(Arc<dyn AskStart>);

impl StartRun {
    async fn ask(&self, payload: &Value) -> Result<Accepted, ControlError> {
        let answer = self.0.ask_start(payload).await?;
        let recorded: Recorded = serde_json::from_value(answer).map_err(|error| StoreError::Unavailable {
            doing: "read the answer of start-run".to_owned(),
            source: error.into(),
        })?;
        recorded.outcome()
    }
}

#[async_trait]
impl StartElsewhere for StartRun {
    async fn start(&self, request: &StartRequest) -> Result<Accepted, ControlError> {
        let StartRequest { as_of, portfolios, trigger, again } = request;
        let mut payload = json!({ "trigger": trigger, "again": again, "record_only": true });
        if let Some(date) = as_of {
            payload["as_of"] = json!(date);
        }
        if !portfolios.is_empty() {
            payload["portfolios"] = json!(portfolios);
        }
        self.ask(&payload).await
    }

    async fn rerun(&self, request: &RerunRequest) -> Result<Accepted, ControlError> {
        let RerunRequest { run, failed_only, cause } = request;
        let mut payload = json!({ "rerun_of": run, "failed": failed_only, "record_only": true });
        if let Some(cause) = cause {
            payload["cause"] = json!(cause);
        }
        self.ask(&payload).await
    }
}

/// The functions that work on what is recorded.
struct Functions {
    store: Arc<dyn RunStore>,
    start: Arc<dyn AskStart>,
}

impl Functions {
    async fn call(&self, run: RunId, payload: &Value) {
        if let Err(error) = self.start.call_start(payload).await {
            let text = redact(&format!("{:#}", anyhow::Error::new(error)));
            tracing::warn!(
                batch_run_id = %run, error = %text, event = "start.delayed",
                "start-run could not be called for a recorded run; the watch calls it"
            );
        }
    }
}

#[async_trait]
impl RunWorker for Functions {
    async fn begin(&self, run: RunId) {
        self.call(run, &json!({ "resume": run })).await;
    }

    async fn end(&self, run: RunId) {
        self.call(run, &json!({ "cancel": run })).await;
    }

    /// The one writer of the site is `close-run`, and `watch` asks it for pages that are recorded as pending.
    async fn publish(&self, _run: RunId) {}

    /// The pages of the newest run are written again, and the index last.
    async fn refresh_index(&self) {
        let requested = async {
            let page = self.store.runs(&RunQuery { limit: NEWEST, ..RunQuery::default() }).await?;
            match page.runs.iter().find(|stored| stored.run.is_closed()) {
                Some(stored) => request_pages(self.store.as_ref(), stored.run.batch_run_id).await,
                None => Ok(()),
            }
        };
        if let Err(error) = requested.await {
            tracing::warn!(
                error = %error, event = "publication.failed",
                "the index could not be requested; the next publication shows the mute"
            );
        }
    }
}
