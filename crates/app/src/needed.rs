//! What must run: whether a night has a run with the inputs that it would have now.

mod equity_note;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use book::Book;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{ContentHash, PortfolioId, RunId};
use domain::night::{
    NightBefore, NightKey, NightMembers, PinnedNight, kept_equity, later_night_on_record, sealed_members,
};
use domain::ports::{Documents, RunQuery, RunStore, StoreError};
use domain::run::{Run, SealedPlan};
use jobs::{judged_differently, planned_night, same_beside, stored_input_hashes};
use serde::Serialize;

use self::equity_note::equity_notes;

/// A request for runs by hand, as far as the look-up needs it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The portfolios; empty: all.
    pub portfolios: &'a [PortfolioId],
    /// What starts the run.
    pub trigger: &'a str,
    /// Whether to run again whatever is on record.
    pub again: bool,
}

/// What is to be done for a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NightAction {
    /// A new run.
    Run,
    /// The open run of the same request continues.
    Continue,
    /// Nothing: a closed run had the same inputs.
    LeaveOut,
}

impl NightAction {
    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Continue => "continue",
            Self::LeaveOut => "leave_out",
        }
    }
}

/// A night of a request, with what is to be done for it and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeededNight {
    /// The trading date.
    pub as_of: NaiveDate,
    /// What is to be done.
    pub action: NightAction,
    /// The portfolios of the run; empty: all.
    pub portfolios: Vec<PortfolioId>,
    /// Why, in one sentence part.
    pub reason: String,
    /// The run that continues, or that had the same inputs.
    pub batch_run_id: Option<RunId>,
    /// What else to know before the run, one sentence part each: where the equity of a night comes from that is not the
    /// newest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl NeededNight {
    /// A night without any run.
    #[must_use]
    pub fn first(as_of: NaiveDate, portfolios: &[PortfolioId]) -> Self {
        let (action, reason) = (NightAction::Run, "no run yet".to_owned());
        Self { as_of, action, portfolios: sorted(portfolios), reason, batch_run_id: None, notes: Vec::new() }
    }

    /// The nights of a request of which nothing is on record yet.
    #[must_use]
    pub fn all_first(dates: &[NaiveDate], portfolios: &[PortfolioId], book: &Book) -> Vec<Self> {
        let newest = dates.iter().max();
        let first = |as_of: &NaiveDate| {
            let night = Self::first(*as_of, portfolios);
            let is_older = Some(as_of) < newest;
            let notes = is_older.then(|| equity_notes(book, *as_of, &night.portfolios, &BTreeMap::new()));
            Self { notes: notes.unwrap_or_default(), ..night }
        };
        dates.iter().map(first).collect()
    }
}

/// The decision on one night.
#[derive(Debug, Clone)]
pub(crate) enum Needed {
    /// This open run of the same request continues.
    Continue(Box<Run>),
    /// This closed run had the same inputs, and the night still shows its results.
    Current(Box<Run>),
    /// A new run.
    New(NewRun),
}

/// Why and for which portfolios a new run is needed.
#[derive(Debug, Clone)]
pub(crate) struct NewRun {
    /// Whether runs of the date are on record already.
    pub(crate) repeats: bool,
    /// The portfolios whose inputs no run had, where nothing else of the night changed: not all, and maybe none.
    pub(crate) only: Option<Vec<PortfolioId>>,
    /// Why, in one sentence part.
    pub(crate) reason: String,
}

/// Looks up what must run.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// The records.
    pub store: &'a dyn RunStore,
    /// The pinned inputs of runs of releases that sealed no hashes.
    pub documents: &'a dyn Documents,
    /// The book as it is now.
    pub book: &'a Arc<Book>,
    /// The present time.
    pub now: DateTime<Utc>,
}

impl std::fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("book", &self.book.content_hash).finish_non_exhaustive()
    }
}

/// A closed run of the night, with the hashes of its portfolios.
struct Closed {
    run: Run,
    members: Option<NightMembers>,
    hashes: BTreeMap<PortfolioId, ContentHash>,
}

