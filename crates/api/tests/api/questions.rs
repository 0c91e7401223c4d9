//! What is asked, what is answered, and how often the store is asked for it.

use api::Access;
use app::{Detail, summary_now};
use axum::body::Body;
use axum::http::Request;
use backends::memory::MemoryStore;
use domain::ports::Runs as _;
use serde_json::{Value, json};

use crate::night::{CAUSE, api, closed, get, id, keep_nights, one_again, open, portfolio, send, three};

/// The newest night, the missed ones before it, when the next one is due, and the run that stands for it.
const LAST_RUN: &[&str] = &["night_series", "nights", "runs", "night_document", "nights", "runs", "runs", "run"];

#[tokio::test]
async fn every_question_is_a_few_indexed_reads() {
    let store = three();
    keep_nights(&store, 0..3).await;
    let (api, counting) = api(&store, Access::Loopback);
    let run = id(1);
    let missing = id(2);
    // One read each; what needs another says why.
    let expected: &[(String, &[&str])] = &[
        ("/healthz".into(), &["runs"]),
        ("/api/v1/openapi.json".into(), &[]),
        ("/api/v1/batch/last-run".into(), LAST_RUN),
        ("/api/v1/batch/runs?status=partial&month=2026-11&limit=2".into(), &["runs"]),
        ("/api/v1/batch/runs/current".into(), &["open_runs"]),
        (format!("/api/v1/batch/runs/{run}"), &["run"]),
        // Whether there is such a run, then its records.
        (format!("/api/v1/batch/runs/{run}/jobs"), &["run", "records_page"]),
        (format!("/api/v1/batch/runs/{run}/jobs?job=factor_analysis&status=failed"), &["run", "records_page"]),
        (format!("/api/v1/batch/runs/{run}/jobs?portfolio=p1"), &["run", "item"]),
        // What is missing is found by bucket.
        (format!("/api/v1/batch/runs/{missing}/jobs?status=missing"), &["run", "items"]),
        (format!("/api/v1/batch/runs/{missing}/jobs?status=failed"), &["run", "records_page"]),
        // Which runs, then the records of each.
        (
            "/api/v1/batch/jobs/status?status=failed&days_back=90".into(),
            &["runs", "records_page", "records_page", "records_page"],
        ),
        // The runs, then the heads of their nights, and whether a date has a run and no head.
        ("/api/v1/batch/jobs/summary".into(), &["runs", "nights", "runs"]),
        ("/api/v1/batch/jobs/summary?job_type=risk_metrics".into(), &["runs"]),
        ("/api/v1/batch/jobs/factor_analysis/last-success".into(), &["last_success"]),
        ("/api/v1/batch/jobs/factor_analysis/last-success?portfolio_id=p1".into(), &["last_success"]),
        // The newest run, the causes since, and when each was first seen.
        ("/api/v1/batch/failures".into(), &["runs", "failures", "first_seen"]),
        ("/api/v1/batch/failures?since=2026-11-01".into(), &["failures", "first_seen"]),
        (format!("/api/v1/batch/failures?since=2026-11-01&fingerprint={CAUSE}"), &["failures", "first_seen"]),
        ("/api/v1/batch/portfolios/p1/history".into(), &["portfolio_runs"]),
        ("/api/v1/batch/data-quality".into(), &["runs"]),
        ("/api/v1/batch/data-quality?portfolio_id=p1".into(), &["portfolio_runs"]),
    ];
    for (path, reads) in expected {
        let answer = get(&api, path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_eq!(counting.take(), *reads, "{path}");
    }
}

#[tokio::test]
async fn an_open_run_takes_one_read_more_however_many_portfolios_have_ended() {
    let store = three();
    open(&store, 3).await;
    keep_nights(&store, 0..4).await;
    let (api, counting) = api(&store, Access::Loopback);
    for (path, reads) in [
        ("/api/v1/batch/last-run".to_owned(), [LAST_RUN, &["folds"]].concat()),
        ("/api/v1/batch/runs".to_owned(), vec!["runs", "folds"]),
        (format!("/api/v1/batch/runs/{}", id(3)), vec!["run", "folds"]),
        ("/api/v1/batch/runs/current".to_owned(), vec!["open_runs", "folds", "items"]),
    ] {
        assert_eq!(get(&api, &path).await.status, 200, "{path}");
        assert_eq!(counting.take(), reads, "{path}");
    }
}

#[tokio::test]
async fn the_last_run_says_when_and_how() {
    let (api, _) = api(&three(), Access::Loopback);
    let answer = get(&api, "/api/v1/batch/last-run").await.json();
    assert_eq!((&answer["status"], &answer["batch_run_id"]), (&json!("partial"), &json!(id(2))));
    assert_eq!(answer["last_run"], "2026-11-04T23:30:01Z");
    assert_eq!(answer["run"]["missing_jobs"], 1, "{answer}");
    // The names of the old summary.
    for name in [
        "batch_run_id",
        "started_at",
        "portfolios_processed",
        "total_jobs",
        "successful_jobs",
        "failed_jobs",
        "total_duration",
        "job_summary",
    ] {
        assert!(!answer["run"][name].is_null(), "{name}: {answer}");
    }
    let empty = get(&self::api(&MemoryStore::default(), Access::Loopback).0, "/api/v1/batch/last-run").await.json();
    assert_eq!(empty["last_run"], Value::Null);
}

#[tokio::test]
async fn the_newest_night_is_judged_and_not_its_newest_run() {
    let store = three();
    let again = one_again(&store, 2);
    let (api, _) = api(&store, Access::Loopback);
    let answer = get(&api, "/api/v1/batch/last-run").await.json();
    assert_eq!((&answer["status"], &answer["batch_run_id"]), (&json!("partial"), &json!(id(2))), "{answer}");
    let night = &answer["night"];
    assert_eq!((&night["verdict"], &night["runs"]), (&json!("partial"), &json!([id(2), again])), "{night}");
    assert_eq!(answer["verdict"], night["headline"]);
    let summary = get(&api, "/api/v1/batch/jobs/summary").await.json();
    assert_eq!((&summary["runs"], &summary["summary"]["total_jobs"]), (&json!(4), &json!(20)), "each run counts");
    let stands = json!({
        "nights": 3, "good": 1, "total_jobs": 18, "completed": 16, "failed": 1, "skipped": 0, "missing": 1,
        "success_rate": 88.89,
    });
    assert_eq!(summary["nights"], stands, "each job of a night counts once");
    let some = get(&api, "/api/v1/batch/jobs/summary?job_name=factor_analysis").await.json();
    assert_eq!(some["nights"], Value::Null);
}

#[tokio::test]
async fn an_open_run_adds_up_to_the_same_whatever_detail_is_read() {
    let store = three();
    open(&store, 3).await;
    let stored = store.run(id(3)).await.unwrap().unwrap();
    let totals = summary_now(&store, &stored, Detail::Totals).await.unwrap();
    let jobs = summary_now(&store, &stored, Detail::Jobs).await.unwrap();
    assert_eq!(totals.counts(), jobs.counts(), "a portfolio counts once all of its jobs have ended");
    assert_eq!((totals.total_jobs, totals.successful_jobs, totals.failed_jobs), (6, 1, 1));
    assert_eq!(totals.portfolios_processed, jobs.portfolios_processed);
    assert_eq!((totals.data_quality.full, totals.status), (jobs.data_quality.full, jobs.status));
    assert_eq!((totals.job_summary.len(), jobs.job_summary.len()), (0, 2));
}

#[tokio::test]
async fn runs_come_page_by_page_each_once() {
    let store = MemoryStore::default();
    for day in 0..7 {
        closed(&store, day, day == 3, false);
    }
    let (api, _) = api(&store, Access::Loopback);
    let (mut seen, mut path) = (Vec::new(), "/api/v1/batch/runs?limit=3".to_owned());
    loop {
        let page = get(&api, &path).await.json();
        seen.extend(page["runs"].as_array().unwrap().iter().map(|run| run["batch_run_id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/batch/runs?limit=3&cursor={next}");
    }
    let expected: Vec<Value> = (0..7).rev().map(|day| json!(id(day))).collect();
    assert_eq!(seen, expected);
    let partial = get(&api, "/api/v1/batch/runs?status=partial").await.json();
    assert_eq!(partial["runs"].as_array().unwrap().len(), 1, "{partial}");
    let october = get(&api, "/api/v1/batch/runs?month=2026-10").await.json();
    assert_eq!(october, json!({"runs": [], "next": null}));
}

#[tokio::test]
async fn current_is_idle_or_tells_how_far_the_run_is() {
    let store = three();
    let idle = get(&api(&store, Access::Loopback).0, "/api/v1/batch/runs/current").await;
    assert_eq!(
        (idle.status.as_u16(), &idle.json()["status"], &idle.json()["batch_run_id"]),
        (200, &json!("idle"), &Value::Null)
    );
    open(&store, 3).await;
    let now = get(&api(&store, Access::Loopback).0, "/api/v1/batch/runs/current").await.json();
    assert_eq!((&now["status"], &now["batch_run_id"]), (&json!("running"), &json!(id(3))));
    assert_eq!(now["jobs"], json!({"total": 6, "completed": 1, "failed": 1, "skipped": 0, "missing": 0, "pending": 4}));
    assert_eq!((&now["elapsed_seconds"], &now["progress_percent"]), (&json!(30.0), &json!(33.3)));
    assert_eq!(now["current_job"], "factor_analysis");
    assert_eq!((&now["current_portfolio"], &now["current_item"]), (&json!("p1"), &json!("position 15/75 AAPL")));
}

#[tokio::test]
async fn totals_add_up_for_open_runs_too() {
    let store = three();
    open(&store, 3).await;
    let (api, _) = api(&store, Access::Loopback);
    for run in get(&api, "/api/v1/batch/runs").await.json()["runs"].as_array().unwrap() {
        let n = |name: &str| run[name].as_u64().unwrap();
        let sum = n("successful_jobs") + n("failed_jobs") + n("skipped_jobs") + n("missing_jobs");
        assert_eq!((sum, n("total_jobs")), (6, 6), "{run}");
    }
    let summary = get(&api, "/api/v1/batch/jobs/summary?days_back=30").await.json();
    let n = |name: &str| summary["summary"][name].as_u64().unwrap();
    assert_eq!(n("completed") + n("failed") + n("skipped") + n("missing") + n("running"), n("total_jobs"), "{summary}");
    assert_eq!((n("total_jobs"), n("running"), n("completed"), n("failed"), n("missing")), (24, 6, 16, 1, 1));
    assert_eq!(summary["by_job_type"]["market_data"]["completed"], 9, "{summary}");
    assert_eq!(summary["summary"]["success_rate"], 88.89);
}

#[tokio::test]
async fn jobs_of_a_run_are_filtered_and_what_is_missing_is_listed() {
    let store = three();
    open(&store, 3).await;
    let (api, _) = api(&store, Access::Loopback);
    let failed = get(&api, &format!("/api/v1/batch/runs/{}/jobs?status=failed", id(1))).await.json();
    assert_eq!(failed["jobs"][0]["portfolio_id"], json!(portfolio(1)));
    assert_eq!(failed["jobs"][0]["error"]["fingerprint"], CAUSE);
    let missing = get(&api, &format!("/api/v1/batch/runs/{}/jobs?status=missing", id(2))).await.json();
    assert_eq!((&missing["total_jobs"], &missing["jobs"][0]["portfolio_id"]), (&json!(1), &json!("p2")));
    // Of an open run: those that have ended, are in hand, or wait.
    let open = get(&api, &format!("/api/v1/batch/runs/{}/jobs", id(3))).await.json();
    let words: Vec<&str> = open["jobs"].as_array().unwrap().iter().map(|job| job["status"].as_str().unwrap()).collect();
    assert_eq!(words, ["success", "failed", "success", "running", "pending", "pending"]);
    let family = get(&api, &format!("/api/v1/batch/runs/{}/jobs?job_type=market_data&limit=2", id(1))).await.json();
    assert_eq!((&family["total_jobs"], family["jobs"].as_array().unwrap().len()), (&json!(3), 2));
    let next = family["next"].as_str().unwrap();
    let rest = get(&api, &format!("/api/v1/batch/runs/{}/jobs?job_type=market_data&limit=2&cursor={next}", id(1)))
        .await
        .json();
    assert_eq!((rest["jobs"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
}

#[tokio::test]
async fn the_three_questions_are_answered() {
    let (api, _) = api(&three(), Access::Loopback);
    let last = get(&api, "/api/v1/batch/jobs/factor_analysis/last-success?portfolio_id=p2").await.json();
    assert_eq!(last["last_success"]["batch_run_id"], json!(id(1)), "the record of the newest night is missing");
    let never = get(&api, "/api/v1/batch/jobs/stress_testing/last-success").await.json();
    assert_eq!(never, json!({"job": "stress_testing", "portfolio_id": null, "last_success": null}));
    let failures = get(&api, "/api/v1/batch/failures").await.json();
    let cause = &failures["failures"][0];
    assert_eq!(
        (&cause["count"], &cause["portfolios"], &cause["first_seen_run"]),
        (&json!(1), &json!(["p1"]), &json!(id(1)))
    );
    let history = get(&api, "/api/v1/batch/portfolios/p1/history?limit=2").await.json();
    assert_eq!(history["runs"][1]["cells"][1]["status"], "failed", "{history}");
    let status = get(&api, "/api/v1/batch/jobs/status?status=failed&days_back=7").await.json();
    assert_eq!((&status["total_jobs"], &status["truncated"]), (&json!(1), &json!(false)));
    let quality = get(&api, "/api/v1/batch/data-quality").await.json();
    assert_eq!(quality["runs"][2]["data_quality"]["limited"], 2, "{quality}");
    let one = get(&api, "/api/v1/batch/data-quality?portfolio_id=p0").await.json();
    assert_eq!((&one["runs"][0]["flag"], &one["runs"][0]["data_days"]), (&json!("full"), &json!(80.0)));
}

#[tokio::test]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let path = "/api/v1/batch/runs";
    let first = get(&api, path).await;
    let tag = first.header("etag").to_owned();
    let again = |tag: &str| Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
    let same = send(&api, again(&tag)).await;
    assert_eq!((same.status.as_u16(), same.body.len(), same.header("etag")), (304, 0, tag.as_str()));
    closed(&store, 5, false, false);
    let other = send(&api, again(&tag)).await;
    assert_eq!(other.status, 200);
    assert_ne!(other.header("etag"), tag);
    let head = send(&api, Request::head(path).body(Body::empty()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.body.len(), head.header("etag")), (200, 0, other.header("etag")));
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_can_read_it() {
    let (api, _) = api(&three(), Access::Loopback);
    let plain = get(&api, "/api/v1/batch/runs").await;
    let request = Request::get("/api/v1/batch/runs").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    let small = send(&api, request).await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert!(small.body.len() * 2 < plain.body.len(), "{} of {}", small.body.len(), plain.body.len());
    assert_eq!(small.header("etag"), plain.header("etag"));
}
