//! The run that is going on, and how far it is.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::run::{Run, RunPhase, seconds_between};
use domain::work_item::ItemState;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::answer::json;
use crate::live::Hand;
use crate::problem::Problem;

/// Jobs in hand that are listed, at most.
const LISTED: usize = 20;

/// Jobs of the run that is going on.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct JobsNow {
    /// In all: portfolios times jobs. The others add up to it.
    total: u64,
    /// Ended well.
    completed: u64,
    /// Ended with an error.
    failed: u64,
    /// Not run, because a job they stand on did not succeed.
    skipped: u64,
    /// Of portfolios that were given up, without a record.
    missing: u64,
    /// Of portfolios that have not ended yet.
    pending: u64,
}

/// Portfolios of the run that is going on.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct PortfoliosNow {
    /// In all.
    total: u64,
    /// Ended.
    completed: u64,
}

/// A job in hand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandNow {
    /// Of which portfolio.
    portfolio_id: PortfolioId,
    /// Which job.
    job_name: JobName,
    /// Since when.
    since: DateTime<Utc>,
    /// What of it is in hand, for example `position 15/75 AAPL`.
    item: Option<String>,
}

/// How it stands now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Current {
    /// `idle` or `running`.
    status: &'static str,
    /// The run; null when idle.
    batch_run_id: Option<RunId>,
    /// How it stands, in words.
    message: String,
    /// When it began.
    started_at: Option<DateTime<Utc>>,
    /// Seconds since then.
    elapsed_seconds: Option<f64>,
    /// What started it.
    triggered_by: Option<String>,
    /// Its trading date.
    as_of: Option<NaiveDate>,
    /// `planning`, `running` or `closing`.
    phase: Option<&'static str>,
    /// Its jobs.
    jobs: JobsNow,
    /// Its portfolios.
    portfolios: PortfoliosNow,
    /// The job that is in hand for the longest.
    current_job: Option<JobName>,
    /// Its portfolio.
    current_portfolio: Option<PortfolioId>,
    /// What of it is in hand.
    current_item: Option<String>,
    /// Jobs in hand, the longest first, at most 20.
    in_hand: Vec<HandNow>,
    /// Share of the jobs that have ended, in percent.
    progress_percent: f64,
}

/// The run that is going on: 200 also when there is none.
#[utoipa::path(get, path = "/api/v1/batch/runs/current", tag = "runs",
    responses((status = 200, description = "How far the run is, or that there is none", body = Current)))]
pub(crate) async fn current(State(api): State<Api>) -> Result<Response, Problem> {
    let open = api.store.open_runs().await?;
    // What is worked on before what waits for its turn.
    let Some(run) = open.iter().max_by_key(|run| (run.plan.is_some(), run.started_at)) else {
        return json(&Current {
            status: "idle",
            batch_run_id: None,
            message: "no run is going on".to_owned(),
            started_at: None,
            elapsed_seconds: None,
            triggered_by: None,
            as_of: None,
            phase: None,
            jobs: JobsNow::default(),
            portfolios: PortfoliosNow::default(),
            current_job: None,
            current_portfolio: None,
            current_item: None,
            in_hand: Vec::new(),
            progress_percent: 0.0,
        });
    };
    let (jobs, portfolios, first_open_bucket) = progress(&api, run).await?;
    let hands = in_hand(&api, run, first_open_bucket).await?;
    let longest = hands.first();
    let ended = jobs.total - jobs.pending;
    let phase = match run.phase {
        RunPhase::Planning { .. } => "planning",
        RunPhase::Closing { .. } => "closing",
        _ => "running",
    };
    json(&Current {
        status: "running",
        batch_run_id: Some(run.batch_run_id),
        message: match phase {
            "planning" => "the inputs are being read".to_owned(),
            "closing" => "every portfolio has ended; the run is being closed".to_owned(),
            _ => format!("{ended} of {} jobs have ended", jobs.total),
        },
        started_at: Some(run.started_at),
        elapsed_seconds: Some(tenths(seconds_between(run.started_at, api.clock.now()))),
        triggered_by: Some(run.trigger.clone()),
        as_of: Some(run.as_of),
        phase: Some(phase),
        current_job: longest.map(|hand| hand.job.clone()),
        current_portfolio: longest.map(|hand| hand.portfolio.clone()),
        current_item: longest.and_then(item),
        in_hand: hands.iter().take(LISTED).map(now).collect(),
        progress_percent: if jobs.total == 0 { 0.0 } else { tenths(ended as f64 * 100.0 / jobs.total as f64) },
        jobs,
        portfolios,
    })
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn item(hand: &Hand) -> Option<String> {
    hand.progress.as_ref().map(|progress| progress.item.clone())
}

fn now(hand: &Hand) -> HandNow {
    HandNow { portfolio_id: hand.portfolio.clone(), job_name: hand.job.clone(), since: hand.since, item: item(hand) }
}

/// What has ended, from the folds; and the first bucket that is not full.
async fn progress(api: &Api, run: &Run) -> Result<(JobsNow, PortfoliosNow, Option<u32>), Problem> {
    let Some(plan) = &run.plan else { return Ok(Default::default()) };
    let folds = api.store.folds(run.batch_run_id).await?;
    let mut jobs = JobsNow { total: plan.total_jobs(), ..JobsNow::default() };
    let mut portfolios = PortfoliosNow { total: u64::from(plan.portfolios), completed: 0 };
    for fold in &folds {
        jobs.completed += fold.jobs.success;
        jobs.failed += fold.jobs.failed;
        jobs.skipped += fold.jobs.skipped;
        jobs.missing += fold.jobs.missing;
        portfolios.completed += fold.done.len() as u64;
    }
    jobs.pending = jobs.total.saturating_sub(jobs.completed + jobs.failed + jobs.skipped + jobs.missing);
    let is_full = |bucket: u32| {
        folds.iter().any(|fold| fold.bucket == bucket && fold.done.len() as u64 >= u64::from(plan.bucket_len(bucket)))
    };
    Ok((jobs, portfolios, (0..plan.buckets()).find(|bucket| !is_full(*bucket))))
}

/// What is in hand, the longest first: as this process knows, or as the heartbeats of one bucket say.
async fn in_hand(api: &Api, run: &Run, bucket: Option<u32>) -> Result<Vec<Hand>, Problem> {
    let mut hands = match (&api.live, bucket) {
        (Some(live), _) => live.in_hand(),
        (None, None) => Vec::new(),
        (None, Some(bucket)) => {
            let items = api.store.items(run.batch_run_id, bucket).await?;
            let working = items.into_iter().filter(|item| matches!(item.state, ItemState::Working { .. }));
            let hand = |item: domain::work_item::WorkItem| {
                let hand = item.in_hand?;
                let (job, since, progress) = (hand.job, hand.started_at, hand.progress);
                Some(Hand { portfolio: item.key.portfolio, job, since, progress })
            };
            working.filter_map(hand).collect()
        }
    };
    hands.sort_by_key(|hand| hand.since);
    Ok(hands)
}
