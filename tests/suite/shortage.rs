//! Too few open files on the machine: this is never reported as bad input.

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
