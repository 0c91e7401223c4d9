//! What the data folder promises beyond the rules of every store: one writer, readers beside it, damage that is found,
//! copies while in use, and questions that are indexed.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "local/nights.rs"]
mod nights;
#[path = "local/questions.rs"]
mod questions;
#[path = "local/retention.rs"]
mod retention;
#[path = "local/retired_nights.rs"]
mod retired_nights;

use std::future::Future;
use std::path::{Path, PathBuf};

use backends::local::{LocalStore, OpenError, RetentionDays};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use domain::chain::append_run;
use domain::conformance;
use domain::fold::FoldEntry;
use domain::ids::{ContentHash, Fingerprint, Owner, RunId};
use domain::job::JobSpec;
use domain::ports::{
    Change, Documents, History as _, Nights as _, RecordQuery, RunQuery, Runs as _, StoreError, StoredRun,
    Tallies as _, WorkItems as _,
};
use domain::record::{JobRecord, RecordedError};
use domain::run::{PlannedPortfolio, Run, RunEvent, RunLevelWork, RunPhase, SealedPlan};
use domain::summary::summarise;
use domain::words::{ErrorCategory, JobStatus, JobType};
use domain::work_item::{GiveUp, ItemEvent, ItemKey, Place, WorkItem};
use tempfile::TempDir;
use uuid::Uuid;

const OWNER: Owner = Owner(Uuid::from_u128(1));

/// A run in planning, of a year of its seed's own.
fn planned(seed: u128, now: DateTime<Utc>) -> Run {
    let start = domain::start_run::StartRun {
        id: RunId(Uuid::from_u128(seed * 1_000)),
        night_series: "nightly".parse().unwrap(),
        schedule: "nightly".parse().unwrap(),
        trigger: "manual".into(),
        as_of: now.date_naive(),
        scheduled_for: now,
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    Run::new(&start, RunPhase::Planning { owner: OWNER, lease_until: now }, now)
}

fn plan(seed: u128, portfolios: u32, now: DateTime<Utc>) -> SealedPlan {
    let spec = |name: &str| JobSpec {
        name: format!("{name}_{seed}").parse().unwrap(),
        job_type: JobType::Valuation,
        critical: false,
        needs: Vec::new(),
        run_level: false,
        time_limit_seconds: 300,
    };
    let market_data = RunLevelWork {
        attempts: 1,
        started_at: now,
        completed_at: now,
        error: None,
        metadata: serde_json::Map::new(),
        quality: None,
    };
    SealedPlan {
        night: None,
        epoch: 1,
        portfolios,
        jobs: vec![spec("first"), spec("second")],
        retry: Default::default(),
        book: ContentHash::of(b"book"),
        snapshot: ContentHash::of(b"snapshot"),
        market_data,
        sealed_at: now,
        deadline: now + Duration::hours(2),
    }
}

/// A record of this job; the second job of the first portfolio failed.
fn record(key: &ItemKey, index: u32, job: &JobSpec) -> JobRecord {
    let failed = index == 0 && job.name.as_str().starts_with("second");
    let status = if failed { JobStatus::Failed } else { JobStatus::Success };
    let mut record = JobRecord::blank(key.run, &key.portfolio, "A portfolio", job, status);
    record.error = failed.then(|| RecordedError {
        category: ErrorCategory::Permanent,
        message: "it broke".into(),
        chain: Vec::new(),
        fingerprint: Fingerprint::new("0123456789abcdef").unwrap(),
        masked: None,
    });
    record
}

async fn apply(store: &LocalStore, key: &ItemKey, index: u32, event: &ItemEvent) -> WorkItem {
    match store.apply_item(key, "A portfolio", Place { bucket: 0, index }, event).await.unwrap() {
        Change::Applied(item) => item,
        Change::Refused(_, refusal) => panic!("{event:?} was refused: {refusal}"),
    }
}

/// A whole run, from the manifest to the summary, with results for each portfolio and pinned inputs.
async fn a_whole_run(store: &LocalStore, seed: u128, portfolios: u32) -> StoredRun {
    let year = 2_100 + i32::try_from(seed).unwrap();
    let now = NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_hms_opt(23, 30, 0).unwrap().and_utc();
    carried_out(store, seed, (planned(seed, now), plan(seed, portfolios, now)), |_| true).await
}

/// The same for this run. The portfolios that do not end are settled as timed out.
async fn carried_out(
    store: &LocalStore,
    seed: u128,
    (run, plan): (Run, SealedPlan),
    ends: impl Fn(u32) -> bool,
) -> StoredRun {
    let (id, now, portfolios) = (run.batch_run_id, run.started_at, plan.portfolios);
    let lease_until = now + Duration::seconds(60);
    store.create_run(&run).await.unwrap();
    store.put_snapshot(b"snapshot".to_vec()).await.unwrap();
    let key = |n| ItemKey { run: id, portfolio: format!("p{seed}-{n}").parse().unwrap() };
    let named = |n| PlannedPortfolio { id: key(n).portfolio, name: "A portfolio".into() };
    store.put_manifest(id, 1, 0, &(0..portfolios).map(named).collect::<Vec<_>>()).await.unwrap();
    store.apply_run(id, &RunEvent::Seal { plan: Box::new(plan.clone()) }).await.unwrap();
    for n in 0..portfolios {
        let key = key(n);
        let event = if ends(n) {
            apply(store, &key, n, &ItemEvent::Claim { owner: OWNER, now, lease_until }).await;
            let json = format!("{{\"portfolio\":{n},\"of\":{seed}}}").into_bytes();
            let results = Some(store.put_results(&key, json).await.unwrap());
            let records = plan.jobs.iter().map(|job| record(&key, n, job)).collect();
            ItemEvent::Finish { owner: OWNER, attempt: 1, now, records, results }
        } else {
            ItemEvent::Settle { why: GiveUp::TimedOut, now }
        };
        let ended = apply(store, &key, n, &event).await;
        store.fold(id, 0, &FoldEntry::of(&ended, 2).unwrap()).await.unwrap();
    }
    store.mark_full(id, 0).await.unwrap();
    store.apply_run(id, &RunEvent::ClaimClose { owner: OWNER, now, lease_until }).await.unwrap();
    let closing = store.run(id).await.unwrap().unwrap().run;
    let items = store.items(id, 0).await.unwrap();
    let summary = summarise(&closing, &items, &Default::default());
    store.put_summary(&summary).await.unwrap();
    append_run(store, now, &closing, &summary, &items).await.unwrap();
    store.apply_run(id, &RunEvent::Close { epoch: 1 }).await.unwrap();
    store.run(id).await.unwrap().unwrap()
}

/// For how long these tests keep things.
const KEEP: RetentionDays = RetentionDays { records: 50, results: 10, inputs: 10 };

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap().block_on(future)
}

