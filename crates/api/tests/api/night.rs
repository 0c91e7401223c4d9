//! Nights for tests: runs of three portfolios and two jobs, as they are stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Access, Api};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use backends::memory::MemoryStore;
use chrono::{DateTime, Duration, NaiveDate, TimeZone as _, Utc};
use domain::fold::FoldEntry;
use domain::ids::{ContentHash, Fingerprint, JobName, Owner, PortfolioId, RunId, ScheduleName};
use domain::job::JobSpec;
use domain::night::{NightKey, read_night};
use domain::ports::{Clock, Keep, Nights as _, Runs as _, Tallies as _};
use domain::record::{JobRecord, Quality, RecordedError};
use domain::run::{PlannedPortfolio, Run, RunLevelWork, RunPhase, SealedPlan};
use domain::summary::summarise;
use domain::words::{ErrorCategory, JobStatus, JobType, QualityFlag};
use domain::work_item::{InHand, ItemKey, ItemState, Place, WorkItem};
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::store::Counting;

pub(crate) const CAUSE: &str = "00112233aabbccdd";

pub(crate) fn at(day: i64, seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 2, 23, 30, 0).unwrap() + Duration::days(day) + Duration::seconds(seconds)
}

pub(crate) fn id(day: i64) -> RunId {
    RunId(Uuid::from_u128(0x1000 + day as u128))
}

pub(crate) fn portfolio(n: u32) -> PortfolioId {
    PortfolioId::new(format!("p{n}")).unwrap()
}

fn job(name: &str, family: JobType, critical: bool, needs: &[&str]) -> JobSpec {
    let name_of = |name: &str| JobName::new(name).unwrap();
    let needs = needs.iter().map(|name| name_of(name)).collect();
    JobSpec { name: name_of(name), job_type: family, critical, needs, run_level: false, time_limit_seconds: 300 }
}

fn jobs() -> Vec<JobSpec> {
    vec![
        job("market_data_update", JobType::MarketData, true, &[]),
        job("factor_analysis", JobType::RiskMetrics, false, &["market_data_update"]),
    ]
}

