//! The equity of a date, through the program: which one counts, what a flow explains, and what leads to a new run.

use std::fs;
use std::path::PathBuf;

use e2e::{json, text, write_book};
use serde_json::{Value, json};

const NIGHTS: [&str; 3] = ["2026-11-20", "2026-11-23", "2026-11-24"];

/// A book of two portfolios with an undated equity of 1,000,000 each, and a data folder.
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

    fn write(&self, name: &str, content: &str) {
        fs::write(self.book().join(name), content).unwrap();
    }

    /// The rows of `equity.csv`, in place of those before.
    fn equity(&self, rows: &str) {
        self.write("equity.csv", &format!("date,portfolio_id,equity,flow\n{rows}"));
    }

    /// The undated equity of both portfolios.
    fn undated(&self, p000: &str, p001: &str) {
        self.write("portfolios.csv", &format!("portfolio_id,name,equity\np000,P,{p000}\np001,Q,{p001}\n"));
    }

    fn run(&self, as_of: &str, more: &[&str]) -> (Value, i32) {
        let (book, data) = (self.book(), self.data());
        let run = ["run", "--book", text(&book), "--data", &data, "--as-of", as_of, "--json"];
        json(&[&run, more].concat()).unwrap()
    }

    /// The recorded equity of a portfolio on a date.
    fn recorded(&self, as_of: &str, portfolio: &str) -> Value {
        let (document, code) =
            json(&["show", as_of, "--portfolio", portfolio, "--data", &self.data(), "--json"]).unwrap();
        assert_eq!(code, 0, "{document}");
        document["results"]["snapshot"]["total_value"].clone()
    }
}

fn id(run: &Value) -> &str {
    run["batch_run_id"].as_str().unwrap_or_else(|| panic!("{run}"))
}

fn levels(run: &Value) -> Vec<String> {
    let results = run["controls"].as_array().cloned().unwrap_or_default();
    let equity = results.iter().filter(|result| result["control"] == "equity");
    equity.map(|result| format!("{} {}", result["level"], result["portfolio_id"]).replace('"', "")).collect()
}

/// An equity without a date is that of the newest night: an older night that is run again keeps its own.
#[test]
fn an_older_night_keeps_its_equity() {
    let place = Place::new();
    for (night, equity) in NIGHTS.into_iter().zip(["1000000", "1010000", "1020000"]) {
        place.undated(equity, equity);
        assert_eq!(place.run(night, &[]).1, 0);
    }
    // The newest night takes the equity as it is; the others are not run at all, and not restated with --again.
    place.undated("1030000", "1030000");
    let span = |more: &[&str]| {
        let (book, data) = (place.book(), place.data());
        let run = ["run", "--book", text(&book), "--data", &data, "--from", NIGHTS[0], "--to", NIGHTS[2], "--json"];
        json(&[&run, more].concat()).unwrap().0
    };
    let plan = span(&["--plan"]);
    let actions: Vec<&Value> = plan["plan"].as_array().unwrap().iter().map(|night| &night["action"]).collect();
    assert_eq!(actions, ["leave_out", "leave_out", "run"], "{plan}");
    let forced = span(&["--plan", "--again"]);
    assert_eq!(forced["plan"][0]["notes"], json!(["2 portfolios keep the equity of the newest full run"]), "{forced}");
    assert_eq!(forced["plan"][2]["notes"], Value::Null, "{forced}");
    assert_eq!(place.run(NIGHTS[0], &["--again"]).1, 0);
    assert_eq!(place.recorded(NIGHTS[0], "p000"), 1_000_000.0);
    // A row of the date counts before what was pinned, and the edition names it.
    place.equity("2026-11-20,p000,1000500,\n");
    let (corrected, code) = place.run(NIGHTS[0], &[]);
    assert_eq!(code, 0, "{corrected}");
    assert_eq!(
        (place.recorded(NIGHTS[0], "p000"), place.recorded(NIGHTS[0], "p001")),
        (1_000_500.0.into(), 1_000_000.0.into())
    );
    let (night, _) = json(&["night", NIGHTS[0], "--data", &place.data(), "--json"]).unwrap();
    let why = &night["editions"][0]["why"]["equity"];
    assert_eq!(why[0], json!({"portfolio_id": "p000", "was": 1_000_000.0, "now": 1_000_500.0}), "{night}");
    // It is the equity of that date alone.
    assert_eq!(place.run(NIGHTS[2], &[]).1, 0);
    assert_eq!(place.recorded(NIGHTS[2], "p000"), 1_030_000.0);
    let plan = span(&["--plan"]);
    let actions: Vec<&Value> = plan["plan"].as_array().unwrap().iter().map(|night| &night["action"]).collect();
    assert_eq!(actions, ["leave_out"; 3], "{plan}");
}

