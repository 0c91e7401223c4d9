//! What the functions do with their events, over a store in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Access, Api};
use app::MostDetail;
use async_trait::async_trait;
use aws_lambda_events::event::sqs::SqsEvent;
use backends::memory::{MemorySite, MemoryStore};
use backends::system::{SystemRandomness, TokioSleeper};
use chrono::{DateTime, TimeDelta, Utc};
use domain::alert_message::{AlertKind, AlertMessage};
use domain::alert_rules::Severity;
use domain::ids::{ChannelName, JobName, PortfolioId, RunId};
use domain::job_context::JobContext;
use domain::metrics::CloudMetric;
use domain::ports::{
    AlertChannel, ChannelError, Clock, JobRunner, PortfolioJobs, Ports, Randomness as _, Runs as _, SettingsFile,
    StoreError, WorkItems as _, WorkMessage, WorkQueue,
};
use domain::record::{JobError, JobOutput};
use domain::run::{Publication, Run, RunPhase};
use domain::words::RunStatus;
use domain::work_item::{ItemKey, ItemState, Place};
use functions::close::{Closer, Outcome};
use functions::metrics::Metrics;
use functions::run_control::{self, AskStart, HistoryParts};
use functions::source::BookFiles;
use functions::start::Starter;
use functions::watch::{CallStart, Watcher};
use functions::work::{MARGIN, Worker};
use http_body_util::BodyExt as _;
use jobs::Runner;
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[path = "handlers/slots.rs"]
mod slots;

const SLOT: &str = "2026-06-30T22:30:00Z";

/// A clock that a test sets.
#[derive(Clone)]
struct SetClock(Arc<Mutex<DateTime<Utc>>>);

impl Clock for SetClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// What was sent, and the files, settings and calls of one place.
#[derive(Clone, Default)]
struct Shared {
    work: Arc<Mutex<Vec<WorkMessage>>>,
    closes: Arc<Mutex<Vec<RunId>>>,
    buckets: Arc<Mutex<Vec<(RunId, u32)>>>,
    /// How many messages the queue says are waiting; none where it cannot tell.
    waiting: Arc<Mutex<Option<u64>>>,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    kept: Arc<Mutex<Option<Vec<u8>>>>,
    calls: Arc<Mutex<Vec<Value>>>,
    told: Arc<Mutex<Vec<AlertMessage>>>,
}

#[async_trait]
impl WorkQueue for Shared {
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        self.work.lock().unwrap().extend(messages);
        Ok(())
    }
    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        self.closes.lock().unwrap().push(run);
        Ok(())
    }
    async fn waiting_work(&self) -> Result<Option<u64>, StoreError> {
        Ok(*self.waiting.lock().unwrap())
    }
    async fn send_pages(&self, run: RunId, buckets: Vec<u32>) -> Result<(), StoreError> {
        self.buckets.lock().unwrap().extend(buckets.into_iter().map(|bucket| (run, bucket)));
        Ok(())
    }
}

#[async_trait]
impl BookFiles for Shared {
    async fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        Ok(self.files.lock().unwrap().clone())
    }
}

#[async_trait]
impl SettingsFile for Shared {
    async fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.kept.lock().unwrap().clone())
    }
    async fn write(&self, json: Vec<u8>) -> Result<(), StoreError> {
        *self.kept.lock().unwrap() = Some(json);
        Ok(())
    }
}

#[async_trait]
impl CallStart for Shared {
    async fn call_start(&self, payload: &Value) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push(payload.clone());
        Ok(())
    }
}

/// The function `start-run` as another calls it.
struct Function(Starter, Shared);

#[async_trait]
impl CallStart for Function {
    async fn call_start(&self, payload: &Value) -> Result<(), StoreError> {
        self.1.call_start(payload).await
    }
}

#[async_trait]
impl AskStart for Function {
    async fn ask_start(&self, payload: &Value) -> Result<Value, StoreError> {
        let said = self.0.start(payload.clone()).await;
        said.map_err(|error| StoreError::Unavailable { doing: "ask start-run".into(), source: error.into() })
    }
}

/// A channel that keeps what it is given.
struct Kept(Shared, ChannelName);

#[async_trait]
impl AlertChannel for Kept {
    fn name(&self) -> &ChannelName {
        &self.1
    }
    fn min_severity(&self) -> Severity {
        Severity::Info
    }
    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        self.0.told.lock().unwrap().push(message.clone());
        Ok(())
    }
}

/// The cloud in memory.
struct Cloud {
    shared: Shared,
    store: MemoryStore,
    site: MemorySite,
    clock: SetClock,
    ports: Ports,
}

