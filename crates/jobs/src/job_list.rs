//! The job list of a run, as the settings ask for it.

use book::Settings;
use domain::ids::JobName;
use domain::job::JobSpec;

use crate::registry::REGISTRY;

/// Prices: critical, once per run.
pub const MARKET_DATA_UPDATE: &str = "market_data_update";
/// Values of positions.
pub const POSITION_VALUES_UPDATE: &str = "position_values_update";
/// Totals of the portfolio: critical.
pub const PORTFOLIO_AGGREGATION: &str = "portfolio_aggregation";
/// Sensitivities of options.
pub const GREEKS_CALCULATION: &str = "greeks_calculation";
/// Betas and exposures to factors.
pub const FACTOR_ANALYSIS: &str = "factor_analysis";
/// Moves of the market.
pub const MARKET_RISK_SCENARIOS: &str = "market_risk_scenarios";
/// Scenarios.
pub const STRESS_TESTING: &str = "stress_testing";
/// The figures of the portfolio on the day.
pub const PORTFOLIO_SNAPSHOT: &str = "portfolio_snapshot";
/// Correlations of positions.
pub const POSITION_CORRELATIONS: &str = "position_correlations";

/// The jobs that the settings ask for, in the order in which they run.
///
/// A need for a job that is switched off is left out: the job then does without its output.
#[must_use]
pub fn job_list(settings: &Settings) -> Vec<JobSpec> {
    let asked = |name: &str| settings.run.jobs.iter().any(|job| job.as_str() == name);
    let entries = REGISTRY.iter().filter(|entry| asked(entry.about.name));
    entries
        .map(|entry| JobSpec {
            name: job_name(entry.about.name),
            job_type: entry.about.job_type,
            critical: entry.about.critical,
            needs: entry.about.needs.iter().filter(|name| asked(name)).map(|name| job_name(name)).collect(),
            run_level: entry.about.run_level,
            time_limit_seconds: settings.run.job_timeout_seconds,
        })
        .collect()
}

pub(crate) fn job_name(name: &str) -> JobName {
    JobName::new(name).unwrap_or_else(|_| unreachable!("the registry holds valid names"))
}
