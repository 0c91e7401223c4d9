//! What a plan says about the equity of a night for which `equity.csv` has no row of the date.

use std::collections::BTreeMap;

use book::Book;
use chrono::NaiveDate;
use domain::ids::PortfolioId;
use jobs::{EquityBasis, EquityDate, equity_bases};

/// Where the equity of a night comes from, as far as `equity.csv` has no row of the date: one sentence part each.
///
/// `portfolios` are those of the run; empty: all. `pinned` is the usable equity that the newest full run of the night
/// pinned, where a later night is on record.
pub(super) fn equity_notes(
    book: &Book,
    as_of: NaiveDate,
    portfolios: &[PortfolioId],
    pinned: &BTreeMap<PortfolioId, f64>,
) -> Vec<String> {
    let bases = equity_bases(book, EquityDate::of(book, as_of, pinned), portfolios);
    let of = |basis: EquityBasis| bases.get(&basis).copied();
    let kept = of(EquityBasis::Pinned).map(|count| match count {
        1 => "1 portfolio keeps the equity of the newest full run".to_owned(),
        n => format!("{n} portfolios keep the equity of the newest full run"),
    });
    let undated = of(EquityBasis::Undated).map(|count| match count {
        1 => "1 portfolio has no equity of the date: that of portfolios.csv counts".to_owned(),
        n => format!("{n} portfolios have no equity of the date: that of portfolios.csv counts"),
    });
    let carried = of(EquityBasis::Carried).map(|count| match count {
        1 => "1 portfolio has no equity of the date: its newest row of equity.csv counts".to_owned(),
        n => format!("{n} portfolios have no equity of the date: their newest rows of equity.csv count"),
    });
    [carried, kept, undated].into_iter().flatten().collect()
}
