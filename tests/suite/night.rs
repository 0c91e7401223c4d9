//! `nightbook night`, `show DATE` and `accept` through the program.

use std::fs;
use std::path::PathBuf;

use e2e::{json, nightbook, text, write_book};
use serde_json::Value;

/// Two sessions in a row; the prices of the book end on the second.
const BEFORE: &str = "2026-11-23";
const DATE: &str = "2026-11-24";

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        write_book(&place.book(), 4).unwrap();
        place
    }

    fn book(&self) -> PathBuf {
        self.dir.path().join("book")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Replaces a text in a file of the book.
    fn change(&self, name: &str, from: &str, to: &str) {
        let file = self.book().join(name);
        let content = fs::read_to_string(&file).unwrap();
        assert!(content.contains(from), "{name} has no {from}");
        fs::write(file, content.replace(from, to)).unwrap();
    }

    fn run(&self, as_of: &str, more: &[&str]) -> (Value, i32) {
        let (book, data) = (self.book(), self.data());
        let run = ["run", "--book", text(&book), "--data", text(&data), "--as-of", as_of, "--json"];
        json(&[&run, more].concat()).unwrap()
    }

    fn ask(&self, words: &[&str]) -> (Value, i32) {
        let data = self.data();
        json(&[words, &["--data", text(&data), "--json"]].concat()).unwrap()
    }

    /// The exit code of a command, and what it printed on both outputs.
    fn plain(&self, words: &[&str]) -> (i32, String) {
        let data = self.data();
        let output = nightbook(&[words, &["--data", text(&data)]].concat()).unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }
}

/// A quantity of each of these portfolios is not a number.
fn spoil(place: &Place, portfolios: &[&str]) {
    for id in portfolios {
        place.change("positions.csv", &format!("{id},S0,1"), &format!("{id},S0,x1"));
    }
}

