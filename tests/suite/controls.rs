//! Controls through the program: a book that is cut, stale or wrong never ends with exit code 0 and nothing to say.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{json, text, write_book};
use serde_json::Value;

/// The night that is good, and the one on which something is wrong.
const GOOD: &str = "2026-11-23";
const BAD: &str = "2026-11-24";

/// A book with one good night on record.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        write_book(&place.book(), 3).unwrap();
        let (summary, code) = place.run(GOOD, &[]);
        assert_eq!((code, &summary["controls"]), (0, &Value::Null), "{summary}");
        place
    }

    fn book(&self) -> PathBuf {
        self.dir.path().join("book")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.book().join(name)).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.book().join(name), content).unwrap();
    }

    /// Rewrites a file line by line; `None` leaves the line out.
    fn change(&self, name: &str, change: impl Fn(&str) -> Option<String>) {
        let lines: Vec<String> = self.file(name).lines().filter_map(change).collect();
        self.write(name, &(lines.join("\n") + "\n"));
    }

    fn run(&self, as_of: &str, more: &[&str]) -> (Value, i32) {
        let (book, data) = (self.book(), self.data());
        let run = ["run", "--book", text(&book), "--data", text(&data), "--as-of", as_of, "--json"];
        json(&[&run, more].concat()).unwrap()
    }

    /// The controls of the run of the bad night as level, control, portfolio and symbol, and the exit code. Every job of
    /// the run must have succeeded: only the controls say that something is wrong.
    fn found(&self) -> (Vec<String>, i32) {
        let (summary, code) = self.run(BAD, &[]);
        assert_eq!(summary["status"], "success", "{summary}");
        (controls(&summary), code)
    }
}

