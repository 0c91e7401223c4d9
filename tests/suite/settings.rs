//! Changed settings under `nightbook serve`: in force as a whole, or not at all.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use e2e::{json, text, write_book};
use serde_json::{Value, json};

use crate::alerts::{break_one, to_file, told};
use crate::api::{Serving, get, post, serve, until, until_closed};

/// A folder with a book whose settings change, and one night of it.
struct Place {
    dir: tempfile::TempDir,
    /// The settings that every version begins with.
    common: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let book = dir.path().join("book");
        write_book(&book, 2).unwrap();
        let common = fs::read_to_string(book.join("nightbook.toml")).unwrap();
        Self { dir, common }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join("book/nightbook.toml")
    }

    fn write(&self, settings: &str) {
        fs::write(self.file(), format!("{}\n{settings}", self.common)).unwrap();
    }

    /// Runs a night with these settings and serves it.
    fn serve(&self, settings: &str) -> Serving {
        self.write(settings);
        let (book, data) = (self.path().join("book"), self.path().join("data"));
        json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-23", "--json"]).unwrap();
        serve(self.path(), &[])
    }

    fn logged(&self, event: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.path().join("serve.log")).unwrap();
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["event"] == event)
            .collect()
    }
}

fn index(address: SocketAddr) -> String {
    get(address, "/index.html").body
}

fn status(address: SocketAddr) -> Value {
    get(address, "/status.json").json()
}

