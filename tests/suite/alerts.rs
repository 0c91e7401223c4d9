//! Alerts of the real program: one failure is told once with its cause, its recovery is told once, whatever happens to
//! the receiver or to the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::{json, nightbook, program, text, write_book};
use serde_json::Value;

use crate::lineage::holding;
use crate::smtp::MailServer;

const PASSWORD: &str = "C4nary-of-the-mail";

/// A book of three portfolios, and what it says of alerts.
fn book(dir: &Path, alerts: &str) -> PathBuf {
    let book = dir.join("book");
    write_book(&book, 3).unwrap();
    let file = book.join("nightbook.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{settings}\n[alerts]\n{alerts}")).unwrap();
    book
}

/// Breaks a portfolio; gives what its file was before.
pub(crate) fn break_one(book: &Path) -> String {
    let file = book.join("positions.csv");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{before}p001,S1,many,50,2025-01-02\n")).unwrap();
    before
}

/// The setting of a command that appends what it is told to a file, and then goes on like this.
pub(crate) fn to_file(file: &Path, then: &str) -> String {
    let script = format!("cat >> '{0}'; echo >> '{0}'; {then}", text(file));
    format!("command = {}\n", Value::from(vec!["sh", "-c", &script]))
}

pub(crate) fn told(file: &Path) -> Vec<Value> {
    let lines = std::fs::read_to_string(file).unwrap_or_default();
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn run(book: &Path, data: &Path, date: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(program().unwrap())
        .args(["run", "--book", text(book), "--data", text(data), "--as-of", date])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn index(data: &Path) -> String {
    std::fs::read_to_string(data.join("site/index.html")).unwrap()
}

#[test]
fn a_failure_is_mailed_once_with_its_cause_and_its_recovery_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = MailServer::start(&["--login", &format!("night:{PASSWORD}"), "--starttls", text(dir.path())]);
    let (file, data) = (dir.path().join("told"), dir.path().join("data"));
    let port = server.port;
    let book = book(
        dir.path(),
        &format!(
            "{}[[alerts.channel]]\nname = \"mail\"\ntype = \"email\"\nhost = \"localhost\"\nport = {port}\n\
             username = \"night\"\npassword_env = \"TEST_MAIL_PASSWORD\"\nfrom = \"night@night.example\"\nto = \"desk@night.example\"\n",
            to_file(&file, "true")
        ),
    );
    let authority = dir.path().join("ca.pem");
    let environment = [("TEST_MAIL_PASSWORD", PASSWORD), ("SSL_CERT_FILE", text(&authority))];
    let night = |date: &str| {
        let mut log = String::new();
        // The second time it is the same run.
        for _ in 0..2 {
            log.push_str(&run(&book, &data, date, &environment).1);
        }
        log
    };
    let before = break_one(&book);
    let mut log = night("2026-11-20");
    log.push_str(&night("2026-11-23"));
    std::fs::write(book.join("positions.csv"), before).unwrap();
    log.push_str(&night("2026-11-24"));

    let kinds: Vec<Value> = told(&file).into_iter().map(|message| message["kind"].clone()).collect();
    assert_eq!(kinds, ["open", "reminder", "recovery"], "{log}");
    let (open, reminder, recovery) = (server.next(), server.next(), server.next());
    for (mail, told) in [&open, &reminder, &recovery].into_iter().zip(told(&file)) {
        assert_eq!((&mail["encrypted"], &mail["login"]), (&true.into(), &"night".into()));
        assert_eq!(mail["headers"]["subject"], told["title"]);
    }
    let said = open["text"].as_str().unwrap();
    for part in ["unusable row", "Portfolios: p001", "Next: nightbook run --book", "/index.html", "new]"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(reminder["text"].as_str().unwrap().contains("known, since 2026-11-20, 2 nights"), "{reminder}");
    assert!(recovery["text"].as_str().unwrap().contains("since 2026-11-20, 2 nights"), "{recovery}");

    let (list, code) = json(&["alert", "list", "--data", text(&data), "--json"]).unwrap();
    assert_eq!((code, list.to_string()), (0, r#"{"incidents":[],"mutes":[],"undelivered":[]}"#.to_owned()));

    let try_it = |channel: &str| {
        Command::new(program().unwrap())
            .args(["alert", "test", channel, "--data", text(&data)])
            .envs(environment)
            .output()
            .unwrap()
    };
    let tried = try_it("mail");
    assert!(tried.status.success(), "{tried:?}");
    assert!(server.next()["text"].as_str().unwrap().contains("This is a test"));
    let unknown = try_it("pigeon");
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there are: command, mail"), "{unknown:?}");
    assert_eq!(server.rest(), Vec::<Value>::new());

    assert!(!log.contains(PASSWORD));
    assert_eq!(holding(dir.path(), PASSWORD), Vec::<PathBuf>::new());
}

/// The kinds of the messages in a file.
fn kinds(file: &Path) -> Vec<String> {
    told(file).iter().map(|message| message["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn accepted_controls_recover_at_once_and_a_corrected_date_is_reported_as_restated() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("told"), dir.path().join("data"));
    let book = book(dir.path(), &to_file(&file, "true"));
    let prices = std::fs::read_to_string(book.join("prices.csv")).unwrap();
    let stale: String =
        prices.lines().filter(|line| !line.starts_with("2026-11-24")).map(|l| format!("{l}\n")).collect();
    std::fs::write(book.join("prices.csv"), stale).unwrap();
    assert_eq!(run(&book, &data, "2026-11-24", &[]).0, 1);
    assert_eq!(kinds(&file), ["control"]);
    let accept = |control: &str| {
        let words = ["accept", "2026-11-24", "--control", control, "--note", "a holiday", "--author", "ann"];
        let output = nightbook(&[&words[..], &["--data", text(&data)]].concat()).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    accept("newest_close");
    accept("freshness");
    assert_eq!(kinds(&file), ["control", "partial_recovery", "recovery"]);
    let messages = told(&file);
    assert!(messages.iter().all(|message| message["dedup_key"] == messages[0]["dedup_key"]));
    assert_eq!(messages[2]["recovered"][0]["because"], "accepted by ann: a holiday");

    std::fs::write(book.join("prices.csv"), prices).unwrap();
    assert_eq!(run(&book, &data, "2026-11-24", &[]).0, 0);
    assert_eq!(kinds(&file)[3..], ["restatement"]);
    let restated = told(&file).pop().unwrap();
    assert_eq!(restated["edition"], 2);
    let notes: Vec<&str> = restated["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    assert!(
        notes.iter().any(|note| note.starts_with("Why: close of ") && note.contains("on 2026-11-24: none → ")),
        "{notes:?}"
    );
    let feed = std::fs::read_to_string(data.join("site/feed.xml")).unwrap();
    assert!(feed.contains("restated"), "{feed}");
}

#[test]
fn what_could_not_be_told_stands_on_the_index_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data, works) = (dir.path().join("told"), dir.path().join("data"), dir.path().join("works"));
    let book = book(
        dir.path(),
        &to_file(&file, &format!("test -e '{}' || {{ echo out of paper >&2; exit 3; }}", text(&works))),
    );
    break_one(&book);
    let (code, log) = run(&book, &data, "2026-11-24", &[]);
    assert_eq!(code, 1, "the alert changes nothing of the run: {log}");
    assert!(log.contains("out of paper"), "{log}");
    let page = index(&data);
    assert!(page.contains("Not told.") && page.contains("out of paper"), "{page}");
    let (list, _) = json(&["alert", "list", "--data", text(&data), "--json"]).unwrap();
    assert_eq!(
        (&list["undelivered"][0]["waiting"], &list["incidents"][0]["incident"]["state"]),
        (&1.into(), &"open".into())
    );

    // Whoever starts the program again may have mended the receiver.
    std::fs::write(&works, "").unwrap();
    run(&book, &data, "2026-11-24", &[]);
    let told = told(&file);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["alert_id"], told[1]["alert_id"]);
    assert_eq!((&told[0]["attempt"], &told[1]["attempt"]), (&1.into(), &2.into()));
    let page = index(&data);
    assert!(!page.contains("Not told."), "{page}");

    // What is muted is told to nobody, and stands on the index.
    let cause = told[0]["top_causes"][0]["fingerprint"].as_str().unwrap();
    let muted = nightbook(&[
        "alert",
        "mute",
        cause,
        "--until",
        "2999-12-31",
        "--reason",
        "the vendor knows",
        "--data",
        text(&data),
    ]);
    assert!(muted.unwrap().status.success());
    let page = index(&data);
    assert!(page.contains("Muted") && page.contains("the vendor knows"), "{page}");
    run(&book, &data, "2026-11-23", &[]);
    let again = nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--again"]);
    assert_eq!(again.unwrap().status.code(), Some(1));
    assert_eq!(self::told(&file).len(), 2);
    assert!(index(&data).contains("the vendor knows"));
}

/// Ends a process when the test is over, however it ends.
struct Ending(std::process::Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_that_is_killed_while_it_tells_tells_again_with_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data, hang, fifo) =
        (dir.path().join("told"), dir.path().join("data"), dir.path().join("hang"), dir.path().join("fifo"));
    std::fs::write(&hang, "").unwrap();
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    // It hangs until somebody writes into the fifo.
    let then = format!("test ! -e '{}' || read line < '{}'", text(&hang), text(&fifo));
    let book = book(dir.path(), &to_file(&file, &then));
    break_one(&book);
    let mut killed = Ending(
        Command::new(program().unwrap())
            .args(["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    while told(&file).is_empty() {
        assert!(killed.0.try_wait().unwrap().is_none(), "the run ended, and nobody was told");
        std::thread::yield_now();
    }
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    // The command that was left behind ends now, and the next one does not hang.
    std::fs::write(&fifo, "go\n").unwrap();
    std::fs::remove_file(&hang).unwrap();
    run(&book, &data, "2026-11-24", &[]);
    let told = told(&file);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0]["alert_id"], told[1]["alert_id"]);
    assert_eq!(told[1]["attempt"], 2);
    run(&book, &data, "2026-11-24", &[]);
    assert_eq!(self::told(&file).len(), 2, "then it is done");
}
