//! The pages of nights.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::ids::{CauseId, PortfolioId, RunId, ScheduleName};
use domain::night::dates::missed_nights;
use domain::night::{NightHead, NightKey};
use domain::ports::{PublishError, RunQuery, Written};

use super::writer::{MOST_TRIES, busy, count};
use super::{LOOK_BACK, SitePublisher};
use crate::gather::{NightData, Nights, Reader, RunData, RunHead};
use crate::pages;
use crate::views;
use crate::views::night::{NightInput, NightPageInput};
use crate::views::nights_list::Notes;
use crate::views::run::NoteLine;

/// Nights before it over which a cause of a night is followed.
const FOLLOWED: usize = 60;

/// Newest nights whose pages each publication writes: the newest one says which nights are missing, and the one before
/// it does so no more.
const REWRITTEN: usize = 2;

/// The night series of a site whose schedule has no valid name.
const DEFAULT_SERIES: &str = "nightly";

/// What the newest nights are.
pub(super) struct NewestNights {
    /// Heads up to the last date that may be run, newest first, one a date.
    pub(super) heads: Vec<NightHead>,
    /// The newest of them.
    pub(super) key: Option<NightKey>,
    /// Its dates with a missed slot and no run, newest first.
    pub(super) missed: Vec<NaiveDate>,
}

impl SitePublisher {
    /// The night series that the site is about.
    pub(super) fn series(&self) -> ScheduleName {
        let schedule = self.options.schedule.as_ref();
        let named = schedule.map(|view| if view.series.is_empty() { &view.name } else { &view.series });
        let series = named.and_then(|name| ScheduleName::new(name.as_str()).ok());
        series.or_else(|| ScheduleName::new(DEFAULT_SERIES).ok()).unwrap_or_else(|| unreachable!("a valid name"))
    }

    /// The newest night with a plan, as pages of portfolios speak of it.
    pub(super) async fn newest_night(&self, reader: &Reader) -> Result<Option<NightData>, PublishError> {
        match reader.newest_planned_night(&self.series(), self.options.last_allowed).await? {
            Some(key) => Ok(reader.night(&key).await?),
            None => Ok(None),
        }
    }

    /// The newest nights; `runs` are the newest runs.
    pub(super) async fn newest_nights(&self, reader: &Reader, runs: &[RunHead]) -> Result<NewestNights, PublishError> {
        let own = self.series();
        let asked = Nights { from: None, to: self.options.last_allowed, limit: LOOK_BACK };
        let heads = reader.nights(&own, asked, runs).await?;
        let newest = heads.iter().find(|head| head.night_series == own).or(heads.first());
        let key = newest.map(NightHead::key);
        let of_series = |head: &&NightHead| key.as_ref().is_some_and(|key| key.series == head.night_series);
        let missed = missed_nights(heads.iter().filter(of_series));
        Ok(NewestNights { heads, key, missed })
    }

    /// How long each cause of a night lasts, in words; `runs` are the newest runs.
    pub(super) async fn standings(
        &self,
        reader: &Reader,
        data: &NightData,
        runs: &[RunHead],
    ) -> Result<BTreeMap<CauseId, String>, PublishError> {
        if data.night.causes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked = Nights { from: None, to: data.night.as_of.pred_opt(), limit: FOLLOWED };
        let before = reader.nights(&data.night.night_series, asked, runs).await?;
        Ok(reader.standings(&data.night, &before).await?)
    }

    /// Portfolios that have a page because a run of these has it, or because they are absent and had one before.
    pub(super) async fn pages_of(
        &self,
        runs: &[RunData],
        nights: &[&NightData],
    ) -> Result<BTreeSet<PortfolioId>, PublishError> {
        let with_pages = runs.iter().filter(|data| data.head.portfolio_pages);
        let mut with_page: BTreeSet<PortfolioId> =
            with_pages.flat_map(|data| data.items.iter().map(|item| item.key.portfolio.clone())).collect();
        for id in nights.iter().flat_map(|data| data.unprocessed_ids.iter()) {
            let masked = self.mask().id(id);
            if !with_page.contains(&masked) && self.has_page(id).await? {
                with_page.insert(masked);
            }
        }
        Ok(with_page)
    }

