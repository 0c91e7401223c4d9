//! Random sequences of runs, reruns, filters, deletions, closures, corrections and stale prices: no two surfaces may
//! disagree about a night, and none is green while the night is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use e2e::{json, nightbook, say, text, write_book};
use serde_json::Value;

/// Two sessions in a row; the prices of the book end on the second.
const DATES: [&str; 2] = ["2026-11-23", "2026-11-24"];

/// Sequences of one test run.
const SEQUENCES: u64 = 6;

/// Steps of a sequence, each a change of the book and a run.
const STEPS: usize = 7;

/// Portfolios of the book.
const PORTFOLIOS: usize = 3;

/// A small generator of pseudo-random numbers (xorshift64*), so that a sequence can be repeated from its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % limit
    }
}

/// What the book says about a portfolio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// It can be processed.
    Good,
    /// A quantity is not a number.
    Unusable,
    /// It is declared closed from the first date on.
    Closed,
    /// It is in no file.
    Deleted,
}

/// The night as a reader would work it out by hand.
#[derive(Debug, Clone, Default)]
struct Expectation {
    /// Expected portfolios, as of the newest full run.
    expected: BTreeSet<usize>,
    /// Whether the newest run that held the portfolio processed it.
    processed: BTreeMap<usize, bool>,
    /// Whether the newest close was of the date, by the newest full run and the filtered ones after it.
    fresh: bool,
    /// Whether a full run took place.
    planned: bool,
}

impl Expectation {
    fn is_good(&self) -> bool {
        self.fresh && self.expected.iter().all(|portfolio| self.processed.get(portfolio) == Some(&true))
    }
}

