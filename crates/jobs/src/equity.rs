//! The equity of a portfolio on a trading date: the one place that decides which one counts.

use std::collections::BTreeMap;

use book::{Book, Portfolio};
use chrono::NaiveDate;
use domain::ids::PortfolioId;

/// Where the equity of a trading date comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EquityBasis {
    /// The row of the date in `equity.csv`.
    Dated,
    /// The newest row before the date in `equity.csv`.
    Carried,
    /// The newest full run of the date pinned it, and a later night is on record.
    Pinned,
    /// `portfolios.csv`, which states no date.
    Undated,
}

impl EquityBasis {
    /// Whether a row of `equity.csv` states it.
    pub(crate) const fn is_row(self) -> bool {
        matches!(self, Self::Dated | Self::Carried)
    }
}

/// A trading date, and what counts on it beside the book.
#[derive(Debug, Clone, Copy)]
pub struct EquityDate<'a> {
    as_of: NaiveDate,
    previous_session: NaiveDate,
    pinned: &'a BTreeMap<PortfolioId, f64>,
}

impl<'a> EquityDate<'a> {
    /// A trading date of a book. `pinned` is the usable equity that the newest full run of the date pinned; it is empty
    /// where no later night is on record.
    #[must_use]
    pub fn of(book: &Book, as_of: NaiveDate, pinned: &'a BTreeMap<PortfolioId, f64>) -> Self {
        Self { as_of, previous_session: book.settings.schedule.previous_session(as_of), pinned }
    }

    pub(crate) const fn as_of(self) -> NaiveDate {
        self.as_of
    }
}

/// The equity of a portfolio on a trading date.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Equity {
    /// The net asset value; `None` if the book has none.
    pub(crate) value: Option<f64>,
    /// The date that the value is of: that of its row, or the trading date where it states none.
    pub(crate) on: NaiveDate,
    /// Where it comes from.
    pub(crate) basis: EquityBasis,
}

impl Equity {
    /// The equity of a portfolio on a trading date.
    ///
    /// A row before the date counts for the newest night if it is of the session before, since a net asset value may come a
    /// day late. Otherwise it counts only where `portfolios.csv` states no equity: it is the correction of its own date.
    pub(crate) fn of(portfolio: &Portfolio, date: EquityDate<'_>) -> Self {
        let EquityDate { as_of, previous_session, pinned } = date;
        let row = portfolio.dated_equity(as_of).map(|(on, value)| {
            let basis = if on == as_of { EquityBasis::Dated } else { EquityBasis::Carried };
            Self { value: Some(value), on, basis }
        });
        if let Some(row) = row.filter(|row| row.on == as_of || portfolio.equity.is_none()) {
            return row;
        }
        if let Some(value) = pinned.get(&portfolio.id) {
            return Self { value: Some(*value), on: as_of, basis: EquityBasis::Pinned };
        }
        let undated = Self { value: portfolio.equity, on: as_of, basis: EquityBasis::Undated };
        row.filter(|row| row.on >= previous_session).unwrap_or(undated)
    }

    /// The equity, if jobs can divide by it.
    pub(crate) fn usable(&self) -> Option<f64> {
        self.value.filter(|value| *value > 0.0)
    }
}

/// How many open portfolios have an equity of each basis on a trading date. Portfolios without an equity do not count.
/// `only` are the portfolios that count; empty: all.
#[must_use]
pub fn equity_bases(book: &Book, date: EquityDate<'_>, only: &[PortfolioId]) -> BTreeMap<EquityBasis, u64> {
    let mut bases = BTreeMap::new();
    let counts = |portfolio: &&Portfolio| only.is_empty() || only.contains(&portfolio.id);
    for portfolio in book.portfolios.iter().filter(counts).filter(|portfolio| !portfolio.is_closed(date.as_of)) {
        let equity = Equity::of(portfolio, date);
        if equity.value.is_some() {
            *bases.entry(equity.basis).or_default() += 1;
        }
    }
    bases
}
