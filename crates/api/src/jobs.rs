//! Jobs: of a run, over the last days, and when one last succeeded.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Duration, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::job::JobSpec;
use domain::names;
use domain::night::{Verdict, recent_nights};
use domain::ports::{NightQuery, RecordQuery};
use domain::recent_runs::{RecentRuns, recent_runs};
use domain::record::JobRecord;
use domain::run_jobs::{JobsPage, jobs_page};
use domain::summary::JobSummary;
use domain::words::{JobStatus, JobType, RunStatus};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::answer::json;
use crate::cursor::{cursor, record_cursor};
use crate::extract::{Asked, Named};
use crate::problem::Problem;
use crate::runs::{existing, within};

/// Records on a page, where no other number is asked for.
const PAGE: usize = 1_000;

/// The largest page.
const LARGEST_PAGE: usize = 10_000;

/// Jobs that the status of the last days lists, at most.
const LISTED: usize = 100;

/// Runs whose records one answer reads, at most.
const RUNS_READ: usize = 31;

/// Which jobs of a run.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunJobsAsked {
    /// Only of this portfolio (`portfolio` for short).
    #[serde(alias = "portfolio")]
    portfolio_id: Option<PortfolioId>,
    /// Only this job (`job` for short).
    #[serde(alias = "job")]
    job_name: Option<JobName>,
    /// Only jobs of this family.
    job_type: Option<JobType>,
    /// Only jobs that stand so; `missing` are those that should have a record and have none.
    status: Option<JobStatus>,
    /// At most so many.
    #[param(minimum = 1, maximum = 10_000, default = 1_000)]
    limit: Option<usize>,
    /// Where a page before this one ended: its `next`.
    #[param(pattern = r"^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A page of the jobs of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunJobs {
    /// The run.
    batch_run_id: RunId,
    /// How it stands or ended.
    status: RunStatus,
    /// Jobs that fit, on all pages.
    total_jobs: u64,
    /// Their records, by portfolio and in the order of the job list.
    jobs: Vec<JobRecord>,
    /// Where the next page begins, as `cursor`; null on the last.
    next: Option<String>,
}

/// The jobs of a run: each with its portfolio, how it stands, and why.
#[utoipa::path(get, path = "/api/v1/batch/runs/{id}/jobs", tag = "runs",
    params(("id" = RunId, Path, description = "The run"), RunJobsAsked),
    responses((status = 200, description = "A page of its jobs", body = RunJobs)))]
pub(crate) async fn of_run(
    State(api): State<Api>,
    Named(id): Named<RunId>,
    Asked(asked): Asked<RunJobsAsked>,
) -> Result<Response, Problem> {
    let limit = within("limit", asked.limit, PAGE, LARGEST_PAGE)?;
    let after = asked.cursor.as_deref().map(record_cursor).transpose()?;
    let permit = api.large.permit().await;
    let stored = existing(&api, id).await?;
    if let Some(job) = &asked.job_name {
        names::require_job_of(&stored.run, job).map_err(|error| Problem::of_parameter("job_name", error.into()))?;
    }
    let query = RecordQuery {
        portfolio: asked.portfolio_id,
        job: asked.job_name,
        job_type: asked.job_type,
        status: asked.status,
    };
    let JobsPage { total, jobs, next } = jobs_page(api.store.as_ref(), &stored, &query, after, limit).await?;
    if let (0, Some(portfolio)) = (total, &query.portfolio) {
        let item = names::item_of(api.store.as_ref(), &stored, portfolio).await;
        item.map_err(|error| Problem::of_parameter("portfolio_id", error))?;
    }
    let page = RunJobs {
        batch_run_id: id,
        status: stored.status(),
        total_jobs: total,
        next: next.map(|next| cursor('p', &next.to_string())),
        jobs,
    };
    permit.json(page).await
}

/// Which jobs of the last days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusAsked {
    /// Only this job.
    job_name: Option<JobName>,
    /// Only jobs of this family.
    job_type: Option<JobType>,
    /// Only jobs that stand so.
    status: Option<JobStatus>,
    /// Only of this portfolio.
    portfolio_id: Option<PortfolioId>,
    /// How many days back, counted from the start of the newest run.
    #[param(minimum = 1, maximum = 90, default = 1)]
    days_back: Option<usize>,
}

