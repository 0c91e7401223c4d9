//! Rules of the history.

use chrono::{DateTime, Duration, Utc};

use super::fixtures::*;
use crate::ports::{RecordCursor, RecordPage, RecordQuery, RunStore};
use crate::record::JobRecord;
use crate::words::{ErrorCategory, JobStatus, JobType};

/// Calls a macro with the names of all rules of the [`History`](crate::ports::History).
#[macro_export]
macro_rules! history_rules {
    ($with:ident) => {
        $with! {
            records_are_found_by_what_they_are
            pages_of_records_join_to_all_of_them
            the_runs_of_a_portfolio_come_newest_first
            the_runs_of_a_job_come_newest_first
            the_last_success_is_the_newest
            a_success_that_a_rerun_took_back_does_not_count
            failures_are_found_by_time_and_cause
            a_cause_was_first_seen_in_the_run_that_began_first
        }
    };
}

/// Records come by place and order of the jobs, and are found by portfolio, job, family and status.
pub async fn records_are_found_by_what_they_are(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 103).await;
    let other = begin(store, seed, &run_on(seed, 2, 1), 1).await;
    work(store, seed, &other, 0, &GOOD).await;
    for n in [101, 3, 1] {
        work(store, seed, &run, n, if n == 3 { &BAD } else { &GOOD }).await;
    }
    touch(store, &key(seed, &run, 5), place(5), &claim(1, 0)).await;
    let all: Vec<JobRecord> =
        [1, 3, 101].iter().flat_map(|n| records(seed, &run, *n, if *n == 3 { &BAD } else { &GOOD })).collect();
    let ask = async |query: RecordQuery| store.records(run.batch_run_id, &query).await.unwrap();
    let fitting =
        |fits: &dyn Fn(&JobRecord) -> bool| all.iter().filter(|record| fits(record)).cloned().collect::<Vec<_>>();
    assert_eq!(ask(RecordQuery::default()).await, all);
    let of = RecordQuery { portfolio: Some(portfolio(seed, 3)), ..RecordQuery::default() };
    assert_eq!(ask(of.clone()).await, all[2..4]);
    let first = job(seed, "first");
    assert_eq!(ask(RecordQuery { job: Some(first.clone()), ..of }).await, all[2..3]);
    let query = RecordQuery { job: Some(first.clone()), ..RecordQuery::default() };
    assert_eq!(ask(query).await, fitting(&|record| record.job_name == first));
    let query = RecordQuery { job_type: Some(JobType::Valuation), ..RecordQuery::default() };
    assert_eq!(ask(query.clone()).await, fitting(&|record| record.job_type == JobType::Valuation));
    assert_eq!(ask(RecordQuery { status: Some(JobStatus::Failed), ..query }).await, all[3..4]);
    let query = RecordQuery { status: Some(JobStatus::Success), ..RecordQuery::default() };
    assert_eq!(ask(query).await, fitting(&|record| record.status == JobStatus::Success));
}

/// Pages of records, whatever their size, join to all the records, in the same order and for every query.
pub async fn pages_of_records_join_to_all_of_them(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 203).await;
    let id = run.batch_run_id;
    for (n, statuses) in [(202, &GOOD), (101, &BAD), (3, &BAD), (0, &GOOD), (100, &GOOD)] {
        work(store, seed, &run, n, statuses).await;
    }
    touch(store, &key(seed, &run, 5), place(5), &claim(1, 0)).await;
    let mut stored = Vec::new();
    for bucket in 0..3 {
        stored.extend(store.items(id, bucket).await.unwrap().into_iter().flat_map(|item| item.records));
    }
    let of = |status| RecordQuery { status: Some(status), ..RecordQuery::default() };
    let queries = [
        RecordQuery::default(),
        RecordQuery { job: Some(job(seed, "second")), ..RecordQuery::default() },
        RecordQuery { job_type: Some(JobType::Valuation), ..RecordQuery::default() },
        RecordQuery { portfolio: Some(portfolio(seed, 101)), ..RecordQuery::default() },
        RecordQuery { job: Some(job(seed, "second")), ..of(JobStatus::Failed) },
        of(JobStatus::Failed),
        of(JobStatus::Success),
        of(JobStatus::Skipped),
    ];
    for query in queries {
        let all: Vec<JobRecord> = stored.iter().filter(|record| query.selects(record)).cloned().collect();
        assert_eq!(store.records_page(id, &query, None, 0).await.unwrap().records, all, "{query:?}");
        for limit in 1..=all.len() + 1 {
            let (mut joined, mut after) = (Vec::new(), None::<RecordCursor>);
            loop {
                let page = store.records_page(id, &query, after, limit).await.unwrap();
                assert!(page.records.len() <= limit, "a page of {limit} has {} records", page.records.len());
                joined.extend(page.records);
                let Some(next) = page.next else { break };
                assert_eq!(joined.len() % limit, 0, "a page that is not the last is full");
                assert!(joined.len() < all.len(), "a full page before nothing names another");
                assert!(after.is_none_or(|after| next > after), "a page must lead on");
                after = Some(next);
            }
            assert_eq!(joined, all, "{query:?} in pages of {limit}");
        }
    }
    let unknown = run_on(seed, 9, 0).batch_run_id;
    assert_eq!(store.records_page(unknown, &RecordQuery::default(), None, 5).await.unwrap(), RecordPage::default());
}