#[test]
fn a_good_filtered_run_does_not_hide_the_other_failures() {
    let place = Place::new();
    spoil(&place, &["p001", "p002", "p003"]);
    let (full, code) = place.run(DATE, &[]);
    assert_eq!((&full["status"], code), (&"partial".into(), 1), "{full}");
    let (good, code) = place.run(DATE, &["--portfolio", "p000", "--again"]);
    assert_eq!((&good["status"], code), (&"success".into(), 0), "the run itself is good: {good}");

    let (night, code) = place.ask(&["night"]);
    assert_eq!((&night["verdict"], &night["as_of"], code), (&"partial".into(), &DATE.into(), 1), "{night}");
    assert_eq!((&night["expected_portfolios"], night["runs"].as_array().unwrap().len()), (&4.into(), 2));
    assert_eq!(place.ask(&["night", DATE]), (night.clone(), 1));
    let command = night["next_step"]["command"].as_str().unwrap();
    assert!(command.contains(text(&place.book())) && command.contains(text(&place.data())), "{command}");
    assert!(command.contains("p001") && !command.contains("p000"), "{command}");

    // `latest` and the date are the full run; with a portfolio, the run that decides it.
    for run in ["latest", DATE] {
        assert_eq!(place.ask(&["show", run]).0["batch_run_id"], full["batch_run_id"], "{run}");
        let decides = |id: &str| place.ask(&["show", run, "--portfolio", id]).0["batch_run_id"].clone();
        assert_eq!((decides("p000"), decides("p001")), (good["batch_run_id"].clone(), full["batch_run_id"].clone()));
    }
    let (code, said) = place.plain(&["night"]);
    assert_eq!(code, 1, "{said}");
    for part in ["Night of 2026-11-24: partial.", "p001", "positions.csv", command] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[test]
fn a_date_without_a_session_is_refused_and_a_missing_night_is_not_good() {
    let place = Place::new();
    assert_eq!(place.ask(&["night"]).1, 1, "there are no records");
    place.run(BEFORE, &[]);
    let (night, code) = place.ask(&["night"]);
    assert_eq!((&night["verdict"], code), (&"ok".into(), 0), "{night}");
    let (missing, code) = place.ask(&["night", "2026-11-20"]);
    assert_eq!((&missing["night"], code), (&Value::Null, 1), "{missing}");
    for (date, part) in
        [("2026-11-22", "not a session"), ("2036-11-24", "last allowed date"), ("yesterday", "yesterday")]
    {
        let (code, said) = place.plain(&["night", date]);
        assert!(code == 2 && said.contains(part), "{date}: {code} {said}");
    }
    let (code, said) = place.plain(&["show", "2026-11-20"]);
    assert!(code == 2 && said.contains("there is no run 2026-11-20"), "{code} {said}");
}

#[test]
fn an_accepted_control_does_not_count_and_says_who_and_why() {
    let place = Place::new();
    place.run(BEFORE, &[]);
    let prices = fs::read_to_string(place.book().join("prices.csv")).unwrap();
    let old: String = prices.lines().filter(|line| !line.starts_with(DATE)).map(|line| format!("{line}\n")).collect();
    fs::write(place.book().join("prices.csv"), old).unwrap();
    assert_eq!(place.run(DATE, &[]).1, 1);
    let (night, code) = place.ask(&["night"]);
    assert_eq!((&night["verdict"], code), (&"partial".into(), 1), "{night}");

    let accept = |control: &str, more: &[&str]| {
        place.plain(&[&["accept", DATE, "--control", control, "--author", "Ada"], more].concat())
    };
    for (control, more, part) in [
        ("newest_clos", &["--note", "holiday"][..], "did you mean newest_close?"),
        ("orphans", &["--note", "holiday"], "no result of control orphans to accept"),
        ("newest_close", &["--note", " "], "note: write why"),
        ("freshness", &["--note", "holiday", "--portfolio", "p0001"], "did you mean p000"),
    ] {
        let (code, said) = accept(control, more);
        assert!(code == 2 && said.contains(part), "{control}: {code} {said}");
    }
    assert_eq!(place.ask(&["night"]), (night.clone(), 1), "a refusal records nothing");

    let controls: std::collections::BTreeSet<String> =
        night["controls"].as_array().unwrap().iter().map(|c| c["control"].as_str().unwrap().to_owned()).collect();
    for control in &controls {
        let (code, said) = accept(control, &["--note", "the exchange was closed"]);
        assert_eq!(code, 0, "{control}: {said}");
    }
    let (night, code) = place.ask(&["night"]);
    assert_eq!((&night["verdict"], code), (&"ok".into(), 0), "{night}");
    let accepted = &night["controls"][0]["accepted"];
    assert_eq!((&accepted["author"], &accepted["note"]), (&"Ada".into(), &"the exchange was closed".into()));
    let (_, said) = place.plain(&["night"]);
    assert!(said.contains("by Ada: the exchange was closed"), "{said}");
    for page in ["index.html", "nights/2026-11-24/index.html"] {
        let page = fs::read_to_string(place.data().join("site").join(page)).unwrap();
        assert!(page.contains("data-verdict=\"ok\""), "the page still counts the control");
    }
}

/// A good run of some portfolios does not make its night good: the list of runs shows both.
#[test]
fn the_list_of_runs_shows_the_verdict_of_each_night() {
    let place = Place::new();
    place.run(BEFORE, &[]);
    place.change("positions.csv", "p003,S0,1030,", "p003,S0,many,");
    assert_eq!(place.run(DATE, &[]).1, 1);
    let (good, code) = place.run(DATE, &["--portfolio", "p000", "--again"]);
    assert_eq!((code, &good["status"]), (0, &"success".into()));
    let runs = place.ask(&["history"]).0["runs"].clone();
    let told: Vec<[&str; 3]> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| ["as_of", "status", "night"].map(|key| run[key].as_str().unwrap()))
        .collect();
    assert_eq!(told, [[DATE, "success", "partial"], [DATE, "partial", "partial"], [BEFORE, "success", "ok"]]);
    let (_, list) = place.plain(&["history"]);
    let head = list.lines().next().unwrap().to_lowercase();
    assert!(head.split_whitespace().any(|word| word == "night"), "{list}");
    let page = format!("site/runs/{}/index.html", runs[1]["batch_run_id"].as_str().unwrap());
    let page = fs::read_to_string(place.data().join(page)).unwrap();
    assert!(page.contains("Fix positions.csv:") && page.contains("--as-of 2026-11-24 --portfolio p003"), "{page}");
    assert!(!page.contains("--failed"), "a rerun on the same inputs fails again");
}

