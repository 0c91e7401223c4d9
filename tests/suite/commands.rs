//! Commands and their contracts: JSON, exit codes, totals, reruns.

use e2e::{json, nightbook, text, write_book};
use serde_json::Value;

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

fn totals_add_up(summary: &Value) {
    let parts = ["successful_jobs", "failed_jobs", "skipped_jobs", "missing_jobs"].map(|key| number(summary, key));
    assert_eq!(parts.iter().sum::<u64>(), number(summary, "total_jobs"), "{summary}");
    let jobs = summary["job_summary"].as_array().unwrap();
    assert_eq!(number(summary, "total_jobs"), number(summary, "portfolios_expected") * jobs.len() as u64);
    for line in jobs {
        let parts = ["success", "failed", "skipped", "missing"].map(|key| number(line, key));
        assert_eq!(parts.iter().sum::<u64>(), number(line, "portfolios"));
    }
}

/// The document of a portfolio without ids and times.
fn results(data: &str, run: &str, portfolio: &str) -> Value {
    let (document, code) = json(&["show", run, "--portfolio", portfolio, "--data", data, "--json"]).unwrap();
    assert_eq!(code, 0);
    document["results"].clone()
}

#[test]
fn a_run_is_recorded_shown_repeated_and_rerun() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 3).unwrap();
    let (book, data) = (text(&book), text(&data));
    let run = ["run", "--book", book, "--data", data, "--as-of", "2026-11-24", "--json"];
    let (first, code) = json(&run).unwrap();
    assert_eq!((first["status"].as_str(), code), (Some("success"), 0), "{first}");
    totals_add_up(&first);
    assert_eq!(number(&first, "total_jobs"), 27);

    let (again, _) = json(&run).unwrap();
    assert_eq!(again["batch_run_id"], first["batch_run_id"], "the same again shows what is finished");
    assert_eq!(again["closed_at"], first["closed_at"]);
    let mut once_more = run.to_vec();
    once_more.push("--again");
    let (second, _) = json(&once_more).unwrap();
    assert_ne!(second["batch_run_id"], first["batch_run_id"]);

    let id = first["batch_run_id"].as_str().unwrap();
    let (rerun, code) = json(&["rerun", id, "--data", data, "--json"]).unwrap();
    assert_eq!((rerun["rerun_of"].as_str(), code), (Some(id), 0));
    let rerun_id = rerun["batch_run_id"].as_str().unwrap();
    assert_eq!(results(data, id, "p001"), results(data, rerun_id, "p001"), "the same snapshot, the same results");

    let (history, _) = json(&["history", "--data", data, "--json"]).unwrap();
    assert_eq!(history["runs"].as_array().unwrap().len(), 3);
    history["runs"].as_array().unwrap().iter().for_each(totals_add_up);
    let (last, _) = json(&["last", "factor_analysis", "--portfolio", "p002", "--data", data, "--json"]).unwrap();
    assert_eq!(last["last_success"]["batch_run_id"], rerun["batch_run_id"]);
    let (doctor, code) = json(&["doctor", "--data", data, "--json"]).unwrap();
    assert_eq!((doctor["problems"].as_array().unwrap().len(), code), (0, 0), "{doctor}");
    for page in
        ["index.html", "status.json", "feed.xml", "badge.svg", "portfolios/p001/index.html", "history/2026-11.html"]
    {
        assert!(dir.path().join("data/site").join(page).is_file(), "{page} is missing");
    }
}

#[test]
fn a_bad_row_fails_its_portfolio_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 3).unwrap();
    let positions = book.join("positions.csv");
    let mut rows = std::fs::read_to_string(&positions).unwrap();
    rows.push_str("p001,S1,1O0,50,2025-01-02\n");
    std::fs::write(&positions, rows).unwrap();

    let (check, code) = json(&["check", "--book", text(&book), "--json"]).unwrap();
    assert_eq!(code, 2);
    assert_eq!(check["errors"][0]["file"], "positions.csv");
    assert_eq!(check["errors"][0]["column"], "quantity");

    let (summary, code) =
        json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--json"]).unwrap();
    assert_eq!((summary["status"].as_str(), code), (Some("partial"), 1));
    totals_add_up(&summary);
    assert_eq!((number(&summary, "failed_jobs"), number(&summary, "skipped_jobs")), (1, 8));
    assert_eq!(summary["failures"].as_array().unwrap().len(), 1);
    assert_eq!(summary["failures"][0]["portfolios"], serde_json::json!(["p001"]));
}