/// A folder with one closed run of three portfolios.
fn filled() -> (TempDir, LocalStore, StoredRun) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let stored = wait(a_whole_run(&store, 1, 3));
    (folder, store, stored)
}

fn sql(folder: &Path, statement: &str) {
    let changed = rusqlite::Connection::open(folder.join("records.sqlite")).unwrap().execute(statement, []).unwrap();
    assert_eq!(changed, 1, "{statement}");
}

fn damaged<T: std::fmt::Debug>(outcome: Result<T, StoreError>, named: &str) {
    match outcome {
        Err(StoreError::Damaged { what, .. }) => assert!(what.contains(named), "{what:?} does not name {named:?}"),
        other => panic!("the damage was not seen: {other:?}"),
    }
}

fn problems(store: &LocalStore) -> Vec<String> {
    wait(store.doctor()).unwrap().problems
}

fn told(store: &LocalStore, named: &str) {
    let problems = problems(store);
    assert!(problems.iter().any(|problem| problem.contains(named)), "{problems:?} do not name {named:?}");
}

/// The one file of this folder.
fn only_file(folder: PathBuf) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Flips the lowest bit of every byte, one after the other; calls `look` on each such file and restores it.
fn flip_each_byte(file: &Path, mut look: impl FnMut(usize)) {
    let whole = std::fs::read(file).unwrap();
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        std::fs::write(file, &broken).unwrap();
        look(at);
    }
    std::fs::write(file, &whole).unwrap();
}

#[test]
fn a_second_writer_is_refused_and_let_in_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let error = LocalStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    drop(store);
    LocalStore::open(folder.path()).unwrap();
}

#[test]
fn a_reader_beside_the_writer_sees_what_was_acknowledged_and_cannot_write() {
    let (folder, store, first) = filled();
    let reader = LocalStore::open_read_only(folder.path()).unwrap();
    let id = first.run.batch_run_id;
    assert_eq!(wait(reader.run(id)).unwrap(), Some(first));
    let second = wait(a_whole_run(&store, 2, 1));
    assert_eq!(wait(reader.run(second.run.batch_run_id)).unwrap(), Some(second.clone()));
    let refused = wait(reader.create_run(&second.run));
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
}

#[test]
fn nothing_to_read_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    for of in [folder.path().to_path_buf(), folder.path().join("nowhere")] {
        let error = LocalStore::open_read_only(&of).unwrap_err();
        assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
        assert!(!of.join("records.sqlite").exists(), "looking made a file");
    }
}

