//! The records in the table, against the emulator that `tests/aws/run` starts.

#![allow(
    clippy::disallowed_methods,
    reason = "the script that starts the server names it in a variable, and each test needs a table of its own"
)]
#![allow(clippy::unwrap_used, reason = "a failed setup is a failed test")]
#![allow(clippy::print_stdout, reason = "the costs that the tests measure")]

mod doctor;
mod night;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use backends::aws::DynamoStore;
use chrono::{DateTime, Duration, Utc};
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
use domain::{alert_book_rules, conformance, history_rules, note_rules, run_rules, tally_rules, work_item_rules};
use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;
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

/// What a request asks for, without the values.
fn shape(call: &Call) -> String {
    let mut told = vec![call.operation.clone()];
    for (name, value) in call.body.as_object().unwrap() {
        match name.as_str() {
            "TableName"
            | "Key"
            | "Item"
            | "ExpressionAttributeValues"
            | "RequestItems"
            | "Limit"
            | "ExclusiveStartKey" => {}
            _ => told.push(format!("    {name}: {}", value.as_str().map_or_else(|| value.to_string(), Into::into))),
        }
    }
    if let Some(tables) = call.body["RequestItems"].as_object() {
        let consistent = tables.values().all(|asked| asked["ConsistentRead"] == true);
        told.push(format!("    ConsistentRead: {consistent}"));
    }
    told.join("\n")
}

/// The exact conditions, changes and queries. Whoever changes one changes this snapshot, and says why.
#[tokio::test]
async fn requests_are_these() {
    let records = Records::new().await;
    let store = records.store();
    whole_run(&*store, 1, 2).await;
    let mut rerun = a_run(2);
    rerun.rerun_of = Some(id(1));
    store.create_run(&rerun).await.unwrap();
    let settle = ItemEvent::Settle { why: GiveUp::TimedOut, now: at(70) };
    store.apply_item(&key(id(2), 9), "Not planned", place(9), &settle).await.unwrap();
    let mut large = records_of(id(2), 8);
    large[0].job_metadata.insert("large".into(), noise(0..100).into());
    applied(store.apply_item(&key(id(2), 8), "P", place(8), &claim(1, 0)).await.unwrap());
    applied(store.apply_item(&key(id(2), 8), "P", place(8), &finish(1, 1, large)).await.unwrap());
    store.items(id(2), 0).await.unwrap();
    let failed =
        RunEvent::Publish { publication: Publication::Failed { at: at(200), error: "no room".into() }, plan_epoch: 1 };
    store.apply_run(id(1), &failed).await.unwrap();
    for query in [
        RunQuery { limit: 1, ..RunQuery::default() },
        RunQuery { rerun_of: Some(id(1)), ..RunQuery::default() },
        RunQuery { month: Some("2026-11".into()), ..RunQuery::default() },
        RunQuery { started_since: Some(at(0)), ..RunQuery::default() },
    ] {
        store.runs(&query).await.unwrap();
    }
    store.undelivered().await.unwrap();
    store.portfolio_runs(&portfolio(0).id, 5).await.unwrap();
    let job = records_of(id(1), 0)[0].job_name.clone();
    store.job_runs(&job, 5).await.unwrap();
    store.failures(None, None).await.unwrap();
    let books = records.aws.alert_books().unwrap();
    let book = books.alert_book(&"nightly".parse().unwrap()).await.unwrap();
    books.put_alert_book(&book).await.unwrap();
    books.alert_schedules().await.unwrap();
    let shapes: BTreeSet<String> = records.tap.calls().iter().map(shape).collect();
    assert!(shapes.iter().all(|shape| !shape.starts_with("Scan") && !shape.contains("IndexName")));
    insta::assert_snapshot!(shapes.into_iter().collect::<Vec<_>>().join("\n"));
}

// --- weights -------------------------------------------------------------------------------------------------------------

