//! Runs as OpenLineage events, told by the real program: to a file, to an address, and to one that does not take them.

use std::path::Path;
use std::process::Command;

use e2e::{json, nightbook, program, text, write_book};
use serde_json::Value;

use crate::http::{Server, reply};

const KEY: &str = "canary-3f9c2b7e51";

fn book_with(dir: &Path, lineage: &str) -> std::path::PathBuf {
    let book = dir.join("book");
    write_book(&book, 2).unwrap();
    let settings = book.join("nightbook.toml");
    let written = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{written}\n[lineage]\n{lineage}")).unwrap();
    book
}

fn run(book: &Path, data: &Path) -> (i32, String) {
    let ran = Command::new(program().unwrap())
        .args(["run", "--book", text(book), "--data", text(data), "--as-of", "2026-11-24"])
        .env("TEST_LINEAGE_KEY", KEY)
        .output()
        .unwrap();
    (ran.status.code().unwrap(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Files of a folder that hold a text.
pub(crate) fn holding(folder: &Path, needle: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, needle));
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|part| part == needle.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_run_is_told_to_a_file_and_to_an_address_and_the_same_again_by_export() {
    // The first request fails in a way that may pass.
    let server =
        Server::start(|n, _| if n == 0 { reply("503 Busy", &[], b"") } else { reply("201 Created", &[], b"") });
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://{}/api/v1/lineage", server.address);
    let book = book_with(
        dir.path(),
        &format!("namespace = \"risk\"\nfile = \"told.ndjson\"\nurl = \"{url}\"\nkey_env = \"TEST_LINEAGE_KEY\"\n"),
    );
    let data = dir.path().join("data");
    let (code, log) = run(&book, &data);
    assert_eq!(code, 0, "{log}");
    let written = lines(&std::fs::read(data.join("told.ndjson")).unwrap());
    assert_eq!(written.len(), 2 + 2 * 2 * 9, "start and end of the run, and of nine jobs of two portfolios");
    let requests = server.requests();
    let posted: Vec<Value> =
        requests[1..].iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert_eq!(posted, written);
    assert!(requests.iter().all(|request| request.headers["authorization"] == format!("Bearer {KEY}")));
    assert!(requests.iter().all(|request| request.target == "/api/v1/lineage" && request.method == "POST"));
    let export = nightbook(&["export", "latest", "--data", text(&data), "--format", "openlineage"]).unwrap();
    assert_eq!(lines(&export.stdout), written);
    assert!(written.iter().all(|event| event["job"]["namespace"] == "risk"));
    assert_eq!((&written[0]["eventType"], &written[37]["eventType"]), (&"START".into(), &"COMPLETE".into()));
    assert_eq!(holding(dir.path(), KEY), Vec::<std::path::PathBuf>::new());
    assert!(!log.contains(KEY));
}

#[test]
fn a_run_that_cannot_be_told_is_as_good_as_any_other() {
    let server = Server::start(|_, _| reply("307 Elsewhere", &[("location", "http://127.0.0.1:9/")], b""));
    for (url, said) in [(format!("http://{}/x", server.address), "307"), ("http://127.0.0.1:1/x".to_owned(), "refused")]
    {
        let dir = tempfile::tempdir().unwrap();
        let book = book_with(dir.path(), &format!("url = \"{url}\"\nkey_env = \"TEST_LINEAGE_KEY\"\n"));
        let data = dir.path().join("data");
        let (code, log) = run(&book, &data);
        assert_eq!(code, 0, "{log}");
        let told = log.lines().find(|line| line.contains("lineage.failed")).unwrap_or_else(|| panic!("{log}"));
        assert!(told.contains("0 of 38 events were sent") && told.to_lowercase().contains(said), "{told}");
        assert!(!log.contains(KEY) && holding(dir.path(), KEY).is_empty());
        let (summary, _) = json(&["show", "latest", "--data", text(&data), "--json"]).unwrap();
        assert_eq!(summary["status"], "success");
    }
}
