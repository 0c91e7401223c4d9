//! What came before: causes of failures, the runs of a portfolio, data quality.

use app::{Detail, summary_now};
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use domain::causes::{Cause, by_cause};
use domain::ids::{Fingerprint, PortfolioId, RunId};
use domain::names;
use domain::ports::{PortfolioRun, RunQuery};
use domain::recent_runs::newest_start;
use domain::summary::QualitySummary;
use domain::words::{QualityFlag, RunStatus};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::answer::json;
use crate::extract::{Asked, Named};
use crate::problem::Problem;
use crate::runs::within;

/// Runs of a portfolio that are listed, at most.
const PORTFOLIO_RUNS: usize = 400;

/// Which failures.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FailuresAsked {
    /// Only this cause.
    fingerprint: Option<Fingerprint>,
    /// Only in runs that began since: a time back from the start of the newest run (`30d`, `12h`, `90m`), a date, or an
    /// instant (RFC 3339). Default: `30d`.
    #[param(pattern = r"^([0-9]{1,4}[dhm]|[0-9]{4}-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])(T.*)?)$")]
    since: Option<String>,
}

/// Causes of failures.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failures {
    /// Since when; null where there is no run.
    since: Option<DateTime<Utc>>,
    /// The causes, the most frequent first.
    failures: Vec<Cause>,
}

enum Since {
    Back(Duration),
    At(DateTime<Utc>),
}

fn since_of(text: &str) -> Result<Since, Problem> {
    let wrong = || {
        Problem::bad_request(format!(
            "since: {text:?} is neither a time back such as 30d, 12h or 90m, nor a date, nor an instant"
        ))
    };
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Since::At(at.to_utc()));
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(Since::At(date.and_time(NaiveTime::MIN).and_utc()));
    }
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: u16 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    match unit {
        'd' => Ok(Since::Back(Duration::days(i64::from(number)))),
        'h' => Ok(Since::Back(Duration::hours(i64::from(number)))),
        'm' => Ok(Since::Back(Duration::minutes(i64::from(number)))),
        _ => Err(wrong()),
    }
}

/// The causes of failures over the runs, one entry each.
#[utoipa::path(get, path = "/api/v1/batch/failures", tag = "history", params(FailuresAsked),
    responses((status = 200, description = "Causes, the most frequent first", body = Failures)))]
pub(crate) async fn failures(State(api): State<Api>, Asked(asked): Asked<FailuresAsked>) -> Result<Response, Problem> {
    let since = match since_of(asked.since.as_deref().unwrap_or("30d"))? {
        Since::At(at) => Some(at),
        Since::Back(time) => newest_start(api.store.as_ref()).await?.map(|newest| newest - time),
    };
    let sightings = match since {
        None => Vec::new(),
        Some(since) => api.store.failures(Some(since), asked.fingerprint.as_ref()).await?,
    };
    if let (true, Some(cause)) = (sightings.is_empty(), &asked.fingerprint) {
        let known = names::require_cause(api.store.as_ref(), cause).await;
        known.map_err(|error| Problem::of_parameter("fingerprint", error))?;
    }
    json(&Failures { since, failures: by_cause(api.store.as_ref(), sightings).await? })
}

/// How many runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryAsked {
    /// At most so many.
    #[param(minimum = 1, maximum = 400, default = 60)]
    limit: Option<usize>,
}

/// The newest runs of a portfolio.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PortfolioHistory {
    /// The portfolio.
    portfolio_id: PortfolioId,
    /// Its name in the newest of them.
    portfolio_name: String,
    /// The runs, newest first, each with a cell for each job that has a record.
    runs: Vec<PortfolioRun>,
}

/// The newest runs of a portfolio.
#[utoipa::path(get, path = "/api/v1/batch/portfolios/{id}/history", tag = "history",
    params(("id" = PortfolioId, Path, description = "The portfolio"), HistoryAsked),
    responses((status = 200, description = "Its runs, newest first", body = PortfolioHistory)))]