fn size(item: &std::collections::HashMap<String, AttributeValue>) -> usize {
    let digits = |text: &String| text.len().div_ceil(2) + 1;
    let of = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(text) => digits(text),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ns(numbers) => numbers.iter().map(digits).sum(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    item.iter().map(|(name, value)| name.len() + of(value)).sum()
}

/// A whole run, with records as the sample book gives them: at most five write units a portfolio for everything.
#[tokio::test]
async fn a_portfolio_costs_at_most_five_write_units() {
    let records = Records::new().await;
    whole_run(&*records.store(), 1, 200).await;
    let written = |call: &&Call| ["PutItem", "UpdateItem", "DeleteItem"].contains(&call.operation.as_str());
    let calls = records.tap.calls();
    let units: f64 = calls.iter().filter(written).map(|call| call.units).sum();
    assert!(units / 200.0 <= 5.0, "{} write units a portfolio", units / 200.0);
    assert!(units / 200.0 >= 3.0, "{} write units a portfolio: they are not counted", units / 200.0);
    let read = calls.iter().filter(|call| !written(call)).map(|call| call.units).sum::<f64>() / 200.0;
    assert!(read <= 6.0, "{read} read units a portfolio");
    let items = records.items().await;
    let of = |start: &str| -> Vec<usize> {
        items.iter().filter(|item| item["pk"].as_s().unwrap().starts_with(start)).map(size).collect()
    };
    assert!(items.iter().all(|item| size(item) < 100 << 10));
    assert!(of("PF#").iter().all(|bytes| *bytes <= 2_048), "{:?}", of("PF#").iter().max());
    let folds = items.iter().filter(|item| item["sk"].as_s().unwrap() == "FOLD").map(size);
    assert!(folds.into_iter().all(|bytes| bytes <= 1_024));
}

/// What the service puts off of a batch is asked for again, until all of it is there.
#[tokio::test]
async fn what_is_put_off_is_asked_for_again() {
    let records = Records::new().await;
    records.tap.halve();
    let store = records.store();
    whole_run(&*store, 1, 30).await;
    let calls = records.tap.calls();
    assert!(calls.iter().filter(|call| call.operation == "BatchGetItem").count() > 5, "nothing was put off");
    let expected: Vec<JobRecord> = (0..30).flat_map(|n| records_of(id(1), n)).collect();
    assert_eq!(store.records(id(1), &RecordQuery::default()).await.unwrap(), expected);
}

/// The program in docs/dynamodb.md prints the records as this program reads them.
#[tokio::test]
async fn the_documented_program_reads_the_records() {
    let python = std::env::var("NIGHTBOOK_TEST_PYTHON").expect("run these tests by tests/aws/run");
    let records = Records::new().await;
    let store = records.store();
    let run = a_run(1);
    planned(&*store, &run, 103).await;
    for n in [0, 2, 101] {
        let mut told = records_of(id(1), n);
        if n == 2 {
            told[0].job_metadata.insert("large".into(), noise(0..20_000).into());
        }
        let (key, name) = (key(id(1), n), portfolio(n).name);
        applied(store.apply_item(&key, &name, place(n), &claim(1, 0)).await.unwrap());
        applied(store.apply_item(&key, &name, place(n), &finish(1, 1, told)).await.unwrap());
    }
    let documented = include_str!("../../../docs/dynamodb.md");
    let program = documented.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let arguments = [program, &records.name, &id(1).to_string()].map(str::to_owned);
    let told = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(python);
        command.arg("-c").args(arguments).env_clear().env("AWS_ENDPOINT_URL", table::endpoint());
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")]);
        command.env("AWS_DEFAULT_REGION", "us-east-1").output().unwrap()
    });
    let told = told.await.unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let printed: Vec<serde_json::Map<String, serde_json::Value>> =
        String::from_utf8(told.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected: Vec<_> = store
        .records(id(1), &RecordQuery::default())
        .await
        .unwrap()
        .iter()
        .map(|record| {
            let mut fields = serde_json::to_value(record).unwrap().as_object().unwrap().clone();
            fields.retain(|_, value| !value.is_null());
            fields
        })
        .collect();
    assert_eq!(printed.len(), 3 * JOBS);
    assert_eq!(printed, expected);
}

