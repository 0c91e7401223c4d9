//! The walk through the file: where a byte stands, what is wrong there, and which keys a table may have.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::{Named, NamedPortfolios, Table, Value, section_keys, sections};
use crate::issue::{Findings, Scope, shown};
use crate::value;

/// The state of reading one file.
pub(super) struct Walk<'w> {
    text: &'w str,
    /// Where each line begins.
    line_starts: Vec<usize>,
    /// Where each key begins, sorted, and its path.
    keys: Vec<(usize, String)>,
    errors: &'w mut Findings,
    warnings: &'w mut Findings,
    /// Lines that are no TOML: what the recovery makes of them is not reported as well.
    broken_lines: HashSet<u64>,
    /// Whether the quiet hours are by the clock of the schedule, wherever that stands in the file.
    pub(super) quiet_zone_open: bool,
}

/// One key of a table with its value.
pub(super) struct Entry<'t, 'i> {
    pub(super) key: &'t str,
    pub(super) key_span: Range<usize>,
    pub(super) value: &'t Value<'i>,
}

/// How a value is read into what is known so far.
pub(super) type Read<T> = fn(&mut Walk<'_>, &Entry<'_, '_>, &mut T);

/// A key that a table may have. Its name cannot be listed without the function that reads it, so no known key can be
/// forgotten.
pub(super) struct Key<T: 'static> {
    pub(super) name: &'static str,
    pub(super) read: Read<T>,
}

/// A key and the function that reads its value.
pub(super) const fn key<T>(name: &'static str, read: Read<T>) -> Key<T> {
    Key { name, read }
}

/// The names of these keys, in the order in which messages list them.
pub(super) fn names_of<T>(keys: &[Key<T>]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// A table's entries in the order of the file.
pub(super) fn entries<'t, 'i>(table: &'t Table<'i>) -> Vec<Entry<'t, 'i>> {
    let entry = |(key, value): (&'t toml::Spanned<toml::de::DeString<'i>>, &'t Value<'i>)| Entry {
        key: key.get_ref().as_ref(),
        key_span: key.span(),
        value,
    };
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

/// Where the keys of a table begin, and the path of each, for example `schedule.cron`.
fn key_starts(table: &Table<'_>, path: &str, keys: &mut Vec<(usize, String)>) {
    for (key, value) in table {
        let name = key.get_ref();
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        keys.push((key.span().start, path.clone()));
        let tables: Vec<&Table<'_>> = match value.get_ref() {
            DeValue::Table(table) => vec![table],
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| Some((item.span().start, item.get_ref().as_table()?)));
                let (starts, tables): (Vec<usize>, Vec<&Table<'_>>) = tables.unzip();
                keys.extend(starts.into_iter().map(|start| (start, path.clone())));
                tables
            }
            _ => Vec::new(),
        };
        for table in tables {
            key_starts(table, &path, keys);
        }
    }
}

impl<'w> Walk<'w> {
    /// A walk through `text`, which was parsed to `root`.
    pub(super) fn new(text: &'w str, root: &DeTable<'_>, errors: &'w mut Findings, warnings: &'w mut Findings) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut keys = Vec::new();
        key_starts(root, "", &mut keys);
        keys.sort_by_key(|(start, _)| *start);
        Self { text, line_starts, keys, errors, warnings, broken_lines: HashSet::new(), quiet_zone_open: false }
    }
}

impl Walk<'_> {
    /// Reports what is no TOML, once for each line.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let (line, column) = self.place(span.start);
        if self.broken_lines.insert(line) {
            let message = format!("not TOML: {}", error.message().trim().replace('\n', "; "));
            let text = self.line_of(span.start).to_owned();
            self.errors.push(line, "", text.as_bytes(), format!("{message} (column {column})"), Scope::Book);
        }
    }

    /// Line and column of a byte, both counted from 1, the column in characters.
    fn place(&self, at: usize) -> (u64, usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        // What is wrong at the very end of a file that ends with a line end is wrong on its last line.
        let last = self.line_starts.partition_point(|start| *start < self.text.len()).max(1);
        let line = line.min(last);
        let column = self.text[self.line_starts[line - 1]..at].chars().count() + 1;
        (line as u64, column)
    }

    /// The path of the key that stands at a byte, or whose value does.
    fn path(&self, at: usize) -> String {
        let next = self.keys.partition_point(|(start, _)| *start <= at);
        let path = next.checked_sub(1).map_or("", |last| self.keys[last].1.as_str());
        shown(path.as_bytes())
    }

    fn line_of(&self, at: usize) -> &str {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        self.text[self.line_starts[line - 1]..].lines().next().unwrap_or("")
    }

    fn source(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or("")
    }

    /// An error at this place.
    pub(super) fn error(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let (line, column) = self.place(span.start);
        if !self.broken_lines.contains(&line) {
            let text = self.source(span).lines().next().unwrap_or("").to_owned();
            let message = format!("{} (column {column})", message.into());
            self.errors.push(line, &self.path(span.start), text.as_bytes(), message, Scope::Book);
        }
    }

    /// A warning at this place.
    pub(super) fn warn(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let (line, column) = self.place(span.start);
        let text = self.source(span).lines().next().unwrap_or("").to_owned();
        let message = format!("{} (column {column})", message.into());
        self.warnings.push(line, &self.path(span.start), text.as_bytes(), message, Scope::Orphan);
    }

    /// Something of another file that stands at this place.
    pub(super) fn named(&self, span: &Range<usize>, what: NamedPortfolios) -> Named {
        let (line, column) = self.place(span.start);
        let text = self.source(span).lines().next().unwrap_or("").to_owned();
        Named { what, line, key: self.path(span.start), text, column }
    }

    /// A warning about the file as a whole.
    pub(super) fn warn_file(&mut self, message: impl Into<String>) {
        self.warnings.push(0, "", &[], message, Scope::Orphan);
    }

    /// Reads a table by the keys that it may have; any other key is an error. `section` is the path of the table.
    pub(super) fn keys<T>(&mut self, section: &str, table: &Table<'_>, keys: &'static [Key<T>], target: &mut T) {
        for entry in entries(table) {
            match keys.iter().find(|key| key.name == entry.key) {
                Some(key) => (key.read)(self, &entry, target),
                None => self.unknown_key(section, &entry, &names_of(keys)),
            }
        }
    }

    /// The error for a key that the table does not have. `section` is the path of the table, empty for the file itself.
    pub(super) fn unknown_key(&mut self, section: &str, entry: &Entry<'_, '_>, known: &[&str]) {
        let key = entry.key;
        let full = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        let elsewhere = || sections().find(|name| *name != section && section_keys(name).contains(&key));
        let help = if let Some(near) = value::nearest(key, known.iter().copied()) {
            format!("; did you mean `{near}`?")
        } else if let Some(name) = elsewhere() {
            format!("; it belongs into [{name}].")
        } else {
            ".".to_owned()
        };
        let full = shown(full.as_bytes());
        self.error(&entry.key_span, format!("unknown key `{full}`{help} Allowed here: {}", known.join(", ")));
    }
}
