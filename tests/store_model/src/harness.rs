//! The test itself: the same operation on both, then every question to both.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use domain::ids::RunId;
use domain::ports::{
    Change, Creation, History as _, RecordQuery, RunQuery, Runs as _, StoreError, Tallies as _, WorkItems as _,
};
use domain::words::RunStatus;
use futures::executor::block_on;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::Backend;
use crate::model::Model;
use crate::operation::{Operation, PORTFOLIOS, any_operation, jobs, key, place, portfolio_id, run_id};

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Operation> {
        // Most of what chance alone would try is refused; most of what is tried is to be accepted.
        let apt = state.apt();
        if apt.is_empty() {
            return any_operation().boxed();
        }
        prop_oneof![2 => prop::sample::select(apt), 1 => any_operation()].boxed()
    }

    fn apply(mut state: Self, operation: &Operation) -> Self {
        Self::apply(&mut state, operation);
        state
    }
}

/// The test of a backend.
#[derive(Debug)]
pub struct StoreTest<B>(PhantomData<B>);

impl<B: Backend> StateMachineTest for StoreTest<B> {
    type SystemUnderTest = B;
    type Reference = Model;

    fn init_test(_model: &Model) -> B {
        B::new()
    }

    fn apply(backend: B, model: &Model, operation: Operation) -> B {
        if matches!(operation, Operation::Reopen) {
            return backend.reopen();
        }
        block_on(call(&backend, model, &operation));
        backend
    }

    fn check_invariants(backend: &B, model: &Model) {
        block_on(ask(backend, model));
    }
}

#[allow(clippy::future_not_send, reason = "it is run to its end on the thread of the test")]
/// Carries out an operation on a store; `model` is what should be there afterwards.
async fn call<B: Backend>(backend: &B, model: &Model, operation: &Operation) {
    let store = backend.store();
    match operation {
        Operation::Create(run, missed) => {
            let run = crate::operation::created(*run, *missed);
            if let Creation::Existing(there) = store.create_run(&run).await.expect("the store works") {
                assert_eq!(Some(&there), model.runs.get(&run.batch_run_id));
            }
        }
        Operation::Run(run, event) => match store.apply_run(run_id(*run), event).await {
            Ok(Change::Applied(run) | Change::Refused(run, _)) => {
                assert_eq!(Some(&run), model.runs.get(&run.batch_run_id));
            }
            Err(StoreError::NotFound { .. }) => assert!(!model.runs.contains_key(&run_id(*run))),
            Err(error) => panic!("{error}"),
        },
        Operation::Item(run, portfolio, event) => {
            let key = key(*run, *portfolio);
            match store.apply_item(&key, "P", place(*portfolio), event).await {
                Ok(Change::Applied(item)) => assert_eq!(Some(&item), model.items.get(&key)),
                Ok(Change::Refused(item, _)) => {
                    assert!(model.items.get(&key).is_none_or(|there| *there == item), "{item:?}");
                }
                Err(StoreError::NotFound { .. }) => assert!(!model.runs.contains_key(&key.run)),
                Err(error) => panic!("{error}"),
            }
        }
        Operation::Fold(run, portfolio) => {
            if let Some(entry) = model.entry(*run, *portfolio) {
                let fold = store.fold(run_id(*run), 0, &entry).await.expect("the store works");
                assert_eq!(Some(&fold), model.folds.get(&run_id(*run)));
            }
        }
        Operation::MarkFull(run) => {
            let full = store.mark_full(run_id(*run), 0).await.expect("the store works");
            assert_eq!(full, u32::from(model.full.contains(&run_id(*run))));
        }
        Operation::Summary(run) => {
            if let Some(summary) = model.closed_summary(run_id(*run)) {
                let reply = store.put_summary(&summary).await.expect("the store works");
                if let Creation::Existing(there) = reply {
                    assert_eq!(
                        Some(there.counts()),
                        model.summaries.get(&run_id(*run)).map(|summary| summary.counts())
                    );
                }
            }
        }
        Operation::Alert(run, event) => match store.apply_alert(run_id(*run), event).await {
            Ok(Change::Applied(state) | Change::Refused(state, _)) => {
                assert_eq!(state, model.alerts.get(&run_id(*run)).copied().unwrap_or_default());
            }
            Err(StoreError::NotFound { .. }) => assert!(!model.runs.contains_key(&run_id(*run))),
            Err(error) => panic!("{error}"),
        },
        Operation::Reopen => {}
    }
}