/// A page of records reads the buckets that hold it, not the whole run.
#[tokio::test]
async fn a_page_reads_only_its_buckets() {
    let records = Records::new().await;
    let store = records.store();
    whole_run(&*store, 1, 300).await;
    let first = store.records_page(id(1), &RecordQuery::default(), None, 100).await.unwrap();
    let units = async |after, limit| {
        records.tap.calls();
        store.records_page(id(1), &RecordQuery::default(), after, limit).await.unwrap();
        records.tap.calls().iter().map(|call| call.units).sum::<f64>()
    };
    let (all, page) = (units(None, 0).await, units(first.next, 100).await);
    assert!(page > 0.0 && page * 2.0 < all, "a page of one bucket of three took {page} units of {all}");
}

/// What a closer reads grows with the portfolios, and no faster.
#[tokio::test]
async fn closing_is_linear() {
    let mut reads = Vec::new();
    for portfolios in [100, 300] {
        let records = Records::new().await;
        let store = records.store();
        let run = a_run(1);
        planned(&*store, &run, portfolios).await;
        for n in 0..portfolios {
            let settle = ItemEvent::Settle { why: GiveUp::Cancelled, now: at(70) };
            let name = portfolio(n).name;
            let item = applied(store.apply_item(&key(id(1), n), &name, place(n), &settle).await.unwrap());
            store.fold(id(1), place(n).bucket, &FoldEntry::of(&item, JOBS).unwrap()).await.unwrap();
        }
        records.tap.calls();
        close(&*store, id(1), portfolios).await;
        let calls = records.tap.calls();
        reads.push((calls.len(), calls.iter().map(|call| call.units).sum::<f64>()));
    }
    assert!(reads[1].0 <= 3 * reads[0].0 && reads[1].1 <= 3.0 * reads[0].1, "{reads:?}");
}

/// Records, a list of portfolios and a summary that are far too large for one item come back as they were.
#[tokio::test]
async fn no_item_is_too_large() {
    let records = Records::new().await;
    let store = records.store();
    let mut run = a_run(1);
    // More than a page of a query holds.
    run.filter = (0..50_000).map(|n| PortfolioId::new(&noise(n..n + 1)[..60]).unwrap()).collect();
    planned(&*store, &run, 1).await;
    let mut told = records_of(id(1), 0);
    told[3].job_metadata.insert("large".into(), noise(0..20_000).into());
    told[3].job_metadata.insert("nothing".into(), serde_json::Value::Null);
    applied(store.apply_item(&key(id(1), 0), "P", place(0), &claim(1, 0)).await.unwrap());
    applied(store.apply_item(&key(id(1), 0), "P", place(0), &finish(1, 1, told.clone())).await.unwrap());
    assert_eq!(store.items(id(1), 0).await.unwrap()[0].records, told);
    assert_eq!(store.run(id(1)).await.unwrap().unwrap().run.filter, run.filter);
    let largest = records.items().await.iter().map(size).max().unwrap();
    assert!((300 << 10..400 << 10).contains(&largest), "{largest}");
}

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

