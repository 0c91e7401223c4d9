//! Rules of the notes on runs. They need a store for the runs, too.

use super::fixtures::*;
use crate::note::{Note, NoteKind, RunNotes};
use crate::ports::{Creation, RunStore, StoreError};
use crate::run::Run;
use crate::run::samples::at;

/// Calls a macro with the names of all rules of the [`RunNotes`](crate::note::RunNotes).
#[macro_export]
macro_rules! note_rules {
    ($with:ident) => {
        $with! {
            notes_come_back_oldest_first_and_each_once
            a_note_on_no_run_is_refused
        }
    };
}

/// A store that keeps notes, too.
pub trait StoreWithNotes: RunStore + RunNotes {}

impl<T: RunStore + RunNotes> StoreWithNotes for T {}

fn note(seed: u128, run: &Run, n: u128, seconds: i64) -> Note {
    Note {
        id: uuid::Uuid::from_u128(number(seed, n)),
        batch_run_id: run.batch_run_id,
        kind: if n.is_multiple_of(2) { NoteKind::Annotate } else { NoteKind::Acknowledge },
        author: "Zo\u{eb}".into(),
        at: at(seconds),
        text: format!("note {n}\n<b>second line</b>"),
    }
}

/// Notes come back as they were, oldest first, whatever the order they were added in; the same note again changes
/// nothing, and those of another run are not among them.
pub async fn notes_come_back_oldest_first_and_each_once(store: &dyn StoreWithNotes, seed: u128) {
    let (run, other) = (run_on(seed, 1, 1), run_on(seed, 2, 2));
    for run in [&run, &other] {
        assert_eq!(store.create_run(run).await.unwrap(), Creation::Created, "the run was there before");
    }
    assert_eq!(store.notes(run.batch_run_id).await.unwrap(), []);
    let (first, second) = (note(seed, &run, 1, 10), note(seed, &run, 2, 20));
    store.add_note(&second).await.unwrap();
    store.add_note(&first).await.unwrap();
    store.add_note(&note(seed, &other, 3, 15)).await.unwrap();
    store.add_note(&Note { text: "changed".into(), at: at(30), ..first.clone() }).await.unwrap();
    assert_eq!(store.notes(run.batch_run_id).await.unwrap(), [first, second]);
}

/// There are no notes on a run that is not there.
pub async fn a_note_on_no_run_is_refused(store: &dyn StoreWithNotes, seed: u128) {
    let run = run_on(seed, 1, 1);
    let refused = store.add_note(&note(seed, &run, 1, 10)).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    assert_eq!(store.notes(run.batch_run_id).await.unwrap(), []);
}