#[test]
fn an_empty_file_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("records.sqlite"), b"").unwrap();
    let error = LocalStore::open_read_only(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    let store = LocalStore::open(folder.path()).unwrap();
    let created_at = wait(store.created_at()).unwrap();
    let made = wait(a_whole_run(&store, 1, 1));
    drop(store);
    let store = LocalStore::open(folder.path()).unwrap();
    assert_eq!(wait(store.created_at()).unwrap(), created_at, "opening again is no migration");
    assert_eq!(wait(store.run(made.run.batch_run_id)).unwrap(), Some(made));
}

#[test]
fn records_of_a_newer_release_are_left_alone() {
    let (folder, store, _) = filled();
    drop(store);
    sql(folder.path(), "UPDATE meta SET value = '999' WHERE name = 'schema_version'");
    for error in [LocalStore::open(folder.path()).unwrap_err(), LocalStore::open_read_only(folder.path()).unwrap_err()]
    {
        assert!(matches!(error, OpenError::TooNew { found: 999, .. }), "{error:?}");
    }
}

#[test]
fn a_folder_that_is_in_order_has_no_problems() {
    let (_folder, store, _) = filled();
    let report = wait(store.doctor()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let counted = |what: &str| report.checked.get(what).copied();
    assert_eq!((counted("runs"), counted("records"), counted("results")), (Some(1), Some(6), Some(3)));
}

#[test]
fn a_damaged_record_is_found_and_named() {
    let (folder, store, stored) = filled();
    let id = stored.run.batch_run_id;
    let flip = "UPDATE job_records SET record = replace(record, 'it broke', 'it brokf') WHERE status = 'failed'";
    sql(folder.path(), flip);
    let named = format!("the record of second_1 of portfolio p1-0 in run {id}");
    damaged(wait(store.records(id, &RecordQuery::default())), &named);
    damaged(wait(store.items(id, 0)), &named);
    told(&store, &named);
}

#[test]
fn a_lost_record_is_found_and_named() {
    let (folder, store, stored) = filled();
    let id = stored.run.batch_run_id;
    sql(folder.path(), "DELETE FROM job_records WHERE status = 'failed'");
    let named = format!("the work item of portfolio p1-0 in run {id}");
    damaged(wait(store.items(id, 0)), &named);
    told(&store, &named);
}

#[test]
fn a_damaged_run_summary_or_count_is_found_and_named() {
    for (column, named) in
        [("runs.run", "run "), ("runs.summary", "the summary of run "), ("folds.fold", "the count of bucket 0 of run ")]
    {
        let (folder, store, stored) = filled();
        let (table, column) = column.split_once('.').unwrap();
        sql(folder.path(), &format!("UPDATE {table} SET {column} = replace({column}, '3', '4')"));
        let named = format!("{named}{}", stored.run.batch_run_id);
        if table == "runs" {
            damaged(wait(store.run(stored.run.batch_run_id)), &named);
        } else {
            damaged(wait(store.folds(stored.run.batch_run_id)), &named);
        }
        told(&store, &named);
    }
}

#[test]
fn damaged_results_are_found_and_named_whichever_byte_it_is() {
    let (folder, store, stored) = filled();
    let id = stored.run.batch_run_id;
    let items = wait(store.items(id, 0)).unwrap();
    let results: Vec<_> = items.iter().map(|item| (item.key.clone(), item.results.clone().unwrap())).collect();
    let whole: Vec<_> = results.iter().map(|(key, hash)| wait(store.results(key, hash)).unwrap()).collect();
    let pack = only_file(folder.path().join("results"));
    flip_each_byte(&pack, |at| {
        let read: Vec<_> = results.iter().map(|(key, hash)| wait(store.results(key, hash))).collect();
        let bad = read.iter().filter(|outcome| matches!(outcome, Err(StoreError::Damaged { .. }))).count();
        let same =
            read.iter().zip(&whole).filter(|(read, whole)| read.as_ref().is_ok_and(|read| read == *whole)).count();
        // A bit of the compression's own may say nothing about the content; content that differs is never given out.
        assert_eq!(bad + same, 3, "byte {at}: {read:?}");
    });
    let mut bytes = std::fs::read(&pack).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();
    let named = format!("the results of portfolio p1-2 in run {id}");
    damaged(wait(store.results(&results[2].0, &results[2].1)), &named);
    told(&store, &named);
    std::fs::write(&pack, &bytes[..last]).unwrap();
    damaged(wait(store.results(&results[2].0, &results[2].1)), &named);
    std::fs::remove_file(&pack).unwrap();
    damaged(wait(store.results(&results[2].0, &results[2].1)), &named);
}

#[test]
fn damaged_inputs_are_found_and_named_and_can_be_written_again() {
    let (folder, store, stored) = filled();
    let hash = stored.run.plan.unwrap().snapshot;
    let file = only_file(folder.path().join("snapshots"));
    flip_each_byte(&file, |at| match wait(store.snapshot(&hash)) {
        Ok(bytes) => assert_eq!(bytes, b"snapshot", "byte {at}"),
        Err(error) => assert!(matches!(error, StoreError::Damaged { .. }), "byte {at}: {error:?}"),
    });
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let named = format!("the pinned inputs {}", hash.short());
    damaged(wait(store.snapshot(&hash)), &named);
    told(&store, &named);
    assert_eq!(wait(store.put_snapshot(b"snapshot".to_vec())).unwrap(), hash);
    assert_eq!(problems(&store), Vec::<String>::new(), "writing them again heals them");
}

#[test]
fn what_many_writers_were_told_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let made = wait(async {
        let writer = |n| {
            let store = store.clone();
            tokio::spawn(async move { a_whole_run(&store, n, 3).await })
        };
        let writers: Vec<_> = (1..=64).map(writer).collect();
        let mut made = Vec::new();
        for writer in writers {
            made.push(writer.await.unwrap());
        }
        made
    });
    drop(store);
    let store = LocalStore::open(folder.path()).unwrap();
    for stored in made {
        let id = stored.run.batch_run_id;
        assert_eq!(wait(store.run(id)).unwrap(), Some(stored));
        assert_eq!(wait(store.records(id, &RecordQuery::default())).unwrap().len(), 6);
    }
    assert_eq!(problems(&store), Vec::<String>::new());
}

