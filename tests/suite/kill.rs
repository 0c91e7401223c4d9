//! kill -9 at random moments of `nightbook run`, on a real file system. `tests/kill --kills N --seed S` does more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use e2e::{json, program, text, write_book};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::crash::timeless;

/// Kills in every test run.
const KILLS: u64 = 200;

/// Kills of one run before it is let through to its end.
const KILLS_A_RUN: u64 = 8;

const PORTFOLIOS: usize = 24;

/// A number that `tests/kill` gives.
#[allow(clippy::disallowed_methods, reason = "these are settings of the test, not of the program")]
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn run(book: &Path, data: &Path, as_of: NaiveDate) -> Command {
    let mut command = Command::new(program().unwrap());
    command.args(["run", "--book", text(book), "--data", text(data), "--as-of", &as_of.to_string(), "--json"]);
    command
}

/// The page that is reached first over a link that leads nowhere, and that link.
fn dead_link(site: &Path) -> Option<(String, String)> {
    let mut open = vec!["index.html".to_owned()];
    let mut seen: BTreeSet<String> = open.iter().cloned().collect();
    while let Some(page) = open.pop() {
        // Before the first publication there is no index, and nothing to be reached.
        let Ok(body) = std::fs::read_to_string(site.join(&page)) else { continue };
        for target in body.split("href=\"").skip(1).filter_map(|part| part.split('"').next()) {
            let file = target.split(['#', '?']).next().unwrap_or_default();
            if file.is_empty() || target.contains(':') {
                continue;
            }
            let mut parts: Vec<&str> = page.split('/').collect();
            parts.pop();
            for step in file.split('/') {
                if step == ".." {
                    parts.pop();
                } else {
                    parts.push(step);
                }
            }
            let path = parts.join("/");
            if !site.join(&path).is_file() {
                return Some((page, path));
            }
            if path.ends_with(".html") && seen.insert(path.clone()) {
                open.push(path);
            }
        }
    }
    None
}

/// The newest trading date that the index shows.
fn shown(site: &Path) -> Option<String> {
    let status: Value = serde_json::from_slice(&std::fs::read(site.join("status.json")).ok()?).ok()?;
    Some(status["shown"]["as_of"].as_str().or(status["as_of"].as_str())?.to_owned())
}

/// The summaries on record, without what may differ between two runs, by run.
fn recorded(data: &Path) -> BTreeMap<String, Value> {
    let (history, _) = json(&["history", "--limit", "1000", "--data", text(data), "--json"]).unwrap();
    history["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            let mut run = run.clone();
            // Beside the summary stands the verdict of the night.
            assert!(run.as_object_mut().unwrap().remove("night").is_some_and(|night| night == "ok"), "{run}");
            (run["batch_run_id"].as_str().unwrap().to_owned(), timeless(run))
        })
        .collect()
}

#[test]
fn nothing_is_lost_by_kills_at_any_moment() {
    let (kills, seed) = (setting("NIGHTBOOK_KILLS", KILLS), setting("NIGHTBOOK_KILL_SEED", 20_261_124));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let (book, calm, data) = (dir.path().join("book"), dir.path().join("calm"), dir.path().join("data"));
    write_book(&book, PORTFOLIOS).unwrap();
    let rounds = kills.div_ceil(KILLS_A_RUN);
    let last = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
    let mut dates = book::Calendar::Nyse.sessions(last - chrono::Duration::days(360), last);
    dates.truncate(dates.len().min(200));
    let (mut done, mut closed, mut longest) = (0, BTreeMap::<String, Value>::new(), Duration::from_millis(250));
    let (mut lost, mut twice, mut damaged) = (0, 0, 0);
    for round in 0..rounds {
        // Round and round the year: a second time with `--again`, which is a run of its own.
        let as_of = dates[dates.len() - 1 - (round as usize % dates.len())];
        let again = round as usize >= dates.len();
        for _ in 0..KILLS_A_RUN.min(kills - done) {
            let mut command = run(&book, &data, as_of);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Not a synchronisation: the moment of the kill is what is drawn.
            let until = Instant::now() + longest.mul_f64(rng.random_range(0.02..1.1));
            while Instant::now() < until && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let _ = child.kill();
            child.wait().unwrap();
            done += 1;
            let dead = dead_link(&data.join("site"));
            assert_eq!(dead, None, "seed {seed}, kill {done}: a link of the site leads nowhere");
        }
        let before = shown(&data.join("site"));
        let began = Instant::now();
        let output = run(&book, &data, as_of).output().unwrap();
        longest = began.elapsed().clamp(Duration::from_millis(60), Duration::from_secs(5));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("seed {seed}, {as_of}: {error}: {}", String::from_utf8_lossy(&output.stderr))
        });
        if again {
            continue;
        }
        let undisturbed: Value = serde_json::from_slice(&run(&book, &calm, as_of).output().unwrap().stdout).unwrap();
        assert_eq!(timeless(summary.clone()), timeless(undisturbed), "seed {seed}, {as_of}");
        let id = summary["batch_run_id"].as_str().unwrap().to_owned();
        let exported = e2e::nightbook(&["export", &id, "--data", text(&data)]).unwrap();
        let lines: Vec<Value> = String::from_utf8(exported.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let keys: BTreeSet<String> =
            lines.iter().map(|line| format!("{} {}", line["portfolio_id"], line["job_name"])).collect();
        twice += lines.len() - keys.len();
        lost += (PORTFOLIOS * 9).saturating_sub(keys.len());
        // The first run goes backwards through the year, so that the index keeps what it showed.
        assert!(shown(&data.join("site")) >= before, "seed {seed}, {as_of}: the index went back");
        closed.insert(id, timeless(summary));
    }
    let there = recorded(&data);
    for (id, summary) in &closed {
        lost += usize::from(there.get(id) != Some(summary));
    }
    let (doctor, code) = json(&["doctor", "--data", text(&data), "--json"]).unwrap();
    damaged += doctor["problems"].as_array().unwrap().len();
    e2e::say(&format!("kills={done} lost={lost} double_counted={twice} damaged={damaged}"));
    assert_eq!((lost, twice, damaged, code), (0, 0, 0, 0), "seed {seed}: {doctor}");
}