/// A portfolio's runs come newest first, at most so many, each with the cells of its jobs.
pub async fn the_runs_of_a_portfolio_come_newest_first(store: &dyn RunStore, seed: u128) {
    for (n, day) in [(1, 1), (2, 3), (3, 2)] {
        let run = begin(store, seed, &run_on(seed, n, day), 2).await;
        work(store, seed, &run, 0, if n == 3 { &BAD } else { &GOOD }).await;
        if n == 1 {
            work(store, seed, &run, 1, &GOOD).await;
        }
    }
    let runs = store.portfolio_runs(&portfolio(seed, 0), 10).await.unwrap();
    let expected: Vec<u128> = [2, 3, 1].iter().map(|n| number(seed, *n)).collect();
    assert_eq!(ids(runs.iter().map(|run| &run.batch_run_id)), expected);
    let run = run_on(seed, 3, 2);
    assert_eq!(
        (runs[1].as_of, runs[1].scheduled_for, runs[1].started_at),
        (run.as_of, run.scheduled_for, run.started_at)
    );
    assert_eq!(runs[1].portfolio_name, "A portfolio");
    let cells: Vec<_> =
        runs[1].cells.iter().map(|cell| (cell.job.clone(), cell.status, cell.fingerprint.clone())).collect();
    let failed = (job(seed, "second"), JobStatus::Failed, Some(cause(seed, "broken")));
    assert_eq!(cells, [(job(seed, "first"), JobStatus::Success, None), failed]);
    assert_eq!(runs[1].cells[0].duration_seconds, Some(2.25));
    assert_eq!(store.portfolio_runs(&portfolio(seed, 0), 2).await.unwrap(), runs[..2], "at most two");
    assert_eq!(store.portfolio_runs(&portfolio(seed, 9), 2).await.unwrap(), Vec::new());
}

/// A job's closed runs come newest first, at most so many, each with the job's line of the summary.
pub async fn the_runs_of_a_job_come_newest_first(store: &dyn RunStore, seed: u128) {
    let mut lines = Vec::new();
    for (n, day) in [(1, 1), (2, 3), (3, 2)] {
        let run = begin(store, seed, &run_on(seed, n, day), 1).await;
        work(store, seed, &run, 0, &GOOD).await;
        let summary = close(store, &run).await;
        lines.push((run.scheduled_for, run.batch_run_id, summary.job_summary[1].clone()));
    }
    begin(store, seed, &run_on(seed, 4, 9), 1).await;
    lines.sort_by_key(|(scheduled_for, ..)| std::cmp::Reverse(*scheduled_for));
    let runs = store.job_runs(&job(seed, "second"), 10).await.unwrap();
    let found: Vec<_> = runs.iter().map(|run| (run.scheduled_for, run.batch_run_id, run.line.clone())).collect();
    assert_eq!(found, lines, "closed runs only, newest first");
    assert_eq!(runs[0].as_of, new_year(seed) + Duration::days(3));
    assert_eq!(store.job_runs(&job(seed, "second"), 2).await.unwrap(), runs[..2], "at most two");
    assert_eq!(store.job_runs(&job(seed, "other"), 2).await.unwrap(), Vec::new());
}

/// The last success is that of the newest trading date, then of the run that began last: for one portfolio or all.
pub async fn the_last_success_is_the_newest(store: &dyn RunStore, seed: u128) {
    assert_eq!(success(store, seed, None).await, None, "nothing succeeded yet");
    for (n, day, who, statuses) in [(1, 5, 0, &GOOD), (2, 3, 1, &GOOD), (3, 6, 1, &BAD)] {
        let run = begin(store, seed, &run_on(seed, n, day), 2).await;
        work(store, seed, &run, who, statuses).await;
    }
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 1), portfolio(seed, 0))));
    let second = success(store, seed, Some(1)).await;
    assert_eq!(second, Some((number(seed, 2), portfolio(seed, 1))), "a failure on a later date takes nothing back");
    assert_eq!(success(store, seed, Some(2)).await, None);
    assert_eq!(success(store, seed, None).await, Some((number(seed, 1), portfolio(seed, 0))), "of all portfolios");
    // Begun later, of an earlier date: a rerun of an old night is not the newest.
    let mut old = run_on(seed, 4, 1);
    old.started_at += Duration::days(30);
    let old = begin(store, seed, &old, 1).await;
    work(store, seed, &old, 0, &GOOD).await;
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 1), portfolio(seed, 0))));
    // The same date, begun later: it is.
    let mut again = run_on(seed, 5, 5);
    again.started_at += Duration::seconds(9);
    let again = begin(store, seed, &again, 1).await;
    work(store, seed, &again, 0, &GOOD).await;
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 5), portfolio(seed, 0))));
}

