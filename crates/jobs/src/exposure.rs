//! Exposure of a portfolio by underlying, with options by their delta.

use std::collections::BTreeMap;

use book::Class;
use quant::aggregation::{Aggregate, Exposure, commitment_gross, herfindahl};
use serde::Serialize;

use crate::jobs::position_values_update::PositionRow;

/// Exposure words of `snapshot`, in the currency of the portfolio.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ExposureFigures {
    /// Sum of the values of the cash positions.
    pub cash_balance: Option<f64>,
    /// Sum of absolute delta-adjusted exposures of the positions.
    pub delta_adjusted_gross: Option<f64>,
    /// Sum of delta-adjusted exposures of the positions.
    pub delta_adjusted_net: Option<f64>,
    /// `delta_adjusted_gross` over equity.
    pub delta_adjusted_leverage: Option<f64>,
    /// Sum of absolute delta-adjusted exposures, netted per underlying, without cash.
    pub commitment_gross: Option<f64>,
    /// `concentration`: a part of the results document of its own.
    #[serde(skip)]
    pub concentration: Concentration,
}

/// Concentration by underlying, delta-adjusted, without cash.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Concentration {
    /// Herfindahl-Hirschman index; null without an exposure.
    pub hhi: Option<f64>,
    /// `1 / hhi`: the number of equal exposures with the same concentration.
    pub effective_number: Option<f64>,
}

impl ExposureFigures {
    /// Of these positions; `exposures` has one entry for each, `total` their sums.
    pub(crate) fn of(rows: &[PositionRow], exposures: &[Exposure], total: &Aggregate, equity: f64) -> Self {
        let mut by_underlying: BTreeMap<&str, f64> = BTreeMap::new();
        for (row, exposure) in rows.iter().zip(exposures).filter(|(row, _)| row.class != Class::Cash) {
            if !exposure.market_value.is_nan() && exposure.delta_adjusted.is_finite() {
                let key = row.option.as_ref().map_or(row.symbol.as_str(), |terms| terms.underlying.as_str());
                *by_underlying.entry(key).or_default() += exposure.delta_adjusted;
            }
        }
        let netted: Vec<f64> = by_underlying.into_values().collect();
        let hhi = herfindahl(&netted);
        let finite = |value: f64| Some(value + 0.0).filter(|value| value.is_finite());
        let cash = rows.iter().filter(|row| row.class == Class::Cash);
        Self {
            cash_balance: cash
                .map(|row| row.market_value)
                .try_fold(0.0, |sum, value| Some(sum + value?))
                .and_then(finite),
            delta_adjusted_gross: finite(total.delta_adjusted_gross),
            delta_adjusted_net: finite(total.delta_adjusted_net),
            delta_adjusted_leverage: finite(total.delta_adjusted_gross / equity),
            commitment_gross: finite(commitment_gross(&netted)),
            concentration: Concentration { hhi, effective_number: hhi.map(|hhi| 1.0 / hhi) },
        }
    }
}
