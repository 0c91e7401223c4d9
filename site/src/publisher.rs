//! Publishing: which pages a run changed, in which order they are written.

mod detail;
mod index;
mod months;
mod nights;
mod portfolios;
mod steps;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::ids::{PortfolioId, RunId};
use domain::note::{Note, RunNotes};
use domain::ports::{AlertBooks, Clock, PublishError, Publisher, RunQuery, RunStore, SiteStore};
use domain::run::Run;

use self::months::MONTHS;
use self::writer::page_error;
use crate::gather::{EndedItems, Reader, RunHead};
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
    /// Whether no file of the site was missing or damaged at the last look.
    verified: AtomicBool,
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
        let (ended, verified) = (Arc::default(), AtomicBool::new(false));
        Self { store, site, clock, options, ended, alerts, notes, spread, verified }
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
        self.begin_detail().await?;
        self.write_all(&self.ended_runs().await?).await
    }

    /// Rewrites every page of the site. `ended` are all runs that have pages, or should have.
    async fn write_all(&self, ended: &[RunHead]) -> Result<u64, PublishError> {
        self.write_schemas().await?;
        // Not what the site says, which may be damaged.
        let months = MonthsFile { schema: 1, months: self.months_on_record().await? };
        let listed = self.write_always(&pages::json(MONTHS.into(), &months)?).await?;
        let ids: Vec<RunId> = ended.iter().map(|head| head.run.batch_run_id).collect();
        let written = listed + self.publish_runs(&ids, true).await?;
        self.drop_lost().await?;
        self.end_detail().await?;
        Ok(written)
    }

    /// Writes `index.html` and `status.json` as the records are now, for a run under way. Where pages are missing that
    /// published runs are said to have, these are written first; where the publication of a run is still to come, nothing
    /// is written, since that one writes them. Says how many files were written.
    ///
    /// # Errors
    /// [`PublishError`] if the records cannot be read or a page cannot be written.
    pub async fn refresh_index(&self) -> Result<u64, PublishError> {
        self.begin_detail().await?;
        if !self.is_whole().await? {
            let ended = self.ended_runs().await?;
            if ended.iter().any(|head| head.awaits_publication) {
                tracing::debug!("the index is not refreshed: the pages that it would lead to are not written yet");
                return Ok(0);
            }
            if !ended.is_empty() {
                return self.write_all(&ended).await;
            }
        }
        let written = self.write_newest_nights(&BTreeSet::new()).await? + self.write_index(false).await?;
        self.end_detail().await?;
        Ok(written)
    }

    /// Whether everything is there that was written once: the index comes last. What is not whole is empty, of an older
    /// form, was never finished, or has lost files. Once it was whole, this publisher does not look for lost files again.
    ///
    /// # Errors
    /// [`PublishError`] if the site cannot be read.
    pub async fn is_whole(&self) -> Result<bool, PublishError> {
        let mut is_there = true;
        for path in [MARK, "index.html"] {
            let bytes = self.site.read(path).await.map_err(|error| page_error(path, error))?;
            is_there &= bytes.is_some_and(|bytes| !bytes.is_empty());
        }
        if !is_there || self.verified.load(Ordering::Relaxed) {
            return Ok(is_there);
        }
        let damaged = self.site.damaged().await.map_err(|error| page_error("index.html", error))?;
        if let Some(first) = damaged.first() {
            let files = damaged.len();
            tracing::warn!(files, first, "files of the site are missing or damaged; they are written again");
            return Ok(false);
        }
        self.verified.store(true, Ordering::Relaxed);
        Ok(true)
    }

    async fn write_schemas(&self) -> Result<u64, PublishError> {
        let mut written = 0;
        for schema in pages::schemas() {
            written += self.write_always(&schema).await?;
        }
        Ok(written)
    }

    /// After everything was written: files that are lost all the same are of no record any more.
    async fn drop_lost(&self) -> Result<(), PublishError> {
        self.site.flush().await.map_err(|error| page_error("index.html", error))?;
        for path in self.site.damaged().await.map_err(|error| page_error("index.html", error))? {
            self.site.remove(&path).await.map_err(|error| page_error(&path, error))?;
        }
        Ok(())
    }

    /// The run that is to be published, and all others where the site is not whole.
    async fn with_missing(&self, run: RunId, is_whole: bool) -> Result<Vec<RunId>, PublishError> {
        let mut runs = vec![run];
        if !is_whole {
            let ended = self.ended_runs().await?;
            runs.extend(ended.iter().map(|head| head.run.batch_run_id).filter(|ended| *ended != run));
        }
        Ok(runs)
    }

    /// Runs that have pages, or should have.
    async fn ended_runs(&self) -> Result<Vec<RunHead>, PublishError> {
        let mut heads = self.reader().heads(&RunQuery::default(), 0).await?;
        heads.retain(|head| head.run.has_outcome() && (head.run.is_closed() || head.linkable));
        Ok(heads)
    }
}

#[async_trait]
impl Publisher for SitePublisher {
    async fn publish(&self, run: RunId) -> Result<u64, PublishError> {
        self.begin_detail().await?;
        let is_whole = self.is_whole().await?;
        let runs = self.with_missing(run, is_whole).await?;
        self.write_schemas().await?;
        let anew = runs.len() > 1;
        let written = self.publish_runs(&runs, anew).await?;
        if !is_whole {
            self.drop_lost().await?;
        }
        self.end_detail().await?;
        Ok(written)
    }

    fn spreads(&self, run: &Run) -> bool {
        let portfolios = run.plan.as_ref().map_or(0, |plan| plan.portfolios);
        matches!(self.spread, Spread::From(from) if portfolios >= from.max(1))
    }

    async fn begin(&self, run: RunId) -> Result<u64, PublishError> {
        self.begin_detail().await?;
        let runs = self.with_missing(run, self.is_whole().await?).await?;
        self.write_schemas().await?;
        let written = if runs.len() > 1 {
            self.publish_runs(&runs, true).await?
        } else {
            self.introduce(&mut self.reader().run(run).await?).await?
        };
        self.end_detail().await?;
        Ok(written)
    }

    async fn publish_bucket(&self, run: RunId, bucket: u32) -> Result<u64, PublishError> {
        self.begin_detail().await?;
        let stored = self.store.run(run).await?;
        let Some(plan) = stored.and_then(|stored| stored.run.plan) else { return Ok(0) };
        let planned = self.store.manifest(run, plan.epoch, bucket).await?;
        let ids: Vec<PortfolioId> = planned.into_iter().map(|planned| planned.id).collect();
        let written = self.write_portfolios(&ids, None).await?;
        self.end_detail().await?;
        Ok(written)
    }

    async fn finish(&self, run: RunId) -> Result<u64, PublishError> {
        self.begin_detail().await?;
        let mut runs = vec![run];
        runs.extend(self.waiting_for(run).await?);
        let written = self.complete(&runs, None, Some(run), false).await?;
        self.end_detail().await?;
        Ok(written)
    }
}
