//! The history API of `nightbook serve`, from outside: questions, commands, and clients that misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{json, program, text, write_book};
use serde_json::{Value, json};

/// A server that ends with this value.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Its output stays open, so that it can say more.
    _said: BufReader<std::process::ChildStdout>,
}

impl Serving {
    /// Sends a signal, for example `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the process is gone");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path, listen: &str) -> Command {
    let mut command = Command::new(program().unwrap());
    command
        .args(["serve", "--book", text(&dir.join("book")), "--data", text(&dir.join("data")), "--listen", listen])
        .env_remove("NIGHTBOOK_TOKEN")
        .env_remove("NIGHTBOOK_READ_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(dir.join("serve.log")).unwrap());
    command
}

pub(crate) fn serve(dir: &Path, environment: &[(&str, &str)]) -> Serving {
    let mut child = command(dir, "127.0.0.1:0").envs(environment.iter().copied()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    let address = first.trim().rsplit("http://").next().unwrap().trim_end_matches('/');
    Serving { address: address.parse().unwrap_or_else(|_| panic!("{first}")), child, _said: said }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends these bytes and reads what comes until the server closes or the answer is whole.
fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // A server that has heard enough may close before all is sent.
    let _ = stream.write_all(bytes);
    answer(stream)
}

fn answer(stream: TcpStream) -> Option<Answer> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let status = line.split_whitespace().nth(1)?.parse().ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    match length {
        Some(length) => reader.take(length).read_to_end(&mut body).ok()?,
        None => reader.read_to_end(&mut body).ok()?,
    };
    Some(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}{length}\r\n{body}");
    raw(address, request.as_bytes()).unwrap_or_else(|| panic!("{method} {path} was not answered"))
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "", "")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    ask(address, "POST", path, "content-type: application/json\r\n", &body.to_string())
}

/// Asks until it is so, for a minute.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "after a minute still not: {what}");
    }
}

/// Waits until the run at this place is closed and its pages are out.
pub(crate) fn until_closed(address: SocketAddr, place: &str) -> Value {
    until("closed", || get(address, place).json()["closed_at"].is_string());
    until("idle", || get(address, "/api/v1/batch/runs/current").json()["status"] == "idle");
    get(address, place).json()
}

/// A book of two portfolios and a night of it.
fn one_night(dir: &Path) -> Value {
    write_book(&dir.join("book"), 2).unwrap();
    let (book, data) = (dir.join("book"), dir.join("data"));
    json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-23", "--json"]).unwrap().0
}

#[test]
fn the_questions_are_answered_beside_the_site() {
    let dir = tempfile::tempdir().unwrap();
    let night = one_night(dir.path());
    let serving = serve(dir.path(), &[]);
    let last = get(serving.address, "/api/v1/batch/last-run");
    assert_eq!((last.status, &last.json()["run"]), (200, &night), "the API and the command say the same");
    let of_run = get(serving.address, &format!("/api/v1/batch/runs/{}/jobs", night["batch_run_id"].as_str().unwrap()));
    assert_eq!(of_run.json()["total_jobs"], night["total_jobs"]);
    let success = get(serving.address, "/api/v1/batch/jobs/factor_analysis/last-success").json();
    let data = dir.path().join("data");
    let (told, _) = json(&["last", "factor_analysis", "--data", text(&data), "--json"]).unwrap();
    assert_eq!(success, told);
    assert_eq!(get(serving.address, "/healthz").json(), json!({"status": "ok"}));
    assert_eq!(get(serving.address, "/").status, 200, "the site");
    let lost = get(serving.address, "/no/such/page");
    assert_eq!(lost.status, 404);
    assert!(lost.headers["content-type"].starts_with("text/html"), "a page of the site is missed as a page");
    let unknown = get(serving.address, "/api/v1/no/such/question");
    assert_eq!((unknown.status, unknown.headers["content-type"].as_str()), (404, "application/problem+json"));
    let etag = &last.headers["etag"];
    let same = ask(serving.address, "GET", "/api/v1/batch/last-run", &format!("if-none-match: {etag}\r\n"), "");
    assert_eq!((same.status, same.body.as_str()), (304, ""));
}