#[test]
fn what_cannot_be_run_says_so_with_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    assert_eq!(nightbook(&["run", "--book", text(&book), "--data", text(&data)]).unwrap().status.code(), Some(2));
    write_book(&book, 1).unwrap();
    let run = |date| json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", date, "--json"]).unwrap();
    let (closed, code) = run("2026-11-26");
    assert_eq!((closed["run"].clone(), closed["next_session"].as_str(), code), (Value::Null, Some("2026-11-27"), 0));
    let missing = nightbook(&["history", "--data", text(&dir.path().join("nothing"))]).unwrap();
    assert_eq!(missing.status.code(), Some(3), "{}", String::from_utf8_lossy(&missing.stderr));
    std::fs::write(book.join("nightbook.toml"), "[run]\nretrys = 3\n").unwrap();
    let bad = nightbook(&["run", "--book", text(&book), "--data", text(&data)]).unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("retrys"));
}

#[test]
fn a_date_that_is_not_over_is_refused_and_leaves_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let (book, data) = (text(&book), text(&data));
    for dates in [vec!["--as-of", "2999-12-31"], vec!["--from", "2026-11-20", "--to", "2999-12-31"]] {
        let refused = nightbook(&[vec!["run", "--book", book, "--data", data], dates.clone()].concat()).unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{dates:?}: {said}");
        assert!(said.contains("the last allowed date is ") && said.contains(&format!("--data {data}")), "{said}");
    }
    assert!(!dir.path().join("data").exists(), "a refused date makes no folder");
}

#[test]
fn a_publication_that_failed_is_an_error_and_the_same_run_publishes_again() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let (book, data) = (text(&book), text(&data));
    let run = ["run", "--book", book, "--data", data, "--as-of", "2026-11-24"];
    // A file stands where the folder of the pages of runs belongs.
    let runs = dir.path().join("data/site/runs");
    std::fs::create_dir_all(dir.path().join("data/site")).unwrap();
    std::fs::write(&runs, "").unwrap();
    let failed = nightbook(&run).unwrap();
    let (out, said) = (String::from_utf8_lossy(&failed.stdout), String::from_utf8_lossy(&failed.stderr));
    assert_eq!(failed.status.code(), Some(3), "{out}{said}");
    assert!(!out.contains("Site:"), "{out}");
    assert!(said.contains("the site was not published") && said.contains(&format!("--data {data}")), "{said}");
    let publish = ["publish", "--data", data];
    for command in [&run[..], &publish[..], &["publish", "--rebuild", "--data", data]] {
        assert_eq!(nightbook(command).unwrap().status.code(), Some(3), "{command:?}");
    }
    std::fs::remove_file(&runs).unwrap();
    let again = nightbook(&run).unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(dir.path().join("data/site/index.html").is_file() && runs.is_dir());
    assert_eq!(nightbook(&publish).unwrap().status.code(), Some(0));
}

#[test]
fn a_rerun_without_its_pinned_inputs_is_refused_and_leaves_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 1).unwrap();
    let (book, data) = (text(&book), text(&data));
    let (first, _) = json(&["run", "--book", book, "--data", data, "--as-of", "2026-11-24", "--json"]).unwrap();
    let id = first["batch_run_id"].as_str().unwrap();
    std::fs::remove_dir_all(dir.path().join("data/snapshots")).unwrap();
    for command in [vec!["rerun", id, "--data", data], vec!["rerun", id, "--failed", "--data", data]] {
        let refused = nightbook(&command).unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("nightbook run --book {book} --as-of 2026-11-24 --data {data}")), "{said}");
    }
    let (history, _) = json(&["history", "--data", data, "--json"]).unwrap();
    assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{history}");
}
