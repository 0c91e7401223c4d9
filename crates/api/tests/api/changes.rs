//! Commands and notes.

use std::sync::{Arc, Mutex};

use api::{Accepted, Access, CommandError, Commands, StartAsked};
use async_trait::async_trait;
use domain::ids::RunId;
use serde_json::json;

use crate::night::{api, get, id, open, post, three};

/// Takes commands and does nothing.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) taken: Mutex<Vec<String>>,
    answer: Option<Accepted>,
}

impl Desk {
    pub(crate) fn good() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn take(&self, what: String, run: RunId) -> Result<Accepted, CommandError> {
        self.taken.lock().unwrap().push(what);
        Ok(self.answer.unwrap_or(Accepted::Begun(run)))
    }
}

#[async_trait]
impl Commands for Desk {
    async fn start(&self, asked: &StartAsked) -> Result<Accepted, CommandError> {
        if asked.trigger == "late" {
            return Err(CommandError::Active(id(7)));
        }
        if asked.as_of.is_some_and(|date| date.to_string() == "2026-11-08") {
            return Err(CommandError::Unusable("2026-11-08 is not a session".into()));
        }
        self.take(format!("start {:?} {:?} {} {}", asked.as_of, asked.portfolios, asked.trigger, asked.again), id(9))
    }
    async fn rerun(&self, run: RunId, failed_only: bool) -> Result<Accepted, CommandError> {
        self.take(format!("rerun {run} {failed_only}"), id(9))
    }
    async fn cancel(&self, run: RunId) -> Result<Accepted, CommandError> {
        self.take(format!("cancel {run}"), run)
    }
    async fn annotated(&self, run: RunId) {
        self.taken.lock().unwrap().push(format!("annotated {run}"));
    }
}

#[tokio::test]
async fn a_run_is_started_and_can_be_followed() {
    let (api, _) = api(&three(), Access::Loopback);
    let desk = Desk::good();
    let api = api.with_commands(Arc::<Desk>::clone(&desk));
    let answer =
        post(&api, "/api/v1/batch/runs", r#"{"as_of": "2026-11-05", "portfolio_ids": ["p1"], "again": true}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("started")));
    assert_eq!(answer.json()["poll_url"], format!("/api/v1/batch/runs/{}", id(9)));
    assert_eq!(answer.header("location"), format!("/api/v1/batch/runs/{}", id(9)));
    let rerun = post(&api, &format!("/api/v1/batch/runs/{}/rerun", id(1)), r#"{"failed": true}"#).await;
    assert_eq!((rerun.status.as_u16(), &rerun.json()["triggered_by"]), (202, &json!("rerun")));
    let taken = desk.taken.lock().unwrap().clone();
    assert_eq!(taken, ["start Some(2026-11-05) [\"p1\"] api true".to_owned(), format!("rerun {} true", id(1))]);
    post(&api, "/api/v1/batch/runs", r#"{"as_of": "2026-11-08"}"#).await.problem(422, "unprocessable");
    let active = post(&api, "/api/v1/batch/runs", r#"{"triggered_by": "late"}"#).await.problem(409, "run-active");
    assert_eq!(active["batch_run_id"], json!(id(7)), "another was quicker");
    let again = api.with_commands(Arc::new(Desk { answer: Some(Accepted::Finished(id(1))), ..Desk::default() }));
    let finished = post(&again, "/api/v1/batch/runs", "{}").await;
    assert_eq!((finished.status.as_u16(), &finished.json()["status"]), (200, &json!("finished")));
}

#[tokio::test]
async fn while_a_run_is_active_no_other_begins() {
    let store = three();
    open(&store, 3).await;
    let (api, _) = api(&store, Access::Loopback);
    let desk = Desk::good();
    let api = api.with_commands(Arc::<Desk>::clone(&desk));
    for path in ["/api/v1/batch/runs".to_owned(), format!("/api/v1/batch/runs/{}/rerun", id(1))] {
        let problem = post(&api, &path, "{}").await.problem(409, "run-active");
        assert_eq!(problem["batch_run_id"], json!(id(3)));
    }
    post(&api, &format!("/api/v1/batch/runs/{}/cancel", id(1)), "{}").await.problem(409, "run-ended");
    let unknown = "00000000-0000-0000-0000-000000000000";
    post(&api, &format!("/api/v1/batch/runs/{unknown}/cancel"), "{}").await.problem(404, "not-found");
    post(&api, &format!("/api/v1/batch/runs/{unknown}/rerun"), "{}").await.problem(404, "not-found");
    assert!(desk.taken.lock().unwrap().is_empty());
    let answer = post(&api, &format!("/api/v1/batch/runs/{}/cancel", id(3)), "{}").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("cancelling")));
}

#[tokio::test]
async fn a_server_without_commands_only_reads() {
    let (api, _) = api(&three(), Access::Loopback);
    post(&api, "/api/v1/batch/runs", "{}").await.problem(403, "reads-only");
    post(&api, &format!("/api/v1/batch/runs/{}/notes", id(1)), r#"{"kind": "acknowledge", "author": "Zoë"}"#)
        .await
        .problem(501, "no-notes");
}

#[tokio::test]
async fn notes_are_kept_once_and_in_order() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let desk = Desk::good();
    let api = api.with_notes(Arc::new(store)).with_commands(Arc::<Desk>::clone(&desk));
    let path = format!("/api/v1/batch/runs/{}/notes", id(1));
    let first = r#"{"kind": "acknowledge", "author": "  Zoë ", "id": "11111111-1111-4111-8111-111111111111"}"#;
    let added = post(&api, &path, first).await;
    assert_eq!((added.status.as_u16(), &added.json()["author"]), (201, &json!("Zoë")));
    assert_eq!(added.json()["at"], "2026-11-05T23:30:31Z");
    assert_eq!(post(&api, &path, first).await.json(), added.json(), "the same note sent again");
    let second = r#"{"kind": "annotate", "author": "Bo", "text": "two\nlines <b>, key api_key=C4nary4242"}"#;
    assert_eq!(post(&api, &path, second).await.status, 201);
    let notes = get(&api, &path).await.json();
    assert_eq!((notes["notes"].as_array().unwrap().len(), &notes["acknowledged_by"]), (2, &json!("Zoë")));
    assert!(!notes.to_string().contains("C4nary"), "a secret is kept: {notes}");
    assert_eq!(desk.taken.lock().unwrap().len(), 3, "the page is written anew");
    for body in [
        r#"{"kind": "annotate", "author": "Bo"}"#,
        r#"{"kind": "praise", "author": "Bo"}"#,
        r#"{"kind": "annotate", "author": "", "text": "x"}"#,
        r#"{"kind": "annotate", "author": "Bo", "text": "x\u001b[31m"}"#,
        r#"{"author": "Bo"}"#,
    ] {
        post(&api, &path, body).await.problem(422, "unprocessable");
    }
    let long = format!(r#"{{"kind": "annotate", "author": "Bo", "text": "{}"}}"#, "x".repeat(1_001));
    post(&api, &path, &long).await.problem(422, "unprocessable");
    let unknown = "/api/v1/batch/runs/00000000-0000-0000-0000-000000000000/notes";
    post(&api, unknown, first).await.problem(404, "not-found");
    get(&api, unknown).await.problem(404, "not-found");
}
