//! Publishing: which pages a run changed, in which order they are written.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{Datelike as _, NaiveDate};
use domain::guards::{self, Guard};
use domain::ids::{ContentHash, JobName, PortfolioId, RunId};
use domain::ports::{
    Clock, PublishError, Publisher, RunQuery, RunStore, SiteFile, SiteStore, StoreError, WriteIf, Written,
};
use domain::run::BUCKET_SIZE;
use futures::StreamExt as _;

use crate::gather::{AT_ONCE, Reader, RunData, RunHead};
use crate::mask::Mask;
use crate::options::SiteOptions;
use crate::pages;
use crate::views;
use crate::views::index::IndexInput;
use crate::views::machine::{Badge, JobsFile, StatusFile};

/// Runs that the index looks back on.
const LOOK_BACK: usize = 90;
/// Tries to write the index before somebody else does.
const MOST_TRIES: u32 = 5;
/// Months without a run after which history is taken to begin.
const MONTHS_OF_SILENCE: u32 = 14;

/// Writes the site from the records.
///
/// It can be stopped and repeated at any moment: every write is whole, and the index is written last.
pub struct SitePublisher {
    store: Arc<dyn RunStore>,
    site: Arc<dyn SiteStore>,
    clock: Arc<dyn Clock>,
    options: SiteOptions,
}

impl std::fmt::Debug for SitePublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SitePublisher").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The pages of one publication that exist already and so can be reached, and those that do not.
#[derive(Default)]
struct Sorted<T> {
    fresh: Vec<T>,
    known: Vec<T>,
}

impl SitePublisher {
    /// A publisher from this store to this site.
    #[must_use]
    pub fn new(
        store: Arc<dyn RunStore>,
        site: Arc<dyn SiteStore>,
        clock: Arc<dyn Clock>,
        options: SiteOptions,
    ) -> Self {
        Self { store, site, clock, options }
    }

    const fn mask(&self) -> Mask {
        Mask { redacted: self.options.redacted }
    }

    fn reader(&self, publishing: BTreeSet<RunId>, everything: bool) -> Reader {
        Reader::new(Arc::clone(&self.store), self.mask(), publishing, everything)
    }

    async fn write(&self, file: Result<SiteFile, PublishError>) -> Result<u64, PublishError> {
        let file = file?;
        let written = self.site.write(&file, &WriteIf::Always).await.map_err(|error| page_error(&file.path, error))?;
        Ok(u64::from(written == Written::Written))
    }

    /// Writes every page anew, from the records alone: all runs, portfolios, jobs and months. Says how many files
    /// were written.
    ///
    /// # Errors
    /// [`PublishError`] if the records cannot be read or a page cannot be written.
    pub async fn rebuild(&self) -> Result<u64, PublishError> {
        self.rebuild_with(BTreeSet::new()).await
    }

    async fn rebuild_with(&self, publishing: BTreeSet<RunId>) -> Result<u64, PublishError> {
        let reader = self.reader(publishing, true);
        let heads = reader.heads(&RunQuery::default(), 0).await?;
        let (mut portfolios, mut jobs) = (BTreeSet::new(), BTreeSet::new());
        let mut written = 0;
        for head in heads.iter().filter(|head| head.linkable) {
            let data = reader.run(head.run.batch_run_id).await?;
            portfolios.extend(data.ids.iter().cloned());
            jobs.extend(data.jobs().iter().map(|job| job.name.clone()));
            written += self.write_run(&reader, &data).await?;
        }
        let portfolios: Vec<PortfolioId> = portfolios.into_iter().collect();
        written += self.write_portfolios(&reader, &portfolios, None).await?;
        for job in &jobs {
            written += self.write_job(&reader, job).await?;
        }
        let months: Vec<String> = months_of(&heads);
        for month in &months {
            written += self.write_month(&reader, month, &months).await?;
        }
        written += self.write_shared(&reader, &months).await?;
        Ok(written + self.write_index(&reader, true).await?)
    }

    /// Writes `index.html` and `status.json` as the records are now, for a run under way. Says how many files were
    /// written.
    ///
    /// # Errors
    /// [`PublishError`] if the records cannot be read or a page cannot be written.
    pub async fn refresh_index(&self) -> Result<u64, PublishError> {
        let reader = self.reader(BTreeSet::new(), false);
        self.write_index(&reader, false).await
    }

