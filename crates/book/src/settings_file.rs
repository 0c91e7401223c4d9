//! `nightbook.toml` to [`Settings`]: every key and value checked by hand, so that all errors come at once and each with its
//! place in the file.
//!
//! Each section is a file of its own with the table of its keys; a key is its name and the function that reads it.

mod added_jobs;
mod alerts;
mod calculations;
mod controls;
mod http_prices;
mod limits;
mod lineage;
mod run;
mod scenarios;
mod schedule;
mod site;
#[cfg(test)]
mod tests;
mod together;
mod values;
mod walk;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::together::Wrote;
use self::values::kind;
use self::walk::{Entry, Key, Read, Walk, entries, names_of};
use crate::issue::{Findings, Scope};
use crate::settings::Settings;

/// The file's name.
pub(crate) const FILE: &str = "nightbook.toml";

type Value<'i> = Spanned<DeValue<'i>>;
type Table<'i> = DeTable<'i>;

/// What is read of the file so far.
#[derive(Default)]
struct Draft {
    settings: Settings,
    wrote: Wrote,
    named: Vec<Named>,
}

/// The settings of the file, and what they name of the other files.
#[derive(Default)]
pub(crate) struct ReadSettings {
    pub(crate) settings: Settings,
    /// What must be in `portfolios.csv`.
    pub(crate) named: Vec<Named>,
}

/// A name in the settings of something in another file, and where it stands.
pub(crate) struct Named {
    pub(crate) what: NamedPortfolios,
    /// The line, from 1.
    pub(crate) line: u64,
    /// The path of the key.
    pub(crate) key: String,
    /// The text as it stands there.
    pub(crate) text: String,
    /// The column, from 1, in characters.
    pub(crate) column: usize,
}

/// Portfolios that the settings name.
pub(crate) enum NamedPortfolios {
    /// By their id.
    Id(domain::ids::PortfolioId),
    /// By a tag.
    Tag(String),
}

/// A section of the file.
enum Section {
    /// A table with these keys.
    Keys(&'static [Key<Draft>]),
    /// What is read in a way of its own, and the names of its keys for messages.
    Own { keys: fn() -> Vec<&'static str>, read: Read<Draft> },
}

/// All sections, in the order in which messages list them.
const SECTIONS: &[(&str, Section)] = &[
    ("site", Section::Keys(site::KEYS)),
    ("schedule", Section::Keys(schedule::KEYS)),
    ("factors", Section::Own { keys: Vec::new, read: |walk, entry, draft| walk.factors(entry, draft) }),
    ("rates", Section::Keys(calculations::RATES)),
    ("factor_analysis", Section::Keys(calculations::FACTOR_ANALYSIS)),
    ("correlations", Section::Keys(calculations::CORRELATIONS)),
    ("snapshot", Section::Keys(calculations::SNAPSHOT)),
    ("greeks", Section::Keys(calculations::GREEKS)),
    ("run", Section::Keys(run::RUN)),
    ("market_risk", Section::Keys(calculations::MARKET_RISK)),
    (
        "scenarios",
        Section::Own {
            keys: || names_of(scenarios::SCENARIO),
            read: |walk, entry, draft| walk.scenarios(entry, draft),
        },
    ),
    ("retention", Section::Keys(run::RETENTION)),
    ("restatement", Section::Keys(run::RESTATEMENT)),
    (
        "prices",
        Section::Own {
            keys: || names_of(http_prices::KEYS),
            read: |walk, entry, draft| walk.http_prices(entry, draft),
        },
    ),
    ("controls", Section::Own { keys: controls::names, read: |walk, entry, draft| walk.controls(entry, draft) }),
    ("freshness", Section::Keys(controls::FRESHNESS)),
    ("limits", Section::Own { keys: || names_of(limits::KEYS), read: |walk, entry, draft| walk.limits(entry, draft) }),
    ("alerts", Section::Keys(alerts::KEYS)),
    ("lineage", Section::Keys(lineage::KEYS)),
    (
        ADDED_JOBS,
        Section::Own { keys: || names_of(added_jobs::KEYS), read: |walk, entry, draft| walk.added_jobs(entry, draft) },
    ),
];

/// The section that is read after all others: what a job may need depends on the list in `[run]`.
const ADDED_JOBS: &str = "jobs";

/// The names of all sections.
fn sections() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _)| *name)
}

/// The keys that a section may have; none for one whose keys are the user's own.
fn section_keys(name: &str) -> Vec<&'static str> {
    match SECTIONS.iter().find(|(section, _)| *section == name) {
        Some((_, Section::Keys(keys))) => names_of(keys),
        Some((_, Section::Own { keys, .. })) => keys(),
        None => Vec::new(),
    }
}

/// Reads the settings; what cannot be used keeps its default, and the errors say so.
pub(crate) fn read(content: &[u8], errors: &mut Findings, warnings: &mut Findings) -> ReadSettings {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => {
            let good = &content[..error.valid_up_to()];
            let line = 1 + good.iter().filter(|b| **b == b'\n').count() as u64;
            let start = good.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let end = content[start..].iter().position(|b| *b == b'\n').map_or(content.len(), |length| start + length);
            let message = "not UTF-8; save the file with the encoding UTF-8";
            errors.push(line, "", &content[start..end], message, Scope::Book);
            return ReadSettings::default();
        }
    };
    let (root, syntax) = DeTable::parse_recoverable(text);
    let mut walk = Walk::new(text, root.get_ref(), errors, warnings);
    for error in &syntax {
        walk.syntax(error);
    }
    let mut draft = Draft::default();
    walk.root(root.get_ref(), &mut draft);
    ReadSettings { settings: draft.settings, named: draft.named }
}

impl Walk<'_> {
    fn root(&mut self, root: &Table<'_>, draft: &mut Draft) {
        let (last, first): (Vec<_>, Vec<_>) = entries(root).into_iter().partition(|entry| entry.key == ADDED_JOBS);
        for entry in &first {
            self.section(entry, draft);
        }
        self.alerts_together(&mut draft.settings);
        for entry in &last {
            self.section(entry, draft);
        }
        self.together(draft);
    }

    fn section(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        match SECTIONS.iter().find(|(name, _)| *name == entry.key) {
            Some((name, Section::Keys(keys))) => {
                if let Some(table) = self.section_table(entry) {
                    self.keys(name, table, keys, draft);
                }
            }
            Some((_, Section::Own { read, .. })) => read(self, entry, draft),
            None => self.unknown_key("", entry, &sections().collect::<Vec<_>>()),
        }
    }

    /// The table that a section must be.
    fn section_table<'t, 'i>(&mut self, entry: &Entry<'t, 'i>) -> Option<&'t Table<'i>> {
        let found = entry.value.get_ref();
        if let DeValue::Table(table) = found {
            return Some(table);
        }
        let key = entry.key;
        self.error(&entry.key_span, format!("`{key}` is {}; it must be a table: [{key}]", kind(found)));
        None
    }
}
