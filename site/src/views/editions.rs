//! Restated figures: what a later run of a night changed, and why.

use domain::ids::PortfolioId;
use domain::night::editions::{ChangedClose, ChangedEquity, ChangedLots, Edition, Why};
use serde::Serialize;

use super::figures::written_change;
use super::night::{RunRef, run_ref};
use crate::gather::RunHead;
use crate::text::{count, decimal};

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
    let own = edition.changed.iter().filter(|figure| portfolio.is_none_or(|id| figure.portfolio_id == *id));
    let changed: Vec<ChangedLine> = own
        .take(MOST)
        .map(|changed| {
            let (figure, was, now) = written_change(&changed.figure, changed.was, changed.now);
            let portfolio = portfolio.is_none().then(|| changed.portfolio_id.to_string());
            ChangedLine { portfolio, figure, was, now }
        })
        .collect();
    let more = if portfolio.is_some() { 0 } else { edition.changed_count.saturating_sub(changed.len() as u64) };
    EditionLine {
        number: edition.number,
        on: edition.at.date_naive().to_string(),
        run: run_ref(edition.batch_run_id, runs),
        portfolios: edition.portfolios.len() as u64,
        changed,
        more,
        why: why(&edition.why),
    }
}

fn why(why: &Why) -> Vec<String> {
    let Why::Changes(changes) = why else { return Vec::new() };
    let value = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), decimal);
    let arrow = |was: Option<f64>, now: Option<f64>| format!("{} → {}", value(was), value(now));
    let close = |c: &ChangedClose| format!("close of {} on {}: {}", c.symbol, c.date, arrow(c.was, c.now));
    let lots = |l: &ChangedLots| format!("quantity of {} in {}: {}", l.symbol, l.portfolio_id, arrow(l.was, l.now));
    let equity = |e: &ChangedEquity| format!("equity of {}: {}", e.portfolio_id, arrow(e.was, e.now));
    let more = |listed: usize, all: u64, what: &str| {
        let more = all.saturating_sub(listed as u64);
        (more > 0).then(|| count(more, what))
    };
    let mut all: Vec<String> = changes.closes.iter().map(close).collect();
    all.extend(more(changes.closes.len(), changes.closes_count, "more changed close"));
    all.extend(changes.lots.iter().map(lots));
    all.extend(more(changes.lots.len(), changes.lots_count, "more changed position"));
    all.extend(changes.equity.iter().map(equity));
    all.extend(changes.settings.iter().map(|section| format!("settings: [{section}]")));
    all.extend(
        changes.nightbook_version.as_ref().map(|version| format!("Nightbook {} → {}", version.was, version.now)),
    );
    all
}
