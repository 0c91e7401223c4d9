//! Canaries of each kind of secret on every way an error takes into a record: none comes out of any surface.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use async_trait::async_trait;
use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use domain::ports::RunInputs as _;
use domain::record::JobError;
use domain::words::ErrorCategory;
use e2e::{nightbook, text, write_book};
use serde_json::Value;

/// A text as an error or a cell may hold it, and the part of it that nobody may see.
const CANARIES: [(&str, &str); 16] = [
    ("GET https://api.example.com/v1?symbol=A&apikey=C4naryInQuery&x=1", "C4naryInQuery"),
    ("https://batch:C4naryInUserinfo@prices.example.com/v1", "C4naryInUserinfo"),
    ("https://batch:C4nary/With@Signs@prices.example.com/", "Signs@"),
    ("Authorization: Bearer C4naryBearerTokenOfSome", "C4naryBearerTokenOfSome"),
    ("Authorization: Basic QzRuYXJ5QmFzaWM6cHc=", "QzRuYXJ5QmFzaWM6cHc"),
    ("AKIAC4NARYC4NARYC4NA", "AKIAC4NARYC4NARYC4NA"),
    ("aws_secret_access_key=C4nary/bPxRfiCYEXAMPLEKEY+x", "bPxRfiCYEXAMPLEKEY"),
    ("wJalrXUtnFEMI/K7MDENG/bPxRfiC4naryEXAMPLEK1", "bPxRfiC4naryEXAMPLEK1"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDNG5hcnkifQ.C4narySignature-x_y", "eyJzdWIiOiJDNG5hcnkifQ"),
    ("postgres://batch:C4naryInADsn@db:5432/prices", "C4naryInADsn"),
    ("batch:C4naryInAGoDsn@tcp(db:3306)/prices", "C4naryInAGoDsn"),
    ("account number 99887766554", "99887766554"),
    ("{\"password\": \"C4nary in JSON\"}", "C4nary in JSON"),
    ("c4c4c4c4d5d5d5d5e6e6e6e6f7f7f7f7a8a8a8a8", "c4c4c4c4d5d5d5d5e6e6e6e6f7f7f7f7"),
    ("QzRuYXJ5QzRuYXJ5QzRuYXJ5QzRuYXJ5QzRuYXJ5QzQ=", "QzRuYXJ5QzRuYXJ5QzRuYXJ5"),
    ("Cookie: session=C4naryInACookie; path=/", "C4naryInACookie"),
];

const DATE: &str = "2026-11-24";

/// Fails where a surface shows a canary; says how many bytes were looked at.
fn assert_none(surface: &str, bytes: &[u8]) -> usize {
    let shown = String::from_utf8_lossy(bytes);
    for (text, secret) in CANARIES {
        if let Some(at) = shown.find(secret) {
            let from = shown[..at].char_indices().rev().nth(80).map_or(0, |(from, _)| from);
            panic!("{surface} shows {secret} (of {text:?}): …{}", &shown[from..at + secret.len()]);
        }
    }
    bytes.len()
}

fn assert_output(surface: &str, output: &Output) -> usize {
    assert_none(&format!("stdout of {surface}"), &output.stdout)
        + assert_none(&format!("stderr of {surface}"), &output.stderr)
}

fn assert_folder(folder: &Path) -> usize {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        seen +=
            if path.is_dir() { assert_folder(&path) } else { assert_none(text(&path), &std::fs::read(&path).unwrap()) };
    }
    seen
}

fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

