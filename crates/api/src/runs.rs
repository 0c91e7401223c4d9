//! Runs: the last, a page of them, one.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{Month, RunId};
use domain::ports::{RunQuery, RunStore, StoreError, StoredRun};
use domain::run::RunPhase;
use domain::summary::{RunSummary, summarise};
use domain::words::RunStatus;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::answer::json;
use crate::cursor::{cursor, not_ours, place};
use crate::extract::{Asked, Named};
use crate::problem::Problem;

/// Runs on a page, where no other number is asked for.
const PAGE: usize = 50;

/// The largest page.
const LARGEST_PAGE: usize = 200;

/// The summary of a run as it is now: the stored one, or what the folds of an open run add up to.
///
/// What has not ended counts as missing, so that the totals always add up; the lines of the jobs and the causes are
/// there once the run is closed.
///
/// # Errors
/// The store. It is asked only for an open run, once.
pub(crate) async fn summary_now(store: &dyn RunStore, stored: &StoredRun) -> Result<RunSummary, StoreError> {
    if let Some(summary) = &stored.summary {
        return Ok(summary.clone());
    }
    let run = &stored.run;
    let mut summary = summarise(run, &[], &std::collections::BTreeMap::new());
    summary.publication = run.publication.clone();
    if run.plan.is_none() || run.phase == RunPhase::Missed {
        return Ok(summary);
    }
    summary.job_summary.clear();
    for fold in store.folds(run.batch_run_id).await? {
        summary.successful_jobs += fold.jobs.success;
        summary.failed_jobs += fold.jobs.failed;
        summary.skipped_jobs += fold.jobs.skipped;
        summary.portfolios_processed += u64::from(fold.processed);
        let [full, limited, failed] = fold.quality.map(u64::from);
        summary.data_quality.full += full;
        summary.data_quality.limited += limited;
        summary.data_quality.failed += failed;
    }
    let ended = summary.successful_jobs + summary.failed_jobs + summary.skipped_jobs;
    summary.missing_jobs = summary.total_jobs.saturating_sub(ended);
    Ok(summary)
}

/// The last run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastRun {
    /// When it began; null where there is none.
    last_run: Option<DateTime<Utc>>,
    /// How it stands or ended.
    status: Option<RunStatus>,
    /// The run.
    batch_run_id: Option<RunId>,
    /// Its trading date.
    as_of: Option<NaiveDate>,
    /// The verdict in one sentence.
    verdict: Option<String>,
    /// Its whole summary.
    run: Option<RunSummary>,
}

/// The newest run: when, how it went, and its summary.
#[utoipa::path(get, path = "/api/v1/batch/last-run", tag = "runs",
    responses((status = 200, description = "The newest run by its slot; nulls where there is none", body = LastRun)))]
pub(crate) async fn last_run(State(api): State<Api>) -> Result<Response, Problem> {
    let page = api.store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?;
    let Some(stored) = page.runs.first() else {
        return json(&LastRun {
            last_run: None,
            status: None,
            batch_run_id: None,
            as_of: None,
            verdict: None,
            run: None,
        });
    };
    let summary = summary_now(api.store.as_ref(), stored).await?;
    json(&LastRun {
        last_run: Some(summary.started_at),
        status: Some(summary.status),
        batch_run_id: Some(summary.batch_run_id),
        as_of: Some(summary.as_of),
        verdict: Some(summary.verdict()),
        run: Some(summary),
    })
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunsAsked {
    /// Only runs of this status; `running` are those that have not ended.
    status: Option<RunStatus>,
    /// Only runs of trading dates in this month, as `yyyy-mm`.
    month: Option<Month>,
    /// Only runs of this trading date.
    as_of: Option<NaiveDate>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// Where a page before this one ended: its `next`.
    #[param(pattern = r"^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Runs {
    /// The summaries, newest first.
    runs: Vec<RunSummary>,
    /// Where the next page begins, as `cursor`; null on the last.
    next: Option<String>,
}

/// A number within limits.
pub(crate) fn within(name: &str, asked: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    let asked = asked.unwrap_or(default);
    if (1..=most).contains(&asked) {
        Ok(asked)
    } else {
        Err(Problem::bad_request(format!("{name}: {asked} is not between 1 and {most}")))
    }
}

/// The runs, newest first, page by page.
#[utoipa::path(get, path = "/api/v1/batch/runs", tag = "runs", params(RunsAsked),
    responses((status = 200, description = "A page of runs", body = Runs)))]
pub(crate) async fn runs(State(api): State<Api>, Asked(asked): Asked<RunsAsked>) -> Result<Response, Problem> {
    let limit = within("limit", asked.limit, PAGE, LARGEST_PAGE)?;
    let after = asked.cursor.as_deref().map(|text| place('r', text)).transpose()?;
    let from_cursor = after.is_some();
    let month = asked.month.map(|month| month.to_string());
    let query = RunQuery { status: asked.status, month, as_of: asked.as_of, limit, after, ..RunQuery::default() };
    let page = match api.store.runs(&query).await {
        Err(StoreError::NotFound { .. }) if from_cursor => return Err(not_ours()),
        page => page?,
    };
    let mut runs = Vec::with_capacity(page.runs.len());
    for stored in &page.runs {
        runs.push(summary_now(api.store.as_ref(), stored).await?);
    }
    json(&Runs { runs, next: page.next.map(|next| cursor('r', &next)) })
}

/// A run that is there.
pub(crate) async fn existing(api: &Api, id: RunId) -> Result<StoredRun, Problem> {
    api.store.run(id).await?.ok_or_else(|| Problem::no_run(id))
}

/// One run.
#[utoipa::path(get, path = "/api/v1/batch/runs/{id}", tag = "runs",
    params(("id" = RunId, Path, description = "The run")),
    responses((status = 200, description = "Its summary", body = RunSummary)))]
pub(crate) async fn run(State(api): State<Api>, Named(id): Named<RunId>) -> Result<Response, Problem> {
    let stored = existing(&api, id).await?;
    json(&summary_now(api.store.as_ref(), &stored).await?)
}
