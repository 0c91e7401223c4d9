//! Rules of the alert books.

use crate::alert_book::AlertBook;
use crate::alert_rules::Mute;
use crate::ids::{CauseId, ScheduleName};
use crate::ports::AlertBooks;
use crate::run::samples::at;

/// Calls a macro with the names of all rules of the [`AlertBooks`](crate::ports::AlertBooks).
#[macro_export]
macro_rules! alert_book_rules {
    ($with:ident) => {
        $with! {
            an_alert_book_comes_back_as_it_was_written
            an_alert_book_is_written_over_the_version_that_was_read
        }
    };
}

fn schedule_of(seed: u128) -> ScheduleName {
    ScheduleName::new(format!("schedule-{seed}")).unwrap()
}

/// A book is empty until it is written, comes back as it was, and disturbs that of no other schedule.
pub async fn an_alert_book_comes_back_as_it_was_written(books: &dyn AlertBooks, seed: u128) {
    let (mine, other) = (schedule_of(seed), schedule_of(seed + 1_000_000));
    let empty = books.alert_book(&mine).await.unwrap();
    assert_eq!(empty, AlertBook::empty(mine.clone()));
    let mut book = empty;
    book.decided.push("a decision".into());
    let until = at(9_000);
    let fingerprint = Some(CauseId::named(CauseId::MISSING));
    book.mutes.push(Mute { fingerprint, portfolio: None, until, reason: "known, \u{fc}".into() });
    assert!(books.put_alert_book(&book).await.unwrap());
    assert_eq!(books.alert_book(&mine).await.unwrap(), AlertBook { version: 1, ..book });
    assert_eq!(books.alert_book(&other).await.unwrap(), AlertBook::empty(other.clone()));
    let schedules = books.alert_schedules().await.unwrap();
    assert!(schedules.contains(&mine) && !schedules.contains(&other), "{schedules:?}");
    assert!(schedules.is_sorted(), "{schedules:?}");
}

/// Of two that read the same version, one writes; the other is told.
pub async fn an_alert_book_is_written_over_the_version_that_was_read(books: &dyn AlertBooks, seed: u128) {
    let mine = schedule_of(seed);
    let read = books.alert_book(&mine).await.unwrap();
    let by = |who: &str| AlertBook { decided: vec![who.into()], ..read.clone() };
    assert!(books.put_alert_book(&by("first")).await.unwrap());
    assert!(!books.put_alert_book(&by("second")).await.unwrap(), "it was read before the first wrote");
    let stored = books.alert_book(&mine).await.unwrap();
    assert_eq!(stored.decided, ["first"]);
    assert!(books.put_alert_book(&AlertBook { decided: vec!["third".into()], ..stored.clone() }).await.unwrap());
    assert!(!books.put_alert_book(&stored).await.unwrap(), "the same version a second time");
    assert_eq!(books.alert_book(&mine).await.unwrap().decided, ["third"]);
}
