//! The records in the table, against the emulator that `tests/aws/run` starts.

#![allow(
    clippy::disallowed_methods,
    reason = "the script that starts the server names it in a variable, and each test needs a table of its own"
)]
#![allow(clippy::unwrap_used, reason = "a failed setup is a failed test")]
#![allow(clippy::print_stdout, reason = "the costs that the tests measure")]

mod costs;
mod doctor;
mod expiry;
mod faults;
mod night;
mod races;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use backends::aws::DynamoStore;
use chrono::{DateTime, Duration, Utc};
use costs::size;
use domain::alert::{AlertAbout, AlertEvent};
use domain::fold::FoldEntry;
use domain::ids::{ContentHash, Owner, PortfolioId, RunId};
use domain::job::JobSpec;
use domain::ports::{
    Change, Clock, Creation, History as _, RecordQuery, RunQuery, RunStore, Runs as _, StoreError, Tallies as _,
    WorkItems as _,
};
use domain::record::JobRecord;
use domain::retry::RetryPolicy;
use domain::run::{PlannedPortfolio, Publication, Run, RunEvent, RunLevelWork, RunPhase, SealedPlan};
use domain::summary::summarise;
use domain::words::JobStatus;
use domain::work_item::{GiveUp, ItemEvent, ItemKey, ItemRefusal, ItemState, Place, WorkItem};
use domain::{
    alert_book_rules, chain_rules, conformance, history_rules, night_rules, note_rules, run_rules, tally_rules,
    work_item_rules,
};
use expiry::KEPT_DAYS;
use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;
use races::at_once;
use store_model::harness::StoreTest;
use table::{Call, Records, Standing};
use uuid::Uuid;

macro_rules! rules {
    ($($rule:ident)*) => {
        $(#[tokio::test] async fn $rule() { conformance::$rule(&*Records::new().await.store(), 1).await; })*
    };
}

mod rules {
    use super::*;
    run_rules!(rules);
    work_item_rules!(rules);
    tally_rules!(rules);
    history_rules!(rules);
    night_rules!(rules);
    chain_rules!(rules);
    note_rules!(rules);
}

macro_rules! book_rules {
    ($($rule:ident)*) => {
        mod book_rules {
            use super::*;
            $(#[tokio::test] async fn $rule() {
                conformance::$rule(&*Records::new().await.aws.alert_books().unwrap(), 1).await;
            })*
        }
    };
}
alert_book_rules!(book_rules);

/// Rules that share a table do not disturb each other.
#[tokio::test]
async fn rules_may_share_a_table() {
    let store = Records::new().await.store();
    conformance::runs_come_newest_first_page_by_page(&*store, 11).await;
    conformance::what_is_not_delivered_is_found_until_it_is(&*store, 12).await;
    conformance::the_last_success_is_the_newest(&*store, 13).await;
    conformance::failures_are_found_by_time_and_cause(&*store, 14).await;
    conformance::open_runs_are_those_that_have_not_ended(&*store, 15).await;
}

// --- the model -----------------------------------------------------------------------------------------------------------

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// A store on the runtime of the SDK, for a harness that has none.
struct Modelled {
    records: Records,
    store: Arc<DynamoStore>,
    _inside: tokio::runtime::EnterGuard<'static>,
}

impl std::fmt::Debug for Modelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Modelled")
    }
}

impl store_model::Backend for Modelled {
    type Store = DynamoStore;

    fn new() -> Self {
        let records = runtime().block_on(Records::new());
        Self { store: records.store(), records, _inside: runtime().enter() }
    }

    fn store(&self) -> &DynamoStore {
        &self.store
    }

    fn reopen(self) -> Self {
        Self { store: self.records.store(), ..self }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn dynamodb_is_as_the_model(sequential 1..30 => StoreTest<Modelled>);
}

// --- a run of our own ----------------------------------------------------------------------------------------------------

/// Jobs of the sample book.
const JOBS: usize = 9;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_563_000, 0).unwrap() + Duration::seconds(seconds)
}

fn owner(n: u128) -> Owner {
    Owner(Uuid::from_u128(n))
}