impl Cloud {
    fn new() -> Self {
        let shared = Shared::default();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python-job/book");
        let mut files: BTreeMap<String, Vec<u8>> = ["portfolios.csv", "positions.csv", "prices.csv"]
            .into_iter()
            .map(|name| (name.to_owned(), std::fs::read(folder.join(name)).unwrap()))
            .collect();
        files.insert("nightbook.toml".into(), b"[factors]\nMarket = \"SPY\"\n".to_vec());
        *shared.files.lock().unwrap() = files;
        let (store, site) = (MemoryStore::default(), MemorySite::default());
        let clock = SetClock(Arc::new(Mutex::new(SLOT.parse().unwrap())));
        let ports = Ports {
            comparer: Arc::new(domain::ports::NoComparison),
            store: Arc::new(store.clone()),
            documents: Arc::new(store.clone()),
            queue: Arc::new(shared.clone()),
            clock: Arc::new(clock.clone()),
            sleeper: Arc::new(TokioSleeper),
            randomness: Arc::new(SystemRandomness),
        };
        Self { shared, store, site, clock, ports }
    }

    fn after(&self, time: TimeDelta) {
        *self.clock.0.lock().unwrap() += time;
    }

    fn starter(&self) -> Starter {
        Starter {
            ports: self.ports.clone(),
            source: Arc::new(self.shared.clone()),
            keeper: Arc::new(self.shared.clone()),
        }
    }

    fn channels(&self) -> Vec<Arc<dyn AlertChannel>> {
        vec![Arc::new(Kept(self.shared.clone(), ChannelName::new("topic").unwrap()))]
    }

    fn closer(&self) -> Closer {
        Closer {
            ports: self.ports.clone(),
            books: Arc::new(self.store.clone()),
            notes: Arc::new(self.store.clone()),
            site: Arc::new(self.site.clone()),
            keeper: Arc::new(self.shared.clone()),
            channels: self.channels(),
            events: None,
            most: MostDetail::Full,
            spread_from: u32::MAX,
            base: "s3://site".into(),
            records: site::Records::Unknown,
            metrics: Metrics::new(None),
        }
    }

    fn worker(&self) -> Worker {
        let runner = Runner::new(Arc::clone(&self.ports.documents), 1);
        Worker::new(self.ports.clone(), Arc::new(runner))
    }

    fn watcher(&self) -> Watcher {
        Watcher {
            ports: self.ports.clone(),
            books: Arc::new(self.store.clone()),
            keeper: Arc::new(self.shared.clone()),
            channels: self.channels(),
            start: Arc::new(self.shared.clone()),
            metrics: Metrics::new(None),
        }
    }

    async fn start(&self, payload: Value) -> Result<Value, String> {
        self.starter().start(payload).await.map_err(|error| format!("{error:#}"))
    }

    async fn start_slot(&self) -> RunId {
        let said = self.start(json!({ "schedule": "nightly", "scheduled_time": SLOT })).await.unwrap();
        said["batch_run_id"].as_str().unwrap().parse().unwrap()
    }

    /// What `history` says to a request as the gateway hands it on: a status, and what it answers.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let start = Arc::new(Function(self.starter(), self.shared.clone()));
        let control = run_control::control(HistoryParts {
            store: Arc::new(self.store.clone()),
            notes: Arc::new(self.store.clone()),
            alerts: Arc::new(self.store.clone()),
            clock: Arc::new(self.clock.clone()),
            randomness: Arc::new(SystemRandomness),
            start,
        });
        let api = Api::new(Arc::new(self.store.clone()), Arc::new(self.clock.clone()), Access::Checked)
            .with_notes(Arc::new(self.store.clone()))
            .with_control(Arc::new(control));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = json!({
            "version": "2.0", "routeKey": format!("{method} /api/v1/{{proxy+}}"), "rawPath": path,
            "rawQueryString": query, "body": body, "isBase64Encoded": false,
            "headers": { "content-type": "application/json", "host": "history.example.com" },
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "history.example.com", "stage": "$default",
                "requestId": "r", "routeKey": "GET /api/v1/{proxy+}", "timeEpoch": 0,
                "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
            },
        });
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let response = api::router(api).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let content = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&content).unwrap_or_default())
    }

    fn take_calls(&self) -> Vec<Value> {
        std::mem::take(&mut *self.shared.calls.lock().unwrap())
    }

    fn take_work(&self) -> Vec<WorkMessage> {
        std::mem::take(&mut *self.shared.work.lock().unwrap())
    }

    /// The messages that asked for pages of buckets.
    fn take_buckets(&self) -> Vec<Value> {
        let buckets = std::mem::take(&mut *self.shared.buckets.lock().unwrap());
        buckets.into_iter().map(|(run, bucket)| json!({ "batch_run_id": run, "bucket": bucket })).collect()
    }

    fn take_closes(&self) -> Vec<RunId> {
        std::mem::take(&mut *self.shared.closes.lock().unwrap())
    }

    /// Works on everything that was sent, each message as often as asked; gives how many came back.
    async fn work_off(&self, times: usize) -> usize {
        let worker = self.worker();
        let mut given_back = 0;
        for message in self.take_work() {
            for _ in 0..times {
                let event = event(&[json!(message)]);
                let said = worker.work(event, Duration::from_secs(60)).await;
                given_back += said.batch_item_failures.len();
            }
        }
        given_back
    }

    async fn run(&self, id: RunId) -> Run {
        self.store.run(id).await.unwrap().unwrap().run
    }

    /// A run that has gone the whole way.
    async fn closed_run(&self) -> RunId {
        let id = self.start_slot().await;
        assert_eq!(self.work_off(1).await, 0);
        assert!(matches!(self.closer().close(id).await.unwrap(), Outcome::Closed(_)));
        self.take_closes();
        id
    }
}