#[test]
fn a_run_is_started_repeated_and_annotated_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let night = one_night(dir.path());
    let old = night["batch_run_id"].as_str().unwrap();
    let serving = serve(dir.path(), &[]);
    let address = serving.address;
    until("idle", || get(address, "/api/v1/batch/runs/current").json()["status"] == "idle");
    let started = post(address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-24", "portfolio_ids": ["p001"]}));
    assert_eq!((started.status, &started.json()["status"]), (202, &json!("started")), "{started:?}");
    let place = started.headers["location"].clone();
    let run = until_closed(address, &place);
    assert_eq!(
        (&run["trigger"], &run["portfolios_expected"], &run["as_of"]),
        (&json!("api"), &json!(1), &json!("2026-11-24"))
    );
    let same = post(address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-24", "portfolio_ids": ["p001"]}));
    assert_eq!((same.status, &same.json()["status"]), (200, &json!("finished")));
    for (body, says) in [
        (json!({"as_of": "2026-11-22"}), "not a session"),
        (json!({"portfolio_ids": ["nobody"]}), "no portfolio nobody"),
    ] {
        let refused = post(address, "/api/v1/batch/runs", &body);
        assert!(refused.status == 422 && refused.body.contains(says), "{refused:?}");
    }
    let rerun = post(address, &format!("/api/v1/batch/runs/{old}/rerun"), &json!({}));
    assert_eq!(rerun.status, 202, "{rerun:?}");
    let place = rerun.headers["location"].clone();
    let repeated = until_closed(address, &place);
    assert_eq!((&repeated["rerun_of"], &repeated["successful_jobs"]), (&json!(old), &night["successful_jobs"]));
    assert_eq!(repeated["market_snapshot"], night["market_snapshot"], "on the same inputs");

    let notes = format!("/api/v1/batch/runs/{old}/notes");
    let note = json!({"kind": "annotate", "author": "Zoë", "text": "vendor late <b>again</b>"});
    assert_eq!(post(address, &notes, &note).status, 201);
    let page = format!("/runs/{old}/index.html");
    until("the note is on the page", || get(address, &page).body.contains("vendor late &#60;b&#62;again"));
    let metrics = get(address, "/metrics");
    assert!(metrics.headers["content-type"].starts_with("text/plain; version=0.0.4"), "{metrics:?}");
    for line in [
        "nightbook_runs_closed_total{status=\"success\"} 2",
        "nightbook_last_run_status{status=\"success\"} 1",
        "nightbook_open_runs 0",
        "nightbook_events_total{event=\"run.asked_for\",level=\"info\"} 2",
        "nightbook_events_total{event=\"note.added\",level=\"info\"} 1",
    ] {
        assert!(metrics.body.lines().any(|said| said == line), "{line} is not in\n{}", metrics.body);
    }
    assert!(metrics.body.contains("nightbook_http_requests_total{code=\"200\"} "), "{}", metrics.body);
    let ended = post(address, &format!("/api/v1/batch/runs/{old}/cancel"), &json!({}));
    assert_eq!(ended.status, 409, "{ended:?}");
    drop(serving);
    let data = dir.path().join("data");
    let (doctor, code) = json(&["doctor", "--data", text(&data), "--json"]).unwrap();
    assert_eq!((doctor["problems"].as_array().unwrap().len(), code), (0, 0), "{doctor}");
    assert_eq!(doctor["checked"]["notes"], 1, "{doctor}");
    let shown = e2e::nightbook(&["show", old, "--data", text(&data)]).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("Zoë (annotate): vendor late <b>again</b>"), "{shown}");
}