fn id(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

fn a_run(n: u128) -> Run {
    let start = domain::start_run::StartRun {
        id: id(n),
        night_series: "nightly".parse().unwrap(),
        schedule: "nightly".parse().unwrap(),
        trigger: "schedule".into(),
        as_of: "2026-11-24".parse().unwrap(),
        scheduled_for: at(0),
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    Run::new(&start, RunPhase::Planning { owner: owner(1), lease_until: at(60) }, at(1))
}

/// The records that a run of the sample book wrote, for its three portfolios.
fn real_records() -> Vec<Vec<JobRecord>> {
    let records: Vec<Vec<JobRecord>> = serde_json::from_str(include_str!("fixtures/records.json")).unwrap();
    assert!(records.iter().all(|of_one| of_one.len() == JOBS));
    records
}

fn a_plan(portfolios: u32) -> SealedPlan {
    let job = |record: &JobRecord| JobSpec {
        name: record.job_name.clone(),
        job_type: record.job_type,
        critical: false,
        needs: Vec::new(),
        run_level: false,
        time_limit_seconds: 300,
    };
    SealedPlan {
        night: None,
        epoch: 1,
        portfolios,
        jobs: real_records()[0].iter().map(job).collect(),
        retry: RetryPolicy::default(),
        book: ContentHash::of(b"book"),
        snapshot: ContentHash::of(b"snapshot"),
        market_data: RunLevelWork {
            attempts: 1,
            started_at: at(1),
            completed_at: at(2),
            error: None,
            metadata: serde_json::Map::new(),
            quality: None,
        },
        sealed_at: at(2),
        deadline: at(7_200),
    }
}

fn portfolio(n: u32) -> PlannedPortfolio {
    PlannedPortfolio {
        id: PortfolioId::new(format!("portfolio-{n:05}")).unwrap(),
        name: format!("Portfolio {n} of many"),
    }
}

const fn place(n: u32) -> Place {
    Place { bucket: n / 100, index: n % 100 }
}

fn key(run: RunId, n: u32) -> ItemKey {
    ItemKey { run, portfolio: portfolio(n).id }
}

/// Records as the sample book gives them, with numbers of this portfolio's own.
fn records_of(run: RunId, n: u32) -> Vec<JobRecord> {
    let real = real_records();
    let mut records = real[n as usize % real.len()].clone();
    for record in &mut records {
        record.batch_run_id = run;
        record.portfolio_id = portfolio(n).id;
        record.portfolio_name = portfolio(n).name;
        for value in record.job_metadata.values_mut() {
            if let Some(number) = value.as_f64().filter(|_| value.is_f64()) {
                *value = (number * (1.0 + f64::from(n) / 977.0)).into();
            }
        }
    }
    records
}

/// Text that no compression makes small.
fn noise(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| ContentHash::of(&n.to_le_bytes()).to_string()).collect()
}

async fn planned(store: &dyn RunStore, run: &Run, portfolios: u32) {
    assert_eq!(store.create_run(run).await.unwrap(), Creation::Created);
    let all: Vec<PlannedPortfolio> = (0..portfolios).map(portfolio).collect();
    for (bucket, chunk) in (0..).zip(all.chunks(100)) {
        store.put_manifest(run.batch_run_id, 1, bucket, chunk).await.unwrap();
    }
    applied(store.apply_run(run.batch_run_id, &RunEvent::Seal { plan: Box::new(a_plan(portfolios)) }).await.unwrap());
}

fn applied<T, R: std::fmt::Debug>(change: Change<T, R>) -> T {
    match change {
        Change::Applied(state) => state,
        Change::Refused(_, refusal) => panic!("refused: {refusal:?}"),
    }
}

fn claim(who: u128, now: i64) -> ItemEvent {
    ItemEvent::Claim { owner: owner(who), now: at(now), lease_until: at(now + 60) }
}

fn finish(who: u128, attempt: u32, records: Vec<JobRecord>) -> ItemEvent {
    let results = Some(ContentHash::of(&attempt.to_le_bytes()));
    ItemEvent::Finish { owner: owner(who), attempt, now: at(90), records, results }
}

/// What a worker does with a message: claim, finish, count.
async fn work(store: &dyn RunStore, run: RunId, n: u32) -> u32 {
    work_with(store, run, n, records_of(run, n)).await
}

async fn work_with(store: &dyn RunStore, run: RunId, n: u32, records: Vec<JobRecord>) -> u32 {
    let (key, name) = (key(run, n), portfolio(n).name);
    applied(store.apply_item(&key, &name, place(n), &claim(1, 0)).await.unwrap());
    let done = applied(store.apply_item(&key, &name, place(n), &finish(1, 1, records)).await.unwrap());
    let entry = FoldEntry::of(&done, JOBS).unwrap();
    let fold = store.fold(run, place(n).bucket, &entry).await.unwrap();
    u32::try_from(fold.done.len()).unwrap()
}

/// What a closer does, to the end.
async fn close(store: &dyn RunStore, run: RunId, portfolios: u32) {
    let event = RunEvent::ClaimClose { owner: owner(1), now: at(100), lease_until: at(160) };
    let closing = applied(store.apply_run(run, &event).await.unwrap());
    let folds = store.folds(run).await.unwrap();
    assert_eq!(folds.iter().map(|fold| fold.done.len()).sum::<usize>(), portfolios as usize);
    let mut items = Vec::new();
    for bucket in 0..portfolios.div_ceil(100) {
        items.extend(store.items(run, bucket).await.unwrap());
    }
    let summary = summarise(&closing, &items, &BTreeMap::new());
    assert_eq!(domain::summary::disagreement(&summary, &folds), None);
    assert_eq!(store.put_summary(&summary).await.unwrap(), Creation::Created);
    let published = Publication::Published { at: at(110), files_written: 9 };
    applied(store.apply_run(run, &RunEvent::Publish { publication: published, plan_epoch: 1 }).await.unwrap());
    let tell = AlertEvent::Claim { owner: owner(1), now: at(111), lease_until: at(170), about: AlertAbout::Run };
    applied(store.apply_alert(run, &tell).await.unwrap());
    applied(store.apply_alert(run, &AlertEvent::Sent { owner: owner(1), now: at(112) }).await.unwrap());
    applied(store.apply_run(run, &RunEvent::Close { epoch: closing.close_epoch }).await.unwrap());
}

async fn whole_run(store: &dyn RunStore, n: u128, portfolios: u32) {
    whole_run_of(store, a_run(n), portfolios, |_, records| records).await;
}

/// A whole run of records that are made of the usual ones.
async fn whole_run_of(
    store: &dyn RunStore,
    run: Run,
    portfolios: u32,
    made: impl Fn(u32, Vec<JobRecord>) -> Vec<JobRecord>,
) {
    planned(store, &run, portfolios).await;
    for n in 0..portfolios {
        let done = work_with(store, run.batch_run_id, n, made(n, records_of(run.batch_run_id, n))).await;
        if done == a_plan(portfolios).bucket_len(place(n).bucket) {
            store.mark_full(run.batch_run_id, place(n).bucket).await.unwrap();
        }
    }
    close(store, run.batch_run_id, portfolios).await;
}

// --- requests ------------------------------------------------------------------------------------------------------------

/// What somebody changed in the table is not taken for what was stored.
#[tokio::test]
async fn damage_is_told() {
    let records = Records::new().await;
    let store = records.store();
    planned(&*store, &a_run(1), 2).await;
    work(&*store, id(1), 0).await;
    let record = records.items().await.into_iter().find(|item| item["sk"].as_s().unwrap().starts_with("RUN#")).unwrap();
    let put = async |name: &str, value: AttributeValue| {
        let mut changed = record.clone();
        changed.insert(name.into(), value);
        records.client.put_item().table_name(&records.name).set_item(Some(changed)).send().await.unwrap();
        store.records(id(1), &RecordQuery::default()).await
    };
    let other = ContentHash::of(b"something else").as_str()[..32].to_owned();
    for (name, value) in [
        ("hash", AttributeValue::B(Blob::new(other))),
        ("doc", AttributeValue::B(Blob::new("no gzip"))),
        ("parts", AttributeValue::N("9".into())),
    ] {
        let told = put(name, value).await;
        assert!(matches!(told, Err(StoreError::Damaged { .. })), "{name}: {told:?}");
    }
    let told = put("dict", AttributeValue::N("7".into())).await;
    assert!(matches!(told, Err(StoreError::TooNew(_))), "{told:?}");
    assert!(put("hash", record["hash"].clone()).await.is_ok(), "as it was");
    let told = put("pk", AttributeValue::S(format!("PF#{}", portfolio(1).id))).await;
    assert!(matches!(told, Err(StoreError::Damaged { .. })), "that of another portfolio: {told:?}");
}

/// A run that is through leaves the list of those that are not, also where both of the last steps come at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_through_leaves_the_list() {
    let records = Records::new().await;
    for round in 0..5 {
        let store = records.store();
        let run = id(round);
        whole_run(&*store, round, 1).await;
        let failed = Publication::Failed { at: at(120), error: "no room".into() };
        applied(store.apply_run(run, &RunEvent::Publish { publication: failed, plan_epoch: 1 }).await.unwrap());
        assert_eq!(store.undelivered().await.unwrap().len(), 1, "it is back");
        at_once(&records, move |store, _| async move {
            let published = Publication::Published { at: at(130), files_written: 9 };
            store.apply_run(run, &RunEvent::Publish { publication: published, plan_epoch: 1 }).await.unwrap()
        })
        .await;
        assert!(store.undelivered().await.unwrap().is_empty());
        let listed = records.items().await.into_iter().filter(|item| item["pk"].as_s().unwrap() == "ACTIVE").count();
        assert_eq!(listed, 0, "it is still listed");
    }
}

