//! Rerun and cancel: the table of states, commands and doors.

use std::sync::Arc;

use app::{BookOf, CancelRequest, RerunRequest};
use domain::ids::RunId;
use domain::ports::{RunQuery, Runs as _};

use crate::world::{Calls, Command, DOORS, State, close, recording};

fn rerun(run: RunId, failed_only: bool) -> Command {
    Command::Rerun(RerunRequest { run, failed_only, cause: None })
}

#[tokio::test]
async fn every_door_decides_alike_in_every_state() {
    for state in State::ALL {
        let (reruns, cancels) = match state {
            State::Absent => ("not_found", "not_found"),
            State::Missed => ("missed", "missed"),
            State::Planning | State::Running | State::Closing => ("still_open", "canceling"),
            State::Closed => ("begun", "already_ended"),
            State::Retired => ("inputs_retired", "already_ended"),
            State::NeverPinned => ("never_pinned", "already_ended"),
        };
        for door in DOORS {
            for failed_only in [false, true] {
                let (store, id) = state.store().await;
                let before = store.runs(&RunQuery::default()).await.unwrap().runs.len();
                let said = door.ask(&store, BookOf::Nowhere, &rerun(id, failed_only)).await;
                assert_eq!(said, reruns, "{door:?} repeats a run that is {state:?}, failed only: {failed_only}");
                let after = store.runs(&RunQuery::default()).await.unwrap().runs.len();
                assert!(after == before || said == "begun", "{door:?} recorded a run though it was refused: {state:?}");
            }
            let (store, id) = state.store().await;
            let said = door.ask(&store, BookOf::Nowhere, &Command::Cancel(CancelRequest { run: id })).await;
            assert_eq!(said, cancels, "{door:?} cancels a run that is {state:?}");
        }
    }
}

#[tokio::test]
async fn an_interrupted_rerun_continues_until_it_is_closed() {
    let (store, id) = State::Closed.store().await;
    let calls = Arc::new(Calls::default());
    let control = recording(&store, BookOf::Nowhere, Arc::<Calls>::clone(&calls));
    let whole = RerunRequest { run: id, failed_only: false, cause: None };
    let first = control.rerun(&whole).await.unwrap().run();
    for door in DOORS {
        assert_eq!(door.ask(&store, BookOf::Nowhere, &rerun(id, false)).await, "continued", "{door:?}");
    }
    assert_eq!(control.rerun(&whole).await.unwrap().run(), first);
    let by_its_own_name = RerunRequest { run: first, failed_only: false, cause: None };
    assert_eq!(control.rerun(&by_its_own_name).await.unwrap().run(), first, "`latest` names the interrupted rerun");
    assert_eq!(store.open_runs().await.unwrap().len(), 1, "no try adds a run");
    close(&store, first).await;
    let second = control.rerun(&whole).await.unwrap().run();
    assert_ne!(second, first);
    assert_eq!(store.run(second).await.unwrap().unwrap().run.repeat, 2);
    close(&store, second).await;
    let failed = control.rerun(&RerunRequest { run: id, failed_only: true, cause: None }).await.unwrap().run();
    let failed = store.run(failed).await.unwrap().unwrap().run;
    assert_eq!((failed.repeat, failed.filter.len()), (1, 1), "reruns of failures are counted apart");
    assert_eq!(*calls.0.lock().unwrap(), ["begin"; 5]);
}

#[tokio::test]
async fn a_run_is_active_only_where_one_runs_at_a_time() {
    let (store, id) = State::Closed.store().await;
    let (open, _) = State::Running.store().await;
    let other = {
        let mut run = open.open_runs().await.unwrap().remove(0);
        run.batch_run_id = RunId(uuid::Uuid::from_u128(7));
        run
    };
    store.put(other, vec![], None);
    let said = [
        DOORS[0].ask(&store, BookOf::Nowhere, &rerun(id, false)).await,
        DOORS[1].ask(&store, BookOf::Nowhere, &rerun(id, false)).await,
        DOORS[2].ask(&store, BookOf::Nowhere, &rerun(id, false)).await,
    ];
    assert_eq!(said, ["begun", "active", "active"]);
}

#[tokio::test]
async fn a_cancel_calls_the_worker_and_is_recorded_first() {
    for state in [State::Planning, State::Running] {
        let (store, id) = state.store().await;
        let calls = Arc::new(Calls::default());
        let control = recording(&store, BookOf::Nowhere, Arc::<Calls>::clone(&calls));
        control.cancel(&CancelRequest { run: id }).await.unwrap();
        assert!(store.run(id).await.unwrap().unwrap().run.cancelled_at.is_some(), "{state:?}");
        assert_eq!(*calls.0.lock().unwrap(), ["end"]);
    }
}

#[tokio::test]
async fn a_cause_that_the_run_does_not_have_is_refused() {
    for (cause, expected) in [("missing_records", "begun"), ("0123456789abcdef", "unknown_cause")] {
        let cause = Some(cause.parse().unwrap());
        for door in DOORS {
            let (store, id) = State::Closed.store().await;
            let request = RerunRequest { run: id, failed_only: false, cause: cause.clone() };
            let said = door.ask(&store, BookOf::Nowhere, &Command::Rerun(request)).await;
            assert_eq!(said, expected, "{door:?} with {cause:?}");
        }
    }
}