impl Lookup<'_> {
    /// What is to be done for each of these dates, in their order. With `narrow` a night of which only the inputs of some
    /// portfolios changed runs only these, and one whose portfolios all have a run with the same inputs runs none.
    ///
    /// # Errors
    /// The store.
    pub async fn nights(
        &self,
        dates: &[NaiveDate],
        wanted: Wanted<'_>,
        narrow: bool,
    ) -> Result<Vec<NeededNight>, StoreError> {
        let mut nights = Vec::with_capacity(dates.len());
        for as_of in dates {
            let (action, portfolios, reason, run) = match self.night(*as_of, wanted).await? {
                Needed::Continue(run) => {
                    (NightAction::Continue, run.filter.clone(), "its run is open".to_owned(), Some(run.batch_run_id))
                }
                Needed::Current(run) => {
                    let reason = format!("run {} had the same inputs", run.batch_run_id.short());
                    (NightAction::LeaveOut, sorted(wanted.portfolios), reason, Some(run.batch_run_id))
                }
                Needed::New(NewRun { only: Some(only), reason, .. }) if narrow && only.is_empty() => {
                    (NightAction::LeaveOut, only, reason, None)
                }
                Needed::New(NewRun { only, reason, .. }) => {
                    let only = only.filter(|_| narrow).unwrap_or_else(|| sorted(wanted.portfolios));
                    (NightAction::Run, only, reason, None)
                }
            };
            let notes = match action {
                NightAction::Run => self.notes(*as_of, &portfolios, dates).await?,
                NightAction::Continue | NightAction::LeaveOut => Vec::new(),
            };
            nights.push(NeededNight { as_of: *as_of, action, portfolios, reason, batch_run_id: run, notes });
        }
        Ok(nights)
    }

    /// What to know about the equity of a night to run, where a later one is on record or among these dates.
    async fn notes(
        &self,
        as_of: NaiveDate,
        portfolios: &[PortfolioId],
        dates: &[NaiveDate],
    ) -> Result<Vec<String>, StoreError> {
        let key = self.key(as_of);
        let is_older =
            dates.iter().any(|date| *date > as_of) || later_night_on_record(self.store, &key, self.now).await?;
        if !is_older {
            return Ok(Vec::new());
        }
        let pinned = kept_equity(self.store, &key, self.now).await?;
        Ok(equity_notes(self.book, as_of, portfolios, &pinned))
    }

    fn key(&self, as_of: NaiveDate) -> NightKey {
        NightKey { series: self.book.settings.schedule.night_series().clone(), as_of }
    }

    /// The decision on one night, in this order: an open run of the same request; a closed run with the same inputs;
    /// a new run.
    pub(crate) async fn night(&self, as_of: NaiveDate, wanted: Wanted<'_>) -> Result<Needed, StoreError> {
        let filter = sorted(wanted.portfolios);
        let runs = self.runs_of(as_of).await?;
        let is_same = |run: &&Run| is_by_hand(run) && run.trigger == wanted.trigger && sorted(&run.filter) == filter;
        // With `again` an open repeat is what an interrupted command of the same words has left.
        let continues = |run: &&Run| !run.has_ended() && (!wanted.again || run.repeat > 0);
        if let Some(open) = runs.iter().rev().filter(is_same).find(continues) {
            return Ok(Needed::Continue(Box::new(open.clone())));
        }
        let repeats = !runs.is_empty();
        let new = |reason: String| Ok(Needed::New(NewRun { repeats, only: None, reason }));
        if wanted.again && repeats {
            return new("--again was given".to_owned());
        }
        let closed: Vec<&Run> = runs.iter().filter(|run| plan_read(run).is_some()).collect();
        let Some(newest) = closed.last() else {
            return new(if repeats { "no run of the night had inputs" } else { "no run yet" }.to_owned());
        };
        // Closes from outside may have come since a run that did not have those of the date.
        let complete = |run: &&Run| {
            let sealed = plan_read(run).and_then(|plan| plan.night.as_ref());
            self.book.settings.http_prices.is_none()
                || sealed.and_then(|night| night.newest_close).is_some_and(|newest| newest >= as_of)
        };
        if let Some(run) = self.on_the_same_book(&closed, &filter).filter(complete) {
            return Ok(Needed::Current(Box::new(run.clone())));
        }
        if self.book.settings.http_prices.is_some() {
            // Closes from outside are not known before they are fetched.
            return new(format!("the book changed since run {}", newest.batch_run_id.short()));
        }
        self.by_hashes(as_of, &filter, closed).await
    }

    /// The runs of the night, oldest first.
    async fn runs_of(&self, as_of: NaiveDate) -> Result<Vec<Run>, StoreError> {
        let page = self.store.runs(&RunQuery { as_of: Some(as_of), ..RunQuery::default() }).await?;
        let series = self.book.settings.schedule.night_series();
        let mut runs: Vec<Run> =
            page.runs.into_iter().map(|stored| stored.run).filter(|run| run.night_series() == series).collect();
        runs.sort_by_key(|run| (run.started_at, run.batch_run_id));
        Ok(runs)
    }

    /// A run on the very same book that no run on another book has followed.
    fn on_the_same_book<'r>(&self, closed: &[&'r Run], filter: &[PortfolioId]) -> Option<&'r Run> {
        let same = |run: &&&Run| plan_read(run).is_some_and(|plan| plan.book == self.book.content_hash);
        let whole = |run: &&&Run| run.cancelled_at.is_none() && answers(run, filter);
        closed.iter().rev().take_while(same).find(whole).copied()
    }

    async fn by_hashes(
        &self,
        as_of: NaiveDate,
        filter: &[PortfolioId],
        closed: Vec<&Run>,
    ) -> Result<Needed, StoreError> {
        let kept_equity = kept_equity(self.store, &self.key(as_of), self.now).await?;
        let before = NightBefore { kept_equity, ..NightBefore::default() };
        let planned = planned_night(Arc::clone(self.book), as_of, filter.to_vec(), before).await?;
        let mut known = Vec::with_capacity(closed.len());
        for run in closed {
            let mut closed = self.hashes_of(run).await?;
            let judged =
                closed.members.as_ref().map(|members| judged_differently(self.book, as_of, &planned.members, members));
            for id in judged.into_iter().flatten() {
                // The same inputs, and the controls would say something else: an exit or a flow is recorded by now.
                if let Some(hash) = closed.hashes.get_mut(&id) {
                    *hash = ContentHash::of(format!("judged differently: {hash}").as_bytes());
                }
            }
            known.push(closed);
        }
        Ok(compare(as_of, filter, &planned, &known))
    }

    async fn hashes_of(&self, run: &Run) -> Result<Closed, StoreError> {
        let members = sealed_members(self.store, run).await?;
        let of_members = members.iter().flat_map(|members| &members.open);
        let mut hashes: BTreeMap<PortfolioId, ContentHash> =
            of_members.filter_map(|(id, member)| Some((id.clone(), member.inputs.clone()?))).collect();
        if let (true, Some(plan)) = (hashes.is_empty(), &run.plan) {
            hashes = stored_input_hashes(self.documents, &plan.snapshot).await?.unwrap_or_default();
        }
        // A rerun has the members of its original, and runs some of them.
        hashes.retain(|id, _| run.filter.is_empty() || run.filter.contains(id));
        Ok(Closed { run: run.clone(), members, hashes })
    }
}