// --- faults --------------------------------------------------------------------------------------------------------------

/// Many runs, half of them of one slot, page by page.
#[tokio::test]
async fn many_runs_come_page_by_page() {
    let store = Records::new().await.store();
    let mut expected = Vec::new();
    for n in 0..130_u32 {
        let seconds = i64::from(n % 2) * i64::from(n);
        let mut run = a_run(u128::from(n));
        run.scheduled_for = at(seconds);
        run.started_at = at(1_000 + i64::from(n.wrapping_mul(7_919) % 130));
        assert_eq!(store.create_run(&run).await.unwrap(), Creation::Created);
        expected.push((run.scheduled_for, run.started_at, run.batch_run_id));
    }
    expected.sort_unstable();
    expected.reverse();
    let mut found = Vec::new();
    let mut query = RunQuery { limit: 9, ..RunQuery::default() };
    loop {
        let page = store.runs(&query).await.unwrap();
        found.extend(
            page.runs.iter().map(|stored| (stored.run.scheduled_for, stored.run.started_at, stored.run.batch_run_id)),
        );
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, expected);
    let all = store.runs(&RunQuery::default()).await.unwrap().runs;
    assert_eq!(
        all.iter().map(|stored| stored.run.batch_run_id).collect::<Vec<_>>(),
        expected.iter().map(|run| run.2).collect::<Vec<_>>()
    );
}