    async fn write_run(&self, reader: &Reader, data: &RunData) -> Result<u64, PublishError> {
        let summary = &data.head.summary;
        let mut mentioned: Vec<RunId> = summary.failures.iter().map(|cluster| cluster.first_seen_run).collect();
        mentioned.extend(data.head.run.rerun_of);
        let facts = reader.facts(&mentioned).await?;
        let folder = format!("runs/{}", summary.batch_run_id);
        let mut written = self.write(pages::json(format!("{folder}/summary.json"), summary)).await?;
        written += self.write(pages::json(format!("{folder}/jobs.json"), &JobsFile::of(data))).await?;
        written += self.write(pages::run(&views::run::build(data, &facts), &self.options)).await?;
        Ok(written)
    }

    /// Writes pages of portfolios, bucket by bucket.
    async fn write_portfolios(
        &self,
        reader: &Reader,
        ids: &[PortfolioId],
        data: Option<&RunData>,
    ) -> Result<u64, PublishError> {
        let mut written = 0;
        for bucket in ids.chunks(BUCKET_SIZE as usize) {
            let writes: Vec<_> = bucket.iter().map(|id| self.write_portfolio(reader, id, data)).collect();
            let mut pages = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
            while let Some(one) = pages.next().await {
                written += one?;
            }
        }
        Ok(written)
    }

    async fn write_portfolio(
        &self,
        reader: &Reader,
        id: &PortfolioId,
        data: Option<&RunData>,
    ) -> Result<u64, PublishError> {
        let view = views::portfolio::build(&reader.portfolio(id, data).await?);
        let written = self.write(pages::json(format!("portfolios/{}.json", view.id), &view)).await?;
        Ok(written + self.write(pages::portfolio(&view, &self.options)).await?)
    }

    async fn write_job(&self, reader: &Reader, job: &JobName) -> Result<u64, PublishError> {
        let runs = reader.job_runs(job).await?;
        let last = reader.last_successes(std::slice::from_ref(job)).await?;
        let last = last.into_iter().find_map(|(_, record)| record);
        let mut mentioned: Vec<RunId> = runs.iter().map(|run| run.batch_run_id).collect();
        mentioned.extend(last.as_ref().map(|record| record.batch_run_id));
        let facts = reader.facts(&mentioned).await?;
        self.write(pages::job(&views::job::build(job, &runs, &facts, last.as_ref()), &self.options)).await
    }

    async fn write_month(&self, reader: &Reader, month: &str, months: &[String]) -> Result<u64, PublishError> {
        let query = RunQuery { month: Some(month.to_owned()), ..RunQuery::default() };
        let runs = reader.heads(&query, 0).await?;
        self.write(pages::month(&views::history::month(month, &runs, months), &self.options)).await
    }
}

fn page_error(path: &str, source: StoreError) -> PublishError {
    PublishError::Page { path: path.to_owned(), source: Box::new(source) }
}

/// The runs that say best which portfolios have a page: the newest, and the newest that was for all portfolios.
fn speakers(heads: &[RunHead]) -> BTreeSet<RunId> {
    let whole = heads.iter().find(|head| head.run.filter.is_empty() && head.run.rerun_of.is_none());
    heads.iter().take(1).chain(whole).map(|head| head.run.batch_run_id).collect()
}

/// The months of these runs that have a page, newest first.
fn months_of(heads: &[RunHead]) -> Vec<String> {
    let months: BTreeSet<String> =
        heads.iter().filter(|head| head.linkable).map(|head| month_of(head.run.as_of)).collect();
    months.into_iter().rev().collect()
}

fn month_of(date: NaiveDate) -> String {
    date.format("%Y-%m").to_string()
}

/// What the shared pages are made of.
struct Overview {
    runs: Vec<RunHead>,
    latest: Vec<RunData>,
    open: Vec<RunData>,
    with_page: BTreeSet<PortfolioId>,
}

