//! Several writers at once: one of them wins.

use super::*;

/// Does the same eight times at once, by eight stores that know nothing of each other.
pub(super) async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
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

pub(super) fn winners<T, R>(told: &[Change<T, R>]) -> usize {
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
