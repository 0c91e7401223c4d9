//! Starts: the table of dates, books and doors; notes and mutes.

use std::sync::Arc;

use app::{
    AcceptRequest, AnnotateRequest, BookOf, BookReader, CancelRequest, ControlError, Door, NightReader, Refusal,
    StartRequest, usable_book,
};
use async_trait::async_trait;
use backends::memory::MemoryStore;
use book::{MemorySource, Reading};
use domain::ids::PortfolioId;
use domain::night::{Control, ControlResult, Level, NightMembers, keep_night};
use domain::note::{MOST_NOTES, NoteKind, RunNotes as _};
use domain::ports::{Nights as _, Runs as _};
use domain::run::{Publication, RunEvent};

use crate::world::{
    Calls, Command, DOORS, NOW, State, book, close, close_without_plan, end, ports, recording, sealed, sealed_with,
};

fn request(as_of: Option<&str>) -> StartRequest {
    let as_of = as_of.map(|date| date.parse().unwrap());
    StartRequest { as_of, portfolios: vec![], trigger: "test".to_owned(), again: false }
}

/// A folder without portfolios.csv.
struct Unusable;

#[async_trait]
impl BookReader for Unusable {
    async fn read(&self) -> Result<Reading, ControlError> {
        Ok(book::read(&MemorySource::default()).unwrap())
    }
    fn name(&self) -> String {
        "the book /srv/book".to_owned()
    }
    fn check_command(&self) -> String {
        "nightbook check --book /srv/book".to_owned()
    }
}

#[tokio::test]
async fn every_door_decides_alike_on_every_date() {
    let portfolio = |id: &str| vec![PortfolioId::new(id).unwrap()];
    for (request, expected) in [
        (request(None), "begun"),
        (request(Some("2026-11-24")), "begun"),
        (StartRequest { portfolios: portfolio("b"), ..request(None) }, "begun"),
        (request(Some("2026-11-25")), "date_not_allowed"),
        (request(Some("2026-11-28")), "date_not_allowed"),
        (request(Some("9999-12-31")), "date_not_allowed"),
        (request(Some("2026-11-22")), "no_session"),
        (StartRequest { portfolios: portfolio("c"), ..request(None) }, "unknown_portfolio"),
        (StartRequest { trigger: "two\nlines".to_owned(), ..request(None) }, "text"),
        (StartRequest { trigger: "x".repeat(65), ..request(None) }, "text"),
    ] {
        for door in DOORS {
            let store = MemoryStore::default();
            let said = door.ask(&store, BookOf::Loaded(book()), &Command::Start(request.clone())).await;
            assert_eq!(said, expected, "{door:?} {request:?}");
            let recorded = store.open_runs().await.unwrap().len();
            assert!(recorded == 0 || said == "begun", "{door:?} recorded a refused run: {request:?}");
            let said = door.ask(&store, BookOf::Reader(Arc::new(Unusable)), &Command::Start(request.clone())).await;
            assert_eq!(said, "book_unusable", "{door:?} {request:?}");
        }
    }
}

/// What a cancellation left undone is not done: the same request begins another run.
#[tokio::test]
async fn a_canceled_run_answers_no_request() {
    let store = MemoryStore::default();
    let calls = Arc::new(Calls::default());
    let control = recording(&store, BookOf::Loaded(book()), Arc::<Calls>::clone(&calls));
    let run = control.start(&request(None)).await.unwrap().run();
    sealed(&store, run).await;
    store.apply_run(run, &RunEvent::Cancel { now: NOW.parse().unwrap() }).await.unwrap();
    end(&store, run).await;
    let again = control.start(&request(None)).await.unwrap();
    assert_ne!(again.run(), run);
}

/// What nobody has seen yet cannot be accepted: a run that has not ended may still record other results.
#[tokio::test]
async fn a_result_of_a_run_that_has_not_ended_is_not_accepted() {
    let store = MemoryStore::default();
    let control = recording(&store, BookOf::Loaded(book()), Arc::new(Calls::default()));
    let run = control.start(&request(None)).await.unwrap().run();
    let members = NightMembers {
        controls: vec![ControlResult {
            control: Control::Orphans,
            level: Level::Failure,
            portfolio_id: None,
            symbol: None,
            figure: None,
            observed: None,
            limit: None,
            sessions: None,
            message: "a row without a portfolio".to_owned(),
        }],
        ..NightMembers::default()
    };
    let members = store
        .put_night_document(serde_json::to_vec(&members).unwrap(), domain::ports::Keep::UntilReplaced)
        .await
        .unwrap();
    sealed_with(&store, run, Some(members)).await;
    let night = store.run(run).await.unwrap().unwrap().run.night();
    keep_night(&ports(&store), &night, None).await.unwrap();
    let asked = AcceptRequest {
        as_of: night.as_of,
        series: None,
        control: "orphans".to_owned(),
        portfolio: None,
        author: "Ada".to_owned(),
        note: "known".to_owned(),
    };
    let refused = control.accept(&asked, &NightReader::default()).await.unwrap_err();
    assert!(refused.to_string().contains("has not ended"), "{refused}");
    assert!(store.night(&night).await.unwrap().unwrap().acceptances.is_empty(), "nothing is recorded");
}

