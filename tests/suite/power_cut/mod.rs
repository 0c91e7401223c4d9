//! Power cuts: what was not synced is gone, and a rename may outlive the content of its file.
//!
//! A layer before the C library logs what the program writes, renames and syncs in its site, and ends it at one of these
//! calls. The test then takes away what was not synced: content always, renames by a seed. Journaling file systems do both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::{nightbook, program, text, write_book};

/// Cuts in every test run, over the whole publication and in the moments of its end.
const CUTS: usize = 24;

/// The layer, compiled; `None` where there is no C compiler.
fn layer(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("layer.c"), folder.join("layer.so"));
    fs::write(&source, include_str!("layer.c")).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-o", text(&library), text(&source), "-ldl"])
        .stderr(Stdio::null())
        .status();
    if compiled.is_ok_and(|status| status.success()) {
        return Some(library);
    }
    e2e::say("SKIPPED: there is no C compiler, so power cannot be cut");
    None
}

/// A small generator of numbers that depend on the seed alone.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// What was written and renamed, and is not durable.
#[derive(Default)]
struct Unsynced {
    written: BTreeSet<PathBuf>,
    /// Place, and the file that was there before.
    renamed: BTreeMap<PathBuf, Option<PathBuf>>,
}

impl Unsynced {
    fn of(log: &str) -> Self {
        let mut unsynced = Self::default();
        for line in log.lines() {
            let (what, rest) = line.split_at(2);
            let path = PathBuf::from(rest);
            match what {
                "W " => {
                    unsynced.written.insert(path);
                }
                "F " => {
                    unsynced.written.remove(&path);
                    unsynced.renamed.retain(|place, _| place.parent() != Some(&path));
                }
                "S " => unsynced = Self::default(),
                "R " => {
                    let mut words = rest.split(' ').map(PathBuf::from);
                    let (old, new, backup) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                    if unsynced.written.remove(&old) {
                        unsynced.written.insert(new.clone());
                    } else {
                        unsynced.written.remove(&new);
                    }
                    let backup = Some(backup).filter(|backup| backup != Path::new("-"));
                    unsynced.renamed.entry(new).or_insert(backup);
                }
                other => panic!("{other:?}"),
            }
        }
        unsynced
    }

    /// Takes away what is not durable.
    fn lose(&self, seed: &mut Seeded) {
        for place in &self.written {
            if let Ok(file) = fs::File::options().write(true).open(place) {
                file.set_len(0).unwrap();
            }
        }
        for (place, before) in &self.renamed {
            // It may have reached the disk by itself.
            if seed.next().is_multiple_of(2) {
                continue;
            }
            match before {
                Some(before) => fs::rename(before, place).unwrap(),
                None => drop(fs::remove_file(place)),
            }
        }
    }
}

struct Place {
    dir: tempfile::TempDir,
    library: PathBuf,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A folder with the first night, published.
    fn folder(&self, name: &str) -> PathBuf {
        let data = self.path(name);
        let (book, first) = (self.path("book"), self.path("first"));
        if !first.exists() {
            run(&book, &first, "2026-11-23");
        }
        assert!(Command::new("cp").args(["-r", text(&first), text(&data)]).status().unwrap().success());
        data
    }

    /// Runs the second night with the layer, and ends it at a call; gives the log.
    fn cut(&self, data: &Path, at: Option<usize>) -> String {
        let log = data.with_extension("log");
        let mut command = Command::new(program().unwrap());
        command
            .args(["run", "--book", text(&self.path("book")), "--data", text(data), "--as-of", "2026-11-24"])
            .env("LD_PRELOAD", &self.library)
            .env("CUT_ROOT", data.join("site"))
            .env("CUT_LOG", &log)
            .env("CUT_CWD", "")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(at) = at {
            command.env("CUT_AT", at.to_string());
        }
        command.status().unwrap();
        fs::read_to_string(log).unwrap_or_default()
    }
}

