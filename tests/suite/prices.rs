//! Prices from outside, by the real program against sources that answer well, and in every way badly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::NaiveDate;
use e2e::{json, program, text, write_book};
use serde_json::{Value, json as object};

use crate::http::{Reply, Request, Server, reply};
use crate::lineage::holding;

const KEY: &str = "canary-9d41e07aa3";

/// A book whose closes all come from a source: those that `write_book` writes.
fn book_of(dir: &Path, settings: &str) -> (PathBuf, Prices) {
    let book = dir.join("book");
    write_book(&book, 2).unwrap();
    let mut prices = Prices::new();
    for line in std::fs::read_to_string(book.join("prices.csv")).unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        prices.entry(fields[1].to_owned()).or_default().insert(fields[0].parse().unwrap(), fields[2].to_owned());
    }
    std::fs::remove_file(book.join("prices.csv")).unwrap();
    let file = book.join("nightbook.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{written}\n[prices]\nsource = \"http\"\n{settings}\n")).unwrap();
    (book, prices)
}

type Prices = BTreeMap<String, BTreeMap<NaiveDate, String>>;

fn run(book: &Path, data: &Path, as_of: &str) -> (Value, i32, String) {
    let ran = Command::new(program().unwrap())
        .args(["run", "--book", text(book), "--data", text(data), "--as-of", as_of, "--json"])
        .env("TEST_PRICES_KEY", KEY)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&ran.stderr).into_owned();
    let summary = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{log}"));
    (summary, ran.status.code().unwrap(), log)
}

/// The value of a parameter of a request.
fn parameter(request: &Request, name: &str) -> String {
    let (_, query) = request.target.split_once('?').unwrap();
    let found = query.split('&').find_map(|part| part.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("no {name} in {}", request.target)).to_owned()
}

/// The closes that a request asks for, as a table.
fn table(prices: &Prices, request: &Request) -> Vec<u8> {
    let day = |name: &str| -> NaiveDate { parameter(request, name).parse().unwrap() };
    let mut body = "Date,Close\n".to_owned();
    for (date, close) in
        prices.get(&parameter(request, "s")).into_iter().flat_map(|days| days.range(day("from")..=day("to")))
    {
        body.push_str(&format!("{date},{close}\n"));
    }
    body.into_bytes()
}

fn settings(server: &str, more: &str) -> String {
    format!(
        "url = \"http://{server}/eod?s={{symbol}}&from={{from}}&to={{to}}&token={{key}}\"\nkey_env = \"TEST_PRICES_KEY\"\nrequests_per_minute = 60000\ntimeout_seconds = 30\n{more}"
    )
}

/// The brief of the prices in the record of a portfolio.
fn brief(data: &Path) -> Value {
    let (shown, _) = json(&["show", "latest", "--data", text(data), "--portfolio", "p000", "--json"]).unwrap();
    shown["jobs"][0].clone()
}

/// A server that knows the prices of the book, once they are given to it.
fn source(
    answer: impl Fn(&Prices, usize, &Request) -> Reply + Send + Sync + 'static,
) -> (Server, std::sync::Arc<std::sync::OnceLock<Prices>>) {
    let prices = std::sync::Arc::<std::sync::OnceLock<Prices>>::default();
    let known = std::sync::Arc::clone(&prices);
    (Server::start(move |n, request| answer(known.get().unwrap(), n, request)), prices)
}

#[test]
fn what_is_missing_is_fetched_once_and_kept() {
    let (server, known) = source(|prices, _, request| reply("200 OK", &[], &table(prices, request)));
    let dir = tempfile::tempdir().unwrap();
    let (book, prices) = book_of(dir.path(), &settings(&server.address.to_string(), ""));
    known.set(prices).unwrap();
    let data = dir.path().join("data");
    let (summary, code, log) = run(&book, &data, "2026-11-20");
    assert_eq!((code, &summary["status"]), (0, &"success".into()), "{log}");
    let first = brief(&data)["job_metadata"].clone();
    let asked = server.requests();
    assert_eq!((&first["symbols_processed"], &first["api_calls"], asked.len()), (&8.into(), &8.into(), 8), "{first}");
    assert_eq!((&first["symbols_updated"], &first["records_skipped"]), (&8.into(), &0.into()));
    assert_eq!(first["records_inserted"], first["total_records_attempted"]);
    assert!(asked.iter().all(|request| parameter(request, "to") == "2026-11-20"));

    // The next night asks for the new sessions only, and a run of a date that is there for nothing.
    let (_, code, _) = run(&book, &data, "2026-11-24");
    let second = brief(&data)["job_metadata"].clone();
    assert_eq!((code, &second["records_inserted"]), (0, &16.into()), "{second}");
    assert!(server.requests()[8..].iter().all(|request| parameter(request, "from") == "2026-11-23"));
    let many = server.requests().len();
    let again = Command::new(program().unwrap())
        .args(["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--again", "--json"])
        .env("TEST_PRICES_KEY", KEY)
        .output()
        .unwrap();
    assert_eq!((again.status.code(), server.requests().len()), (Some(0), many));
    let third = brief(&data)["job_metadata"].clone();
    assert_eq!((&third["api_calls"], &third["api_calls_saved"]), (&0.into(), &8.into()), "{third}");

    // A rerun has its pinned prices, whatever became of the source.
    drop(server);
    let (rerun, code) = json(&["rerun", "latest", "--data", text(&data), "--json"]).unwrap();
    assert_eq!((code, &rerun["status"]), (0, &"success".into()), "{rerun}");
    assert_eq!(holding(dir.path(), KEY), Vec::<PathBuf>::new());
}