#[allow(clippy::future_not_send, reason = "it is run to its end on the thread of the test")]
/// Asks every question, and compares the answers.
#[expect(clippy::too_many_lines, reason = "one table: every question that the port has")]
async fn ask<B: Backend>(backend: &B, model: &Model) {
    let store = backend.store();
    let ids = |runs: Vec<domain::ports::StoredRun>| -> Vec<RunId> {
        runs.into_iter().map(|stored| stored.run.batch_run_id).collect()
    };
    let all = store.runs(&RunQuery::default()).await.expect("the store works").runs;
    for stored in &all {
        let id = stored.run.batch_run_id;
        assert_eq!(Some(&stored.run), model.runs.get(&id));
        let told = model.summaries.get(&id).cloned();
        let told =
            told.map(|summary| domain::summary::RunSummary { publication: stored.run.publication.clone(), ..summary });
        assert_eq!(stored.summary, told);
    }
    assert_eq!(ids(all), model.newest().iter().map(|run| run.batch_run_id).collect::<Vec<_>>());
    for status in [RunStatus::Running, RunStatus::Success, RunStatus::Partial, RunStatus::Failed, RunStatus::Missed] {
        let query = RunQuery { status: Some(status), ..RunQuery::default() };
        let found = ids(store.runs(&query).await.expect("the store works").runs);
        let fitting = model.newest().into_iter().filter(|run| model.status(run) == status);
        assert_eq!(found, fitting.map(|run| run.batch_run_id).collect::<Vec<_>>(), "{status}");
    }
    // One at a time gives the same as all at once.
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let page =
            store.runs(&RunQuery { limit: 1, after: after.clone(), ..RunQuery::default() }).await.expect("works");
        paged.extend(ids(page.runs));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, model.newest().iter().map(|run| run.batch_run_id).collect::<Vec<_>>());
    let open: Vec<RunId> = store.open_runs().await.expect("works").iter().map(|run| run.batch_run_id).collect();
    assert_eq!(open, model.open());
    assert_eq!(ids(store.undelivered().await.expect("works")), model.undelivered());
    let reruns = RunQuery { rerun_of: Some(run_id(0)), ..RunQuery::default() };
    let of_origin = model.newest().into_iter().filter(|run| run.rerun_of == Some(run_id(0)));
    assert_eq!(
        ids(store.runs(&reruns).await.expect("works").runs),
        of_origin.map(|run| run.batch_run_id).collect::<Vec<_>>()
    );
    for &id in model.runs.keys() {
        assert_eq!(store.items(id, 0).await.expect("works"), model.items_of(id));
        assert_eq!(store.records(id, &RecordQuery::default()).await.expect("works"), model.records(id));
        let folds = store.folds(id).await.expect("works");
        assert_eq!(folds.first(), model.folds.get(&id));
    }
    let mut causes = BTreeSet::new();
    let found: Vec<_> = store
        .failures(None, None)
        .await
        .expect("works")
        .into_iter()
        .map(|cause| {
            causes.insert(cause.fingerprint.clone());
            (cause.batch_run_id, cause.fingerprint, cause.count)
        })
        .collect();
    assert_eq!(found, model.failures());
    let first = store.first_seen(&causes.into_iter().collect::<Vec<_>>()).await.expect("works");
    for (cause, run) in first {
        let earliest = model.failures().into_iter().filter(|(_, fingerprint, _)| *fingerprint == cause);
        let earliest = earliest.filter_map(|(id, ..)| Some((model.summaries.get(&id)?.started_at, id))).min();
        assert_eq!(earliest.map(|(_, id)| id), Some(run));
    }
    for job in jobs() {
        for portfolio in 0..PORTFOLIOS {
            let portfolio = portfolio_id(portfolio);
            let found = store.last_success(&job.name, Some(&portfolio)).await.expect("works");
            assert_eq!(found, model.last_success(&job.name, Some(&portfolio)));
        }
        // Several portfolios may share the newest; which of them is told is the store's choice.
        let when = |record: &domain::record::JobRecord| record.batch_run_id;
        let found = store.last_success(&job.name, None).await.expect("works");
        assert_eq!(found.as_ref().map(when), model.last_success(&job.name, None).as_ref().map(when));
        let lines = store.job_runs(&job.name, 10).await.expect("works");
        // A run that was abandoned has a summary without jobs.
        let expected = model.newest().into_iter().filter(|run| {
            let summary = model.summaries.get(&run.batch_run_id);
            summary.is_some_and(|summary| summary.job_summary.iter().any(|line| line.job == job.name))
        });
        assert_eq!(
            lines.iter().map(|line| line.batch_run_id).collect::<Vec<_>>(),
            expected.map(|run| run.batch_run_id).collect::<Vec<_>>()
        );
    }
    for portfolio in 0..PORTFOLIOS {
        let runs = store.portfolio_runs(&portfolio_id(portfolio), 10).await.expect("works");
        let touched = model.newest().into_iter().filter(|run| {
            model
                .items
                .contains_key(&domain::work_item::ItemKey { run: run.batch_run_id, portfolio: portfolio_id(portfolio) })
        });
        assert_eq!(
            runs.iter().map(|run| run.batch_run_id).collect::<Vec<_>>(),
            touched.map(|run| run.batch_run_id).collect::<Vec<_>>()
        );
    }
}
