//! What a plan seals for the night, from the book and the pinned inputs of a run.

use std::collections::BTreeMap;

use book::{Book, Portfolio};
use chrono::NaiveDate;
use domain::ids::{ContentHash, PortfolioId};
use domain::night::{Member, NightBefore, NightMembers, PinnedNight};

use crate::controls::{self, Planned};
use crate::snapshot::Snapshot;

/// What the plan of a run on this book seals for the night. `snapshot` is what is pinned for the run, `inputs` the hash
/// of everything that the run can see.
pub(crate) fn pinned_night(
    book: &Book,
    snapshot: &Snapshot,
    inputs: ContentHash,
    before: &NightBefore,
    filtered: bool,
) -> PinnedNight {
    let as_of = snapshot.as_of;
    let portfolios = book.portfolios.iter().filter(|portfolio| !portfolio.is_closed(as_of));
    let open: BTreeMap<PortfolioId, Member> =
        portfolios.map(|portfolio| (portfolio.id.clone(), member(portfolio, as_of, before))).collect();
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
    PinnedNight { members, inputs, newest_close, restatement_tolerance: book.settings.restatement.tolerance }
}

fn member(portfolio: &Portfolio, as_of: NaiveDate, before: &NightBefore) -> Member {
    Member {
        inputs: None,
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
