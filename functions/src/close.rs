//! `close-run`: closes runs, publishes their pages and tells people: the one writer of the site.
//!
//! The pages of a large run are asked for by messages to its own queue, one for each bucket of portfolios.

use std::sync::Arc;

use app::{MostDetail, StoredSettings, settings_to_publish_by};
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use backends::aws::{Event, EventBus};
use domain::alerting::Alerting;
use domain::close_run::{Closed, close_run, publish_bucket};
use domain::ids::RunId;
use domain::metrics::of_closed;
use domain::note::RunNotes;
use domain::ports::{AlertBooks, AlertChannel, Ports, SettingsFile, SiteStore, StoreError};
use domain::redact::redact;
use domain::run::{Publication, RunPhase};
use domain::summary::RunSummary;
use domain::watch::{Delivered, deliver_run};
use serde_json::json;
use site::{AlertsShown, Records, SiteOptions, SiteParts, SitePublisher, Spread};

use crate::environment::command_target;
use crate::message::{CloseMessage, Messages, Received, answer, read};
use crate::metrics::Metrics;

/// What became of a close message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The run was closed now.
    Closed(Box<RunSummary>),
    /// The run had ended; this of it was made up for.
    Delivered(Delivered),
    /// The run goes on; the index shows how it stands.
    Refreshed,
    /// The pages of a bucket were looked after; so stands the publication.
    Bucket(Publication),
    /// There is no such run, or nothing to show of it.
    Nothing,
}

/// What `close-run` needs.
#[derive(Clone)]
pub struct Closer {
    /// The ports.
    pub ports: Ports,
    /// The alert books.
    pub books: Arc<dyn AlertBooks>,
    /// The notes on runs.
    pub notes: Arc<dyn RunNotes>,
    /// The site.
    pub site: Arc<dyn SiteStore>,
    /// The settings of the book.
    pub keeper: Arc<dyn SettingsFile>,
    /// The ways to people.
    pub channels: Vec<Arc<dyn AlertChannel>>,
    /// Where others hear of runs; none outside of the cloud.
    pub events: Option<EventBus>,
    /// The most that the site may show, whatever the book says.
    pub most: MostDetail,
    /// Portfolios of a run from which on its publication is spread over messages.
    pub spread_from: u32,
    /// Address of the site, where the book gives none.
    pub base: String,
    /// Where the records are, for commands on pages.
    pub records: Records,
    /// Metrics.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Closer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closer").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Closer {
    /// Handles each message alone.
    pub async fn handle(&self, event: SqsEvent) -> SqsBatchResponse {
        let Messages { readable, .. } = read::<CloseMessage>(event);
        let mut given_back = Vec::new();
        for Received { id, message, .. } in readable {
            let handled = match message.bucket {
                None => self.close(message.batch_run_id).await,
                Some(bucket) => self.bucket(message.batch_run_id, bucket).await,
            };
            if let Err(error) = handled {
                let text = redact(&format!("{error:#}"));
                tracing::error!(batch_run_id = %message.batch_run_id, error = %text, event = "message.failed", "a run could not be closed or published; its message comes again");
                given_back.push(id);
            }
        }
        answer(given_back)
    }

