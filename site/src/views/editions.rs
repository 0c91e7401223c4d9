//! Restated figures: what a later run of a night changed, and why.

use domain::ids::PortfolioId;
use domain::night::Edition;
use serde::Serialize;

use super::figures::written_change;
use super::night::{RunRef, run_ref};
use crate::gather::RunHead;
use crate::text::decimal;

/// Changed figures and inputs that a page lists for one edition.
const MOST: usize = 20;

/// A figure that an edition changed, before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ChangedLine {
    /// The portfolio where a page lists more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) portfolio: Option<String>,
    pub(crate) figure: String,
    pub(crate) was: String,
    pub(crate) now: String,
}

/// One edition after the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EditionLine {
    pub(crate) number: u64,
    /// The date on which its run was closed.
    pub(crate) on: String,
    pub(crate) run: RunRef,
    pub(crate) portfolios: u64,
    pub(crate) changed: Vec<ChangedLine>,
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

/// The first changed figures; of one portfolio alone, without its id, where it is given.
fn changed(edition: &Edition, portfolio: Option<&PortfolioId>, most: usize) -> Vec<ChangedLine> {
    let own = edition.changed.iter().filter(|figure| portfolio.is_none_or(|id| figure.portfolio_id == *id));
    own.take(most)
        .map(|changed| {
            let (figure, was, now) = written_change(&changed.figure, changed.was, changed.now);
            let portfolio = portfolio.is_none().then(|| changed.portfolio_id.to_string());
            ChangedLine { portfolio, figure, was, now }
        })
        .collect()
}

/// The first changed figures of an edition, one text each: `p001: Profit and loss −6,869 → −97,887`.
pub(crate) fn changed_texts(edition: &Edition, most: usize) -> Vec<String> {
    let text = |line: ChangedLine| {
        let whose = line.portfolio.map_or_else(String::new, |portfolio| format!("{portfolio}: "));
        format!("{whose}{} {} → {}", line.figure, line.was, line.now)
    };
    changed(edition, None, most).into_iter().map(text).collect()
}
