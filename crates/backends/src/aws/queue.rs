//! Messages by SQS.

use async_trait::async_trait;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry};
use domain::ids::RunId;
use domain::ports::{StoreError, WorkMessage, WorkQueue};
use domain::trace::SpanContext;

use super::{MissingSetting, unavailable};

/// Messages that one request takes.
const BATCH: usize = 10;
/// Bytes that one request takes, with room for what the service adds.
const BATCH_BYTES: usize = 240 << 10;
/// Rounds for what the service did not take of a batch.
const ROUNDS: u32 = 5;

const DOING: &str = "send messages to a queue";
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

/// A message as it is sent.
#[derive(Debug, Clone, PartialEq)]
struct Letter {
    body: String,
    /// The trace of its portfolio, or of its run.
    traceparent: String,
}

/// The attribute of the trace.
const TRACEPARENT: &str = "traceparent";
/// Its type, which counts as its name and its value do.
const TEXT: &str = "String";

impl Letter {
    fn of(message: &WorkMessage) -> Result<Self, serde_json::Error> {
        let traceparent = SpanContext::of_portfolio(&message.key).traceparent();
        Ok(Self { body: serde_json::to_string(message)?, traceparent })
    }

    fn of_bucket(run: RunId, bucket: u32) -> Self {
        let body = serde_json::json!({ "batch_run_id": run, "bucket": bucket }).to_string();
        Self { body, traceparent: SpanContext::of_run(run).traceparent() }
    }

    /// What it counts of the bytes of a request.
    const fn bytes(&self) -> usize {
        self.body.len() + self.traceparent.len() + TRACEPARENT.len() + TEXT.len()
    }

    fn entry(&self, id: usize) -> Result<SendMessageBatchRequestEntry, BuildError> {
        let trace = MessageAttributeValue::builder().data_type(TEXT).string_value(&self.traceparent).build()?;
        let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(&self.body);
        entry.message_attributes(TRACEPARENT, trace).build()
    }
}

/// Cuts messages into batches that fit into one request.
fn batches(letters: Vec<Letter>) -> Vec<Vec<Letter>> {
    let mut batches: Vec<Vec<Letter>> = Vec::new();
    let mut bytes = 0;
    for letter in letters {
        match batches.last_mut().filter(|batch| batch.len() < BATCH && bytes + letter.bytes() <= BATCH_BYTES) {
            Some(batch) => {
                bytes += letter.bytes();
                batch.push(letter);
            }
            None => {
                bytes = letter.bytes();
                batches.push(vec![letter]);
            }
        }
    }
    batches
}

impl SqsQueue {
    /// Sends a batch. What was not taken is sent again; what was taken is not.
    async fn send(&self, queue: &str, mut letters: Vec<Letter>) -> Result<(), StoreError> {
        let doing = DOING;
        let mut last = NotTaken { count: letters.len(), first: "nothing was tried".into() };
        for _ in 0..ROUNDS {
            let entries: Result<Vec<_>, BuildError> =
                letters.iter().enumerate().map(|(n, letter)| letter.entry(n)).collect();
            let entries = entries.map_err(|error| unavailable(doing, error))?;
            let request = self.sqs.send_message_batch().queue_url(queue).set_entries(Some(entries));
            let reply = request.send().await.map_err(|error| unavailable(doing, error))?;
            let Some(first) = reply.failed().first() else { return Ok(()) };
            last = NotTaken {
                count: reply.failed().len(),
                first: format!("{}: {}", first.code(), first.message().unwrap_or("no reason given")),
            };
            let failed: Vec<Letter> = reply
                .failed()
                .iter()
                .filter_map(|entry| letters.get(entry.id().parse::<usize>().ok()?).cloned())
                .collect();
            // The sender's own fault does not go away by sending again.
            if reply.failed().iter().any(|entry| entry.sender_fault()) {
                break;
            }
            letters = failed;
        }
        Err(unavailable(doing, last))
    }
}

#[async_trait]
impl WorkQueue for SqsQueue {
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        let work = self.work.as_deref().ok_or_else(|| unavailable(DOING, NO_WORK_QUEUE))?;
        let letters: Result<Vec<Letter>, _> = messages.iter().map(Letter::of).collect();
        for batch in batches(letters.map_err(|error| unavailable("write a message", error))?) {
            self.send(work, batch).await?;
        }
        Ok(())
    }

    /// Those that are received and not deleted do not count: whoever has them may be dead.
    async fn waiting_work(&self) -> Result<Option<u64>, StoreError> {
        let Some(work) = &self.work else { return Ok(None) };
        let depth = QueueAttributeName::ApproximateNumberOfMessages;
        let request = self.sqs.get_queue_attributes().queue_url(work).attribute_names(depth.clone());
        let reply = request.send().await.map_err(|error| unavailable("read the length of the work queue", error))?;
        Ok(reply.attributes.and_then(|all| all.get(&depth)?.parse().ok()))
    }

    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        let body = serde_json::json!({ "batch_run_id": run }).to_string();
        let request = self.sqs.send_message().queue_url(&self.close).message_body(body);
        request.send().await.map(|_| ()).map_err(|error| unavailable(format!("ask for the close of run {run}"), error))
    }

    async fn send_pages(&self, run: RunId, buckets: Vec<u32>) -> Result<(), StoreError> {
        for batch in batches(buckets.into_iter().map(|bucket| Letter::of_bucket(run, bucket)).collect()) {
            self.send(&self.close, batch).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(body: String) -> Letter {
        Letter { body, traceparent: "t".repeat(55) }
    }

    #[test]
    fn a_message_carries_the_trace_of_its_portfolio() {
        let message: WorkMessage = serde_json::from_value(serde_json::json!({
            "key": { "run": "c7645f7b-ad76-5da2-bcab-19e7976dd702", "portfolio": "growth" },
            "name": "Growth", "place": { "bucket": 0, "index": 0 },
        }))
        .unwrap();
        let entry = Letter::of(&message).unwrap().entry(3).unwrap();
        let sent = entry.message_attributes().and_then(|all| all.get("traceparent")?.string_value());
        assert_eq!(sent, Some(&*SpanContext::of_portfolio(&message.key).traceparent()));
        assert_eq!(entry.id(), "3");
    }

    #[test]
    fn a_batch_fits_into_one_request() {
        let many = batches((0..25).map(|n| letter(n.to_string())).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        let bodies: Vec<String> = many.concat().into_iter().map(|letter| letter.body).collect();
        assert_eq!(bodies, (0..25).map(|n| n.to_string()).collect::<Vec<_>>(), "each once, in order");
        let large = batches(vec![letter("x".repeat(100 << 10)); 5]);
        assert_eq!(large.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(batches(Vec::new()).is_empty());
    }
}
