//! Messages by SQS.

use async_trait::async_trait;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use domain::ids::RunId;
use domain::ports::{StoreError, WorkMessage, WorkQueue};

use super::{MissingSetting, unavailable};

/// Messages that one request takes.
const BATCH: usize = 10;
/// Bytes that one request takes, with room for what the service adds.
const BATCH_BYTES: usize = 240 << 10;
/// Rounds for what the service did not take of a batch.
const ROUNDS: u32 = 5;

const DOING: &str = "send messages to the work queue";
/// Who has no work queue may only ask for closes.
const NO_WORK_QUEUE: MissingSetting =
    MissingSetting { variable: "NIGHTBOOK_WORK_QUEUE_URL", what: "the URL of the work queue" };

/// Why a batch did not go out as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{count} of the messages were not taken, the first because of {first}")]
struct NotTaken {
    count: usize,
    first: String,
}

/// The queues for work and for closes.
#[derive(Debug, Clone)]
pub(super) struct SqsQueue {
    pub(super) sqs: aws_sdk_sqs::Client,
    /// None for those who only ask for closes.
    pub(super) work: Option<String>,
    pub(super) close: String,
}

/// Cuts messages into batches that fit into one request.
fn batches(bodies: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for body in bodies {
        match batches.last_mut().filter(|batch| batch.len() < BATCH && bytes + body.len() <= BATCH_BYTES) {
            Some(batch) => {
                bytes += body.len();
                batch.push(body);
            }
            None => {
                bytes = body.len();
                batches.push(vec![body]);
            }
        }
    }
    batches
}

impl SqsQueue {
    /// Sends a batch. What was not taken is sent again; what was taken is not.
    async fn send(&self, work: &str, mut bodies: Vec<String>) -> Result<(), StoreError> {
        let doing = DOING;
        let mut last = NotTaken { count: bodies.len(), first: "nothing was tried".into() };
        for _ in 0..ROUNDS {
            let entries: Result<Vec<_>, BuildError> = bodies
                .iter()
                .enumerate()
                .map(|(n, body)| SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body).build())
                .collect();
            let entries = entries.map_err(|error| unavailable(doing, error))?;
            let request = self.sqs.send_message_batch().queue_url(work).set_entries(Some(entries));
            let reply = request.send().await.map_err(|error| unavailable(doing, error))?;
            let Some(first) = reply.failed().first() else { return Ok(()) };
            last = NotTaken {
                count: reply.failed().len(),
                first: format!("{}: {}", first.code(), first.message().unwrap_or("no reason given")),
            };
            let failed: Vec<String> = reply
                .failed()
                .iter()
                .filter_map(|entry| bodies.get(entry.id().parse::<usize>().ok()?).cloned())
                .collect();
            // The sender's own fault does not go away by sending again.
            if reply.failed().iter().any(|entry| entry.sender_fault()) {
                break;
            }
            bodies = failed;
        }
        Err(unavailable(doing, last))
    }
}

#[async_trait]
impl WorkQueue for SqsQueue {
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        let work = self.work.as_deref().ok_or_else(|| unavailable(DOING, NO_WORK_QUEUE))?;
        let bodies: Result<Vec<String>, _> = messages.iter().map(serde_json::to_string).collect();
        for batch in batches(bodies.map_err(|error| unavailable("write a message", error))?) {
            self.send(work, batch).await?;
        }
        Ok(())
    }

    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        let body = serde_json::json!({ "batch_run_id": run }).to_string();
        let request = self.sqs.send_message().queue_url(&self.close).message_body(body);
        request.send().await.map(|_| ()).map_err(|error| unavailable(format!("ask for the close of run {run}"), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_fits_into_one_request() {
        let many = batches((0..25).map(|n| n.to_string()).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(many.concat(), (0..25).map(|n| n.to_string()).collect::<Vec<_>>(), "each once, in order");
        let large = batches(vec!["x".repeat(100 << 10); 5]);
        assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(batches(Vec::new()).is_empty());
    }
}