/// A book with a canary in every kind of wrong cell: a portfolio for each, and prices of what they hold.
fn write_canaries(book: &Path, alert: &Path) {
    write_book(book, CANARIES.len()).unwrap();
    let append = |file: &str, rows: &str| {
        let mut content = std::fs::read_to_string(book.join(file)).unwrap();
        content.push_str(rows);
        std::fs::write(book.join(file), content).unwrap();
    };
    let (mut positions, mut prices) = (String::new(), String::new());
    for (at, (canary, _)) in CANARIES.iter().enumerate() {
        let cell = quoted(canary);
        // Each column that is quoted in an error, over the portfolios; the last third has wrong prices only.
        match at % 6 {
            0 => positions.push_str(&format!("p{at:03},S1,{cell},50,2025-01-02\n")),
            1 => positions.push_str(&format!("p{at:03},S1,1,{cell},2025-01-02\n")),
            2 => positions.push_str(&format!("p{at:03},S1,1,50,{cell}\n")),
            3 => positions.push_str(&format!("p{at:03},{},1,50,2025-01-02\n", quoted(&canary.repeat(3)))),
            4 => positions.push_str(&format!("{cell},S1,1,50,2025-01-02\n")),
            _ => {}
        }
        prices.push_str(&format!("2020-01-{:02},S{},{cell}\n{cell},S{},1\n", at + 2, at % 5, at % 5));
    }
    append("positions.csv", &positions);
    append("prices.csv", &prices);
    // The command keeps what it was told, and fails with all canaries in its mouth.
    let script = format!("cat > '{}'; cat '{}' >&2; exit 3", alert.display(), book.join("said").display());
    let said: String = CANARIES.iter().map(|(text, _)| format!("{text}\n")).collect();
    std::fs::write(book.join("said"), said).unwrap();
    let command = Value::from(vec!["sh", "-c", &script, "token=C4naryInQuery"]);
    append("nightbook.toml", &format!("\n[alerts]\ncommand = {command}\n"));
}

#[test]
fn no_surface_of_a_run_shows_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data, alert) = (dir.path().join("book"), dir.path().join("data"), dir.path().join("alert.json"));
    write_canaries(&book, &alert);
    let output = nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", DATE, "--json"]).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let logs = String::from_utf8_lossy(&output.stderr);
    for event in ["\"book.errors\"", "\"job.failed\"", "\"run.alert\"", "\"alert.failed\""] {
        assert!(logs.contains(event), "the run took no way past {event}: {logs}");
    }
    let mut seen = assert_output("run", &output);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = summary["batch_run_id"].as_str().unwrap();

    let alert = std::fs::read(&alert).unwrap();
    assert!(String::from_utf8_lossy(&alert).contains("unusable row"), "the alert names no cause");
    seen += assert_none("the alert", &alert);
    let failed = summary["failures"].as_array().unwrap();
    assert!(
        failed.iter().any(|cause| cause["message"].as_str().unwrap().contains("***")),
        "nothing was masked: {failed:?}"
    );

    // The store as bytes, and decoded: a text may lie in two pages of the file.
    std::fs::remove_file(data.join("site-settings.json")).unwrap();
    seen += assert_folder(&data);
    let data_text = text(&data);
    for arguments in [
        &["export", run, "--data", data_text][..],
        &["export", run, "--format", "csv", "--data", data_text],
        &["show", run, "--data", data_text],
        &["show", run, "--json", "--data", data_text],
        &["show", run, "--job", "market_data_update", "--data", data_text],
        &["history", "--json", "--data", data_text],
        &["failures", "--data", data_text],
        &["failures", "--json", "--data", data_text],
        &["doctor", "--json", "--data", data_text],
        &["publish", "--rebuild", "--data", data_text],
    ] {
        seen += assert_output(&arguments.join(" "), &nightbook(arguments).unwrap());
    }
    for at in 0..CANARIES.len() {
        let portfolio = format!("p{at:03}");
        let output = nightbook(&["show", run, "--portfolio", &portfolio, "--json", "--data", data_text]).unwrap();
        seen += assert_output(&portfolio, &output);
    }
    for entry in std::fs::read_dir(data.join("snapshots")).unwrap() {
        let packed = std::fs::read(entry.unwrap().path()).unwrap();
        // The tag and the hash of the frame come first.
        let bytes = zstd::stream::decode_all(&packed[36..]).unwrap();
        let snapshot = jobs::Snapshot::decode(&bytes).unwrap();
        seen += assert_none("the pinned inputs", format!("{snapshot:?}").as_bytes());
        assert!(snapshot.portfolios.iter().any(|portfolio| !portfolio.issues.is_empty()));
        assert!(!snapshot.price_issues.is_empty());
    }
    eprintln!("canaries={} hits=0 bytes={seen}", CANARIES.len());
    let serving = crate::api::serve(dir.path(), &[]);
    let run = crate::api::get(serving.address, "/api/v1/batch/last-run").json()["batch_run_id"].clone();
    let run = run.as_str().unwrap();
    for path in [
        "/metrics".to_owned(),
        "/api/v1/batch/last-run".to_owned(),
        "/api/v1/batch/runs".to_owned(),
        "/api/v1/batch/failures?since=2020-01-01".to_owned(),
        "/api/v1/batch/jobs/status?days_back=90".to_owned(),
        format!("/api/v1/batch/runs/{run}/jobs"),
        "/api/v1/batch/portfolios/p000/history".to_owned(),
        "/api/v1/batch/runs?status=apikey=C4naryInQuery".to_owned(),
    ] {
        let answer = crate::api::get(serving.address, &path);
        assert!([200, 400].contains(&answer.status), "{path}: {answer:?}");
        assert_none(&path, answer.body.as_bytes());
    }
}