/// The job of a failing record is found without reading those that went well.
#[tokio::test]
async fn what_failed_is_found_without_reading_the_rest() {
    let records = Records::new().await;
    let store = records.store();
    planned(&*store, &a_run(1), 100).await;
    for n in 0..100 {
        let (key, name) = (key(id(1), n), portfolio(n).name);
        let mut told = records_of(id(1), n);
        told.iter_mut().for_each(|record| record.status = JobStatus::Success);
        if n % 50 == 7 {
            told[2].status = JobStatus::Failed;
        }
        applied(store.apply_item(&key, &name, place(n), &claim(1, 0)).await.unwrap());
        let done = applied(store.apply_item(&key, &name, place(n), &finish(1, 1, told)).await.unwrap());
        store.fold(id(1), 0, &FoldEntry::of(&done, JOBS).unwrap()).await.unwrap();
    }
    let failed = RecordQuery { status: Some(JobStatus::Failed), ..RecordQuery::default() };
    records.tap.calls();
    let found = store.records(id(1), &failed).await.unwrap();
    let units: f64 = records.tap.calls().iter().map(|call| call.units).sum();
    assert_eq!(
        found.iter().map(|record| record.portfolio_id.clone()).collect::<Vec<_>>(),
        [portfolio(7).id, portfolio(57).id]
    );
    assert!(units < 20.0, "{units} read units for two portfolios");
}
