//! Risk figures of a series of daily returns: volatility, drawdown, historical value at risk and expected shortfall.

use serde::{Deserialize, Serialize};

use crate::lanes;

/// Trading days of a year.
pub const TRADING_DAYS: f64 = 252.0;

/// Risk figures of daily returns.
///
/// All are decimals of the portfolio's value and signed: a loss is negative. `None` where there is no (or for the
/// volatilities only one) observation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RiskStats {
    /// Returns that are not missing.
    pub n_obs: usize,
    /// Mean daily return.
    pub mean_daily: Option<f64>,
    /// Standard deviation of daily returns, n - 1 in the denominator.
    pub vol_daily: Option<f64>,
    /// Daily volatility times sqrt(252).
    pub vol_annual: Option<f64>,
    /// Compounded return of the whole series.
    pub total_return: Option<f64>,
    /// Largest fall from a running peak, the starting value 1 included; 0 when the series never falls.
    pub max_drawdown: Option<f64>,
    /// The 5 % quantile of daily returns (type 7).
    pub var_95: Option<f64>,
    /// The 1 % quantile of daily returns (type 7).
    pub var_99: Option<f64>,
    /// Mean of the `floor((n - 1) * 0.05) + 1` lowest returns.
    pub es_95: Option<f64>,
    /// Mean of the `floor((n - 1) * 0.01) + 1` lowest returns.
    pub es_99: Option<f64>,
}

/// Risk figures of a series of daily returns, oldest first; NaN and infinite values are left out first.
///
/// Value at risk is the quantile of numpy's default (type 7: linear interpolation between order statistics at
/// `(n - 1) * alpha`), expected shortfall that of empyrical, drawdown `min(value / running peak - 1)` of the value
/// compounded from 1.
#[must_use]
pub fn risk(returns: &[f64]) -> RiskStats {
    let mut kept: Vec<f64> = returns.iter().copied().filter(|value| value.is_finite()).collect();
    let n = kept.len();
    let mut out = RiskStats {
        n_obs: n,
        mean_daily: None,
        vol_daily: None,
        vol_annual: None,
        total_return: None,
        max_drawdown: None,
        var_95: None,
        var_99: None,
        es_95: None,
        es_99: None,
    };
    if n == 0 {
        return out;
    }
    let finite = |value: f64| value.is_finite().then_some(value);

    let mean = lanes::sum_slice(&kept) / n as f64;
    out.mean_daily = finite(mean);
    if n > 1 {
        let deviations: Vec<f64> = kept.iter().map(|value| value - mean).collect();
        let variance = lanes::dot_slice(&deviations, &deviations) / (n - 1) as f64;
        out.vol_daily = finite(variance.sqrt());
        out.vol_annual = finite(variance.sqrt() * TRADING_DAYS.sqrt());
    }

    let (mut value, mut peak, mut drawdown) = (1.0_f64, 1.0_f64, 0.0_f64);
    for r in &kept {
        value *= 1.0 + r;
        peak = peak.max(value);
        drawdown = drawdown.min(value / peak - 1.0);
    }
    out.total_return = finite(value - 1.0);
    out.max_drawdown = finite(drawdown);

    // Only the lowest returns are needed in order: those of the 5 % tail and one more for the interpolation.
    let needed = (tail_length(n, 0.05) + 1).min(n);
    if needed < n {
        kept.select_nth_unstable_by(needed, f64::total_cmp);
    }
    kept[..needed].sort_unstable_by(f64::total_cmp);
    out.var_95 = finite(quantile(&kept, 0.05));
    out.var_99 = finite(quantile(&kept, 0.01));
    out.es_95 = finite(shortfall(&kept, 0.05));
    out.es_99 = finite(shortfall(&kept, 0.01));
    out
}

/// The `alpha` quantile of values in ascending order, linearly interpolated between order statistics (type 7).
///
/// `alpha` between 0 and 1. `None` for an empty slice, a missing value, or an `alpha` out of range.
#[must_use]
pub fn quantile_type7(sorted: &[f64], alpha: f64) -> Option<f64> {
    if sorted.is_empty() || !(0.0..=1.0).contains(&alpha) {
        return None;
    }
    let value = quantile(sorted, alpha);
    (!value.is_nan()).then_some(value)
}

/// [`quantile_type7`] of at least one value; only the order statistics it reads need to be in order.
fn quantile(sorted: &[f64], alpha: f64) -> f64 {
    let at = (sorted.len() - 1) as f64 * alpha;
    let below = (at as usize).min(sorted.len() - 1);
    let above = (below + 1).min(sorted.len() - 1);
    let share = at - below as f64;
    let (low, high) = (sorted[below], sorted[above]);
    if share == 0.0 || low == high {
        return low;
    }
    // From the nearer end, as numpy does.
    if share < 0.5 { low + (high - low) * share } else { high - (high - low) * (1.0 - share) }
}

/// How many of the lowest returns make up the tail.
pub(crate) fn tail_length(n: usize, alpha: f64) -> usize {
    ((n - 1) as f64 * alpha) as usize + 1
}

fn shortfall(sorted: &[f64], alpha: f64) -> f64 {
    let tail = &sorted[..tail_length(sorted.len(), alpha)];
    tail.iter().sum::<f64>() / tail.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_observed_is_all_undefined() {
        let stats = risk(&[f64::NAN, f64::INFINITY]);
        assert_eq!(stats.n_obs, 0);
        assert_eq!((stats.mean_daily, stats.max_drawdown, stats.es_99), (None, None, None));
    }

    #[test]
    fn drawdown_starts_at_one() {
        assert_eq!(risk(&[-0.5, 0.5]).max_drawdown, Some(-0.5));
        assert_eq!(risk(&[0.5, 0.1]).max_drawdown, Some(0.0));
    }

    #[test]
    fn quantile_interpolates_between_order_statistics() {
        assert_eq!(quantile_type7(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile_type7(&[1.0, 2.0, 4.0], 1.0), Some(4.0));
        assert_eq!(quantile_type7(&[7.0], 0.05), Some(7.0));
        assert_eq!(quantile_type7(&[], 0.5), None);
        assert_eq!(quantile_type7(&[1.0], 1.5), None);
    }

    #[test]
    fn shortfall_takes_one_more_than_the_floor() {
        let returns: Vec<f64> = (0..41).map(|i| f64::from(40 - i) / 1000.0).collect();
        let stats = risk(&returns);
        assert_eq!(stats.es_95, Some((0.0 + 0.001 + 0.002) / 3.0));
        assert_eq!(stats.es_99, Some(0.0));
        assert_eq!(stats.var_95, Some(0.002));
    }
}
