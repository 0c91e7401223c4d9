//! Messages that were given up: for operators, who look at them and send them again.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use chrono::{DateTime, Utc};
use domain::ports::StoreError;
use serde::{Deserialize, Serialize};

use super::unavailable;

/// Messages that one request gives.
const BATCH: i32 = 10;
/// How long a message that is only looked at is hidden from others, in seconds.
const LOOKED_AT: i32 = 20;
/// How long a message that is sent again is hidden, in seconds.
const SENT_AGAIN: i32 = 60;

/// Which of the two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueKind {
    /// Portfolios to process.
    Work,
    /// Runs to close.
    Close,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The queue that it came from.
    pub queue: QueueKind,
    /// Its name there.
    pub message_id: String,
    /// When it was sent first.
    pub sent_at: Option<DateTime<Utc>>,
    /// What it says.
    pub body: String,
}

/// A queue without dead letters.
#[derive(Debug, thiserror::Error)]
#[error("it has no queue for dead letters (RedrivePolicy)")]
struct NoDeadLetters;

/// The dead letters of both queues.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    sqs: aws_sdk_sqs::Client,
    work: String,
    close: String,
}

#[derive(Deserialize)]
struct Redrive {
    #[serde(rename = "deadLetterTargetArn")]
    target: String,
}

impl DeadLetters {
    pub(super) const fn new(sqs: aws_sdk_sqs::Client, work: String, close: String) -> Self {
        Self { sqs, work, close }
    }

    /// All of them. They are hidden from others for a few seconds, and stay.
    ///
    /// # Errors
    /// [`StoreError`] if a queue cannot be read.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let mut found: BTreeMap<(bool, String), DeadLetter> = BTreeMap::new();
        for (kind, source) in self.queues() {
            let dead = self.dead_of(source).await?;
            loop {
                let messages = self.receive(&dead, LOOKED_AT).await?;
                let before = found.len();
                for message in &messages {
                    let letter = letter(kind, message);
                    found.insert((kind == QueueKind::Close, letter.message_id.clone()), letter);
                }
                if found.len() == before {
                    break;
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Sends all of them again to where they came from, and takes them out; says how many. One that could not be sent
    /// stays.
    ///
    /// # Errors
    /// [`StoreError`] at the first that could not be sent or taken out.
    pub async fn redrive(&self) -> Result<usize, StoreError> {
        let mut sent = 0;
        for (_, source) in self.queues() {
            let dead = self.dead_of(source).await?;
            loop {
                let messages = self.receive(&dead, SENT_AGAIN).await?;
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    let doing = "send a dead letter again";
                    let body = message.body().unwrap_or_default();
                    let request = self.sqs.send_message().queue_url(source).message_body(body);
                    request.send().await.map_err(|error| unavailable(doing, error))?;
                    let receipt = message.receipt_handle().unwrap_or_default();
                    let request = self.sqs.delete_message().queue_url(&dead).receipt_handle(receipt);
                    request.send().await.map_err(|error| unavailable("take out a dead letter", error))?;
                    sent += 1;
                }
            }
        }
        Ok(sent)
    }

    fn queues(&self) -> [(QueueKind, &str); 2] {
        [(QueueKind::Work, &self.work), (QueueKind::Close, &self.close)]
    }

    /// The address of the dead letters of a queue.
    async fn dead_of(&self, source: &str) -> Result<String, StoreError> {
        let doing = || format!("find the dead letters of {source}");
        let request = self.sqs.get_queue_attributes().queue_url(source);
        let request = request.attribute_names(QueueAttributeName::RedrivePolicy);
        let reply = request.send().await.map_err(|error| unavailable(doing(), error))?;
        let policy = reply.attributes().and_then(|all| all.get(&QueueAttributeName::RedrivePolicy));
        let redrive = policy.and_then(|text| serde_json::from_str::<Redrive>(text).ok());
        let target = redrive.ok_or_else(|| unavailable(doing(), NoDeadLetters))?.target;
        let name = target.rsplit(':').next().unwrap_or_default();
        // The same address as the queue itself, but for the name at its end.
        source
            .rsplit_once('/')
            .map(|(place, _)| format!("{place}/{name}"))
            .ok_or_else(|| unavailable(doing(), NoDeadLetters))
    }

    async fn receive(&self, queue: &str, hidden: i32) -> Result<Vec<Message>, StoreError> {
        let request = self.sqs.receive_message().queue_url(queue).max_number_of_messages(BATCH);
        let request = request.visibility_timeout(hidden).wait_time_seconds(1);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let reply = request.send().await.map_err(|error| unavailable("read the dead letters", error))?;
        Ok(reply.messages.unwrap_or_default())
    }
}

fn letter(queue: QueueKind, message: &Message) -> DeadLetter {
    let sent = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
    DeadLetter {
        queue,
        message_id: message.message_id().unwrap_or_default().to_owned(),
        sent_at: sent.and_then(|text| text.parse().ok()).and_then(DateTime::from_timestamp_millis),
        body: message.body().unwrap_or_default().to_owned(),
    }
}
