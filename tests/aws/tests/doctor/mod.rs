//! `nightbook doctor` on a table and a bucket: what is in order has no problem, and whatever is changed or taken away is
//! named.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::primitives::ByteStream;
use backends::DoctorReport;
use backends::aws::{Aws, Clients, Settings};
use domain::note::{Note, NoteKind, RunNotes as _};
use domain::ports::{AlertBooks as _, Documents};
use domain::summary::RunSummary;

use super::*;

/// A table and a bucket with two closed runs, the second of which repeats the first, and one that was just begun.
struct Stored {
    records: Records,
    clock: Standing,
    store: DynamoStore,
    s3: aws_sdk_s3::Client,
    documents: Arc<dyn Documents>,
}

/// An item as the client gives it.
type Fields = HashMap<String, AttributeValue>;

const PORTFOLIOS: u32 = 3;

impl Stored {
    async fn new() -> Self {
        let records = Records::new().await;
        let endpoint = std::env::var("NIGHTBOOK_TEST_ENDPOINT").expect("run these tests by tests/aws/run");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(aws_sdk_s3::config::Credentials::new("test", "test", None, None, "tests"))
            .endpoint_url(endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        s3.create_bucket().bucket(&records.name).send().await.unwrap();
        let settings =
            Settings::from_variables(|name| (name == "NIGHTBOOK_RECORDS_BUCKET").then(|| records.name.clone()));
        let documents = Aws::with_clients(settings, Clients::new(&config)).documents().unwrap();
        let clock = Standing::at(at(100));
        let store = records.store_by(&clock);
        let stored = Self { records, clock, store, s3, documents };
        stored.fill().await;
        stored
    }

    async fn fill(&self) {
        let store = &self.store;
        whole_run_of(store, a_run(1), PORTFOLIOS, |n, mut records| {
            if n == 1 {
                records[1].status = JobStatus::Failed;
                records[1].error = Some(broken());
            }
            records
        })
        .await;
        let rerun = Run { rerun_of: Some(id(1)), started_at: at(3), ..a_run(2) };
        whole_run_of(store, rerun, PORTFOLIOS, |_, records| records).await;
        store.create_run(&Run { as_of: "2026-12-01".parse().unwrap(), ..a_run(3) }).await.unwrap();
        self.documents.put_snapshot(b"snapshot".to_vec()).await.unwrap();
        for run in [1, 2] {
            for n in 0..PORTFOLIOS {
                // As `finish` names them.
                let hash = self.documents.put_results(&key(id(run), n), 1_u32.to_le_bytes().to_vec()).await.unwrap();
                assert_eq!(hash, ContentHash::of(&1_u32.to_le_bytes()));
            }
        }
        let (author, text) = ("Zoë".to_owned(), "seen".to_owned());
        let note =
            Note { id: Uuid::from_u128(7), batch_run_id: id(1), kind: NoteKind::Annotate, author, at: at(9), text };
        store.add_note(&note).await.unwrap();
        let book = store.alert_book(&"nightly".parse().unwrap()).await.unwrap();
        assert!(store.put_alert_book(&book).await.unwrap());
    }

    async fn doctor(&self) -> DoctorReport {
        self.store.doctor(self.documents.as_ref(), 30).await.unwrap()
    }

    async fn problems(&self) -> Vec<String> {
        self.doctor().await.problems
    }

    async fn put(&self, item: &Fields) {
        let request = self.records.client.put_item().table_name(&self.records.name);
        request.set_item(Some(item.clone())).send().await.unwrap();
    }

    async fn delete(&self, item: &Fields) {
        let request = self.records.client.delete_item().table_name(&self.records.name);
        request.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
    }

    /// The item with this key.
    async fn item(&self, pk: &str, sk: &str) -> Fields {
        let found = self.records.items().await.into_iter().find(|item| name(item) == format!("{pk} {sk}"));
        found.unwrap_or_else(|| panic!("there is no item {pk} {sk}"))
    }

    async fn results(&self, run: u128, n: u32) -> String {
        let key = key(id(run), n);
        format!("results/{}/{}/{}.json.gz", key.run, key.portfolio, ContentHash::of(&1_u32.to_le_bytes()))
    }

    async fn delete_object(&self, name: &str) {
        self.s3.delete_object().bucket(&self.records.name).key(name).send().await.unwrap();
    }

    async fn put_object(&self, name: &str, bytes: &[u8]) {
        let body = ByteStream::from(bytes.to_vec());
        self.s3.put_object().bucket(&self.records.name).key(name).body(body).send().await.unwrap();
    }

    async fn object(&self, name: &str) -> Vec<u8> {
        let object = self.s3.get_object().bucket(&self.records.name).key(name).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }
}

fn broken() -> domain::record::RecordedError {
    domain::record::RecordedError {
        category: domain::words::ErrorCategory::Permanent,
        message: "it broke".into(),
        chain: Vec::new(),
        fingerprint: domain::ids::Fingerprint::new("0123456789abcdef").unwrap(),
        masked: None,
    }
}

fn name(item: &Fields) -> String {
    format!("{} {}", item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap())
}

fn told(problems: &[String], named: &str) {
    assert!(problems.iter().any(|problem| problem.contains(named)), "{problems:?} do not name {named:?}");
}

#[tokio::test]
async fn what_is_in_order_has_no_problem() {
    let stored = Stored::new().await;
    stored.records.tap.calls();
    let report = stored.doctor().await;
    assert_eq!(report.problems, Vec::<String>::new());
    let checked: Vec<(&str, u64)> = report.checked.iter().map(|(what, number)| (what.as_str(), *number)).collect();
    insta::assert_debug_snapshot!(checked);
    let calls = stored.records.tap.calls();
    assert!(calls.iter().all(|call| ["GetItem", "BatchGetItem", "Query"].contains(&call.operation.as_str())));
    let empty = Records::new().await.store().doctor(stored.documents.as_ref(), 30).await.unwrap();
    assert_eq!(empty.problems, Vec::<String>::new(), "a table of no runs");
}

/// Every item of the table, one after the other: without it something is missed.
#[tokio::test]
async fn an_item_that_is_gone_is_named() {
    let stored = Stored::new().await;
    let mut tried = 0;
    for item in stored.records.items().await {
        // The set of full buckets is made again by whoever needs it, and who took a note or a book away left no trace.
        let (name, begun) = (name(&item), id(3).to_string());
        let replaceable = name.contains(" ROOT") || name.contains(" NOTE#") || name.starts_with("ALERTS ");
        // What was begun and is not recorded is as if its planner had died before it was.
        if replaceable || name == format!("RUN#{begun} META") {
            continue;
        }
        stored.delete(&item).await;
        let problems = stored.problems().await;
        assert!(!problems.is_empty(), "nobody misses {name}");
        if let Some(run) = [id(1), id(2), id(3)].into_iter().find(|run| name.contains(&run.to_string())) {
            told(&problems, &run.to_string());
        }
        stored.put(&item).await;
        tried += 1;
    }
    assert!(tried > 40, "{tried} items");
    assert_eq!(stored.problems().await, Vec::<String>::new(), "all are back");
}

fn changed(value: &AttributeValue) -> AttributeValue {
    match value {
        AttributeValue::S(text) => AttributeValue::S(format!("{text}x")),
        AttributeValue::N(digits) => AttributeValue::N((digits.parse::<i64>().unwrap() + 1).to_string()),
        AttributeValue::B(bytes) => {
            let mut bytes = bytes.clone().into_inner();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            AttributeValue::B(Blob::new(bytes))
        }
        AttributeValue::Ns(places) => AttributeValue::Ns(places[1..].iter().cloned().chain(["97".into()]).collect()),
        other => panic!("an attribute of another kind: {other:?}"),
    }
}

/// Every attribute of every item, one after the other: a byte of a document, a count, a date.
#[tokio::test]
async fn whatever_is_changed_is_named() {
    let stored = Stored::new().await;
    let mut tried = BTreeSet::new();
    for item in stored.records.items().await {
        let kind = name(&item);
        for attribute in item.keys() {
            // Who wrote it and how often, and until when it is kept, say nothing of what it holds.
            let bare = ["pk", "sk", "ver", "by", "expires_at"].contains(&attribute.as_str());
            if bare || kind.contains(" ROOT") || kind.contains(" RERUN#") {
                continue;
            }
            let mut other = item.clone();
            other.insert(attribute.clone(), changed(&item[attribute]));
            stored.put(&other).await;
            let problems = stored.problems().await;
            assert!(!problems.is_empty(), "{attribute} of {kind}");
            if let Some(run) = [id(1), id(2), id(3)].into_iter().find(|run| kind.contains(&run.to_string())) {
                told(&problems, &run.to_string());
            }
            tried.insert(attribute.clone());
        }
        stored.put(&item).await;
    }
    assert!(tried.contains("doc") && tried.contains("hash") && tried.contains("not_all_good"), "{tried:?}");
    assert_eq!(stored.problems().await, Vec::<String>::new(), "all is as it was");
}

/// A summary that was changed by somebody who knows how it is stored.
#[tokio::test]
async fn a_summary_that_was_made_up_is_named() {
    let stored = Stored::new().await;
    let item = stored.item(&format!("RUN#{}", id(1)), "SUMMARY").await;
    let mut json = Vec::new();
    let packed = item["doc"].as_b().unwrap().clone().into_inner();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut json).unwrap();
    let mut summary: RunSummary = serde_json::from_slice(&json).unwrap();
    (summary.failed_jobs, summary.successful_jobs) = (0, summary.successful_jobs + summary.failed_jobs);
    summary.failures.clear();
    let json = serde_json::to_vec(&summary).unwrap();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&json).unwrap();
    let hash = ContentHash::of(&json);
    let hash: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&hash.as_str()[2 * n..2 * n + 2], 16).unwrap()).collect();
    let mut other = item.clone();
    other.insert("doc".into(), AttributeValue::B(Blob::new(packer.finish().unwrap())));
    other.insert("hash".into(), AttributeValue::B(Blob::new(hash)));
    other.insert("failed_jobs".into(), AttributeValue::N("0".into()));
    other.insert("successful_jobs".into(), AttributeValue::N(summary.successful_jobs.to_string()));
    stored.put(&other).await;
    assert_eq!(stored.store.run(id(1)).await.unwrap().unwrap().summary.unwrap().failed_jobs, 0, "it can be read");
    let problems = stored.problems().await;
    told(&problems, &format!("the counts of run {} do not add up to its summary", id(1)));
    stored.put(&item).await;

    // The status as well, so that the counts alone tell.
    let mut bare = item.clone();
    bare.insert("status".into(), AttributeValue::S("success".into()));
    stored.put(&bare).await;
    told(&stored.problems().await, "differs from it in status");
}

