//! Too few open files, or too little memory for threads: this is never reported as bad input, and always ends.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use e2e::{program, text, write_book};

/// The exit code of a command that may have so many files open, standard input and outputs included.
fn with_open_files(most: u32, arguments: &[&str]) -> Option<i32> {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]).arg(program().unwrap());
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr);
    // 1: the shortage came while the jobs ran, and the run is on record as failed. 127: the loader found no room for the
    // program itself.
    let failed = code == Some(1) && String::from_utf8_lossy(&output.stdout).contains("failed");
    let is_known = failed || matches!(code, Some(0 | 3 | 127));
    assert!(is_known, "{most} open files, {arguments:?}: {:?}: {said}", output.status);
    code
}

#[test]
fn too_few_open_files_are_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let mut codes = Vec::new();
    for most in 3..32 {
        codes.push(with_open_files(most, &["check", "--book", text(&book)]));
        let run = ["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24"];
        codes.push(with_open_files(most, &run));
    }
    assert!(codes.contains(&Some(3)) && codes.contains(&Some(0)), "the limits are all too low or too high: {codes:?}");
}

/// A shell that gives up on a command that hangs.
const ENDS: &str = "timeout --signal=KILL 60";

/// How a command ends that may have so much address space, in KB, and what it says.
fn with_memory(most: u32, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -c 0; ulimit -v {most} && exec {ENDS} \"$0\" \"$@\"")])
        .arg(program().unwrap());
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    // 127 and a signal: there was no room for the program itself, or an allocation failed, which ends it at once.
    let is_known =
        matches!(code, Some(0 | 3 | 126 | 127 | 134 | 139)) || matches!(output.status.signal(), Some(6 | 11));
    assert!(is_known, "{most} KB, {arguments:?}: {:?}: {said}", output.status);
    (code, said)
}

/// With less and less room a thread of the runtime cannot be started: the program says so and ends.
#[test]
fn too_little_room_for_threads_is_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("book");
    write_book(&book, 1).unwrap();
    let outcomes: Vec<(Option<i32>, String)> =
        (20_000..100_000).step_by(500).map(|most| with_memory(most, &["check", "--book", text(&book)])).collect();
    let told = |(code, said): &&(Option<i32>, String)| *code == Some(3) && said.contains("ulimit -a");
    assert!(outcomes.iter().filter(told).count() > 0, "no limit hit a thread: {outcomes:?}");
    assert!(outcomes.iter().any(|(code, _)| *code == Some(0)), "every limit is too low");
}