impl SitePublisher {
    async fn overview(&self, reader: &Reader) -> Result<Overview, PublishError> {
        let mut runs = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
        let open = reader.open_runs().await?;
        for data in &open {
            // The head of a run under way comes with what its items say so far.
            for head in runs.iter_mut().filter(|head| head.run.batch_run_id == data.head.run.batch_run_id) {
                *head = data.head.clone();
            }
        }
        let newest_date = runs.iter().filter(|head| head.run.plan.is_some()).map(|head| head.run.as_of).max();
        let latest = match newest_date {
            Some(date) => reader.of_date(date).await?,
            None => Vec::new(),
        };
        let mut with_page: BTreeSet<PortfolioId> = BTreeSet::new();
        let pages_of =
            |data: &RunData| -> Vec<PortfolioId> { data.items.iter().map(|item| item.key.portfolio.clone()).collect() };
        for data in latest.iter().filter(|data| data.head.linkable) {
            with_page.extend(pages_of(data));
        }
        if latest.iter().any(|data| !data.head.linkable) {
            // A run that has no pages yet: its portfolios have those of the last run that has.
            let older: Vec<RunHead> =
                runs.iter().filter(|head| head.linkable && Some(head.run.as_of) != newest_date).cloned().collect();
            for id in speakers(&older) {
                with_page.extend(pages_of(&reader.run(id).await?));
            }
        }
        Ok(Overview { runs, latest, open, with_page })
    }

    /// Months that have a page, newest first: one question a month, back to where history begins.
    async fn months(&self, reader: &Reader) -> Result<Vec<String>, PublishError> {
        let newest = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
        let Some(mut date) = newest.iter().map(|head| head.run.as_of).max() else { return Ok(Vec::new()) };
        let (mut months, mut silent) = (Vec::new(), 0);
        while silent < MONTHS_OF_SILENCE {
            let month = month_of(date);
            let known = newest.iter().any(|head| head.linkable && month_of(head.run.as_of) == month);
            let has_page = known || {
                let query = RunQuery { month: Some(month.clone()), ..RunQuery::default() };
                reader.heads(&query, 1).await?.iter().any(|head| head.linkable)
            };
            silent = if has_page { 0 } else { silent + 1 };
            if has_page {
                months.push(month);
            }
            let Some(before) = date.with_day(1).and_then(|first| first.pred_opt()) else { break };
            date = before;
        }
        Ok(months)
    }

    /// Writes what no single run owns, without the index.
    async fn write_shared(&self, reader: &Reader, months: &[String]) -> Result<u64, PublishError> {
        let Overview { runs, latest, with_page, .. } = self.overview(reader).await?;
        let mut written =
            self.write(pages::quality(&views::quality::build(&latest, &runs, &with_page), &self.options)).await?;
        written += self.write(pages::history(&views::history::index(months, &runs), &self.options)).await?;
        written += self.write(pages::feed(&views::machine::feed(&runs, &self.options), &self.options)).await?;
        let closed = runs.iter().find(|head| head.summary.closed_at.is_some());
        let badge = Badge::of(&self.options.title, closed);
        written += self.write(pages::badge(&badge)).await?;
        written += self.write(pages::json("badge.json".into(), &badge)).await?;
        Ok(written + self.write(pages::lost(&self.options)).await?)
    }

    /// Writes `status.json`, makes everything durable, and writes `index.html`, unless somebody else did in between:
    /// then once more, from what the store says by then. What the index shows never becomes older.
    async fn write_index(&self, reader: &Reader, anew: bool) -> Result<u64, PublishError> {
        for attempt in 1..=MOST_TRIES {
            let read = |path| async move { self.site.read(path).await.map_err(|error| page_error(path, error)) };
            let (old_index, old_status) = (read("index.html").await?, read("status.json").await?);
            // Only now: the records that are read after the index are at least as new as what it shows.
            let overview = self.overview(reader).await?;
            let jobs: Vec<JobName> = views::index::job_columns(&overview.latest)
                .iter()
                .filter_map(|column| JobName::new(&*column.name).ok())
                .collect();
            let last_success = reader.last_successes(&jobs).await?;
            let input = IndexInput {
                now: self.clock.now(),
                options: &self.options,
                runs: &overview.runs,
                latest: &overview.latest,
                open: &overview.open,
                with_page: &overview.with_page,
                last_success: &last_success,
            };
            let view = views::index::build(&input);
            let status = StatusFile::of(&input, &view);
            let shown = old_status.as_deref().and_then(|bytes| serde_json::from_slice::<StatusFile>(bytes).ok());
            let guarded = guards::on(Guard::IndexVersion);
            if !anew && guarded && shown.is_some_and(|old| old.shown > status.shown) {
                tracing::info!("the index shows a newer run than the records that were read; it is left as it is");
                return Ok(0);
            }
            let unchanged = |old: &Option<Vec<u8>>| {
                if guarded { WriteIf::Unchanged(old.as_deref().map(ContentHash::of)) } else { WriteIf::Always }
            };
            let status = pages::json("status.json".into(), &status)?;
            let first = self
                .site
                .write(&status, &unchanged(&old_status))
                .await
                .map_err(|error| page_error(&status.path, error))?;
            if first != Written::Refused {
                self.site.flush().await.map_err(|error| page_error("index.html", error))?;
                let index = pages::index(&view, &self.options)?;
                let second = self
                    .site
                    .write(&index, &unchanged(&old_index))
                    .await
                    .map_err(|error| page_error(&index.path, error))?;
                if second != Written::Refused {
                    return Ok([first, second].iter().map(|written| u64::from(*written == Written::Written)).sum());
                }
            }
            tracing::debug!(attempt, "somebody else wrote the index in between");
        }
        let busy = std::io::Error::other(format!("somebody else wrote it each of {MOST_TRIES} times"));
        Err(PublishError::Page { path: "index.html".into(), source: Box::new(busy) })
    }

