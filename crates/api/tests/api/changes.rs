//! Commands and notes.

use std::sync::{Arc, Mutex};

use api::Access;
use app::{ActiveRuns, BookOf, ControlParts, RunControl, RunWorker, Starts};
use async_trait::async_trait;
use backends::memory::MemoryStore;
use backends::system::SystemRandomness;
use book::MemorySource;
use domain::alert_book::AlertBook;
use domain::ids::{RunId, ScheduleName};
use domain::ports::{AlertBooks as _, Documents as _, Runs as _};
use serde_json::json;

use crate::night::{CAUSE, Fixed, api, at, get, id, open, portfolio, post, three};

/// The worker of the tests: notes what it is called for.
#[derive(Default)]
pub(crate) struct Worker {
    pub(crate) called: Mutex<Vec<String>>,
}

#[async_trait]
impl RunWorker for Worker {
    async fn begin(&self, run: RunId) {
        self.called.lock().unwrap().push(format!("begin {run}"));
    }
    async fn end(&self, run: RunId) {
        self.called.lock().unwrap().push(format!("end {run}"));
    }
    async fn publish(&self, run: RunId) {
        self.called.lock().unwrap().push(format!("publish {run}"));
    }
    async fn refresh_index(&self) {
        self.called.lock().unwrap().push("refresh".to_owned());
    }
}

/// A control over this store, with a book of the portfolios of its runs, and its worker.
pub(crate) fn control(store: &MemoryStore) -> (Arc<RunControl>, Arc<Worker>) {
    let mut source = MemorySource::default();
    source.insert("portfolios.csv", "portfolio_id,name,equity\np0,Zero,1000\np1,One,1000\np2,Two,1000\n");
    source.insert("positions.csv", "portfolio_id,symbol,quantity,entry_price,entry_date\np0,AAA,1,10,2026-01-02\n");
    source.insert("prices.csv", "date,symbol,close\n2026-11-05,AAA,10\n");
    let book = book::read(&source).unwrap().book.unwrap();
    let worker = Arc::new(Worker::default());
    let starts = Starts::Here { book: BookOf::Loaded(Arc::new(book)), documents: Arc::new(store.clone()) };
    let control = RunControl::new(ControlParts {
        store: Arc::new(store.clone()),
        notes: Arc::new(store.clone()),
        alerts: Arc::new(store.clone()),
        clock: Arc::new(Fixed(at(3, 31))),
        randomness: Arc::new(SystemRandomness),
        starts,
        active_runs: ActiveRuns::Refuse,
        worker: Arc::<Worker>::clone(&worker),
    });
    (Arc::new(control), worker)
}

#[tokio::test]
async fn a_run_is_started_and_can_be_followed() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let (control, worker) = control(&store);
    let api = api.with_control(control);
    for body in [r#"{"as_of": "2026-11-01"}"#, r#"{"as_of": "2026-11-06"}"#, r#"{"portfolio_ids": ["p9"]}"#] {
        post(&api, "/api/v1/batch/runs", body).await.problem(422, "unprocessable");
    }
    assert!(store.open_runs().await.unwrap().is_empty() && worker.called.lock().unwrap().is_empty());
    let body = r#"{"as_of": "2026-11-05", "portfolio_ids": ["p1"], "again": true}"#;
    let answer = post(&api, "/api/v1/batch/runs", body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("started")));
    let run = answer.json()["batch_run_id"].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["poll_url"], format!("/api/v1/batch/runs/{run}"));
    assert_eq!(answer.header("location"), format!("/api/v1/batch/runs/{run}"));
    let open = store.open_runs().await.unwrap();
    assert_eq!((open[0].filter.len(), open[0].trigger.as_str(), open.len()), (1, "api", 1));
    assert_eq!(*worker.called.lock().unwrap(), [format!("begin {run}")]);
}

