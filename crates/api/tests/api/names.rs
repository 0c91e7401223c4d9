//! Names that nothing on record has are errors that say what was probably meant, and never an empty answer.

use api::Access;
use backends::memory::MemoryStore;
use serde_json::Value;

use crate::night::{CAUSE, api, get, id, open, three};

#[tokio::test]
async fn an_unknown_name_is_an_error_with_a_suggestion() {
    let store = three();
    open(&store, 3).await;
    let (api, _) = api(&store, Access::Loopback);
    let run = id(3);
    for (path, status, says) in [
        ("/api/v1/batch/jobs/factor_analysi/last-success".to_owned(), 404, "did you mean factor_analysis?"),
        ("/api/v1/batch/jobs/liquidity/last-success".to_owned(), 404, "the known ones are: factor_analysis, greeks"),
        ("/api/v1/batch/jobs/factor_analysis/last-success?portfolio_id=p11".to_owned(), 400, "did you mean p1"),
        ("/api/v1/batch/portfolios/q1/history".to_owned(), 404, "did you mean p1"),
        (format!("/api/v1/batch/runs/{run}/jobs?job_name=factor_analysi"), 400, "did you mean factor_analysis?"),
        (format!("/api/v1/batch/runs/{run}/jobs?job=stress_testing"), 400, "the known ones are: market_data_update"),
        (format!("/api/v1/batch/runs/{run}/jobs?portfolio=p11"), 400, "did you mean p1"),
        (format!("/api/v1/batch/runs/{run}/jobs?portfolo_id=p1"), 400, "did you mean portfolio_id?"),
        ("/api/v1/batch/jobs/status?job_name=factor_analysi".to_owned(), 400, "did you mean factor_analysis?"),
        ("/api/v1/batch/jobs/status?portfolio_id=p11".to_owned(), 400, "did you mean p1"),
        ("/api/v1/batch/jobs/summary?job_name=factor_analysi".to_owned(), 400, "did you mean factor_analysis?"),
        ("/api/v1/batch/failures?fingerprint=00112233aabbccde".to_owned(), 400, CAUSE),
        ("/api/v1/batch/data-quality?portfolio_id=p11".to_owned(), 400, "did you mean p1"),
        ("/api/v1/batch/runs?month=26-11".to_owned(), 400, "as in 2026-11"),
        ("/api/v1/batch/runs?limt=1".to_owned(), 400, "did you mean limit?"),
    ] {
        let name = if status == 404 { "not-found" } else { "bad-request" };
        let problem = get(&api, &path).await.problem(status, name);
        assert!(problem["detail"].as_str().unwrap().contains(says), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_known_name_without_an_answer_is_no_error() {
    let store = three();
    open(&store, 3).await;
    let (api, _) = api(&store, Access::Loopback);
    for path in [
        // A built-in job that no run had.
        "/api/v1/batch/jobs/stress_testing/last-success".to_owned(),
        "/api/v1/batch/jobs/summary?job_name=stress_testing".to_owned(),
        // A portfolio that nobody has touched in the open run.
        format!("/api/v1/batch/runs/{}/jobs?portfolio_id=p2", id(3)),
        // A cause that is older than what was asked for.
        format!("/api/v1/batch/failures?since=2026-11-05&fingerprint={CAUSE}"),
    ] {
        assert_eq!(get(&api, &path).await.status, 200, "{path}");
    }
    let empty = self::api(&MemoryStore::default(), Access::Loopback).0;
    let never = get(&empty, "/api/v1/batch/jobs/factor_analysis/last-success").await;
    assert_eq!((never.status.as_u16(), &never.json()["last_success"]), (200, &Value::Null));
}