/// What nobody may have changed in the bucket.
#[tokio::test]
async fn documents_that_are_wrong_or_gone_are_named() {
    let stored = Stored::new().await;
    let portfolio = portfolio(2).id;
    let results = stored.results(2, 2).await;
    let snapshot = format!("snapshots/{}.gz", ContentHash::of(b"snapshot"));
    let pinned = ContentHash::of(b"snapshot").short().to_owned();
    for (object, gone) in [
        (&results, format!("the results of portfolio {portfolio} in run {} are gone", id(2))),
        (&snapshot, format!("the pinned inputs {pinned}")),
    ] {
        let whole = stored.object(object).await;
        stored.delete_object(object).await;
        told(&stored.problems().await, &gone);
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        for wrong in [&bytes[..], &whole[..middle], b"", b"something else"] {
            stored.put_object(object, wrong).await;
            told(&stored.problems().await, &format!("{object} is damaged"));
        }
        stored.put_object(object, &whole).await;
        assert_eq!(stored.problems().await, Vec::<String>::new());
    }
}

/// What was retired is no damage; what is wrong is, however old it is.
#[tokio::test]
async fn what_was_retired_is_no_problem() {
    let stored = Stored::new().await;
    let results = stored.results(1, 0).await;
    let whole = stored.object(&results).await;
    stored.delete_object(&results).await;
    // The portfolios ended at 90 seconds.
    stored.clock.set(at(90) + Duration::days(30));
    told(&stored.problems().await, "are gone");
    stored.clock.set(at(91) + Duration::days(30));
    let report = stored.doctor().await;
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.checked["retired results"], report.checked["results"]), (1, 5));
    stored.put_object(&results, b"something else").await;
    told(&stored.problems().await, "is damaged");
    stored.put_object(&results, &whole).await;

    // A second before the records go, all of them must be there.
    stored.clock.set(at(100) + Duration::days(KEPT_DAYS) - Duration::seconds(1));
    assert_eq!(stored.doctor().await.checked["runs"], 3);
    let report =
        |report: DoctorReport| (report.problems, report.checked.get("runs whose records were retired").copied());
    for days in [KEPT_DAYS, KEPT_DAYS + 2, 10 * KEPT_DAYS] {
        stored.clock.set(at(100) + Duration::days(days));
        assert_eq!(report(stored.doctor().await), (Vec::new(), Some(2)), "{days} days");
    }
    // The service has removed them by now.
    for item in stored.records.items().await.iter().filter(|item| item.contains_key("expires_at")) {
        stored.delete(item).await;
    }
    assert_eq!(report(stored.doctor().await), (Vec::new(), Some(2)));
    let summary = stored.item(&format!("RUN#{}", id(1)), "SUMMARY").await;
    stored.delete(&summary).await;
    told(&stored.problems().await, &format!("the summary of run {} is gone", id(1)));
}