/// What was asked for, as it was understood.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusFilters {
    /// The job.
    job_name: Option<JobName>,
    /// The family.
    job_type: Option<JobType>,
    /// How they stand.
    status: Option<JobStatus>,
    /// The portfolio.
    portfolio_id: Option<PortfolioId>,
    /// Runs that began at this instant or later.
    since: Option<DateTime<Utc>>,
}

/// Jobs of the last days.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsStatus {
    /// Jobs that fit, in the runs that were looked at.
    total_jobs: u64,
    /// What was asked for.
    filters: StatusFilters,
    /// Their records, newest run first, at most 100.
    jobs: Vec<JobRecord>,
    /// Whether there are more than these: `/batch/runs/{id}/jobs` has them all.
    truncated: bool,
}

/// The newest jobs of the last days.
#[utoipa::path(get, path = "/api/v1/batch/jobs/status", tag = "jobs", params(StatusAsked),
    responses((status = 200, description = "Jobs, newest run first", body = JobsStatus)))]
pub(crate) async fn status(State(api): State<Api>, Asked(asked): Asked<StatusAsked>) -> Result<Response, Problem> {
    let days = within("days_back", asked.days_back, 1, 90)?;
    let permit = api.large.permit().await;
    let window = recent_runs(api.store.as_ref(), Duration::days(days as i64)).await?;
    let query = RecordQuery {
        portfolio: asked.portfolio_id.clone(),
        job: asked.job_name.clone(),
        job_type: asked.job_type,
        status: asked.status,
    };
    let (mut jobs, mut total_jobs, mut read) = (Vec::new(), 0, 0);
    for stored in &window.runs {
        let room = LISTED - jobs.len();
        if room == 0 || read == RUNS_READ {
            break;
        }
        read += 1;
        let page = jobs_page(api.store.as_ref(), stored, &query, None, room).await?;
        total_jobs += page.total;
        jobs.extend(page.jobs);
    }
    if total_jobs == 0 {
        known_job(&api, asked.job_name.as_ref()).await?;
        known_portfolio(&api, asked.portfolio_id.as_ref()).await?;
    }
    let answer = JobsStatus {
        truncated: total_jobs > jobs.len() as u64 || read < window.runs.len(),
        total_jobs,
        filters: StatusFilters {
            job_name: asked.job_name,
            job_type: asked.job_type,
            status: asked.status,
            portfolio_id: asked.portfolio_id,
            since: window.since,
        },
        jobs,
    };
    permit.json(answer).await
}

/// The job that was asked for is known, so that an empty answer about it is true.
async fn known_job(api: &Api, job: Option<&JobName>) -> Result<(), Problem> {
    let Some(job) = job else { return Ok(()) };
    names::require_job(api.store.as_ref(), job).await.map_err(|error| Problem::of_parameter("job_name", error))
}

/// The same of a portfolio.
async fn known_portfolio(api: &Api, portfolio: Option<&PortfolioId>) -> Result<(), Problem> {
    let Some(portfolio) = portfolio else { return Ok(()) };
    let known = names::require_portfolio(api.store.as_ref(), portfolio).await;
    known.map_err(|error| Problem::of_parameter("portfolio_id", error))
}

/// How many days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SummaryAsked {
    /// How many days back, counted from the start of the newest run.
    #[param(minimum = 1, maximum = 90, default = 7)]
    days_back: Option<usize>,
    /// Only this job.
    job_name: Option<JobName>,
    /// Only jobs of this family.
    job_type: Option<JobType>,
}

/// From when to when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Period {
    /// Its beginning; null where there is no run.
    start: Option<DateTime<Utc>>,
    /// The start of the newest run.
    end: Option<DateTime<Utc>>,
    /// Days.
    days: usize,
}