#[test]
fn fetched_prices_give_the_results_of_the_same_prices_in_the_book() {
    let (server, known) = source(|prices, _, request| {
        let symbols = parameter(request, "s").replace("%2C", ",");
        let rows: Vec<Value> = symbols
            .split(',')
            .flat_map(|symbol| prices.get(symbol).into_iter().flatten().map(move |(date, close)| (symbol, date, close)))
            .map(|(symbol, date, close)| object!({"sym": symbol, "day": format!("{date}T00:00:00Z"), "adj": close.parse::<f64>().unwrap()}))
            .collect();
        assert_eq!(request.headers["authorization"], format!("Token {KEY}"));
        reply(
            "200 OK",
            &[("content-type", "application/json")],
            object!({"data": {"rows": rows}}).to_string().as_bytes(),
        )
    });
    let dir = tempfile::tempdir().unwrap();
    let batched = format!(
        "url = \"http://{}/v2?s={{symbols}}&a={{from_compact}}&b={{to_compact}}\"\nheader = \"Authorization: Token {{key}}\"\nkey_env = \"TEST_PRICES_KEY\"\nformat = \"json\"\nrows = \"data.rows\"\ndate = \"day\"\nclose = \"adj\"\nsymbol = \"sym\"\nbatch_size = 5\n",
        server.address
    );
    let (book, prices) = book_of(dir.path(), &batched);
    known.set(prices).unwrap();
    let data = dir.path().join("data");
    let (_, code, log) = run(&book, &data, "2026-11-24");
    assert_eq!(code, 0, "{log}");
    assert_eq!(server.requests().len(), 2, "eight symbols in batches of five");

    let own = dir.path().join("own");
    write_book(&own, 2).unwrap();
    let other = dir.path().join("other");
    let (_, code) =
        json(&["run", "--book", text(&own), "--data", text(&other), "--as-of", "2026-11-24", "--json"]).unwrap();
    assert_eq!(code, 0);
    let results = |data: &Path| {
        json(&["show", "latest", "--data", text(data), "--portfolio", "p001", "--json"]).unwrap().0["results"].clone()
    };
    assert_eq!(results(&data), results(&other));
}

