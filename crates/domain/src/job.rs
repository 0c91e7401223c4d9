//! The job list of a run: which jobs there are, what each needs, and how a stopped job stops others.

use serde::{Deserialize, Serialize};

use crate::ids::JobName;
use crate::words::JobType;

/// The built-in jobs of a portfolio, in the one order that respects their needs.
pub const BUILT_IN: [&str; 9] = [
    "market_data_update",
    "position_values_update",
    "portfolio_aggregation",
    "greeks_calculation",
    "factor_analysis",
    "market_risk_scenarios",
    "stress_testing",
    "portfolio_snapshot",
    "position_correlations",
];

/// The job whose work is done once for the run: it reads and pins the inputs. What fails before there is a job list is
/// recorded under its name.
pub const RUN_LEVEL_JOB: &str = "market_data_update";

/// One job of a run's job list. The list is stored with the run, so a later change of settings does not change old runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The name, for example `factor_analysis`.
    pub name: JobName,
    /// The family.
    pub job_type: JobType,
    /// Whether a failure skips the rest of that portfolio.
    pub critical: bool,
    /// Jobs of the same list that must have succeeded first.
    pub needs: Vec<JobName>,
    /// Whether the work is done once for the run, and recorded for each portfolio.
    #[serde(default)]
    pub run_level: bool,
    /// Time limit of one attempt, in seconds.
    pub time_limit_seconds: u32,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small list in the shape of the real one: `a` critical, `b` needs `a`, `c` critical needs `b`, `d` needs `c`.
    pub(crate) fn list() -> Vec<JobSpec> {
        let name = |text: &str| JobName::new(text).unwrap();
        let spec = |n: &str, critical, needs: &[&str]| JobSpec {
            name: name(n),
            job_type: JobType::Valuation,
            critical,
            needs: needs.iter().map(|n| name(n)).collect(),
            run_level: n == "a",
            time_limit_seconds: 300,
        };
        vec![spec("a", true, &[]), spec("b", false, &["a"]), spec("c", true, &["b"]), spec("d", false, &["c"])]
    }
}