/// Records that may be removed one day say when; what stays for ever does not.
#[tokio::test]
async fn records_expire_and_runs_stay() {
    let records = Records::new().await;
    whole_run(&*records.store(), 1, 2).await;
    for item in records.items().await {
        let (pk, sk) = (item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
        let expires = pk.starts_with("PF#") || pk.contains("#B#") || sk.starts_with("STRAY#");
        assert_eq!(item.contains_key("expires_at"), expires, "{pk} {sk}");
    }
}

// --- what has expired -------------------------------------------------------------------------------------------------------

/// Days after which records expire where nothing else is set.
const KEPT_DAYS: i64 = 400;

/// The service removes nothing here, as it may not for two days: what has expired is not there all the same. The same rule
/// as in a folder (`crates/backends/tests/local.rs`).
#[tokio::test]
async fn the_summary_of_a_run_outlives_its_records() {
    let (records, clock) = (Records::new().await, Standing::at(at(0)));
    let store = records.store_by(&clock);
    conformance::a_run_that_will_be_old(&store, 1).await;
    let written = records.items().await.len();
    clock.set(at(0) + Duration::days(KEPT_DAYS) - Duration::seconds(1));
    conformance::everything_is_found(&store, 1).await;
    conformance::everything_is_found(&records.store_by(&clock), 1).await;
    clock.set(at(0) + Duration::days(KEPT_DAYS));
    // One store remembers the run and its portfolios, the other has never seen it.
    conformance::summaries_outlive_their_records(&store, 1).await;
    assert!(records.items().await.len() >= written, "nothing was removed");
    let run = store.runs(&RunQuery::default()).await.unwrap().runs[0].run.batch_run_id;
    let found = records.store_by(&clock).items(run, 0).await.unwrap();
    assert_eq!(found.len(), 1, "what was begun anew is found by others too, though its manifest is gone");
    let later = at(0) + Duration::days(2 * KEPT_DAYS);
    clock.set(later);
    conformance::summaries_outlive_their_records(&records.store_by(&clock), 1).await;
}

/// A count that has expired is not added to: the first entry after it begins anew, and is counted once however often it
/// comes.
#[tokio::test]
async fn a_count_that_has_expired_begins_anew() {
    let (records, clock) = (Records::new().await, Standing::at(at(0)));
    let store = records.store_by(&clock);
    planned(&store, &a_run(1), 3).await;
    let entry = |index, failed| FoldEntry {
        index,
        jobs: domain::fold::JobCounts { success: 8, failed, ..Default::default() },
        processed: true,
        quality: None,
    };
    store.fold(id(1), 0, &entry(0, 1)).await.unwrap();
    clock.set(at(0) + Duration::days(1));
    assert_eq!(store.fold(id(1), 0, &entry(1, 0)).await.unwrap().done.len(), 2);
    clock.set(at(0) + Duration::days(KEPT_DAYS + 1) - Duration::seconds(1));
    assert_eq!(store.folds(id(1)).await.unwrap()[0].done.len(), 2, "it is kept from its last entry on");
    for repeat in 1..=2 {
        clock.set(at(0) + Duration::days(repeat * (KEPT_DAYS + 1)));
        assert_eq!(store.folds(id(1)).await.unwrap(), Vec::new());
        assert_eq!(store.mark_full(id(1), 0).await.unwrap(), 0, "nothing is counted");
        records.tap.lose_replies();
        for _ in 0..2 {
            let fold = store.fold(id(1), 0, &entry(2, u64::from(repeat == 1))).await.unwrap();
            let told = (fold.done.into_iter().collect::<Vec<_>>(), fold.jobs.success, fold.jobs.failed, fold.processed);
            assert_eq!(told, (vec![2], 8, u64::from(repeat == 1), 1), "round {repeat}");
        }
    }
    let item = records.items().await.into_iter().find(|item| item["sk"].as_s().unwrap() == "FOLD").unwrap();
    assert!(!item.contains_key("not_all_good"), "of the entry that is counted every job succeeded");
}

/// Of many who begin an item anew after its time one wins, and each of the others is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_begins_anew_what_has_expired() {
    let (records, clock) = (Records::new().await, Standing::at(at(0)));
    let store = records.store_by(&clock);
    planned(&store, &a_run(1), 1).await;
    work(&store, id(1), 0).await;
    clock.set(at(0) + Duration::days(KEPT_DAYS));
    let clock = &clock;
    let claimed = at_once(&records, |store, n| {
        let store = (*store).clone().with_clock(Arc::new(clock.clone()));
        async move { store.apply_item(&key(id(1), 0), "P", place(0), &claim(n, 0)).await.unwrap() }
    })
    .await;
    assert_eq!(winners(&claimed), 1, "{claimed:?}");
    assert_eq!(store.item(&key(id(1), 0)).await.unwrap().unwrap().attempt, 1);
}

/// A clock that goes on by a second whenever it is read.
struct Ticking(std::sync::Mutex<DateTime<Utc>>);

impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        let mut time = self.0.lock().unwrap();
        let now = *time;
        *time += Duration::seconds(1);
        now
    }
}

