//! The job list of a run, as the settings ask for it.

use book::Settings;
use domain::ids::JobName;
use domain::job::JobSpec;

use crate::registry::REGISTRY;

/// Prices: critical, once per run.
pub const MARKET_DATA_UPDATE: &str = domain::job::RUN_LEVEL_JOB;
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

/// The jobs that the settings ask for, in the order in which they run: the built-in ones, then those of one's own.
///
/// A need for a job that is switched off is left out: the job then does without its output.
#[must_use]
pub fn job_list(settings: &Settings) -> Vec<JobSpec> {
    let asked = |name: &str| settings.run.jobs.iter().any(|job| job.as_str() == name);
    let entries = REGISTRY.iter().filter(|entry| asked(entry.about.name));
    let built_in = entries.map(|entry| JobSpec {
        name: job_name(entry.about.name),
        job_type: entry.about.job_type,
        critical: entry.about.critical,
        needs: entry.about.needs.iter().filter(|name| asked(name)).map(|name| job_name(name)).collect(),
        run_level: entry.about.run_level,
        time_limit_seconds: settings.run.job_timeout_seconds,
    });
    let added = settings.added_jobs.iter().map(|job| JobSpec {
        name: job.name.clone(),
        job_type: job.job_type,
        critical: job.critical,
        needs: job.needs.clone(),
        run_level: false,
        time_limit_seconds: job.time_limit_seconds.unwrap_or(settings.run.job_timeout_seconds),
    });
    built_in.chain(added).collect()
}

pub(crate) fn job_name(name: &str) -> JobName {
    JobName::new(name).unwrap_or_else(|_| unreachable!("the registry holds valid names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_list_is_every_job_with_the_needs_that_the_settings_check() {
        let list = job_list(&Settings::default());
        let names: Vec<&str> = list.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, book::settings::JOBS);
        for (at, job) in list.iter().enumerate() {
            let needs: Vec<&str> = job.needs.iter().map(JobName::as_str).collect();
            assert_eq!(needs, book::settings::needs_of(job.name.as_str()));
            assert!(job.needs.iter().all(|need| list[..at].iter().any(|before| before.name == *need)));
            assert_eq!(job.critical, ["market_data_update", "portfolio_aggregation"].contains(&job.name.as_str()));
            assert_eq!(job.run_level, job.name.as_str() == MARKET_DATA_UPDATE);
        }
    }

    #[test]
    fn a_job_that_is_switched_off_is_not_in_the_list() {
        let mut settings = Settings::default();
        settings.run.jobs.retain(|job| job.as_str() != GREEKS_CALCULATION);
        let list = job_list(&settings);
        assert_eq!(list.len(), 8);
        assert!(list.iter().all(|job| job.name.as_str() != GREEKS_CALCULATION));
    }
}