/// A sealed run of the day.
fn sealed(day: i64, phase: RunPhase) -> Run {
    let market_data = RunLevelWork {
        attempts: 1,
        started_at: at(day, 1),
        completed_at: at(day, 2),
        error: None,
        metadata: serde_json::Map::new(),
        quality: None,
    };
    let plan = SealedPlan {
        night: None,
        epoch: 1,
        portfolios: 3,
        jobs: jobs(),
        retry: domain::retry::RetryPolicy::default(),
        book: ContentHash::of(b"book"),
        snapshot: ContentHash::of(b"snapshot"),
        market_data,
        sealed_at: at(day, 2),
        deadline: at(day, 7_200),
    };
    let start = domain::start_run::StartRun {
        id: id(day),
        night_series: ScheduleName::new("nightly").unwrap(),
        schedule: ScheduleName::new("nightly").unwrap(),
        trigger: "schedule".into(),
        as_of: NaiveDate::from_ymd_opt(2026, 11, 2).unwrap() + Duration::days(day),
        scheduled_for: at(day, 0),
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    Run { close_epoch: 1, plan: Some(plan), ..Run::new(&start, phase, at(day, 1)) }
}

fn record(run: &Run, n: u32, spec: &JobSpec, status: JobStatus) -> JobRecord {
    let mut record = JobRecord::blank(run.batch_run_id, &portfolio(n), &format!("Portfolio {n}"), spec, status);
    record.attempt = 1;
    record.started_at = Some(run.started_at);
    record.completed_at = Some(run.started_at + Duration::seconds(2));
    record.duration_seconds = Some(2.0);
    record.error = (status == JobStatus::Failed).then(|| RecordedError {
        category: ErrorCategory::Permanent,
        message: "no usable prices".into(),
        chain: Vec::new(),
        fingerprint: Fingerprint::new(CAUSE).unwrap(),
        masked: None,
    });
    record.quality = (status == JobStatus::Success).then(|| Quality {
        flag: if n == 0 { QualityFlag::Full } else { QualityFlag::Limited },
        data_days: 80,
        required_days: 90,
        positions_processed: 4,
        positions_total: 5,
        symbols_missing: Vec::new(),
        notes: Vec::new(),
    });
    record
}

fn item(run: &Run, n: u32, statuses: &[JobStatus]) -> WorkItem {
    let place = Place { bucket: 0, index: n };
    let key = ItemKey { run: run.batch_run_id, portfolio: portfolio(n) };
    let mut item = WorkItem::untouched(key, format!("Portfolio {n}"), place);
    item.state = ItemState::Done;
    item.attempt = 1;
    item.records = jobs().iter().zip(statuses).map(|(spec, status)| record(run, n, spec, *status)).collect();
    item
}

/// A closed run of a day: all well, or the second portfolio without prices, or the third without its last record.
pub(crate) fn closed(store: &MemoryStore, day: i64, failed: bool, missing: bool) {
    use JobStatus::{Failed, Success};
    let mut run = sealed(day, RunPhase::Closed);
    run.closed_at = Some(at(day, 60));
    let second = if failed { [Success, Failed] } else { [Success, Success] };
    let third: &[JobStatus] = if missing { &[Success] } else { &[Success, Success] };
    let mut last = item(&run, 2, third);
    if missing {
        last.state = ItemState::TimedOut;
    }
    let items = vec![item(&run, 0, &[Success, Success]), item(&run, 1, &second), last];
    let summary = summarise(&run, &items, &BTreeMap::new());
    store.put(run, items, Some(summary));
}

/// A good run of the first portfolio alone, an hour after that of the day.
pub(crate) fn one_again(store: &MemoryStore, day: i64) -> RunId {
    let mut run = sealed(day, RunPhase::Closed);
    run.batch_run_id = RunId(Uuid::from_u128(0x2000 + day as u128));
    run.trigger = "manual".into();
    run.filter = vec![portfolio(0)];
    run.started_at = at(day, 3_600);
    run.closed_at = Some(at(day, 3_660));
    run.plan.iter_mut().for_each(|plan| plan.portfolios = 1);
    let items = vec![item(&run, 0, &[JobStatus::Success, JobStatus::Success])];
    let (id, summary) = (run.batch_run_id, summarise(&run, &items, &BTreeMap::new()));
    store.put(run, items, Some(summary));
    id
}

/// A run in hand: one portfolio has ended, one is at its second job, one waits.
pub(crate) async fn open(store: &MemoryStore, day: i64) {
    use JobStatus::{Failed, Success};
    let run = sealed(day, RunPhase::Running);
    let ended = item(&run, 0, &[Success, Failed]);
    let mut working = item(&run, 1, &[Success]);
    working.state = ItemState::Working { owner: Owner(Uuid::from_u128(1)), lease_until: at(day, 600) };
    working.in_hand = Some(InHand {
        job: JobName::new("factor_analysis").unwrap(),
        attempt: 1,
        started_at: at(day, 20),
        progress: Some(domain::record::Progress {
            done: 15,
            total: 75,
            item: "position 15/75 AAPL".into(),
            at: at(day, 25),
        }),
    });
    let entry = FoldEntry::of(&ended, 2).unwrap();
    let planned: Vec<PlannedPortfolio> =
        (0..3).map(|n| PlannedPortfolio { id: portfolio(n), name: format!("Portfolio {n}") }).collect();
    let run_id = run.batch_run_id;
    store.put(run, vec![ended, working], None);
    store.put_manifest(run_id, 1, 0, &planned).await.unwrap();
    store.fold(run_id, 0, &entry).await.unwrap();
}

/// Stores the nights of these days, as whoever starts or closes a run does.
pub(crate) async fn keep_nights(store: &MemoryStore, days: std::ops::Range<i64>) {
    for day in days {
        let series = ScheduleName::new("nightly").unwrap();
        let key = NightKey { series, as_of: NaiveDate::from_ymd_opt(2026, 11, 2).unwrap() + Duration::days(day) };
        let view = read_night(store, &key, at(3, 0)).await.unwrap().unwrap();
        let json = serde_json::to_vec(&view.night).unwrap();
        let document = store.put_night_document(json, Keep::UntilReplaced).await.unwrap();
        assert_eq!(document, view.head.document);
        assert!(store.put_night(&view.head).await.unwrap());
    }
}

/// Three nights: good, one portfolio failed, one record missing.
pub(crate) fn three() -> MemoryStore {
    let store = MemoryStore::default();
    closed(&store, 0, false, false);
    closed(&store, 1, true, false);
    closed(&store, 2, false, true);
    store
}

/// The clock of the tests.
pub(crate) struct Fixed(pub(crate) DateTime<Utc>);

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// An API on these records, and who counts what it reads.
pub(crate) fn api(store: &MemoryStore, access: Access) -> (Api, Arc<Counting>) {
    let counting = Arc::new(Counting::new(store.clone()));
    (Api::new(Arc::<Counting>::clone(&counting), Arc::new(Fixed(at(3, 31))), access), counting)
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// That of a problem, with its name.
    pub(crate) fn problem(&self, status: u16, name: &str) -> Value {
        let problem = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!((self.status.as_u16(), &problem["status"]), (status, &status.into()), "{problem}");
        assert_eq!(problem["type"], format!("urn:nightbook:problem:{name}"), "{problem}");
        assert!(problem["detail"].as_str().unwrap().len() > 10 && problem["title"].is_string(), "{problem}");
        problem
    }
}

pub(crate) async fn send(api: &Api, request: Request<Body>) -> Answer {
    let response = api::router(api.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer { status: parts.status, headers: parts.headers, body: to_bytes(body, usize::MAX).await.unwrap().to_vec() }
}

pub(crate) async fn get(api: &Api, path: &str) -> Answer {
    send(api, Request::get(path).body(Body::empty()).unwrap()).await
}

pub(crate) async fn post(api: &Api, path: &str, body: &str) -> Answer {
    let request = Request::post(path).header("host", "localhost:8080").header("content-type", "application/json");
    send(api, request.body(Body::from(body.to_owned())).unwrap()).await
}
