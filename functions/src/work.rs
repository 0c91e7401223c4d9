//! `process-portfolio`: the portfolios of the messages of one event.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::ids::RunId;
use domain::ports::{JobRunner, Ports, StoreError, WorkMessage};
use domain::process_portfolio::{Handled, process_portfolio_until};
use domain::redact::redact;
use domain::run::PlannedPortfolio;
use domain::trace::SpanContext;
use futures::future::join_all;
use wiring::traced;

use crate::message::{Messages, Received, answer, read};

/// Time before the end of an invocation that is left for giving the portfolio back.
pub const MARGIN: Duration = Duration::from_secs(10);

/// Buckets of manifests that are kept: a sealed one never changes.
const BUCKETS_KEPT: usize = 32;

type Chunk = Arc<Vec<PlannedPortfolio>>;

/// What `process-portfolio` needs.
pub struct Worker {
    ports: Ports,
    runner: Arc<dyn JobRunner>,
    manifests: Mutex<VecDeque<((RunId, u32), Chunk)>>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

impl Worker {
    /// A worker over these ports.
    #[must_use]
    pub fn new(ports: Ports, runner: Arc<dyn JobRunner>) -> Self {
        Self { ports, runner, manifests: Mutex::default() }
    }

    /// Works on each message alone; gives back what is not finished when only [`MARGIN`] of `remaining` is left.
    pub async fn work(&self, event: SqsEvent, remaining: Duration) -> SqsBatchResponse {
        let Messages { readable, unreadable } = read::<WorkMessage>(event);
        let time = remaining.saturating_sub(MARGIN);
        let worked = readable.into_iter().map(|Received { id, message, trace }| async move {
            if time.is_zero() {
                return Some(id);
            }
            // Whoever sent it without a trace meant that of its portfolio: its id is derived.
            let trace = trace.unwrap_or_else(|| SpanContext::of_portfolio(&message.key));
            match traced(trace, self.one(&message, time)).await {
                Ok(Handled::Acknowledge) => None,
                Ok(Handled::GiveBack) => Some(id),
                Err(error) => {
                    let text = redact(&format!("{:#}", anyhow::Error::new(error)));
                    tracing::error!(
                        batch_run_id = %message.key.run, portfolio_id = %message.key.portfolio, error = %text,
                        event = "message.failed", "a portfolio could not be worked on; its message comes again"
                    );
                    Some(id)
                }
            }
        });
        let given_back: Vec<String> = join_all(worked).await.into_iter().flatten().collect();
        tracing::debug!(
            given_back = given_back.len(),
            unreadable,
            event = "messages.handled",
            "an event was worked on"
        );
        answer(given_back)
    }

    async fn one(&self, message: &WorkMessage, time: Duration) -> Result<Handled, StoreError> {
        let chunk = self.manifest(message.key.run, message.place.bucket).await?;
        // Without a plan there is no manifest yet: the use case knows what the message means then.
        let planned = match &chunk {
            None => None,
            Some(chunk) => {
                let at = usize::try_from(message.place.index).ok().and_then(|index| chunk.get(index));
                let Some(planned) = at.filter(|planned| planned.id == message.key.portfolio) else {
                    tracing::error!(
                        batch_run_id = %message.key.run, portfolio_id = %message.key.portfolio,
                        bucket = message.place.bucket, index = message.place.index, event = "message.stranger",
                        "a message for a portfolio that the run does not have at this place was dropped: counted there, \
                         it would hide another"
                    );
                    return Ok(Handled::Acknowledge);
                };
                Some(planned)
            }
        };
        let name = planned.map_or_else(|| message.name.clone(), |planned| planned.name.clone());
        let message = WorkMessage { name, ..message.clone() };
        process_portfolio_until(&self.ports, self.runner.as_ref(), &message, self.ports.sleeper.sleep(time)).await
    }

    /// A bucket of the sealed manifest of a run; none where the run is not on record or not sealed.
    async fn manifest(&self, run: RunId, bucket: u32) -> Result<Option<Chunk>, StoreError> {
        let key = (run, bucket);
        let kept = || self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, chunk)) = kept().iter().find(|(known, _)| *known == key) {
            return Ok(Some(Arc::clone(chunk)));
        }
        let stored = self.ports.store.run(run).await?;
        let Some(epoch) = stored.and_then(|stored| stored.run.plan).map(|plan| plan.epoch) else { return Ok(None) };
        let chunk = Arc::new(self.ports.store.manifest(run, epoch, bucket).await?);
        let mut manifests = kept();
        manifests.push_back((key, Arc::clone(&chunk)));
        if manifests.len() > BUCKETS_KEPT {
            manifests.pop_front();
        }
        Ok(Some(chunk))
    }
}
