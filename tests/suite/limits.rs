//! `[[limits]]` through the program: a breach shows on every surface, ages, can be accepted, and never hides.

use std::fs;
use std::path::PathBuf;

use e2e::{json, text, write_book};
use serde_json::{Value, json};

use crate::alerts::{to_file, told};
use crate::api::{get, serve};

const NIGHTS: [&str; 3] = ["2026-11-20", "2026-11-23", "2026-11-24"];

/// A book of two portfolios, the first with the tag `core`, and a data folder.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(settings: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        write_book(&place.book(), 2).unwrap();
        let portfolios = "portfolio_id,name,equity,tags\np000,P,1000000,core;us\np001,Q,1000000,\n";
        fs::write(place.book().join("portfolios.csv"), portfolios).unwrap();
        place.set(settings);
        place
    }

    fn book(&self) -> PathBuf {
        self.dir.path().join("book")
    }

    fn data(&self) -> String {
        text(&self.dir.path().join("data")).to_owned()
    }

    /// Adds settings behind those that are there.
    fn set(&self, settings: &str) {
        let file = self.book().join("nightbook.toml");
        let before = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{before}\n{settings}")).unwrap();
    }

    fn run(&self, as_of: &str, more: &[&str]) -> (Value, i32) {
        let (book, data) = (self.book(), self.data());
        let run = ["run", "--book", text(&book), "--data", &data, "--as-of", as_of, "--json"];
        json(&[&run, more].concat()).unwrap()
    }

    fn night(&self, as_of: &str) -> (Value, i32) {
        json(&["night", as_of, "--data", &self.data(), "--json"]).unwrap()
    }

    fn page(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("data/site").join(name)).unwrap()
    }
}

/// `failure p000 leverage 2`: level, portfolio, figure and age in sessions.
fn limits(controls: &Value) -> Vec<String> {
    let results = controls.as_array().cloned().unwrap_or_default();
    let line = |result: &Value| {
        let words = ["level", "portfolio_id", "figure", "sessions"].map(|key| result[key].to_string());
        words.into_iter().filter(|word| word != "null").collect::<Vec<_>>().join(" ").replace('"', "")
    };
    results.iter().filter(|result| result["control"] == "limits").map(line).collect()
}

const LEVERAGE: &str = "[[limits]]\nfigure = \"leverage\"\nmax = 0.1\ntag = \"core\"\n";

#[test]
fn a_breach_shows_on_every_surface_and_ages() {
    let place = Place::new(LEVERAGE);
    let alerts = place.dir.path().join("alerts");
    place.set(&format!("[alerts]\n{}", to_file(&alerts, "true")));
    let mut newest = String::new();
    for (age, night) in (1..).zip(NIGHTS) {
        let (run, code) = place.run(night, &[]);
        assert_eq!((&run["status"], code), (&"success".into(), 1), "{run}");
        assert_eq!(limits(&run["controls"]), [format!("failure p000 leverage {age}")]);
        newest = run["batch_run_id"].as_str().unwrap().to_owned();
        let (seen, code) = place.night(night);
        assert_eq!((&seen["verdict"], code), (&"partial".into(), 1), "{seen}");
        assert_eq!(limits(&seen["controls"]), [format!("failure p000 leverage {age}")]);
    }
    let message = "leverage of portfolio p000 is ";
    let said = "and breaches its limit, a maximum of 0.1, for 3 sessions now.";
    for page in ["nights/2026-11-24/index.html", "portfolios/p000/index.html"] {
        let page = place.page(page);
        assert!(page.contains(message) && page.contains(said), "{page}");
    }
    assert!(!place.page("portfolios/p001/index.html").contains(message));
    let status: Value = serde_json::from_str(&place.page("status.json")).unwrap();
    assert_eq!(limits(&status["night"]["controls"]), ["failure p000 leverage 3"]);
    let serving = serve(place.dir.path(), &[]);
    let answer = get(serving.address, "/api/v1/batch/nights/2026-11-24").json();
    assert_eq!(limits(&answer["controls"]), ["failure p000 leverage 3"], "{answer}");
    drop(serving);
    let alerts = told(&alerts);
    assert!(alerts.iter().any(|alert| alert.to_string().contains("limits")), "{alerts:?}");
    // A rerun is judged by the same limits.
    let (run, code) = json(&["rerun", &newest, "--data", &place.data(), "--json"]).unwrap();
    assert_eq!((limits(&run["controls"]), code), (vec!["failure p000 leverage 3".to_owned()], 1));
    let accept = [
        "accept",
        NIGHTS[2],
        "--control",
        "limits",
        "--portfolio",
        "p000",
        "--note",
        "agreed",
        "--data",
        &place.data(),
    ];
    assert_eq!(e2e::nightbook(&accept).unwrap().status.code(), Some(0));
    assert_eq!(place.night(NIGHTS[2]).0["verdict"], "ok");
}

