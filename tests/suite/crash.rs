//! kill -9 in the middle, then the same command again.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{json, program, text, write_book};
use serde_json::Value;

/// A summary without what may differ between two runs: ids and times.
pub(crate) fn timeless(mut summary: Value) -> Value {
    let fields = summary.as_object_mut().unwrap();
    for key in ["batch_run_id", "started_at", "closed_at", "total_duration", "wall_seconds", "publication"] {
        fields.remove(key);
    }
    for line in fields["job_summary"].as_array_mut().unwrap() {
        for key in ["p50_seconds", "p95_seconds", "max_seconds"] {
            line.as_object_mut().unwrap().remove(key);
        }
    }
    summary
}

#[test]
fn a_killed_run_goes_on_and_every_record_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("book");
    write_book(&book, 150).unwrap();
    let run_in =
        |data: &str| json(&["run", "--book", text(&book), "--data", data, "--as-of", "2026-11-24", "--json"]).unwrap();
    let calm = dir.path().join("calm");
    let (undisturbed, _) = run_in(text(&calm));

    let data = dir.path().join("data");
    for kill in 0..6u64 {
        let mut child = Command::new(program().unwrap())
            .args(["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--json"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not a synchronisation: each kill is to come at another moment, whatever the program is doing then.
        let until = Instant::now() + Duration::from_millis(60 + kill * 90);
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        let _ = child.kill();
        child.wait().unwrap();
    }
    let (summary, _) = run_in(text(&data));
    assert_eq!(timeless(summary.clone()), timeless(undisturbed));
    let id = summary["batch_run_id"].as_str().unwrap();
    let exported = e2e::nightbook(&["export", id, "--data", text(&data)]).unwrap();
    assert_eq!(String::from_utf8_lossy(&exported.stdout).lines().count(), 150 * 9);
    let (doctor, code) = json(&["doctor", "--data", text(&data), "--json"]).unwrap();
    assert_eq!((doctor["problems"].as_array().unwrap().len(), code), (0, 0), "{doctor}");
}

#[test]
fn a_second_process_is_refused_with_a_clear_message() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    // This process holds the folder as another `run` would: without a control socket.
    let first = backends::local::LocalStore::open(&data).unwrap();
    let second = e2e::nightbook(&["run", "--book", text(&book), "--data", text(&data)]).unwrap();
    drop(first);
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by another nightbook process"), "{said}");
}