/// Compares what a run would see now with what the closed runs of the night saw.
fn compare(as_of: NaiveDate, filter: &[PortfolioId], planned: &PinnedNight, known: &[Closed]) -> Needed {
    let open = planned.members.open.iter();
    let now: BTreeMap<&PortfolioId, &ContentHash> =
        open.filter_map(|(id, member)| Some((id, member.inputs.as_ref()?))).collect();
    let decides = |id: &PortfolioId| {
        // A run that was canceled decides nothing that it did not finish.
        let whole = known.iter().rev().filter(|closed| closed.run.cancelled_at.is_none());
        whole.filter_map(|closed| closed.hashes.get(id)).next()
    };
    let changed: BTreeSet<&PortfolioId> =
        now.iter().filter(|(id, hash)| decides(id) != Some(**hash)).map(|(id, _)| *id).collect();
    let overtaken = now.iter().any(|(id, hash)| decides(id).is_some_and(|decided| decided != *hash));
    let is_current = |closed: &&Closed| {
        closed.run.cancelled_at.is_none()
            && answers(&closed.run, filter)
            && now.iter().all(|(id, hash)| closed.hashes.get(*id) == Some(*hash))
            && (!filter.is_empty() || is_whole(as_of, closed, planned, now.len()))
    };
    if let Some(closed) = known.iter().rev().filter(|_| !overtaken).find(is_current) {
        return Needed::Current(Box::new(closed.run.clone()));
    }
    let full = known.iter().rev().find(|closed| closed.run.filter.is_empty());
    let beside = full.is_some_and(|full| is_whole(as_of, full, planned, now.len()));
    let newest = full.or(known.last()).map(|closed| closed.run.batch_run_id.short()).unwrap_or_default();
    let (all, part) = (now.len(), changed.len());
    let reason = match (part, beside || !filter.is_empty()) {
        (0, true) => "several runs together had the same inputs".to_owned(),
        (0, false) => {
            format!("the portfolios, the newest close or the files of the book changed since run {newest}")
        }
        (1, _) => format!("the inputs of 1 of {all} portfolios changed since run {newest}"),
        _ => format!("the inputs of {part} of {all} portfolios changed since run {newest}"),
    };
    let narrow = filter.is_empty() && beside && part < all;
    let only = narrow.then(|| changed.into_iter().cloned().collect());
    Needed::New(NewRun { repeats: true, only, reason })
}

/// Whether a full run saw the same book beside the inputs of its portfolios.
fn is_whole(as_of: NaiveDate, closed: &Closed, planned: &PinnedNight, portfolios: usize) -> bool {
    let sealed = closed.run.plan.as_ref().and_then(|plan| plan.night.as_ref());
    match (&closed.members, sealed) {
        (Some(members), Some(sealed)) => same_beside(as_of, members, sealed.newest_close, planned),
        _ => closed.hashes.len() == portfolios,
    }
}

/// Whether a run can answer a request for these portfolios (empty: all).
fn answers(run: &Run, filter: &[PortfolioId]) -> bool {
    run.filter.is_empty() || (!filter.is_empty() && filter.iter().all(|id| run.filter.contains(id)))
}

/// The plan of a closed run whose prices could be read.
fn plan_read(run: &Run) -> Option<&SealedPlan> {
    run.plan.as_ref().filter(|plan| run.is_closed() && plan.market_data.error.is_none())
}

/// Whether somebody asked for the run: it is neither of a slot nor a rerun.
fn is_by_hand(run: &Run) -> bool {
    run.rerun_of.is_none() && !run.is_scheduled()
}

/// A filter as runs are compared by it.
pub(crate) fn sorted(portfolios: &[PortfolioId]) -> Vec<PortfolioId> {
    let mut sorted = portfolios.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}