fn event(bodies: &[Value]) -> SqsEvent {
    let records: Vec<Value> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| json!({ "messageId": format!("m{n}"), "body": body.to_string() }))
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

#[tokio::test]
async fn a_slot_goes_the_whole_way_though_everything_comes_twice() {
    let place = Cloud::new();
    let id = place.start_slot().await;
    assert_eq!(place.start_slot().await, id, "the same slot is the same run");
    assert_eq!(place.shared.work.lock().unwrap().len(), 2, "one message a portfolio, and none for the repeated call");
    assert_eq!(place.work_off(2).await, 0);
    let closes = place.take_closes();
    assert!(!closes.is_empty() && closes.iter().all(|run| *run == id));
    let messages: Vec<Value> = closes.iter().chain(&closes).map(|run| json!({ "batch_run_id": run })).collect();
    assert_eq!(place.closer().handle(event(&messages)).await.batch_item_failures.len(), 0);
    let stored = place.store.run(id).await.unwrap().unwrap();
    let summary = stored.summary.unwrap();
    assert_eq!((summary.portfolios_expected, summary.portfolios_processed, summary.total_jobs), (2, 2, 18));
    assert_eq!(
        summary.successful_jobs + summary.failed_jobs + summary.skipped_jobs + summary.missing_jobs,
        summary.total_jobs
    );
    assert!(matches!(stored.run.publication, Publication::Published { .. }));
    let files = place.site.files();
    assert!(files.contains_key("index.html") && files.contains_key(&format!("runs/{id}/index.html")));
    let (status, last) = place.ask("GET", "/api/v1/batch/last-run", "").await;
    assert_eq!((status, last["batch_run_id"].as_str()), (200, Some(id.to_string().as_str())));
    let (status, jobs) = place.ask("GET", &format!("/api/v1/batch/runs/{id}/jobs?portfolio=growth"), "").await;
    assert_eq!((status, jobs["jobs"].as_array().map(Vec::len)), (200, Some(9)), "{jobs}");
}

/// The functions of a stack that spreads every run.
fn spreading(place: &Cloud) -> Closer {
    Closer { spread_from: 1, ..place.closer() }
}

#[tokio::test]
async fn the_pages_of_a_large_run_are_written_by_messages_and_are_the_same() {
    let whole = Cloud::new();
    let id = whole.closed_run().await;
    let place = Cloud::new();
    let closer = spreading(&place);
    assert_eq!(place.start_slot().await, id);
    place.work_off(1).await;
    let Outcome::Closed(summary) = closer.close(id).await.unwrap() else { panic!("the run is not closed") };
    assert!(matches!(summary.publication, Publication::UnderWay { since, .. } if since == place.clock.now()));
    let there = place.site.files();
    assert!(there.contains_key(&format!("runs/{id}/index.html")), "an alert leads to the page of the run");
    assert!(!there.keys().any(|path| path.starts_with("portfolios/") || path == "index.html"), "{:?}", there.keys());
    let buckets = place.take_buckets();
    assert_eq!(buckets, [json!({ "batch_run_id": id, "bucket": 0 })]);
    // Every message comes twice, and one for a bucket that the run does not have.
    let stray = json!({ "batch_run_id": id, "bucket": 7 });
    for message in [&stray, &buckets[0], &buckets[0]] {
        assert_eq!(closer.handle(event(std::slice::from_ref(message))).await.batch_item_failures.len(), 0);
    }
    assert!(place.run(id).await.pages_left.is_empty());
    let (one, other) = (whole.site.files(), place.site.files());
    let written = async |of: &Cloud| match of.run(id).await.publication {
        Publication::Published { files_written, .. } => files_written,
        other => panic!("{other:?}"),
    };
    assert_eq!(written(&place).await, written(&whole).await, "the steps count what they write");
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    let differ: Vec<_> = one.iter().filter(|(path, body)| other.get(*path) != Some(*body)).collect();
    assert!(differ.is_empty(), "{:?}", differ.iter().map(|(path, _)| path).collect::<Vec<_>>());
}

