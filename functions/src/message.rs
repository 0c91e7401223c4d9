//! The messages of the queues: each is read and answered alone.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::ids::RunId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A close message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct CloseMessage {
    /// The run.
    pub batch_run_id: RunId,
}

/// How much of an unreadable message a log line shows.
const SHOWN: usize = 200;

/// The messages of an event, by what Lambda calls them.
#[derive(Debug, Clone, PartialEq)]
pub struct Messages<T> {
    /// Those that can be read.
    pub readable: Vec<(String, T)>,
    /// How many cannot. They are acknowledged: no retry makes them readable.
    pub unreadable: usize,
}

/// Reads the messages of an event. One that cannot be read is told in a log line, with the reason.
#[must_use]
pub fn read<T: DeserializeOwned>(event: SqsEvent) -> Messages<T> {
    let mut messages = Messages { readable: Vec::with_capacity(event.records.len()), unreadable: 0 };
    for record in event.records {
        let id = record.message_id.unwrap_or_default();
        let body = record.body.unwrap_or_default();
        match serde_json::from_str(&body) {
            Ok(message) => messages.readable.push((id, message)),
            Err(error) => {
                messages.unreadable += 1;
                let shown: String = body.chars().take(SHOWN).collect();
                tracing::error!(
                    message_id = id, reason = %error, body = shown, unreadable = 1, event = "message.unreadable",
                    "a message cannot be read and is dropped: no retry would make it readable"
                );
            }
        }
    }
    messages
}

/// The answer that gives these messages back, and acknowledges all others.
#[must_use]
pub fn answer(given_back: Vec<String>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for id in given_back {
        response.add_failure(id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ports::WorkMessage;
    use serde_json::json;

    fn event(bodies: &[&str]) -> SqsEvent {
        let records: Vec<_> =
            bodies.iter().enumerate().map(|(n, body)| json!({ "messageId": format!("m{n}"), "body": body })).collect();
        serde_json::from_value(json!({ "Records": records })).unwrap()
    }

    #[test]
    fn an_unreadable_message_does_not_hold_up_the_others() {
        let good = json!({ "batch_run_id": "c7645f7b-ad76-5da2-bcab-19e7976dd702" }).to_string();
        let messages = read::<CloseMessage>(event(&["{", &good, r#"{"batch_run_id": 7}"#, ""]));
        assert_eq!(messages.unreadable, 3);
        assert_eq!(messages.readable.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["m1"]);
        assert_eq!(read::<WorkMessage>(event(&[&good])).unreadable, 1);
    }

    #[test]
    fn an_answer_names_what_is_given_back_as_lambda_reads_it() {
        let answered = |ids: Vec<String>| serde_json::to_value(answer(ids)).unwrap();
        assert_eq!(answered(vec!["m1".into()]), json!({ "batchItemFailures": [{ "itemIdentifier": "m1" }] }));
        assert_eq!(answered(Vec::new()), json!({ "batchItemFailures": [] }));
    }
}
