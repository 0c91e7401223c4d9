//! `price_jump`: a return that looks like an unadjusted split or a wrong close.
//!
//! A held symbol gets one result for the run. A portfolio whose equity the jump moves too much gets a failure.

use std::collections::BTreeMap;
use std::fmt;

use book::{Class, Limits};
use domain::night::{Control, ControlResult, Level};

use super::price_history::{Move, returns_before, robust_deviation};
use super::{Planned, about_run, count, number, percent};

/// Returns beyond so many robust standard deviations are jumps.
const DEVIATIONS: f64 = 8.0;

/// Smaller returns are no splits.
const LEAST_SPLIT: f64 = 0.15;

/// How close a ratio must be to that of a split.
const SPLIT_TOLERANCE: f64 = 0.05;

/// A return that is a jump.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Jump {
    into: Move,
    /// The limit that it exceeds.
    limit: f64,
    split: Option<Split>,
}

/// New shares for old shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    new: u32,
    old: u32,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.new, self.old)
    }
}

/// The ratios that splits have: n:1 and 1:n for n = 2 to 20, then tens up to 100, and 3:2, 4:3, 5:4. Above 100, the tens
/// are so close to each other that every ratio would be one.
fn known_splits() -> impl Iterator<Item = Split> {
    let whole = (2..=20).chain((30..=100).step_by(10));
    let forward = whole.clone().map(|n| Split { new: n, old: 1 });
    let reverse = whole.map(|n| Split { new: 1, old: n });
    forward.chain(reverse).chain([(3, 2), (4, 3), (5, 4)].map(|(new, old)| Split { new, old }))
}

/// The split that a return looks like: the nearest one.
pub(super) fn split_of(change: f64) -> Option<Split> {
    if change.abs() <= LEAST_SPLIT {
        return None;
    }
    let distance = |split: &Split| ((1.0 + change) * f64::from(split.new) / f64::from(split.old) - 1.0).abs();
    known_splits().filter(|split| distance(split) <= SPLIT_TOLERANCE).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// Whether a return is a jump, with the limit that says so. `least` is the return that is always allowed.
pub(super) fn jump_limit(change: f64, earlier: &[f64], least: f64) -> Option<f64> {
    let limit = least.max(DEVIATIONS * robust_deviation(earlier));
    if change.abs() > limit { Some(limit) } else { split_of(change).map(|_| LEAST_SPLIT) }
}

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let Some(least) = limits.warn else { return Vec::new() };
    let mut jumps: BTreeMap<&str, Option<Jump>> = BTreeMap::new();
    let mut holders: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for portfolio in planned.portfolios() {
        let mut moved: BTreeMap<&str, f64> = BTreeMap::new();
        for holding in &portfolio.holdings {
            let instrument = &planned.snapshot.instruments[holding.instrument];
            if instrument.class != Class::Public {
                continue;
            }
            let symbol = instrument.symbol.as_str();
            if let Some(jump) = jumps.entry(symbol).or_insert_with(|| jump_of(planned, symbol, least)) {
                let quantity: f64 = holding.lots.iter().map(|lot| lot.0).sum();
                let change = jump.into.close - jump.into.before.close;
                *moved.entry(symbol).or_default() += quantity * instrument.multiplier * change;
            }
        }
        for (symbol, money) in moved {
            *holders.entry(symbol).or_default() += 1;
            let (Some(equity), Some(limit)) = (portfolio.equity.filter(|equity| *equity > 0.0), limits.fail) else {
                continue;
            };
            let share = money.abs() / equity;
            if share > limit {
                let message = format!(
                    "The jump of {symbol} moves the equity of portfolio {} by {}; the limit is {}. Correct the close, \
                     then run the date again.",
                    portfolio.id,
                    percent(share),
                    percent(limit),
                );
                failures.push(ControlResult {
                    portfolio_id: Some(portfolio.id.clone()),
                    symbol: Some(symbol.to_owned()),
                    observed: number(share),
                    limit: number(limit),
                    ..about_run(Control::PriceJump, Level::Failure, message)
                });
            }
        }
    }
    let found = jumps.into_iter().filter_map(|(symbol, jump)| Some((symbol, jump?)));
    let warnings = found.map(|(symbol, jump)| warning(planned, symbol, &jump, holders.get(symbol).copied()));
    warnings.chain(failures).collect()
}

fn jump_of(planned: &Planned<'_>, symbol: &str, least: f64) -> Option<Jump> {
    let closes = planned.closes(symbol);
    let into = Move::into(closes, planned.session())?;
    let limit = jump_limit(into.change(), &returns_before(closes), least)?;
    Some(Jump { into, limit, split: split_of(into.change()) })
}

fn warning(planned: &Planned<'_>, symbol: &str, jump: &Jump, holders: Option<u64>) -> ControlResult {
    let change = jump.into.change();
    let (like, repair) = match jump.split {
        Some(split) => {
            (format!(", like a {split} split"), "Adjust the earlier closes if it is a split, else correct the close")
        }
        None => (String::new(), "Correct the close, or accept it"),
    };
    let message = format!(
        "The close of {symbol} moves by {} from {} on {} to {} on {}{like}; the limit is {}. {} holds it. {repair}, then \
         run the date again.",
        percent(change),
        jump.into.before.close,
        jump.into.before.date,
        jump.into.close,
        planned.session(),
        percent(jump.limit),
        count(holders.unwrap_or_default(), "portfolio"),
    );
    let message = if holders == Some(1) { message } else { message.replacen("s holds it.", "s hold it.", 1) };
    ControlResult {
        symbol: Some(symbol.to_owned()),
        observed: number(change),
        limit: number(jump.limit),
        ..about_run(Control::PriceJump, Level::Warning, message)
    }
}
