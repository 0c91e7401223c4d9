//! Runs: the last, a page of them, one.

use app::{Detail, run_of_night, summary_now};
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{Month, RunId};
use domain::night::report::NightReport;
use domain::ports::{RunQuery, StoreError, StoredRun};
use domain::summary::RunSummary;
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

/// The newest night, in the words of an API that knew runs alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastRun {
    /// When the run that stands for the night began; null if there is no night.
    last_run: Option<DateTime<Utc>>,
    /// The verdict of the night, in the words of runs: `ok` and `warning` are `success`.
    status: Option<RunStatus>,
    /// The run that stands for the night: the newest one of all portfolios, else the newest one.
    batch_run_id: Option<RunId>,
    /// The trading date of the night.
    as_of: Option<NaiveDate>,
    /// The headline of the night.
    verdict: Option<String>,
    /// The whole summary of that run. Its counts are of this run alone; those of the night are in `night`.
    run: Option<RunSummary>,
    /// The night.
    night: Option<NightReport>,
}

/// The newest night: how it stands, and the run that stands for it.
#[utoipa::path(get, path = "/api/v1/batch/last-run", tag = "runs",
    responses((status = 200, description = "The newest night and its run; nulls if there is none", body = LastRun)))]
pub(crate) async fn last_run(State(api): State<Api>) -> Result<Response, Problem> {
    let (reader, store, now) = (api.nights.reader().await?, api.store.as_ref(), api.clock.now());
    let Some(view) = reader.newest(store, now).await? else {
        return json(&LastRun {
            last_run: None,
            status: None,
            batch_run_id: None,
            as_of: None,
            verdict: None,
            run: None,
            night: None,
        });
    };
    let night = reader.report(store, &view, now).await?;
    let stored = match run_of_night(&view, None) {
        Some(run) => store.run(run).await?,
        None => None,
    };
    let summary = match &stored {
        Some(stored) => Some(summary_now(store, stored, Detail::Totals).await?),
        None => None,
    };
    json(&LastRun {
        last_run: summary.as_ref().map(|summary| summary.started_at),
        status: Some(night.verdict.status()),
        batch_run_id: summary.as_ref().map(|summary| summary.batch_run_id),
        as_of: Some(night.as_of),
        verdict: Some(night.headline.clone()),
        run: summary,
        night: Some(night),
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
        runs.push(summary_now(api.store.as_ref(), stored, Detail::Totals).await?);
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
    json(&summary_now(api.store.as_ref(), &stored, Detail::Totals).await?)
}
