//! Errors as RFC 9457 problem details: whatever goes wrong, the body says what, and what to do.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::ids::RunId;
use domain::names::NameError;
use domain::ports::StoreError;
use domain::redact::redact_line;
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDetails {
    /// What kind of problem, for programs: `urn:nightbook:problem:` and a name that stays.
    #[serde(rename = "type")]
    kind: String,
    /// The same for people.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened, to what, and what to do.
    detail: String,
    /// The run that is in the way, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_run_id: Option<RunId>,
}

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct Problem {
    details: ProblemDetails,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with this status, name and sentence.
    pub(crate) fn new(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        let details = ProblemDetails {
            kind: format!("urn:nightbook:problem:{name}"),
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
            detail: redact_line(&detail.into()),
            batch_run_id: None,
        };
        Self { details, headers: Vec::new() }
    }

    /// As this, with the run that is in the way.
    pub(crate) fn about(mut self, run: RunId) -> Self {
        self.details.batch_run_id = Some(run);
        self
    }

    /// As this, with a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// What was sent cannot be read.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// What was sent can be read, and cannot be done.
    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", detail)
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// A parameter of the query is a name that nothing on record has, or the store cannot say.
    pub(crate) fn of_parameter(name: &str, error: NameError) -> Self {
        match error {
            NameError::Unknown(unknown) => Self::bad_request(format!("{name}: {unknown}")),
            NameError::Store(error) => error.into(),
        }
    }

    /// The path holds a name that nothing on record has, or the store cannot say.
    pub(crate) fn of_path(error: NameError) -> Self {
        match error {
            NameError::Unknown(unknown) => Self::not_found(unknown.to_string()),
            NameError::Store(error) => error.into(),
        }
    }

    /// There is no such run.
    pub(crate) fn no_run(run: RunId) -> Self {
        Self::not_found(format!("there is no run {run}: /api/v1/batch/runs lists the runs"))
    }

    /// It cannot be done as things stand.
    pub(crate) fn conflict(name: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, name, detail)
    }

    /// The server has too much to do, or its store does not answer.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).with(header::RETRY_AFTER, "2")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        let whole = causes.fold(error.to_string(), |whole, cause| format!("{whole}: {cause}"));
        match error {
            StoreError::NotFound { .. } => Self::not_found(whole),
            StoreError::Unavailable { .. } => {
                tracing::error!(
                    error = whole,
                    event = "api.failed",
                    "a question to the history API could not be answered"
                );
                Self::unavailable(format!("{error}; try again in a moment"))
            }
            StoreError::Damaged { .. } | StoreError::TooNew(_) => {
                tracing::error!(
                    error = whole,
                    event = "api.failed",
                    "a question to the history API could not be answered"
                );
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "records-unusable", whole)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.details).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}
