//! What the machine does to the program: a full disk, a folder that cannot be written, signals.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use e2e::{json, nightbook, program, text, write_book};

use crate::crash::timeless;

/// A small file system of its own, where this user may mount one.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", text(at)])
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        e2e::say("SKIPPED: this user cannot mount a small file system, so the disk cannot be filled");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}"), text(self.0)]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", text(self.0)]).status();
    }
}

fn run(book: &Path, data: &Path) -> Output {
    nightbook(&["run", "--book", text(book), "--data", text(data), "--as-of", "2026-11-24", "--json"]).unwrap()
}

fn summary(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn healthy(data: &Path) {
    let (doctor, code) = json(&["doctor", "--data", text(data), "--json"]).unwrap();
    assert_eq!((doctor["problems"].as_array().unwrap().len(), code), (0, 0), "{doctor}");
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_the_store_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (book, calm, disk) = (dir.path().join("book"), dir.path().join("calm"), dir.path().join("disk"));
    write_book(&book, 120).unwrap();
    let undisturbed = summary(&run(&book, &calm));
    // Small enough to be full at different moments: at the start, among the records, while the site is written.
    for size in ["256k", "1m", "2m", "3m"] {
        let Some(small) = Small::mount(&disk, size) else { return };
        let data = disk.join("data");
        let output = run(&book, &data);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{size}: {said}");
        assert!(said.contains("No space left on device") || said.contains("disk is full"), "{size}: {said}");
        small.remount("size=200m");
        assert_eq!(timeless(summary(&run(&book, &data))), timeless(undisturbed.clone()), "{size}");
        healthy(&data);
    }
}

#[test]
fn a_folder_that_cannot_be_written_can_still_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (book, disk) = (dir.path().join("book"), dir.path().join("disk"));
    write_book(&book, 2).unwrap();
    let Some(small) = Small::mount(&disk, "50m") else { return };
    let data = disk.join("data");
    summary(&run(&book, &data));
    small.remount("ro");
    let output = nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-23"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("Read-only file system") && said.contains(text(&data)), "{said}");
    for arguments in [&["history", "--json"][..], &["show", "latest", "--json"], &["last", "factor_analysis", "--json"]]
    {
        let (_, code) = json(&[arguments, &["--data", text(&data)]].concat()).unwrap();
        assert_eq!(code, 0, "{arguments:?}");
    }
    healthy(&data);
}

/// The stated time for what is in hand is 10 s (README, "Stopping").
const STATED: Duration = Duration::from_secs(10);

#[test]
fn signals_end_the_run_in_the_stated_time_and_the_same_command_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (book, calm) = (dir.path().join("book"), dir.path().join("calm"));
    write_book(&book, 400).unwrap();
    let undisturbed = summary(&run(&book, &calm));
    for signal in ["INT", "TERM"] {
        let data = dir.path().join(signal);
        let child = Command::new(program().unwrap())
            .args(["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // In the middle: the plan is sealed, and the first portfolios have ended.
        let until = Instant::now() + Duration::from_secs(60);
        let ended = |output: std::process::Output| {
            let said: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
            let jobs = said.as_ref().and_then(|said| said["runs"][0]["successful_jobs"].as_u64());
            jobs.is_some_and(|jobs| jobs > 0)
        };
        while !nightbook(&["history", "--status", "running", "--json", "--data", text(&data)]).is_ok_and(ended) {
            assert!(Instant::now() < until, "the run never began");
        }
        let asked = Instant::now();
        Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(asked.elapsed() < STATED + Duration::from_secs(5), "{signal}: {:?}", asked.elapsed());
        assert_eq!(output.status.code(), Some(130), "{signal}: {said}");
        assert!(said.contains("is open, and the same command goes on with it"), "{signal}: {said}");
        assert_eq!(timeless(summary(&run(&book, &data))), timeless(undisturbed.clone()), "{signal}");
        healthy(&data);
    }
}

/// A machine whose clock was set back between two runs: what was written in its future stays, and goes on.
#[test]
fn a_clock_that_is_set_back_changes_nothing_that_was_done() {
    let found = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let library = found.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
    let Some(library) = library else {
        e2e::say("SKIPPED: libfaketime is not installed (Debian: apt-get install faketime)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (book, data, calm) = (dir.path().join("book"), dir.path().join("data"), dir.path().join("calm"));
    write_book(&book, 40).unwrap();
    let at = |offset: &str, as_of: &str, data: &Path| {
        let mut command = Command::new(program().unwrap());
        command.env("LD_PRELOAD", &library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.args(["run", "--book", text(&book), "--data", text(data), "--as-of", as_of, "--json"]);
        command
    };
    // Killed in the future: its leases seem to live for two days.
    let mut child = at("+2d", "2026-11-24", &data).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_millis(400);
    while Instant::now() < until && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
    let future = summary(&at("+2d", "2026-11-23", &data).output().unwrap());
    let now = summary(&at("+0", "2026-11-24", &data).output().unwrap());
    assert_eq!(timeless(now), timeless(summary(&run(&book, &calm))));
    let (history, _) = json(&["history", "--json", "--data", text(&data)]).unwrap();
    let ids: Vec<&serde_json::Value> =
        history["runs"].as_array().unwrap().iter().map(|run| &run["batch_run_id"]).collect();
    assert!(ids.contains(&&future["batch_run_id"]) && ids.len() == 2, "{ids:?}");
    for run in history["runs"].as_array().unwrap() {
        assert!(
            run["total_duration"].as_f64().unwrap() >= 0.0 && run["wall_seconds"].as_f64().unwrap() >= 0.0,
            "{run}"
        );
    }
    healthy(&data);
}
