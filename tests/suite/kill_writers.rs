//! kill -9 at random moments of the commands that write. `init`, `demo` and `serve` are not killed here. After each kill the
//! records are in order, and the same command works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use e2e::{json, program, text, write_book};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::kill::setting;

/// Kills of each command in every test run.
const KILLS: u64 = 4;

struct Place {
    dir: tempfile::TempDir,
    rng: ChaCha8Rng,
    seed: u64,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program().unwrap());
        command.args(words);
        command
    }

    /// Starts a command and kills it at a random moment of `usual`, its usual time.
    fn killed(&mut self, words: &[&str], usual: Duration) {
        let mut child = self.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Not a synchronisation: the moment of the kill is what is drawn.
        let until = Instant::now() + usual.mul_f64(self.rng.random_range(0.02..1.1));
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Runs a command to its end, which has to be one of these exit codes.
    fn ended(&self, words: &[&str], codes: &[i32]) -> (Output, Duration) {
        let began = Instant::now();
        let output = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert!(code.is_some_and(|code| codes.contains(&code)), "seed {}: {words:?}: {code:?} {said}", self.seed);
        (output, began.elapsed())
    }

    fn is_in_order(&self, data: &Path, after: &[&str]) {
        let (report, code) = json(&["doctor", "--data", text(data), "--json"]).unwrap();
        assert_eq!(
            (code, report["problems"].as_array().map(Vec::len)),
            (0, Some(0)),
            "{} {after:?} {report}",
            self.seed
        );
    }

    /// Kills a command and runs it again, a number of times.
    fn survives(&mut self, data: &Path, kills: u64, words: &[&str], codes: &[i32]) {
        let (_, usual) = self.ended(words, codes);
        for _ in 0..kills {
            self.killed(words, usual);
            self.is_in_order(data, words);
            self.ended(words, codes);
        }
        self.is_in_order(data, words);
    }
}

/// A book of three portfolios with a control that warns, so that there is something to accept, and a channel.
fn place() -> (Place, PathBuf, PathBuf) {
    let seed = setting("NIGHTBOOK_KILL_SEED", 20_261_201);
    let place = Place { dir: tempfile::tempdir().unwrap(), rng: ChaCha8Rng::seed_from_u64(seed), seed };
    let (book, data) = (place.path("book"), place.path("data"));
    write_book(&book, 3).unwrap();
    let positions = fs::read_to_string(book.join("positions.csv")).unwrap();
    fs::write(book.join("positions.csv"), positions.trim_end()).unwrap();
    let settings = fs::read_to_string(book.join("nightbook.toml")).unwrap();
    fs::write(book.join("nightbook.toml"), format!("{settings}\n[alerts]\ncommand = [\"true\"]\n")).unwrap();
    (place, book, data)
}

#[test]
fn commands_that_are_killed_leave_records_in_order_and_work_again() {
    let (mut place, book, data) = place();
    let kills = setting("NIGHTBOOK_KILLS_A_COMMAND", KILLS);
    let (book, folder) = (text(&book).to_owned(), text(&data).to_owned());
    let night = "2026-11-23";
    place.ended(&["run", "--book", &book, "--data", &folder, "--as-of", night], &[0]);
    let accept = ["accept", night, "--control", "input_end", "--note", "known", "--author", "ann", "--data", &folder];
    let mute =
        ["alert", "mute", "--portfolio", "p001", "--until", "2099-01-01", "--reason", "known", "--data", &folder];
    for words in [
        &["run", "--book", &book, "--data", &folder, "--as-of", "2026-11-24", "--again"][..],
        &["rerun", night, "--data", &folder],
        &["publish", "--data", &folder],
        &["publish", "--rebuild", "--data", &folder],
        &["alert", "test", "command", "--data", &folder],
        &accept,
        &mute,
    ] {
        place.survives(&data, kills, words, &[0]);
    }
}

#[test]
fn a_cancel_that_is_killed_can_be_repeated() {
    let (mut place, book, data) = place();
    let (book, folder) = (text(&book).to_owned(), text(&data).to_owned());
    let run = ["run", "--book", &book, "--data", &folder, "--as-of", "2026-11-24", "--again"];
    let (_, usual) = place.ended(&run, &[0]);
    for _ in 0..setting("NIGHTBOOK_KILLS_A_COMMAND", KILLS) {
        place.killed(&run, usual);
        let cancel = ["cancel", "latest", "--data", &folder];
        place.killed(&cancel, usual);
        place.is_in_order(&data, &cancel);
        // 2: the run was closed before it could be canceled, by itself or by the killed command.
        place.ended(&cancel, &[0, 1, 2]);
        place.is_in_order(&data, &cancel);
        let (history, _) = json(&["history", "--status", "running", "--data", &folder, "--json"]).unwrap();
        assert!(history["runs"].as_array().is_some_and(|runs| runs.len() <= 1), "seed {}: {history}", place.seed);
    }
}

/// A copy that was interrupted is never verified as whole, and the original is as it was.
#[test]
fn a_backup_that_is_killed_is_not_verified_as_whole() {
    let (mut place, book, data) = place();
    let (book, folder) = (text(&book).to_owned(), text(&data).to_owned());
    place.ended(&["run", "--book", &book, "--data", &folder, "--as-of", "2026-11-24"], &[0]);
    let first = place.path("first");
    let (_, usual) = place.ended(&["backup", text(&first), "--data", &folder], &[0]);
    let listed = |backup: &Path| backup.join("backup.json").exists();
    for n in 0..setting("NIGHTBOOK_KILLS_A_COMMAND", KILLS) {
        let to = place.path(&format!("backup-{n}"));
        place.killed(&["backup", text(&to), "--data", &folder], usual);
        place.is_in_order(&data, &["backup"]);
        if to.exists() {
            let expected = if listed(&to) { 0 } else { 1 };
            place.ended(&["backup", "--verify", text(&to)], &[expected]);
            fs::remove_dir_all(&to).unwrap();
        }
        place.ended(&["backup", text(&to), "--data", &folder], &[0]);
        place.ended(&["backup", "--verify", text(&to)], &[0]);
    }
}
