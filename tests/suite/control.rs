//! Commands while `nightbook serve` holds the data folder: they reach it through its control socket, and print and exit
//! as they do alone.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::{json, nightbook, program, text, write_book};
use serde_json::{Value, json};

use crate::api::{Serving, get, post, serve, until};

/// A folder with a book of three portfolios, one of them with an unusable row, and one night of it.
struct Place {
    dir: tempfile::TempDir,
    night: Value,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let book = dir.path().join("book");
        write_book(&book, 3).unwrap();
        let positions = book.join("positions.csv");
        let rows = fs::read_to_string(&positions).unwrap();
        fs::write(&positions, rows + "p001,S1,many,50,2025-01-02\n").unwrap();
        let data = dir.path().join("data");
        let night =
            json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-23", "--json"]).unwrap().0;
        Self { dir, night }
    }

    fn book(&self) -> PathBuf {
        self.dir.path().join("book")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn serve(&self) -> Serving {
        serve(self.dir.path(), &[])
    }

    /// Runs a command on the data folder; gives what it printed and its exit code.
    fn command(&self, arguments: &[&str]) -> (Value, i32) {
        json(&[arguments, &["--data", text(&self.data()), "--json"]].concat()).unwrap()
    }

    /// What a command that fails says.
    fn refused(&self, arguments: &[&str]) -> (String, i32) {
        let output = nightbook(&[arguments, &["--data", text(&self.data())]].concat()).unwrap();
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code().unwrap_or(-1))
    }

    fn socket(&self) -> PathBuf {
        self.data().join("control.sock")
    }

    /// A book whose one job is a program that waits until `go` exists.
    fn slow_book(&self) -> PathBuf {
        let go = self.dir.path().join("go");
        let script = format!(
            "while [ ! -e '{}' ]; do sleep 0.05; done; echo '{{\"status\": \"success\", \"result\": {{}}}}'",
            text(&go)
        );
        let settings = self.book().join("nightbook.toml");
        let common = fs::read_to_string(&settings).unwrap();
        let job = format!("\n[[jobs]]\nname = \"slow\"\ncommand = {}\n", Value::from(vec!["sh", "-c", &script]));
        fs::write(settings, common + &job).unwrap();
        go
    }
}

/// Sends a line to the socket; gives the first line that comes back.
fn send(socket: &Path, line: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).unwrap();
    // A server that has read enough may close before all is sent.
    let _ = stream.write_all(line);
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).ok()?;
    serde_json::from_str(&reply).ok()
}

/// A started command that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> Running {
    let child = Command::new(program().unwrap())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running(child)
}

#[test]
fn commands_that_pages_and_alerts_advise_work_while_serve_runs() {
    let place = Place::new();
    let serving = place.serve();
    let address = serving.address;
    let mode = fs::metadata(place.socket()).unwrap();
    assert!(mode.file_type().is_socket() && mode.permissions().mode() & 0o777 == 0o600, "{mode:?}");

    let book = text(&place.book()).to_owned();
    let (run, code) = place.command(&["run", "--book", &book, "--as-of", "2026-11-24"]);
    assert_eq!((&run["status"], &run["as_of"], code), (&json!("partial"), &json!("2026-11-24"), 1));
    let id = run["batch_run_id"].as_str().unwrap().to_owned();
    let stored = get(address, &format!("/api/v1/batch/runs/{id}")).json();
    assert_eq!(stored, run, "the command prints what the API answers");
    assert!(get(address, &format!("/runs/{id}/index.html")).body.contains("2026-11-24"), "its pages are written");

    let (one, code) = place.command(&["run", "--book", &book, "--as-of", "2026-11-20", "--portfolio", "p000"]);
    assert_eq!((&one["portfolios_expected"], code), (&json!(1), 0));

    let (span, code) = place.command(&["run", "--book", &book, "--from", "2026-11-18", "--to", "2026-11-19"]);
    assert_eq!((span["runs"].as_array().unwrap().len(), code), (2, 1));

    let (rerun, code) = place.command(&["rerun", &id, "--failed"]);
    assert_eq!((&rerun["rerun_of"], &rerun["portfolios_expected"], code), (&json!(id), &json!(1), 1));

    let (published, code) = place.command(&["publish"]);
    assert!(published["files_written"].is_u64() && code == 0, "{published}");
    fs::remove_file(place.data().join(format!("site/runs/{id}/index.html"))).unwrap();
    let (rebuilt, code) = place.command(&["publish", "--rebuild"]);
    assert!(rebuilt["files_written"].as_u64().unwrap() > 0 && code == 0, "{rebuilt}");
    assert_eq!(get(address, &format!("/runs/{id}/index.html")).status, 200);

    let mute = ["alert", "mute", "--portfolio", "p001", "--until", "2099-01-01", "--reason", "row is being corrected"];
    let (muted, code) = place.command(&mute);
    assert_eq!((&muted["portfolio"], code), (&json!("p001"), 0));
    assert!(get(address, "/index.html").body.contains("row is being corrected"), "the index shows the mute");
}