#[test]
fn another_limit_leads_to_a_new_run_and_the_same_to_none() {
    let place = Place::new(LEVERAGE);
    let (first, _) = place.run(NIGHTS[0], &[]);
    assert_eq!(place.run(NIGHTS[0], &[]).0["batch_run_id"], first["batch_run_id"]);
    let file = place.book().join("nightbook.toml");
    let settings = fs::read_to_string(&file).unwrap();
    fs::write(&file, settings.replace("max = 0.1", "max = 5")).unwrap();
    let (second, code) = place.run(NIGHTS[0], &[]);
    assert_eq!((limits(&second["controls"]), code), (Vec::new(), 0), "{second}");
    assert_eq!(place.night(NIGHTS[0]).0["verdict"], "ok");
    fs::write(&file, format!("{settings}[controls]\nlimits = \"off\"\n")).unwrap();
    assert_eq!(place.run(NIGHTS[0], &[]).1, 0);
    // From its share on a figure warns; the exit code stays 0.
    let leverage = first["controls"][0]["observed"].as_f64().unwrap();
    fs::write(&file, settings.replace("max = 0.1", &format!("max = {}", leverage * 1.05))).unwrap();
    let (third, code) = place.run(NIGHTS[0], &[]);
    assert_eq!((limits(&third["controls"]), code), (vec!["warning p000 leverage".to_owned()], 0), "{third}");
}

/// A night that could not judge a limit neither ends a breach nor begins one.
#[test]
fn a_night_without_the_figure_does_not_end_a_breach() {
    let place = Place::new(LEVERAGE);
    assert_eq!(limits(&place.run(NIGHTS[0], &[]).0["controls"]), ["failure p000 leverage 1"]);
    let file = place.book().join("positions.csv");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{whole}p000,S1,many,50,2025-01-02\n")).unwrap();
    assert_eq!(limits(&place.run(NIGHTS[1], &[]).0["controls"]), Vec::<String>::new());
    fs::write(&file, &whole).unwrap();
    assert_eq!(limits(&place.run(NIGHTS[2], &[]).0["controls"]), ["failure p000 leverage 3"]);
}

/// A job that succeeds without the figure: with fewer than 60 days the snapshot has no value at risk.
#[test]
fn a_figure_that_is_null_cannot_be_judged() {
    let place = Place::new("[[limits]]\nfigure = \"var_95\"\nmin = -0.5\nportfolio = \"p001\"\n");
    let prices = fs::read_to_string(place.book().join("prices.csv")).unwrap();
    let late = |line: &&str| line.starts_with("date") || *line >= "2026-10-15";
    fs::write(place.book().join("prices.csv"), prices.lines().filter(late).collect::<Vec<_>>().join("\n") + "\n")
        .unwrap();
    let (run, code) = place.run(NIGHTS[2], &[]);
    assert_eq!((limits(&run["controls"]), code), (vec!["failure p001 var_95 1".to_owned()], 1), "{run}");
    let result = run["controls"].as_array().unwrap().iter().find(|one| one["control"] == "limits").unwrap();
    assert!(result["message"].as_str().unwrap().contains("cannot be judged"), "{result}");
    assert_eq!((&result["observed"], &result["limit"]), (&Value::Null, &json!(-0.5)));
}

#[test]
fn check_names_every_wrong_name_at_once() {
    let limits = "[[limits]]\nfigure = \"var_96\"\nmin = -0.5\n\
                  [[limits]]\nfigure = \"var_95\"\nmin = -0.5\nportfolio = \"p01\"\n\
                  [[limits]]\nfigure = \"var_95\"\nmin = -0.5\ntag = \"cor\"\n";
    let place = Place::new(limits);
    let (checked, code) = json(&["check", "--book", text(&place.book()), "--json"]).unwrap();
    let found: Vec<(&str, &str)> = checked["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["column"].as_str().unwrap(), error["message"].as_str().unwrap()))
        .collect();
    assert_eq!(code, 2);
    let columns: Vec<&str> = found.iter().map(|(column, _)| *column).collect();
    assert_eq!(columns, ["limits.figure", "limits.portfolio", "limits.tag"], "{found:#?}");
    for ((_, message), hint) in found.iter().zip(["var_95", "p001", "core"]) {
        assert!(message.contains(&format!("did you mean `{hint}`?")), "{message}");
    }
    // A name that only portfolios.csv lacks stops no run.
    let file = place.book().join("nightbook.toml");
    let settings = fs::read_to_string(&file).unwrap();
    fs::write(&file, settings.replace("var_96", "var_99")).unwrap();
    assert_eq!(place.run(NIGHTS[2], &[]).1, 0);
}