/// What did not fit into an item goes with it, and is not missed.
#[tokio::test]
async fn parts_expire_with_their_item() {
    let (records, clock) = (Records::new().await, Standing::at(at(0)));
    let store = records.store_by(&clock);
    planned(&store, &a_run(1), 1).await;
    let mut told = records_of(id(1), 0);
    told[3].job_metadata.insert("large".into(), noise(0..2_000).into());
    applied(store.apply_item(&key(id(1), 0), "P", place(0), &claim(1, 0)).await.unwrap());
    applied(store.apply_item(&key(id(1), 0), "P", place(0), &finish(1, 1, told.clone())).await.unwrap());
    clock.set(at(0) + Duration::days(KEPT_DAYS) - Duration::seconds(1));
    assert_eq!(store.item(&key(id(1), 0)).await.unwrap().unwrap().records, told);
    // The time passes between the item and its parts.
    let ticking = Ticking(std::sync::Mutex::new(at(0) + Duration::days(KEPT_DAYS) - Duration::seconds(1)));
    let other = (*records.store()).clone().with_clock(Arc::new(ticking));
    assert!(other.run(id(1)).await.unwrap().is_some());
    assert_eq!(other.item(&key(id(1), 0)).await.unwrap(), None);
    clock.set(at(0) + Duration::days(KEPT_DAYS));
    assert_eq!(store.item(&key(id(1), 0)).await.unwrap(), None);
    // The service removes in any order.
    let parts = records.items().await.into_iter().filter(|item| item["sk"].as_s().unwrap().starts_with("PART#"));
    for part in parts {
        let request = records.client.delete_item().table_name(&records.name);
        request.key("pk", part["pk"].clone()).key("sk", part["sk"].clone()).send().await.unwrap();
    }
    assert_eq!(store.item(&key(id(1), 0)).await.unwrap(), None);
    assert_eq!(store.records(id(1), &RecordQuery::default()).await.unwrap(), Vec::new());
}

// --- races ---------------------------------------------------------------------------------------------------------------

/// Does the same eight times at once, by eight stores that know nothing of each other.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    records: &Records,
    act: impl Fn(Arc<DynamoStore>, u128) -> F,
) -> Vec<T> {
    let tasks: Vec<_> = (1..=8).map(|n| tokio::spawn(act(records.store(), n))).collect();
    let mut told = Vec::new();
    for task in tasks {
        told.push(task.await.unwrap());
    }
    told
}

