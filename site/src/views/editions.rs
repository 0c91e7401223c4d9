//! Restated figures: what a later run of a night changed, and why.

use domain::ids::PortfolioId;
use domain::night::Edition;
use serde::Serialize;

use super::figures::written_figure;
use super::night::{RunRef, run_ref};
use crate::gather::RunHead;
use crate::text::decimal;

/// Changed figures and inputs that a page lists for one edition.
const MOST: usize = 20;

/// One edition after the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EditionLine {
    pub(crate) number: u64,
    /// The date on which its run was closed.
    pub(crate) on: String,
    pub(crate) run: RunRef,
    pub(crate) portfolios: u64,
    /// `p001: Profit and loss −6,869 → −97,887`.
    pub(crate) changed: Vec<String>,
    pub(crate) more: u64,
    /// What changed in the inputs; empty: it is not known.
    pub(crate) why: Vec<String>,
}

/// The editions of a night after the first, newest first; of one portfolio alone where it is given.
pub(crate) fn lines(editions: &[Edition], portfolio: Option<&PortfolioId>, runs: &[RunHead]) -> Vec<EditionLine> {
    let of = |edition: &&Edition| portfolio.is_none_or(|id| edition.portfolios.contains(id));
    editions.iter().rev().filter(of).map(|edition| line(edition, portfolio, runs)).collect()
}

fn line(edition: &Edition, portfolio: Option<&PortfolioId>, runs: &[RunHead]) -> EditionLine {
    let changed = changed(edition, portfolio, MOST);
    let more = if portfolio.is_some() { 0 } else { edition.changed_count.saturating_sub(changed.len() as u64) };
    EditionLine {
        number: edition.number,
        on: edition.at.date_naive().to_string(),
        run: run_ref(edition.batch_run_id, runs),
        portfolios: edition.portfolios.len() as u64,
        changed,
        more,
        why: edition.why.lines(&decimal),
    }
}

/// The first changed figures, one line each; of one portfolio alone, without its id, where it is given.
pub(crate) fn changed(edition: &Edition, portfolio: Option<&PortfolioId>, most: usize) -> Vec<String> {
    let own = edition.changed.iter().filter(|figure| portfolio.is_none_or(|id| figure.portfolio_id == *id));
    own.take(most)
        .map(|figure| {
            let (label, was) = written_figure(&figure.figure, figure.was);
            let (_, now) = written_figure(&figure.figure, figure.now);
            let whose = if portfolio.is_some() { String::new() } else { format!("{}: ", figure.portfolio_id) };
            format!("{whose}{label} {was} → {now}")
        })
        .collect()
}
