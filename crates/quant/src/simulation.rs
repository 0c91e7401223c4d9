//! Historical simulation with full revaluation: the P&L of today's positions under the moves of past days.
//!
//! ```text
//! pnl_t = sum_i units_i [V_i(S_i (1 + r_it), max(T_i - 1/365, 0)) - V_i(S_i, T_i)]
//! ```
//!
//! Sources: `RiskMetrics` Technical Document (1996), historical simulation and EWMA; Jorion, *Value at Risk*; Tasche (1999),
//! *Risk contributions and performance measurement*, for the components.

use serde::{Deserialize, Serialize};

use crate::black_scholes::{OptionInput, Repricer};
use crate::risk::{RiskStats, risk, tail_length};

/// Days with data from which there are 95 % figures.
pub const MIN_DAYS_95: usize = 60;

/// Days with data from which there are 99 % figures.
pub const MIN_DAYS_99: usize = 100;

/// An earlier close counts as the base of a covered return for so many sessions.
pub const MAX_GAP: usize = 20;

const DAY: f64 = 1.0 / 365.0;
const TRADING_DAYS: f64 = 252.0;
/// The 95 % quantile of the standard normal distribution.
const NORMAL_95: f64 = 1.644_853_626_951_472_2;
/// The 99 % quantile of the standard normal distribution.
const NORMAL_99: f64 = 2.326_347_874_040_840_8;
const LAMBDA: f64 = 0.94;
const SEED_DAYS: usize = 20;

/// Returns of a symbol with gaps carried: the return of the session on which prices resume covers the whole gap.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CarriedReturns {
    /// One for each session of the window, oldest first; NaN where the session or every session before it has no close.
    pub returns: Vec<f64>,
    /// Whether the return is real and its base at most [`MAX_GAP`] sessions old.
    pub covered: Vec<bool>,
}

impl CarriedReturns {
    /// The returns of the last `window` sessions; `closes` has one entry for each session, NaN where there is none.
    #[must_use]
    pub fn new(closes: &[f64], window: usize) -> Self {
        let first = closes.len().saturating_sub(window);
        let mut out = Self::default();
        let mut last: Option<(usize, f64)> = None;
        for (at, &close) in closes.iter().enumerate() {
            let usable = close.is_finite() && close > 0.0;
            if at >= first {
                let base = last.filter(|_| usable);
                out.returns.push(base.map_or(f64::NAN, |(_, base)| close / base - 1.0));
                out.covered.push(base.is_some_and(|(session, _)| at - session <= MAX_GAP));
            }
            if usable {
                last = Some((at, close));
            }
        }
        out
    }
}

/// How a position is revalued.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Instrument {
    /// At the moved price.
    Linear {
        /// The price today.
        price: f64,
    },
    /// By the model, one calendar day later. An option on its day of expiry is settled: it moves no more.
    Option(OptionInput),
}

/// A position of the simulation.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a> {
    /// Quantity x multiplier, negative for a short position.
    pub units: f64,
    /// How it is revalued.
    pub instrument: Instrument,
    /// Its delta-adjusted exposure, in the portfolio's currency: its weight in the coverage.
    pub exposure: f64,
    /// The returns that move it.
    pub driver: &'a CarriedReturns,
}

/// The simulated P&L of each position.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    days: usize,
    /// Position after position, one entry for each session.
    pnl: Vec<f64>,
    /// Simulated returns on equity, oldest first; NaN on a day without any return, and where equity is not above zero.
    pub returns: Vec<f64>,
    equity: f64,
    /// Share of the absolute delta-adjusted exposure with a covered return, mean over all days of the window; `None`
    /// without an exposure.
    pub coverage: Option<f64>,
}

