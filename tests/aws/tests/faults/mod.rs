//! Lost replies, late writes and refused requests.

use super::table::Tap;
use super::*;

/// Tries until it gets an answer, as redelivered messages do. A try fails only by faults, and the outage ends after
/// [`MOST_FAULTS`] of them, so the number of tries is bounded.
async fn insist<T>(tap: &Tap, act: impl AsyncFn() -> Result<T, StoreError>) -> T {
    loop {
        let before = tap.faults();
        match act().await {
            Ok(told) => return told,
            Err(error) => assert!(tap.faults() > before, "it failed without a fault: {error:?}"),
        }
    }
}

/// A worker on a line that loses requests and replies: each try has an owner and a time of its own.
async fn work_against_faults(tap: &Tap, store: &dyn RunStore, run: RunId, n: u32) {
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
    insist(tap, async || store.fold(run, place(n).bucket, &entry).await).await;
    // The message comes a second time.
    insist(tap, async || store.fold(run, place(n).bucket, &entry).await).await;
    insist(tap, async || store.mark_full(run, place(n).bucket).await).await;
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
        let tap = &records.tap;
        let run = id(u128::from(seed));
        records.tap.spoil(600, seed);
        let fresh = a_run(u128::from(seed));
        insist(tap, async || store.create_run(&fresh).await).await;
        let chunk: Vec<_> = (0..PORTFOLIOS).map(portfolio).collect();
        insist(tap, async || store.put_manifest(run, 1, 0, &chunk).await).await;
        let seal = RunEvent::Seal { plan: Box::new(a_plan(PORTFOLIOS)) };
        insist(tap, async || store.apply_run(run, &seal).await).await;
        futures::future::join_all((0..PORTFOLIOS * 2).map(|n| {
            let store = records.store();
            async move { work_against_faults(tap, &*store, run, n % PORTFOLIOS).await }
        }))
        .await;
        let claim = RunEvent::ClaimClose { owner: owner(7), now: at(9_000), lease_until: at(9_060) };
        insist(tap, async || store.apply_run(run, &claim).await).await;
        let items: Vec<WorkItem> = insist(tap, async || store.items(run, 0).await).await;
        let closing = insist(tap, async || store.run(run).await).await.unwrap().run;
        let summary = summarise(&closing, &items, &BTreeMap::new());
        insist(tap, async || store.put_summary(&summary).await).await;
        insist(tap, async || store.apply_run(run, &RunEvent::Close { epoch: closing.close_epoch }).await).await;
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
