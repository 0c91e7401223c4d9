//! Publishing: which pages a run changed, in which order they are written.

mod index;
mod months;
mod nights;
mod portfolios;
mod steps;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use domain::ids::{PortfolioId, RunId};
use domain::note::{Note, RunNotes};
use domain::ports::{AlertBooks, Clock, PublishError, Publisher, RunQuery, RunStore, SiteStore};
use domain::run::Run;

use self::months::MONTHS;
use crate::gather::{EndedItems, Reader};
use crate::mask::Mask;
use crate::options::SiteOptions;
use crate::pages;
use crate::views::alerts::{AlertsView, alerts_shown};
use crate::views::machine::MonthsFile;

/// Runs and nights that the index looks back on.
const LOOK_BACK: usize = domain::night::dates::NIGHTS_BACK;
/// A file that every site of this form has, and that is never changed.
const MARK: &str = "schemas/night.v1.json";

/// What a publisher reads from and writes to. Every part is required: a site without notes or alerts says so with
/// [`NoNotes`](crate::NoNotes) and [`NoAlerts`](crate::NoAlerts).
#[derive(Clone)]
pub struct SiteParts {
    /// The records.
    pub store: Arc<dyn RunStore>,
    /// What of the alerts could not be delivered or is muted: the index shows it.
    pub alerts: Arc<dyn AlertBooks>,
    /// The notes of runs: their pages show them.
    pub notes: Arc<dyn RunNotes>,
    /// The files of the site.
    pub site: Arc<dyn SiteStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which runs are published by messages, bucket by bucket.
    pub spread: Spread,
}

impl std::fmt::Debug for SiteParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SiteParts").field("spread", &self.spread).finish_non_exhaustive()
    }
}

/// Which runs are published by messages, bucket by bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// None.
    Never,
    /// Runs of this many portfolios and more.
    From(u32),
}

/// Writes the site from the records.
///
/// It can be stopped and repeated at any moment: every write is whole, and the index is written last.
pub struct SitePublisher {
    store: Arc<dyn RunStore>,
    site: Arc<dyn SiteStore>,
    clock: Arc<dyn Clock>,
    options: SiteOptions,
    ended: Arc<EndedItems>,
    alerts: Arc<dyn AlertBooks>,
    notes: Arc<dyn RunNotes>,
    spread: Spread,
}

impl std::fmt::Debug for SitePublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SitePublisher").field("options", &self.options).finish_non_exhaustive()
    }
}

impl SitePublisher {
    /// A publisher from these records to this site.
    #[must_use]
    pub fn new(parts: SiteParts, options: SiteOptions) -> Self {
        let SiteParts { store, alerts, notes, site, clock, spread } = parts;
        Self { store, site, clock, options, ended: Arc::default(), alerts, notes, spread }
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>, PublishError> {
        if self.options.redacted { Ok(Vec::new()) } else { Ok(self.notes.notes(run).await?) }
    }

    async fn alerts(&self) -> Result<AlertsView, PublishError> {
        let now = self.clock.now();
        let shown = alerts_shown(self.alerts.as_ref(), now).await?;
        Ok(AlertsView::of(&shown, &self.options.mutes, &self.mask(), now))
    }

    /// A reader that knows nothing yet: what it reads is at least as new as any page that was read before.
    fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.store), self.mask(), Arc::clone(&self.ended)).with_cards(&self.options.cards)
    }

    fn mask(&self) -> Mask {
        Mask { redacted: self.options.redacted, key: self.options.redaction_key.as_str().into() }
    }

    /// Writes every page anew, from the records alone: all runs, portfolios, jobs and months. Says how many files
    /// were written.
    ///
    /// # Errors
    /// [`PublishError`] if the records cannot be read or a page cannot be written.
    pub async fn rebuild(&self) -> Result<u64, PublishError> {
        self.write_schemas().await?;
        // Not what the site says, which may be damaged.
        let months = MonthsFile { schema: 1, months: self.months_on_record().await? };
        let listed = self.write_always(&pages::json(MONTHS.into(), &months)?).await?;
        Ok(listed + self.publish_runs(&self.ended_runs().await?, true).await?)
    }

    /// Writes `index.html` and `status.json` as the records are now, for a run under way. Says how many files were
    /// written: none where pages are missing that older runs are said to have, which the next publication writes.
    ///
    /// # Errors
    /// [`PublishError`] if the records cannot be read or a page cannot be written.
    pub async fn refresh_index(&self) -> Result<u64, PublishError> {
        if !self.is_whole().await? && !self.ended_runs().await?.is_empty() {
            tracing::debug!("the index is not refreshed: the pages that it would lead to are not written yet");
            return Ok(0);
        }
        Ok(self.write_newest_nights(&BTreeSet::new()).await? + self.write_index(false).await?)
    }

    /// Whether everything was written once that the records speak of: the index comes last. What is not whole is empty,
    /// of an older form, or was never finished.
    async fn is_whole(&self) -> Result<bool, PublishError> {
        Ok(self.tag(MARK).await?.is_some() && self.tag("index.html").await?.is_some())
    }

    async fn write_schemas(&self) -> Result<u64, PublishError> {
        let mut written = 0;
        for schema in pages::schemas() {
            written += self.write_always(&schema).await?;
        }
        Ok(written)
    }

    /// The run that is to be published, and all others where the site is not whole.
    async fn with_missing(&self, run: RunId) -> Result<Vec<RunId>, PublishError> {
        let mut runs = vec![run];
        if !self.is_whole().await? {
            runs.extend(self.ended_runs().await?.into_iter().filter(|ended| *ended != run));
        }
        Ok(runs)
    }

    /// Runs that have pages, or should have.
    async fn ended_runs(&self) -> Result<Vec<RunId>, PublishError> {
        let heads = self.reader().heads(&RunQuery::default(), 0).await?;
        let ended = heads.iter().filter(|head| head.run.has_outcome() && (head.run.is_closed() || head.linkable));
        Ok(ended.map(|head| head.run.batch_run_id).collect())
    }
}

#[async_trait]
impl Publisher for SitePublisher {
    async fn publish(&self, run: RunId) -> Result<u64, PublishError> {
        let runs = self.with_missing(run).await?;
        self.write_schemas().await?;
        let anew = runs.len() > 1;
        self.publish_runs(&runs, anew).await
    }

    fn spreads(&self, run: &Run) -> bool {
        let portfolios = run.plan.as_ref().map_or(0, |plan| plan.portfolios);
        matches!(self.spread, Spread::From(from) if portfolios >= from.max(1))
    }

    async fn begin(&self, run: RunId) -> Result<u64, PublishError> {
        let runs = self.with_missing(run).await?;
        self.write_schemas().await?;
        if runs.len() > 1 {
            return self.publish_runs(&runs, true).await;
        }
        self.introduce(&mut self.reader().run(run).await?).await
    }

    async fn publish_bucket(&self, run: RunId, bucket: u32) -> Result<u64, PublishError> {
        let stored = self.store.run(run).await?;
        let Some(plan) = stored.and_then(|stored| stored.run.plan) else { return Ok(0) };
        let planned = self.store.manifest(run, plan.epoch, bucket).await?;
        let ids: Vec<PortfolioId> = planned.into_iter().map(|planned| planned.id).collect();
        self.write_portfolios(&ids, None).await
    }

    async fn finish(&self, run: RunId) -> Result<u64, PublishError> {
        let mut runs = vec![run];
        runs.extend(self.waiting_for(run).await?);
        self.complete(&runs, None, Some(run), false).await
    }
}
