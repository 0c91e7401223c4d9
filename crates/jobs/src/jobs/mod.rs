//! The jobs, one file each. [`crate::registry`] says how to add one.

pub mod factor_analysis;
pub mod greeks_calculation;
pub mod market_data_update;
pub mod market_risk_scenarios;
pub mod portfolio_aggregation;
pub mod portfolio_snapshot;
pub mod position_correlations;
pub mod position_values_update;
pub mod stress_testing;

use book::Class;
use domain::night::limits::number;
use domain::record::JobError;
use domain::words::ErrorCategory;

use crate::jobs::position_values_update::PositionRow;
use crate::registry::Input;
use crate::shared::Model;

/// The portfolio has no net asset value to put figures in relation to.
#[derive(Debug, thiserror::Error)]
#[error(
    "portfolio {portfolio} has no usable equity: {found}; give its net asset value, above zero, in the column equity of {file}"
)]
pub struct NoEquity {
    portfolio: String,
    found: String,
    file: &'static str,
}

impl NoEquity {
    /// The same tomorrow, unless somebody changes the book.
    #[must_use]
    pub fn category(&self) -> ErrorCategory {
        ErrorCategory::Permanent
    }
}

/// The equity of the portfolio, above zero.
pub(crate) fn equity(input: &Input<'_>) -> Result<f64, JobError> {
    match input.portfolio.equity {
        Some(equity) if equity > 0.0 && equity.is_finite() => Ok(equity),
        other => {
            let on = input.portfolio.equity_on.map_or_else(String::new, |date| format!(" on {date}"));
            let found = other.map_or_else(|| "it is blank".to_owned(), |value| format!("it is {}{on}", number(value)));
            let file = if on.is_empty() { "portfolios.csv" } else { "equity.csv" };
            let error = NoEquity { portfolio: input.portfolio.id.to_string(), found, file };
            Err(JobError::from_error(error.category(), &error))
        }
    }
}

/// How a position goes into factors and risk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Risk {
    /// By this exposure to the returns of this symbol.
    Exposed { exposure: f64, symbol: usize },
    /// It could, but something is missing.
    LeftOut(&'static str),
    /// It moves with no market: private holdings, cash, options past their expiry.
    None,
}

/// How a position goes into factors and risk: its market value, or for an option its delta-adjusted exposure to the
/// underlying. Options need the Greeks.
pub(crate) fn risk_of(input: &Input<'_>, row: &PositionRow, greeks: bool) -> Risk {
    let quote = &input.shared.quotes[row.instrument];
    let exposed = |exposure: f64| match quote.driver {
        Some(symbol) if exposure.is_finite() => Risk::Exposed { exposure, symbol },
        _ => Risk::LeftOut("its exposure is out of range"),
    };
    match row.class {
        Class::Private | Class::Cash => Risk::None,
        Class::Public => row.market_value.map_or(Risk::LeftOut("it has no price"), exposed),
        Class::Option if quote.model == Some(Model::Expired) => Risk::None,
        Class::Option if !greeks => Risk::LeftOut("the Greeks were not calculated"),
        Class::Option => match quote.model {
            Some(Model::Ok { greeks, spot, .. }) => {
                exposed(quant::aggregation::delta_adjusted(row.quantity, row.multiplier, greeks.delta, spot))
            }
            Some(Model::NoUnderlying) => Risk::LeftOut("its underlying has no price"),
            _ => Risk::LeftOut("the model cannot value it"),
        },
    }
}
