//! The vocabulary of events: the sources say nothing else, and the document is the table.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use domain::events::{EVENTS, table};
use domain::metrics::{cloud_table, prometheus_table};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["tests", "benches", "examples", "target"].contains(&&*name) {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// What is between the brackets of each `tracing::level!(...)`, with the level.
fn calls(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("tracing::") {
        let rest = &text[at + "tracing::".len()..];
        let Some((level, after)) = rest.split_once("!(") else { continue };
        if !["error", "warn", "info", "debug", "trace"].contains(&level) {
            continue;
        }
        let (mut depth, mut in_text, mut escaped) = (1, false, false);
        let inside = after.char_indices().find_map(|(at, c)| {
            match c {
                _ if escaped => escaped = false,
                '\\' if in_text => escaped = true,
                '"' => in_text = !in_text,
                '(' if !in_text => depth += 1,
                ')' if !in_text => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(at)
        });
        found.push((level.to_owned(), after[..inside.unwrap()].to_owned()));
    }
    found
}

/// The parts between the commas of the outermost level.
fn parts(call: &str) -> Vec<String> {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    let mut parts = vec![String::new()];
    for c in call.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' | ']' | '}' if !in_text => depth -= 1,
            ',' if !in_text && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

#[test]
fn the_sources_say_what_the_table_says() {
    let mut files = Vec::new();
    for folder in ["crates", "site", "functions"] {
        let folder = root().join(folder);
        if folder.is_dir() {
            sources(&folder, &mut files);
        }
    }
    assert!(files.len() > 100, "{files:?}");
    let known: BTreeMap<&str, _> = EVENTS.iter().map(|spec| (spec.name, spec)).collect();
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (level, call) in calls(product) {
            let parts = parts(&call);
            let Some(name) = parts.iter().find_map(|part| part.strip_prefix("event = \"")?.strip_suffix('"')) else {
                continue;
            };
            let place = file.display();
            let spec = known.get(name).unwrap_or_else(|| panic!("{place}: {name} is not in domain::events"));
            assert!(
                spec.levels.contains(&&*level),
                "{place}: {name} comes at {level}, the table says {:?}",
                spec.levels
            );
            for part in parts.iter().filter(|part| !part.starts_with('"') && !part.starts_with("event =")) {
                let field = part.split('=').next().unwrap().trim().trim_start_matches(['%', '?']);
                // What comes after the message are its arguments.
                let is_field = part.contains('=') || part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if is_field && !part.starts_with("if ") {
                    assert!(spec.fields.contains(&field), "{place}: {name} has the field {field}, the table does not");
                }
            }
            said.entry(name.to_owned()).or_default().insert(level);
        }
    }
    for spec in EVENTS {
        let levels = said.get(spec.name).unwrap_or_else(|| panic!("nothing says {}", spec.name));
        let told: BTreeSet<String> = spec.levels.iter().map(|level| (*level).to_owned()).collect();
        assert_eq!(levels, &told, "the levels of {}", spec.name);
    }
}

#[test]
fn the_document_is_the_table() {
    let document = std::fs::read_to_string(root().join("docs/events.md")).unwrap();
    for table in [table(), prometheus_table(), cloud_table()] {
        assert!(document.contains(&table), "docs/events.md must contain:\n{table}");
    }
    let names: Vec<&str> = EVENTS.iter().map(|spec| spec.name).collect();
    assert!(names.is_sorted(), "{names:?}");
}
