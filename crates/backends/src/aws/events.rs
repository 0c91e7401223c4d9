//! Events by `EventBridge`, for whoever builds on runs: the source is always `nightbook`.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use domain::ports::StoreError;
use serde_json::Value;

use super::unavailable;

/// Events that one request takes.
const BATCH: usize = 10;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its kind, for example `run.closed`.
    pub kind: String,
    /// What there is to know of it.
    pub detail: Value,
}

/// Why an event did not go out.
#[derive(Debug, thiserror::Error)]
#[error("the bus did not take an event: {0}")]
struct NotTaken(String);

/// Puts events on a bus.
#[derive(Debug, Clone)]
pub struct EventBus {
    events: aws_sdk_eventbridge::Client,
    bus: String,
}

impl EventBus {
    pub(super) const fn new(events: aws_sdk_eventbridge::Client, bus: String) -> Self {
        Self { events, bus }
    }

    /// Puts these events on the bus. Delivery is at least once.
    ///
    /// # Errors
    /// [`StoreError`] if the bus could not be reached, or refused one of them.
    pub async fn put(&self, events: &[Event]) -> Result<(), StoreError> {
        let doing = "put events on the bus";
        for batch in events.chunks(BATCH) {
            let entries = batch.iter().map(|event| {
                PutEventsRequestEntry::builder()
                    .source("nightbook")
                    .event_bus_name(&self.bus)
                    .detail_type(&event.kind)
                    .detail(event.detail.to_string())
                    .build()
            });
            let request = self.events.put_events().set_entries(Some(entries.collect()));
            let reply = request.send().await.map_err(|error| unavailable(doing, error))?;
            if let Some(refused) = reply.entries().iter().find_map(|entry| entry.error_code()) {
                return Err(unavailable(doing, NotTaken(refused.to_owned())));
            }
        }
        Ok(())
    }
}
