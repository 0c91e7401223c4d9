//! What a redacted site shows never becomes more because a file is missing, damaged or restored.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{json, nightbook, text, write_book};

use crate::api::{serve, until};

/// A folder with a book of three portfolios, one of which has no equity, and its data.
struct Place {
    dir: tempfile::TempDir,
    common: String,
}

/// What a redacted site must not hold: ids and names.
const SECRETS: [&str; 5] = ["evergreen", "Evergreen", "Harvest Pension", "p001", "Portfolio 1"];

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let book = dir.path().join("book");
        write_book(&book, 2).unwrap();
        let add = |file: &str, lines: &str| {
            let path = book.join(file);
            fs::write(&path, fs::read_to_string(&path).unwrap() + lines).unwrap();
        };
        add("portfolios.csv", "evergreen,Evergreen Harvest Pension,\n");
        add("positions.csv", "evergreen,S0,1000,50,2025-01-02\n");
        let common = fs::read_to_string(book.join("nightbook.toml")).unwrap();
        Self { dir, common }
    }

    fn book(&self) -> PathBuf {
        self.dir.path().join("book")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn detail(&self, detail: &str) -> &Self {
        let site = if detail.is_empty() { String::new() } else { format!("[site]\ndetail = \"{detail}\"\n") };
        fs::write(self.book().join("nightbook.toml"), format!("{site}{}", self.common)).unwrap();
        self
    }

    /// Runs a date; gives the exit code and what was said on standard error.
    fn run(&self, data: &Path, as_of: &str) -> (i32, String) {
        command(&["run", "--book", text(&self.book()), "--data", text(data), "--as-of", as_of])
    }

    /// A redacted folder with one night.
    fn redacted() -> Self {
        let place = Self::new();
        let (code, said) = place.detail("redacted").run(&place.data(), "2026-11-23");
        assert!(code <= 1, "{code}: {said}");
        assert_redacted(&place.data());
        place
    }
}

