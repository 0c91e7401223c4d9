//! `freshness`: the share of absolute delta-adjusted public exposure that is priced by a close of the trading date.

use std::collections::BTreeMap;

use book::{Class, Limits};
use domain::night::{Control, ControlResult, Level};

use super::listings::AllowedLag;
use super::{Planned, about_run, listed, number, percent};
use crate::shared::{Model, model};
use crate::snapshot::{Holding, Instrument};

/// An instrument with market prices.
struct Priced<'a> {
    /// The symbol whose close prices it: its own, or that of the underlying.
    symbol: &'a str,
    /// Absolute exposure of one unit of the quantity, in money; `None` if there is no price at all.
    per_unit: Option<f64>,
    /// Whether its close is of the session, or as late as it may be.
    fresh: bool,
}

/// Exposure of a portfolio or of the run.
#[derive(Default)]
struct Exposure<'a> {
    total: f64,
    fresh: f64,
    /// Exposure by symbol without a close of the session.
    stale: BTreeMap<&'a str, f64>,
}

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let lag = AllowedLag::of(planned);
    let instruments: Vec<Option<Priced<'_>>> =
        planned.snapshot.instruments.iter().map(|instrument| priced(planned, &lag, instrument)).collect();
    let mut run = Exposure::default();
    let mut results = Vec::new();
    for portfolio in planned.portfolios() {
        let mut own = Exposure::default();
        for holding in &portfolio.holdings {
            if let Some(priced) = &instruments[holding.instrument] {
                own.add(priced, exposure_of(holding, priced, &planned.snapshot.instruments[holding.instrument]));
            }
        }
        run.add_all(&own);
        if let Some(result) = own.judge(planned, &limits.warnings_only(), &format!("portfolio {}", portfolio.id)) {
            results.push(ControlResult { portfolio_id: Some(portfolio.id.clone()), ..result });
        }
    }
    run.judge(planned, limits, "the run").into_iter().chain(results).collect()
}

/// The price of an instrument; `None` for what has no market, and for options past their expiry.
fn priced<'a>(planned: &'a Planned<'_>, lag: &AllowedLag<'_>, instrument: &'a Instrument) -> Option<Priced<'a>> {
    let symbol = match (instrument.class, &instrument.option) {
        (Class::Public, _) => instrument.symbol.as_str(),
        (Class::Option, Some(terms)) => terms.underlying.as_str(),
        _ => return None,
    };
    let newest = planned.closes(symbol).last();
    let fresh = newest.is_some_and(|point| {
        let oldest = planned.snapshot.sessions.iter().rev().nth(lag.of_symbol(symbol) as usize);
        oldest.is_none_or(|oldest| point.date >= *oldest)
    });
    let close = newest.map(|point| point.close);
    let per_unit = match &instrument.option {
        Some(terms) => {
            // Without a close of the underlying the strike stands for it: the option still counts, as not priced.
            match model(planned.snapshot, instrument, terms, Some(close.unwrap_or(terms.strike))) {
                Model::Ok { greeks, spot, .. } => {
                    Some(quant::aggregation::delta_adjusted(1.0, instrument.multiplier, greeks.delta, spot))
                }
                Model::Expired | Model::NoUnderlying | Model::Unusable => return None,
            }
        }
        None => {
            close.or(instrument.mark).map(|price| quant::aggregation::market_value(1.0, instrument.multiplier, price))
        }
    };
    Some(Priced { symbol, per_unit: per_unit.map(f64::abs), fresh })
}

/// The absolute exposure of a position. Where it has no price at all, its entry prices stand for it.
fn exposure_of(holding: &Holding, priced: &Priced<'_>, instrument: &Instrument) -> f64 {
    let exposure: f64 = match priced.per_unit {
        Some(per_unit) => holding.lots.iter().map(|lot| lot.0 * per_unit).sum(),
        None => holding.lots.iter().map(|lot| lot.0 * lot.1 * instrument.multiplier).sum(),
    };
    if exposure.is_finite() { exposure.abs() } else { 0.0 }
}

impl<'a> Exposure<'a> {
    fn add(&mut self, priced: &Priced<'a>, exposure: f64) {
        self.total += exposure;
        if priced.fresh {
            self.fresh += exposure;
        } else {
            *self.stale.entry(priced.symbol).or_default() += exposure;
        }
    }

    fn add_all(&mut self, other: &Self) {
        self.total += other.total;
        self.fresh += other.fresh;
        for (symbol, exposure) in &other.stale {
            *self.stale.entry(symbol).or_default() += exposure;
        }
    }

    /// The result for this exposure; `None` if it passes or there is nothing to judge.
    fn judge(&self, planned: &Planned<'_>, limits: &Limits, of_what: &str) -> Option<ControlResult> {
        if self.total <= 0.0 {
            return None;
        }
        // Nothing stale is exactly 1, whatever the sums round to.
        let share = if self.stale.is_empty() { 1.0 } else { self.fresh / self.total };
        let (level, limit) = limits.level(share);
        if level == Level::Ok {
            return None;
        }
        let mut stale: Vec<(&str, f64)> = self.stale.iter().map(|(symbol, exposure)| (*symbol, *exposure)).collect();
        stale.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        let symbols: Vec<&str> = stale.iter().map(|(symbol, _)| *symbol).collect();
        let message = format!(
            "{} of the public exposure of {of_what} is priced by a close of {}; the limit is {}. Add the closes of {} \
             to the prices, or allow a lag in [freshness.lag], then run the date again.",
            percent(share),
            planned.session(),
            percent(limit.unwrap_or_default()),
            listed(&symbols),
        );
        let (observed, limit) = (number(share), limit.and_then(number));
        Some(ControlResult { observed, limit, ..about_run(Control::Freshness, level, message) })
    }
}
