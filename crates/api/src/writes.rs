//! Commands and notes.

use app::{
    Accepted, AnnotateRequest, CancelRequest, ControlError, Door, MuteRequest, Refusal, RerunRequest, RunControl,
    StartRequest,
};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use domain::alert_rules::Mute;
use domain::ids::{CauseId, PortfolioId, RunId};
use domain::note::{Note, NoteKind, RunNotes};
use domain::redact::misleads;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Api;
use crate::answer::json;
use crate::extract::{Named, Sent};
use crate::problem::Problem;
use crate::runs::existing;

/// Portfolios that a run by hand may be asked for.
const MOST_PORTFOLIOS: usize = 1_000;

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let refusal = match error {
            ControlError::Refused(refusal) => refusal,
            ControlError::Store(error) => return error.into(),
        };
        let message = refusal.message(&Door::Http);
        match refusal {
            Refusal::Active { run } => Self::conflict("run-active", message).about(run),
            Refusal::StillOpen { run } => Self::conflict("run-open", message).about(run),
            Refusal::Missed { run, .. } => Self::conflict("missed-slot", message).about(run),
            Refusal::InputsRetired { run, .. } | Refusal::NeverPinned { run, .. } => {
                Self::conflict("no-inputs", message).about(run)
            }
            Refusal::AlreadyEnded { run } => Self::conflict("run-ended", message).about(run),
            Refusal::NotFound { .. } | Refusal::Ambiguous { .. } => Self::not_found(message),
            Refusal::NoSession { .. }
            | Refusal::DateNotAllowed { .. }
            | Refusal::SpanReversed { .. }
            | Refusal::UnknownPortfolio { .. }
            | Refusal::PortfolioClosed { .. }
            | Refusal::UnknownCause { .. }
            | Refusal::BookUnusable(_)
            | Refusal::Mute { .. } => Self::unprocessable(message),
            // The trigger is `triggered_by` in the words of this API.
            Refusal::Text { name, why } if name == "trigger" => Self::unprocessable(format!("triggered_by: {why}")),
            Refusal::Text { .. } => Self::unprocessable(message),
            Refusal::TooManyNotes { run, .. } => Self::conflict("too-many-notes", message).about(run),
            Refusal::NoNight { .. } => Self::not_found(message),
            Refusal::NothingToAccept { .. } => Self::conflict("nothing-to-accept", message),
            Refusal::TooManyAcceptances { .. } => Self::conflict("too-many-acceptances", message),
            Refusal::NothingToMute => Self::conflict("conflict", message),
        }
    }
}

/// What became of a command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Begun {
    /// `started`, `cancelling`, or `finished` where the same run is there already.
    status: &'static str,
    /// The run.
    batch_run_id: RunId,
    /// When the command was taken.
    timestamp: DateTime<Utc>,
    /// What started the run; null where it was not started now.
    triggered_by: Option<String>,
    /// Where to see how far it is.
    poll_url: String,
}

fn begun(api: &Api, accepted: Accepted, status: &'static str, trigger: Option<&str>) -> Result<Response, Problem> {
    let (code, status, run) = match accepted {
        Accepted::Begun(run) | Accepted::Continued(run) | Accepted::Canceling(run) => {
            (StatusCode::ACCEPTED, status, run)
        }
        Accepted::Finished(run) => (StatusCode::OK, "finished", run),
        Accepted::NothingToRepeat(run) => {
            let detail = format!("everything asked for of run {run} has succeeded: there is nothing to repeat");
            return Err(Problem::conflict("conflict", detail).about(run));
        }
    };
    let poll_url = format!("/api/v1/batch/runs/{run}");
    let triggered_by = trigger.filter(|_| code == StatusCode::ACCEPTED).map(str::to_owned);
    let answer =
        Begun { status, batch_run_id: run, timestamp: api.clock.now(), triggered_by, poll_url: poll_url.clone() };
    Ok((code, [(header::LOCATION, poll_url)], json(&answer)?).into_response())
}

