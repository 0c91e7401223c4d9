//! `[[limits]]`: limits of recorded figures.

use domain::ids::PortfolioId;
use domain::night::limits::Bound;
use serde::{Deserialize, Serialize};

/// One of `[[limits]]`: a recorded figure, the limit, and the portfolios that it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureLimit {
    /// `figure`: one of [`domain::ports::KEY_FIGURES`].
    pub figure: String,
    /// `max` or `min`.
    pub bound: Bound,
    /// The limit, in the unit of the figure. Losses are negative, so their limit is a `min`.
    pub limit: f64,
    /// `warn`: the share of the limit from which on the figure warns; `None`: that of `[controls] limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<f64>,
    /// `portfolio` or `tag`.
    #[serde(default)]
    pub portfolios: LimitScope,
}

/// The portfolios that a limit is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitScope {
    /// All.
    #[default]
    All,
    /// This one.
    Portfolio(PortfolioId),
    /// Those with this tag.
    Tag(String),
}

/// The job that records a figure; none if it is not a recorded figure.
#[must_use]
pub fn job_of_figure(figure: &str) -> Option<&'static str> {
    Some(match figure {
        "market_value" => "position_values_update",
        "gross" | "net" | "leverage" => "portfolio_aggregation",
        "market_beta" => "factor_analysis",
        "worst_case_pnl" => "stress_testing",
        "cash_balance"
        | "delta_adjusted_leverage"
        | "historical_es_95"
        | "historical_max_drawdown"
        | "historical_var_95"
        | "historical_var_99"
        | "historical_volatility"
        | "market_coverage"
        | "pnl_coverage" => "portfolio_snapshot",
        "coverage" | "daily_pnl" | "daily_return" | "es_95" | "max_drawdown" | "total_value" | "var_95" | "var_99"
        | "volatility" => "portfolio_snapshot",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_figure_has_its_job() {
        for figure in domain::ports::KEY_FIGURES {
            let job = job_of_figure(figure).unwrap_or_else(|| panic!("{figure} has no job"));
            assert!(crate::settings::JOBS.contains(&job), "{job}");
        }
        assert_eq!(job_of_figure("var_90"), None);
    }
}
