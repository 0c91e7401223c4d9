//! Nights whose records are retired, documents that nothing names, and old nights without a head.

use chrono::Days;
use domain::night::editions::{Edition, Why};
use domain::night::{HeadFacts, Member, NightHead, NightMembers, NightView, SealedNight, recent_nights};
use domain::ports::{Keep, NightQuery};

use super::nights::keep;
use super::*;

fn stored(store: &LocalStore, document: &[u8]) -> ContentHash {
    wait(store.put_night_document(document.to_vec(), Keep::AsRecords)).unwrap()
}

fn is_there(store: &LocalStore, document: &ContentHash) -> bool {
    wait(store.night_document(document)).unwrap().is_some()
}

/// What a planner or a closer stored and is about to name stays for a day, also where an old run had named it.
#[test]
fn a_document_that_nothing_names_goes_a_day_after_the_retention_found_it() {
    let (_folder, store, run) = filled();
    let kept = keep(&store, &run.run).head.document;
    let (orphan, again) = (stored(&store, b"an orphan"), stored(&store, b"stored again"));
    let retired_after = |days| wait(store.retire(run.run.started_at + Duration::days(days), KEEP)).unwrap();
    retired_after(60);
    assert!(is_there(&store, &orphan) && is_there(&store, &again), "they may be named in a moment");
    stored(&store, b"stored again");
    retired_after(61);
    assert!(!is_there(&store, &orphan));
    assert!(is_there(&store, &again), "it was stored a moment ago");
    retired_after(62);
    assert!(!is_there(&store, &again));
    assert!(is_there(&store, &kept), "a head names it");
}

/// A run of the same date and portfolios, so many days later.
fn later_run(store: &LocalStore, first: &StoredRun, days: i64, ends: impl Fn(u32) -> bool) -> StoredRun {
    let started_at = first.run.started_at + Duration::days(days);
    let id = RunId(Uuid::from_u128(1_000 + u128::from(days.unsigned_abs())));
    let run = Run { batch_run_id: id, started_at, ..planned(1, first.run.started_at) };
    wait(carried_out(store, 1, (run, plan(1, 3, started_at)), ends))
}

/// The night with one more edition, stored under its head.
fn with_edition(store: &LocalStore, NightView { head, mut night }: NightView) -> NightHead {
    night.editions.push(Edition {
        number: 2,
        batch_run_id: head.runs[0],
        at: head.folded_at,
        changed: Vec::new(),
        changed_count: 1,
        portfolios: Vec::new(),
        why: Why::UNKNOWN,
        replaces: Vec::new(),
    });
    let facts = HeadFacts {
        version: head.version,
        schedule: head.schedule,
        full_run: head.full_run,
        acceptances: head.acceptances,
        basis: head.basis,
        document: stored(store, &serde_json::to_vec(&night).unwrap()),
        folded_at: head.folded_at,
    };
    let head = NightHead::of(&night, facts);
    assert!(wait(store.put_night(&head)).unwrap());
    wait(store.night(&head.key())).unwrap().unwrap()
}

fn all_of(series: &str) -> NightQuery {
    NightQuery { series: series.parse().unwrap(), from: None, to: None, limit: 0 }
}

/// A run over retired records counts once it decides every portfolio; until then the night stays as it is.
#[test]
fn a_run_over_retired_records_never_leaves_less_than_there_was() {
    let (_folder, store, first) = filled();
    let before = with_edition(&store, keep(&store, &first.run));
    wait(store.retire(first.run.started_at + Duration::days(60), KEEP)).unwrap();
    let partial = later_run(&store, &first, 61, |n| n != 2);
    assert_eq!(keep(&store, &partial.run).head, before, "one portfolio has the outcome of the retired run");
    let whole = later_run(&store, &first, 62, |_| true);
    let NightView { head, night } = keep(&store, &whole.run);
    assert_eq!((head.version, head.run_count, head.full_run), (before.version + 1, 3, Some(whole.run.batch_run_id)));
    assert!([&first, &partial, &whole].iter().all(|stored| head.knows(stored)));
    assert_eq!(night.editions.len(), 1, "figures that a run restated once stay marked");
    assert_eq!(keep(&store, &whole.run).head, head);
}

/// Without what the plan sealed, nobody knows which portfolios the night should have.
#[test]
fn a_night_whose_sealed_members_are_gone_stays_as_it_was() {
    let (folder, store, _) = filled();
    let now = NaiveDate::from_ymd_opt(2_102, 1, 1).unwrap().and_hms_opt(23, 30, 0).unwrap().and_utc();
    let open = ["p2-0", "p2-1", "p2-2", "absent"].map(|id| (id.parse().unwrap(), Member::default()));
    let members = NightMembers { open: open.into_iter().collect(), ..NightMembers::default() };
    let members = stored(&store, &serde_json::to_vec(&members).unwrap());
    let night = SealedNight {
        members: members.clone(),
        inputs: ContentHash::of(b"inputs"),
        newest_close: None,
        nightbook_version: "1.0.0".into(),
        restatement_tolerance: 1e-9,
    };
    let plan = SealedPlan { night: Some(night), ..plan(2, 3, now) };
    let run = wait(carried_out(&store, 2, (planned(2, now), plan), |_| true));
    let before = keep(&store, &run.run);
    assert_eq!(before.night.absent.len(), 1);
    sql(folder.path(), &format!("DELETE FROM night_documents WHERE content_hash = '{members}'"));
    assert_eq!(keep(&store, &run.run), before);
}

/// Nights of releases that wrote no heads are found page by page, however many there are.
#[test]
fn old_nights_without_a_head_are_on_the_pages_of_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let first = NaiveDate::from_ymd_opt(2_100, 1, 1).unwrap();
    let dates: Vec<NaiveDate> = (0..150).map(|n| first + Days::new(n)).collect();
    wait(async {
        // Four runs of each date: the dates of a page take more runs than are read at once.
        for n in 0..4 * dates.len() {
            let slot = dates[n / 4].and_hms_opt(23, 30, 0).unwrap().and_utc();
            let run = planned(u128::try_from(n).unwrap() + 1, slot);
            store.create_run(&Run { phase: RunPhase::Missed, ..run }).await.unwrap();
        }
    });
    let mut found: Vec<NaiveDate> = Vec::new();
    let mut to = dates.last().copied();
    while to.is_some() {
        let query = NightQuery { to, limit: 40, ..all_of("nightly") };
        let page = wait(recent_nights(&store, &query, DateTime::UNIX_EPOCH)).unwrap();
        assert_eq!(page.len(), 40.min(dates.len() - found.len()), "a short page is the last one");
        found.extend(page.iter().map(|head| head.as_of));
        to = page.last().and_then(|head| head.as_of.pred_opt());
    }
    assert_eq!(found, dates.iter().rev().copied().collect::<Vec<_>>());
    let span = NightQuery { from: Some(dates[10]), to: Some(dates[12]), ..all_of("nightly") };
    assert_eq!(wait(recent_nights(&store, &span, DateTime::UNIX_EPOCH)).unwrap().len(), 3);
}
