//! Nights in the data folder: what is kept, verified, removed and migrated.

use super::*;

/// The night of the stored run, kept as the closer does.
pub(crate) fn keep(store: &LocalStore, run: &Run) -> domain::night::NightView {
    let ports = domain::ports::Ports {
        store: std::sync::Arc::new(store.clone()),
        comparer: std::sync::Arc::new(domain::ports::NoComparison),
        documents: std::sync::Arc::new(store.clone()),
        queue: std::sync::Arc::new(backends::local::LocalQueue::new()),
        clock: std::sync::Arc::new(backends::system::SystemClock),
        sleeper: std::sync::Arc::new(backends::system::TokioSleeper),
        randomness: std::sync::Arc::new(backends::system::SystemRandomness),
    };
    wait(domain::night::keep_night(&ports, &run.night(), None)).unwrap().unwrap()
}

#[test]
fn a_changed_night_is_named_and_a_replaced_document_is_removed() {
    let (folder, store, stored) = filled();
    let first = keep(&store, &stored.run);
    assert_eq!((first.head.version, first.head.expected_portfolios), (1, 3));
    assert_eq!(keep(&store, &stored.run), first, "nothing has changed, so nothing is written");
    let problems = || wait(store.doctor()).unwrap().problems;
    assert_eq!(problems(), Vec::<String>::new());

    let other = domain::night::NightHead {
        document: wait(store.put_night_document(b"{}".to_vec(), domain::ports::Keep::UntilReplaced)).unwrap(),
        ..first.head.clone()
    };
    assert!(wait(store.put_night(&other)).unwrap());
    assert_eq!(wait(store.night_document(&first.head.document)).unwrap(), None, "it was replaced");
    assert_eq!(problems().len(), 1, "its document is no night");

    for (statement, said) in [
        ("UPDATE nights SET verdict = 'failed'", "columns"),
        ("UPDATE nights SET as_of = '2026-01-02'", "columns"),
        ("UPDATE nights SET version = 9", "columns"),
        ("UPDATE nights SET night_series = 'other'", "columns"),
        ("UPDATE nights SET head = replace(head, 'failed', 'ok')", "hash"),
        ("DELETE FROM night_documents", "gone"),
    ] {
        let (folder, store, stored) = filled();
        keep(&store, &stored.run);
        sql(folder.path(), statement);
        let problems = wait(store.doctor()).unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains(said)), "{statement}: {problems:?}");
    }
    drop(folder);
}

/// A run that is sealed with a document for its night.
fn sealed(store: &LocalStore, seed: u128) -> (Run, ContentHash) {
    let now = NaiveDate::from_ymd_opt(2_100, 1, 1).unwrap().and_hms_opt(23, 30, 0).unwrap().and_utc();
    let (run, members) = (planned(seed, now), format!("{{\"open\":{{}},\"seed\":{seed}}}").into_bytes());
    let night = domain::night::SealedNight {
        members: wait(store.put_night_document(members, domain::ports::Keep::UntilReplaced)).unwrap(),
        inputs: ContentHash::of(b"inputs"),
        newest_close: None,
        nightbook_version: "1.0.0".into(),
        restatement_tolerance: 1e-9,
    };
    let hash = night.members.clone();
    let plan = Box::new(SealedPlan { night: Some(night), ..plan(seed, 0, now) });
    wait(store.create_run(&run)).unwrap();
    wait(store.apply_run(run.batch_run_id, &RunEvent::Seal { plan })).unwrap();
    (run, hash)
}

#[test]
fn what_an_open_run_sealed_and_what_nothing_names_yet_outlive_the_retention() {
    let (_folder, store, closed) = filled();
    let (open, members) = sealed(&store, 2);
    let unnamed =
        wait(store.put_night_document(b"stored, and named in a moment".to_vec(), domain::ports::Keep::UntilReplaced))
            .unwrap();
    wait(store.retire(closed.run.started_at.max(open.started_at) + Duration::days(60), KEEP)).unwrap();
    for hash in [members, unnamed] {
        assert!(wait(store.night_document(&hash)).unwrap().is_some());
    }
}

