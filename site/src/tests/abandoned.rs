//! A run that has not started: what the site says of it, and what it leaves as it was.

use domain::job::RUN_LEVEL_JOB;
use domain::run::{AbandonReason, Abandoned};

use super::*;

const CAUSE: &str = "positions.csv:39: quantity is not a number";

/// A run whose inputs could not be read.
fn abandoned(n: u128, day: u32) -> Entry {
    let mut entry = entry(n, day, &[]);
    let job = JobName::new(RUN_LEVEL_JOB).unwrap();
    let error = JobError::new(ErrorCategory::Permanent, CAUSE).recorded(&job, &[]);
    entry.run.plan = None;
    entry.run.abandoned = Some(Abandoned { at: entry.run.started_at, reason: AbandonReason::Inputs { error } });
    entry.planned.clear();
    entry.summary = Some(summarise(&entry.run, &[], &BTreeMap::new()));
    entry
}

#[test]
fn a_run_that_has_not_started_has_a_page_that_says_why_and_what_to_do() {
    for redacted in [false, true] {
        let mut entries = nights();
        entries.push(abandoned(21, 25));
        let files = rebuilt(entries, redacted);
        assert_eq!(dead_links(&files), Vec::<String>::new());
        for path in ["index.html".to_owned(), format!("runs/{}/index.html", run_id(21))] {
            let page = &files[&path];
            let command = if redacted { "--book BOOK --data DATA" } else { "--book /srv/book --data /srv/data" };
            assert!(page.contains(&format!("nightbook run {command} --as-of 2026-11-25")), "{path}: {page}");
            assert!(!page.contains(&format!("nightbook rerun {}", run_id(21))), "{path}: there is nothing to repeat");
            assert_eq!(page.contains(CAUSE), !redacted, "{path}");
        }
        let index = &files["index.html"];
        assert!(index.contains("<body data-verdict=\"failed\""), "{index}");
        assert!(index.contains("No portfolio was processed."), "{index}");
        let last_night = sample::entry(20, 24, &[Good]).items[0].key.portfolio.clone();
        assert!(redacted || files["index.html"].contains(last_night.as_str()), "the grid of the last night stays");
        assert!(files.iter().all(|(_, text)| !redacted || !text.contains(CAUSE)));
        let summary: serde_json::Value =
            serde_json::from_str(&files[&format!("runs/{}/summary.json", run_id(21))]).unwrap();
        let schema = serde_json::from_str(&files["schemas/summary.v1.json"]).unwrap();
        let wrong: Vec<String> =
            jsonschema::validator_for(&schema).unwrap().iter_errors(&summary).map(|error| error.to_string()).collect();
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(summary["abandoned"]["reason"], "inputs");
        let status: serde_json::Value = serde_json::from_str(&files["status.json"]).unwrap();
        assert!(status["verdict"].as_str().unwrap().starts_with("No portfolio was processed."), "{status}");
        assert_eq!((&status["status"], &status["night"]["verdict"]), (&"failed".into(), &"failed".into()));
    }
}

#[test]
fn a_run_that_has_not_started_is_the_night_of_its_slot() {
    let view = index_of(vec![entry(1, 23, &[Good, Fails]), abandoned(2, 24)]);
    let night = view.night.unwrap();
    assert_eq!((night.verdict, night.as_of.as_str()), ("failed", "2026-11-24"));
    assert_eq!(night.command.as_deref(), Some("nightbook run --book /srv/book --data /srv/data --as-of 2026-11-24"));
    assert_eq!(view.due.map(|stamp| stamp.machine), Some(views::Stamp::of(slot(25)).machine));
    let mut cause = abandoned(2, 24);
    cause.run.abandoned = Some(Abandoned { at: cause.run.started_at, reason: AbandonReason::Canceled });
    cause.summary = Some(summarise(&cause.run, &[], &BTreeMap::new()));
    let view = index_of(vec![entry(1, 23, &[Good]), cause]);
    let night = view.night.unwrap();
    assert_eq!(night.cause.as_deref(), Some("The run was canceled before it started."));
}
