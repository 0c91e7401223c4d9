//! Damage to what is stored: named by `doctor` and on reading, never silently empty.

use std::path::{Path, PathBuf};

use backends::local::LocalStore;
use backends::system::SystemClock;
use domain::ids::{ContentHash, RunId};
use domain::note::{Note, NoteKind, RunNotes as _};
use domain::ports::Clock as _;
use e2e::{json, nightbook, say, text, write_book};
use rusqlite::types::Value as SqlValue;
use serde_json::Value;

/// A data folder with two runs, one of them with failures.
fn stored(dir: &Path) -> PathBuf {
    let (book, data) = (dir.join("book"), dir.join("data"));
    write_book(&book, 3).unwrap();
    let file = book.join("portfolios.csv");
    let list = std::fs::read_to_string(&file).unwrap().replace("p001,Portfolio 1,1000000", "p001,Portfolio 1,");
    std::fs::write(&file, list).unwrap();
    for day in ["2026-11-23", "2026-11-24"] {
        json(&["run", "--book", text(&book), "--data", text(&data), "--as-of", day, "--json"]).unwrap();
    }
    data
}

/// Leaves a note on the newest run.
fn annotate(data: &Path) {
    let (newest, _) = json(&["show", "latest", "--data", text(data), "--json"]).unwrap();
    let run: RunId = newest["batch_run_id"].as_str().unwrap().parse().unwrap();
    let note = Note {
        id: run.0,
        batch_run_id: run,
        kind: NoteKind::Annotate,
        author: "Zoë".into(),
        at: SystemClock.now(),
        text: "the vendor was late".into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(LocalStore::open(data).unwrap().add_note(&note)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What `doctor` says of this folder.
fn problems(data: &Path) -> Vec<String> {
    let output = nightbook(&["doctor", "--data", text(data), "--json"]).unwrap();
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        return vec![String::from_utf8_lossy(&output.stderr).into_owned()];
    };
    let problems: Vec<String> =
        report["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_owned()).collect();
    assert_eq!(output.status.code(), Some(i32::from(!problems.is_empty())));
    problems
}

/// The text with one letter or digit changed, near its middle.
fn flipped(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let middle = bytes.len() / 2;
    let at = (middle..bytes.len()).chain(0..middle).find(|at| bytes[*at].is_ascii_alphanumeric()).unwrap();
    bytes[at] = if bytes[at] == b'7' { b'3' } else { b'7' };
    String::from_utf8(bytes).unwrap()
}

/// A value with one letter, digit or unit changed; text where there was nothing.
fn changed(value: &SqlValue) -> SqlValue {
    match value {
        SqlValue::Null => SqlValue::Text("7".into()),
        SqlValue::Integer(number) => SqlValue::Integer(number + 1),
        SqlValue::Real(number) => SqlValue::Real(number + 1.0),
        SqlValue::Text(text) => SqlValue::Text(flipped(text)),
        SqlValue::Blob(bytes) => {
            let mut bytes = bytes.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            SqlValue::Blob(bytes)
        }
    }
}

/// The tables of the records with their columns, but for `meta`, whose entries are no records.
fn columns_of(data: &Path) -> Vec<(String, Vec<String>)> {
    let store = rusqlite::Connection::open(data.join("records.sqlite")).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        store.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let tables = texts("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'meta' ORDER BY name");
    tables
        .into_iter()
        .map(|table| {
            let columns = texts(&format!("SELECT name FROM pragma_table_info('{table}')"));
            (table, columns)
        })
        .collect()
}

/// Changes a column of the first row that has a value in it, or of the first row.
fn change(data: &Path, table: &str, column: &str) -> String {
    let store = rusqlite::Connection::open(data.join("records.sqlite")).unwrap();
    let names = columns_of(data).into_iter().find(|(name, _)| name == table).unwrap().1;
    let all = names.join(", ");
    let row: Vec<SqlValue> = store
        .query_row(&format!("SELECT {all} FROM {table} ORDER BY {column} IS NULL, {all} LIMIT 1"), [], |row| {
            (0..names.len()).map(|at| row.get(at)).collect()
        })
        .unwrap();
    let at = names.iter().position(|name| name == column).unwrap();
    let value = changed(&row[at]);
    let clause: Vec<String> = (0..names.len()).map(|n| format!("{} IS ?{}", names[n], n + 1)).collect();
    let mut values = row.clone();
    values.push(value.clone());
    let sql = format!("UPDATE OR REPLACE {table} SET {column} = ?{} WHERE {}", values.len(), clause.join(" AND "));
    assert_eq!(store.execute(&sql, rusqlite::params_from_iter(values)).unwrap(), 1, "{table}.{column}");
    format!("{table}.{column}: {:.100} -> {:.100}", format!("{:?}", row[at]), format!("{value:?}"))
}

#[test]
fn a_changed_value_in_any_column_of_any_table_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    annotate(&data);
    assert_eq!(problems(&data), Vec::<String>::new());
    let (mut tried, mut unnoticed) = (0, Vec::new());
    for (table, columns) in columns_of(&data) {
        for column in columns {
            let copied = dir.path().join("changed");
            copy(&data, &copied);
            let what = change(&copied, &table, &column);
            if problems(&copied).is_empty() {
                unnoticed.push(what);
            }
            std::fs::remove_dir_all(&copied).unwrap();
            tried += 1;
        }
    }
    assert_eq!(unnoticed, Vec::<String>::new(), "of {tried} columns");
    assert!(tried > 100, "{tried} columns");
    say(&format!("{tried} columns changed, one by one"));
}

/// Somebody with access to the folder corrects every hash beside what they change.
#[test]
fn a_rewritten_record_with_correct_hashes_breaks_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    let store = rusqlite::Connection::open(data.join("records.sqlite")).unwrap();
    let (record, hash): (String, String) = store
        .query_row("SELECT record, content_hash FROM job_records WHERE status = 'failed' LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let mut document: Value = serde_json::from_str(&record).unwrap();
    let message = document["error"]["message"].as_str().unwrap().to_owned();
    let rewritten = record.replacen(&serde_json::to_string(&message).unwrap(), "\"nothing happened\"", 1);
    document["error"]["message"] = "nothing happened".into();
    assert_eq!(serde_json::from_str::<Value>(&rewritten).unwrap(), document);
    let corrected = ContentHash::of(rewritten.as_bytes());
    let sql = "UPDATE job_records SET record = ?1, content_hash = ?2, error_message = 'nothing happened' WHERE content_hash = ?3";
    assert_eq!(store.execute(sql, [rewritten.as_str(), corrected.as_str(), &hash]).unwrap(), 1);
    drop(store);
    let named = problems(&data);
    assert!(
        named.iter().any(|problem| problem.contains("its records are not those of link 3 of the chain")),
        "{named:?}"
    );
}

/// A night that was deleted with all that belongs to it, its link and the links after it, is missing for whoever kept an older
/// status.json.
#[test]
fn a_deleted_night_is_named_by_the_chain_and_by_an_older_status() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    let status: Value = serde_json::from_slice(&std::fs::read(data.join("site/status.json")).unwrap()).unwrap();
    let link = format!("{}:{}", status["chain"]["number"], status["chain"]["hash"].as_str().unwrap());
    let feed = std::fs::read_to_string(data.join("site/feed.xml")).unwrap();
    assert!(feed.contains(&format!("term=\"{link}\"")), "the feed and the status tell the same link");
    let doctor = |data: &Path| json(&["doctor", "--data", text(data), "--link", &link, "--json"]).unwrap();
    let (report, code) = doctor(&data);
    assert_eq!((code, &report["problems"], &report["chain"]), (0, &serde_json::json!([]), &status["chain"]));

    let run = status["batch_run_id"].as_str().unwrap().to_owned();
    let remove = |tables: &[&str]| {
        let store = rusqlite::Connection::open(data.join("records.sqlite")).unwrap();
        for table in tables {
            store.execute(&format!("DELETE FROM {table} WHERE batch_run_id = ?1"), [&run]).unwrap();
        }
    };
    remove(&["runs", "manifests", "work_items", "job_records", "folds", "job_runs", "failures", "results"]);
    let store = rusqlite::Connection::open(data.join("records.sqlite")).unwrap();
    store.execute("DELETE FROM nights WHERE as_of = '2026-11-24'", []).unwrap();
    drop(store);
    std::fs::remove_file(data.join(format!("results/{run}.pack"))).unwrap();
    let gone = format!("run {run} of link 3 of the chain is gone");
    assert!(problems(&data).contains(&gone), "{:?}", problems(&data));

    remove(&["chain"]);
    assert_eq!(problems(&data), Vec::<String>::new(), "inside the folder nothing is left to tell");
    let (report, code) = doctor(&data);
    let named = report["problems"][0].as_str().unwrap();
    assert!(code == 1 && named.contains("the chain holds no link"), "{named}");
}

#[test]
fn a_row_that_is_gone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    for table in ["manifests", "job_records", "folds", "job_runs", "failures", "results"] {
        let copied = dir.path().join(table);
        copy(&data, &copied);
        let store = rusqlite::Connection::open(copied.join("records.sqlite")).unwrap();
        let key = match table {
            "job_runs" => "job_name",
            "failures" => "fingerprint",
            _ => "batch_run_id",
        };
        store.execute(&format!("DELETE FROM {table} WHERE {key} = (SELECT {key} FROM {table} LIMIT 1)"), []).unwrap();
        drop(store);
        assert!(!problems(&copied).is_empty(), "{table}");
    }
}