/// A book may state the equity by date alone: then a date without a row has that of the newest row before it.
#[test]
fn a_book_without_undated_equity_carries_the_newest_row() {
    let place = Place::new();
    place.undated("", "");
    place.equity("2026-11-20,p000,1000500,\n2026-11-20,p001,900000,\n2026-11-25,p000,5,\n");
    assert_eq!(place.run(NIGHTS[1], &[]).1, 0);
    assert_eq!(place.recorded(NIGHTS[1], "p000"), 1_000_500.0);
}

/// Where an older night pinned no usable equity, the undated one counts, and the plan says so.
#[test]
fn a_blank_equity_of_an_older_night_can_be_filled_in() {
    let place = Place::new();
    place.undated("", "1000000");
    assert_eq!(place.run(NIGHTS[0], &[]).1, 1);
    place.undated("1000000", "1000000");
    assert_eq!(place.run(NIGHTS[1], &[]).1, 0);
    let (plan, _) = place.run(NIGHTS[0], &["--plan"]);
    let wanted = [
        "1 portfolio keeps the equity of the newest full run",
        "1 portfolio has no equity of the date: that of portfolios.csv counts",
    ];
    assert_eq!(plan["plan"][0]["notes"], json!(wanted), "{plan}");
    assert_eq!(place.run(NIGHTS[0], &[]).1, 0);
    assert_eq!(place.recorded(NIGHTS[0], "p000"), 1_000_000.0);
}

/// The advice of the control: add the flow, then run the date again. The command needs no `--again`.
#[test]
fn a_flow_that_is_recorded_explains_the_change() {
    let place = Place::new();
    assert_eq!(place.run(NIGHTS[1], &[]).1, 0);
    place.undated("1600000", "1000000");
    let (before, code) = place.run(NIGHTS[2], &[]);
    assert_eq!((levels(&before), code), (vec!["failure p000".to_owned()], 1));
    place.equity("2026-11-24,p000,,600000\n");
    let (after, code) = place.run(NIGHTS[2], &[]);
    assert_eq!((levels(&after), code), (Vec::new(), 0), "{after}");
    assert_ne!(id(&before), id(&after));
    // Nothing changed since, so the same command finds this run.
    assert_eq!(id(&place.run(NIGHTS[2], &[]).0), id(&after));
    // The flow of an earlier night is none of this one.
    place.equity("2026-11-24,p000,,600000\n2026-11-23,p001,,5\n");
    assert_eq!(id(&place.run(NIGHTS[2], &[]).0), id(&after));
}

/// A flow between two nights that is recorded late reaches the later night, whatever its own date.
#[test]
fn a_flow_of_a_day_without_a_session_counts_on_the_next_night() {
    let place = Place::new();
    assert_eq!(place.run(NIGHTS[0], &[]).1, 0);
    place.undated("1600000", "1000000");
    assert_eq!(place.run(NIGHTS[1], &[]).1, 1);
    place.equity("2026-11-22,p000,,600000\n");
    assert_eq!(place.run(NIGHTS[1], &[]).1, 0);
}

/// A wrong row fails its portfolio on the nights that see it, and no other.
#[test]
fn a_wrong_row_fails_its_portfolio_from_its_date_on() {
    let place = Place::new();
    place.equity("2026-11-23,p000,1O00000,\n");
    assert_eq!(place.run(NIGHTS[0], &[]).1, 0);
    let (run, code) = place.run(NIGHTS[1], &[]);
    assert_eq!((code, &run["status"]), (1, &"partial".into()), "{run}");
    let message = run["failures"][0]["message"].as_str().unwrap();
    assert!(message.contains("equity.csv:2: equity \"1O00000\": not a number"), "{message}");
    assert_eq!(run["failures"][0]["portfolios"], json!(["p000"]), "{run}");
    let (checked, code) = json(&["check", "--book", text(&place.book()), "--json"]).unwrap();
    let error = &checked["errors"][0];
    assert_eq!(
        (code, &error["file"], &error["line"], &error["column"]),
        (2, &"equity.csv".into(), &2.into(), &"equity".into())
    );
}
