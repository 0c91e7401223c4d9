//! What a plan seals for the night, from the book and the pinned inputs of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use book::{Book, Portfolio};
use chrono::NaiveDate;
use domain::ids::{ContentHash, PortfolioId};
use domain::night::expected::not_in_book;
use domain::night::{ControlResult, EarlierValues, Member, NightBefore, NightMembers, PinnedNight};
use domain::ports::{Documents, StoreError};

use crate::controls::{self, Planned};
use crate::equity::{Equity, EquityDate};
use crate::input_hashes::{input_hashes, run_hash};
use crate::snapshot::Snapshot;

/// What the plan of a run on this book would seal for the night, without a run: to see which nights have to run.
///
/// # Errors
/// [`StoreError::Unavailable`] where the work cannot be done in the background.
pub async fn planned_night(
    book: Arc<Book>,
    as_of: NaiveDate,
    filter: Vec<PortfolioId>,
    before: NightBefore,
) -> Result<PinnedNight, StoreError> {
    let work = move || {
        let snapshot = Snapshot::without_fits(&book, as_of, &filter, &before.kept_equity);
        pinned_night(&book, &snapshot, &before, !filter.is_empty())
    };
    tokio::task::spawn_blocking(work).await.map_err(in_the_background)
}

/// The hashes of the portfolios in stored inputs, for plans that sealed none; `None` where the inputs are gone or of a
/// release whose format is not read any more.
///
/// # Errors
/// The store.
pub async fn stored_input_hashes(
    documents: &dyn Documents,
    snapshot: &ContentHash,
) -> Result<Option<BTreeMap<PortfolioId, ContentHash>>, StoreError> {
    let bytes = match documents.snapshot(snapshot).await {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let work = move || Snapshot::decode(&bytes).ok().map(|snapshot| input_hashes(&snapshot));
    tokio::task::spawn_blocking(work).await.map_err(in_the_background)
}

fn in_the_background(error: tokio::task::JoinError) -> StoreError {
    StoreError::Unavailable { doing: "compare the inputs of a night".to_owned(), source: Box::new(error) }
}

/// What the plan of a run on this book seals for the night. `snapshot` is what is pinned for the run, which is `filtered`
/// where it has not all portfolios.
pub(crate) fn pinned_night(book: &Book, snapshot: &Snapshot, before: &NightBefore, filtered: bool) -> PinnedNight {
    let as_of = snapshot.as_of;
    let hashes = input_hashes(snapshot);
    let portfolios = book.portfolios.iter().filter(|portfolio| !portfolio.is_closed(as_of));
    let date = EquityDate::of(book, as_of, &before.kept_equity);
    let open: BTreeMap<PortfolioId, Member> =
        portfolios.map(|portfolio| (portfolio.id.clone(), member(portfolio, date, &hashes, before))).collect();
    let closures = book.portfolios.iter().filter_map(|portfolio| Some((portfolio.id.clone(), portfolio.closed_on?)));
    let mut members = NightMembers {
        open,
        closures: closures.collect(),
        expected_before: before.expected.clone(),
        earlier: BTreeMap::new(),
        limits: controls::limits::sealed(book, as_of),
        breaches: BTreeMap::new(),
        controls: Vec::new(),
    };
    members.earlier = earlier_of_absent(&members, before, as_of);
    if !members.limits.is_empty() {
        members.breaches = controls::limits::ages(book, before, as_of);
    }
    let newest_close = newest_close(book, as_of);
    let planned = Planned { book, snapshot, members: &members, before, newest_close, filtered };
    members.controls = controls::evaluate(&planned);
    let inputs = run_hash(as_of, &members, newest_close);
    PinnedNight { members, inputs, newest_close, restatement_tolerance: book.settings.restatement.tolerance }
}

fn member(
    portfolio: &Portfolio,
    date: EquityDate<'_>,
    hashes: &BTreeMap<PortfolioId, ContentHash>,
    before: &NightBefore,
) -> Member {
    let (equity, as_of) = (Equity::of(portfolio, date), date.as_of());
    Member {
        inputs: hashes.get(&portfolio.id).cloned(),
        has_unusable_rows: portfolio.issues_as_of(as_of).next().is_some(),
        rows: portfolio.positions.iter().filter(|lot| lot.is_active(as_of)).count() as u64,
        equity: equity.usable(),
        equity_on: (equity.on != as_of).then_some(equity.on),
        rows_before: before.rows.get(&portfolio.id).copied(),
        equity_before: before.equity.get(&portfolio.id).copied(),
    }
}

/// What later nights compare an absent portfolio with once it is back: what this night would have compared it with.
fn earlier_of_absent(
    members: &NightMembers,
    before: &NightBefore,
    as_of: NaiveDate,
) -> BTreeMap<PortfolioId, EarlierValues> {
    let absent = not_in_book(members, as_of).into_iter();
    let values = absent.map(|id| {
        let (rows, equity) = (before.rows.get(&id).copied(), before.equity.get(&id).copied());
        (id, EarlierValues { rows, equity })
    });
    values.filter(|(_, values)| *values != EarlierValues::default()).collect()
}

/// The portfolios that the controls would judge differently now than a run of the same date did.
///
/// Only controls that compare with an earlier night count. `recorded` is what that run sealed, `planned` what a run would
/// seal now. Both are compared with the earlier night that the recorded run had: a later backfill changes no other night.
#[must_use]
pub fn judged_differently(
    book: &Book,
    as_of: NaiveDate,
    planned: &NightMembers,
    recorded: &NightMembers,
) -> BTreeSet<PortfolioId> {
    let mut results: BTreeMap<&PortfolioId, Vec<&ControlResult>> = BTreeMap::new();
    for result in recorded.controls.iter().filter(|result| controls::compares(result.control)) {
        if let Some(id) = &result.portfolio_id {
            results.entry(id).or_default().push(result);
        }
    }
    let differs = |(id, now): &(&PortfolioId, &Member)| {
        let (Some(portfolio), Some(then)) = (book.portfolio(id), recorded.open.get(*id)) else { return false };
        if now.inputs.is_none() || then.inputs.is_none() {
            return false;
        }
        let recorded = results.get(id).map_or(&[][..], Vec::as_slice);
        let (rows_before, equity_before) = (then.rows_before, then.equity_before);
        let member = Member { rows_before, equity_before, ..(*now).clone() };
        let judged =
            if now.has_unusable_rows { Vec::new() } else { controls::compared(book, portfolio, &member, as_of) };
        judged.len() != recorded.len()
            || !judged.iter().all(|one| recorded.iter().any(|other| same_finding(one, other)))
    };
    planned.open.iter().filter(differs).map(|(id, _)| id.clone()).collect()
}

/// Whether two results say the same. The wording may differ.
fn same_finding(one: &ControlResult, other: &ControlResult) -> bool {
    (one.control, one.level, &one.observed, &one.limit) == (other.control, other.level, &other.observed, &other.limit)
}

/// The newest close of the book that is not after this date.
fn newest_close(book: &Book, as_of: NaiveDate) -> Option<NaiveDate> {
    let newest = |symbol: &str| {
        let series = book.prices.series(symbol)?;
        let until = series.partition_point(|point| point.date <= as_of);
        series[..until].last().map(|point| point.date)
    };
    book.prices.symbols().filter_map(newest).max()
}
