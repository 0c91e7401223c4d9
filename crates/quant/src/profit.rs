//! Daily profit and loss (P&L) of a lot, and the attribution of an option's P&L to the Greeks.
//!
//! Sources: Hull, *Options, Futures, and Other Derivatives*, chapter on the Greek letters; Basel Committee, MAR32 (P&L
//! attribution).

use serde::{Deserialize, Serialize};

use crate::black_scholes::Greeks;

/// P&L of a lot: `quantity * multiplier * (end - base)`, in the portfolio's currency.
///
/// `base` is the price at the previous session, or the entry price of a lot bought since. `end` is the price today, the
/// exit price, or the settlement price. `None` when a price is unknown or the P&L is out of range. Never negative zero.
#[must_use]
pub fn lot_pnl(quantity: f64, multiplier: f64, base: Option<f64>, end: Option<f64>) -> Option<f64> {
    let pnl = quantity * multiplier * (end? - base?) + 0.0;
    pnl.is_finite().then_some(pnl)
}

/// P&L by cause, in the portfolio's currency. The terms exclude each other and add up to the P&L.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PnlExplain {
    /// Price change of public positions held throughout.
    pub linear: f64,
    /// Value changes that involve a mark: private holdings, cash, and positions priced by a mark on either date.
    pub marks: f64,
    /// Everything of lots bought or exited since the previous session.
    pub trades: f64,
    /// Changes of exchange rates.
    pub fx: f64,
    /// Options: `delta * dS`.
    pub delta: f64,
    /// Options: `1/2 * gamma * dS^2`.
    pub gamma: f64,
    /// Options: theta per calendar day x calendar days.
    pub theta: f64,
    /// Options: vega per volatility point x change of volatility in points.
    pub vega: f64,
    /// Options: rho per 1 % x change of the rate in per cent.
    pub rho: f64,
    /// Options: what the Greeks of the previous session do not explain.
    pub residual: f64,
}

impl PnlExplain {
    /// The sum of the terms.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.terms().into_iter().sum::<f64>() + 0.0
    }

    /// Adds the terms of another position.
    pub fn add(&mut self, other: &Self) {
        self.linear += other.linear;
        self.marks += other.marks;
        self.trades += other.trades;
        self.fx += other.fx;
        self.delta += other.delta;
        self.gamma += other.gamma;
        self.theta += other.theta;
        self.vega += other.vega;
        self.rho += other.rho;
        self.residual += other.residual;
    }

    /// Whether every term is a finite number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.terms().into_iter().all(f64::is_finite)
    }

    fn terms(&self) -> [f64; 10] {
        [
            self.linear,
            self.marks,
            self.trades,
            self.fx,
            self.delta,
            self.gamma,
            self.theta,
            self.vega,
            self.rho,
            self.residual,
        ]
    }
}

/// How the inputs of an option's value changed since the previous session.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moves {
    /// Change of the underlying's price.
    pub spot: f64,
    /// Calendar days, to the expiry at most.
    pub days: f64,
    /// Change of the volatility, a decimal.
    pub volatility: f64,
    /// Change of the rate, a decimal.
    pub rate: f64,
}

/// Attributes the P&L of an option held throughout to the Greeks of the previous session.
///
/// `units` is `quantity * multiplier`. `residual` is the difference to `pnl`. Where the Greeks are unknown, or a term is
/// out of range, everything is `residual`.
#[must_use]
pub fn explain_option(before: Option<&Greeks>, units: f64, moves: Moves, pnl: f64) -> PnlExplain {
    let Some(greeks) = before else { return PnlExplain { residual: pnl, ..PnlExplain::default() } };
    // Adding 0 turns a negative zero into zero.
    let mut explain = PnlExplain {
        delta: greeks.delta * moves.spot * units + 0.0,
        gamma: 0.5 * greeks.gamma * moves.spot * moves.spot * units + 0.0,
        theta: greeks.theta * moves.days * units + 0.0,
        vega: greeks.vega * (moves.volatility * 100.0) * units + 0.0,
        rho: greeks.rho * (moves.rate * 100.0) * units + 0.0,
        ..PnlExplain::default()
    };
    explain.residual = pnl - explain.total() + 0.0;
    if explain.is_finite() { explain } else { PnlExplain { residual: pnl, ..PnlExplain::default() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_price_makes_the_pnl_unknown() {
        assert_eq!(lot_pnl(10.0, 1.0, Some(110.0), Some(112.0)), Some(20.0));
        assert_eq!(lot_pnl(10.0, 1.0, None, Some(112.0)), None);
        assert_eq!(lot_pnl(10.0, 1.0, Some(110.0), None), None);
        assert_eq!(lot_pnl(f64::MAX, 100.0, Some(1.0), Some(3.0)), None);
    }

    #[test]
    fn an_unchanged_short_position_has_no_negative_zero() {
        assert!(lot_pnl(-10.0, 1.0, Some(5.0), Some(5.0)).unwrap().is_sign_positive());
        let greeks = Greeks { price: 1.0, delta: -0.5, gamma: 0.1, theta: -0.1, vega: 0.2, rho: -0.1 };
        let explain = explain_option(Some(&greeks), -100.0, Moves::default(), 0.0);
        assert!(explain.terms().iter().all(|term| *term == 0.0 && term.is_sign_positive()), "{explain:?}");
    }

    #[test]
    fn without_greeks_everything_is_residual() {
        let explain = explain_option(None, 100.0, Moves { spot: 1.0, ..Moves::default() }, 42.0);
        assert_eq!(explain, PnlExplain { residual: 42.0, ..PnlExplain::default() });
    }
}