/// The value of a metric without labels.
fn metric(address: SocketAddr, name: &str) -> f64 {
    let text = get(address, "/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
    line.parse().unwrap()
}

/// When the next run is due, as status.json says it, in seconds since 1970.
fn due(address: SocketAddr) -> f64 {
    let due: chrono::DateTime<chrono::Utc> = status(address)["due_at"].as_str().unwrap().parse().unwrap();
    due.timestamp() as f64
}

const DUE: &str = "nightbook_next_run_due_timestamp_seconds";

#[test]
fn changed_settings_are_in_force_as_a_whole() {
    let place = Place::new();
    let (before, after) = (place.path().join("before"), place.path().join("after"));
    let settings = |title: &str, minute: u32, alerts: &Path| {
        format!(
            "[site]\ntitle = \"{title}\"\n[schedule]\ncron = \"{minute} 3 1 1 *\"\ncalendar = \"every-day\"\n\
             timezone = \"UTC\"\n[alerts]\n{}",
            to_file(alerts, "true")
        )
    };
    let serving = place.serve(&settings("First title", 10, &before));
    let address = serving.address;
    until("the first title is shown", || index(address).contains("First title"));
    let first = metric(address, DUE);
    place.write(&settings("Second title", 25, &after));
    until("the second title is shown", || index(address).contains("Second title"));
    assert!(!index(address).contains("First title"));
    assert_eq!(metric(address, DUE), first + 15.0 * 60.0, "the metric follows");
    assert_eq!(due(address), first + 15.0 * 60.0, "status.json follows");
    assert_eq!(status(address).get("settings_warning"), None);
    // Deliveries go by the new settings too.
    break_one(&place.path().join("book"));
    let started = post(address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-24"}));
    assert_eq!(started.status, 202, "{started:?}");
    assert_eq!(until_closed(address, &started.headers["location"])["status"], "partial");
    until("the new command is called", || !told(&after).is_empty());
    assert!(told(&before).is_empty(), "the old command is not called any more");
    let applied = place.logged("settings.applied");
    assert_eq!(applied.len(), 1, "{applied:?}");
    assert_eq!(applied[0]["changed"], "alerts, schedule, site", "{applied:?}");
}

/// A job that ends once there is a file named `go` in the book.
const WAITS: &str = r#"
[[jobs]]
name = "waits"
command = ["sh", "-c", '''
cat > /dev/null
while [ ! -e go ]; do sleep 0.05; done
echo '{"status": "success"}'
''']
"#;

#[test]
fn settings_that_change_during_a_long_run_are_in_force_as_a_whole_and_the_run_stays_what_it_is() {
    let place = Place::new();
    let settings = |title: &str, name: &str, minute: u32| {
        format!(
            "[site]\ntitle = \"{title}\"\n[schedule]\nname = \"{name}\"\ncron = \"{minute} 3 1 1 *\"\n\
             calendar = \"every-day\"\ntimezone = \"UTC\"\n"
        )
    };
    let serving = place.serve(&settings("First title", "first", 10));
    let address = serving.address;
    until("the first title is shown", || index(address).contains("First title"));
    let first = metric(address, DUE);
    place.write(&(settings("First title", "first", 10) + WAITS));
    let started = post(address, "/api/v1/batch/runs", &json!({"as_of": "2026-11-24"}));
    assert_eq!(started.status, 202, "{started:?}");
    let current = || get(address, "/api/v1/batch/runs/current").json();
    until("a job waits", || current().to_string().contains("\"waits\""));

    place.write(&(settings("Second title", "second", 25) + WAITS));
    until("the second title is shown", || index(address).contains("Second title"));
    assert_eq!(metric(address, DUE), first + 15.0 * 60.0, "the metric follows");
    assert_eq!(due(address), first + 15.0 * 60.0, "status.json follows");
    assert!(current().to_string().contains("\"waits\""), "the run goes on");
    fs::write(place.path().join("book/go"), "").unwrap();
    let closed = until_closed(address, &started.headers["location"]);
    assert_eq!((&closed["schedule"], &closed["status"]), (&"first".into(), &"success".into()), "{closed}");
    let mut applied = place.logged("settings.applied");
    applied.retain(|line| line["changed"].as_str().is_some_and(|changed| changed.contains("schedule")));
    assert!(applied.len() == 1 && applied[0]["changed"].as_str().unwrap().contains("site"), "{applied:?}");
    // The schedule begins with its name: no slot of it has come, and nothing else is run.
    let runs = get(address, "/api/v1/batch/runs").json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "{runs}");
}

#[test]
fn a_hang_up_reads_the_settings_and_ends_nothing() {
    let place = Place::new();
    let serving = place.serve("[site]\ntitle = \"First title\"\n");
    let address = serving.address;
    until("the first title is shown", || index(address).contains("First title"));
    // Same length, same file, same time: only a signal says that it changed.
    let file = fs::File::options().write(true).open(place.file()).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    let text = fs::read_to_string(place.file()).unwrap().replace("First", "Other");
    std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
    file.set_modified(time).unwrap();
    serving.signal("HUP");
    until("the other title is shown", || index(address).contains("Other title"));
    serving.signal("HUP");
    assert_eq!(get(address, "/healthz").status, 200);
}

#[test]
fn invalid_settings_keep_the_earlier_ones_in_force_and_a_warning_says_so() {
    let place = Place::new();
    let valid = "[site]\ntitle = \"First title\"\n[schedule]\ncron = \"10 3 1 1 *\"\ntimezone = \"UTC\"\n";
    let serving = place.serve(valid);
    let address = serving.address;
    until("the first title is shown", || index(address).contains("First title"));
    let first = metric(address, DUE);
    for _ in 0..2 {
        place.write("[site]\ntitle = \"Second title\"\n[schedule]\ncron = \"never\"\n");
        until("the warning is on the page", || index(address).contains("settings-warning"));
        let page = index(address);
        assert!(page.contains("First title") && !page.contains("Second title"), "no part of them is in force");
        assert!(page.contains("schedule.cron"), "the warning says what is wrong");
        let warning = status(address)["settings_warning"].clone();
        assert!(warning.as_str().is_some_and(|text| text.contains("schedule.cron")), "{warning}");
        assert_eq!((metric(address, DUE), due(address)), (first, first));
        place.write(valid);
        until("the warning is gone", || !index(address).contains("settings-warning"));
        until("the valid settings are in force", || index(address).contains("First title"));
        assert_eq!(status(address).get("settings_warning"), None);
    }
    let refused = place.logged("settings.refused");
    assert_eq!(refused.len(), 2, "one line for each time they became invalid: {refused:?}");
}

#[test]
fn a_site_that_becomes_redacted_is_written_again() {
    let place = Place::new();
    let serving = place.serve("[site]\ntitle = \"First title\"\n");
    let address = serving.address;
    until("the first title is shown", || index(address).contains("First title"));
    let night = status(address)["batch_run_id"].as_str().unwrap().to_owned();
    let run = format!("/runs/{night}/index.html");
    assert!(index(address).contains("Portfolio 1") && get(address, &run).body.contains("Portfolio 1"));
    place.write("[site]\ntitle = \"First title\"\ndetail = \"redacted\"\n");
    until("no name is on the index", || !index(address).contains("Portfolio 1"));
    until("no name is on the page of the run", || !get(address, &run).body.contains("Portfolio 1"));
    place.write("[schedule]\ncron = \"never\"\n");
    until("the warning is on the page", || index(address).contains("settings-warning"));
    assert!(index(address).contains("(withheld)") && !index(address).contains("schedule.cron"));
}
