//! Reading nights: heads for lists, whole nights for pages; already masked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use domain::ids::{CauseId, ContentHash, PortfolioId, RunId, ScheduleName};
use domain::night::history::standing;
use domain::night::{Night, NightHead, NightKey, NightView, PortfolioOutcome, Verdict, read_night};
use domain::ports::{NightQuery, RunQuery, StoreError};

use super::{Reader, RunHead, lock};
use crate::days::TradingDay;

/// Folded nights that a publisher keeps in memory: the one of the run that is published and the newest one.
const MOST_KEPT: usize = 2;

/// Absent portfolios whose pages say so.
const MOST_ABSENT: usize = 100;

/// Newest runs among which a night without a head is looked for.
const FEW_RUNS: usize = 10;
/// Nights that are looked through for the newest one with a plan.
const FEW_NIGHTS: usize = 10;

/// Nights whose document is read to see whether a cause was over on them. Heads say it for all others.
const MOST_DOCUMENTS: usize = 5;

/// A night with its head, masked.
#[derive(Debug, Clone)]
pub(crate) struct NightData {
    /// The head.
    pub(crate) head: NightHead,
    /// The whole fold.
    pub(crate) night: Arc<Night>,
    /// The first absent and closed portfolios before masking, for questions to the store.
    pub(crate) unprocessed_ids: Arc<Vec<PortfolioId>>,
}

/// Which nights, newest first and one a date.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nights {
    pub(crate) from: Option<NaiveDate>,
    pub(crate) to: Option<NaiveDate>,
    /// At most so many; 0: all.
    pub(crate) limit: usize,
}

/// A folded night as it is kept in memory, by the hash of its document.
pub(super) type KeptNight = (ContentHash, Arc<Night>, Arc<Vec<PortfolioId>>);

impl Nights {
    fn holds(&self, date: NaiveDate) -> bool {
        self.from.is_none_or(|from| date >= from) && self.to.is_none_or(|to| date <= to)
    }
}

impl Reader {
    /// The heads of the nights of every series, one a date: that of `own` before others. `runs` are runs whose nights
    /// must be among them, also where no head is stored.
    pub(crate) async fn nights(
        &self,
        own: &ScheduleName,
        asked: Nights,
        runs: &[RunHead],
    ) -> Result<Vec<NightHead>, StoreError> {
        let mut series: BTreeSet<ScheduleName> = self.store.night_series().await?.into_iter().collect();
        series.insert(own.clone());
        let mut dates: BTreeMap<NaiveDate, NightHead> = BTreeMap::new();
        let others = series.iter().filter(|series| *series != own);
        for series in std::iter::once(own).chain(others) {
            let query = NightQuery { series: series.clone(), from: asked.from, to: asked.to, limit: asked.limit };
            for head in self.store.nights(&query).await? {
                dates.entry(head.as_of).or_insert(head);
            }
        }
        let unfolded: BTreeSet<NightKey> = runs
            .iter()
            .filter(|head| asked.holds(head.run.as_of) && !dates.contains_key(&head.run.as_of))
            .map(|head| NightKey { series: head.run.night_series().clone(), as_of: head.run.as_of })
            .collect();
        for key in unfolded {
            if let Some(head) = self.folded(&key).await? {
                let known = dates.entry(head.as_of).or_insert_with(|| head.clone());
                if head.night_series == *own {
                    *known = head;
                }
            }
        }
        let newest_first = dates.into_values().rev().map(|head| self.mask.night_head(head));
        Ok(newest_first.take(if asked.limit == 0 { usize::MAX } else { asked.limit }).collect())
    }

    /// A night of the store. One that is not stored is folded: no page shows when that was.
    async fn read(&self, key: &NightKey) -> Result<Option<NightView>, StoreError> {
        read_night(self.store.as_ref(), key, DateTime::UNIX_EPOCH).await
    }

    /// The head of a night that has none in the store. Every run of this release stores one, so that it is folded once.
    async fn folded(&self, key: &NightKey) -> Result<Option<NightHead>, StoreError> {
        let known = lock(&self.ended.folded).get(key).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let head = self.read(key).await?.map(|view| view.head);
        if let Some(head) = head.as_ref().filter(|head| head.in_progress.is_empty()) {
            lock(&self.ended.folded).insert(key.clone(), head.clone());
        }
        Ok(head)
    }

    /// Which night is the newest up to the last date that may be run: of `own`, or of any series where `own` has none.
    pub(crate) async fn newest_planned_night(
        &self,
        own: &ScheduleName,
        last: Option<NaiveDate>,
    ) -> Result<Option<NightKey>, StoreError> {
        let query = RunQuery { limit: FEW_RUNS, ..RunQuery::default() };
        let runs = self.heads(&query, FEW_RUNS).await?;
        let asked = Nights { from: None, to: last, limit: FEW_NIGHTS };
        let heads = self.nights(own, asked, &runs).await?;
        let query = NightQuery { series: own.clone(), from: None, to: last, limit: FEW_NIGHTS };
        let of_own = self.store.nights(&query).await?;
        // A run without a plan writes no pages of portfolios, so they cannot depend on its night.
        let planned = |head: &&NightHead| head.expected_portfolios > 0;
        let newest = heads.iter().filter(planned).find(|head| head.night_series == *own).map(NightHead::key);
        let newest = newest.or_else(|| of_own.iter().find(planned).map(NightHead::key));
        Ok(newest.or_else(|| heads.iter().find(planned).map(NightHead::key)))
    }

