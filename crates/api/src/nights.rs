//! Nights: a page of them, one, its editions, and the acceptance of a control result.

use app::{AcceptRequest, NightReader};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{PortfolioId, RunId, ScheduleName};
use domain::names::near;
use domain::night::report::NightReport;
use domain::night::{Edition, NightHead, NightView, Totals, Verdict, recent_nights};
use domain::ports::NightQuery;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::answer::json;
use crate::cursor::{cursor, not_ours, place};
use crate::extract::{Asked, Named, Sent};
use crate::problem::Problem;
use crate::runs::within;
use crate::writes::control;

/// Nights on a page, where no other number is asked for.
const PAGE: usize = 50;

/// The largest page.
const LARGEST_PAGE: usize = 200;

/// Nights that are read at once while a page is filled.
const AT_ONCE: usize = 200;

/// Reads of nights for one page, at most: a page may hold less than its limit and still have a next one.
const MOST_READS: usize = 5;

/// Which nights.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NightsAsked {
    /// Only nights of this date or later.
    from: Option<NaiveDate>,
    /// Only nights of this date or earlier.
    to: Option<NaiveDate>,
    /// Only nights with this verdict.
    verdict: Option<Verdict>,
    /// The night series; default: that of the schedule in force.
    series: Option<ScheduleName>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// Where a page before this one ended: its `next`.
    #[param(pattern = r"^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A night in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NightLine {
    /// The schedule of its newest run.
    schedule: ScheduleName,
    /// The night series.
    night_series: ScheduleName,
    /// The trading date.
    as_of: NaiveDate,
    /// How it stands.
    verdict: Verdict,
    /// The number of expected portfolios.
    expected_portfolios: u64,
    /// The number of expected portfolios that succeeded in every job.
    succeeded_portfolios: u64,
    /// The number of expected portfolios that are in no run.
    absent_count: u64,
    /// The job counts.
    totals: Totals,
    /// The number of control results other than `ok`.
    control_count: u64,
    /// The number of causes.
    cause_count: u64,
    /// The number of editions beside the first.
    edition_count: u64,
    /// The newest runs, oldest first, at most 50.
    runs: Vec<RunId>,
    /// The runs that are open.
    in_progress: Vec<RunId>,
    /// The date through which the data reaches.
    newest_close: Option<NaiveDate>,
    /// When it was folded.
    folded_at: DateTime<Utc>,
}

impl From<NightHead> for NightLine {
    fn from(head: NightHead) -> Self {
        Self {
            schedule: head.schedule,
            night_series: head.night_series,
            as_of: head.as_of,
            verdict: head.verdict,
            expected_portfolios: head.expected_portfolios,
            succeeded_portfolios: head.succeeded_portfolios,
            absent_count: head.absent_count,
            totals: head.totals,
            control_count: head.control_count,
            cause_count: head.cause_count,
            edition_count: head.edition_count,
            runs: head.runs,
            in_progress: head.in_progress,
            newest_close: head.newest_close,
            folded_at: head.folded_at,
        }
    }
}

/// A page of nights.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Nights {
    /// The nights, newest first.
    nights: Vec<NightLine>,
    /// Where the next page begins, as `cursor`; null on the last.
    next: Option<String>,
}

/// The nights of a series, newest first, page by page. Dates later than any that may be run are left out.
#[utoipa::path(get, path = "/api/v1/batch/nights", tag = "nights", params(NightsAsked),
    responses((status = 200, description = "A page of nights", body = Nights)))]
pub(crate) async fn nights(State(api): State<Api>, Asked(asked): Asked<NightsAsked>) -> Result<Response, Problem> {
    let limit = within("limit", asked.limit, PAGE, LARGEST_PAGE)?;
    let before = asked.cursor.as_deref().map(|text| place('n', text)).transpose()?;
    let before = before.map(|text| text.parse::<NaiveDate>().map_err(|_| not_ours())).transpose()?;
    let (reader, now) = (api.nights.reader().await?, api.clock.now());
    let series = asked.series.unwrap_or_else(|| reader.series().clone());
    let last = reader.schedule.last_allowed(now);
    let mut to = [asked.to, before.and_then(|date| date.pred_opt())].into_iter().flatten().fold(last, NaiveDate::min);
    let mut found: Vec<NightHead> = Vec::new();
    let mut next = None;
    for read in 1..=MOST_READS {
        let size = if asked.verdict.is_some() { AT_ONCE } else { limit + 1 };
        let query = NightQuery { series: series.clone(), from: asked.from, to: Some(to), limit: size };
        let heads = recent_nights(api.store.as_ref(), &query, now).await?;
        let (full, oldest) = (heads.len() >= size, heads.last().map(|head| head.as_of));
        found.extend(heads.into_iter().filter(|head| asked.verdict.is_none_or(|verdict| head.verdict == verdict)));
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().map(|head| head.as_of);
            break;
        }
        let Some(oldest) = oldest.filter(|_| full) else { break };
        if read == MOST_READS {
            next = Some(oldest);
            break;
        }
        let Some(earlier) = oldest.pred_opt() else { break };
        to = earlier;
    }
    let next = next.map(|date| cursor('n', &date.to_string()));
    json(&Nights { nights: found.into_iter().map(NightLine::from).collect(), next })
}