#[test]
fn a_source_that_stumbles_is_asked_again() {
    let (server, known) = source(|prices, n, request| {
        let good = || reply("200 OK", &[], &table(prices, request));
        match n {
            0 => reply("429 Slow down", &[("retry-after", "1")], b""),
            1 => reply("503 Busy", &[("retry-after", "0")], b""),
            // Half a body.
            3 => good()[..200].to_vec(),
            5 => reply("200 OK", &[("content-type", "text/html")], b"<!DOCTYPE html><title>Maintenance</title>"),
            7 => reply("500 Oops", &[], b""),
            9 => b"HTTP/1.1 200 OK\r\n".to_vec(),
            // Half a number, and nothing says that there is more.
            11 => [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &table(prices, request)[..201]].concat(),
            _ => good(),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let (book, prices) = book_of(dir.path(), &settings(&server.address.to_string(), ""));
    known.set(prices).unwrap();
    let data = dir.path().join("data");
    let (summary, code, log) = run(&book, &data, "2026-11-24");
    assert_eq!((code, &summary["status"]), (0, &"success".into()), "{log}");
    assert_eq!(brief(&data)["job_metadata"]["api_calls"], server.requests().len());
}

#[test]
fn rows_that_cannot_be_right_are_left_out_and_counted() {
    let (server, known) = source(|prices, _, request| {
        let mut body = table(prices, request);
        body.extend_from_slice(
            b"2026-11-25,500\n2031-01-02,500\n1999-01-04,1\n2026-11-22,70\n2026-11-24,NaN\n2026-11-24,-3\n2026-11-24,0\nsoon,4\n",
        );
        reply("200 OK", &[], &body)
    });
    let dir = tempfile::tempdir().unwrap();
    let (book, prices) = book_of(dir.path(), &settings(&server.address.to_string(), ""));
    known.set(prices).unwrap();
    let data = dir.path().join("data");
    let (_, code, log) = run(&book, &data, "2026-11-24");
    assert_eq!(code, 0, "{log}");
    let brief = brief(&data);
    // Per symbol: four wrong values, and three days that were not asked for; the Sunday is no session and passes by.
    assert_eq!(brief["job_metadata"]["rows_left_out"], 8 * 7, "{brief}");
    let store = rusqlite::Connection::open(data.join("prices.sqlite")).unwrap();
    let strange: u32 = store
        .query_row("SELECT count(*) FROM closes WHERE date > '2026-11-24' OR date < '2020' OR date = '2026-11-22' OR close >= 500", [], |row| row.get(0))
        .unwrap();
    assert_eq!(strange, 0);
}

#[test]
fn a_source_that_is_down_fails_one_job_and_all_say_which() {
    let refused = Server::start(|_, _| reply("403 No", &[], KEY.as_bytes()));
    let elsewhere = Server::start(|_, _| reply("302 There", &[("location", "http://127.0.0.1:9/")], b""));
    let busy = Server::start(|_, _| reply("503 Busy", &[("retry-after", "0")], b""));
    for (address, category, said) in [
        ("127.0.0.1:1".to_owned(), "transient", "could not be asked"),
        (busy.address.to_string(), "transient", "answered 503"),
        (refused.address.to_string(), "permanent", "check the key"),
        (elsewhere.address.to_string(), "permanent", "leads elsewhere"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (book, _) = book_of(dir.path(), &settings(&address, ""));
        let file = book.join("nightbook.toml");
        let once = std::fs::read_to_string(&file).unwrap().replace("[run]\n", "[run]\nretries = 1\n");
        std::fs::write(&file, once).unwrap();
        let data = dir.path().join("data");
        let (summary, code, log) = run(&book, &data, "2026-11-24");
        assert_eq!((code, &summary["status"]), (1, &"failed".into()), "{log}");
        let [cause] = &summary["failures"].as_array().unwrap()[..] else { panic!("{summary}") };
        assert_eq!(
            (&cause["job"], &cause["category"], &cause["count"]),
            (&"market_data_update".into(), &category.into(), &2.into())
        );
        let message = cause["message"].as_str().unwrap();
        assert!(message.contains(said) && message.contains("127.0.0.1"), "{message}");
        assert_eq!((&summary["failed_jobs"], &summary["skipped_jobs"]), (&2.into(), &16.into()));
        let (shown, _) = json(&["show", "latest", "--data", text(&data), "--portfolio", "p001", "--json"]).unwrap();
        assert!(
            shown["jobs"].as_array().unwrap()[1..]
                .iter()
                .all(|job| job["skipped_because"]["job"] == "market_data_update")
        );
        assert!(!log.contains(KEY) && !summary.to_string().contains(KEY), "{log}");
        assert_eq!(holding(dir.path(), KEY), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_source_that_stalls_is_given_up_and_a_key_that_is_not_set_is_said() {
    let stalls = Server::start(|_, _| {
        // Says nothing for longer than anybody waits.
        std::thread::park_timeout(std::time::Duration::from_secs(5));
        Vec::new()
    });
    let dir = tempfile::tempdir().unwrap();
    let more = "total_seconds = 3\n";
    let (book, _) = book_of(
        dir.path(),
        &settings(&stalls.address.to_string(), more).replace("timeout_seconds = 30", "timeout_seconds = 1"),
    );
    let file = book.join("nightbook.toml");
    let once = std::fs::read_to_string(&file).unwrap().replace("[run]\n", "[run]\nretries = 1\n");
    std::fs::write(&file, once).unwrap();
    let (summary, code, log) = run(&book, &dir.path().join("data"), "2026-11-24");
    assert_eq!((code, &summary["failures"][0]["category"]), (1, &"transient".into()), "{log}");
    let ran = Command::new(program().unwrap())
        .args([
            "run",
            "--book",
            text(&book),
            "--data",
            text(&dir.path().join("other")),
            "--as-of",
            "2026-11-24",
            "--json",
        ])
        .env_remove("TEST_PRICES_KEY")
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let cause = &summary["failures"][0];
    assert_eq!(cause["category"], "permanent");
    assert!(cause["message"].as_str().unwrap().contains("TEST_PRICES_KEY"), "{cause}");
}
