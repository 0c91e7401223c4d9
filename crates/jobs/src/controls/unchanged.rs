//! `unchanged`: the share of public value whose close equals the one before, as after a file that was copied on.

use std::collections::BTreeMap;

use book::{Class, Limits};
use domain::night::{Control, ControlResult};

use super::price_history::{Move, deviation, returns_before};
use super::{Planned, about_run, listed, number, percent};

/// Fewer symbols than this say nothing.
const FEWEST_SYMBOLS: usize = 10;

/// A symbol whose daily volatility is not above this may well stand still.
const LEAST_VOLATILITY: f64 = 0.005;

/// Fewer returns than this give no volatility.
const FEWEST_RETURNS: usize = 20;

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let mut units: BTreeMap<&str, f64> = BTreeMap::new();
    for holding in planned.portfolios().flat_map(|portfolio| &portfolio.holdings) {
        let instrument = &planned.snapshot.instruments[holding.instrument];
        if instrument.class == Class::Public {
            let quantity: f64 = holding.lots.iter().map(|lot| lot.0).sum();
            *units.entry(&instrument.symbol).or_default() += (quantity * instrument.multiplier).abs();
        }
    }
    let judged: Vec<(&str, f64, bool)> = units
        .into_iter()
        .filter_map(|(symbol, units)| {
            let closes = planned.closes(symbol);
            let into = Move::into(closes, planned.session())?;
            let returns = returns_before(closes);
            let moves = returns.len() >= FEWEST_RETURNS && deviation(&returns) > LEAST_VOLATILITY;
            moves.then_some((symbol, units * into.close, into.close == into.before.close))
        })
        .collect();
    let total: f64 = judged.iter().map(|(_, value, _)| value).sum();
    if judged.len() < FEWEST_SYMBOLS || total <= 0.0 {
        return Vec::new();
    }
    let mut same: Vec<(&str, f64)> =
        judged.iter().filter(|(_, _, same)| *same).map(|(symbol, value, _)| (*symbol, *value)).collect();
    same.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let share = same.iter().map(|(_, value)| value).sum::<f64>() / total;
    let (level, limit) = limits.level(share);
    let symbols: Vec<&str> = same.iter().map(|(symbol, _)| *symbol).collect();
    let message = format!(
        "{} of the public value has the same close on {} as before ({}); the limit is {}. Compare these closes with \
         their source, correct them, then run the date again.",
        percent(share),
        planned.session(),
        listed(&symbols),
        percent(limit.unwrap_or_default()),
    );
    let (observed, limit) = (number(share), limit.and_then(number));
    vec![ControlResult { observed, limit, ..about_run(Control::Unchanged, level, message) }]
}