fn run(book: &Path, data: &Path, as_of: &str) {
    let output = nightbook(&["run", "--book", text(book), "--data", text(data), "--as-of", as_of]).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Everything that can be reached from the index is there and whole; gives the index.
fn assert_whole(data: &Path, context: &str) -> String {
    let site = data.join("site");
    let index = fs::read_to_string(site.join("index.html")).unwrap_or_else(|error| panic!("{context}: {error}"));
    let (mut seen, mut next) = (BTreeSet::new(), vec![PathBuf::from("index.html")]);
    while let Some(page) = next.pop() {
        if !seen.insert(page.clone()) {
            continue;
        }
        let bytes = fs::read(site.join(&page)).unwrap_or_else(|error| panic!("{context}: {}: {error}", page.display()));
        assert!(!bytes.is_empty(), "{context}: {} is empty", page.display());
        if page.extension().is_none_or(|extension| extension != "html") {
            continue;
        }
        let html = String::from_utf8(bytes).unwrap();
        assert!(html.trim_end().ends_with("</html>"), "{context}: {} is not whole", page.display());
        for link in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let link = link.split(['#', '?']).next().unwrap_or_default();
            if link.is_empty() || link.contains(':') {
                continue;
            }
            let mut place = page.parent().map(Path::to_path_buf).unwrap_or_default();
            for part in link.split('/') {
                match part {
                    ".." => drop(place.pop()),
                    "." | "" => {}
                    part => place.push(part),
                }
            }
            next.push(if site.join(&place).is_dir() { place.join("index.html") } else { place });
        }
    }
    index
}

#[test]
fn after_a_power_cut_the_site_is_whole_and_the_same_command_heals_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(library) = layer(dir.path()) else { return };
    let place = Place { dir, library };
    write_book(&place.path("book"), 6).unwrap();
    let calm = place.folder("calm");
    let log = place.cut(&calm, None);
    let calls = log.lines().count();
    assert!(log.contains("/index.html ") && log.lines().any(|line| line.starts_with("S ")), "the layer sees it all");
    let unsynced = Unsynced::of(&log);
    assert!(unsynced.renamed.is_empty() && unsynced.written.is_empty(), "a run that has ended is durable");
    let index_of = |folder: &Path| assert_whole(folder, "undisturbed");
    let (old, new) = (index_of(&place.path("first")), index_of(&calm));
    let mut seed = Seeded(20_261_201);
    for cut in 0..CUTS {
        // Half of the cuts in the last calls, where pages and index get their places.
        let at =
            if cut % 2 == 0 { seed.next() as usize % calls } else { calls - 1 - seed.next() as usize % (calls / 4) };
        let data = place.folder(&format!("cut-{cut}"));
        let log = place.cut(&data, Some(at + 1));
        Unsynced::of(&log).lose(&mut seed);
        let context = format!("cut {cut} at call {at} of {calls}");
        let index = assert_whole(&data, &context);
        let shows = |text: &str| (text.contains("2026-11-24"), text.contains("2026-11-23"));
        assert!(shows(&index) == shows(&old) || shows(&index) == shows(&new), "{context}: neither old nor new");
        run(&place.path("book"), &data, "2026-11-24");
        let healed = assert_whole(&data, &format!("{context}, healed"));
        assert_eq!(shows(&healed), shows(&new), "{context}");
        fs::remove_dir_all(&data).unwrap();
    }
}

/// What a power cut of an older release left, or a person: missing, empty and cut files are written again.
#[test]
fn the_same_command_heals_damaged_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (book, data) = (dir.path().join("book"), dir.path().join("data"));
    write_book(&book, 3).unwrap();
    for date in ["2026-11-23", "2026-11-24"] {
        run(&book, &data, date);
    }
    let site = data.join("site");
    let read = |path: &str| fs::read(site.join(path)).unwrap();
    let run_page = fs::read_dir(site.join("runs")).unwrap().next().unwrap().unwrap().file_name();
    let run_page = format!("runs/{}/summary.json", run_page.to_str().unwrap());
    for path in ["index.html", "nights/2026-11-23/index.html", "status.json", "404.html", &run_page] {
        for command in [
            &["run", "--book", text(&book), "--as-of", "2026-11-24", "--data", text(&data)][..],
            &["publish", "--data", text(&data)],
        ] {
            for damage in ["empty", "missing", "cut"] {
                let before = read(path);
                match damage {
                    "empty" => fs::write(site.join(path), "").unwrap(),
                    "missing" => fs::remove_file(site.join(path)).unwrap(),
                    _ => fs::write(site.join(path), &before[..before.len() / 2]).unwrap(),
                }
                let output = nightbook(command).unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(0), "{path}, {damage}: {said}");
                assert!(read(path) == before, "{path}, {damage}: {} did not heal it", command[0]);
            }
        }
    }
}
