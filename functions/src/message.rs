//! The messages of the queues: each is read and answered alone.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::ids::RunId;
use domain::trace::SpanContext;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A message of the close queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct CloseMessage {
    /// The run.
    pub batch_run_id: RunId,
    /// The bucket whose pages are asked for; none asks for the close of the run, or for what is left of it.
    #[serde(default)]
    pub bucket: Option<u32>,
}

/// How much of an unreadable message a log line shows.
const SHOWN: usize = 200;

/// A message that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Received<T> {
    /// What Lambda calls it.
    pub id: String,
    /// What it says.
    pub message: T,
    /// The trace that it belongs to, where it names one.
    pub trace: Option<SpanContext>,
}

/// The messages of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Messages<T> {
    /// Those that can be read.
    pub readable: Vec<Received<T>>,
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
            Ok(message) => {
                let named = record.message_attributes.get("traceparent");
                let trace = named.and_then(|named| SpanContext::read(named.string_value.as_deref()?));
                messages.readable.push(Received { id, message, trace });
            }
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
        assert_eq!(messages.readable.iter().map(|received| received.id.as_str()).collect::<Vec<_>>(), ["m1"]);
        assert_eq!(read::<WorkMessage>(event(&[&good])).unreadable, 1);
    }

    #[test]
    fn a_message_may_name_its_trace() {
        let trace = SpanContext::of_run("c7645f7b-ad76-5da2-bcab-19e7976dd702".parse().unwrap());
        let body = json!({ "batch_run_id": "c7645f7b-ad76-5da2-bcab-19e7976dd702" }).to_string();
        let told = |traceparent: &str| {
            let attribute = json!({ "stringValue": traceparent, "dataType": "String" });
            let record = json!({ "messageId": "m", "body": body, "messageAttributes": { "traceparent": attribute } });
            let event = serde_json::from_value(json!({ "Records": [record] })).unwrap();
            read::<CloseMessage>(event).readable.remove(0).trace
        };
        assert_eq!(told(&trace.traceparent()), Some(trace));
        assert_eq!(told("00-\n-1-01"), None, "what is not a trace holds up no message");
    }

    #[test]
    fn an_answer_names_what_is_given_back_as_lambda_reads_it() {
        let answered = |ids: Vec<String>| serde_json::to_value(answer(ids)).unwrap();
        assert_eq!(answered(vec!["m1".into()]), json!({ "batchItemFailures": [{ "itemIdentifier": "m1" }] }));
        assert_eq!(answered(Vec::new()), json!({ "batchItemFailures": [] }));
    }
}
