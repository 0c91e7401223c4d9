//! Whatever is wrong is answered with a problem that says what.

use api::Access;
use axum::body::Body;
use axum::http::Request;

use crate::changes::control;
use crate::night::{api, get, id, post, send, three};

#[tokio::test]
async fn what_cannot_be_read_is_a_problem() {
    let (api, counting) = api(&three(), Access::Loopback);
    let run = id(1);
    for (path, says) in [
        ("/api/v1/batch/runs/nonsense".to_owned(), "nonsense"),
        ("/api/v1/batch/runs/%ff%fe".to_owned(), "UTF-8"),
        ("/api/v1/batch/runs?status=completed".to_owned(), "completed"),
        ("/api/v1/batch/runs?stauts=failed".to_owned(), "stauts"),
        ("/api/v1/batch/runs?status=failed&status=success".to_owned(), "status"),
        ("/api/v1/batch/runs?limit=0".to_owned(), "between 1 and 200"),
        ("/api/v1/batch/runs?limit=201".to_owned(), "between 1 and 200"),
        ("/api/v1/batch/runs?limit=-1".to_owned(), "limit"),
        ("/api/v1/batch/runs?limit=99999999999999999999".to_owned(), "limit"),
        ("/api/v1/batch/runs?month=2026-13".to_owned(), "2026-13"),
        ("/api/v1/batch/runs?month=%31%00".to_owned(), "month"),
        ("/api/v1/batch/runs?cursor=x".to_owned(), "cursor"),
        ("/api/v1/batch/runs?cursor=cnh4".to_owned(), "cursor"),
        (format!("/api/v1/batch/runs/{run}/jobs?cursor=cnh4"), "cursor"),
        (format!("/api/v1/batch/runs/{run}/jobs?portfolio=../x"), "portfolio"),
        (format!("/api/v1/batch/runs/{run}/jobs?portfolio=a&portfolio_id=b"), "portfolio"),
        ("/api/v1/batch/jobs/status?days_back=91".to_owned(), "days_back"),
        ("/api/v1/batch/jobs/Not%20A%20Job/last-success".to_owned(), "job name"),
        ("/api/v1/batch/failures?since=yesterday".to_owned(), "yesterday"),
        ("/api/v1/batch/failures?since=".to_owned(), "since"),
        ("/api/v1/batch/failures?since=%C3%BC".to_owned(), "since"),
        ("/api/v1/batch/failures?fingerprint=xyz".to_owned(), "fingerprint"),
        ("/api/v1/batch/portfolios/..%2f..%2fetc/history".to_owned(), "portfolio id"),
        ("/api/v1/batch/data-quality?limit=many".to_owned(), "limit"),
    ] {
        let answer = get(&api, &path).await;
        let problem = answer.problem(400, "bad-request");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{path}: {problem}");
    }
    let asked = counting.take();
    assert!(asked.iter().all(|what| *what == "runs"), "a question that cannot be read reached the store: {asked:?}");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let (api, _) = api(&three(), Access::Loopback);
    for path in [
        "/api",
        "/api/",
        "/api/v2/batch/runs",
        "/api/v1/batch/runs/",
        "/api/v1/batch/../../x",
        "/api/v1/batch/runs/00000000-0000-0000-0000-000000000000",
        "/api/v1/batch/runs/00000000-0000-0000-0000-000000000000/jobs",
        "/api/v1/batch/portfolios/nobody/history",
    ] {
        get(&api, path).await.problem(404, "not-found");
    }
    for (method, path) in [("DELETE", "/api/v1/batch/runs"), ("PUT", "/api/v1/batch/last-run"), ("POST", "/healthz")] {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let answer = send(&api, request.body(Body::empty()).unwrap()).await;
        answer.problem(405, "method-not-allowed");
        assert!(answer.header("allow").contains("GET"), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_used_is_a_problem() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let api = api.with_control(control(&store).0);
    let path = "/api/v1/batch/runs";
    for (body, status, name) in [
        ("", 400, "bad-request"),
        ("{", 400, "bad-request"),
        ("{\"again\": true} x", 400, "bad-request"),
        ("\u{0}", 400, "bad-request"),
        ("[]", 422, "unprocessable"),
        ("null", 422, "unprocessable"),
        ("{\"again\": 1}", 422, "unprocessable"),
        ("{\"unknown\": 1}", 422, "unprocessable"),
        ("{\"as_of\": \"2026-02-30\"}", 422, "unprocessable"),
        ("{\"portfolio_ids\": [\"../x\"]}", 422, "unprocessable"),
        ("{\"triggered_by\": \"\"}", 422, "unprocessable"),
        ("{\"triggered_by\": \"a\\nb\"}", 422, "unprocessable"),
        ("{\"triggered_by\": \"a\\u202eb\"}", 422, "unprocessable"),
    ] {
        post(&api, path, body).await.problem(status, name);
    }
    let deep = "[".repeat(50_000);
    post(&api, path, &deep).await.problem(400, "bad-request");
    post(&api, path, &" ".repeat(70_000)).await.problem(413, "too-large");
    let request = || Request::post(path).header("host", "localhost");
    send(
        &api,
        request()
            .header("content-length", "99999999999")
            .header("content-type", "application/json")
            .body(Body::empty())
            .unwrap(),
    )
    .await
    .problem(413, "too-large");
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = request().header("content-type", kind).body(Body::from("{}")).unwrap();
        send(&api, request).await.problem(415, "not-json");
    }
}
