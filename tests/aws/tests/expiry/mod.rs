//! What expires, and what stays.

use domain::night::NightHead;
use domain::ports::{Keep, Nights as _};

use super::races::{at_once, winners};
use super::*;

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
pub(super) const KEPT_DAYS: i64 = 400;

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

/// What a plan seals, and a night with an open run, go with the records; a night that has ended stays until its head
/// names another document.
#[tokio::test]
async fn documents_of_nights_expire_or_are_replaced() {
    let (records, clock) = (Records::new().await, Standing::at(at(0)));
    let store = records.store_by(&clock);
    let (sealed, lasting) = (b"{\"sealed\":1}".to_vec(), b"{\"night\":1}".to_vec());
    let hash = store.put_night_document(sealed.clone(), Keep::AsRecords).await.unwrap();
    let night = store.put_night_document(lasting.clone(), Keep::UntilReplaced).await.unwrap();
    let is_there = async |hash| store.night_document(hash).await.unwrap().is_some();
    clock.set(at(0) + Duration::days(KEPT_DAYS - 10));
    store.put_night_document(sealed, Keep::AsRecords).await.unwrap();
    clock.set(at(0) + Duration::days(KEPT_DAYS + 1));
    assert!(is_there(&hash).await, "a rerun sealed it again");
    clock.set(at(0) + Duration::days(2 * KEPT_DAYS));
    assert!(!is_there(&hash).await && is_there(&night).await);

    let (folded, mut head) = night::a_night(3, Keep::UntilReplaced);
    head.document = store.put_night_document(folded, Keep::UntilReplaced).await.unwrap();
    assert!(store.put_night(&head).await.unwrap());
    let (other, running) = night::a_night(3, Keep::AsRecords);
    let document = store.put_night_document(other, Keep::AsRecords).await.unwrap();
    assert!(!store.put_night(&NightHead { document: document.clone(), ..running.clone() }).await.unwrap());
    assert!(is_there(&head.document).await, "the head was not replaced");
    assert!(store.put_night(&NightHead { document: document.clone(), version: 1, ..running }).await.unwrap());
    assert!(!is_there(&head.document).await && is_there(&document).await);
    assert!(store.put_night(&NightHead { document: night.clone(), version: 2, ..head.clone() }).await.unwrap());
    assert!(is_there(&document).await, "the document of a night with an open run expires by itself");
    assert!(is_there(&night).await);
}
