//! `nightbook serve` after a sleep of the machine: slots that passed are run late or recorded as missed, once.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backends::system::SystemClock;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::ports::Clock as _;
use e2e::{json, program, text, write_book};
use serde_json::Value;

/// Slots that passed since the store was made, by the default schedule, with their grace.
fn passed(since: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let schedule = book::ScheduleSettings::default();
    let mut slots = Vec::new();
    let mut after = since;
    while let Some(slot) =
        book::next_due_slot(&schedule, after).filter(|slot| *slot + TimeDelta::hours(1) < SystemClock.now())
    {
        slots.push(slot);
        after = slot;
    }
    slots
}

/// A book, and a store that was made eight days ago and has one old run by hand.
fn slept(dir: &Path, settings: &str) -> DateTime<Utc> {
    let (book, data) = (dir.join("book"), dir.join("data"));
    write_book(&book, 2).unwrap();
    let file = book.join("nightbook.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{written}\n{settings}")).unwrap();
    json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-03", "--json"]).unwrap();
    let created = (SystemClock.now() - TimeDelta::days(8)).trunc_subsecs(0);
    let store = rusqlite::Connection::open(data.join("records.sqlite")).unwrap();
    let changed = store
        .execute(
            "UPDATE meta SET value = ?1 WHERE name = 'created_at'",
            [created.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()],
        )
        .unwrap();
    assert_eq!(changed, 1);
    created
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(dir: &Path, log: &str) -> Serving {
    let mut child = Command::new(program().unwrap())
        .args([
            "serve",
            "--book",
            text(&dir.join("book")),
            "--data",
            text(&dir.join("data")),
            "--listen",
            "127.0.0.1:0",
        ])
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(dir.join(log)).unwrap())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("http://127.0.0.1:"), "{first}");
    Serving(child)
}

/// The runs of these slots, newest slot first, once each has one that has ended. Tonight's slot may have one beside them:
/// while it is in its grace it is run, whatever becomes of those that passed.
fn runs_of(dir: &Path, slots: &[DateTime<Utc>]) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(60);
    let slot_of = |run: &Value| run["scheduled_for"].as_str().and_then(|slot| slot.parse::<DateTime<Utc>>().ok());
    loop {
        let (history, _) = json(&["history", "--limit", "100", "--data", text(&dir.join("data")), "--json"]).unwrap();
        let runs: Vec<Value> = history["runs"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|run| run["trigger"] == "schedule" && run["status"] != "running")
            .filter(|run| slot_of(run).is_some_and(|slot| slots.contains(&slot)))
            .cloned()
            .collect();
        if runs.len() >= slots.len() {
            return runs;
        }
        assert!(Instant::now() < until, "{} of {} runs after a minute", runs.len(), slots.len());
    }
}

fn told(dir: &Path, log: &str, event: &str) -> usize {
    let log = std::fs::read_to_string(dir.join(log)).unwrap();
    log.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count()
}

#[test]
fn slots_that_passed_are_recorded_as_missed_once() {
    let dir = tempfile::tempdir().unwrap();
    let slots = passed(slept(dir.path(), "[schedule]\ncatch_up = false\n"));
    assert!(slots.len() >= 4, "{slots:?}");
    let serving = serve(dir.path(), "first.log");
    let first = runs_of(dir.path(), &slots);
    // The newest may still be in its grace, and then is run.
    let missed: Vec<&Value> = first.iter().filter(|run| run["status"] == "missed").collect();
    assert!(missed.len() >= slots.len() - 1);
    let until = Instant::now() + Duration::from_secs(60);
    while told(dir.path(), "first.log", "slot.missed") < missed.len() {
        assert!(Instant::now() < until, "a missed slot is on record and not in the log");
    }
    drop(serving);
    for run in &missed {
        assert_eq!((&run["total_jobs"], &run["portfolios_expected"]), (&0.into(), &0.into()), "{run}");
    }
    assert_eq!(told(dir.path(), "first.log", "slot.missed"), missed.len());

    let again = serve(dir.path(), "second.log");
    let second = runs_of(dir.path(), &slots);
    drop(again);
    assert_eq!(told(dir.path(), "second.log", "slot.missed"), 0, "once");
    let started = |runs: &[Value]| runs.iter().map(|run| run["started_at"].clone()).collect::<Vec<_>>();
    assert_eq!(started(&second), started(&first));
    let (missed_only, _) =
        json(&["history", "--status", "missed", "--limit", "100", "--data", text(&dir.path().join("data")), "--json"])
            .unwrap();
    assert_eq!(missed_only["runs"].as_array().unwrap().len(), missed.len());
    let (id, data) = (missed_only["runs"][0]["batch_run_id"].as_str().unwrap(), dir.path().join("data"));
    let book = dir.path().join("book");
    let late = format!("nightbook run --book {} --as-of", text(&book));
    for (command, exit, advice) in
        [("show", 0, "nightbook run --book DIR --as-of"), ("rerun", 2, late.as_str()), ("cancel", 2, late.as_str())]
    {
        let told = Command::new(program().unwrap()).args([command, id, "--data", text(&data)]).output().unwrap();
        let said = [told.stdout, told.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(told.status.code(), Some(exit), "{command}: {said}");
        assert!(said.contains(advice), "{command}: {said}");
    }
    let (doctor, code) = json(&["doctor", "--data", text(&data), "--json"]).unwrap();
    assert_eq!((doctor["problems"].as_array().unwrap().len(), code), (0, 0), "{doctor}");
}

#[test]
fn slots_that_passed_are_run_late_the_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let slots = passed(slept(dir.path(), "[schedule]\ncatch_up = true\n"));
    let _serving = serve(dir.path(), "serve.log");
    let until = Instant::now() + Duration::from_secs(60);
    let runs = loop {
        let runs = runs_of(dir.path(), &slots);
        if runs.iter().all(|run| run["status"] != "missed") {
            break runs;
        }
        assert!(Instant::now() < until, "not all are run: {runs:?}");
    };
    // Newest slot first in the list: that one began first, and the others one after the other from the oldest on.
    let started: Vec<&str> = runs.iter().map(|run| run["started_at"].as_str().unwrap()).collect();
    let (newest, others) = started.split_first().unwrap();
    assert!(others.iter().all(|other| newest <= other), "{started:?}");
    assert!(others.is_sorted_by(|newer, older| newer >= older), "{started:?}");
    assert_eq!(told(dir.path(), "serve.log", "slot.late"), slots.len());
    // Those that wait for the newest are missed until they are run; tonight's slot may come before all of them.
    let missed = told(dir.path(), "serve.log", "slot.missed");
    assert!(missed + 1 == slots.len() || missed == slots.len(), "{missed} of {}", slots.len());
}