/// The command that a night advises is pasted as it stands, but for the reason.
#[test]
fn the_advised_acceptance_can_be_pasted() {
    let place = Place::new();
    place.run(BEFORE, &[]);
    place.change("positions.csv", "p003,S0,1030,", "orphan,S0,1,50,2025-01-02\np003,S0,1030,");
    assert_eq!(place.run(DATE, &[]).1, 1);
    let (night, _) = place.ask(&["night"]);
    let command = night["next_step"]["command"].as_str().unwrap();
    assert!(command.starts_with("nightbook accept 2026-11-24 --control orphans --note TEXT --data "), "{night}");
    let program = e2e::program().unwrap();
    let pasted = command.replacen("nightbook", text(&program), 1).replace("TEXT", "'opens next week'");
    let output = std::process::Command::new("sh").args(["-c", &pasted]).output().unwrap();
    assert!(output.status.success(), "{pasted}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.ask(&["night"]).0["verdict"], "ok");
    let feed = fs::read_to_string(place.data().join("site/feed.xml")).unwrap();
    assert!(feed.contains("1 acceptance"), "{feed}");
}

/// Declaring an absent portfolio closed changes its own page too.
#[test]
fn the_page_of_a_portfolio_that_is_declared_closed_says_so() {
    let place = Place::new();
    place.run(BEFORE, &[]);
    let whole = fs::read_to_string(place.book().join("portfolios.csv")).unwrap();
    let without: String =
        whole.lines().filter(|line| !line.starts_with("p003")).map(|line| format!("{line}\n")).collect();
    fs::write(place.book().join("portfolios.csv"), without).unwrap();
    place.run(DATE, &[]);
    let state = || {
        let page = fs::read_to_string(place.data().join("site/portfolios/p003.json")).unwrap();
        serde_json::from_str::<Value>(&page).unwrap()["state"].clone()
    };
    assert_eq!(state(), "absent");
    let closed = |line: &str| match line {
        header if header.starts_with("portfolio_id") => format!("{header},closed_on\n"),
        line if line.starts_with("p003") => format!("{line},{DATE}\n"),
        line => format!("{line},\n"),
    };
    fs::write(place.book().join("portfolios.csv"), whole.lines().map(closed).collect::<String>()).unwrap();
    place.run(DATE, &[]);
    assert_eq!(state(), "closed");
}

/// No file of a redacted site holds an id, a symbol or a place of the book, control results among them.
#[test]
fn a_redacted_site_withholds_control_results() {
    let place = Place::new();
    let settings = fs::read_to_string(place.book().join("nightbook.toml")).unwrap();
    fs::write(place.book().join("nightbook.toml"), format!("[site]\ndetail = \"redacted\"\n{settings}")).unwrap();
    place.run(BEFORE, &[]);
    place.change("positions.csv", "p003,S0,1030,", "orphan-id,S0,1,50,2025-01-02\np003,S0,1030,");
    place.change("prices.csv", &format!("{DATE},S4,"), "2026-11-21,S4,");
    let (summary, _) = place.run(DATE, &[]);
    assert!(summary["controls"].as_array().is_some_and(|found| found.len() > 1), "{summary}");
    let mut read = 0;
    for file in crate::surfaces::files(&place.data().join("site")) {
        let content = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        for secret in ["p000", "p003", "orphan-id", "S4", "positions.csv:"] {
            assert!(!content.contains(secret), "{} holds {secret}", file.display());
        }
        read += 1;
    }
    assert!(read > 20, "{read} files");
}

/// A renamed schedule begins a series of its own: every surface speaks of it.
#[test]
fn a_renamed_schedule_is_the_newest_series_on_every_surface() {
    let place = Place::new();
    place.run(DATE, &[]);
    let settings = fs::read_to_string(place.book().join("nightbook.toml")).unwrap();
    fs::write(place.book().join("nightbook.toml"), format!("[schedule]\nname = \"evening\"\n{settings}")).unwrap();
    place.run(BEFORE, &[]);
    let (night, _) = place.ask(&["night"]);
    let status = fs::read_to_string(place.data().join("site/status.json")).unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    for key in ["night_series", "as_of", "verdict"] {
        assert_eq!(status["night"][key], night[key], "{key}");
    }
    assert_eq!(night["night_series"], "evening");
}
