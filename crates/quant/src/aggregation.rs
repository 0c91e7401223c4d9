//! Portfolio totals: gross, net, long, short, options and stocks, delta-adjusted; daily profit and loss.

use serde::{Deserialize, Serialize};

/// What one position adds to the totals, in the portfolio's currency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    /// `quantity * multiplier * price`; negative for a short position.
    pub market_value: f64,
    /// Whether the position is an option.
    pub is_option: bool,
    /// `quantity * multiplier * delta * underlying price`; the market value for anything but an option.
    pub delta_adjusted: f64,
}

impl Exposure {
    /// A position of its market value: a stock, a fund, a private holding, cash.
    #[must_use]
    pub fn plain(quantity: f64, multiplier: f64, price: f64) -> Self {
        let market_value = market_value(quantity, multiplier, price);
        Self { market_value, is_option: false, delta_adjusted: market_value }
    }

    /// A position of options; `delta` per unit of the underlying, long.
    #[must_use]
    pub fn option(quantity: f64, multiplier: f64, price: f64, delta: f64, underlying_price: f64) -> Self {
        Self {
            market_value: market_value(quantity, multiplier, price),
            is_option: true,
            delta_adjusted: delta_adjusted(quantity, multiplier, delta, underlying_price),
        }
    }
}

/// Totals of a portfolio, in its currency.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Aggregate {
    /// Sum of absolute market values.
    pub gross: f64,
    /// Sum of signed market values.
    pub net: f64,
    /// Sum of positive market values.
    pub long: f64,
    /// Sum of negative market values: zero or negative.
    pub short: f64,
    /// Positions with a positive market value.
    pub long_count: usize,
    /// Positions with a negative market value.
    pub short_count: usize,
    /// Net market value of options.
    pub options_mv: f64,
    /// Net market value of everything else.
    pub stock_mv: f64,
    /// Gross market value of options.
    pub options_gross: f64,
    /// Gross market value of everything else.
    pub stock_gross: f64,
    /// Sum of delta-adjusted exposures.
    pub delta_adjusted_net: f64,
    /// Sum of absolute delta-adjusted exposures.
    pub delta_adjusted_gross: f64,
    /// Positions whose delta-adjusted exposure is not known (NaN): they are in no delta-adjusted total.
    pub delta_missing: usize,
    /// Positions without a value (NaN): they are in no total.
    pub unvalued: usize,
}

/// Signed market value: `quantity * multiplier * price`.
#[must_use]
pub fn market_value(quantity: f64, multiplier: f64, price: f64) -> f64 {
    quantity * multiplier * price
}

/// Exposure of an option to its underlying: `quantity * multiplier * delta * underlying price`.
#[must_use]
pub fn delta_adjusted(quantity: f64, multiplier: f64, delta: f64, underlying_price: f64) -> f64 {
    quantity * multiplier * delta * underlying_price
}

/// Profit and loss since the previous close: `quantity * multiplier * (price - previous)`.
///
/// `previous` is the entry price for a lot bought or sold today. NaN when either price is.
#[must_use]
pub fn daily_pnl(quantity: f64, multiplier: f64, price: f64, previous: f64) -> f64 {
    quantity * multiplier * (price - previous)
}

/// Sum of absolute exposures, each netted per underlying beforehand (commitment approach).
#[must_use]
pub fn commitment_gross(netted: &[f64]) -> f64 {
    netted.iter().map(|exposure| exposure.abs()).sum::<f64>() + 0.0
}

/// The Herfindahl-Hirschman index of exposures: the sum of squared shares of the absolute total, between 1/n and 1.
///
/// `1 / index` is the number of equal exposures with the same concentration. `None` when the exposures sum to zero or
/// are out of range.
#[must_use]
pub fn herfindahl(netted: &[f64]) -> Option<f64> {
    let total = commitment_gross(netted);
    let index: f64 = netted.iter().map(|exposure| (exposure / total) * (exposure / total)).sum();
    (total > 0.0 && index.is_finite()).then_some(index)
}

/// Totals of the positions, in the order given; an empty portfolio is all zeros.
///
/// A position without a market value (NaN) is counted as `unvalued` and left out, one without a delta-adjusted exposure
/// counted as `delta_missing` and left out of the delta-adjusted totals only.
#[must_use]
pub fn aggregate(exposures: &[Exposure]) -> Aggregate {
    let mut out = Aggregate::default();
    for exposure in exposures {
        let value = exposure.market_value;
        if value.is_nan() {
            out.unvalued += 1;
            continue;
        }
        out.gross += value.abs();
        out.net += value;
        if value > 0.0 {
            out.long += value;
            out.long_count += 1;
        } else if value < 0.0 {
            out.short += value;
            out.short_count += 1;
        }
        if exposure.is_option {
            out.options_mv += value;
            out.options_gross += value.abs();
        } else {
            out.stock_mv += value;
            out.stock_gross += value.abs();
        }
        if exposure.delta_adjusted.is_nan() {
            out.delta_missing += 1;
        } else {
            out.delta_adjusted_net += exposure.delta_adjusted;
            out.delta_adjusted_gross += exposure.delta_adjusted.abs();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concentration_of_equal_and_of_single_exposures() {
        assert_eq!(herfindahl(&[5.0, -5.0, 5.0, 5.0]), Some(0.25));
        assert_eq!(herfindahl(&[0.0, 7.0]), Some(1.0));
        assert_eq!((herfindahl(&[]), herfindahl(&[0.0])), (None, None));
        assert_eq!(commitment_gross(&[3.0, -4.0]), 7.0);
        assert!(commitment_gross(&[]).is_sign_positive());
    }

    #[test]
    fn an_empty_portfolio_is_all_zeros() {
        assert_eq!(aggregate(&[]), Aggregate::default());
    }

    #[test]
    fn a_long_put_is_long_in_value_and_short_in_delta() {
        let out = aggregate(&[Exposure::plain(10.0, 1.0, 5.0), Exposure::option(2.0, 100.0, 1.0, -0.5, 50.0)]);
        assert_eq!((out.net, out.gross, out.short, out.long_count), (250.0, 250.0, 0.0, 2));
        assert_eq!((out.options_mv, out.stock_mv), (200.0, 50.0));
        assert_eq!((out.delta_adjusted_net, out.delta_adjusted_gross), (-4950.0, 5050.0));
    }

    #[test]
    fn unknown_values_are_counted_and_left_out() {
        let blind = Exposure::option(1.0, 100.0, 3.0, f64::NAN, 50.0);
        let out = aggregate(&[Exposure::plain(1.0, 1.0, f64::NAN), blind, Exposure::plain(-1.0, 1.0, 7.0)]);
        assert_eq!((out.unvalued, out.delta_missing), (1, 1));
        assert_eq!((out.net, out.short, out.short_count, out.delta_adjusted_net), (293.0, -7.0, 1, -7.0));
    }

    #[test]
    fn daily_pnl_of_a_short_rises_when_the_price_falls() {
        assert_eq!(daily_pnl(-2.0, 100.0, 1.0, 1.5), 100.0);
        assert!(daily_pnl(1.0, 1.0, f64::NAN, 1.0).is_nan());
    }
}