#[test]
fn a_lost_document_of_a_sealed_plan_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let (run, _) = sealed(&store, 2);
    sql(folder.path(), "DELETE FROM night_documents");
    told(&store, &format!("the plan of run {} sealed for its night is gone", run.batch_run_id));
}

#[test]
fn records_of_an_older_release_are_copied_before_they_are_migrated() {
    let (folder, store, stored) = filled();
    drop(store);
    sql(folder.path(), "UPDATE meta SET value = '4' WHERE name = 'schema_version'");
    let connection = rusqlite::Connection::open(folder.path().join("records.sqlite")).unwrap();
    connection.execute_batch("DROP TABLE nights; DROP TABLE night_documents; DROP TABLE chain;").unwrap();
    drop(connection);
    let reader = LocalStore::open_read_only(folder.path()).unwrap();
    assert_eq!(wait(reader.night(&stored.run.night())).unwrap(), None);
    drop(reader);

    let store = LocalStore::open(folder.path()).unwrap();
    assert_eq!(keep(&store, &stored.run).head.basis, domain::night::NightBasis::Runs);
    let copy = folder.path().join("records.v4.sqlite");
    let version: String = rusqlite::Connection::open(&copy)
        .unwrap()
        .query_row("SELECT value FROM meta WHERE name = 'schema_version'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, "4");
    let before = std::fs::metadata(&copy).unwrap().modified().unwrap();
    drop(store);
    LocalStore::open(folder.path()).unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().modified().unwrap(), before, "it is made once");
}

/// What is not known is not `missing`: once the records of a night are retired, it stays as it was folded before.
#[test]
fn a_night_whose_records_are_retired_stays_as_it_was() {
    let (_folder, store, stored) = filled();
    let kept = keep(&store, &stored.run);
    wait(store.retire(stored.run.started_at + Duration::days(60), KEEP)).unwrap();
    assert_eq!(keep(&store, &stored.run), kept);
    assert_eq!(wait(store.doctor()).unwrap().problems, Vec::<String>::new());
    let acceptance = domain::night::Acceptance {
        control: domain::night::Control::Orphans,
        portfolio: None,
        author: "Ada".into(),
        note: "known".into(),
        at: stored.run.started_at + Duration::days(60),
    };
    let clock = backends::system::SystemClock;
    let night = stored.run.night();
    let accepted = domain::night::keeping::accept_control(&store, &clock, &night, acceptance);
    assert!(wait(accepted).unwrap_err().to_string().contains("retired"));
    assert_eq!(wait(store.night(&stored.run.night())).unwrap(), Some(kept.head));
}

/// Whoever has read a head that is replaced meanwhile gets the newer night, with what was accepted.
#[test]
fn a_reader_of_a_replaced_head_gets_the_newer_night() {
    let (_folder, store, stored) = filled();
    let night = stored.run.night();
    let read = keep(&store, &stored.run).head;
    let other = domain::night::NightHead {
        document: wait(store.put_night_document(b"{}".to_vec(), domain::ports::Keep::UntilReplaced)).unwrap(),
        ..read.clone()
    };
    assert!(wait(store.put_night(&other)).unwrap());
    let newer = keep(&store, &stored.run);
    assert_eq!(wait(store.night_document(&read.document)).unwrap().is_some(), newer.head.document == read.document);
    let stale = domain::night::NightHead { document: ContentHash::of(b"replaced"), version: 1, ..read };
    let view = wait(domain::night::reading::night_of_head(&store, stale, DateTime::UNIX_EPOCH)).unwrap().unwrap();
    assert_eq!(view, newer);
    assert_eq!(wait(store.night(&night)).unwrap(), Some(newer.head));
}