/// Simulates `days` sessions; the columns of the drivers have one entry for each.
#[must_use]
pub fn simulate(positions: &[Position<'_>], days: usize, equity: f64) -> Simulation {
    let mut pnl = vec![0.0; positions.len() * days];
    let mut sums = vec![0.0; days];
    let mut seen = vec![false; days];
    let (mut covered, mut gross) = (0.0, 0.0);
    for (at, position) in positions.iter().enumerate() {
        let row = &mut pnl[at * days..(at + 1) * days];
        revalue(position, row);
        let mut real = 0_usize;
        let settled = matches!(position.instrument, Instrument::Option(input) if input.years <= 0.0);
        for day in 0..days {
            sums[day] += row[day];
            seen[day] |= position.driver.returns.get(day).is_some_and(|value| value.is_finite());
            real += usize::from(settled || position.driver.covered.get(day) == Some(&true));
        }
        let size = position.exposure.abs();
        if size.is_finite() && days > 0 {
            gross += size;
            covered += size * (real as f64 / days as f64);
        }
    }
    let on_equity = |(sum, seen): (&f64, &bool)| if *seen && equity > 0.0 { sum / equity + 0.0 } else { f64::NAN };
    let returns = sums.iter().zip(&seen).map(on_equity).collect();
    let coverage = (gross > 0.0).then(|| (covered / gross).min(1.0)).filter(|share| share.is_finite());
    Simulation { days, pnl, returns, equity, coverage }
}

/// The P&L of a position on each day; 0 on a day without a return, or where the model has no value.
fn revalue(position: &Position<'_>, row: &mut [f64]) {
    let returns = position.driver.returns.iter();
    match position.instrument {
        Instrument::Linear { price } => {
            let value = position.units * price;
            for (out, r) in row.iter_mut().zip(returns) {
                let pnl = value * r;
                *out = if pnl.is_finite() { pnl } else { 0.0 };
            }
        }
        Instrument::Option(input) if input.years > 0.0 => {
            let today = Repricer::new(&input, input.years).price(input.spot);
            let tomorrow = Repricer::new(&input, (input.years - DAY).max(0.0));
            for (out, r) in row.iter_mut().zip(returns) {
                if r.is_finite() {
                    let pnl = position.units * (tomorrow.price(input.spot * (1.0 + r)) - today);
                    *out = if pnl.is_finite() { pnl } else { 0.0 };
                }
            }
        }
        Instrument::Option(_) => {}
    }
}

/// Risk figures of a simulation: fractions of equity, a loss is negative. See [`RiskStats`] for the conventions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedRisk {
    /// Days with data.
    pub days: usize,
    /// Annual volatility (n - 1, sqrt 252).
    pub volatility: Option<f64>,
    /// 5 % quantile (type 7).
    pub var_95: Option<f64>,
    /// 1 % quantile (type 7).
    pub var_99: Option<f64>,
    /// Mean of the `floor((n - 1) * 0.05) + 1` lowest returns.
    pub es_95: Option<f64>,
    /// Mean of the `floor((n - 1) * 0.01) + 1` lowest returns.
    pub es_99: Option<f64>,
    /// Largest fall from a peak of the value compounded from 1; -1 from ruin on.
    pub max_drawdown: Option<f64>,
    /// Whether the compounded value falls to 0 or below.
    pub ruin: bool,
    /// The day of the lowest return, and that return; the earliest of equal ones.
    pub worst: Option<(usize, f64)>,
}

/// The volatility of exponentially weighted moving averages, and the normal value at risk that follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    /// Annual volatility.
    pub volatility: Option<f64>,
    /// 5 % quantile of the normal distribution with mean zero, of one day.
    pub var_95: Option<f64>,
    /// 1 % quantile.
    pub var_99: Option<f64>,
}

impl Simulation {
    /// The risk figures. 95 % figures need [`MIN_DAYS_95`] days with data, 99 % figures [`MIN_DAYS_99`].
    #[must_use]
    pub fn risk(&self) -> SimulatedRisk {
        let stats: RiskStats = risk(&self.returns);
        let days = stats.n_obs;
        let ruin = ruin(&self.returns);
        let at_95 = |value: Option<f64>| value.filter(|_| days >= MIN_DAYS_95).map(|value| value + 0.0);
        let at_99 = |value: Option<f64>| value.filter(|_| days >= MIN_DAYS_99).map(|value| value + 0.0);
        SimulatedRisk {
            days,
            volatility: at_95(stats.vol_annual),
            var_95: at_95(stats.var_95),
            var_99: at_99(stats.var_99),
            es_95: at_95(stats.es_95),
            es_99: at_99(stats.es_99),
            max_drawdown: at_95(if ruin { Some(-1.0) } else { stats.max_drawdown }),
            ruin,
            worst: self.tail(1).first().map(|&day| (day, self.returns[day])).filter(|_| days >= MIN_DAYS_95),
        }
    }

    /// The share of each position in the expected shortfall at 95 %, as a fraction of equity: the mean of its P&L over
    /// the days of the tail. They add up to `es_95`. `None` where that is.
    #[must_use]
    pub fn components(&self) -> Option<Vec<f64>> {
        let n = self.returns.iter().filter(|value| value.is_finite()).count();
        if n < MIN_DAYS_95 || self.days == 0 {
            return None;
        }
        let tail = self.tail(tail_length(n, 0.05));
        let mean = |row: &[f64]| tail.iter().map(|&day| row[day] / self.equity).sum::<f64>() / tail.len() as f64 + 0.0;
        Some(self.pnl.chunks(self.days).map(mean).collect())
    }

    /// The days of the lowest returns, the lowest first, the earlier of equal ones first.
    fn tail(&self, length: usize) -> Vec<usize> {
        let mut days: Vec<usize> = (0..self.days).filter(|&day| self.returns[day].is_finite()).collect();
        days.sort_by(|&a, &b| self.returns[a].total_cmp(&self.returns[b]).then(a.cmp(&b)));
        days.truncate(length);
        days
    }

    /// EWMA figures of the simulated returns: lambda 0.94, mean zero, seeded by the mean square of the first 20 returns.
    #[must_use]
    pub fn ewma(&self) -> Ewma {
        ewma(&self.returns)
    }
}

/// Whether a value compounded from 1 by these returns falls to 0 or below; NaN is no return.
#[must_use]
pub fn ruin(returns: &[f64]) -> bool {
    let mut value = 1.0;
    returns.iter().filter(|r| r.is_finite()).any(|r| {
        value *= 1.0 + r;
        value <= 0.0
    })
}