#[test]
fn while_a_run_goes_on_it_is_shown_guarded_and_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    write_book(&dir.path().join("book"), 3).unwrap();
    // A job that waits until a file is there.
    let go = dir.path().join("go");
    let script =
        format!("cat >/dev/null; until [ -e {} ]; do sleep 0.05; done; echo '{{\"status\": \"success\"}}'", text(&go));
    let settings = dir.path().join("book/nightbook.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    let job = format!(
        "\n[[jobs]]\nname = \"waits\"\ncommand = [\"sh\", \"-c\", \"\"\"{}\"\"\"]\n",
        script.replace('"', "\\\"")
    );
    std::fs::write(&settings, before + &job).unwrap();
    let serving = serve(dir.path(), &[]);
    let address = serving.address;
    let started = post(address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-24"}));
    assert_eq!(started.status, 202, "{started:?}");
    let id = started.json()["batch_run_id"].clone();
    let current = || get(address, "/api/v1/batch/runs/current").json();
    until("in hand", || current()["current_job"] == "waits");
    let now = current();
    assert_eq!((&now["batch_run_id"], &now["phase"]), (&id, &json!("running")), "{now}");
    let n = |name: &str| now["jobs"][name].as_u64().unwrap();
    assert_eq!(n("completed") + n("failed") + n("skipped") + n("missing") + n("pending"), n("total"), "{now}");
    let second = post(address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-23"}));
    assert_eq!((second.status, &second.json()["batch_run_id"]), (409, &id), "{second:?}");

    // Many readers at once while it goes on.
    let readers: Vec<_> = (0..1_000)
        .map(|n| {
            let path =
                ["/api/v1/batch/runs/current", "/api/v1/batch/runs", "/api/v1/batch/jobs/summary", "/healthz"][n % 4];
            let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in readers {
        assert_eq!(answer(stream).unwrap().status, 200, "one of a thousand readers was not answered");
    }

    let cancelled = post(address, &format!("/api/v1/batch/runs/{}/cancel", id.as_str().unwrap()), &json!({}));
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (202, &json!("cancelling")), "{cancelled:?}");
    std::fs::write(&go, "").unwrap();
    let place = started.headers["location"].clone();
    let run = until_closed(address, &place);
    let n = |name: &str| run[name].as_u64().unwrap();
    assert!(run["cancelled_at"].is_string(), "{run}");
    assert_eq!(
        n("successful_jobs") + n("failed_jobs") + n("skipped_jobs") + n("missing_jobs"),
        n("total_jobs"),
        "{run}"
    );
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(!log.contains("\"event\":\"panic\""), "{log}");
}

#[test]
fn hostile_requests_are_refused_and_the_server_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    one_night(dir.path());
    let serving = serve(dir.path(), &[]);
    let address = serving.address;
    let head = |rest: &str| format!("GET /api/v1/batch/runs HTTP/1.1\r\nhost: {address}\r\n{rest}\r\n");
    let many: String = (0..5_000).map(|n| format!("x-{n}: y\r\n")).collect();
    for (what, bytes, expected) in [
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400][..]),
        ("no version", b"GET /\r\n\r\n".to_vec(), &[400, 505]),
        ("bad header", head("a b: c\r\n").into_bytes(), &[400]),
        ("many headers", head(&many).into_bytes(), &[400, 431]),
        ("a long header", head(&format!("x: {}\r\n", "y".repeat(200_000))).into_bytes(), &[400, 431]),
        ("a long target", format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(200_000)).into_bytes(), &[400, 414, 431]),
        ("bad encoding", b"GET /api/v1/batch/runs/%zz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &[400, 404]),
        ("not UTF-8", b"GET /api/v1/batch/portfolios/%ff/history HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &[400]),
        ("outside of the site", b"GET /../records.sqlite HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &[400, 404]),
        ("outside, encoded", b"GET /%2e%2e/records.sqlite HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &[400, 404]),
        ("a huge body", format!("POST /api/v1/batch/runs HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n").into_bytes(), &[413]),
        ("two lengths", format!("POST /api/v1/batch/runs HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into_bytes(), &[400]),
        ("another origin", format!("POST /api/v1/batch/runs HTTP/1.1\r\nhost: {address}\r\norigin: http://evil.example\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}").into_bytes(), &[403]),
    ] {
        match raw(address, &bytes) {
            Some(answer) => assert!(expected.contains(&answer.status), "{what}: {answer:?}"),
            // Cut off without a word is as good.
            None => assert!(what.contains("many") || what.contains("long") || what == "no HTTP", "{what} was not answered"),
        }
    }
    // Clients that send nothing, or half a head, hold nobody else up.
    let mut slow: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /api/v1/batch/runs HTTP/1.1\r\nhost: localhost\r\nx-slow: ").unwrap();
    }
    assert_eq!(get(address, "/api/v1/batch/runs").status, 200);
    // And they are cut off in the end: the read ends, with an answer or without.
    let mut one = slow.pop().unwrap();
    one.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut rest = Vec::new();
    let cut = one.read_to_end(&mut rest);
    assert!(cut.is_ok() || cut.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock), "never cut off");
    // A body that never ends: the answer says that it came too slowly.
    let mut drip = TcpStream::connect(address).unwrap();
    drip.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /api/v1/batch/runs HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    drip.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer(drip).unwrap().status, 408);
    assert_eq!(get(address, "/api/v1/batch/runs").status, 200);
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(!log.contains("\"event\":\"panic\""), "{log}");
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let dir = tempfile::tempdir().unwrap();
    one_night(dir.path());
    let refused = command(dir.path(), "0.0.0.0:0").stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), said.contains("NIGHTBOOK_TOKEN")), (Some(2), true), "{said}");
    let short =
        command(dir.path(), "127.0.0.1:0").env("NIGHTBOOK_TOKEN", "short").stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&short.stderr).into_owned();
    assert_eq!((short.status.code(), said.contains("short")), (Some(2), false), "a token must not be shown: {said}");

    let (writes, reads) = ("C4nary-that-may-write", "C4nary-that-may-read");
    let serving = serve(dir.path(), &[("NIGHTBOOK_TOKEN", writes), ("NIGHTBOOK_READ_TOKEN", reads)]);
    let address = serving.address;
    for path in ["/", "/status.json", "/metrics", "/api/v1/batch/runs"] {
        assert_eq!(get(address, path).status, 401, "{path}");
        let bearer = format!("authorization: Bearer {reads}\r\n");
        assert_eq!(ask(address, "GET", path, &bearer, "").status, 200, "{path}");
    }
    assert_eq!(get(address, "/healthz").status, 200);
    let start = |token: &str| {
        let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        ask(address, "POST", "/api/v1/batch/runs", &headers, "{\"as_of\": \"2026-11-22\"}").status
    };
    assert_eq!((start("wrong"), start(reads), start(writes)), (401, 403, 422));
    drop(serving);
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(!log.contains("C4nary"), "a token is in the log");
}