/// What jobs add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Counts {
    /// All of them. The others, `warnings` apart, add up to it.
    total: u64,
    /// Ended well.
    completed: u64,
    /// Ended with an error.
    failed: u64,
    /// Not run.
    skipped: u64,
    /// Without a record.
    missing: u64,
    /// Of runs that have not been closed.
    running: u64,
    /// Of those that ended well: only after another attempt.
    warnings: u64,
}

impl Counts {
    const fn add(&mut self, line: &JobSummary) {
        self.total += line.portfolios;
        self.completed += line.success;
        self.failed += line.failed;
        self.skipped += line.skipped;
        self.missing += line.missing;
        self.warnings += line.retried;
    }
}

/// What the jobs of all the runs add up to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// Jobs in all.
    total_jobs: u64,
    /// Ended well.
    completed: u64,
    /// Ended with an error.
    failed: u64,
    /// Not run.
    skipped: u64,
    /// Without a record.
    missing: u64,
    /// Ended well, but only after another attempt.
    warnings: u64,
    /// Of runs that have not been closed.
    running: u64,
    /// Share of the jobs of closed runs that ended well, in percent; 0 where there is none.
    success_rate: f64,
    /// Mean seconds of work of a job that ran; 0 where none did, null where the question is for some of the jobs.
    avg_execution_time_seconds: Option<f64>,
}

/// The jobs of the runs of the last days, added up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsSummary {
    /// From when to when.
    period: Period,
    /// Runs in it.
    runs: usize,
    /// All jobs.
    summary: Totals,
    /// By family.
    by_job_type: BTreeMap<JobType, Counts>,
    /// By job.
    by_job: BTreeMap<JobName, Counts>,
    /// What stands of the nights of these days: each job of each expected portfolio once. Null where the question is for
    /// some of the jobs.
    nights: Option<NightsSummary>,
}

/// What the nights of a period add up to. The counts of runs count a job again for each rerun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NightsSummary {
    /// Nights that have ended, missed ones included.
    nights: usize,
    /// Of these, good ones: their verdict is `ok` or `warning`.
    good: usize,
    /// Jobs in all: the others add up to it.
    total_jobs: u64,
    /// Ended well.
    completed: u64,
    /// Ended with an error.
    failed: u64,
    /// Not run.
    skipped: u64,
    /// Without a record.
    missing: u64,
    /// Share of the jobs that ended well, in percent; 0 where there is none.
    success_rate: f64,
}

/// What the nights add up to whose trading dates lie in the days of a window.
async fn night_totals(api: &Api, window: &RecentRuns) -> Result<NightsSummary, Problem> {
    let (reader, now) = (api.nights.reader().await?, api.clock.now());
    let from = window.runs.iter().map(|stored| stored.run.as_of).min();
    let to = Some(reader.schedule.last_allowed(now));
    let query = NightQuery { series: reader.series().clone(), from, to, limit: 0 };
    let heads = if from.is_some() { recent_nights(api.store.as_ref(), &query, now).await? } else { Vec::new() };
    let mut totals = NightsSummary {
        nights: 0,
        good: 0,
        total_jobs: 0,
        completed: 0,
        failed: 0,
        skipped: 0,
        missing: 0,
        success_rate: 0.0,
    };
    for head in heads.into_iter().filter(|head| head.verdict != Verdict::Running) {
        totals.nights += 1;
        totals.good += usize::from(matches!(head.verdict, Verdict::Ok | Verdict::Warning));
        totals.total_jobs += head.totals.total_jobs;
        totals.completed += head.totals.success;
        totals.failed += head.totals.failed;
        totals.skipped += head.totals.skipped;
        totals.missing += head.totals.missing;
    }
    totals.success_rate = percent(totals.completed, totals.total_jobs);
    Ok(totals)
}

/// A share in percent, with two decimals; 0 of nothing.
fn percent(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { hundredths(part as f64 * 100.0 / of as f64) }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The jobs of the last days, added up.
#[utoipa::path(get, path = "/api/v1/batch/jobs/summary", tag = "jobs", params(SummaryAsked),
    responses((status = 200, description = "Counts over the runs of these days", body = JobsSummary)))]
