//! The jobs of a portfolio: those that are built in, and `[[jobs]]`.

use domain::ids::JobName;
use domain::job_program::JobProgram;
use domain::words::JobType;
use serde::{Deserialize, Serialize};

/// All jobs of a portfolio, in the one order that respects their needs.
pub const JOBS: [&str; 9] = domain::job::BUILT_IN;

/// The jobs that a job needs: without them in the list, and before it, it could never run.
#[must_use]
pub fn needs_of(job: &str) -> &'static [&'static str] {
    match job {
        "position_values_update" | "greeks_calculation" => &["market_data_update"],
        "portfolio_aggregation" | "portfolio_snapshot" | "position_correlations" => &["position_values_update"],
        "factor_analysis" => &["market_data_update", "portfolio_aggregation"],
        "market_risk_scenarios" | "stress_testing" => &["factor_analysis"],
        _ => &[],
    }
}

/// One of `[[jobs]]`: a job that is a program of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedJob {
    /// Its name, which is also that of its part of the results document.
    pub name: JobName,
    /// Its family. Default `risk_metrics`.
    pub job_type: JobType,
    /// What is called.
    pub program: JobProgram,
    /// Jobs that must have succeeded first; their results are handed to the program.
    pub needs: Vec<JobName>,
    /// Whether its failure skips the jobs after it. Default no.
    pub critical: bool,
    /// What an attempt may take. Default: `job_timeout_seconds` of `[run]`.
    pub time_limit_seconds: Option<u32>,
}

/// Names that a job of one's own cannot have: parts of the results document.
pub const TAKEN_NAMES: [&str; 8] =
    ["positions", "aggregation", "greeks", "factors", "market_risk", "stress", "snapshot", "correlations"];

pub(crate) fn known_job(name: &str) -> JobName {
    match JobName::new(name) {
        Ok(name) => name,
        Err(error) => unreachable!("a constant: {error}"),
    }
}
