//! The controls that planning evaluates: what went into a run, judged before any job runs.
//!
//! A control is one file with one function, and one line in [`AT_PLANNING`]; [`limits`] only seals what is judged later. It gets what is [`Planned`] and its limits
//! from `[controls]`, and returns only what is not `ok`. Each result names what the control saw, the limit, and what to do.

mod equity;
mod freshness;
mod input_end;
pub(crate) mod limits;
mod listings;
mod newest_close;
mod orphans;
mod portfolios;
mod positions;
mod price_history;
mod price_jump;
#[cfg(test)]
mod tests;
mod unchanged;

use book::{Book, Limits, Portfolio, PricePoint};
use chrono::NaiveDate;
use domain::night::{Control, ControlResult, ControlValue, Level, Member, NightBefore, NightMembers};
use domain::redact::redact_line;

use crate::snapshot::{PinnedPortfolio, Snapshot};

/// Portfolios, symbols or files up to which a message names each one.
const NAMED: usize = 3;

/// What a run is planned on.
pub(crate) struct Planned<'a> {
    /// The book, with the closes of the price source.
    pub(crate) book: &'a Book,
    /// What is pinned of it for the run.
    pub(crate) snapshot: &'a Snapshot,
    /// The open portfolios of the whole book, without control results.
    pub(crate) members: &'a NightMembers,
    /// The newest earlier night.
    pub(crate) before: &'a NightBefore,
    /// The newest date with a close that is not after the trading date.
    pub(crate) newest_close: Option<NaiveDate>,
    /// Whether the run is for some portfolios only.
    pub(crate) filtered: bool,
}

/// A control that planning evaluates.
struct AtPlanning {
    control: Control,
    /// Whether it judges the whole book: a filtered run does not evaluate it.
    whole_book: bool,
    evaluate: fn(&Planned<'_>, &Limits) -> Vec<ControlResult>,
}

const fn of_run(control: Control, evaluate: fn(&Planned<'_>, &Limits) -> Vec<ControlResult>) -> AtPlanning {
    AtPlanning { control, whole_book: false, evaluate }
}

const fn of_book(control: Control, evaluate: fn(&Planned<'_>, &Limits) -> Vec<ControlResult>) -> AtPlanning {
    AtPlanning { control, whole_book: true, evaluate }
}

/// Every control that planning evaluates.
const AT_PLANNING: &[AtPlanning] = &[
    of_run(Control::NewestClose, newest_close::evaluate),
    of_run(Control::Freshness, freshness::evaluate),
    of_run(Control::Unchanged, unchanged::evaluate),
    of_book(Control::Portfolios, portfolios::evaluate),
    of_run(Control::Positions, positions::evaluate),
    of_book(Control::Orphans, orphans::evaluate),
    of_run(Control::InputEnd, input_end::evaluate),
    of_run(Control::PriceJump, price_jump::evaluate),
    of_run(Control::Equity, equity::evaluate),
];

/// The results other than `ok` of the controls that planning evaluates.
pub(crate) fn evaluate(planned: &Planned<'_>) -> Vec<ControlResult> {
    let settings = &planned.book.settings.controls;
    let evaluated = AT_PLANNING.iter().filter(|entry| !(entry.whole_book && planned.filtered));
    evaluated
        .filter_map(|entry| settings.limits(entry.control).map(|limits| (entry.evaluate)(planned, &limits)))
        .flatten()
        .filter(|result| result.level > Level::Ok)
        .map(masked)
        .collect()
}

/// The results other than `ok` of the controls that compare a portfolio with an earlier night, for one portfolio.
pub(crate) fn compared(book: &Book, portfolio: &Portfolio, member: &Member, as_of: NaiveDate) -> Vec<ControlResult> {
    let limits = |control: Control| book.settings.controls.limits(control);
    let positions = limits(Control::Positions).and_then(|limits| positions::judge(portfolio, member, as_of, &limits));
    let equity = limits(Control::Equity).and_then(|limits| equity::judge(portfolio, member, as_of, &limits));
    positions.into_iter().chain(equity).collect()
}

/// Whether a control compares a portfolio with an earlier night.
pub(crate) const fn compares(control: Control) -> bool {
    matches!(control, Control::Positions | Control::Equity)
}

/// A result as records and pages come to quote it: a message names cells, and a secret may have been pasted into one.
fn masked(result: ControlResult) -> ControlResult {
    ControlResult { message: redact_line(&result.message), ..result }
}

impl Planned<'_> {
    /// The trading date, or the last session before a date without one.
    fn session(&self) -> NaiveDate {
        self.snapshot.sessions.last().copied().unwrap_or(self.snapshot.as_of)
    }

    /// The closes of a symbol up to the session, oldest first.
    fn closes(&self, symbol: &str) -> &[PricePoint] {
        let series = self.book.prices.series(symbol).unwrap_or(&[]);
        &series[..series.partition_point(|point| point.date <= self.session())]
    }

    /// The trading date.
    const fn as_of(&self) -> NaiveDate {
        self.snapshot.as_of
    }

    /// The portfolios of the run whose rows are all usable, with what is sealed of each.
    fn members_of_run(&self) -> impl Iterator<Item = (&Portfolio, &Member)> {
        let sealed =
            |pinned: &PinnedPortfolio| Some((self.book.portfolio(&pinned.id)?, self.members.open.get(&pinned.id)?));
        self.portfolios().filter_map(sealed)
    }

    /// The portfolios of the run whose rows are all usable: the others fail, and nothing is to be judged.
    fn portfolios(&self) -> impl Iterator<Item = &PinnedPortfolio> {
        self.snapshot.portfolios.iter().filter(|portfolio| portfolio.issues.is_empty())
    }
}

/// A result about the run as a whole.
fn about_run(control: Control, level: Level, message: String) -> ControlResult {
    ControlResult {
        control,
        level,
        portfolio_id: None,
        symbol: None,
        figure: None,
        observed: None,
        limit: None,
        sessions: None,
        message,
    }
}

/// A number as a control value; `None` if it is not finite, because JSON has no such number.
fn number(value: f64) -> Option<ControlValue> {
    value.is_finite().then_some(ControlValue::Number(value))
}

/// "97.99 %", "98 %".
fn percent(share: f64) -> String {
    if share.abs() >= 1e6 {
        return format!("{:.2e} %", share * 100.0);
    }
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// "1 row", "2 rows".
fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// "A", "A and B", "A, B, C and 2 more".
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] if names.len() <= NAMED => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED),
    }
}
