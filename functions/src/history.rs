//! `history`: the history API. It reads the records itself; what changes anything it asks `start-run` for.

use std::sync::Arc;

use api::{Accepted, Access, Api, CommandError, Commands, StartAsked};
use async_trait::async_trait;
use backends::aws::StartFunction;
use domain::ids::RunId;
use domain::ports::{Clock, RunStore, StoreError};
use serde_json::{Value, json};

/// Asks `start-run`, and waits for what it says.
#[async_trait]
pub trait AskStart: Send + Sync {
    /// Its answer, or the message of its error.
    ///
    /// # Errors
    /// It could not be asked.
    async fn ask_start(&self, payload: &Value) -> Result<Result<Value, String>, StoreError>;
}

#[async_trait]
impl AskStart for StartFunction {
    async fn ask_start(&self, payload: &Value) -> Result<Result<Value, String>, StoreError> {
        self.ask(payload).await
    }
}

/// The API over these records. The gateway has checked who asks, and keeps reading and writing apart.
#[must_use]
pub fn api(store: Arc<dyn RunStore>, clock: Arc<dyn Clock>, start: Arc<dyn AskStart>) -> Api {
    let desk = Arc::new(Desk { store: Arc::clone(&store), start });
    Api::new(store, clock, Access::Checked).with_commands(desk)
}

/// Hands commands to `start-run`.
struct Desk {
    store: Arc<dyn RunStore>,
    start: Arc<dyn AskStart>,
}

impl Desk {
    /// The run that `start-run` names, begun or finished.
    async fn ask(&self, payload: Value, or: fn(String) -> CommandError) -> Result<Accepted, CommandError> {
        let said = self.start.ask_start(&payload).await?.map_err(or)?;
        let run = said.get("batch_run_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let Some(run) = run else {
            let reason = said.get("reason").and_then(Value::as_str).unwrap_or("there is nothing to run");
            return Err(or(reason.to_owned()));
        };
        let closed = self.store.run(run).await?.is_some_and(|stored| stored.run.is_closed());
        Ok(if closed { Accepted::Finished(run) } else { Accepted::Begun(run) })
    }
}

#[async_trait]
impl Commands for Desk {
    async fn start(&self, asked: &StartAsked) -> Result<Accepted, CommandError> {
        let mut payload = json!({ "portfolios": asked.portfolios, "trigger": asked.trigger, "again": asked.again });
        if let Some(as_of) = asked.as_of {
            payload["as_of"] = json!(as_of);
        }
        self.ask(payload, CommandError::Unusable).await
    }

    async fn rerun(&self, run: RunId, failed_only: bool) -> Result<Accepted, CommandError> {
        self.ask(json!({ "rerun_of": run, "failed": failed_only }), CommandError::Conflict).await
    }

    async fn cancel(&self, run: RunId) -> Result<Accepted, CommandError> {
        self.ask(json!({ "cancel": run }), CommandError::Conflict).await.map(|_| Accepted::Begun(run))
    }

    /// Notes are not written here.
    async fn annotated(&self, _run: RunId) {}
}