fn command(arguments: &[&str]) -> (i32, String) {
    let output = nightbook(arguments).unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The secrets that the site holds, in the bytes or names of its files.
fn shown(data: &Path) -> Vec<String> {
    let site = data.join("site");
    let mut shown = Vec::new();
    for path in files(&site) {
        let content = fs::read(&path).unwrap();
        let place = path.strip_prefix(&site).unwrap().display().to_string();
        for secret in SECRETS {
            let holds = content.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
            if holds || place.contains(secret) {
                shown.push(format!("{place} has {secret}"));
            }
        }
    }
    shown
}

fn assert_redacted(data: &Path) {
    assert!(data.join("site/index.html").is_file(), "nothing was published");
    assert_eq!(shown(data), Vec::<String>::new());
}

/// Nothing was published: exit 3 with this reason, and the site has no secret.
fn assert_withheld((code, said): (i32, String), reason: &str, data: &Path, context: &str) {
    assert_eq!(code, 3, "{context}: {said}");
    assert!(said.contains("nothing is published") && said.contains(reason), "{context}: {said}");
    assert_eq!(shown(data), Vec::<String>::new(), "{context}");
}

#[test]
fn a_restored_redacted_folder_publishes_no_name() {
    let place = Place::redacted();
    let newest = json(&["history", "--json", "--data", text(&place.data())]).unwrap().0["runs"][0]["batch_run_id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (name, arguments) in
        [("plain", &["publish"][..]), ("rebuilt", &["publish", "--rebuild"]), ("rerun", &["rerun", &newest])]
    {
        let restored = place.dir.path().join(name);
        let (code, said) = command(&["backup", "--data", text(&place.data()), text(&restored)]);
        assert_eq!(code, 0, "{said}");
        let (code, said) = command(&[arguments, &["--data", text(&restored)]].concat());
        assert!(code <= 1, "{name}: {code}: {said}");
        assert_redacted(&restored);
        let pages = |data: &Path| {
            let portfolios = fs::read_dir(data.join("site/portfolios")).unwrap();
            let mut names: Vec<_> = portfolios.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(pages(&restored), pages(&place.data()), "{name}: portfolios have other public ids");
    }
}

#[test]
fn nothing_is_published_without_readable_settings() {
    for content in [None, Some(""), Some("{"), Some("null"), Some("{\"settings\":{}}"), Some("\u{0}\u{0}\u{0}")] {
        let place = Place::redacted();
        let (data, file) = (place.data(), place.data().join("site-settings.json"));
        let damage = || match content {
            None => fs::remove_file(&file).unwrap(),
            Some(content) => fs::write(&file, content).unwrap(),
        };
        damage();
        let context = format!("{content:?}");
        for arguments in [&["publish"][..], &["publish", "--rebuild"], &["rerun", "latest"]] {
            let outcome = command(&[arguments, &["--data", text(&data)]].concat());
            assert_withheld(outcome, "site-settings.json", &data, &format!("{context}, {arguments:?}"));
        }
        fs::remove_file(place.book().join("nightbook.toml")).unwrap();
        assert_withheld(place.run(&data, "2026-11-24"), "does not state `detail`", &data, &context);
        // A book that states it decides.
        let (code, said) = place.detail("redacted").run(&data, "2026-11-24");
        assert!(code <= 1, "{context}: {code}: {said}");
        assert_redacted(&data);
    }
}

#[test]
fn a_book_without_its_settings_makes_no_redacted_site_full() {
    for emptied in [false, true] {
        let place = Place::redacted();
        let (data, file) = (place.data(), place.book().join("nightbook.toml"));
        if emptied {
            fs::write(&file, "").unwrap()
        } else {
            fs::remove_file(&file).unwrap()
        }
        assert_withheld(place.run(&data, "2026-11-24"), "this site is redacted", &data, "run");
        for rebuild in [&[][..], &["--rebuild"]] {
            let outcome = command(&[&["publish", "--data", text(&data)], rebuild].concat());
            assert_withheld(outcome, "this site is redacted", &data, "publish");
        }
        let with_book = command(&["publish", "--data", text(&data), "--book", text(&place.book())]);
        assert_withheld(with_book, "this site is redacted", &data, "publish --book");
        let (code, said) =
            command_of(place.detail("full"), &["publish", "--data", text(&data), "--book", text(&place.book())]);
        assert_eq!(code, 0, "{said}");
        assert!(!shown(&data).is_empty(), "full detail was asked for");
    }
}

fn command_of(_: &Place, arguments: &[&str]) -> (i32, String) {
    command(arguments)
}

#[test]
fn nothing_is_published_with_a_damaged_key() {
    for content in [None, Some(""), Some("short"), Some("0123456789abcdef0123456789abcdeg")] {
        let place = Place::redacted();
        let (data, key) = (place.data(), place.data().join("redaction-key"));
        let before = fs::read_to_string(&key).unwrap();
        match content {
            None => fs::remove_file(&key).unwrap(),
            Some(content) => fs::write(&key, content).unwrap(),
        }
        let context = format!("{content:?}");
        for rebuild in [&[][..], &["--rebuild"]] {
            let outcome = command(&[&["publish", "--data", text(&data)], rebuild].concat());
            assert_withheld(outcome, "redaction-key", &data, &context);
        }
        assert_withheld(place.run(&data, "2026-11-24"), "redaction-key", &data, &context);
        fs::write(&key, before).unwrap();
        let (code, said) = command(&["publish", "--data", text(&data)]);
        assert_eq!(code, 0, "{context}: {said}");
        assert_redacted(&data);
    }
}

#[test]
fn a_switch_to_redacted_removes_what_was_shown_before() {
    let place = Place::new();
    let (data, site) = (place.data(), place.data().join("site"));
    for date in ["2026-11-20", "2026-11-23"] {
        let (code, said) = place.detail("full").run(&data, date);
        assert!(code <= 1, "{code}: {said}");
    }
    assert!(!shown(&data).is_empty(), "the full site names portfolios: the test would see a leak");
    fs::create_dir_all(site.join("old-form")).unwrap();
    fs::write(site.join("old-form/evergreen.html"), "Evergreen").unwrap();
    fs::write(site.join(".new-left-by-a-crash"), "Evergreen").unwrap();
    let (code, said) = place.detail("redacted").run(&data, "2026-11-24");
    assert!(code <= 1, "{code}: {said}");
    assert_redacted(&data);
    // All nights are there again.
    for date in ["2026-11-20", "2026-11-23", "2026-11-24"] {
        assert!(files(&site.join("nights")).iter().any(|path| text(path).contains(date)), "{date}");
    }
    let (code, said) = command(&["publish", "--rebuild", "--data", text(&data)]);
    assert_eq!(code, 0, "{said}");
    assert_redacted(&data);
}

/// The site is marked before a page of another detail is written, so a switch that ended half way is finished.
#[test]
fn an_interrupted_switch_is_finished_by_the_next_publication() {
    let place = Place::redacted();
    let data = place.data();
    // As a publication of full detail leaves it that is killed after its first page.
    fs::write(data.join("site/detail.txt"), "full\n").unwrap();
    fs::create_dir_all(data.join("site/portfolios/evergreen")).unwrap();
    fs::write(data.join("site/portfolios/evergreen/index.html"), "Evergreen").unwrap();
    let (code, said) = command(&["publish", "--data", text(&data)]);
    assert_eq!(code, 0, "{said}");
    assert_redacted(&data);
}

#[test]
fn a_redacted_page_shows_the_template_of_a_cause() {
    let place = Place::redacted();
    let (nights, _) = json(&["night", "2026-11-23", "--json", "--data", text(&place.data())]).unwrap();
    let message = nights["causes"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("equity"), "{message}");
    let pages = files(&place.data().join("site/nights"));
    let page = pages.iter().find(|path| text(path).ends_with("index.html")).unwrap();
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;text&gt;") || page.contains("&#60;text&#62;"), "{page}");
}

/// Every night of a redacted folder has its page, and no file tells a name.
fn assert_whole(data: &Path, dates: &[&str]) {
    assert_redacted(data);
    for date in dates {
        let pages = files(&data.join("site/nights"));
        assert!(pages.iter().any(|path| text(path).contains(date)), "{date} has no page");
    }
}

#[test]
fn the_same_run_after_a_switch_to_redacted_leaves_a_whole_site() {
    let place = Place::new();
    let data = place.data();
    for detail in ["full", "redacted"] {
        let (code, said) = place.detail(detail).run(&data, "2026-11-23");
        assert!(code <= 1, "{detail}: {code}: {said}");
    }
    assert_whole(&data, &["2026-11-23"]);
}

#[test]
fn serve_leaves_a_whole_site_where_nobody_said_which_detail_it_has() {
    let place = Place::redacted();
    let data = place.data();
    fs::remove_file(data.join("site/detail.txt")).unwrap();
    let serving = serve(place.dir.path(), &[]);
    until("the site is marked and whole", || {
        data.join("site/detail.txt").exists() && data.join("site/index.html").exists()
    });
    drop(serving);
    assert_whole(&data, &["2026-11-23"]);
}

/// Serves a redacted folder that is withheld for this reason, and publishes once `mend` has mended the cause.
fn publishes_once_mended(place: &Place, reason: &str, mend: impl FnOnce()) {
    let data = place.data();
    let _serving = serve(place.dir.path(), &[]);
    let publish = || command(&["publish", "--data", text(&data)]);
    assert_withheld(publish(), reason, &data, "while it is served");
    mend();
    until("the site is published", || publish().0 == 0);
    assert_whole(&data, &["2026-11-23"]);
}

#[test]
fn serve_publishes_again_once_the_book_states_the_detail() {
    let place = Place::redacted();
    place.detail("");
    publishes_once_mended(&place, "does not state `detail`", || {
        place.detail("redacted");
    });
}

#[test]
fn serve_publishes_again_once_the_key_is_back() {
    let place = Place::redacted();
    let key = place.data().join("redaction-key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    publishes_once_mended(&place, "redaction-key", || fs::write(&key, kept).unwrap());
}

#[test]
fn a_switch_to_full_while_serve_runs_leads_to_no_page_that_is_not_there() {
    let place = Place::redacted();
    let (data, site) = (place.data(), place.data().join("site"));
    let hashed: Vec<PathBuf> = files(&site.join("portfolios"));
    let _serving = serve(place.dir.path(), &[]);
    place.detail("full");
    until("the site is full", || site.join("portfolios/evergreen/index.html").exists());
    until("the pages of the redacted site are gone", || !hashed.iter().any(|page| site.join(page).exists()));
    let (code, said) = command(&["publish", "--data", text(&data)]);
    assert_eq!(code, 0, "{said}");
}