#[tokio::test]
async fn work_that_waits_in_the_queue_is_not_sent_again() {
    let place = Cloud::new();
    place.start_slot().await;
    assert_eq!(place.take_work().len(), 2);
    place.after(TimeDelta::minutes(6));
    for (waiting, sent) in [(Some(2), 0), (Some(1), 0), (Some(0), 2), (None, 2)] {
        *place.shared.waiting.lock().unwrap() = waiting;
        assert_eq!(place.watcher().sweep().await.unwrap().sent, sent, "{waiting:?} messages wait");
        assert_eq!(place.take_work().len(), sent);
    }
}

#[tokio::test]
async fn a_message_for_a_bucket_of_a_run_that_has_no_pages_ends_no_publication() {
    let place = Cloud::new();
    let closer = spreading(&place);
    let id = place.start_slot().await;
    place.work_off(1).await;
    closer.close(id).await.unwrap();
    place.take_buckets();
    // As it stands where the first step failed.
    let stored = place.store.run(id).await.unwrap().unwrap();
    let at = place.clock.now();
    let publication = Publication::Failed { at, error: "the bucket was away".into() };
    let items = place.store.items(id, 0).await.unwrap();
    let run = Run { publication: publication.clone(), pages_left: BTreeSet::new(), ..stored.run };
    place.store.put(run, items, stored.summary);
    let forged = json!({ "batch_run_id": id, "bucket": 0 });
    assert_eq!(closer.handle(event(&[forged])).await.batch_item_failures.len(), 0);
    assert_eq!(place.run(id).await.publication, publication);
    assert!(!place.site.files().contains_key("index.html"), "it would lead to portfolios without a page");
}

#[tokio::test]
async fn messages_of_a_publication_that_were_lost_are_sent_again_after_a_while() {
    let place = Cloud::new();
    let closer = spreading(&place);
    let id = place.start_slot().await;
    place.work_off(1).await;
    closer.close(id).await.unwrap();
    assert_eq!(place.take_buckets().len(), 1, "and lost");
    place.take_closes();
    let swept = async |minutes| {
        place.after(TimeDelta::minutes(minutes));
        place.watcher().sweep().await.unwrap();
        assert_eq!(place.take_closes(), [id]);
        closer.close(id).await.unwrap();
        place.take_buckets()
    };
    assert_eq!(swept(5).await.len(), 0, "they may be on their way");
    let again = swept(11).await;
    assert_eq!(again.len(), 1);
    closer.handle(event(&again)).await;
    assert!(matches!(place.run(id).await.publication, Publication::Published { .. }));
}

#[tokio::test]
async fn history_says_that_there_is_nothing_yet() {
    let place = Cloud::new();
    assert_eq!(place.ask("GET", "/healthz", "").await.0, 200);
    let (status, last) = place.ask("GET", "/api/v1/batch/last-run", "").await;
    assert_eq!((status, &last["last_run"], &last["batch_run_id"]), (200, &Value::Null, &Value::Null));
    assert_eq!(place.ask("GET", "/api/v1/batch/last", "").await.0, 404);
    assert_eq!(place.ask("POST", "/healthz", "").await.0, 405);
    assert_eq!(place.ask("GET", "/api/v1/openapi.json", "").await.1["openapi"], "3.1.0");
}

#[tokio::test]
async fn a_run_is_started_through_the_api_once_and_no_other_beside_it() {
    let place = Cloud::new();
    let asked = json!({ "as_of": "2026-06-29", "portfolio_ids": ["growth"], "triggered_by": "desk" }).to_string();
    let (status, said) = place.ask("POST", "/api/v1/batch/runs", &asked).await;
    assert_eq!((status, &said["status"]), (202, &json!("started")), "{said}");
    let id: RunId = said["batch_run_id"].as_str().unwrap().parse().unwrap();
    assert!(matches!(place.run(id).await.phase, RunPhase::Planning { .. }), "it is on record");
    let (status, problem) = place.ask("POST", "/api/v1/batch/runs", "{}").await;
    assert_eq!((status, &problem["batch_run_id"]), (409, &json!(id)));
    let calls = place.take_calls();
    assert_eq!(calls, [json!({ "resume": id })]);
    assert_eq!(place.start(calls[0].clone()).await.unwrap()["outcome"], "sealed");
    let run = place.run(id).await;
    assert_eq!((run.trigger.as_str(), run.as_of.to_string().as_str()), ("desk", "2026-06-29"));
    assert_eq!(place.ask("GET", "/api/v1/batch/runs/current", "").await.1["batch_run_id"], json!(id));
    assert_eq!(place.work_off(1).await, 0);
    assert!(matches!(place.closer().close(id).await.unwrap(), Outcome::Closed(_)));
    let (status, said) = place.ask("POST", "/api/v1/batch/runs", &asked).await;
    assert_eq!((status, &said["status"], &said["batch_run_id"]), (200, &json!("finished"), &json!(id)));
    assert!(place.take_calls().is_empty());
}