pub(crate) async fn of_portfolio(
    State(api): State<Api>,
    Named(id): Named<PortfolioId>,
    Asked(asked): Asked<HistoryAsked>,
) -> Result<Response, Problem> {
    let limit = within("limit", asked.limit, 60, PORTFOLIO_RUNS)?;
    let runs = api.store.portfolio_runs(&id, limit).await?;
    let Some(newest) = runs.first() else {
        names::require_portfolio(api.store.as_ref(), &id).await.map_err(Problem::of_path)?;
        return Err(Problem::not_found(format!("portfolio {id} waits in its first run: it has no history yet")));
    };
    json(&PortfolioHistory { portfolio_name: newest.portfolio_name.clone(), portfolio_id: id, runs })
}

/// Whose data quality.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct QualityAsked {
    /// Of this portfolio; default: of whole runs.
    portfolio_id: Option<PortfolioId>,
    /// At most so many runs.
    #[param(minimum = 1, maximum = 200, default = 30)]
    limit: Option<usize>,
}

/// The data quality of one run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunQuality {
    /// The run.
    batch_run_id: RunId,
    /// Its trading date.
    as_of: NaiveDate,
    /// When it began.
    started_at: DateTime<Utc>,
    /// How the run stands or ended; null for a portfolio.
    status: Option<RunStatus>,
    /// Portfolios by the quality of their data; null for a portfolio.
    data_quality: Option<QualitySummary>,
    /// Share of the portfolios with full data among those that reported any, from 0 to 1; null where none did, and for
    /// a portfolio.
    quality_score: Option<f64>,
    /// The quality of the portfolio: the worst that any of its jobs reported; null for whole runs.
    flag: Option<QualityFlag>,
    /// The fewest days of data that a job of the portfolio found; null for whole runs.
    data_days: Option<f64>,
}

/// Data quality over the runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DataQuality {
    /// The portfolio that was asked for.
    portfolio_id: Option<PortfolioId>,
    /// The runs, newest first.
    runs: Vec<RunQuality>,
}

/// The data quality of the newest runs, or of a portfolio in them.
#[utoipa::path(get, path = "/api/v1/batch/data-quality", tag = "history", params(QualityAsked),
    responses((status = 200, description = "Data quality, newest run first", body = DataQuality)))]
pub(crate) async fn data_quality(
    State(api): State<Api>,
    Asked(asked): Asked<QualityAsked>,
) -> Result<Response, Problem> {
    let limit = within("limit", asked.limit, 30, 200)?;
    let mut runs = Vec::new();
    if let Some(portfolio) = &asked.portfolio_id {
        for run in api.store.portfolio_runs(portfolio, limit).await? {
            let days = run.cells.iter().filter_map(|cell| cell.figures.get("data_days").copied());
            runs.push(RunQuality {
                batch_run_id: run.batch_run_id,
                as_of: run.as_of,
                started_at: run.started_at,
                status: None,
                data_quality: None,
                quality_score: None,
                flag: run.cells.iter().filter_map(|cell| cell.quality).max(),
                data_days: days.min_by(f64::total_cmp),
            });
        }
    } else {
        for stored in api.store.runs(&RunQuery { limit, ..RunQuery::default() }).await?.runs {
            let summary = summary_now(api.store.as_ref(), &stored, Detail::Totals).await?;
            let quality = summary.data_quality;
            let reported = quality.full + quality.limited + quality.failed;
            runs.push(RunQuality {
                batch_run_id: summary.batch_run_id,
                as_of: summary.as_of,
                started_at: summary.started_at,
                status: Some(summary.status),
                data_quality: Some(quality),
                quality_score: (reported > 0).then(|| quality.full as f64 / reported as f64),
                flag: None,
                data_days: None,
            });
        }
    }
    if let (true, Some(portfolio)) = (runs.is_empty(), &asked.portfolio_id) {
        let known = names::require_portfolio(api.store.as_ref(), portfolio).await;
        known.map_err(|error| Problem::of_parameter("portfolio_id", error))?;
    }
    json(&DataQuality { portfolio_id: asked.portfolio_id, runs })
}