#[test]
fn a_command_says_under_serve_what_it_says_alone() {
    let place = Place::new();
    let (night, data) = (place.night["batch_run_id"].as_str().unwrap(), place.data());
    let book = text(&place.book()).to_owned();
    let commands: [&[&str]; 6] = [
        &["run", "--book", &book, "--as-of", "2026-11-23"],
        &["rerun", "ffffffff"],
        &["cancel", night],
        &["publish"],
        &["run", "--book", &book, "--as-of", "2026-11-22"],
        &["alert", "mute", "--portfolio", "p001", "--until", "2026-01-01", "--reason", "too late"],
    ];
    let said = || {
        commands.map(|command| {
            let output = nightbook(&[command, &["--data", text(&data)]].concat()).unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            let error = error.lines().filter(|line| line.contains("error:")).collect::<Vec<_>>().join("\n");
            (String::from_utf8_lossy(&output.stdout).into_owned(), error, output.status.code())
        })
    };
    let alone = said();
    let _serving = place.serve();
    assert_eq!(said(), alone);
}

#[test]
fn an_interrupted_command_detaches_and_the_run_can_be_canceled() {
    let place = Place::new();
    let go = place.slow_book();
    let serving = place.serve();
    let address = serving.address;
    let book = text(&place.book()).to_owned();
    let mut command = start(&["run", "--book", &book, "--data", text(&place.data()), "--as-of", "2026-11-24"]);
    let current = || get(address, "/api/v1/batch/runs/current").json();
    until("the run is under way", || current()["status"] == "running");
    let id = current()["runs"][0]["batch_run_id"].as_str().map(str::to_owned);
    let id = id.or_else(|| current()["batch_run_id"].as_str().map(str::to_owned)).unwrap();

    let other = place.refused(&["run", "--book", &book, "--as-of", "2026-11-20"]);
    assert!(other.1 == 3 && other.0.contains(&format!("nightbook cancel {id} --data")), "{other:?}");

    let sent = Command::new("kill").args(["-INT", &command.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let code = command.0.wait().unwrap().code();
    let mut error = String::new();
    command.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(code, Some(130), "{error}");
    assert!(error.contains(&format!("nightbook cancel {id} --data {}", text(&place.data()))), "{error}");
    assert_eq!(current()["status"], "running", "the run goes on");

    let (canceled, code) = place.command(&["cancel", &id]);
    assert_eq!((&canceled["batch_run_id"], code), (&json!(id), 0), "{canceled}");
    assert!(canceled["closed_at"].is_string(), "{canceled}");
    assert!(!go.exists());
}

#[test]
fn an_interrupted_run_is_continued_by_the_command_that_its_night_advises() {
    let place = Place::new();
    let go = place.slow_book();
    let (book, data) = (place.book(), place.data());
    let run = ["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24"];
    let mut command = start(&[&run[..], &["--portfolio", "p000", "--trigger", "month end"]].concat());
    let night = || place.command(&["night"]).0;
    until("the run is under way", || night()["in_progress"].as_array().is_some_and(|open| !open.is_empty()));
    command.0.kill().unwrap();
    command.0.wait().unwrap();
    let open = night();
    let step = &open["next_step"];
    assert!(step["text"].as_str().unwrap().ends_with("If it was interrupted, continue it:"), "{step}");
    fs::write(&go, "").unwrap();
    let advised = step["command"].as_str().unwrap();
    let pasted = format!("{} --json", advised.replacen("nightbook", text(&program().unwrap()), 1));
    let output = Command::new("sh").args(["-c", &pasted]).output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{pasted}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json!([summary["batch_run_id"]]), open["in_progress"], "it is the same run");
    assert_eq!(night()["in_progress"], json!([]));
}

#[test]
fn a_run_that_is_being_planned_can_be_canceled() {
    let place = Place::new();
    // A source of prices that takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = place.book().join("nightbook.toml");
    let source = format!(
        "\n[prices]\nsource = \"http\"\nurl = \"http://{}/?s={{symbol}}&a={{from}}&b={{to}}\"\ntimeout_seconds = 300\n",
        silent.local_addr().unwrap()
    );
    fs::write(&settings, fs::read_to_string(&settings).unwrap() + &source).unwrap();
    let prices = place.book().join("prices.csv");
    let rows = fs::read_to_string(&prices).unwrap();
    let without_last: Vec<&str> = rows.lines().filter(|line| !line.starts_with("2026-11-24")).collect();
    fs::write(prices, without_last.join("\n") + "\n").unwrap();
    let serving = place.serve();
    let started = post(serving.address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-24"}));
    assert_eq!(started.status, 202, "{started:?}");
    let _asked = silent.accept().unwrap();
    let id = started.json()["batch_run_id"].as_str().unwrap().to_owned();
    let (canceled, code) = place.command(&["cancel", &id]);
    assert_eq!((&canceled["batch_run_id"], &canceled["status"], code), (&json!(id), &json!("failed"), 0));
    let book = text(&place.book()).to_owned();
    assert_eq!(place.command(&["run", "--book", &book, "--as-of", "2026-11-23"]).1, 1, "nothing blocks later starts");
}

#[test]
fn another_book_is_refused() {
    let place = Place::new();
    let _serving = place.serve();
    let other = place.dir.path().join("other");
    write_book(&other, 1).unwrap();
    let (error, code) = place.refused(&["run", "--book", text(&other), "--as-of", "2026-11-24"]);
    assert!(code == 2 && error.contains(&format!("--book {}", text(&place.book()))), "{code}: {error}");
    // The same book by another name is the same book.
    let link = place.dir.path().join("link");
    std::os::unix::fs::symlink(place.book(), &link).unwrap();
    assert_eq!(place.command(&["run", "--book", text(&link), "--as-of", "2026-11-24"]).1, 1);
}

#[test]
fn requests_that_make_no_sense_are_answered_and_end_nothing() {
    let place = Place::new();
    let serving = place.serve();
    let socket = place.socket();
    let failed = |line: &[u8], says: &str| {
        let reply = send(&socket, line).unwrap_or_else(|| panic!("{says}: no reply"));
        let message = reply["failed"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{says}: {message}");
        assert_eq!(reply["failed"]["exit_code"], 3);
    };
    failed(b"not JSON\n", "cannot be read");
    failed(b"{}\n", "cannot be read");
    failed(b"{\"protocol\":1,\"version\":\"0.0.0\",\"command\":\"dance\"}\n", "is version 0.0.0");
    failed(b"{\"protocol\":99,\"version\":\"9.9.9\"}\n", "is version 9.9.9");
    // Nothing at all, nothing but a beginning, and more than fits.
    drop(UnixStream::connect(&socket).unwrap());
    let mut silent: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for stream in &mut silent {
        let _ = stream.write_all(b"{\"protocol\":1,");
    }
    // The silent ones are cut off, and then others are answered.
    until("a place is free", || {
        send(&socket, b"{}\n").is_some_and(|reply| reply["failed"]["message"].to_string().contains("cannot be read"))
    });
    let mut long = UnixStream::connect(&socket).unwrap();
    let piece = vec![b'x'; 1 << 16];
    let sent = (0..64).take_while(|_| long.write_all(&piece).is_ok()).count();
    assert!(sent < 64, "4 MB were taken");
    assert_eq!(get(serving.address, "/healthz").status, 200);
    let book = text(&place.book()).to_owned();
    assert_eq!(place.command(&["run", "--book", &book, "--as-of", "2026-11-24"]).1, 1);
}

#[test]
fn a_socket_that_a_dead_process_left_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(place.socket().exists());
    let book = text(&place.book()).to_owned();
    assert_eq!(place.command(&["run", "--book", &book, "--as-of", "2026-11-20"]).1, 1, "the folder is not in use");
    let serving = place.serve();
    assert_eq!(place.command(&["publish"]).1, 0);
    drop(serving);
    let again = place.serve();
    assert_eq!(place.command(&["publish"]).1, 0, "after a kill");
    again.signal("TERM");
    until("the socket goes with its process", || !place.socket().exists());
}

#[test]
fn a_folder_with_a_long_path_has_its_socket_in_the_runtime_folder() {
    let place = Place::new();
    let runtime = tempfile::tempdir().unwrap();
    let deep = place.dir.path().join("d".repeat(90));
    fs::create_dir(&deep).unwrap();
    fs::rename(place.book(), deep.join("book")).unwrap();
    fs::rename(place.data(), deep.join("data")).unwrap();
    let _serving = serve(&deep, &[("XDG_RUNTIME_DIR", text(runtime.path()))]);
    let said = fs::read_to_string(deep.join("data/control.sock.path")).unwrap();
    assert!(Path::new(said.trim()).starts_with(runtime.path()), "{said}");
    let data = deep.join("data");
    let copy = place.dir.path().join("copy");
    assert_eq!(json(&["publish", "--data", text(&data), "--json"]).unwrap().1, 0);
    let backup = nightbook(&["backup", text(&copy), "--data", text(&data)]).unwrap();
    assert!(backup.status.success(), "{backup:?}");
    assert!(!copy.join("control.sock").exists() && !copy.join("control.sock.path").exists());
}

#[test]
fn a_folder_held_by_another_command_is_in_use() {
    let place = Place::new();
    let go = place.slow_book();
    let book = text(&place.book()).to_owned();
    let running = start(&["run", "--book", &book, "--data", text(&place.data()), "--as-of", "2026-11-24"]);
    let open = || json(&["history", "--data", text(&place.data()), "--json"]).unwrap().0["runs"][0]["status"].clone();
    until("the run is under way", || open() == "running");
    let (error, code) = place.refused(&["publish"]);
    assert!(code == 3 && error.contains(&format!("process {}", running.0.id())), "{code}: {error}");
    fs::write(go, "").unwrap();
}

#[test]
fn a_run_by_the_api_and_one_by_a_command_are_one_at_a_time() {
    let place = Place::new();
    let go = place.slow_book();
    let serving = place.serve();
    let started = post(serving.address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-24"}));
    assert_eq!(started.status, 202, "{started:?}");
    let book = text(&place.book()).to_owned();
    let (error, code) = place.refused(&["run", "--book", &book, "--as-of", "2026-11-20"]);
    assert!(code == 3 && error.contains("is active"), "{code}: {error}");
    fs::write(go, "").unwrap();
}

#[test]
fn the_same_run_heals_lost_pages_while_serve_runs() {
    let place = Place::new();
    let _serving = place.serve();
    let run = place.night["batch_run_id"].as_str().unwrap();
    let site = place.data().join("site");
    let lost = [site.join("portfolios/p000/index.html"), site.join("runs").join(run).join("index.html")];
    for page in &lost {
        assert!(page.exists(), "{}", page.display());
        fs::remove_file(page).unwrap();
    }
    let book = text(&place.book()).to_owned();
    let (_, code) = place.command(&["run", "--book", &book, "--as-of", "2026-11-23"]);
    assert_eq!(code, 1);
    for page in &lost {
        assert!(page.exists(), "{} was not written again", page.display());
    }
}

/// An acceptance is on record also where the pages cannot be written; the exit code then says so at both doors.
#[test]
fn an_acceptance_whose_pages_cannot_be_written_fails_alone_and_while_serve_runs() {
    for is_served in [false, true] {
        let place = Place::new();
        let positions = place.book().join("positions.csv");
        let rows = fs::read_to_string(&positions).unwrap();
        fs::write(&positions, rows + "stranger,S1,5,50,2025-01-02\n").unwrap();
        let book = text(&place.book()).to_owned();
        place.command(&["run", "--book", &book, "--as-of", "2026-11-24"]);
        let _serving = is_served.then(|| place.serve());
        // A file stands where the folder of the pages of runs belongs.
        let runs = place.data().join("site/runs");
        fs::remove_dir_all(&runs).unwrap();
        fs::write(&runs, "").unwrap();
        let accept = ["accept", "2026-11-24", "--control", "orphans", "--note", "sold last year"];
        let (said, code) = place.refused(&accept);
        assert_eq!(code, 3, "served: {is_served}: {said}");
        assert!(said.contains("the site was not published"), "served: {is_served}: {said}");
        let (night, _) = place.command(&["night", "2026-11-24"]);
        assert_eq!(night["controls"][0]["accepted"]["note"], "sold last year", "served: {is_served}: {night}");
    }
}