/// A success does not count where a newer run of the same portfolio and trading date did not end well.
pub async fn a_success_that_a_rerun_took_back_does_not_count(store: &dyn RunStore, seed: u128) {
    for (n, day) in [(1, 1), (2, 2)] {
        let run = begin(store, seed, &run_on(seed, n, day), 2).await;
        work(store, seed, &run, 0, &GOOD).await;
        work(store, seed, &run, 1, &GOOD).await;
    }
    let mut rerun = run_on(seed, 3, 2);
    rerun.rerun_of = Some(run_on(seed, 2, 2).batch_run_id);
    rerun.started_at += Duration::seconds(9);
    let rerun = begin(store, seed, &rerun, 2).await;
    work(store, seed, &rerun, 0, &BAD).await;
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 1), portfolio(seed, 0))), "it was taken back");
    assert_eq!(success(store, seed, Some(1)).await, Some((number(seed, 2), portfolio(seed, 1))), "not for the other");
    assert_eq!(success(store, seed, None).await, Some((number(seed, 2), portfolio(seed, 1))), "overall");
}

/// Makes three closed runs, of which the second has no failure; gives their starts, the oldest first.
async fn three_runs(store: &dyn RunStore, seed: u128) -> Vec<DateTime<Utc>> {
    let mut starts = Vec::new();
    for n in [1, 2, 3] {
        let run = begin(store, seed, &run_on(seed, n, i64::try_from(n).unwrap()), 2).await;
        work(store, seed, &run, 1, if n == 2 { &GOOD } else { &BAD }).await;
        work(store, seed, &run, 0, if n == 3 { &BAD } else { &GOOD }).await;
        close(store, &run).await;
        starts.push(run.started_at);
    }
    starts
}

/// Causes of failures come newest run first, and are found by the start of the run and by the cause.
pub async fn failures_are_found_by_time_and_cause(store: &dyn RunStore, seed: u128) {
    let starts = three_runs(store, seed).await;
    let broken = cause(seed, "broken");
    let sightings = store.failures(None, Some(&broken)).await.unwrap();
    let told: Vec<_> = sightings.iter().map(|seen| (seen.batch_run_id.0.as_u128(), seen.count)).collect();
    assert_eq!(told, [(number(seed, 3), 2), (number(seed, 1), 1)]);
    let newest = &sightings[0];
    assert_eq!((&newest.job, newest.category), (&job(seed, "second"), ErrorCategory::Permanent));
    assert_eq!((newest.as_of, newest.started_at), (new_year(seed) + Duration::days(3), starts[2]));
    assert_eq!(newest.message, "it broke for portfolio 0", "the message of the first portfolio");
    assert_eq!(newest.portfolios, [portfolio(seed, 0), portfolio(seed, 1)]);
    for (since, expected) in [(starts[0], 2), (starts[1], 1), (starts[2], 1), (starts[2] + Duration::seconds(1), 0)] {
        let found = store.failures(Some(since), Some(&broken)).await.unwrap();
        assert_eq!(found, sightings[..expected], "since {since}");
    }
    let all = store.failures(Some(starts[0]), None).await.unwrap();
    let mine: Vec<_> = all.into_iter().filter(|seen| seen.fingerprint == broken).collect();
    assert_eq!(mine, sightings, "of all causes");
    assert_eq!(store.failures(None, Some(&cause(seed, "other"))).await.unwrap(), Vec::new());
}

/// Of the closed runs in which a cause was seen, the first is the one that began first, whatever was closed first.
pub async fn a_cause_was_first_seen_in_the_run_that_began_first(store: &dyn RunStore, seed: u128) {
    three_runs(store, seed).await;
    let (broken, other) = (cause(seed, "broken"), cause(seed, "other"));
    let first = store.first_seen(&[broken.clone(), other.clone()]).await.unwrap();
    assert_eq!(ids(first.values()), [number(seed, 1)], "what was never seen is left out");
    let earlier = begin(store, seed, &run_on(seed, 4, 0), 1).await;
    work(store, seed, &earlier, 0, &BAD).await;
    assert_eq!(
        ids(store.first_seen(std::slice::from_ref(&broken)).await.unwrap().values()),
        [number(seed, 1)],
        "it is not closed"
    );
    close(store, &earlier).await;
    assert_eq!(store.first_seen(&[other, broken.clone()]).await.unwrap().get(&broken), Some(&earlier.batch_run_id));
}