#[test]
fn what_stops_a_run_is_said_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (at, (canary, _)) in CANARIES.iter().enumerate() {
        let book = dir.path().join(at.to_string());
        write_book(&book, 1).unwrap();
        let value = Value::from(*canary);
        let settings = format!(
            "[run]\nretries = {value}\n{value} = 1\n[schedule]\ncron = {value}\ntimezone = {value}\n[{value}]\n"
        );
        std::fs::write(book.join("nightbook.toml"), settings).unwrap();
        let list = format!("portfolio_id,name,equity,runbook_url\n{0},x,1,\np,x,{0},{0}\n", quoted(canary));
        std::fs::write(book.join("portfolios.csv"), list).unwrap();
        let output = nightbook(&["run", "--book", text(&book), "--data", text(&data)]).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_output("a run that is stopped", &output);
        // A folder and a run that are not there, named like a secret.
        let missing = dir.path().join(canary.replace('/', "_"));
        if !canary.contains('/') {
            assert_output(
                "a missing book",
                &nightbook(&["run", "--book", text(&missing), "--data", text(&data)]).unwrap(),
            );
            assert_output("a missing store", &nightbook(&["history", "--data", text(&missing)]).unwrap());
        }
    }
    // A command that cannot be started.
    let (book, data) = (dir.path().join("book"), dir.path().join("more"));
    write_canaries(&book, &dir.path().join("alert.json"));
    let settings = std::fs::read_to_string(book.join("nightbook.toml")).unwrap();
    let end = settings.find("[alerts]").unwrap();
    let command = "[alerts]\ncommand = [\"/nowhere/token=C4naryInQuery\"]\n";
    std::fs::write(book.join("nightbook.toml"), format!("{}{command}", &settings[..end])).unwrap();
    let output = nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", DATE]).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be started"));
    assert_output("a run whose alert fails", &output);
}

/// A price source that fails with a secret in its mouth.
struct Leaking(usize);

#[async_trait]
impl jobs::PriceGate for Leaking {
    async fn open(
        &self,
        _book: &book::Book,
        _as_of: chrono::NaiveDate,
        _attempt: u32,
    ) -> Result<jobs::Fetched, JobError> {
        let (canary, _) = CANARIES[self.0];
        let mut error = JobError::new(ErrorCategory::Permanent, format!("the price source failed: {canary}"));
        error.chain = vec![format!("because of {canary}"), format!("{canary:?}")];
        Err(error)
    }
}

#[tokio::test]
async fn the_price_source_may_say_what_it_wants() {
    let dir = tempfile::tempdir().unwrap();
    write_book(dir.path(), 1).unwrap();
    let book = Arc::new(book::read_folder(dir.path()).unwrap().book.unwrap());
    for at in 0..CANARIES.len() {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
        let inputs =
            jobs::BookInputs::new(Arc::clone(&book), clock, Arc::new(Leaking(at)), Arc::new(TokioSleeper), random);
        let pinned = inputs.pin(DATE.parse().unwrap(), &[], &domain::night::NightBefore::default()).await.unwrap();
        let error = pinned.market_data.error.clone().unwrap();
        assert!(error.message.contains("***"), "{}", error.message);
        assert_none("the work of the run", serde_json::to_string(&pinned.market_data).unwrap().as_bytes());
    }
}
