//! Names that nothing on record has: exit 2, with what was probably meant, on every command that takes one.

use e2e::{json, nightbook, text, write_book};

#[test]
fn an_unknown_name_is_bad_input_with_a_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 2).unwrap();
    let (book, data) = (text(&book), text(&data));
    let (night, _) = json(&["run", "--book", book, "--data", data, "--as-of", "2026-11-24", "--json"]).unwrap();
    let run = night["batch_run_id"].as_str().unwrap();
    for (arguments, says) in [
        (&["last", "factor_analysi"][..], "did you mean factor_analysis?"),
        (&["last", "factor_analysi", "--json"], "did you mean factor_analysis?"),
        (&["last", "factor_analysis", "--portfolio", "p01"], "did you mean p001"),
        (&["show", run, "--job", "factor_analysi"], "did you mean factor_analysis?"),
        (&["show", run, "--portfolio", "p01"], "did you mean p001"),
        (&["show", run, "--job-type", "valuations"], "did you mean valuation?"),
        (&["history", "--month", "26-11"], "as in 2026-11"),
        (&["history", "--status", "sucess"], "did you mean success?"),
    ] {
        let output = nightbook(&[arguments, &["--data", data]].concat()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?} printed an answer");
    }
}

#[test]
fn a_known_job_that_never_succeeded_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let settings = book.join("nightbook.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, before + "jobs = [\"market_data_update\"]\n").unwrap();
    let (book, data) = (text(&book), text(&data));
    json(&["run", "--book", book, "--data", data, "--as-of", "2026-11-24", "--json"]).unwrap();
    let output = nightbook(&["last", "stress_testing", "--data", data]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.trim()), (Some(0), "stress_testing has never succeeded."));
}