    /// Which of these portfolios have no page yet: those without an older run that has pages.
    async fn sort_portfolios(&self, reader: &Reader, data: &RunData) -> Result<Sorted<PortfolioId>, PublishError> {
        let mut sorted = Sorted { fresh: Vec::new(), known: Vec::new() };
        let mut heads = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
        heads.retain(|head| head.linkable && head.run.batch_run_id != data.head.run.batch_run_id);
        let mut with_page = BTreeSet::new();
        for id in speakers(&heads) {
            with_page.extend(reader.run(id).await?.ids);
        }
        for id in &data.ids {
            // One that the other run did not have may still have a page; writing it early does no harm.
            if with_page.contains(id) { &mut sorted.known } else { &mut sorted.fresh }.push(id.clone());
        }
        Ok(sorted)
    }
}

#[async_trait]
impl Publisher for SitePublisher {
    async fn publish(&self, run: RunId) -> Result<u64, PublishError> {
        if self.site.read("status.json").await.map_err(|error| page_error("status.json", error))?.is_none() {
            // An empty site: pages that older runs are said to have are not there.
            return self.rebuild_with(BTreeSet::from([run])).await;
        }
        let reader = self.reader(BTreeSet::from([run]), false);
        let data = reader.run(run).await?;
        let months = self.months(&reader).await?;
        let month = month_of(data.head.run.as_of);

        // New pages first: nothing that can be reached leads to them yet. Then the run, which leads to them; then the
        // known pages, which lead to the run.
        let portfolios = self.sort_portfolios(&reader, &data).await?;
        let mut written = self.write_portfolios(&reader, &portfolios.fresh, Some(&data)).await?;
        let (mut fresh_jobs, mut known_jobs) = (Vec::new(), Vec::new());
        for job in data.jobs() {
            let runs = reader.job_runs(&job.name).await?;
            let mentioned: Vec<RunId> = runs.iter().map(|run| run.batch_run_id).collect();
            let facts = reader.facts(&mentioned).await?;
            let known = facts.iter().any(|(id, fact)| *id != run && fact.linkable);
            if known { &mut known_jobs } else { &mut fresh_jobs }.push(&job.name);
        }
        for job in fresh_jobs {
            written += self.write_job(&reader, job).await?;
        }
        let month_query = RunQuery { month: Some(month.clone()), limit: 2, ..RunQuery::default() };
        let others = reader.heads(&month_query, 2).await?;
        let month_is_new = !others.iter().any(|head| head.linkable && head.run.batch_run_id != run);
        if month_is_new && data.head.linkable {
            written += self.write_month(&reader, &month, &months).await?;
        }
        if data.head.linkable {
            written += self.write_run(&reader, &data).await?;
        }
        written += self.write_portfolios(&reader, &portfolios.known, Some(&data)).await?;
        for job in known_jobs {
            written += self.write_job(&reader, job).await?;
        }
        if !month_is_new {
            written += self.write_month(&reader, &month, &months).await?;
        }
        written += self.write_shared(&reader, &months).await?;
        Ok(written + self.write_index(&reader, false).await?)
    }
}