/// `failure orphans`, `warning price_jump p000 S1`.
fn controls(summary: &Value) -> Vec<String> {
    let results = summary["controls"].as_array().cloned().unwrap_or_default();
    let line = |result: &Value| {
        let words = ["level", "control", "portfolio_id", "symbol"].map(|key| result[key].as_str().unwrap_or_default());
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    results.iter().map(line).collect()
}

/// A run as `show` prints it.
fn on_record(data: &Path, run: &str) -> Value {
    json(&["show", run, "--data", text(data), "--json"]).unwrap().0
}

#[test]
fn a_good_night_has_no_control_results() {
    let (found, code) = Place::new().found();
    assert_eq!((found, code), (Vec::new(), 0));
}

#[test]
fn closes_of_the_last_session_that_are_missing_fail() {
    let place = Place::new();
    place.change("prices.csv", |line| (!line.starts_with(BAD)).then(|| line.to_owned()));
    let (summary, code) = place.run(BAD, &[]);
    let found = controls(&summary);
    assert_eq!(code, 1);
    assert_eq!(found[..2], ["failure newest_close", "failure freshness"], "{found:?}");
    let result = &summary["controls"][0];
    assert_eq!((&result["observed"], &result["limit"]), (&GOOD.into(), &BAD.into()));
    // What the run printed is on record.
    let id = summary["batch_run_id"].as_str().unwrap();
    let shown = on_record(&place.data(), id);
    let recorded = if shown["controls"].is_null() { &shown["run"] } else { &shown };
    assert_eq!(recorded["controls"], summary["controls"], "{shown}");
    // The same command again finds the same run, and its exit code does not forget.
    assert_eq!(place.run(BAD, &[]).1, 1);
    // A rerun has the same inputs.
    let data = place.data();
    let (_, code) = json(&["rerun", id, "--data", text(&data), "--json"]).unwrap();
    assert_eq!(code, 1);
    // The closes come, and the night is good.
    write_book(&place.book(), 3).unwrap();
    assert_eq!(place.found(), (Vec::new(), 0));
}

#[test]
fn positions_that_are_cut_at_a_line_end_fail() {
    let place = Place::new();
    let kept: Vec<String> = place.file("positions.csv").lines().take(5).map(str::to_owned).collect();
    place.write("positions.csv", &(kept.join("\n") + "\n"));
    let (summary, code) = place.run(BAD, &[]);
    let found = controls(&summary);
    let wanted = ["failure positions p001", "failure positions p002", "warning positions p000"];
    assert_eq!((found, code), (wanted.map(str::to_owned).to_vec(), 1), "{summary}");
    assert_eq!((&summary["control_failures"], &summary["control_warnings"]), (&2.into(), &1.into()));
    // A loss does not heal itself: the next night compares with the night before it.
    let again = place.run(BAD, &["--again"]);
    assert_eq!(again.1, 1);
    // A filtered run judges its own portfolios only.
    let (filtered, code) = place.run(BAD, &["--portfolio", "p000", "--again"]);
    assert_eq!((controls(&filtered), code), (vec!["warning positions p000".to_owned()], 0));
}

#[test]
fn a_file_that_is_cut_in_the_middle_of_a_number_warns() {
    let place = Place::new();
    let mut prices: Vec<String> = place.file("prices.csv").lines().map(str::to_owned).collect();
    let last = prices.iter().rposition(|line| line.starts_with(&format!("{BAD},S4,"))).unwrap();
    prices.truncate(last + 1);
    prices[last] = format!("{BAD},S4,1");
    place.write("prices.csv", &prices.join("\n"));
    let (found, code) = place.found();
    assert!(found.contains(&"warning input_end".to_owned()), "{found:?}");
    assert!(found.contains(&"warning price_jump S4".to_owned()), "{found:?}");
    assert_eq!(code, 0, "warnings do not change the exit code: {found:?}");
}

#[test]
fn a_split_that_nobody_adjusted_is_named() {
    let place = Place::new();
    place.change("prices.csv", |line| {
        let (key, close) = line.rsplit_once(',').unwrap();
        if key != format!("{BAD},S1") {
            return Some(line.to_owned());
        }
        Some(format!("{key},{:.4}", close.parse::<f64>().unwrap() / 4.0))
    });
    let (summary, code) = place.run(BAD, &[]);
    assert_eq!((controls(&summary), code), (vec!["warning price_jump S1".to_owned()], 0));
    let message = summary["controls"][0]["message"].as_str().unwrap();
    assert!(message.contains("like a 4:1 split") && message.contains("3 portfolios hold it"), "{message}");
}

#[test]
fn a_close_that_is_ten_thousand_times_too_high_fails() {
    let place = Place::new();
    place.change("prices.csv", |line| {
        let (key, close) = line.rsplit_once(',').unwrap();
        Some(if key == format!("{BAD},S1") { format!("{key},{close}e4") } else { line.to_owned() })
    });
    let (found, code) = place.found();
    let wanted = [
        "warning price_jump S1",
        "failure price_jump p000 S1",
        "failure price_jump p001 S1",
        "failure price_jump p002 S1",
    ];
    assert_eq!((found, code), (wanted.map(str::to_owned).to_vec(), 1));
}

#[test]
fn a_portfolio_that_the_book_lost_fails_and_its_rows_are_orphans() {
    let place = Place::new();
    place.change("portfolios.csv", |line| (!line.starts_with("p001,")).then(|| line.to_owned()));
    let (found, code) = place.found();
    assert_eq!((found, code), (vec!["failure orphans".to_owned(), "failure portfolios p001".to_owned()], 1));
    // Neither is judged by a filtered run.
    assert_eq!(place.run(BAD, &["--portfolio", "p000", "--again"]).1, 0);
    let settings = place.file("nightbook.toml");
    place.write("nightbook.toml", &format!("{settings}\n[controls]\norphans = \"off\"\nportfolios = \"off\"\n"));
    assert_eq!(place.found(), (Vec::new(), 0));
}

#[test]
fn check_says_all_that_is_wrong_with_the_settings_of_controls() {
    let place = Place::new();
    let settings = place.file("nightbook.toml");
    place.write("nightbook.toml", &format!("{settings}\n[controls]\nfreshnes = \"off\"\nequity = {{ warn = 0.9 }}\n[freshness]\non_stale = \"wait\"\nwait_until = \"18:00\"\n"));
    let (checked, code) = json(&["check", "--book", text(&place.book()), "--json"]).unwrap();
    let columns: Vec<&str> =
        checked["errors"].as_array().unwrap().iter().map(|e| e["column"].as_str().unwrap()).collect();
    assert_eq!((columns, code), (vec!["controls.freshnes", "controls.equity", "freshness.wait_until"], 2), "{checked}");
}

/// The advice of `freshness` is a lag: with it the same command runs the date again, and the night is good.
#[test]
fn an_allowed_lag_mends_a_night_that_is_not_fresh() {
    let place = Place::new();
    let stale = format!("{BAD},S1,");
    place.change("prices.csv", |line| (!line.starts_with(&stale)).then(|| line.to_owned()));
    let (found, code) = place.found();
    assert!(code == 1 && found.contains(&"failure freshness".to_owned()), "{found:?}");
    let settings = place.file("nightbook.toml");
    place.write("nightbook.toml", &format!("{settings}\n[freshness.lag]\nS1 = 1\n"));
    assert_eq!(place.found(), (Vec::new(), 0));
}

/// Rows that could not be read one night, and are deleted the next, are lost rows: they do not become what is usual.
#[test]
fn rows_that_were_unusable_and_then_deleted_are_lost_rows() {
    let place = Place { dir: tempfile::tempdir().unwrap() };
    write_book(&place.book(), 3).unwrap();
    assert_eq!(place.run("2026-11-20", &[]).1, 0);
    let lost = |line: &str| line.starts_with("p000,") && !line.starts_with("p000,S0,");
    let whole = place.file("positions.csv");
    place.change("positions.csv", |line| {
        Some(if lost(line) { line.replacen(",1", ",1OO", 1) } else { line.to_owned() })
    });
    assert_eq!(place.run(GOOD, &[]).1, 1);
    place.write("positions.csv", &whole);
    place.change("positions.csv", |line| (!lost(line)).then(|| line.to_owned()));
    let (found, code) = place.found();
    assert_eq!((found, code), (vec!["failure positions p000".to_owned()], 1));
}

/// A run of one portfolio that read the corrected file decides that portfolio, so the next night compares with it.
#[test]
fn rows_that_a_filtered_run_found_again_are_what_the_next_night_compares_with() {
    let place = Place { dir: tempfile::tempdir().unwrap() };
    write_book(&place.book(), 3).unwrap();
    let lost = |line: &str| line.starts_with("p000,") && !line.starts_with("p000,S0,");
    let whole = place.file("positions.csv");
    place.change("positions.csv", |line| (!lost(line)).then(|| line.to_owned()));
    assert_eq!(place.run(GOOD, &[]).1, 0, "a first night compares with nothing");
    place.write("positions.csv", &whole);
    assert_eq!(place.run(GOOD, &["--portfolio", "p000"]).1, 0);
    place.change("positions.csv", |line| (!lost(line)).then(|| line.to_owned()));
    let (found, code) = place.found();
    assert_eq!((found, code), (vec!["failure positions p000".to_owned()], 1));
}

/// The advice of `positions`: rows that were sold get an exit date, and the same command runs the date again.
#[test]
fn exits_that_are_recorded_mend_the_night() {
    let place = Place::new();
    let whole = place.file("positions.csv");
    let sold = |line: &str| line.starts_with("p000,") && !line.starts_with("p000,S0,");
    place.change("positions.csv", |line| (!sold(line)).then(|| line.to_owned()));
    let (before, code) = place.run(BAD, &[]);
    assert_eq!((controls(&before), code), (vec!["failure positions p000".to_owned()], 1));
    // One exit of five is recorded: the result is judged anew, and still fails.
    let with_exits = |most: usize| {
        let mut left = most;
        let rows = whole.lines().filter_map(|line| match (sold(line), left) {
            (false, _) if line.starts_with("portfolio_id") => Some(format!("{line},exit_date")),
            (false, _) => Some(format!("{line},")),
            (true, 0) => None,
            (true, _) => {
                left -= 1;
                Some(format!("{line},{BAD}"))
            }
        });
        rows.collect::<Vec<_>>().join("\n") + "\n"
    };
    place.write("positions.csv", &with_exits(1));
    let (partly, code) = place.run(BAD, &[]);
    assert_eq!((controls(&partly), code), (vec!["failure positions p000".to_owned()], 1));
    assert_ne!(partly["controls"][0]["observed"], before["controls"][0]["observed"]);
    place.write("positions.csv", &with_exits(5));
    let advised = json(&["night", BAD, "--data", text(&place.data()), "--json"]).unwrap().0;
    let (after, code) = place.run(BAD, &[]);
    assert_eq!((controls(&after), code), (Vec::new(), 0), "{advised}");
    assert_eq!(place.run(BAD, &[]).0["batch_run_id"], after["batch_run_id"], "nothing changed since");
    let (night, code) = json(&["night", BAD, "--data", text(&place.data()), "--json"]).unwrap();
    assert_eq!((&night["verdict"], code), (&"ok".into(), 0), "{night}");
}

/// A portfolio that was absent is compared with the newest night on which it was there.
#[test]
fn rows_that_were_lost_while_a_portfolio_was_absent_are_lost_rows() {
    let place = Place { dir: tempfile::tempdir().unwrap() };
    write_book(&place.book(), 3).unwrap();
    assert_eq!(place.run("2026-11-19", &[]).1, 0);
    let portfolios = place.file("portfolios.csv");
    let absent = |line: &str| line.starts_with("p000,");
    place.change("portfolios.csv", |line| (!absent(line)).then(|| line.to_owned()));
    place.change("positions.csv", |line| (!absent(line)).then(|| line.to_owned()));
    for night in ["2026-11-20", GOOD] {
        assert_eq!(place.run(night, &[]).1, 1);
    }
    // It is back with one of its six rows.
    place.write("portfolios.csv", &portfolios);
    place.write("positions.csv", &(place.file("positions.csv") + "p000,S0,1000,50,2025-01-02\n"));
    let (summary, code) = place.run(BAD, &[]);
    assert_eq!((controls(&summary), code), (vec!["failure positions p000".to_owned()], 1), "{summary}");
    let message = summary["controls"][0]["message"].as_str().unwrap();
    assert!(message.contains("has 1 row and had 6 on 2026-11-19"), "{message}");
}
