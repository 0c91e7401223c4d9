//! The equity of a portfolio on a trading date: the one place that decides which one counts.

use std::collections::BTreeMap;

use book::Portfolio;
use chrono::NaiveDate;
use domain::ids::PortfolioId;

/// Where the equity of a trading date comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EquityBasis {
    /// The newest row of `equity.csv` that is not after the date.
    Dated,
    /// The newest full run of the date pinned it, and a later night is on record.
    Pinned,
    /// `portfolios.csv`, which states no date.
    Undated,
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
    /// The equity of a portfolio on a trading date. `pinned` is what the newest full run of the date pinned; it is empty
    /// where no later night is on record.
    pub(crate) fn of(portfolio: &Portfolio, as_of: NaiveDate, pinned: &BTreeMap<PortfolioId, f64>) -> Self {
        if let Some((on, value)) = portfolio.dated_equity(as_of) {
            return Self { value: Some(value), on, basis: EquityBasis::Dated };
        }
        match pinned.get(&portfolio.id) {
            Some(value) => Self { value: Some(*value), on: as_of, basis: EquityBasis::Pinned },
            None => Self { value: portfolio.equity, on: as_of, basis: EquityBasis::Undated },
        }
    }

    /// The equity, if jobs can divide by it.
    pub(crate) fn usable(&self) -> Option<f64> {
        self.value.filter(|value| *value > 0.0)
    }
}

/// How many open portfolios have an equity of each basis on a trading date. Portfolios without an equity do not count.
/// `only` are the portfolios that count; empty: all.
#[must_use]
pub fn equity_bases(
    portfolios: &[Portfolio],
    as_of: NaiveDate,
    only: &[PortfolioId],
    pinned: &BTreeMap<PortfolioId, f64>,
) -> BTreeMap<EquityBasis, u64> {
    let mut bases = BTreeMap::new();
    let counts = |portfolio: &&Portfolio| only.is_empty() || only.contains(&portfolio.id);
    for portfolio in portfolios.iter().filter(counts).filter(|portfolio| !portfolio.is_closed(as_of)) {
        let equity = Equity::of(portfolio, as_of, pinned);
        if equity.value.is_some() {
            *bases.entry(equity.basis).or_default() += 1;
        }
    }
    bases
}