    /// Closes a run; delivers what is left of one that has ended; shows one that goes on as it stands.
    ///
    /// # Errors
    /// The store, or settings that cannot be read. A failed publication is recorded, and `watch` asks again.
    pub async fn close(&self, id: RunId) -> anyhow::Result<Outcome> {
        let Some(stored) = self.ports.store.run(id).await? else {
            tracing::warn!(batch_run_id = %id, event = "message.stale", "a message for a run that is not on record was dropped");
            return Ok(Outcome::Nothing);
        };
        let settings = self.settings().await?;
        let publisher = self.publisher(&settings);
        let notifier = Alerting::new(
            &self.ports,
            Arc::clone(&self.books),
            settings.settings.alerts.rules_in_force(),
            self.channels.clone(),
            settings.settings.site.base_url.clone().unwrap_or_else(|| self.base.clone()),
            command_target(),
            settings.series().cloned(),
        );
        let shown = self.shown().await?;
        let outcome = if stored.run.is_closed() || stored.run.phase == RunPhase::Missed {
            Outcome::Delivered(deliver_run(&self.ports, &publisher, &notifier, &stored).await?)
        } else {
            match close_run(&self.ports, &publisher, &notifier, id).await? {
                Closed::Closed(summary) => {
                    self.tell_others(&summary).await;
                    let fields = [("batch_run_id", json!(id)), ("as_of", json!(summary.as_of))];
                    self.metrics.put(self.ports.clock.now(), &of_closed(&summary), &fields);
                    Outcome::Closed(summary)
                }
                Closed::NotYet if stored.run.plan.is_none() => Outcome::Nothing,
                Closed::NotYet => Outcome::Refreshed,
            }
        };
        // Pages are written before anybody is told, so what became of the telling is shown after.
        let stale = outcome == Outcome::Refreshed || self.shown().await? != shown;
        if stale && let Err(error) = publisher.refresh_index().await {
            let text = redact(&format!("{:#}", anyhow::Error::new(error)));
            tracing::warn!(batch_run_id = %id, error = %text, event = "publication.failed", "the index could not be refreshed");
        }
        Ok(outcome)
    }

    /// Publishes a bucket of portfolios of a run whose publication is spread; the last one ends the publication.
    ///
    /// # Errors
    /// The store, or settings that cannot be read. A failed publication is recorded, and `watch` asks again.
    pub async fn bucket(&self, id: RunId, bucket: u32) -> anyhow::Result<Outcome> {
        let publisher = self.publisher(&self.settings().await?);
        let stands = publish_bucket(&self.ports, &publisher, id, bucket).await?;
        Ok(stands.map_or(Outcome::Nothing, Outcome::Bucket))
    }

    async fn settings(&self) -> anyhow::Result<StoredSettings> {
        Ok(settings_to_publish_by(self.keeper.as_ref()).await?.at_most(self.most))
    }

    fn publisher(&self, settings: &StoredSettings) -> SitePublisher {
        let parts = SiteParts {
            store: Arc::clone(&self.ports.store),
            alerts: Arc::clone(&self.books),
            notes: Arc::clone(&self.notes),
            site: Arc::clone(&self.site),
            clock: Arc::clone(&self.ports.clock),
            spread: Spread::From(self.spread_from),
        };
        let records = self.records.clone();
        let replaces_redacted = self.most == MostDetail::Full;
        SitePublisher::new(
            parts,
            SiteOptions { records, replaces_redacted, ..settings.options(self.ports.clock.now()) },
        )
    }

    async fn shown(&self) -> Result<AlertsShown, StoreError> {
        site::alerts_shown(self.books.as_ref(), self.ports.clock.now()).await
    }

    /// Puts the end of a run on the bus. The records are what counts; a bus that takes nothing holds up nothing.
    async fn tell_others(&self, summary: &RunSummary) {
        let Some(bus) = &self.events else { return };
        let detail = json!({
            "batch_run_id": summary.batch_run_id,
            "schedule": summary.schedule,
            "as_of": summary.as_of,
            "status": summary.status,
            "portfolios_expected": summary.portfolios_expected,
            "portfolios_processed": summary.portfolios_processed,
            "total_jobs": summary.total_jobs,
            "successful_jobs": summary.successful_jobs,
            "failed_jobs": summary.failed_jobs,
            "skipped_jobs": summary.skipped_jobs,
            "missing_jobs": summary.missing_jobs,
        });
        if let Err(error) = bus.put(&[Event { kind: "run.closed".to_owned(), detail }]).await {
            let text = redact(&format!("{:#}", anyhow::Error::new(error)));
            tracing::error!(batch_run_id = %summary.batch_run_id, error = %text, event = "event.lost", "the bus was not told of a closed run");
        }
    }
}