#[tokio::test]
async fn the_same_run_continues_and_is_shown_as_finished() {
    let store = MemoryStore::default();
    let calls = Arc::new(Calls::default());
    let control = recording(&store, BookOf::Loaded(book()), Arc::<Calls>::clone(&calls));
    let run = control.start(&request(None)).await.unwrap().run();
    for door in DOORS {
        let said = door.ask(&store, BookOf::Loaded(book()), &Command::Start(request(None))).await;
        assert_eq!(said, "continued", "{door:?}");
    }
    close(&store, run).await;
    calls.0.lock().unwrap().clear();
    for door in DOORS {
        let said = door.ask(&store, BookOf::Loaded(book()), &Command::Start(request(None))).await;
        assert_eq!(said, "finished", "{door:?}");
    }
    control.start(&request(None)).await.unwrap();
    assert_eq!(*calls.0.lock().unwrap(), ["publish"], "its pages are not published yet");
    let publication = Publication::Published { at: NOW.parse().unwrap(), files_written: 1 };
    store.apply_run(run, &RunEvent::Publish { publication, plan_epoch: 1 }).await.unwrap();
    control.start(&request(None)).await.unwrap();
    assert_eq!(calls.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn again_continues_what_was_interrupted_and_repeats_what_has_ended() {
    let store = MemoryStore::default();
    let control = recording(&store, BookOf::Loaded(book()), Arc::new(Calls::default()));
    let again = StartRequest { again: true, ..request(None) };
    let first = control.start(&request(None)).await.unwrap().run();
    close(&store, first).await;
    let second = control.start(&again).await.unwrap().run();
    assert_ne!(second, first);
    assert_eq!(control.start(&again).await.unwrap().run(), second, "it is still open");
    close(&store, second).await;
    assert_ne!(control.start(&again).await.unwrap().run(), second);
}

#[tokio::test]
async fn a_run_that_ended_without_a_plan_is_run_by_the_same_command() {
    let store = MemoryStore::default();
    let control = recording(&store, BookOf::Loaded(book()), Arc::new(Calls::default()));
    let canceled = control.start(&request(None)).await.unwrap().run();
    control.cancel(&CancelRequest { run: canceled }).await.unwrap();
    assert_eq!(control.start(&request(None)).await.unwrap().run(), canceled, "it has not ended yet");
    close_without_plan(&store, canceled).await;
    assert_ne!(control.start(&request(None)).await.unwrap().run(), canceled);
}

#[test]
fn a_book_with_errors_of_its_portfolios_is_usable_and_one_without_portfolios_is_not() {
    let mut source = MemorySource::default();
    source.insert("portfolios.csv", "portfolio_id,name,equity\na,A,1000\n");
    source.insert("positions.csv", "portfolio_id,symbol,quantity,entry_price,entry_date\na,AAA,1O,10,2026-01-02\n");
    source.insert("prices.csv", "date,symbol,close\n2026-11-24,AAA,10\n");
    let reading = book::read(&source).unwrap();
    assert!(!reading.errors.is_empty());
    assert!(usable_book(reading, "the book", "nightbook check --book /srv/book").is_ok());
    let reading = book::read(&MemorySource::default()).unwrap();
    let refusal = usable_book(reading, "the book /srv/book", "nightbook check --book /srv/book").unwrap_err();
    let text = refusal.to_string();
    assert!(text.contains("`nightbook check --book /srv/book`") && text.contains("portfolios.csv"), "{text}");
}

#[tokio::test]
async fn a_run_has_a_limited_number_of_notes_and_the_same_note_once() {
    let (store, run) = State::Closed.store().await;
    let calls = Arc::new(Calls::default());
    let control = recording(&store, BookOf::Nowhere, Arc::<Calls>::clone(&calls));
    let note = |n: u128| AnnotateRequest {
        run,
        kind: NoteKind::Acknowledge,
        author: "Bo".to_owned(),
        text: String::new(),
        id: Some(uuid::Uuid::from_u128(n)),
    };
    for n in 0..MOST_NOTES as u128 {
        control.annotate(&note(n)).await.unwrap();
    }
    let full = control.annotate(&note(999)).await.unwrap_err();
    assert!(matches!(full, ControlError::Refused(Refusal::TooManyNotes { .. })), "{full:?}");
    control.annotate(&note(3)).await.unwrap();
    assert_eq!(store.notes(run).await.unwrap().len(), MOST_NOTES);
    assert_eq!(calls.0.lock().unwrap().len(), MOST_NOTES, "each new note is published, the same one is not");
}

#[test]
fn messages_advise_commands_that_can_be_pasted() {
    let run = domain::ids::RunId(uuid::Uuid::from_u128(7));
    let as_of = "2026-11-24".parse().unwrap();
    let door = Door::CommandLine { data: "/srv/data".to_owned(), book: Some("/srv/book".to_owned()) };
    let retired = Refusal::InputsRetired { run, as_of }.message(&door);
    assert!(retired.ends_with("nightbook run --book /srv/book --as-of 2026-11-24 --data /srv/data"), "{retired}");
    let open = Refusal::StillOpen { run }.message(&door);
    assert!(open.ends_with(&format!("nightbook cancel {run} --data /srv/data")), "{open}");
    let door = Door::CommandLine { data: "/srv/our data".to_owned(), book: Some("/srv/Bob's".to_owned()) };
    let retired = Refusal::InputsRetired { run, as_of }.message(&door);
    assert!(retired.ends_with(r"--book '/srv/Bob'\''s' --as-of 2026-11-24 --data '/srv/our data'"), "{retired}");
    let http = Refusal::Active { run }.message(&Door::Http);
    assert!(http.ends_with(&format!("POST /api/v1/batch/runs/{run}/cancel")), "{http}");
}
