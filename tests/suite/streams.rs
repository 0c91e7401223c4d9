//! What a command does when nobody reads what it prints, and when it cannot be written.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use e2e::{json, nightbook, program, say, text, write_book};

/// Runs a command whose output goes into a pipe that nobody reads.
fn into_a_closed_pipe(arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(program().unwrap());
    command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// Whether the system has the device that is always full; says why nothing is tested where it has not.
fn has_full_disk() -> bool {
    let found = Path::new("/dev/full").exists();
    if !found {
        say("not tested: this system has no /dev/full");
    }
    found
}

/// Runs a command with standard output on a full disk.
fn onto_a_full_disk(arguments: &[&str]) -> Output {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(program().unwrap());
    command.args(arguments).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// Commands that print something about a run, without `--data`.
fn commands(run: &str) -> Vec<Vec<String>> {
    let lines = [
        "history",
        "history --json",
        "show RUN",
        "show RUN --json",
        "show RUN --portfolio p000 --json",
        "last factor_analysis",
        "last factor_analysis --json",
        "failures",
        "failures --json",
        "export RUN --format jsonl",
        "export RUN --format csv",
        "export RUN --format openlineage",
        "alert list",
        "alert list --json",
        "publish",
        "publish --json",
        "doctor",
        "doctor --json",
    ];
    lines.map(|line| line.split(' ').map(|word| word.replace("RUN", run)).collect()).to_vec()
}

#[test]
fn a_closed_pipe_changes_no_exit_code_and_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 2).unwrap();
    let (book, data) = (text(&book), text(&data));
    let run = ["run", "--book", book, "--data", data, "--as-of", "2026-11-24", "--json"];
    let started = into_a_closed_pipe(&run);
    assert_eq!(started.status.code(), Some(0), "{}", String::from_utf8_lossy(&started.stderr));
    let (shown, _) = json(&run).unwrap();
    let id = shown["batch_run_id"].as_str().unwrap().to_owned();

    let with_data = |mut words: Vec<String>| {
        words.extend(["--data".to_owned(), data.to_owned()]);
        words
    };
    let mut all: Vec<Vec<String>> = commands(&id).into_iter().map(with_data).collect();
    for words in [
        &["check", "--book", book][..],
        &["check", "--book", book, "--json"],
        &["completions", "bash"],
        &["--help"],
        &["show", "--help"],
    ] {
        all.push(words.iter().map(|word| (*word).to_owned()).collect());
    }
    for words in all {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let read = nightbook(&words).unwrap();
        let unread = into_a_closed_pipe(&words);
        let said = String::from_utf8_lossy(&unread.stderr);
        assert_eq!(unread.status.code(), read.status.code(), "{words:?}: {said}");
        assert_eq!(said, String::from_utf8_lossy(&read.stderr), "{words:?}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_no_success() {
    if !has_full_disk() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let data = text(&data);
    let (shown, code) =
        json(&["run", "--book", text(&book), "--data", data, "--as-of", "2026-11-24", "--json"]).unwrap();
    assert_eq!(code, 0, "{shown}");
    let id = shown["batch_run_id"].as_str().unwrap();
    for words in commands(id) {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.extend(["--data", data]);
        let lost = onto_a_full_disk(&words);
        let said = String::from_utf8_lossy(&lost.stderr);
        assert_eq!(lost.status.code(), Some(3), "{words:?}: {said}");
        assert!(said.contains("standard output"), "{words:?}: {said}");
    }
}