    /// The runs and recorded missed slots of a night, oldest first.
    pub(crate) async fn runs_of(&self, key: &NightKey) -> Result<Vec<RunHead>, StoreError> {
        let query = RunQuery { as_of: Some(key.as_of), ..RunQuery::default() };
        let mut runs = self.heads(&query, 0).await?;
        runs.retain(|head| *head.run.night_series() == key.series);
        runs.sort_by_key(|head| (head.run.started_at, head.run.batch_run_id));
        Ok(runs)
    }

    /// A night; `None` where the date has neither a run nor a recorded missed slot.
    pub(crate) async fn night(&self, key: &NightKey) -> Result<Option<NightData>, StoreError> {
        let head = self.store.night(key).await?;
        if let Some(head) = head {
            let kept = lock(&self.ended.nights).iter().find(|(of, ..)| *of == head.document).cloned();
            if let Some((_, night, unprocessed_ids)) = kept {
                return Ok(Some(NightData { head: self.mask.night_head(head), night, unprocessed_ids }));
            }
        }
        let Some(NightView { head, night }) = self.read(key).await? else { return Ok(None) };
        let unprocessed_ids: Arc<Vec<PortfolioId>> = {
            let closed = night.closed.keys().take(MOST_ABSENT);
            Arc::new(night.absent.iter().take(MOST_ABSENT).chain(closed).cloned().collect())
        };
        let night = Arc::new(self.mask.night(night));
        let mut kept = lock(&self.ended.nights);
        kept.push_back((head.document.clone(), Arc::clone(&night), Arc::clone(&unprocessed_ids)));
        if kept.len() > MOST_KEPT {
            kept.pop_front();
        }
        drop(kept);
        Ok(Some(NightData { head: self.mask.night_head(head), night, unprocessed_ids }))
    }

    /// The trading dates of these heads. The page of a night is there once that of one of its runs is.
    pub(crate) async fn days(&self, heads: &[NightHead], runs: &[RunHead]) -> Result<Vec<TradingDay>, StoreError> {
        let by_id: BTreeMap<RunId, &RunHead> = runs.iter().map(|head| (head.run.batch_run_id, head)).collect();
        let mut days = Vec::with_capacity(heads.len());
        for head in heads {
            let of_night: Vec<&RunHead> = head.runs.iter().filter_map(|id| by_id.get(id).copied()).collect();
            let mut linkable = of_night.iter().any(|run| run.linkable);
            if !linkable && of_night.len() < head.runs.len() {
                linkable = self.facts(&head.runs).await?.values().any(|fact| fact.linkable);
            }
            days.push(TradingDay::of(head, &of_night, linkable));
        }
        Ok(days)
    }

    /// How long each cause of a night lasts, in words. `heads` are the nights before it.
    pub(crate) async fn standings(
        &self,
        night: &Night,
        heads: &[NightHead],
    ) -> Result<BTreeMap<CauseId, String>, StoreError> {
        let mut before: Vec<Night> = Vec::new();
        let mut documents = 0;
        let ids: BTreeSet<&CauseId> = night.causes.iter().map(|cause| &cause.cause).collect();
        let own = heads.iter().filter(|head| head.night_series == night.night_series && head.as_of < night.as_of);
        let own: Vec<&NightHead> = own.collect();
        let seen = |head: &NightHead| head.causes.iter().any(|cause| ids.contains(&cause.cause));
        let oldest = own.iter().rposition(|head| seen(head));
        for head in own.iter().take(oldest.map_or(0, |at| at + 1)) {
            let unclear = head.verdict.severity() > Verdict::Warning.severity() && !seen(head);
            let document = if unclear && documents < MOST_DOCUMENTS {
                documents += 1;
                self.night(&head.key()).await?.map(|data| Night::clone(&data.night))
            } else {
                None
            };
            before.push(document.unwrap_or_else(|| of_head(head, &own, night)));
        }
        before.push(night.clone());
        let words = |cause: &CauseId| Some((cause.clone(), standing(&before, cause)?.text()));
        Ok(night.causes.iter().filter_map(|cause| words(&cause.cause)).collect())
    }
}

/// A night as far as its head tells about causes: on a good one every portfolio that a cause affected succeeded; any
/// other shows only the causes that it has.
fn of_head(head: &NightHead, heads: &[&NightHead], newest: &Night) -> Night {
    let good = matches!(head.verdict, Verdict::Ok | Verdict::Warning);
    let affected = heads.iter().flat_map(|head| &head.causes).chain(&newest.causes).flat_map(|cause| &cause.portfolios);
    let outcome = || PortfolioOutcome { decided_by: None, newest_run: None, jobs: Vec::new() };
    Night {
        night_series: head.night_series.clone(),
        as_of: head.as_of,
        verdict: head.verdict,
        jobs: Vec::new(),
        outcomes: affected.filter(|_| good).map(|id| (id.clone(), outcome())).collect(),
        absent: BTreeSet::new(),
        closed: BTreeMap::new(),
        totals: head.totals,
        causes: head.causes.clone(),
        controls: Vec::new(),
        editions: Vec::new(),
        runs: head.runs.clone(),
        in_progress: head.in_progress.clone(),
        open_runs: Vec::new(),
        full_run_ended: good,
        newest_close: head.newest_close,
    }
}
