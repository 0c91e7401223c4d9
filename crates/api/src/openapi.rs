//! The description of the API (OpenAPI 3.1), generated from the code.

use std::collections::BTreeSet;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use domain::ids::Month;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::problem::{PROBLEM_JSON, ProblemDetails};
use crate::{current, history, jobs, nights, runs, writes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nightbook history API",
        description = "What ran, when, on which data, and how it went. Every error is a problem (RFC 9457).",
        license(name = "MIT", identifier = "MIT")
    ),
    paths(
        runs::last_run,
        runs::runs,
        writes::start,
        current::current,
        runs::run,
        jobs::of_run,
        writes::rerun,
        writes::cancel,
        writes::notes,
        writes::annotate,
        writes::mute,
        nights::nights,
        nights::night,
        nights::editions,
        nights::accept,
        jobs::status,
        jobs::summary,
        jobs::last_success,
        history::failures,
        history::of_portfolio,
        history::data_quality,
        crate::healthz
    ),
    components(schemas(ProblemDetails, Month)),
    tags(
        (name = "runs", description = "Runs and their jobs"),
        (name = "nights", description = "Trading dates: how each stands, why, and what to do"),
        (name = "jobs", description = "Jobs over the runs"),
        (name = "history", description = "Causes, portfolios, data quality"),
        (name = "commands", description = "Start, repeat, cancel, mute: need a token that may write, or loopback"),
        (name = "notes", description = "What people have to say of a run"),
        (name = "service", description = "The server itself")
    ),
    modifiers(&Common)
)]
struct Description;

/// What all operations have in common: the problems that can come, and the token.
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        // Without a token on loopback, with one elsewhere.
        openapi.security =
            Some(vec![SecurityRequirement::default(), SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
        for (path, item) in &mut openapi.paths.paths {
            for operation in operations(item) {
                problems(path, operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [item.get.as_mut(), item.post.as_mut()].into_iter().flatten()
}

fn problems(path: &str, operation: &mut Operation) {
    let mut codes = BTreeSet::from([
        ("401", "A token is needed"),
        ("403", "Not with this token, or not from there"),
        ("500", "The records are not usable"),
        ("503", "Too much to do at the moment"),
    ]);
    if path.contains('{') || operation.parameters.is_some() {
        codes.insert(("400", "A parameter is not usable"));
    }
    if path.contains('{') {
        codes.insert(("404", "There is no such thing"));
    }
    if operation.request_body.is_some() {
        codes.extend([
            ("400", "The body or a parameter is not usable"),
            ("408", "The body came too slowly"),
            ("409", "It cannot be done as things stand"),
            ("413", "The body is too large"),
            ("415", "The body is not JSON"),
            ("422", "The body cannot be done"),
        ]);
    }
    if path.ends_with("/notes") {
        codes.insert(("501", "The store keeps no notes"));
    }
    for (code, description) in codes {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
        operation.responses.responses.entry(code.to_owned()).or_insert_with(|| response.into());
    }
}

/// The description, as it is served at `/api/v1/openapi.json`.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

pub(crate) async fn served() -> Response {
    let body = serde_json::to_vec(&document()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