#[test]
fn a_copy_that_was_made_while_writing_can_be_opened_and_is_in_order() {
    let (folder, store, stored) = filled();
    let copy = folder.path().join("copy");
    wait(async {
        let writers: Vec<_> = (2..=17)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { a_whole_run(&store, n, 3).await })
            })
            .collect();
        store.backup(&copy).await.unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
    });
    let copied = LocalStore::open(&copy).unwrap();
    assert_eq!(wait(copied.run(stored.run.batch_run_id)).unwrap(), Some(stored));
    // A run that was in the making has no bucket that is full yet; every document that the records name is there.
    assert_eq!(problems(&copied), Vec::<String>::new());
    assert_eq!(problems(&store), Vec::<String>::new(), "the copying left the original alone");
}

#[test]
fn what_is_retired_goes_and_its_run_stays() {
    let (folder, store, old) = filled();
    let young = wait(a_whole_run(&store, 2, 3));
    let (id, young_id) = (old.run.batch_run_id, young.run.batch_run_id);
    let key = |run| ItemKey { run, portfolio: "p1-0".parse().unwrap() };
    let hash = wait(store.items(id, 0)).unwrap()[0].results.clone().unwrap();
    let record_count = |id| wait(store.records(id, &RecordQuery::default())).unwrap().len();

    let soon = old.run.started_at + Duration::days(20);
    wait(store.retire(soon, KEEP)).unwrap();
    assert_eq!(wait(store.results(&key(id), &hash)).unwrap(), None, "results go first");
    assert_eq!(record_count(id), 6, "records stay longer");
    assert_eq!(problems(&store), Vec::<String>::new(), "what was retired is no damage");

    let later = old.run.started_at + Duration::days(60);
    wait(store.retire(later, KEEP)).unwrap();
    assert_eq!(record_count(id), 0);
    assert_eq!(wait(store.run(id)).unwrap(), Some(old), "the run and its summary stay for ever");
    assert_eq!(record_count(young_id), 6, "of the younger run nothing goes");
    let pack = only_file(folder.path().join("results"));
    assert_eq!(pack.file_stem().unwrap().to_str().unwrap(), young_id.to_string());
    assert!(wait(store.snapshot(&young.run.plan.unwrap().snapshot)).is_ok(), "a younger run names the same inputs");
    assert_eq!(problems(&store), Vec::<String>::new(), "what was retired is no damage");
}

/// The same rule as on the table (`tests/aws`): after the retention both answer alike.
#[test]
fn the_summary_of_a_run_outlives_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    wait(async {
        conformance::a_run_that_will_be_old(&store, 1).await;
        let run = store.runs(&RunQuery::default()).await.unwrap().runs.remove(0).run;
        store.retire(run.started_at + Duration::days(50), KEEP).await.unwrap();
        conformance::everything_is_found(&store, 1).await;
        store.retire(run.started_at + Duration::days(51), KEEP).await.unwrap();
        conformance::summaries_outlive_their_records(&store, 1).await;
    });
}
