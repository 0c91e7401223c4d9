//! The index, which comes last, and what it and the other shared pages are made of.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::guards::{self, Guard};
use domain::ids::{ContentHash, JobName, PortfolioId, RunId};
use domain::ports::{PublishError, RunQuery, WriteIf, Written};

use super::writer::{MOST_TRIES, busy, page_error};
use super::{LOOK_BACK, SitePublisher};
use crate::gather::{JobData, Past, Reader, RunData, RunHead};
use crate::pages;
use crate::views;
use crate::views::index::IndexInput;
use crate::views::machine::StatusFile;

/// What the shared pages are made of.
pub(super) struct Overview {
    pub(super) runs: Vec<RunHead>,
    pub(super) latest: Vec<RunData>,
    /// The jobs of the newest trading date.
    pub(super) jobs: Vec<JobData>,
    pub(super) open: Vec<RunData>,
    pub(super) with_page: BTreeSet<PortfolioId>,
}

/// The runs that say best which portfolios have a page: the newest, and the newest that was for all portfolios.
fn speakers(heads: &[RunHead]) -> BTreeSet<RunId> {
    let whole = heads.iter().find(|head| head.run.filter.is_empty() && head.run.rerun_of.is_none());
    heads.iter().take(1).chain(whole).map(|head| head.run.batch_run_id).collect()
}

impl SitePublisher {
    pub(super) async fn overview(&self, reader: &Reader) -> Result<Overview, PublishError> {
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
        let mut jobs = Vec::new();
        for column in views::index::job_columns(&latest) {
            if let Ok(job) = JobName::new(&*column.name) {
                jobs.push(reader.job_in_brief(&job).await?);
            }
        }
        let mut with_page: BTreeSet<PortfolioId> = BTreeSet::new();
        let pages_of =
            |data: &RunData| -> Vec<PortfolioId> { data.items.iter().map(|item| item.key.portfolio.clone()).collect() };
        for data in latest.iter().filter(|data| data.head.portfolio_pages) {
            with_page.extend(pages_of(data));
        }
        if latest.iter().any(|data| !data.head.portfolio_pages) {
            // A run that has no pages yet: its portfolios have those of the last run that has.
            let older: Vec<RunHead> = runs
                .iter()
                .filter(|head| head.run.plan.is_some() && head.portfolio_pages && Some(head.run.as_of) != newest_date)
                .cloned()
                .collect();
            for id in speakers(&older) {
                with_page.extend(pages_of(&reader.run(id).await?));
            }
        }
        Ok(Overview { runs, latest, jobs, open, with_page })
    }

    /// The time that the index speaks of: now, while something is going on. Once nothing is, it stays what it was, so
    /// that the same records give the same bytes.
    fn as_of_now(&self, overview: &Overview) -> DateTime<Utc> {
        let stamps = overview.runs.iter().map(|head| head.run.pages_at.max(head.run.closed_at));
        match stamps.max().flatten() {
            Some(last) if overview.open.is_empty() => last,
            _ => self.clock.now(),
        }
    }

    /// Writes `status.json`, makes everything durable, and writes `index.html`, unless somebody else did in between:
    /// then once more, from what the store says by then. What the index shows never becomes older.
    pub(super) async fn write_index(&self, anew: bool) -> Result<u64, PublishError> {
        for attempt in 1..=MOST_TRIES {
            let read = |path| async move { self.site.read(path).await.map_err(|error| page_error(path, error)) };
            let (old_index, old_status) = (read("index.html").await?, read("status.json").await?);
            // Only now: the records that are read after the index are at least as new as what it shows.
            let reader = self.reader();
            let overview = self.overview(&reader).await?;
            let compared = overview.latest.iter().find(|data| data.head.summary.closed_at.is_some());
            let past = match compared {
                Some(data) => reader.past(&data.head).await?,
                None => Past::default(),
            };
            let input = IndexInput {
                now: self.as_of_now(&overview),
                options: &self.options,
                runs: &overview.runs,
                latest: &overview.latest,
                open: &overview.open,
                with_page: &overview.with_page,
                jobs: &overview.jobs,
                past: &past,
                cards: &reader.cards(),
                alerts: self.alerts().await?,
                settings_warning: self.options.settings_warning.as_deref().map(|text| self.mask().text(text)),
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
        Err(busy("index.html"))
    }
}