/// Which series.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesAsked {
    /// The night series; default: that of the schedule in force, else the first with a night of this date.
    series: Option<ScheduleName>,
}

/// Dates with a night that a message suggests.
const SUGGESTED: usize = 3;

async fn existing(
    api: &Api,
    reader: &NightReader,
    as_of: NaiveDate,
    series: Option<&ScheduleName>,
) -> Result<NightView, Problem> {
    let (store, now) = (api.store.as_ref(), api.clock.now());
    if let Some(view) = reader.of_date(store, as_of, series, now).await? {
        return Ok(view);
    }
    if let Some(series) = series {
        let known = store.night_series().await?;
        if !known.contains(series) {
            let near = near(series.as_str(), known.iter().map(ScheduleName::as_str));
            let which = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
            return Err(Problem::not_found(format!("there is no night series {series}{which}")));
        }
    }
    let to = Some(as_of.max(reader.schedule.last_allowed(now)));
    let series = series.unwrap_or_else(|| reader.series()).clone();
    let heads = recent_nights(store, &NightQuery { series, from: None, to, limit: AT_ONCE }, now).await?;
    let mut dates: Vec<NaiveDate> = heads.into_iter().map(|head| head.as_of).collect();
    dates.sort_by_key(|date| (*date - as_of).num_days().abs());
    let near: Vec<String> = dates.iter().take(SUGGESTED).map(ToString::to_string).collect();
    let near = if near.is_empty() { String::new() } else { format!("; the nearest are {}", near.join(", ")) };
    Err(Problem::not_found(format!("there is no night of {as_of}{near}: /api/v1/batch/nights lists the nights")))
}

/// One night, with its headline and the next step.
#[utoipa::path(get, path = "/api/v1/batch/nights/{as_of}", tag = "nights",
    params(("as_of" = NaiveDate, Path, description = "The trading date"), SeriesAsked),
    responses((status = 200, description = "The night", body = NightReport)))]
pub(crate) async fn night(
    State(api): State<Api>,
    Named(as_of): Named<NaiveDate>,
    Asked(asked): Asked<SeriesAsked>,
) -> Result<Response, Problem> {
    let reader = api.nights.reader().await?;
    let view = existing(&api, &reader, as_of, asked.series.as_ref()).await?;
    json(&reader.report(api.store.as_ref(), &view, api.clock.now()).await?)
}

/// The editions of a night.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Editions {
    /// The night series.
    night_series: ScheduleName,
    /// The trading date.
    as_of: NaiveDate,
    /// The runs that changed recorded figures, oldest first; numbers begin with 2.
    editions: Vec<Edition>,
}

/// The editions of a night: what was restated, and why.
#[utoipa::path(get, path = "/api/v1/batch/nights/{as_of}/editions", tag = "nights",
    params(("as_of" = NaiveDate, Path, description = "The trading date"), SeriesAsked),
    responses((status = 200, description = "Its editions, oldest first", body = Editions)))]
pub(crate) async fn editions(
    State(api): State<Api>,
    Named(as_of): Named<NaiveDate>,
    Asked(asked): Asked<SeriesAsked>,
) -> Result<Response, Problem> {
    let reader = api.nights.reader().await?;
    let night = existing(&api, &reader, as_of, asked.series.as_ref()).await?.night;
    json(&Editions { night_series: night.night_series, as_of, editions: night.editions })
}

/// Which control results to accept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptBody {
    /// The control.
    control: String,
    /// Only the results of this portfolio; default: all results of the control.
    #[serde(default)]
    portfolio_id: Option<PortfolioId>,
    /// The night series; default: that of the schedule in force, else the first with a night of this date.
    #[serde(default)]
    series: Option<ScheduleName>,
    /// Who accepts.
    #[schema(min_length = 1, max_length = 80)]
    author: String,
    /// Why.
    #[schema(min_length = 1, max_length = 200)]
    note: String,
}

/// Accepts results of a control. The night then does not count them, and shows who accepted them and why.
#[utoipa::path(post, path = "/api/v1/batch/nights/{as_of}/accept", tag = "commands", request_body = AcceptBody,
    params(("as_of" = NaiveDate, Path, description = "The trading date")),
    responses((status = 201, description = "The night after the acceptance", body = NightReport)))]
pub(crate) async fn accept(
    State(api): State<Api>,
    Named(as_of): Named<NaiveDate>,
    Sent(body): Sent<AcceptBody>,
) -> Result<Response, Problem> {
    let AcceptBody { control: name, portfolio_id: portfolio, series, author, note } = body;
    let reader = api.nights.reader().await?;
    let request = AcceptRequest { as_of, series, control: name, portfolio, author, note };
    let accepted = control(&api)?.accept(&request, &reader).await?;
    let night = reader.report(api.store.as_ref(), &accepted.view, api.clock.now()).await?;
    Ok((StatusCode::CREATED, json(&night)?).into_response())
}