pub(crate) fn control(api: &Api) -> Result<&RunControl, Problem> {
    api.control.as_deref().ok_or_else(|| {
        let detail = "this server only reads: `nightbook serve` with a book starts and cancels runs";
        Problem::new(StatusCode::FORBIDDEN, "reads-only", detail)
    })
}

/// Which run to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartBody {
    /// The trading date; default: the last completed session.
    #[serde(default)]
    as_of: Option<NaiveDate>,
    /// The portfolios; default: all.
    #[serde(default)]
    #[schema(max_items = 1000)]
    portfolio_ids: Vec<PortfolioId>,
    /// What starts it, as the record shows it; default: `api`.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    triggered_by: Option<String>,
    /// Run again, though the same run is finished.
    #[serde(default)]
    again: bool,
}

/// Starts a run; the same again goes on with what is unfinished, or shows what is finished.
#[utoipa::path(post, path = "/api/v1/batch/runs", tag = "commands", request_body = StartBody,
    responses((status = 202, description = "It is recorded and will be run", body = Begun),
              (status = 200, description = "The same run is finished", body = Begun)))]
pub(crate) async fn start(State(api): State<Api>, Sent(body): Sent<StartBody>) -> Result<Response, Problem> {
    let control = control(&api)?;
    if body.portfolio_ids.len() > MOST_PORTFOLIOS {
        return Err(Problem::unprocessable(format!("portfolio_ids: give at most {MOST_PORTFOLIOS}, or none for all")));
    }
    let trigger = body.triggered_by.unwrap_or_else(|| "api".to_owned());
    // This door has never taken them: who reads its answers raw would be misled.
    if trigger.chars().any(misleads) {
        let detail = "triggered_by: write 1 to 64 characters that are displayed as they are, on one line";
        return Err(Problem::unprocessable(detail));
    }
    let request = StartRequest { as_of: body.as_of, portfolios: body.portfolio_ids, trigger, again: body.again };
    begun(&api, control.start(&request).await?, "started", Some(&request.trigger))
}

/// What of a run to repeat.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RerunBody {
    /// Only the portfolios with failed, skipped or missing jobs, all jobs of each.
    #[serde(default)]
    failed: bool,
    /// Only the portfolios with this cause that have not succeeded since, all jobs of each. Not beside `failed`.
    #[serde(default)]
    cause: Option<CauseId>,
}

/// Runs a closed run again on its pinned inputs, as a new run.
#[utoipa::path(post, path = "/api/v1/batch/runs/{id}/rerun", tag = "commands", request_body = RerunBody,
    params(("id" = RunId, Path, description = "The run")),
    responses((status = 202, description = "The new run is recorded and will be run", body = Begun)))]
pub(crate) async fn rerun(
    State(api): State<Api>,
    Named(id): Named<RunId>,
    Sent(body): Sent<RerunBody>,
) -> Result<Response, Problem> {
    if body.failed && body.cause.is_some() {
        return Err(Problem::unprocessable("cause: give either `cause` or `failed`"));
    }
    let request = RerunRequest { run: id, failed_only: body.failed, cause: body.cause };
    begun(&api, control(&api)?.rerun(&request).await?, "started", Some("rerun"))
}

/// Nothing more to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelBody {}

/// Ends an open run early: what has not ended is given up, the run is closed.
#[utoipa::path(post, path = "/api/v1/batch/runs/{id}/cancel", tag = "commands", request_body = CancelBody,
    params(("id" = RunId, Path, description = "The run")),
    responses((status = 202, description = "It will end early", body = Begun)))]
pub(crate) async fn cancel(
    State(api): State<Api>,
    Named(id): Named<RunId>,
    Sent(CancelBody {}): Sent<CancelBody>,
) -> Result<Response, Problem> {
    begun(&api, control(&api)?.cancel(&CancelRequest { run: id }).await?, "cancelling", None)
}

