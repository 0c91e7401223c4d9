//! Rules for records that are retired, for backends that retire them. The backend makes the time pass between them.

use super::fixtures::*;
use crate::fold::{FoldEntry, JobCounts};
use crate::ports::{RecordQuery, RunQuery, RunStore};
use crate::run::PlannedPortfolio;
use crate::words::{JobStatus, RunStatus};
use crate::work_item::ItemRefusal;

/// Makes a closed run of two portfolios, of which one failed, for [`everything_is_found`] and
/// [`summaries_outlive_their_records`].
pub async fn a_run_that_will_be_old(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    create(store, &run).await;
    let id = run.batch_run_id;
    store.put_manifest(id, 1, 0, &planned(seed)).await.unwrap();
    let run = step(store, id, &seal(seed, 1, 2)).await;
    for (n, statuses) in [(0, &GOOD), (1, &BAD)] {
        let item = work(store, seed, &run, n, statuses).await;
        store.fold(id, 0, &FoldEntry::of(&item, 2).unwrap()).await.unwrap();
    }
    store.mark_full(id, 0).await.unwrap();
    close(store, &run).await;
}

fn planned(seed: u128) -> Vec<PlannedPortfolio> {
    let named = |n| PlannedPortfolio { id: portfolio(seed, n), name: "A portfolio".into() };
    (0..2).map(named).collect()
}

/// Until its records are retired, every question about a closed run is answered.
pub async fn everything_is_found(store: &dyn RunStore, seed: u128) {
    what_stays(store, seed).await;
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    assert_eq!(store.manifest(id, 1, 0).await.unwrap(), planned(seed));
    assert_eq!(store.items(id, 0).await.unwrap().len(), 2);
    assert!(store.item(&key(seed, &run, 0)).await.unwrap().is_some());
    let of = |n, statuses| records(seed, &run, n, statuses);
    assert_eq!(store.records(id, &RecordQuery::default()).await.unwrap(), [of(0, &GOOD), of(1, &BAD)].concat());
    let failed = RecordQuery { status: Some(JobStatus::Failed), ..RecordQuery::default() };
    assert_eq!(store.records(id, &failed).await.unwrap(), of(1, &BAD)[1..]);
    assert_eq!(store.portfolio_runs(&portfolio(seed, 0), 9).await.unwrap().len(), 1);
    for n in [None, Some(0)] {
        assert_eq!(success(store, seed, n).await, Some((id.0.as_u128(), portfolio(seed, 0))));
    }
}

/// What is known of a closed run whether or not its records are retired.
async fn what_stays(store: &dyn RunStore, seed: u128) {
    let (run, broken) = (run_on(seed, 1, 0), cause(seed, "broken"));
    let id = run.batch_run_id;
    let stored = store.run(id).await.unwrap().expect("the run stays");
    let summary = stored.summary.clone().expect("the summary stays");
    assert!(stored.run.is_closed() && stored.run.plan.is_some());
    assert_eq!(summary.counts(), JobCounts { success: 3, failed: 1, skipped: 0, missing: 0 });
    let questions = [
        RunQuery { month: Some(month(seed, 0)), ..RunQuery::default() },
        RunQuery { as_of: Some(run.as_of), status: Some(RunStatus::Partial), ..RunQuery::default() },
        RunQuery { started_since: Some(run.started_at), as_of: Some(run.as_of), ..RunQuery::default() },
    ];
    for query in questions {
        assert_eq!(store.runs(&query).await.unwrap().runs, std::slice::from_ref(&stored), "{query:?}");
    }
    let lines = store.job_runs(&job(seed, "second"), 9).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.line.success).collect::<Vec<_>>(), [1]);
    let seen = store.failures(None, Some(&broken)).await.unwrap();
    assert_eq!(ids(seen.iter().map(|seen| &seen.batch_run_id)), [id.0.as_u128()]);
    let first = store.first_seen(std::slice::from_ref(&broken)).await.unwrap();
    assert_eq!(first.get(&broken), Some(&id));
    assert!(store.open_runs().await.unwrap().iter().all(|open| open.batch_run_id != id));
}

/// Once the records of a closed run are retired, its summary answers as before, and of its portfolios nothing is there:
/// whoever writes of one finds what nobody has touched.
pub async fn summaries_outlive_their_records(store: &dyn RunStore, seed: u128) {
    what_stays(store, seed).await;
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    assert_eq!(store.manifest(id, 1, 0).await.unwrap(), Vec::new());
    assert_eq!(store.items(id, 0).await.unwrap(), Vec::new());
    let failed = RecordQuery { status: Some(JobStatus::Failed), ..RecordQuery::default() };
    let of_one = RecordQuery { portfolio: Some(portfolio(seed, 0)), ..RecordQuery::default() };
    for query in [RecordQuery::default(), failed, of_one] {
        assert_eq!(store.records(id, &query).await.unwrap(), Vec::new(), "{query:?}");
    }
    for n in [0, 1] {
        assert_eq!(store.item(&key(seed, &run, n)).await.unwrap(), None);
        assert_eq!(store.portfolio_runs(&portfolio(seed, n), 9).await.unwrap(), Vec::new());
        assert_eq!(success(store, seed, Some(n)).await, None);
    }
    assert_eq!(success(store, seed, None).await, None);

    let (key, all) = (key(seed, &run, 0), records(seed, &run, 0, &GOOD));
    assert_eq!(not_touched(store, &key, place(0), &finish(1, 1, all.clone())).await, ItemRefusal::NotWorking);
    let begun = touch(store, &key, place(0), &claim(2, 900)).await;
    assert_eq!((begun.attempt, begun.records.len()), (1, 0), "it begins anew");
    assert_eq!(not_touched(store, &key, place(0), &claim(3, 901)).await, ItemRefusal::LeaseHeld);
    assert_eq!(store.items(id, 0).await.unwrap(), [begun]);
    touch(store, &key, place(0), &finish(2, 1, all.clone())).await;
    assert_eq!(store.records(id, &RecordQuery::default()).await.unwrap(), all);
    what_stays(store, seed).await;
}
