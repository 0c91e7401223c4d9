//! The index, which comes last, and what it and the other shared pages are made of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use domain::guards::{self, Guard};
use domain::ids::{ContentHash, JobName, PortfolioId, RunId};
use domain::night::NightHead;
use domain::ports::{PublishError, RunQuery, SiteFile, Written};

use super::writer::{MOST_TRIES, badges, busy, count, page_error};
use super::{LOOK_BACK, SitePublisher};
use crate::days::TradingDay;
use crate::gather::{JobData, NightData, Nights, Past, Reader, RunData, RunHead};
use crate::pages;
use crate::views;
use crate::views::feed::FeedView;
use crate::views::index::{IndexInput, IndexView};
use crate::views::machine::ChainEnd;
use crate::views::machine::{Badge, StatusFile};
use crate::views::night::NightInput;

/// Files that say the same as the index.
const BESIDE_INDEX: [&str; 3] = ["feed.xml", "badge.svg", "badge.json"];

/// What the shared pages are made of.
pub(super) struct Overview {
    /// The newest runs, newest first.
    pub(super) runs: Vec<RunHead>,
    /// Nights up to the last date that may be run, newest first, and those of later dates.
    pub(super) days: Vec<TradingDay>,
    pub(super) later: Vec<TradingDay>,
    /// The newest night.
    pub(super) night: Option<NightData>,
    /// Its runs, oldest first.
    night_runs: Vec<RunHead>,
    /// Dates of its series with a missed slot and no run.
    missed: Vec<NaiveDate>,
    /// The newest date with a close of a night before.
    close_before: Option<NaiveDate>,
    /// The newest night that has portfolios.
    pub(super) planned: Option<NightData>,
    /// The runs of that night, newest first.
    pub(super) latest: Vec<RunData>,
    /// The jobs of that night.
    pub(super) jobs: Vec<JobData>,
    pub(super) open: Vec<RunData>,
    pub(super) with_page: BTreeSet<PortfolioId>,
    /// The newest link of the chain of closed runs.
    newest_link: Option<ChainEnd>,
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
        let newest = self.newest_nights(reader, &runs).await?;
        let days = reader.days(&newest.heads, &runs).await?;
        let later = match self.options.last_allowed.and_then(|last| last.succ_opt()) {
            Some(from) => {
                let asked = Nights { from: Some(from), to: None, limit: LOOK_BACK };
                let heads = reader.nights(&self.series(), asked, &runs).await?;
                reader.days(&heads, &runs).await?
            }
            None => Vec::new(),
        };
        let night = match &newest.key {
            Some(key) => reader.night(key).await?,
            None => None,
        };
        let night_runs = match &newest.key {
            Some(key) => reader.runs_of(key).await?,
            None => Vec::new(),
        };
        let planned = newest.heads.iter().find(|head| {
            head.expected_portfolios > 0 && newest.key.as_ref().is_some_and(|key| key.series == head.night_series)
        });
        let close_before = newest.heads.iter().find_map(|head| head.newest_close);
        let planned = match planned.map(NightHead::key) {
            Some(key) if newest.key.as_ref() == Some(&key) => night.clone(),
            Some(key) => reader.night(&key).await?,
            None => None,
        };
        let latest = match &planned {
            Some(data) => reader.of_night(&data.head.key()).await?,
            None => Vec::new(),
        };
        let mut jobs = Vec::new();
        for column in views::cells::job_columns(planned.as_ref().map(|data| &*data.night), &latest) {
            if let Ok(job) = JobName::new(&*column.name) {
                jobs.push(reader.job_in_brief(&job).await?);
            }
        }
        let with_page = self.with_page(reader, &runs, &latest, night.as_ref(), planned.as_ref()).await?;
        let missed = newest.missed;
        Ok(Overview {
            runs,
            days,
            later,
            night,
            night_runs,
            missed,
            close_before,
            planned,
            latest,
            jobs,
            open,
            with_page,
            newest_link: reader.newest_link().await?,
        })
    }

    /// The portfolios that have a page: those of the nights that are shown, and where a run has none yet, those of the last
    /// run that has.
    async fn with_page(
        &self,
        reader: &Reader,
        runs: &[RunHead],
        latest: &[RunData],
        night: Option<&NightData>,
        planned: Option<&NightData>,
    ) -> Result<BTreeSet<PortfolioId>, PublishError> {
        let nights: Vec<&NightData> = night.into_iter().chain(planned).collect();
        let mut with_page = self.pages_of(latest, &nights).await?;
        if latest.iter().any(|data| !data.head.portfolio_pages) {
            let date = planned.map(|data| data.night.as_of);
            let older: Vec<RunHead> = runs
                .iter()
                .filter(|head| head.run.plan.is_some() && head.portfolio_pages && Some(head.run.as_of) != date)
                .cloned()
                .collect();
            for id in speakers(&older) {
                with_page.extend(reader.run(id).await?.items.iter().map(|item| item.key.portfolio.clone()));
            }
        }
        Ok(with_page)
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

    /// The index and the status as the records are now.
    #[cfg(test)]
    pub(crate) async fn index_view(&self) -> Result<(IndexView, StatusFile), PublishError> {
        let reader = self.reader();
        self.index_of(&reader, &self.overview(&reader).await?).await
    }

    /// Writes the badge and the feed, then `status.json`, makes everything durable, and writes `index.html`, unless
    /// somebody else did in between: then once more, from what the store says by then. What the index shows never
    /// becomes older.
    pub(super) async fn write_index(&self, anew: bool) -> Result<u64, PublishError> {
        for attempt in 1..=MOST_TRIES {
            let read = |path| async move { self.site.read(path).await.map_err(|error| page_error(path, error)) };
            let (old_index, old_status) = (read("index.html").await?, read("status.json").await?);
            let mut tags = Vec::new();
            for path in BESIDE_INDEX {
                tags.push(self.tag(path).await?);
            }
            // Only now: the records that are read after the index are at least as new as what it shows.
            let reader = self.reader();
            let overview = self.overview(&reader).await?;
            let (view, status) = self.index_of(&reader, &overview).await?;
            let shown = old_status.as_deref().and_then(|bytes| serde_json::from_slice::<StatusFile>(bytes).ok());
            let guarded = guards::on(Guard::IndexVersion);
            if !anew && guarded && shown.is_some_and(|old| self.is_newer(&old, &status)) {
                tracing::info!("the index shows a newer run than the records that were read; it is left as it is");
                return Ok(0);
            }
            let mut written = 0;
            let mut refused = false;
            for (file, tag) in self.beside_index(&overview)?.iter().zip(tags) {
                let one = self.write_over(file, tag).await?;
                written += count(one);
                refused |= one == Written::Refused;
            }
            let status = pages::json("status.json".into(), &status)?;
            let first = self.write_over(&status, old_status.as_deref().map(ContentHash::of)).await?;
            if first != Written::Refused && !refused {
                self.site.flush().await.map_err(|error| page_error("index.html", error))?;
                let index = pages::index(&view, &self.options)?;
                let second = self.write_over(&index, old_index.as_deref().map(ContentHash::of)).await?;
                if second != Written::Refused {
                    return Ok(written + count(first) + count(second));
                }
            }
            tracing::debug!(attempt, "somebody else wrote the index in between");
        }
        Err(busy("index.html"))
    }

    /// Whether a status speaks of a newer run than another. One of a date that may not be run yet decides nothing.
    fn is_newer(&self, old: &StatusFile, new: &StatusFile) -> bool {
        let date = old.as_of.as_deref().and_then(|text| text.parse::<NaiveDate>().ok());
        let allowed = date <= self.options.last_allowed || self.options.last_allowed.is_none();
        // Another series than that of the schedule is no newer night of it.
        let series = |status: &StatusFile| status.night.as_ref().map(|night| night.night_series.clone());
        allowed && series(old) == series(new) && old.shown > new.shown
    }

    async fn index_of(&self, reader: &Reader, overview: &Overview) -> Result<(IndexView, StatusFile), PublishError> {
        let compared = overview.latest.iter().find(|data| data.head.summary.closed_at.is_some());
        let past = match compared {
            Some(data) => reader.past(&data.head).await?,
            None => Past::default(),
        };
        let standings = match &overview.night {
            Some(data) => self.standings(reader, data, &overview.runs).await?,
            None => BTreeMap::new(),
        };
        let target = self.options.target();
        let link_of = |data: &NightData| {
            let day = overview.days.iter().find(|day| day.as_of == data.night.as_of);
            day.filter(|day| day.series == data.night.night_series).and_then(|day| day.link.clone())
        };
        let input = IndexInput {
            now: self.as_of_now(overview),
            options: &self.options,
            runs: &overview.runs,
            days: &overview.days,
            night: overview.night.as_ref().map(|data| NightInput {
                data,
                standings: &standings,
                with_page: &overview.with_page,
                missed: &overview.missed,
                runs: &overview.night_runs,
                target: &target,
                link: link_of(data),
                close_before: overview.close_before,
            }),
            planned: overview.planned.as_ref(),
            latest: &overview.latest,
            open: &overview.open,
            with_page: &overview.with_page,
            jobs: &overview.jobs,
            past: &past,
            cards: &reader.cards(),
            alerts: self.alerts().await?,
            newest_link: overview.newest_link.clone(),
            settings_warning: self.options.settings_warning.as_deref().map(|text| self.mask().text(text)),
        };
        let view = views::index::build(&input);
        let status = StatusFile::of(&input, &view);
        Ok((view, status))
    }

    /// The files that say the same as the index, in the order of [`BESIDE_INDEX`].
    fn beside_index(&self, overview: &Overview) -> Result<[SiteFile; 3], PublishError> {
        let night = overview.night.as_ref().map(|data| (data.night.verdict, data.night.as_of));
        let [drawn, told] = badges("", &Badge::of(&self.options.title, night))?;
        let feed = views::feed::feed(&overview.days, &self.options, overview.days.len() >= LOOK_BACK);
        let feed = FeedView { newest_link: overview.newest_link.clone(), ..feed };
        Ok([pages::feed(&feed, &self.options)?, drawn, told])
    }
}
