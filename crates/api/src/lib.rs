//! The history API: answers over HTTP from the records, and three commands.
//!
//! [`router`] needs a [`RunStore`] and a clock, so it serves every backend: `nightbook serve` puts it beside the site,
//! the function behind a gateway. Commands (start, repeat, cancel, annotate, mute) are decided by [`RunControl`]; without it
//! the router only reads. Every question is one indexed read of the store; where it
//! takes another, `docs/api.md` says so, and the tests count.

mod access;
mod answer;
mod current;
mod cursor;
mod extract;
mod history;
mod jobs;
mod limits;
mod live;
mod nights;
mod openapi;
mod problem;
mod refusals;
mod runs;
mod writes;

use std::sync::Arc;

use app::{NightReader, NightSettings, RunControl};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use domain::note::RunNotes;
use domain::ports::{Clock, RunQuery, RunStore};
use serde::Serialize;
use tower_http::compression::CompressionLayer;

pub use crate::access::{Access, Tokens};
pub use crate::live::{Hand, Live};
pub use crate::openapi::document;

use crate::answer::{LargeAnswers, json};
use crate::limits::Turns;
use crate::problem::Problem;

/// What the router answers from. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    store: Arc<dyn RunStore>,
    clock: Arc<dyn Clock>,
    notes: Option<Arc<dyn RunNotes>>,
    control: Option<Arc<RunControl>>,
    live: Option<Arc<dyn Live>>,
    nights: Arc<dyn NightSettings>,
    access: Access,
    /// Permits of answers with many records.
    large: LargeAnswers,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Api {
    /// An API that reads these records.
    #[must_use]
    pub fn new(store: Arc<dyn RunStore>, clock: Arc<dyn Clock>, access: Access) -> Self {
        let large = LargeAnswers::default();
        let nights = Arc::new(NightReader::default());
        Self { store, clock, notes: None, control: None, live: None, nights, access, large }
    }

    /// As this, with the notes of runs.
    #[must_use]
    pub fn with_notes(self, notes: Arc<dyn RunNotes>) -> Self {
        Self { notes: Some(notes), ..self }
    }

    /// As this, with the control that decides commands.
    #[must_use]
    pub fn with_control(self, control: Arc<RunControl>) -> Self {
        Self { control: Some(control), ..self }
    }

    /// As this, reading nights by these settings; else by the default schedule, with placeholders in commands.
    #[must_use]
    pub fn with_nights(self, nights: Arc<dyn NightSettings>) -> Self {
        Self { nights, ..self }
    }

    /// As this, with who knows what is in hand at this moment; else it is as the last heartbeats say.
    #[must_use]
    pub fn with_live(self, live: Arc<dyn Live>) -> Self {
        Self { live: Some(live), ..self }
    }
}

/// The router: everything under `/api/v1`, and `/healthz`, which needs no token. It has no fallback outside of `/api`, so
/// that a site can stand beside it.
pub fn router(api: Api) -> Router {
    let access = api.access.clone();
    let questions = Router::new()
        .route("/api/v1/openapi.json", get(openapi::served))
        .route("/api/v1/batch/last-run", get(runs::last_run))
        .route("/api/v1/batch/runs", get(runs::runs).post(writes::start))
        .route("/api/v1/batch/runs/current", get(current::current))
        .route("/api/v1/batch/runs/{id}", get(runs::run))
        .route("/api/v1/batch/runs/{id}/jobs", get(jobs::of_run))
        .route("/api/v1/batch/runs/{id}/rerun", post(writes::rerun))
        .route("/api/v1/batch/runs/{id}/cancel", post(writes::cancel))
        .route("/api/v1/batch/runs/{id}/notes", get(writes::notes).post(writes::annotate))
        .route("/api/v1/batch/nights", get(nights::nights))
        .route("/api/v1/batch/nights/{as_of}", get(nights::night))
        .route("/api/v1/batch/nights/{as_of}/editions", get(nights::editions))
        .route("/api/v1/batch/nights/{as_of}/accept", post(nights::accept))
        .route("/api/v1/batch/jobs/status", get(jobs::status))
        .route("/api/v1/batch/jobs/summary", get(jobs::summary))
        .route("/api/v1/batch/jobs/{job}/last-success", get(jobs::last_success))
        .route("/api/v1/batch/failures", get(history::failures))
        .route("/api/v1/batch/portfolios/{id}/history", get(history::of_portfolio))
        .route("/api/v1/batch/data-quality", get(history::data_quality))
        .route("/api/v1/alerts/mutes", post(writes::mute))
        .route("/api", get(unknown))
        .route("/api/", get(unknown))
        .route("/api/{*rest}", axum::routing::any(unknown))
        .layer(from_fn_with_state(access, access::guard))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(answer::tagged))
        .layer(from_fn_with_state(Turns::default(), limits::in_turn));
    // Whether the server works is answered without waiting for a turn, however many requests wait for theirs.
    let health = Router::new()
        .route("/healthz", get(healthz))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(answer::tagged));
    questions.merge(health).with_state(api).layer(CompressionLayer::new())
}

/// Puts other pages behind the same access: with tokens, a browser asks for one as password.
pub fn protect(router: Router, access: Access) -> Router {
    router.layer(from_fn_with_state(access, access::guard))
}

async fn unknown() -> Problem {
    Problem::not_found("there is no such address: /api/v1/openapi.json lists those that there are")
}

async fn wrong_method() -> Problem {
    let detail = "this address does not know the method; the header Allow lists those that it knows";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

/// Whether the records can be read.
#[utoipa::path(get, path = "/healthz", tag = "service",
    responses((status = 200, description = "The records can be read", body = Health)))]
async fn healthz(State(api): State<Api>) -> Result<Response, Problem> {
    api.store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?;
    json(&Health { status: "ok" })
}

/// How the server is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
}