fn notes_port(api: &Api) -> Result<&dyn RunNotes, Problem> {
    api.notes.as_deref().ok_or_else(|| {
        Problem::new(StatusCode::NOT_IMPLEMENTED, "no-notes", "the store behind this server keeps no notes")
    })
}

/// The notes of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Notes {
    /// The run.
    batch_run_id: RunId,
    /// Whether somebody looks after it: who did so last; null where nobody does.
    acknowledged_by: Option<String>,
    /// Its notes, oldest first.
    notes: Vec<Note>,
}

/// The notes of a run.
#[utoipa::path(get, path = "/api/v1/batch/runs/{id}/notes", tag = "notes",
    params(("id" = RunId, Path, description = "The run")),
    responses((status = 200, description = "Its notes, oldest first", body = Notes)))]
pub(crate) async fn notes(State(api): State<Api>, Named(id): Named<RunId>) -> Result<Response, Problem> {
    existing(&api, id).await?;
    let notes = notes_port(&api)?.notes(id).await?;
    let last = notes.iter().rfind(|note| note.kind == NoteKind::Acknowledge);
    json(&Notes { batch_run_id: id, acknowledged_by: last.map(|note| note.author.clone()), notes })
}

/// A note to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoteBody {
    /// What it is for.
    kind: NoteKind,
    /// Who writes it.
    #[schema(min_length = 1, max_length = 80)]
    author: String,
    /// What there is to say; may be left out where the run is only acknowledged.
    #[serde(default)]
    #[schema(max_length = 1000)]
    text: String,
    /// Made by the client, so that the same note sent again is the same note; default: made from what it says.
    #[serde(default)]
    id: Option<Uuid>,
}

/// Adds a note to a run. It stands on the page of the run.
#[utoipa::path(post, path = "/api/v1/batch/runs/{id}/notes", tag = "notes", request_body = NoteBody,
    params(("id" = RunId, Path, description = "The run")),
    responses((status = 201, description = "The note, as it is kept", body = Note)))]
pub(crate) async fn annotate(
    State(api): State<Api>,
    Named(id): Named<RunId>,
    Sent(body): Sent<NoteBody>,
) -> Result<Response, Problem> {
    notes_port(&api)?;
    let NoteBody { kind, author, text, id: note_id } = body;
    let request = AnnotateRequest { run: id, kind, author, text, id: note_id };
    let note = control(&api)?.annotate(&request).await?;
    let location = format!("/api/v1/batch/runs/{id}/notes");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], json(&note)?).into_response())
}

/// What to mute: a cause or a portfolio.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MuteBody {
    /// The cause, as `failures` lists it.
    #[serde(default)]
    fingerprint: Option<CauseId>,
    /// All causes of this portfolio instead.
    #[serde(default)]
    portfolio_id: Option<PortfolioId>,
    /// The last day of the mute, in UTC.
    until: NaiveDate,
    /// Why, as the site shows it.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// A mute that is stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Muted {
    /// The cause; null where a portfolio is muted.
    fingerprint: Option<CauseId>,
    /// The portfolio; null where a cause is muted.
    portfolio_id: Option<PortfolioId>,
    /// The end of the mute.
    until: DateTime<Utc>,
    /// Why.
    reason: String,
}

/// Mutes alerts of a cause or a portfolio, in place of an earlier mute of the same.
#[utoipa::path(post, path = "/api/v1/alerts/mutes", tag = "commands", request_body = MuteBody,
    responses((status = 201, description = "The mute, as it is stored", body = Muted)))]
pub(crate) async fn mute(State(api): State<Api>, Sent(body): Sent<MuteBody>) -> Result<Response, Problem> {
    let MuteBody { fingerprint, portfolio_id, until, reason } = body;
    let request = MuteRequest { fingerprint, portfolio: portfolio_id, until, reason, schedule: None };
    let Mute { fingerprint, portfolio, until, reason } = control(&api)?.mute(&request).await?;
    Ok((StatusCode::CREATED, json(&Muted { fingerprint, portfolio_id: portfolio, until, reason })?).into_response())
}