#[test]
fn a_changed_byte_in_any_document_is_named_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    let mut tried = 0;
    for folder in ["results", "snapshots"] {
        let file = std::fs::read_dir(data.join(folder)).unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&file).unwrap();
        // The length of a frame is tried at its very ends, its content at places in between.
        let places = [0, 1, 4, 5, whole.len() / 3, whole.len() / 2, whole.len() - 5, whole.len() - 1];
        for at in places {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&file, &bytes).unwrap();
            assert!(!problems(&data).is_empty(), "{folder}: byte {at} of {}", whole.len());
            tried += 1;
        }
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        assert!(!problems(&data).is_empty(), "{folder}: truncated");
        std::fs::remove_file(&file).unwrap();
        assert!(!problems(&data).is_empty(), "{folder}: gone");
        std::fs::write(&file, &whole).unwrap();
    }
    assert_eq!(tried, 16);
    assert_eq!(problems(&data), Vec::<String>::new());
}

#[test]
fn reading_names_the_damage_too() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    let fails = |change: &str, arguments: &[&str]| {
        let copied = tempfile::tempdir_in(dir.path()).unwrap();
        copy(&data, copied.path());
        let store = rusqlite::Connection::open(copied.path().join("records.sqlite")).unwrap();
        assert!(store.execute(change, []).unwrap() > 0, "{change}");
        drop(store);
        let output = nightbook(&[arguments, &["--data", text(copied.path())]].concat()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{arguments:?} after {change}: {said}");
        assert!(said.contains("damaged") && said.contains("doctor"), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    };
    let records = "UPDATE job_records SET record = replace(record, '\"attempt\":1', '\"attempt\":7')";
    fails(records, &["show", "latest", "--portfolio", "p000", "--json"]);
    fails(records, &["last", "position_values_update", "--json"]);
    fails(
        "UPDATE runs SET summary = replace(summary, '\"total_jobs\":27', '\"total_jobs\":28')",
        &["history", "--json"],
    );
    fails("UPDATE runs SET run = replace(run, 'nightly', 'nightle')", &["history", "--json"]);
    fails("UPDATE failures SET message = message || '!'", &["failures", "--since", "4000d", "--json"]);
    fails(
        "UPDATE job_runs SET line = replace(line, '\"success\":', '\"success\": ')",
        &["publish", "--rebuild", "--json"],
    );
}

#[test]
fn a_truncated_or_foreign_file_of_records_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    let file = data.join("records.sqlite");
    let whole = std::fs::read(&file).unwrap();
    for (what, bytes) in [
        ("half of it", whole[..whole.len() / 2].to_vec()),
        ("its first page", whole[..4_096].to_vec()),
        ("another file", b"this is no database, whatever its name says".repeat(200)),
    ] {
        for other in ["records.sqlite-wal", "records.sqlite-shm"] {
            let _ = std::fs::remove_file(data.join(other));
        }
        std::fs::write(&file, bytes).unwrap();
        assert!(!problems(&data).is_empty(), "{what}");
        for arguments in [&["history", "--json"][..], &["show", "latest", "--json"], &["publish", "--rebuild"]] {
            let output = nightbook(&[arguments, &["--data", text(&data)]].concat()).unwrap();
            assert_eq!(
                output.status.code(),
                Some(3),
                "{arguments:?} on {what}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

/// Every file of a folder.
fn files(root: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_path_buf(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_site_comes_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let data = stored(dir.path());
    let site = data.join("site");
    let before = files(&site);
    assert!(before.len() > 20);
    let rebuild = || {
        let (_, code) = json(&["publish", "--rebuild", "--data", text(&data), "--json"]).unwrap();
        assert_eq!(code, 0);
        let after = files(&site);
        let differ: Vec<_> =
            before.iter().filter(|(path, body)| after.get(*path) != Some(*body)).map(|(path, _)| path).collect();
        assert!(differ.is_empty(), "{differ:?}");
        assert_eq!(after.len(), before.len());
    };
    std::fs::remove_dir_all(&site).unwrap();
    rebuild();
    for path in before.keys().step_by(2) {
        std::fs::write(site.join(path), "damaged").unwrap();
    }
    rebuild();
}
