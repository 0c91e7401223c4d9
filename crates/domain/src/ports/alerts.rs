//! Alerts: the notifier, the alert books and the channels.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::alert_book::AlertBook;
use crate::alert_message::AlertMessage;
use crate::alert_rules::Severity;
use crate::ids::{ChannelName, ScheduleName};
use crate::night::Night;
use crate::record::JobError;
use crate::summary::RunSummary;

/// Reports runs to people.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Reports what an ended run or a missed slot changed in its night, if there is anything to report. The same run again
    /// reports nothing twice. On an error the caller tries again.
    async fn tell(&self, summary: &RunSummary, night: &Night) -> Result<(), JobError>;
    /// Delivers the messages that have become due since, and reports overdue runs. The watch calls it in each round.
    async fn catch_up(&self) -> Result<(), JobError>;
}

/// The alert books: one document for each night series.
#[async_trait]
pub trait AlertBooks: Send + Sync {
    /// The book of a night series; [`AlertBook::empty`] where there is none.
    async fn alert_book(&self, schedule: &ScheduleName) -> Result<AlertBook, StoreError>;
    /// Writes a book, if the stored one still has its version; it is stored with the next one. Says whether it was
    /// written.
    async fn put_alert_book(&self, book: &AlertBook) -> Result<bool, StoreError>;
    /// The night series that have a book, sorted.
    async fn alert_schedules(&self) -> Result<Vec<ScheduleName>, StoreError>;
}

/// Why a message did not get through a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelError {
    /// What happened, to what, without secrets.
    pub message: String,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether this message will never get through, however often it is tried.
    pub is_final: bool,
}

/// A way to people.
#[async_trait]
pub trait AlertChannel: Send + Sync {
    /// Its name in the settings.
    fn name(&self) -> &ChannelName;
    /// Messages that matter less do not come through it.
    fn min_severity(&self) -> Severity;
    /// Delivers a message. Must come back within two minutes.
    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError>;
}
