//! The ports on AWS: records in `DynamoDB`, messages by SQS, documents and the site in S3, alerts by SNS, events by
//! `EventBridge`.
//!
//! Adapters take no decisions, they only translate. Each accessor of [`Aws`] asks for exactly the settings it needs, so
//! that a function carries only the variables of what its role may reach.

mod book_source;
mod clients;
mod dead_letters;
mod documents;
mod dynamo;
mod events;
mod functions;
mod packed;
mod queue;
mod settings;
mod settings_object;
mod site_files;
mod topic;

use std::sync::Arc;

use domain::note::RunNotes;
use domain::ports::{AlertBooks, AlertChannel, Documents, SiteStore, StoreError, WorkQueue};

pub use book_source::BookBucket;
pub use clients::Clients;
pub use dead_letters::{DeadLetter, DeadLetters, QueueKind};
pub use dynamo::DynamoStore;
pub use events::{Event, EventBus};
pub use functions::StartFunction;
pub use settings::{MissingSetting, Settings};
pub use settings_object::SettingsObject;

/// Everything of the cloud that the ports need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Aws {
    settings: Settings,
    clients: Clients,
}

/// Connects with the credentials, region and endpoint of the environment, as the SDK reads them. Nothing is sent yet.
pub async fn connect(settings: Settings) -> Aws {
    Aws { settings, clients: Clients::from_environment().await }
}

/// The same inside a function: region, credentials and endpoint come from the variables that the service sets.
pub fn connect_function(settings: Settings, variable: impl Fn(&str) -> Option<String>) -> Aws {
    Aws { settings, clients: Clients::of_function(variable) }
}

impl Aws {
    /// The same with clients that somebody else made, for tests.
    #[must_use]
    pub const fn with_clients(settings: Settings, clients: Clients) -> Self {
        Self { settings, clients }
    }

    /// The records: runs, work items, counts, summaries. To be made once, so that what never changes is read once.
    ///
    /// # Errors
    /// [`MissingSetting`] if the table is not set.
    pub fn store(&self) -> Result<Arc<DynamoStore>, MissingSetting> {
        let table = self.settings.table()?;
        Ok(Arc::new(DynamoStore::new(self.clients.dynamodb(), table, self.settings.records_days())))
    }

    /// The alert books, in the table of the records.
    ///
    /// # Errors
    /// [`MissingSetting`] if the table is not set.
    pub fn alert_books(&self) -> Result<Arc<dyn AlertBooks>, MissingSetting> {
        Ok(self.store()?)
    }

    /// The notes on runs, in the table of the records.
    ///
    /// # Errors
    /// [`MissingSetting`] if the table is not set.
    pub fn notes(&self) -> Result<Arc<dyn RunNotes>, MissingSetting> {
        Ok(self.store()?)
    }

    /// The results documents and the pinned inputs.
    ///
    /// # Errors
    /// [`MissingSetting`] if the bucket of the records is not set.
    pub fn documents(&self) -> Result<Arc<dyn Documents>, MissingSetting> {
        let bucket = self.settings.records_bucket()?.to_owned();
        Ok(Arc::new(documents::S3Documents { s3: self.clients.s3(), bucket }))
    }

    /// The queues for work and for closes. Who has no work queue can only ask for closes, and is told so when it sends
    /// work.
    ///
    /// # Errors
    /// [`MissingSetting`] if the close queue is not set.
    pub fn queue(&self) -> Result<Arc<dyn WorkQueue>, MissingSetting> {
        let work = self.settings.work_queue_url().ok().map(str::to_owned);
        let close = self.settings.close_queue_url()?.to_owned();
        Ok(Arc::new(queue::SqsQueue { sqs: self.clients.sqs(), work, close }))
    }

    /// The files of the site.
    ///
    /// # Errors
    /// [`MissingSetting`] if the bucket of the site is not set.
    pub fn site(&self) -> Result<Arc<dyn SiteStore>, MissingSetting> {
        let bucket = self.settings.site_bucket()?.to_owned();
        Ok(Arc::new(site_files::S3Site { s3: self.clients.s3(), bucket }))
    }

    /// Messages of the alert rules to the topic.
    ///
    /// # Errors
    /// [`MissingSetting`] if the topic is not set.
    pub fn topic(&self) -> Result<Arc<dyn AlertChannel>, MissingSetting> {
        let topic = self.settings.alert_topic_arn()?.to_owned();
        Ok(Arc::new(topic::Topic::new(self.clients.sns(), topic)))
    }

    /// The function that starts runs.
    ///
    /// # Errors
    /// [`MissingSetting`] if it is not set.
    pub fn start_function(&self) -> Result<StartFunction, MissingSetting> {
        Ok(StartFunction::new(self.clients.lambda(), self.settings.start_function()?.to_owned()))
    }

    /// The stored settings, in an object beside the pinned inputs.
    ///
    /// # Errors
    /// [`MissingSetting`] if the bucket of the records is not set.
    pub fn settings_object(&self) -> Result<SettingsObject, MissingSetting> {
        Ok(SettingsObject::new(self.clients.s3(), self.settings.records_bucket()?.to_owned()))
    }

    /// Messages that were given up.
    ///
    /// # Errors
    /// [`MissingSetting`] if one of the queues is not set.
    pub fn dead_letters(&self) -> Result<DeadLetters, MissingSetting> {
        let (work, close) = (self.settings.work_queue_url()?.to_owned(), self.settings.close_queue_url()?.to_owned());
        Ok(DeadLetters::new(self.clients.sqs(), work, close))
    }

    /// The names and addresses.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The bus for events.
    ///
    /// # Errors
    /// [`MissingSetting`] if the bus is not set.
    pub fn events(&self) -> Result<EventBus, MissingSetting> {
        Ok(EventBus::new(self.clients.events(), self.settings.event_bus()?.to_owned()))
    }

    /// The files of the book.
    ///
    /// # Errors
    /// [`MissingSetting`] if the bucket of the book is not set.
    pub fn book(&self) -> Result<BookBucket, MissingSetting> {
        let bucket = self.settings.book_bucket()?.to_owned();
        Ok(BookBucket::new(self.clients.s3(), bucket, self.settings.book_prefix()))
    }
}

/// An error of a service as the ports tell it: what was tried, and the error with all its causes.
fn unavailable(doing: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable { doing: doing.into(), source: source.into() }
}