fn winners<T, R>(told: &[Change<T, R>]) -> usize {
    told.iter().filter(|change| matches!(change, Change::Applied(_))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_wins() {
    let records = Records::new().await;
    for round in 0..3 {
        let run = id(round);
        let made = at_once(&records, move |store, n| async move {
            store.create_run(&Run { trigger: format!("{n}"), ..a_run(round) }).await.unwrap()
        })
        .await;
        assert_eq!(made.iter().filter(|made| **made == Creation::Created).count(), 1, "planners: {made:?}");
        let taken = at_once(&records, move |store, n| async move {
            let event = RunEvent::TakeOverPlan { owner: owner(n), now: at(61), lease_until: at(160) };
            store.apply_run(run, &event).await.unwrap()
        })
        .await;
        assert_eq!(winners(&taken), 1, "planners that take over: {taken:?}");
        let store = records.store();
        let chunk: Vec<_> = (0..20).map(portfolio).collect();
        store.put_manifest(run, 2, 0, &chunk).await.unwrap();
        let plan = SealedPlan { epoch: 2, ..a_plan(20) };
        applied(store.apply_run(run, &RunEvent::Seal { plan: Box::new(plan) }).await.unwrap());
        let claimed = at_once(&records, move |store, n| async move {
            store.apply_item(&key(run, 0), "P", place(0), &claim(n, 0)).await.unwrap()
        })
        .await;
        assert_eq!(winners(&claimed), 1, "claimers: {claimed:?}");
        let attempts: BTreeSet<u32> = claimed
            .iter()
            .map(|change| match change {
                Change::Applied(item) | Change::Refused(item, ItemRefusal::LeaseHeld) => item.attempt,
                Change::Refused(_, refusal) => panic!("{refusal}"),
            })
            .collect();
        assert_eq!(attempts, BTreeSet::from([1]), "each is told of the claim that won");
        at_once(&records, move |store, n| async move {
            for index in 0..20 {
                let index = (index + u32::try_from(n).unwrap()) % 20;
                let jobs = domain::fold::JobCounts { success: 8, ..Default::default() };
                let entry = FoldEntry { index, jobs, processed: true, quality: None };
                store.fold(run, 0, &entry).await.unwrap();
            }
            store.mark_full(run, 0).await.unwrap()
        })
        .await;
        let fold = &store.folds(run).await.unwrap()[0];
        assert_eq!((fold.done.len(), fold.jobs.success, fold.processed), (20, 160, 20), "each is counted once");
        let closing = at_once(&records, move |store, n| async move {
            let event = RunEvent::ClaimClose { owner: owner(n), now: at(200), lease_until: at(300) };
            store.apply_run(run, &event).await.unwrap()
        })
        .await;
        assert_eq!(winners(&closing), 1, "closers: {closing:?}");
        let closing = store.run(run).await.unwrap().unwrap().run;
        let summary = summarise(&closing, &[], &BTreeMap::new());
        let written = at_once(&records, move |store, _| {
            let summary = summary.clone();
            async move { store.put_summary(&summary).await.unwrap() }
        })
        .await;
        assert_eq!(written.iter().filter(|made| **made == Creation::Created).count(), 1, "summaries");
        let alerts = at_once(&records, move |store, n| async move {
            let event =
                AlertEvent::Claim { owner: owner(n), now: at(200), lease_until: at(300), about: AlertAbout::Run };
            store.apply_alert(run, &event).await.unwrap()
        })
        .await;
        assert_eq!(winners(&alerts), 1, "alerts: {alerts:?}");
    }
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

/// Tries until it is told something, as redelivered messages do; the number of tries is bounded.
async fn insist<T>(act: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let mut last = None;
    for _ in 0..200 {
        match act().await {
            Ok(told) => return told,
            Err(error) => last = Some(error),
        }
    }
    panic!("two hundred tries were not enough: {last:?}");
}

/// A worker on a line that loses requests and replies: each try has an owner and a time of its own.
async fn work_against_faults(store: &dyn RunStore, run: RunId, n: u32) {
    let (key, name) = (key(run, n), portfolio(n).name);
    let mut item = None;
    for attempt in 0.. {
        assert!(attempt < 200, "it never ends");
        let (who, now) = (u128::from(n) * 1_000 + attempt + 1, i64::try_from(attempt).unwrap() * 61);
        let Ok(claimed) = store.apply_item(&key, &name, place(n), &claim(who, now)).await else { continue };
        let event = match claimed {
            Change::Applied(claimed) => ItemEvent::Finish {
                owner: owner(who),
                attempt: claimed.attempt,
                now: at(now + 5),
                records: records_of(run, n),
                results: None,
            },
            Change::Refused(ended, ItemRefusal::Terminal) => {
                item = Some(ended);
                break;
            }
            Change::Refused(_, ItemRefusal::Exhausted) => ItemEvent::Settle { why: GiveUp::Lost, now: at(now) },
            Change::Refused(_, ItemRefusal::LeaseHeld) => continue,
            Change::Refused(_, refusal) => panic!("{refusal}"),
        };
        if let Ok(Change::Applied(ended) | Change::Refused(ended, _)) =
            store.apply_item(&key, &name, place(n), &event).await
            && ended.state.is_terminal()
        {
            item = Some(ended);
            break;
        }
    }
    let entry = FoldEntry::of(&item.unwrap(), JOBS).unwrap();
    insist(async || store.fold(run, place(n).bucket, &entry).await).await;
    // The message comes a second time.
    insist(async || store.fold(run, place(n).bucket, &entry).await).await;
    insist(async || store.mark_full(run, place(n).bucket).await).await;
}

/// Requests that are lost, replies that are lost, delays, throttling, outages: everything comes to its end, and nothing
/// is counted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_lose_nothing_and_count_nothing_twice() {
    const PORTFOLIOS: u32 = 12;
    let mut takeovers = 0;
    for seed in 1..=4 {
        let records = Records::new().await;
        let store = records.store();
        let run = id(u128::from(seed));
        records.tap.spoil(600, seed);
        let fresh = a_run(u128::from(seed));
        insist(async || store.create_run(&fresh).await).await;
        let chunk: Vec<_> = (0..PORTFOLIOS).map(portfolio).collect();
        insist(async || store.put_manifest(run, 1, 0, &chunk).await).await;
        let seal = RunEvent::Seal { plan: Box::new(a_plan(PORTFOLIOS)) };
        insist(async || store.apply_run(run, &seal).await).await;
        futures::future::join_all((0..PORTFOLIOS * 2).map(|n| {
            let store = records.store();
            async move { work_against_faults(&*store, run, n % PORTFOLIOS).await }
        }))
        .await;
        let claim = RunEvent::ClaimClose { owner: owner(7), now: at(9_000), lease_until: at(9_060) };
        insist(async || store.apply_run(run, &claim).await).await;
        let items: Vec<WorkItem> = insist(async || store.items(run, 0).await).await;
        let closing = insist(async || store.run(run).await).await.unwrap().run;
        let summary = summarise(&closing, &items, &BTreeMap::new());
        insist(async || store.put_summary(&summary).await).await;
        insist(async || store.apply_run(run, &RunEvent::Close { epoch: closing.close_epoch }).await).await;
        assert!(records.tap.faults() > 50, "the line was too good: {} faults", records.tap.faults());
        records.tap.spoil(0, 1);

        let clean = records.store();
        let stored = clean.run(run).await.unwrap().unwrap();
        assert!(stored.run.is_closed());
        let folds = clean.folds(run).await.unwrap();
        assert_eq!(folds[0].done.len(), PORTFOLIOS as usize);
        assert_eq!(folds[0].jobs.total(), u64::from(PORTFOLIOS) * JOBS as u64, "each job once");
        let items = clean.items(run, 0).await.unwrap();
        assert_eq!(items.len(), PORTFOLIOS as usize);
        assert!(items.iter().all(|item| matches!(item.state, ItemState::Done | ItemState::Lost)));
        takeovers += items.iter().filter(|item| item.attempt > 1).count();
        assert_eq!(domain::summary::disagreement(&stored.summary.unwrap(), &folds), None);
        assert_eq!(clean.runs(&RunQuery::default()).await.unwrap().runs.len(), 1);
        for job in &a_plan(1).jobs {
            assert_eq!(clean.job_runs(&job.name, 5).await.unwrap().len(), 1);
        }
    }
    assert!(takeovers > 0, "no claim was ever lost: the faults are too tame");
}

/// A line that always fails is given up after a bounded number of requests, with an error that says what was tried.
#[tokio::test]
async fn retries_end() {
    let records = Records::new().await;
    let store = records.store();
    planned(&*store, &a_run(1), 1).await;
    // Delays are no failures: with these seeds the first five requests all fail.
    for seed in 1..40 {
        records.tap.spoil(1_000, seed);
        records.tap.calls();
        let told = store.apply_run(id(1), &RunEvent::Cancel { now: at(3) }).await;
        let calls = records.tap.calls();
        if let Err(error) = told {
            assert!(matches!(&error, StoreError::Unavailable { doing, .. } if doing.contains("run 0000")), "{error:?}");
            assert!(calls.len() <= 10, "{} requests", calls.len());
            return;
        }
    }
    panic!("no seed made five requests fail in a row");
}

/// A write whose reply was lost is recognised as one's own: each answer is what it is without faults.
#[tokio::test]
async fn lost_replies_are_recognised() {
    let records = Records::new().await;
    let store = records.store();
    records.tap.lose_replies();
    assert_eq!(store.create_run(&a_run(1)).await.unwrap(), Creation::Created);
    let run = id(1);
    store.put_manifest(run, 1, 0, &[portfolio(0)]).await.unwrap();
    let take = |who| RunEvent::TakeOverPlan { owner: owner(who), now: at(61), lease_until: at(160) };
    assert_eq!(applied(store.apply_run(run, &take(2)).await.unwrap()).plan_epoch, 2, "one takeover is one epoch");
    let plan = SealedPlan { epoch: 2, ..a_plan(1) };
    applied(store.apply_run(run, &RunEvent::Seal { plan: Box::new(plan) }).await.unwrap());
    let (key, name) = (key(run, 0), portfolio(0).name);
    let beat = ItemEvent::Heartbeat {
        owner: owner(1),
        attempt: 1,
        now: at(30),
        lease_until: at(90),
        in_hand: None,
        records: Vec::new(),
    };
    let back = ItemEvent::GiveBack { owner: owner(1), attempt: 1 };
    for (event, attempt) in
        [(claim(1, 0), 1), (beat, 1), (back, 1), (claim(2, 40), 2), (finish(2, 2, records_of(run, 0)), 2)]
    {
        let item = applied(store.apply_item(&key, &name, place(0), &event).await.unwrap());
        assert_eq!((item.attempt, item.counted_attempts), (attempt, attempt), "{event:?} came twice");
    }
    let entry = FoldEntry::of(&store.item(&key).await.unwrap().unwrap(), JOBS).unwrap();
    let fold = store.fold(run, 0, &entry).await.unwrap();
    assert_eq!((fold.done.len(), fold.jobs.total()), (1, JOBS as u64), "it was counted twice");
    assert_eq!(store.mark_full(run, 0).await.unwrap(), 1);
    let close = RunEvent::ClaimClose { owner: owner(1), now: at(100), lease_until: at(160) };
    let closing = applied(store.apply_run(run, &close).await.unwrap());
    assert_eq!(closing.close_epoch, 1, "one claim is one epoch");
    let summary = summarise(&closing, &store.items(run, 0).await.unwrap(), &BTreeMap::new());
    assert_eq!(store.put_summary(&summary).await.unwrap(), Creation::Created);
    let tell = AlertEvent::Claim { owner: owner(1), now: at(111), lease_until: at(170), about: AlertAbout::Run };
    for event in
        [tell, AlertEvent::GiveBack { owner: owner(1) }, tell, AlertEvent::Sent { owner: owner(1), now: at(112) }]
    {
        applied(store.apply_alert(run, &event).await.unwrap());
    }
    applied(store.apply_run(run, &RunEvent::Close { epoch: 1 }).await.unwrap());
    let books = records.aws.alert_books().unwrap();
    let book = books.alert_book(&"nightly".parse().unwrap()).await.unwrap();
    assert!(books.put_alert_book(&book).await.unwrap(), "it was written");
    assert!(!books.put_alert_book(&book).await.unwrap(), "not a second time");
    assert!(records.tap.faults() > 20, "{} replies were lost", records.tap.faults());
}

/// Requests that land after everything is over change nothing that counts.
#[tokio::test]
async fn writes_that_land_late_change_nothing() {
    let records = Records::new().await;
    let store = records.store();
    whole_run(&*store, 1, 5).await;
    let (key, name) = (key(id(1), 0), portfolio(0).name);
    assert!(matches!(
        store.apply_item(&key, &name, place(0), &claim(9, 900)).await.unwrap(),
        Change::Refused(_, ItemRefusal::Terminal)
    ));
    // The list of what is left to be done may name too many: what it names is read before it is believed.
    let table = async || -> BTreeMap<String, String> {
        let items = records.items().await.into_iter().filter(|item| item["pk"].as_s().unwrap() != "ACTIVE");
        let sorted = |item: std::collections::HashMap<String, AttributeValue>| {
            let key = format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
            let fields: BTreeMap<_, _> = item
                .into_iter()
                .map(|(name, value)| match value {
                    AttributeValue::Ns(mut numbers) => {
                        numbers.sort();
                        (name, AttributeValue::Ns(numbers))
                    }
                    value => (name, value),
                })
                .collect();
            (key, format!("{fields:?}"))
        };
        items.map(sorted).collect()
    };
    let before = table().await;
    assert!(records.tap.repeat_writes().await > 30);
    assert_eq!(table().await, before);
    assert!(store.open_runs().await.unwrap().is_empty() && store.undelivered().await.unwrap().is_empty());
}

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
