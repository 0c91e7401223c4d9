//! Runs and nights to test with.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeZone, Utc};
use domain::fingerprint::masked;
use domain::ids::{ContentHash, JobName, PortfolioId, RunId, ScheduleName};
use domain::night::{
    Acceptance, Control, ControlResult, Failure, JobResult, Level, Night, NightJob, NightPlan, NightRun, NightRunState,
    PortfolioRun,
};
use domain::words::{ErrorCategory, JobStatus, JobType};
use uuid::Uuid;

pub(crate) fn series() -> ScheduleName {
    ScheduleName::new("nightly").unwrap()
}

pub(crate) fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub(crate) fn as_of() -> NaiveDate {
    date("2026-11-24")
}

pub(crate) fn at(minutes: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 24, 23, 30, 0).unwrap() + chrono::Duration::minutes(minutes)
}

pub(crate) fn id(text: &str) -> PortfolioId {
    PortfolioId::new(text).unwrap()
}

/// `p01`, `p02`, and so on.
pub(crate) fn ids(count: u32) -> Vec<PortfolioId> {
    (1..=count).map(|n| id(&format!("p{n:02}"))).collect()
}

pub(crate) fn run_id(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

/// The nine built-in jobs.
pub(crate) fn nine_jobs() -> Vec<NightJob> {
    [
        ("market_data_update", JobType::MarketData),
        ("position_values_update", JobType::Valuation),
        ("portfolio_aggregation", JobType::Valuation),
        ("greeks_calculation", JobType::RiskMetrics),
        ("factor_analysis", JobType::RiskMetrics),
        ("market_risk_scenarios", JobType::RiskMetrics),
        ("stress_testing", JobType::RiskMetrics),
        ("portfolio_snapshot", JobType::Snapshots),
        ("position_correlations", JobType::RiskMetrics),
    ]
    .into_iter()
    .map(|(name, job_type)| NightJob { name: JobName::new(name).unwrap(), job_type })
    .collect()
}

pub(crate) fn result(job: &str, status: JobStatus) -> JobResult {
    JobResult { job: JobName::new(job).unwrap(), status, failure: None, skipped_because: None }
}

pub(crate) fn failed(job: &str, portfolio: &PortfolioId, category: ErrorCategory, message: &str) -> JobResult {
    let failure = Failure { category, message: message.to_owned(), masked: masked(message, &[portfolio.as_str()]) };
    JobResult { failure: Some(failure), ..result(job, JobStatus::Failed) }
}

pub(crate) fn skipped(job: &str, because: &str) -> JobResult {
    JobResult { skipped_because: Some(JobName::new(because).unwrap()), ..result(job, JobStatus::Skipped) }
}

/// A work item in which every job succeeded.
pub(crate) fn good() -> PortfolioRun {
    let jobs = nine_jobs().iter().map(|job| result(job.name.as_str(), JobStatus::Success)).collect();
    PortfolioRun { ended_on_its_own: true, jobs, ..PortfolioRun::default() }
}

/// A work item whose first job failed, so that the others were skipped.
pub(crate) fn failed_at_once(portfolio: &PortfolioId, category: ErrorCategory, message: &str) -> PortfolioRun {
    let first = nine_jobs()[0].name.to_string();
    let mut jobs = vec![failed(&first, portfolio, category, message)];
    jobs.extend(nine_jobs().iter().skip(1).map(|job| skipped(job.name.as_str(), &first)));
    PortfolioRun { ended_on_its_own: true, jobs, ..PortfolioRun::default() }
}

/// A work item without equity: two jobs fail, two are skipped because of them.
pub(crate) fn without_equity(portfolio: &PortfolioId) -> PortfolioRun {
    let message = format!(
        "portfolio {portfolio} has no usable equity: it is blank; give its net asset value, above zero, in the column \
         equity of portfolios.csv"
    );
    let mut run = good();
    for job in &mut run.jobs {
        let name = job.job.to_string();
        *job = match name.as_str() {
            "factor_analysis" | "portfolio_snapshot" => failed(&name, portfolio, ErrorCategory::Permanent, &message),
            "market_risk_scenarios" | "stress_testing" => skipped(&name, "factor_analysis"),
            _ => continue,
        };
    }
    run
}

/// A work item that was lost before any job was recorded.
pub(crate) fn lost() -> PortfolioRun {
    PortfolioRun::default()
}

pub(crate) fn plan(open: &[PortfolioId]) -> NightPlan {
    NightPlan {
        open: open.iter().cloned().collect(),
        closures: BTreeMap::new(),
        expected_before: BTreeSet::new(),
        jobs: nine_jobs(),
        inputs: ContentHash::of(b"inputs"),
        newest_close: Some(as_of()),
        nightbook_version: "0.1.0".to_owned(),
        restatement_tolerance: domain::night::editions::DEFAULT_TOLERANCE,
    }
}

/// A full run that ended an hour after it started.
pub(crate) fn full(n: u128, portfolios: BTreeMap<PortfolioId, PortfolioRun>) -> NightRun {
    let minutes = 60 * i64::try_from(n).unwrap();
    let open: Vec<PortfolioId> = portfolios.keys().cloned().collect();
    NightRun {
        id: run_id(n),
        started_at: at(minutes),
        trigger: "schedule".to_owned(),
        rerun_of: None,
        filter: Vec::new(),
        state: NightRunState::Ended { at: at(minutes + 30), canceled: false },
        plan: Some(plan(&open)),
        portfolios,
        controls: Vec::new(),
    }
}

/// A run of some of the open portfolios.
pub(crate) fn filtered(n: u128, open: &[PortfolioId], portfolios: BTreeMap<PortfolioId, PortfolioRun>) -> NightRun {
    let filter = portfolios.keys().cloned().collect();
    NightRun { filter, plan: Some(plan(open)), trigger: "manual".to_owned(), ..full(n, portfolios) }
}

pub(crate) fn missed(n: u128) -> NightRun {
    NightRun { state: NightRunState::Missed, plan: None, ..full(n, BTreeMap::new()) }
}

pub(crate) fn abandoned(n: u128, category: ErrorCategory, message: &str) -> NightRun {
    let failure = Failure { category, message: message.to_owned(), masked: masked(message, &[]) };
    let state = NightRunState::Abandoned { at: full(n, BTreeMap::new()).started_at, failure };
    NightRun { state, plan: None, ..full(n, BTreeMap::new()) }
}

pub(crate) fn all(
    ids: &[PortfolioId],
    of: impl Fn(&PortfolioId) -> PortfolioRun,
) -> BTreeMap<PortfolioId, PortfolioRun> {
    ids.iter().map(|id| (id.clone(), of(id))).collect()
}

pub(crate) fn control(control: Control, level: Level, portfolio: Option<&PortfolioId>) -> ControlResult {
    ControlResult {
        control,
        level,
        portfolio_id: portfolio.cloned(),
        symbol: None,
        figure: None,
        observed: None,
        limit: None,
        sessions: None,
        message: format!("{control} is not right"),
    }
}

pub(crate) fn acceptance(control: Control, portfolio: Option<&PortfolioId>, minutes: i64) -> Acceptance {
    Acceptance {
        control,
        portfolio: portfolio.cloned(),
        author: "Ada".to_owned(),
        note: "checked with the bank".to_owned(),
        at: at(minutes),
    }
}

pub(crate) fn night(runs: &[NightRun]) -> Night {
    Night::of(&series(), as_of(), runs, &[]).unwrap()
}
