//! The data folder as others find it: auditors who may only read, copies, and files that somebody removes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{json, nightbook, program, text, write_book};
use serde_json::json;

use crate::api::{get, post, serve};

/// A folder with one night; gives the folder of the data.
fn one_night(dir: &Path) -> std::path::PathBuf {
    let (book, data) = (dir.join("book"), dir.join("data"));
    write_book(&book, 2).unwrap();
    let output = nightbook(&["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-23"]).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    data
}

#[test]
fn a_clean_exit_leaves_everything_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = one_night(dir.path());
    let log = fs::metadata(data.join("records.sqlite-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0, "bytes in the write-ahead log");
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(data.join("records.sqlite"), copy.join("records.sqlite")).unwrap();
    let (history, code) = json(&["history", "--json", "--data", text(&copy)]).unwrap();
    assert_eq!((history["runs"].as_array().unwrap().len(), code), (1, 0), "{history}");
}

/// Lets everybody read below a folder, and nobody but its owner write.
fn readable_by_all(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = if path.is_dir() { 0o555 } else { 0o444 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if path.is_dir() {
            readable_by_all(&path);
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
}

#[test]
fn an_auditor_who_may_only_read_opens_a_backup_and_a_copy() {
    // Where everybody may come to: the folders of tests are for their owner alone.
    let dir = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let data = one_night(dir.path());
    let (backup, copy) = (dir.path().join("backup"), dir.path().join("copy"));
    let output = nightbook(&["backup", text(&backup), "--data", text(&data)]).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(Command::new("cp").args(["-r", text(&data), text(&copy)]).status().unwrap().success());
    let binary = dir.path().join("nightbook");
    fs::copy(program().unwrap(), &binary).unwrap();
    for folder in [&backup, &copy] {
        readable_by_all(folder);
        for command in ["history", "doctor"] {
            let mut auditor = Command::new("setpriv");
            auditor.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
            let output = match auditor.args([command, "--json", "--data", text(folder)]).output() {
                Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("setpriv:") => output,
                _ => {
                    e2e::say("SKIPPED: this user cannot become another, who may only read");
                    return;
                }
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{command} of {}: {said}", folder.display());
        }
    }
}

#[test]
fn only_pages_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let data = one_night(dir.path());
    let site = data.join("site");
    fs::write(dir.path().join("outside.txt"), "CANARY-outside").unwrap();
    symlink(dir.path().join("outside.txt"), site.join("link.txt")).unwrap();
    symlink(dir.path(), site.join("folder")).unwrap();
    let serving = serve(dir.path(), &[]);
    assert_eq!(get(serving.address, "/index.html").status, 200);
    let long = format!("/{}", "a".repeat(256));
    for path in ["/link.txt", "/folder/outside.txt", "/%66older/outside.txt", "/.files", "/%2efiles", "/.new/x", &long]
    {
        let answer = get(serving.address, path);
        assert_eq!(answer.status, 404, "{path:.40}");
        assert!(!answer.body.contains("CANARY"), "{path:.40}");
    }
}

#[test]
fn a_file_that_is_removed_under_serve_is_noticed() {
    for file in ["records.sqlite", "lock"] {
        let dir = tempfile::tempdir().unwrap();
        let data = one_night(dir.path());
        let serving = serve(dir.path(), &[]);
        assert_eq!(get(serving.address, "/healthz").status, 200);
        fs::remove_file(data.join(file)).unwrap();
        let answer = get(serving.address, "/healthz");
        assert!(answer.status >= 500, "{file}: {answer:?}");
        let started = post(serving.address, "/api/v1/batch/runs", &json!({ "as_of": "2026-11-24" }));
        assert!(started.status >= 500, "{file}: {started:?}");
    }
}

/// The files of a folder with their content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// What `backup --verify` prints, and its exit code.
fn verified(backup: &Path) -> (serde_json::Value, i32) {
    json(&["backup", "--verify", text(backup), "--json"]).unwrap()
}

#[test]
fn verifying_a_backup_names_its_newest_link_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = one_night(dir.path());
    let backup = dir.path().join("backup");
    let output = nightbook(&["backup", text(&backup), "--data", text(&data)]).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let before = contents(&backup);
    let (report, code) = verified(&backup);
    assert_eq!((code, &report["problems"]), (0, &json!([])), "{report}");
    let status: serde_json::Value = serde_json::from_slice(&fs::read(data.join("site/status.json")).unwrap()).unwrap();
    assert_eq!(report["chain"]["hash"], status["chain"]["hash"], "{report}");
    assert!(!report["chain"]["hash"].is_null(), "{report}");
    assert!(contents(&backup) == before, "verifying changed the backup");
    let output = nightbook(&["backup", "--verify", text(&dir.path().join("none"))]).unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// Each file of a backup in turn is removed, cut or changed by one bit, and named. The list itself counts as a file.
#[test]
fn no_change_of_a_file_of_a_backup_goes_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let data = one_night(dir.path());
    let backup = dir.path().join("backup");
    assert!(nightbook(&["backup", text(&backup), "--data", text(&data)]).unwrap().status.success());
    let mut unnoticed = Vec::new();
    // Each kind of page is verified in the same way: one of each folder and ending stands for the others.
    let mut kinds = BTreeSet::new();
    for (path, bytes) in contents(&backup) {
        if !kinds.insert((path.parent().map(Path::to_path_buf), path.extension().map(OsStr::to_owned))) {
            continue;
        }
        let mut flipped = bytes.clone();
        if let Some(byte) = flipped.get_mut(bytes.len() / 2) {
            *byte ^= 1;
        }
        for (change, content) in
            [("removed", None), ("cut", Some(&bytes[..bytes.len() / 2])), ("flipped", Some(&flipped))]
        {
            match content {
                None => fs::remove_file(&path).unwrap(),
                Some(content) => fs::write(&path, content).unwrap(),
            }
            let (report, code) = verified(&backup);
            if code != 1 && !bytes.is_empty() {
                unnoticed.push(format!("{} {change}: {code} {report}", path.display()));
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    fs::write(backup.join("site/added.html"), "x").unwrap();
    assert_eq!(verified(&backup).1, 1, "a page was added");
    fs::remove_file(backup.join("site/added.html")).unwrap();
    assert_eq!(verified(&backup).1, 0, "every change was undone");
    assert_eq!(unnoticed, Vec::<String>::new());
}
