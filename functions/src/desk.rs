//! Takes the commands of the history API: a run that is asked for is recorded first, and `start-run` is called to do it.
//!
//! What is on record is done even if that call is lost: `watch` finds the run without a plan, and calls again.

use std::sync::Arc;

use api::{Accepted, CommandError, Commands, StartAsked};
use async_trait::async_trait;
use domain::ids::RunId;
use domain::ports::{Change, Clock, Creation, Randomness, RunStore, StoreError, StoredRun};
use domain::redact::redact;
use domain::run::{Publication, RunEvent};
use domain::start_run::StartRun;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::watch::CallStart;

/// Calls `start-run` and waits for what it says.
#[async_trait]
pub trait AskStart: CallStart {
    /// Hands it a payload; gives its answer.
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

/// What `start-run` says of a run that it was to record: only it can read the book, from which the run has its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// It is on record and will be done.
    Begun(RunId),
    /// The same run is there, and is finished.
    Finished(RunId),
    /// Another run is active.
    Active(RunId),
    /// It cannot be run; why.
    Refused(String),
}

/// Records the run that somebody asked for, unless another is active. The same run again is the same record.
///
/// # Errors
/// The store.
pub async fn record(
    store: &dyn RunStore,
    clock: &dyn Clock,
    randomness: &dyn Randomness,
    start: &StartRun,
) -> Result<Recorded, StoreError> {
    let other = store.open_runs().await?.into_iter().find(|run| run.batch_run_id != start.id);
    if let Some(run) = other {
        return Ok(Recorded::Active(run.batch_run_id));
    }
    let run = start.asked_for(randomness.owner(), clock.now());
    match store.create_run(&run).await? {
        Creation::Existing(run) if run.is_closed() => return Ok(Recorded::Finished(start.id)),
        Creation::Existing(_) | Creation::Created => {}
    }
    tracing::info!(
        batch_run_id = %start.id, as_of = %start.as_of, trigger = start.trigger, event = "run.asked_for",
        "a run was asked for through the history API"
    );
    Ok(Recorded::Begun(start.id))
}

/// Where commands are taken.
#[derive(Clone)]
pub struct Desk {
    /// The records.
    pub store: Arc<dyn RunStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Names of planners.
    pub randomness: Arc<dyn Randomness>,
    /// Whoever starts runs.
    pub start: Arc<dyn AskStart>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    async fn stored(&self, run: RunId) -> Result<StoredRun, CommandError> {
        let found = self.store.run(run).await?;
        found.ok_or_else(|| StoreError::NotFound { what: format!("run {run}") }.into())
    }

    /// What became of a run that was to be recorded; one that begins is handed to `start-run`.
    async fn begin(&self, recorded: Recorded) -> Result<Accepted, CommandError> {
        let run = match recorded {
            Recorded::Begun(run) => run,
            Recorded::Finished(run) => return Ok(Accepted::Finished(run)),
            Recorded::Active(run) => return Err(CommandError::Active(run)),
            Recorded::Refused(why) => return Err(CommandError::Unusable(why)),
        };
        self.call(run, &json!({ "resume": run })).await;
        Ok(Accepted::Begun(run))
    }

    /// Has `start-run` do at once what is on record; else `watch` does it.
    async fn call(&self, run: RunId, payload: &Value) {
        if let Err(error) = self.start.call_start(payload).await {
            let text = redact(&format!("{:#}", anyhow::Error::new(error)));
            tracing::warn!(
                batch_run_id = %run, error = %text, event = "start.delayed",
                "start-run could not be called for what is on record of a run; the watch does it"
            );
        }
    }
}

#[async_trait]
impl Commands for Desk {
    async fn start(&self, asked: &StartAsked) -> Result<Accepted, CommandError> {
        let StartAsked { as_of, portfolios, trigger, again } = asked;
        let mut payload = json!({ "trigger": trigger, "again": again, "record_only": true });
        if let Some(date) = as_of {
            payload["as_of"] = json!(date);
        }
        if !portfolios.is_empty() {
            payload["portfolios"] = json!(portfolios);
        }
        let said = self.start.ask_start(&payload).await?;
        let recorded = serde_json::from_value(said).map_err(|error| StoreError::Unavailable {
            doing: "read what start-run says".to_owned(),
            source: error.into(),
        })?;
        self.begin(recorded).await
    }

    async fn rerun(&self, run: RunId, failed_only: bool) -> Result<Accepted, CommandError> {
        let store = self.store.as_ref();
        let original = self.stored(run).await?;
        if !original.run.is_closed() {
            return Err(CommandError::Conflict(format!("run {run} is not closed: there is nothing to repeat")));
        }
        let portfolios = match failed_only {
            true => wiring::not_successful(store, &original).await?,
            false => original.run.filter.clone(),
        };
        if failed_only && portfolios.is_empty() {
            let text = format!("every job of run {run} succeeded: there is nothing to repeat");
            return Err(CommandError::Conflict(text));
        }
        let start = wiring::rerun(store, &original.run, failed_only, portfolios).await?;
        self.begin(record(store, self.clock.as_ref(), self.randomness.as_ref(), &start).await?).await
    }

    async fn cancel(&self, run: RunId) -> Result<Accepted, CommandError> {
        match self.store.apply_run(run, &RunEvent::Cancel { now: self.clock.now() }).await? {
            Change::Applied(_) => {
                tracing::info!(batch_run_id = %run, event = "run.cancelled", "somebody asked to end the run early");
                self.call(run, &json!({ "cancel": run })).await;
                Ok(Accepted::Begun(run))
            }
            Change::Refused(_, refusal) => {
                Err(CommandError::Conflict(format!("run {run} cannot be cancelled: {refusal}")))
            }
        }
    }

    /// The one writer of the site is `close-run`, and `watch` asks it for what is not published.
    async fn annotated(&self, run: RunId) {
        let marked = async {
            let Some(stored) = self.store.run(run).await?.map(|stored| stored.run) else { return Ok(()) };
            if stored.has_ended() && matches!(stored.publication, Publication::Published { .. }) {
                let plan_epoch = stored.plan_epoch;
                let event = RunEvent::Publish { publication: Publication::Pending, plan_epoch };
                self.store.apply_run(run, &event).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = marked.await {
            let text = redact(&format!("{:#}", anyhow::Error::new(error)));
            tracing::warn!(
                batch_run_id = %run, error = %text, event = "publication.failed",
                "the pages of a run could not be asked for after a note; `nightbook publish --rebuild` writes them"
            );
        }
    }
}