#[tokio::test]
async fn a_run_whose_start_was_called_for_in_vain_is_started_by_the_watch() {
    let place = Cloud::new();
    place.start_slot().await;
    place.work_off(1).await;
    for id in place.take_closes() {
        place.closer().close(id).await.unwrap();
    }
    place.after(TimeDelta::minutes(1));
    // Another date: that of the slot has a run on these inputs.
    let (status, said) = place.ask("POST", "/api/v1/batch/runs", r#"{"as_of": "2026-06-29"}"#).await;
    assert_eq!(status, 202, "{said}");
    let lost = place.take_calls();
    assert_eq!(place.watcher().sweep().await.unwrap().resumed, 1);
    assert_eq!(place.take_calls(), lost);
}

#[tokio::test]
async fn what_cannot_be_started_is_told_to_whoever_asks_and_leaves_no_record() {
    let place = Cloud::new();
    for (body, part) in [
        (json!({ "as_of": "2026-06-28" }), "not a session"),
        (json!({ "as_of": "2026-07-01" }), "the last allowed date is 2026-06-30"),
        (json!({ "portfolio_ids": ["nobody"] }), "no portfolio nobody"),
    ] {
        let (status, problem) = place.ask("POST", "/api/v1/batch/runs", &body.to_string()).await;
        assert_eq!(status, 422, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
    place.shared.files.lock().unwrap().remove("portfolios.csv");
    let (status, problem) = place.ask("POST", "/api/v1/batch/runs", "{}").await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("portfolios.csv"), "{problem}");
    assert!(place.store.open_runs().await.unwrap().is_empty());
    assert!(place.take_calls().is_empty());
}

#[tokio::test]
async fn a_run_is_repeated_through_the_api_and_ended_early() {
    let place = Cloud::new();
    let id = place.closed_run().await;
    let path = format!("/api/v1/batch/runs/{id}/rerun");
    let (status, problem) = place.ask("POST", &path, r#"{"failed": true}"#).await;
    assert_eq!(status, 409, "every job succeeded: {problem}");
    let (status, said) = place.ask("POST", &path, "{}").await;
    assert_eq!((status, &said["triggered_by"]), (202, &json!("rerun")), "{said}");
    let again: RunId = said["batch_run_id"].as_str().unwrap().parse().unwrap();
    let (status, said) = place.ask("POST", &path, "{}").await;
    assert_eq!((status, &said["batch_run_id"]), (202, &json!(again)), "it continues");
    assert_eq!(place.ask("POST", "/api/v1/batch/runs", "{}").await.0, 409, "one at a time");
    let call = place.take_calls().remove(0);
    assert_eq!(place.start(call).await.unwrap()["outcome"], "sealed");
    assert_eq!(place.run(again).await.rerun_of, Some(id));
    let (status, said) = place.ask("POST", &format!("/api/v1/batch/runs/{again}/cancel"), "{}").await;
    assert_eq!((status, &said["status"]), (202, &json!("cancelling")));
    let call = place.take_calls().remove(0);
    assert_eq!(place.start(call).await.unwrap()["outcome"], "cancelled");
    assert_eq!(place.take_closes().first(), Some(&again));
    assert!(matches!(place.closer().close(again).await.unwrap(), Outcome::Closed(_)));
    let (status, _) = place.ask("POST", &format!("/api/v1/batch/runs/{again}/cancel"), "{}").await;
    assert_eq!(status, 409, "it has ended");
}

#[tokio::test]
async fn a_note_stands_on_the_page_of_its_run_after_the_next_sweep() {
    let place = Cloud::new();
    let id = place.closed_run().await;
    let note = json!({ "kind": "annotate", "author": "Zoë", "text": "the vendor was late" }).to_string();
    let path = format!("/api/v1/batch/runs/{id}/notes");
    assert_eq!(place.ask("POST", &path, &note).await.0, 201);
    assert_eq!(place.ask("GET", &path, "").await.1["notes"].as_array().unwrap().len(), 1);
    assert_eq!(place.watcher().sweep().await.unwrap().deliveries, 1);
    let told = place.shared.told.lock().unwrap().len();
    for asked in place.take_closes() {
        place.closer().close(asked).await.unwrap();
    }
    let page = place.site.files().remove(&format!("runs/{id}/index.html")).unwrap();
    assert!(String::from_utf8_lossy(&page).contains("the vendor was late"));
    assert_eq!(place.shared.told.lock().unwrap().len(), told, "a note is no news of the run");
}

#[tokio::test]
async fn every_metric_is_written() {
    let place = Cloud::new();
    let lines = Arc::new(Mutex::new(Vec::<u8>::new()));
    let metrics = || Metrics::new(Some("stack".into())).written_to(Arc::<Mutex<Vec<u8>>>::clone(&lines));
    let id = place.start_slot().await;
    place.work_off(1).await;
    Closer { metrics: metrics(), ..place.closer() }.close(id).await.unwrap();
    Watcher { metrics: metrics(), ..place.watcher() }.sweep().await.unwrap();
    let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    let written: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: BTreeSet<&str> = written
        .iter()
        .flat_map(|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap())
        .map(|metric| metric["Name"].as_str().unwrap())
        .collect();
    assert_eq!(named, CloudMetric::ALL.map(CloudMetric::name).into());
    assert!(written.iter().all(|line| line["Service"] == "stack"));
    assert_eq!((&written[0]["batch_run_id"], &written[0]["JobsSucceeded"]), (&json!(id), &json!(18.0)));
}

#[tokio::test]
async fn a_slot_on_a_holiday_has_no_run() {
    let place = Cloud::new();
    place.after(TimeDelta::days(7));
    // The third of July 2026 is a holiday of the exchange: its slot stands for the day before.
    let said = place.start(json!({ "schedule": "nightly", "scheduled_time": "2026-07-03T22:30:00Z" })).await.unwrap();
    assert_eq!((&said["run"], &said["next_session"]), (&Value::Null, &json!("2026-07-06")));
    let said = place.start(json!({ "as_of": "2026-07-04" })).await.unwrap();
    assert_eq!(said["run"], Value::Null);
}

#[tokio::test]
async fn a_slot_that_the_book_does_not_know_is_refused() {
    let place = Cloud::new();
    let error = place.start(json!({ "schedule": "weekly", "scheduled_time": SLOT })).await.unwrap_err();
    assert!(error.contains("weekly") && error.contains("nightly"), "{error}");
    let payload = json!({ "schedule": "nightly", "scheduled_time": "2026-06-30T21:30:00Z" });
    let error = place.start(payload).await.unwrap_err();
    assert!(error.contains("is no slot"), "{error}");
    assert!(place.store.open_runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_by_hand_is_found_again_and_repeated_only_where_asked() {
    let place = Cloud::new();
    let payload = json!({ "trigger": "first", "as_of": "2026-06-29", "portfolios": ["growth"] });
    let first = place.start(payload.clone()).await.unwrap();
    assert_eq!((&first["outcome"], &first["portfolios"]), (&json!("sealed"), &json!(1)));
    let second = place.start(payload).await.unwrap();
    assert_eq!((&second["outcome"], &second["batch_run_id"]), (&json!("existing"), &first["batch_run_id"]));
    let again = json!({ "trigger": "first", "as_of": "2026-06-29", "portfolios": ["growth"], "again": true });
    assert_ne!(place.start(again).await.unwrap()["batch_run_id"], first["batch_run_id"]);
    let error = place.start(json!({ "portfolios": ["nobody"] })).await.unwrap_err();
    assert!(error.contains("nobody"), "{error}");
    let error = place.start(json!({ "trigger": "a\nb" })).await.unwrap_err();
    assert!(error.contains("trigger"), "{error}");
}

#[tokio::test]
async fn a_date_that_is_not_over_is_refused_at_every_door_of_the_cloud() {
    let place = Cloud::new();
    for payload in
        [json!({ "as_of": "2026-07-01" }), json!({ "schedule": "nightly", "scheduled_time": "2026-07-01T22:30:00Z" })]
    {
        let error = place.start(payload).await.unwrap_err();
        assert!(error.contains("the last allowed date is 2026-06-30"), "{error}");
    }
    assert_eq!(place.ask("POST", "/api/v1/batch/runs", r#"{"as_of": "2026-07-01"}"#).await.0, 422);
    assert!(place.store.open_runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_rerun_without_its_pinned_inputs_is_refused_at_every_door_of_the_cloud() {
    let place = Cloud::new();
    let id = place.closed_run().await;
    let mut run = place.run(id).await;
    run.plan.as_mut().unwrap().snapshot = domain::ids::ContentHash::of(b"retired");
    place.store.put(run, vec![], None);
    let (status, problem) = place.ask("POST", &format!("/api/v1/batch/runs/{id}/rerun"), "{}").await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:nightbook:problem:no-inputs")), "{problem}");
    let error = place.start(json!({ "rerun_of": id })).await.unwrap_err();
    assert!(error.contains("no longer stored"), "{error}");
    assert!(place.store.open_runs().await.unwrap().is_empty() && place.take_calls().is_empty());
}

#[tokio::test]
async fn a_mute_through_the_api_has_the_index_written_again() {
    let place = Cloud::new();
    let id = place.closed_run().await;
    let mute = json!({ "portfolio_id": "growth", "until": "2026-07-10", "reason": "known" }).to_string();
    let (status, said) = place.ask("POST", "/api/v1/alerts/mutes", &mute).await;
    assert_eq!((status, &said["until"]), (201, &json!("2026-07-11T00:00:00Z")), "{said}");
    assert_eq!(place.run(id).await.publication, Publication::Pending);
}

#[tokio::test]
async fn a_book_that_cannot_be_run_is_named() {
    let place = Cloud::new();
    place.shared.files.lock().unwrap().remove("portfolios.csv");
    let error = place.start(json!({})).await.unwrap_err();
    assert!(error.contains("portfolios.csv"), "{error}");
}

#[tokio::test]
async fn the_key_of_a_redacted_site_stays() {
    let place = Cloud::new();
    let key = |place: &Cloud| {
        let kept: Value = serde_json::from_slice(place.shared.kept.lock().unwrap().as_ref().unwrap()).unwrap();
        kept["redaction_key"].as_str().unwrap().to_owned()
    };
    place.start_slot().await;
    let first = key(&place);
    place.shared.files.lock().unwrap().insert("nightbook.toml".into(), b"[site]\ntitle = \"Other\"\n".to_vec());
    place.start(json!({})).await.unwrap();
    assert!(!first.is_empty());
    assert_eq!(key(&place), first);
}

#[tokio::test]
async fn settings_that_are_missing_end_no_incident() {
    let place = Cloud::new();
    let settings = "[factors]\nMarket = \"SPY\"\n[schedule]\nname = \"eod\"\n";
    let broken = "portfolio_id,name,equity\nbalanced,Balanced,\ngrowth,Growth,400000\n";
    for (name, text) in [("nightbook.toml", settings), ("portfolios.csv", broken)] {
        place.shared.files.lock().unwrap().insert(name.to_owned(), text.into());
    }
    let close_next = async |date: &str, settings_are_lost: bool| {
        let said = place.start(json!({ "as_of": date })).await.unwrap();
        place.work_off(1).await;
        if settings_are_lost {
            *place.shared.kept.lock().unwrap() = None;
        }
        place.closer().close(said["batch_run_id"].as_str().unwrap().parse().unwrap()).await.unwrap();
        std::mem::take(&mut *place.shared.told.lock().unwrap())
    };
    let told = close_next("2026-06-29", false).await;
    assert!(told.iter().any(|message| message.kind == AlertKind::Open), "{told:?}");
    let told = close_next("2026-06-30", true).await;
    assert!(!told.iter().any(|message| message.kind == AlertKind::Recovery), "{told:?}");
}

#[tokio::test]
async fn messages_of_strangers_are_acknowledged() {
    let place = Cloud::new();
    let stranger: RunId = "c7645f7b-ad76-5da2-bcab-19e7976dd702".parse().unwrap();
    let portfolio = PortfolioId::new("growth").unwrap();
    let message = WorkMessage {
        key: ItemKey { run: stranger, portfolio },
        name: "Growth".into(),
        place: Place { bucket: 0, index: 0 },
    };
    let bodies = [json!(message), json!({ "key": "?" }), json!("text")];
    let said = place.worker().work(event(&bodies), Duration::from_secs(60)).await;
    assert!(said.batch_item_failures.is_empty(), "{said:?}");
    assert_eq!(place.closer().close(stranger).await.unwrap(), Outcome::Nothing);
}

#[tokio::test]
async fn a_message_for_a_closed_run_changes_nothing() {
    let place = Cloud::new();
    let id = place.start_slot().await;
    let messages = place.shared.work.lock().unwrap().clone();
    place.work_off(1).await;
    place.closer().close(id).await.unwrap();
    let before = place.store.run(id).await.unwrap();
    *place.shared.work.lock().unwrap() = messages;
    assert_eq!(place.work_off(1).await, 0);
    assert_eq!(place.store.run(id).await.unwrap(), before);
}

#[tokio::test]
async fn a_message_that_puts_a_portfolio_in_the_place_of_another_is_dropped() {
    let place = Cloud::new();
    let id = place.start_slot().await;
    let good = place.shared.work.lock().unwrap().clone();
    let mut forged = good.clone();
    forged[0].key.portfolio = good[1].key.portfolio.clone();
    forged[1].key.portfolio = PortfolioId::new("stranger").unwrap();
    let beyond = WorkMessage { place: Place { bucket: 7, index: 3 }, ..good[0].clone() };
    *place.shared.work.lock().unwrap() = forged.into_iter().chain([beyond]).chain(good).collect();
    assert_eq!(place.work_off(1).await, 0);
    let Outcome::Closed(summary) = place.closer().close(id).await.unwrap() else { panic!("not closed") };
    assert_eq!((summary.portfolios_processed, summary.total_jobs, summary.missing_jobs), (2, 18, 0));
    assert_eq!(place.store.items(id, 0).await.unwrap().len(), 2);
}

/// Jobs that never end, and know when they were told to stop.
struct Endless(Arc<Mutex<Option<JobContext>>>);

#[async_trait]
impl JobRunner for Endless {
    async fn open(&self, _run: &Run, _portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError> {
        Ok(Arc::new(Self(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl PortfolioJobs for Endless {
    async fn run(&self, _job: &JobName, context: JobContext) -> Result<JobOutput, JobError> {
        *self.0.lock().unwrap() = Some(context);
        std::future::pending().await
    }
    fn results(&self) -> Result<Option<Vec<u8>>, JobError> {
        Ok(None)
    }
    fn known_ids(&self) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_worker_that_runs_out_of_time_gives_the_portfolio_back_at_once() {
    let place = Cloud::new();
    place.start_slot().await;
    let message = place.take_work().remove(0);
    let said = Arc::new(Mutex::new(None));
    let worker = Worker::new(place.ports.clone(), Arc::new(Endless(Arc::clone(&said))));
    let body = [json!(message)];
    let answer = worker.work(event(&body), MARGIN).await;
    assert_eq!(answer.batch_item_failures.len(), 1, "too little time to begin");
    assert_eq!(place.store.item(&message.key).await.unwrap(), None, "nothing was claimed");
    let answer = worker.work(event(&body), MARGIN + Duration::from_millis(20)).await;
    assert_eq!(answer.batch_item_failures.len(), 1);
    let item = place.store.item(&message.key).await.unwrap().unwrap();
    assert_eq!((item.state, item.attempt), (ItemState::Pending, 1));
    assert!(said.lock().unwrap().as_ref().unwrap().is_stopped(), "the job was told");
    // Nobody has to wait for a lease: the next delivery takes it.
    *place.shared.work.lock().unwrap() = vec![message];
    assert_eq!(place.work_off(1).await, 0);
}

#[tokio::test]
async fn the_watch_sends_again_what_nobody_works_on_and_closes_what_is_past_its_deadline() {
    let place = Cloud::new();
    let id = place.start_slot().await;
    place.take_work();
    let swept = place.watcher().sweep().await.unwrap();
    assert_eq!((swept.sent, swept.open), (2, 1));
    assert_eq!(place.take_work().len(), 2);
    place.after(TimeDelta::hours(3));
    let swept = place.watcher().sweep().await.unwrap();
    assert_eq!(swept.settled, 2);
    assert!(place.take_closes().contains(&id));
    let Outcome::Closed(summary) = place.closer().close(id).await.unwrap() else { panic!("not closed") };
    assert_eq!((summary.status, summary.missing_jobs), (RunStatus::Failed, 18));
    let told = place.shared.told.lock().unwrap().clone();
    assert!(told.iter().any(|message| message.batch_run_id == id), "{told:?}");
    assert_eq!(told.iter().filter(|message| message.status == RunStatus::Failed).count(), 1);
}

#[tokio::test]
async fn the_watch_has_a_planner_followed_by_another() {
    let place = Cloud::new();
    let id = place.start_slot().await;
    let mut run = place.run(id).await;
    let now = place.clock.now();
    run.phase = RunPhase::Planning { owner: SystemRandomness.owner(), lease_until: now - TimeDelta::minutes(1) };
    run.plan = None;
    place.store.put(run, Vec::new(), None);
    place.take_work();
    assert_eq!(place.watcher().sweep().await.unwrap().resumed, 1);
    let call = place.shared.calls.lock().unwrap().remove(0);
    assert_eq!(call, json!({ "resume": id }));
    assert_eq!(place.start(call.clone()).await.unwrap()["outcome"], "sealed");
    assert_eq!(place.take_work().len(), 2);
    assert_eq!(place.start(call).await.unwrap()["outcome"], "existing");
}

#[tokio::test]
async fn what_is_not_published_is_published_by_the_one_writer() {
    let place = Cloud::new();
    let id = place.closed_run().await;
    let stored = place.store.run(id).await.unwrap().unwrap();
    let at = place.clock.now();
    let run = Run { publication: Publication::Failed { at, error: "the bucket was away".into() }, ..stored.run };
    place.store.put(run, Vec::new(), stored.summary);
    assert_eq!(place.watcher().sweep().await.unwrap().deliveries, 1);
    assert_eq!(place.take_closes(), [id]);
    let Outcome::Delivered(delivered) = place.closer().close(id).await.unwrap() else { panic!("not delivered") };
    assert_eq!((delivered.published, delivered.not_published), (1, 0));
    assert!(matches!(place.run(id).await.publication, Publication::Published { .. }));
}

#[tokio::test]
async fn a_rerun_of_a_run_that_succeeded_has_nothing_to_do_and_a_whole_one_is_a_new_run() {
    let place = Cloud::new();
    let id = place.closed_run().await;
    let said = place.start(json!({ "rerun_of": id })).await.unwrap();
    assert_eq!(said["outcome"], "sealed");
    assert_ne!(said["batch_run_id"], json!(id));
    assert_eq!(place.run(said["batch_run_id"].as_str().unwrap().parse().unwrap()).await.rerun_of, Some(id));
}
