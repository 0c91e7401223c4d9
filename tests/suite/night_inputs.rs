//! The inputs of a date: what a night can see decides whether it has to run.

use std::path::PathBuf;

use e2e::{json, nightbook, text, write_book};
use serde_json::{Value, json};

/// A book and a data folder.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        write_book(&place.book(), 2).unwrap();
        place
    }

    fn book(&self) -> PathBuf {
        self.dir.path().join("book")
    }

    fn data(&self) -> String {
        text(&self.dir.path().join("data")).to_owned()
    }

    /// Changes a file of the book.
    fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let path = self.book().join(file);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, change(&before)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (Value, i32) {
        let (book, data) = (self.book(), self.data());
        json(&[&["run", "--book", text(&book), "--data", &data, "--json"], arguments].concat()).unwrap()
    }

    fn span(&self, from: &str, to: &str) -> Value {
        let (said, code) = self.run(&["--from", from, "--to", to]);
        assert_eq!(code, 0, "{said}");
        said
    }

    fn runs(&self) -> usize {
        let (history, _) = json(&["history", "--limit", "100", "--data", &self.data(), "--json"]).unwrap();
        history["runs"].as_array().unwrap().len()
    }
}

fn dates(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["as_of"].as_str().unwrap()).collect()
}

/// The rows up to a date.
fn until(prices: &str, date: &str) -> String {
    let rows = prices.lines().filter(|line| line.starts_with("date") || line.split(',').next().unwrap() <= date);
    rows.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_backfill_runs_only_the_nights_without_a_run_on_the_same_inputs() {
    let place = Place::new();
    let whole = std::fs::read_to_string(place.book().join("prices.csv")).unwrap();
    place.edit("prices.csv", |prices| until(prices, "2026-11-19"));
    assert_eq!(dates(&place.span("2026-11-17", "2026-11-19")["runs"]), ["2026-11-17", "2026-11-18", "2026-11-19"]);
    // One day of closes is appended.
    place.edit("prices.csv", |_| until(&whole, "2026-11-20"));
    let (plan, code) = place.run(&["--from", "2026-11-17", "--to", "2026-11-20", "--plan"]);
    let actions: Vec<&str> =
        plan["plan"].as_array().unwrap().iter().map(|night| night["action"].as_str().unwrap()).collect();
    assert_eq!((actions, code), (vec!["leave_out", "leave_out", "leave_out", "run"], 0), "{plan}");
    assert_eq!(place.runs(), 3, "a plan runs nothing");

    let said = place.span("2026-11-17", "2026-11-20");
    assert_eq!(dates(&said["runs"]), ["2026-11-20"], "{said}");
    assert_eq!(dates(&said["left_out"]), ["2026-11-17", "2026-11-18", "2026-11-19"]);
    let again = place.span("2026-11-17", "2026-11-20");
    assert_eq!((dates(&again["runs"]).len(), dates(&again["left_out"]).len(), place.runs()), (0, 4, 4));
    let (forced, _) = place.run(&["--from", "2026-11-17", "--to", "2026-11-18", "--again"]);
    assert_eq!((dates(&forced["runs"]).len(), place.runs()), (2, 6));
}

#[test]
fn a_plan_needs_no_data_folder_and_makes_none() {
    let place = Place::new();
    let book = place.book();
    let said = nightbook(&[
        "run",
        "--book",
        text(&book),
        "--data",
        &place.data(),
        "--from",
        "2026-11-23",
        "--to",
        "2026-11-24",
        "--plan",
    ]);
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    assert_eq!(
        said,
        "2026-11-23  run all portfolios: no run yet; 2 portfolios have no equity of the date: that of portfolios.csv counts\n2026-11-24  run all portfolios: no run yet\n2 of 2 nights to run. Nothing was run.\n"
    );
    assert!(!place.dir.path().join("data").exists());
}

#[test]
fn what_changes_no_result_leads_to_no_run() {
    let place = Place::new();
    let (first, code) = place.run(&["--as-of", "2026-11-24"]);
    assert_eq!(code, 0);
    let reversed = |rows: &str| {
        let (header, rows) = rows.split_once('\n').unwrap();
        let rows: Vec<&str> = rows.lines().rev().collect();
        format!("{header}\n{}\n", rows.join("\n"))
    };
    place.edit("positions.csv", reversed);
    place.edit("portfolios.csv", reversed);
    place.edit("nightbook.toml", |settings| {
        format!("{settings}\n[site]\ntitle = \"Other\"\n[retention]\nresults_days = 9\n")
    });
    place.edit("prices.csv", |prices| format!("{}2026-11-25,S0,61\n", reversed(prices)));
    let (second, _) = place.run(&["--as-of", "2026-11-24"]);
    assert_eq!(second["batch_run_id"], first["batch_run_id"], "the same inputs");
    let (filtered, _) = place.run(&["--as-of", "2026-11-24", "--portfolio", "p001"]);
    assert_eq!(filtered["batch_run_id"], first["batch_run_id"], "the full run had the same inputs of p001");
    place.edit("nightbook.toml", |settings| format!("{settings}\n[snapshot]\nrisk_window = 200\n"));
    let (third, _) = place.run(&["--as-of", "2026-11-24"]);
    assert_ne!(third["batch_run_id"], first["batch_run_id"], "a window changes results");
    assert_eq!(place.runs(), 2);
}

#[test]
fn a_corrected_close_runs_the_nights_and_portfolios_that_it_reaches() {
    let place = Place::new();
    place.edit("portfolios.csv", |list| format!("{list}q,Q,1000\n"));
    place.edit("positions.csv", |rows| format!("{rows}q,XX,5,50,2025-01-02\n"));
    place.edit("prices.csv", |prices| {
        let closes = [("16", 48), ("17", 49), ("18", 50), ("19", 51), ("20", 52), ("23", 53), ("24", 54)];
        closes.iter().fold(prices.to_owned(), |rows, (day, close)| format!("{rows}2026-11-{day},XX,{close}\n"))
    });
    place.edit("nightbook.toml", |settings| {
        let windows = "[snapshot]\nrisk_window = 3\n[factor_analysis]\nwindow = 3\nmin_observations = 3\n[correlations]\nwindow = 3\nmin_overlap = 3\n";
        format!("{settings}\n{windows}").replace("[run]\n", "[run]\nprice_max_age_sessions = 1\n")
    });
    place.span("2026-11-17", "2026-11-24");
    place.edit("prices.csv", |prices| prices.replace("2026-11-18,XX,50", "2026-11-18,XX,50.5"));
    // A window of three returns holds four closes: that of 2026-11-18 is in those of four nights.
    let said = place.span("2026-11-17", "2026-11-24");
    assert_eq!(dates(&said["runs"]), ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-23"], "{said}");
    assert_eq!(dates(&said["left_out"]), ["2026-11-17", "2026-11-24"]);
    for run in said["runs"].as_array().unwrap() {
        assert_eq!(run["portfolios_expected"], json!(1), "only q: {run}");
    }
    let again = place.span("2026-11-17", "2026-11-24");
    assert_eq!(dates(&again["left_out"]).len(), 6, "{again}");
    // The correction was wrong: the night returns to what it was, by a run.
    place.edit("prices.csv", |prices| prices.replace("2026-11-18,XX,50.5", "2026-11-18,XX,50"));
    let back = place.span("2026-11-20", "2026-11-24");
    assert_eq!(dates(&back["runs"]), ["2026-11-20", "2026-11-23"], "{back}");
}

#[test]
fn a_closed_portfolio_is_not_run_and_not_absent() {
    let place = Place::new();
    place.edit("portfolios.csv", |_| {
        "portfolio_id,name,equity,closed_on\np000,A,1000000,\np001,B,,2026-11-24\n".to_owned()
    });
    let (before, _) = place.run(&["--as-of", "2026-11-23", "--portfolio", "p001"]);
    assert_eq!(before["portfolios_expected"], json!(1), "it is open on the day before: {before}");
    let (run, code) = place.run(&["--as-of", "2026-11-24"]);
    assert_eq!((run["portfolios_expected"].as_u64(), run["status"].as_str(), code), (Some(1), Some("success"), 0));
    let book = place.book();
    let refused = nightbook(&[
        "run",
        "--book",
        text(&book),
        "--data",
        &place.data(),
        "--as-of",
        "2026-11-24",
        "--portfolio",
        "p001",
    ]);
    let refused = refused.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("p001 is closed from 2026-11-24 on"), "{said}");
    let (check, code) = json(&["check", "--book", text(&book), "--json"]).unwrap();
    assert_eq!((check["errors"].as_array().unwrap().len(), code), (0, 0), "its rows are no orphans: {check}");
}

#[test]
fn a_rerun_of_a_cause_takes_its_portfolios_that_have_not_succeeded_since() {
    let place = Place::new();
    place.edit("positions.csv", |rows| format!("{rows}p001,S1,1O0,50,2025-01-02\n"));
    let (failed, code) = place.run(&["--as-of", "2026-11-24"]);
    assert_eq!(code, 1);
    let (id, data) = (failed["batch_run_id"].as_str().unwrap(), place.data());
    let cause = failed["failures"][0]["fingerprint"].as_str().unwrap();
    let rerun = |cause: &str| ["rerun", id, "--cause", cause, "--data", &data, "--json"].map(str::to_owned);
    let run = |cause: &str| nightbook(&rerun(cause).each_ref().map(String::as_str)).unwrap();
    let again = run(cause);
    let summary: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((summary["portfolios_expected"].as_u64(), again.status.code()), (Some(1), Some(1)), "{summary}");
    let unknown = run("0123456789abcdef");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        unknown.status.code() == Some(2) && said.contains("no portfolio with the cause 0123456789abcdef"),
        "{said}"
    );
    // Once the portfolio has succeeded on a corrected book, its old inputs must not decide the night again.
    place.edit("positions.csv", |rows| rows.replace("1O0", "100"));
    assert_eq!(place.run(&["--as-of", "2026-11-24", "--portfolio", "p001"]).1, 0);
    let runs = place.runs();
    let nothing = run(cause);
    assert_eq!((nothing.status.code(), place.runs()), (Some(0), runs), "there is nothing to run again");
}

/// A run that answers may be of all portfolios; the exit code is about those that were asked for.
#[test]
fn the_exit_code_is_about_the_portfolios_that_were_asked_for() {
    let place = Place::new();
    place.edit("positions.csv", |rows| format!("{rows}p001,S1,many,50,2025-01-02\n"));
    let (whole, code) = place.run(&["--as-of", "2026-11-24"]);
    assert_eq!((&whole["status"], code), (&json!("partial"), 1));
    for (portfolio, expected) in [("p000", 0), ("p001", 1)] {
        let (found, code) = place.run(&["--as-of", "2026-11-24", "--portfolio", portfolio]);
        assert_eq!((&found["batch_run_id"], code), (&whole["batch_run_id"], expected), "{portfolio}");
    }
    let (_, code) = place.run(&["--as-of", "2026-11-24", "--portfolio", "p000", "--portfolio", "p001"]);
    assert_eq!(code, 1);
    assert_eq!(place.runs(), 1);
}