#[tokio::test]
async fn a_rerun_needs_what_its_run_pinned() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let (control, worker) = control(&store);
    let api = api.with_control(control);
    let path = format!("/api/v1/batch/runs/{}/rerun", id(1));
    let problem = post(&api, &path, "{}").await.problem(409, "no-inputs");
    assert_eq!(problem["batch_run_id"], json!(id(1)));
    assert!(problem["detail"].as_str().unwrap().contains("POST /api/v1/batch/runs"), "{problem}");
    assert!(store.open_runs().await.unwrap().is_empty() && worker.called.lock().unwrap().is_empty());
    store.put_snapshot(b"snapshot".to_vec()).await.unwrap();
    let rerun = post(&api, &path, "{}").await;
    assert_eq!((rerun.status.as_u16(), &rerun.json()["triggered_by"]), (202, &json!("rerun")));
    let begun = rerun.json()["batch_run_id"].clone();
    let again = post(&api, &path, "{}").await;
    assert_eq!((again.status.as_u16(), &again.json()["batch_run_id"]), (202, &begun), "it continues");
}

#[tokio::test]
async fn a_rerun_of_a_cause_takes_its_portfolios_alone() {
    let store = three();
    store.put_snapshot(b"snapshot".to_vec()).await.unwrap();
    let (api, _) = api(&store, Access::Loopback);
    let (control, _) = control(&store);
    let api = api.with_control(control);
    let path = format!("/api/v1/batch/runs/{}/rerun", id(1));
    post(&api, &path, r#"{"cause": "ffffffffffffffff"}"#).await.problem(422, "unprocessable");
    post(&api, &path, r#"{"cause": "no cause"}"#).await.problem(422, "unprocessable");
    let both = format!(r#"{{"failed": true, "cause": "{CAUSE}"}}"#);
    post(&api, &path, &both).await.problem(422, "unprocessable");
    assert!(store.open_runs().await.unwrap().is_empty());
    let begun = post(&api, &path, &format!(r#"{{"cause": "{CAUSE}"}}"#)).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let [run] = <[_; 1]>::try_from(store.open_runs().await.unwrap()).unwrap();
    assert_eq!((run.rerun_of, run.filter), (Some(id(1)), vec![portfolio(1)]));
}

#[tokio::test]
async fn while_a_run_is_active_no_other_begins() {
    let store = three();
    store.put_snapshot(b"snapshot".to_vec()).await.unwrap();
    open(&store, 3).await;
    let (api, _) = api(&store, Access::Loopback);
    let (control, worker) = control(&store);
    let api = api.with_control(control);
    for path in ["/api/v1/batch/runs".to_owned(), format!("/api/v1/batch/runs/{}/rerun", id(1))] {
        let problem = post(&api, &path, "{}").await.problem(409, "run-active");
        assert_eq!(problem["batch_run_id"], json!(id(3)));
    }
    post(&api, &format!("/api/v1/batch/runs/{}/cancel", id(1)), "{}").await.problem(409, "run-ended");
    let unknown = "00000000-0000-0000-0000-000000000000";
    post(&api, &format!("/api/v1/batch/runs/{unknown}/cancel"), "{}").await.problem(404, "not-found");
    post(&api, &format!("/api/v1/batch/runs/{unknown}/rerun"), "{}").await.problem(404, "not-found");
    assert!(worker.called.lock().unwrap().is_empty());
    let answer = post(&api, &format!("/api/v1/batch/runs/{}/cancel", id(3)), "{}").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("cancelling")));
    assert_eq!(*worker.called.lock().unwrap(), [format!("end {}", id(3))]);
}

#[tokio::test]
async fn a_server_without_commands_only_reads() {
    let (api, _) = api(&three(), Access::Loopback);
    post(&api, "/api/v1/batch/runs", "{}").await.problem(403, "reads-only");
    post(&api, &format!("/api/v1/batch/runs/{}/notes", id(1)), r#"{"kind": "acknowledge", "author": "Zoë"}"#)
        .await
        .problem(501, "no-notes");
}

#[tokio::test]
async fn notes_are_kept_once_and_in_order() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let (control, worker) = control(&store);
    let api = api.with_notes(Arc::new(store)).with_control(control);
    let path = format!("/api/v1/batch/runs/{}/notes", id(1));
    let first = r#"{"kind": "acknowledge", "author": "  Zoë ", "id": "11111111-1111-4111-8111-111111111111"}"#;
    let added = post(&api, &path, first).await;
    assert_eq!((added.status.as_u16(), &added.json()["author"]), (201, &json!("Zoë")));
    assert_eq!(added.json()["at"], "2026-11-05T23:30:31Z");
    assert_eq!(post(&api, &path, first).await.json(), added.json(), "the same note sent again");
    let second = r#"{"kind": "annotate", "author": "Bo", "text": "two\nlines <b>, key api_key=C4nary4242"}"#;
    assert_eq!(post(&api, &path, second).await.status, 201);
    let notes = get(&api, &path).await.json();
    assert_eq!((notes["notes"].as_array().unwrap().len(), &notes["acknowledged_by"]), (2, &json!("Zoë")));
    assert!(!notes.to_string().contains("C4nary"), "a secret is kept: {notes}");
    assert_eq!(worker.called.lock().unwrap().len(), 2, "the page is written again for each new note");
    for body in [
        r#"{"kind": "annotate", "author": "Bo"}"#,
        r#"{"kind": "praise", "author": "Bo"}"#,
        r#"{"kind": "annotate", "author": "", "text": "x"}"#,
        r#"{"kind": "annotate", "author": "Bo", "text": "x\u001b[31m"}"#,
        r#"{"author": "Bo"}"#,
    ] {
        post(&api, &path, body).await.problem(422, "unprocessable");
    }
    let long = format!(r#"{{"kind": "annotate", "author": "Bo", "text": "{}"}}"#, "x".repeat(1_001));
    post(&api, &path, &long).await.problem(422, "unprocessable");
    let unknown = "/api/v1/batch/runs/00000000-0000-0000-0000-000000000000/notes";
    post(&api, unknown, first).await.problem(404, "not-found");
    get(&api, unknown).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_mute_is_stored_for_every_schedule_and_shown() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let (control, worker) = control(&store);
    let api = api.with_control(control);
    let path = "/api/v1/alerts/mutes";
    let good = r#"{"fingerprint": "00112233aabbccdd", "until": "2026-11-20", "reason": "the vendor knows"}"#;
    post(&api, path, good).await.problem(409, "conflict");
    let schedule = ScheduleName::new("nightly").unwrap();
    assert!(store.put_alert_book(&AlertBook::empty(schedule.clone())).await.unwrap());
    for body in [
        r#"{"until": "2026-11-20", "reason": "neither"}"#,
        r#"{"fingerprint": "00112233aabbccdd", "portfolio_id": "p1", "until": "2026-11-20", "reason": "both"}"#,
        r#"{"portfolio_id": "p1", "until": "2026-11-04", "reason": "in the past"}"#,
        r#"{"portfolio_id": "p1", "until": "2026-11-20", "reason": ""}"#,
        r#"{"portfolio_id": "p1", "until": "2026-11-20", "reason": "two\nlines"}"#,
        r#"{"portfolio_id": "p1", "reason": "for ever"}"#,
        r#"{"portfolio_id": "p99", "until": "2026-11-20", "reason": "misspelt"}"#,
    ] {
        post(&api, path, body).await.problem(422, "unprocessable");
    }
    assert!(store.alert_book(&schedule).await.unwrap().mutes.is_empty() && worker.called.lock().unwrap().is_empty());
    let muted = post(&api, path, good).await;
    assert_eq!((muted.status.as_u16(), &muted.json()["until"]), (201, &json!("2026-11-21T00:00:00Z")));
    assert_eq!(store.alert_book(&schedule).await.unwrap().mutes.len(), 1);
    assert_eq!(*worker.called.lock().unwrap(), ["refresh"]);
}