/// A run that is open when its records expire can never be closed on them: that is said.
#[tokio::test]
async fn an_open_run_without_its_records_is_a_problem() {
    let (records, clock) = (Records::new().await, Standing::at(at(0)));
    let store = records.store_by(&clock);
    let documents = backends::memory::MemoryStore::default();
    documents.put_snapshot(b"snapshot".to_vec()).await.unwrap();
    planned(&store, &a_run(1), 2).await;
    assert_eq!(store.doctor(&documents, 30).await.unwrap().problems, Vec::<String>::new());
    clock.set(at(0) + Duration::days(KEPT_DAYS));
    let problems = store.doctor(&documents, 30).await.unwrap().problems;
    told(&problems, &format!("bucket 0 of the portfolios of run {} holds 0 of 2", id(1)));
}

/// One item that is damaged hides none of the others of its bucket, nor another that is damaged.
#[tokio::test]
async fn each_of_many_damaged_items_is_named() {
    let stored = Stored::new().await;
    for n in [0, 2] {
        let pk = format!("PF#{}", portfolio(n).id);
        let found = stored.records.items().await;
        let item = found.iter().find(|item| name(item).starts_with(&pk) && name(item).ends_with(&id(1).to_string()));
        let mut item = item.unwrap().clone();
        item.insert("doc".into(), changed(&item["doc"]));
        stored.put(&item).await;
    }
    let report = stored.doctor().await;
    for n in [0, 2] {
        told(&report.problems, &format!("PF#{}", portfolio(n).id));
    }
    assert_eq!(report.checked["work items"], 4, "the rest was read: {report:?}");
}

/// Documents that take a while, and count how many are asked for at the same time.
struct Slow {
    documents: backends::memory::MemoryStore,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait::async_trait]
impl Documents for Slow {
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError> {
        self.documents.put_results(key, json).await
    }

    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        self.now.fetch_sub(1, Ordering::Relaxed);
        self.documents.results(key, hash).await
    }

    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        self.documents.put_snapshot(bytes).await
    }

    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        self.documents.snapshot(hash).await
    }
}

/// Many results are read at the same time, and not all of them.
#[tokio::test]
async fn results_are_read_many_at_a_time_and_not_all_at_once() {
    let records = Records::new().await;
    let store = records.store();
    let slow = Slow { documents: Default::default(), now: AtomicUsize::new(0), most: AtomicUsize::new(0) };
    for n in 1..=6 {
        whole_run(&*store, n, 130).await;
    }
    let problems = store.doctor(&slow, 30).await.unwrap().problems;
    assert_eq!(problems.iter().filter(|problem| problem.contains("are gone")).count(), 6 * 130);
    let most = slow.most.into_inner();
    assert!((16..=64).contains(&most), "{most} at once");
}