struct Rig {
    folder: tempfile::TempDir,
    /// The files of the book as they were written first.
    original: BTreeMap<String, String>,
    rows: [Row; PORTFOLIOS],
    /// Whether the closes of the last date are missing.
    stale: bool,
    nights: BTreeMap<&'static str, Expectation>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let book = folder.path().join("book");
        write_book(&book, PORTFOLIOS).unwrap();
        let file = |name: &str| (name.to_owned(), std::fs::read_to_string(book.join(name)).unwrap());
        let original = ["portfolios.csv", "positions.csv", "prices.csv"].map(file).into();
        Self { folder, original, rows: [Row::Good; PORTFOLIOS], stale: false, nights: BTreeMap::new() }
    }

    fn book(&self) -> PathBuf {
        self.folder.path().join("book")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes the book as `rows` and `stale` say.
    fn write(&self) {
        let row_of = |line: &str| (0..PORTFOLIOS).find(|n| line.starts_with(&format!("p{n:03},")));
        let portfolios = self.lines("portfolios.csv", |line| match row_of(line).map(|n| self.rows[n]) {
            None => Some(format!("{line},closed_on")),
            Some(Row::Deleted) => None,
            Some(Row::Closed) => Some(format!("{line},2026-11-02")),
            Some(Row::Good | Row::Unusable) => Some(format!("{line},")),
        });
        let positions = self.lines("positions.csv", |line| match row_of(line).map(|n| self.rows[n]) {
            Some(Row::Deleted) => None,
            Some(Row::Unusable) if line.contains(",S0,") => Some(line.replacen(",1", ",1OO", 1)),
            _ => Some(line.to_owned()),
        });
        let prices =
            self.lines("prices.csv", |line| (!self.stale || !line.starts_with(DATES[1])).then(|| line.to_owned()));
        for (name, content) in [("portfolios.csv", portfolios), ("positions.csv", positions), ("prices.csv", prices)] {
            std::fs::write(self.book().join(name), content).unwrap();
        }
    }

    fn lines(&self, name: &str, change: impl Fn(&str) -> Option<String>) -> String {
        self.original[name].lines().filter_map(change).map(|line| format!("{line}\n")).collect()
    }

    /// Runs a date, all of it or one portfolio, and notes what it should come to. `--again` so that each run takes place.
    fn run(&mut self, date: &'static str, portfolio: Option<usize>) {
        let (book, data) = (self.book(), self.data());
        let mut words = vec!["run", "--book", text(&book), "--data", text(&data), "--as-of", date, "--again", "--json"];
        let id = portfolio.map(|n| format!("p{n:03}"));
        if let Some(id) = &id {
            words.extend(["--portfolio", id]);
        }
        let open = |n: &usize| matches!(self.rows[*n], Row::Good | Row::Unusable);
        let covered: Vec<usize> = match portfolio {
            Some(n) => vec![n],
            None => (0..PORTFOLIOS).filter(open).collect(),
        };
        if covered.is_empty() || !covered.iter().all(open) {
            return;
        }
        let output = nightbook(&words).unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let before = DATES.iter().rev().find(|other| **other < date).and_then(|other| self.nights.get(other));
        let expected_before = before.map(|night| night.expected.clone()).unwrap_or_default();
        let night = self.nights.entry(date).or_default();
        let fresh = !(self.stale && date == DATES[1]);
        if portfolio.is_none() || !night.planned {
            let open: BTreeSet<usize> = (0..PORTFOLIOS).filter(open).collect();
            night.expected =
                &(&open | &expected_before) - &(0..PORTFOLIOS).filter(|n| self.rows[*n] == Row::Closed).collect();
            night.fresh =
                if portfolio.is_none() { fresh } else { fresh && (night.processed.is_empty() || night.fresh) };
        } else {
            night.fresh &= fresh;
        }
        night.planned |= portfolio.is_none();
        night.processed.extend(covered.iter().map(|n| (*n, self.rows[*n] == Row::Good)));
    }

    /// What every surface says about the night of a date is the same, and is green only where the night is good.
    fn compare(&self, date: &str, newest: &str, trail: &str) {
        let data = self.data();
        let (night, code) = json(&["night", date, "--data", text(&data), "--json"]).unwrap();
        let verdict = night["verdict"].as_str().unwrap().to_owned();
        let green = matches!(verdict.as_str(), "ok" | "warning");
        assert_eq!(code, i32::from(!green), "{trail}: exit code of {verdict}");
        assert_eq!(
            green,
            self.nights[date].is_good(),
            "{trail}: {verdict} on {date}: {night:#}\n{:?}",
            self.nights[date]
        );
        let totals = &night["totals"];
        let sum: u64 = ["success", "failed", "skipped", "missing"].iter().filter_map(|key| totals[*key].as_u64()).sum();
        assert_eq!(Some(sum), totals["total_jobs"].as_u64(), "{trail}");

        let site = data.join("site");
        assert_eq!(verdict_of_page(&site.join(format!("nights/{date}/index.html"))), verdict, "{trail}");
        if date != newest {
            return;
        }
        assert_eq!(verdict_of_page(&site.join("index.html")), verdict, "{trail}");
        let status: Value = read_json(&site.join("status.json"));
        for key in ["verdict", "headline", "totals", "expected_portfolios", "absent", "as_of"] {
            assert_eq!(status["night"][key], night[key], "{trail}: {key} of status.json");
        }
        let old_word = if green { "success" } else { verdict.as_str() };
        assert_eq!(status["status"], old_word, "{trail}");
        assert_eq!(status["verdict"], night["headline"], "{trail}");
        let badge = read_json(&site.join("badge.json"));
        assert!(badge["message"].as_str().unwrap().starts_with(&verdict), "{trail}: {badge}");
        let (plain, plain_code) = json(&["night", "--data", text(&data), "--json"]).unwrap();
        assert_eq!((&plain, plain_code), (&night, code), "{trail}: the newest night");
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn verdict_of_page(path: &Path) -> String {
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let found = regex::Regex::new("<body[^>]* data-verdict=\"([a-z]+)\"").unwrap();
    found.captures(&page).unwrap_or_else(|| panic!("{} has no verdict", path.display()))[1].to_owned()
}

#[test]
fn no_two_surfaces_disagree_about_a_night() {
    for seed in 1..=SEQUENCES {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut rig = Rig::new();
        let mut trail = format!("seed {seed}");
        for step in 0..STEPS {
            if step > 0 {
                match chance.below(4) {
                    0 => rig.stale = !rig.stale,
                    _ => {
                        rig.rows[chance.below(PORTFOLIOS)] =
                            [Row::Good, Row::Unusable, Row::Closed, Row::Deleted][chance.below(4)]
                    }
                }
            }
            rig.write();
            let date = if step == 0 { DATES[0] } else { DATES[chance.below(2)] };
            let portfolio = (step > 0 && chance.below(2) == 0).then(|| chance.below(PORTFOLIOS));
            rig.run(date, portfolio);
            trail.push_str(&format!("; {:?} stale={} run {date} {portfolio:?}", rig.rows, rig.stale));
            let newest = rig.nights.keys().max().copied().unwrap();
            for date in rig.nights.keys() {
                rig.compare(date, newest, &trail);
            }
        }
    }
    say(&format!("{SEQUENCES} sequences of {STEPS} steps"));
}
