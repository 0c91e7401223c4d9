//! Commands and notes.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{PortfolioId, RunId};
use domain::note::{AUTHOR_CHARS, MOST_NOTES, Note, NoteKind, RunNotes, TEXT_CHARS};
use domain::redact::{misleads, redact};
use domain::run::RunPhase;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Api;
use crate::answer::json;
use crate::commands::{Accepted, CommandError, Commands, StartAsked};
use crate::extract::{Named, Sent};
use crate::problem::Problem;
use crate::runs::existing;

/// Portfolios that a run by hand may be asked for.
const MOST_PORTFOLIOS: usize = 1_000;

/// The longest name of what started a run, in characters.
const TRIGGER_CHARS: usize = 64;

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Active(run) => Self::run_active(run),
            CommandError::Conflict(detail) => Self::conflict("conflict", detail),
            CommandError::Unusable(detail) => Self::unprocessable(detail),
            CommandError::Store(error) => error.into(),
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
        Accepted::Begun(run) => (StatusCode::ACCEPTED, status, run),
        Accepted::Finished(run) => (StatusCode::OK, "finished", run),
    };
    let poll_url = format!("/api/v1/batch/runs/{run}");
    let triggered_by = trigger.filter(|_| code == StatusCode::ACCEPTED).map(str::to_owned);
    let answer =
        Begun { status, batch_run_id: run, timestamp: api.clock.now(), triggered_by, poll_url: poll_url.clone() };
    Ok((code, [(header::LOCATION, poll_url)], json(&answer)?).into_response())
}

fn commands(api: &Api) -> Result<&dyn Commands, Problem> {
    api.commands.as_deref().ok_or_else(|| {
        let detail = "this server only reads: `nightbook serve` with a book starts and cancels runs";
        Problem::new(StatusCode::FORBIDDEN, "reads-only", detail)
    })
}

/// No other run may be active.
async fn none_active(api: &Api) -> Result<(), Problem> {
    match api.store.open_runs().await?.first() {
        Some(run) => Err(Problem::run_active(run.batch_run_id)),
        None => Ok(()),
    }
}

/// A text of one line: its length in characters, and none of them such that it is not shown as it is.
fn line(name: &str, text: &str, most: usize) -> Result<String, Problem> {
    let text = text.trim();
    if (1..=most).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || misleads(c)) {
        Ok(redact(text))
    } else {
        Err(Problem::unprocessable(format!("{name}: write 1 to {most} characters on one line")))
    }
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
    let commands = commands(&api)?;
    if body.portfolio_ids.len() > MOST_PORTFOLIOS {
        return Err(Problem::unprocessable(format!("portfolio_ids: give at most {MOST_PORTFOLIOS}, or none for all")));
    }
    let trigger = line("triggered_by", body.triggered_by.as_deref().unwrap_or("api"), TRIGGER_CHARS)?;
    none_active(&api).await?;
    let asked = StartAsked { as_of: body.as_of, portfolios: body.portfolio_ids, trigger, again: body.again };
    begun(&api, commands.start(&asked).await?, "started", Some(&asked.trigger))
}

/// What of a run to repeat.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RerunBody {
    /// Only the portfolios with failed, skipped or missing jobs, all jobs of each.
    #[serde(default)]
    failed: bool,
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
    let commands = commands(&api)?;
    let stored = existing(&api, id).await?;
    none_active(&api).await?;
    if stored.run.phase == RunPhase::Missed {
        let detail =
            format!("{id} is a slot that passed without a run: POST /api/v1/batch/runs with its as_of makes up for it");
        return Err(Problem::conflict("missed-slot", detail).about(id));
    }
    begun(&api, commands.rerun(id, body.failed).await?, "started", Some("rerun"))
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
    let commands = commands(&api)?;
    let stored = existing(&api, id).await?;
    if stored.run.has_ended() {
        return Err(Problem::conflict("run-ended", format!("run {id} has ended: there is nothing to cancel")).about(id));
    }
    begun(&api, commands.cancel(id).await?, "cancelling", None)
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
    let port = notes_port(&api)?;
    let author = line("author", &body.author, AUTHOR_CHARS)?;
    let text = body.text.trim();
    let shown = |c: char| c == '\n' || (!c.is_control() && !misleads(c));
    if text.chars().count() > TEXT_CHARS || !text.chars().all(shown) {
        let detail = format!("text: write at most {TEXT_CHARS} characters, none of them a control character");
        return Err(Problem::unprocessable(detail));
    }
    if text.is_empty() && body.kind == NoteKind::Annotate {
        return Err(Problem::unprocessable("text: an annotation says something"));
    }
    existing(&api, id).await?;
    let there = port.notes(id).await?;
    if there.len() >= MOST_NOTES {
        return Err(Problem::conflict("too-many-notes", format!("run {id} has {MOST_NOTES} notes already")).about(id));
    }
    let at = api.clock.now();
    let own = || {
        let text = format!("{author}\n{at}\n{}\n{text}", body.kind.as_str());
        Uuid::new_v5(&id.0, text.as_bytes())
    };
    let note =
        Note { id: body.id.unwrap_or_else(own), batch_run_id: id, kind: body.kind, author, at, text: redact(text) };
    port.add_note(&note).await?;
    // The same note sent again is answered with the one that is there.
    let kept = there.into_iter().find(|known| known.id == note.id).unwrap_or(note);
    tracing::info!(batch_run_id = %id, author = kept.author, event = "note.added", "a note was added to a run");
    if let Some(commands) = &api.commands {
        commands.annotated(id).await;
    }
    let place = format!("/api/v1/batch/runs/{id}/notes");
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], json(&kept)?).into_response())
}
