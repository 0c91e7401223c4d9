//! What a plan seals for the night, from the book and the pinned inputs of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use book::{Book, Portfolio};
use chrono::NaiveDate;
use domain::ids::{ContentHash, PortfolioId};
use domain::night::{Member, NightBefore, NightMembers, PinnedNight};
use domain::ports::{Documents, StoreError};

use crate::controls::{self, Planned};
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
        let snapshot = Snapshot::without_fits(&book, as_of, &filter);
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
    let open: BTreeMap<PortfolioId, Member> =
        portfolios.map(|portfolio| (portfolio.id.clone(), member(portfolio, as_of, &hashes, before))).collect();
    let closures = book.portfolios.iter().filter_map(|portfolio| Some((portfolio.id.clone(), portfolio.closed_on?)));
    let mut members = NightMembers {
        open,
        closures: closures.collect(),
        expected_before: before.expected.clone(),
        controls: Vec::new(),
    };
    let newest_close = newest_close(book, as_of);
    let planned = Planned { book, snapshot, members: &members, before, newest_close, filtered };
    members.controls = controls::evaluate(&planned);
    let inputs = run_hash(as_of, &members, newest_close);
    PinnedNight { members, inputs, newest_close, restatement_tolerance: book.settings.restatement.tolerance }
}

fn member(
    portfolio: &Portfolio,
    as_of: NaiveDate,
    hashes: &BTreeMap<PortfolioId, ContentHash>,
    before: &NightBefore,
) -> Member {
    Member {
        inputs: hashes.get(&portfolio.id).cloned(),
        has_unusable_rows: !portfolio.issues.is_empty(),
        rows: portfolio.positions.iter().filter(|lot| lot.is_active(as_of)).count() as u64,
        equity: portfolio.equity.filter(|equity| *equity > 0.0),
        rows_before: before.rows.get(&portfolio.id).copied(),
        equity_before: before.equity.get(&portfolio.id).copied(),
    }
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