/// EWMA figures of returns, oldest first; NaN is left out. `None` below 60 returns.
#[must_use]
pub fn ewma(returns: &[f64]) -> Ewma {
    let kept: Vec<f64> = returns.iter().copied().filter(|value| value.is_finite()).collect();
    if kept.len() < MIN_DAYS_95 {
        return Ewma { volatility: None, var_95: None, var_99: None };
    }
    let (seed, rest) = kept.split_at(SEED_DAYS);
    let start = seed.iter().map(|r| r * r).sum::<f64>() / SEED_DAYS as f64;
    let deviation = rest.iter().fold(start, |variance, r| LAMBDA * variance + (1.0 - LAMBDA) * r * r).sqrt();
    let finite = |value: f64| Some(value + 0.0).filter(|value| value.is_finite());
    Ewma {
        volatility: finite(deviation * TRADING_DAYS.sqrt()),
        var_95: finite(-NORMAL_95 * deviation),
        var_99: finite(-NORMAL_99 * deviation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::black_scholes::{OptionKind, price_and_greeks};

    const GAP: f64 = f64::NAN;

    fn column(returns: &[f64]) -> CarriedReturns {
        CarriedReturns { returns: returns.to_vec(), covered: returns.iter().map(|r| r.is_finite()).collect() }
    }

    fn option(years: f64) -> OptionInput {
        OptionInput::new(OptionKind::Put, 100.0, 95.0, years, 0.05, 0.01, 0.25).unwrap()
    }

    #[test]
    fn the_return_after_a_gap_covers_the_whole_gap() {
        let carried = CarriedReturns::new(&[100.0, 110.0, GAP, GAP, 66.0, 66.0], 5);
        let expected = [0.1, GAP, GAP, -0.4, 0.0];
        for (got, wanted) in carried.returns.iter().zip(expected) {
            assert!((got - wanted).abs() < 1e-12 || (got.is_nan() && wanted.is_nan()), "{got} is not {wanted}");
        }
        assert_eq!(carried.covered, [true, false, false, true, true]);
    }

    #[test]
    fn a_gap_of_more_than_twenty_sessions_is_a_move_and_is_not_covered() {
        let mut closes = vec![GAP; 22];
        (closes[0], closes[21]) = (100.0, 50.0);
        let carried = CarriedReturns::new(&closes, 1);
        assert_eq!((carried.returns[0], carried.covered[0]), (-0.5, false));
        closes[1] = 100.0;
        assert!(CarriedReturns::new(&closes, 1).covered[0]);
    }

    #[test]
    fn the_repricer_gives_the_price_of_the_model_to_the_bit() {
        for years in [0.0, 0.01, 0.3, 2.0] {
            for kind in [OptionKind::Call, OptionKind::Put] {
                for spot in [0.0, 1.0, 80.0, 95.0, 250.0] {
                    let input = OptionInput { kind, spot, ..option(years) };
                    let (got, wanted) = (Repricer::new(&input, years).price(spot), price_and_greeks(&input).price);
                    assert!(got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan()), "{got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_settled_option_moves_no_more_and_is_covered() {
        let driver = column(&[-0.5, GAP]);
        let position =
            Position { units: 1.0, instrument: Instrument::Option(option(0.0)), exposure: 1.0, driver: &driver };
        let simulation = simulate(&[position], 2, 100.0);
        assert_eq!(simulation.returns[0], 0.0);
        assert!(simulation.returns[1].is_nan(), "no position has a return");
        assert_eq!(simulation.coverage, Some(1.0));
    }

    #[test]
    fn an_option_without_a_return_has_no_theta() {
        let (missing, real) = (column(&[GAP]), column(&[0.0]));
        let stock =
            Position { units: 1.0, instrument: Instrument::Linear { price: 1.0 }, exposure: 1.0, driver: &real };
        let put = |driver| Position { units: 1.0, instrument: Instrument::Option(option(0.3)), exposure: -1.0, driver };
        assert_eq!(simulate(&[stock, put(&missing)], 1, 100.0).returns, [0.0]);
        assert!(simulate(&[stock, put(&real)], 1, 100.0).returns[0] < 0.0);
        assert_eq!(simulate(&[stock, put(&missing)], 1, 100.0).coverage, Some(0.5));
    }

    #[test]
    fn ruin_ends_the_drawdown_at_minus_one() {
        let mut returns = vec![0.001; 80];
        returns[40] = -1.5;
        let driver = column(&returns);
        let position =
            Position { units: 1.0, instrument: Instrument::Linear { price: 1.0 }, exposure: 1.0, driver: &driver };
        let risk = simulate(&[position], 80, 1.0).risk();
        assert_eq!((risk.max_drawdown, risk.ruin, risk.worst), (Some(-1.0), true, Some((40, -1.5))));
        assert_eq!((risk.days, risk.var_99), (80, None), "99 % figures need 100 days");
    }
}