    /// Whether the page of a portfolio is there.
    async fn has_page(&self, id: &PortfolioId) -> Result<bool, PublishError> {
        let folder = pages::portfolio_folder(self.mask().id(id).as_str());
        Ok(self.tag(&format!("{folder}/index.html")).await?.is_some())
    }

    /// Portfolios that are absent or closed on the nights of these runs and have a page, which must say so.
    pub(super) async fn absent_with_page(&self, keys: &BTreeSet<NightKey>) -> Result<Vec<PortfolioId>, PublishError> {
        let reader = self.reader();
        let mut absent = Vec::new();
        for key in keys {
            let Some(data) = reader.night(key).await? else { continue };
            for id in data.unprocessed_ids.iter() {
                if self.has_page(id).await? {
                    absent.push(id.clone());
                }
            }
        }
        Ok(absent)
    }

    /// The notes of these runs, as lists show them.
    pub(super) async fn notes_of(&self, runs: &[RunId]) -> Result<Notes, PublishError> {
        let mut notes = Notes::new();
        for &run in runs {
            let of_run = self.notes(run).await?;
            if !of_run.is_empty() {
                notes.insert(run, of_run.iter().map(NoteLine::of).collect());
            }
        }
        Ok(notes)
    }

    /// Writes the pages of the newest nights where they are there: what they say depends on other nights too.
    pub(super) async fn write_newest_nights(&self, but: &BTreeSet<NightKey>) -> Result<u64, PublishError> {
        let reader = self.reader();
        let runs = reader.heads(&RunQuery { limit: LOOK_BACK, ..RunQuery::default() }, LOOK_BACK).await?;
        let newest = self.newest_nights(&reader, &runs).await?;
        let days = reader.days(&newest.heads[..newest.heads.len().min(REWRITTEN)], &runs).await?;
        let mut written = 0;
        for day in days.iter().filter(|day| day.link.is_some()) {
            let key = NightKey { series: day.series.clone(), as_of: day.as_of };
            if !but.contains(&key) {
                written += self.write_night(&key).await?;
            }
        }
        Ok(written)
    }

    /// Writes the page of a night.
    pub(super) async fn write_night(&self, key: &NightKey) -> Result<u64, PublishError> {
        let path = pages::night_path(&key.series, key.as_of);
        for _ in 0..MOST_TRIES {
            let tag = self.tag(&path).await?;
            let reader = self.reader();
            let Some(data) = reader.night(key).await? else { return Ok(0) };
            let runs = reader.runs_of(key).await?;
            let mut all = Vec::with_capacity(runs.len());
            for head in &runs {
                all.push(reader.run(head.run.batch_run_id).await?);
            }
            let newest_runs = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
            let newest = self.newest_nights(&reader, &newest_runs).await?;
            let is_newest = newest.key.as_ref() == Some(key);
            let names = all.iter().flat_map(|data| data.items.iter());
            let names = names.map(|item| (item.key.portfolio.clone(), item.portfolio_name.clone())).collect();
            let notes = self.notes_of(&ids_of(&runs)).await?;
            let input = NightPageInput {
                night: NightInput {
                    data: &data,
                    standings: &self.standings(&reader, &data, &newest_runs).await?,
                    with_page: &self.pages_of(&all, &[&data]).await?,
                    missed: if is_newest { &newest.missed } else { &[] },
                    runs: &runs,
                    target: &self.options.target(),
                    link: None,
                    close_before: None,
                },
                names: &names,
                notes: notes
                    .into_iter()
                    .flat_map(|(run, lines)| lines.into_iter().map(move |line| (run, line)))
                    .collect(),
            };
            let page = pages::night(&views::night::page(&input), key, &self.options)?;
            match self.write_over(&page, tag).await? {
                Written::Refused => {}
                one => return Ok(count(one)),
            }
        }
        Err(busy(&path))
    }
}

/// The ids of these runs.
pub(super) fn ids_of(runs: &[RunHead]) -> Vec<RunId> {
    runs.iter().map(|head| head.run.batch_run_id).collect()
}

/// The night of a run.
pub(super) fn night_of(head: &RunHead) -> NightKey {
    NightKey { series: head.run.night_series().clone(), as_of: head.run.as_of }
}