pub(crate) async fn summary(State(api): State<Api>, Asked(asked): Asked<SummaryAsked>) -> Result<Response, Problem> {
    let days = within("days_back", asked.days_back, 7, 90)?;
    let window = recent_runs(api.store.as_ref(), Duration::days(days as i64)).await?;
    let some = asked.job_name.is_some() || asked.job_type.is_some();
    let SummaryAsked { job_name, job_type, .. } = asked;
    let selects = |job: &JobSpec| {
        job_name.as_ref().is_none_or(|name| job.name == *name) && job_type.is_none_or(|family| job.job_type == family)
    };
    let mut by_job_type: BTreeMap<JobType, Counts> = BTreeMap::new();
    let mut by_job: BTreeMap<JobName, Counts> = BTreeMap::new();
    let mut all = Counts::default();
    let (mut work, mut worked) = (0.0, 0);
    for stored in &window.runs {
        let Some(plan) = &stored.run.plan else { continue };
        for job in plan.jobs.iter().filter(|job| selects(job)) {
            let mut counts = Counts::default();
            match &stored.summary {
                Some(summary) => {
                    summary.job_summary.iter().filter(|line| line.job == job.name).for_each(|line| counts.add(line))
                }
                None => {
                    counts.total = u64::from(plan.portfolios);
                    counts.running = counts.total;
                }
            }
            for sum in
                [&mut all, by_job_type.entry(job.job_type).or_default(), by_job.entry(job.name.clone()).or_default()]
            {
                sum.total += counts.total;
                sum.completed += counts.completed;
                sum.failed += counts.failed;
                sum.skipped += counts.skipped;
                sum.missing += counts.missing;
                sum.running += counts.running;
                sum.warnings += counts.warnings;
            }
        }
        if let Some(summary) = &stored.summary {
            work += summary.total_duration;
            worked += summary.successful_jobs + summary.failed_jobs;
        }
    }
    if by_job.is_empty() {
        known_job(&api, job_name.as_ref()).await?;
    }
    let closed = all.total - all.running;
    let nights = if some { None } else { Some(night_totals(&api, &window).await?) };
    json(&JobsSummary {
        period: Period { start: window.since, end: window.until, days },
        runs: window.runs.len(),
        summary: Totals {
            total_jobs: all.total,
            completed: all.completed,
            failed: all.failed,
            skipped: all.skipped,
            missing: all.missing,
            warnings: all.warnings,
            running: all.running,
            success_rate: percent(all.completed, closed),
            avg_execution_time_seconds: match (some, worked) {
                (true, _) => None,
                (false, 0) => Some(0.0),
                (false, worked) => Some(hundredths(work / worked as f64)),
            },
        },
        by_job_type,
        by_job,
        nights,
    })
}

/// Of which portfolio.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LastAsked {
    /// Only for this portfolio.
    portfolio_id: Option<PortfolioId>,
}

/// When a job last succeeded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastSuccess {
    /// The job.
    job: JobName,
    /// The portfolio that was asked for.
    portfolio_id: Option<PortfolioId>,
    /// Its newest success; null where it never succeeded.
    last_success: Option<JobRecord>,
}

/// When a job last succeeded, overall or for a portfolio.
#[utoipa::path(get, path = "/api/v1/batch/jobs/{job}/last-success", tag = "jobs",
    params(("job" = JobName, Path, description = "The job, for example factor_analysis"), LastAsked),
    responses((status = 200, description = "The record of its newest success", body = LastSuccess)))]
pub(crate) async fn last_success(
    State(api): State<Api>,
    Named(job): Named<JobName>,
    Asked(asked): Asked<LastAsked>,
) -> Result<Response, Problem> {
    let last_success = api.store.last_success(&job, asked.portfolio_id.as_ref()).await?;
    if last_success.is_none() {
        names::require_job(api.store.as_ref(), &job).await.map_err(Problem::of_path)?;
        known_portfolio(&api, asked.portfolio_id.as_ref()).await?;
    }
    json(&LastSuccess { job, portfolio_id: asked.portfolio_id, last_success })
}
