//! `[factors]` and `[[scenarios]]`: what explains the returns, and which shocks are tried on it.

use std::collections::HashSet;
use std::ops::Range;

use toml::de::DeValue;

use super::values::{float, kind};
use super::walk::{Entry, Key, Walk, entries, key};
use super::{Draft, Table};
use crate::settings::{Factor, Scenario, Shock};
use crate::value;

const SEVERITIES: [&str; 4] = ["mild", "moderate", "severe", "extreme"];

/// What is read of one scenario.
pub(super) struct ScenarioDraft {
    scenario: Scenario,
    has_id: bool,
    has_shocks: bool,
    /// The ids of the scenarios above it.
    ids: HashSet<String>,
    /// The factors that it names, and where.
    shocked: Vec<(String, Range<usize>)>,
}

/// The keys of a scenario.
pub(super) const SCENARIO: &[Key<ScenarioDraft>] = &[
    key("id", |walk, entry, draft| {
        draft.has_id = true;
        let Some((id, span)) = walk.text(entry.key, entry.value) else { return };
        let fits = (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if !fits {
            walk.error(&span, "`id` may have 1 to 64 characters of a-z 0-9 _ -");
        } else if !draft.ids.insert(id.clone()) {
            walk.error(&span, "another scenario has this id; ids must be unique");
        }
        draft.scenario.id = id;
    }),
    key("name", |walk, entry, draft| {
        if let Some(name) = walk.short_text(entry.key, entry.value, 100) {
            draft.scenario.name = name;
        }
    }),
    key("category", |walk, entry, draft| {
        if let Some(category) = walk.short_text(entry.key, entry.value, 100) {
            draft.scenario.category = category;
        }
    }),
    key("severity", |walk, entry, draft| {
        if let Some(severity) = walk.choice(entry.key, entry.value, &SEVERITIES) {
            draft.scenario.severity = severity.to_owned();
        }
    }),
    key("shocks", |walk, entry, draft| {
        draft.has_shocks = true;
        walk.shocks(entry, draft);
    }),
];

impl Walk<'_> {
    /// Reads `[factors]`, whose keys are names of the user's own.
    pub(super) fn factors(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let Some(table) = self.section_table(entry) else { return };
        draft.wrote.factors = Some(entry.key_span.clone());
        let mut factors: Vec<Factor> = Vec::new();
        let all = entries(table);
        if all.is_empty() || all.len() > 64 {
            self.error(&entry.key_span, "[factors] must have 1 to 64 factors, each as  name = \"proxy symbol\"");
        }
        for Entry { key: name, key_span, value } in all {
            if !is_factor_name(name) {
                self.error(&key_span, "a factor's name may have 1 to 64 characters, none of them a control character");
                continue;
            }
            let Some((proxy, span)) = self.text(name, value) else { continue };
            if value::parse_symbol(proxy.as_bytes()).is_none() {
                self.error(&span, format!("not a symbol; allowed are {}", value::SYMBOL_ALLOWED));
                continue;
            }
            if let Some(other) = factors.iter().find(|factor| factor.proxy == proxy) {
                let message = format!("the proxy of `{}` too; two equal factors have no fit together", other.name);
                self.warn(&span, message);
            }
            factors.push(Factor { name: name.to_owned(), proxy });
        }
        draft.settings.factors = factors;
    }

    /// Reads `[[scenarios]]`.
    pub(super) fn scenarios(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let value = entry.value;
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`scenarios` is {found}; write each scenario below [[scenarios]]"));
            return;
        };
        let mut scenarios: Vec<Scenario> = Vec::new();
        let mut ids = HashSet::new();
        for item in list {
            let DeValue::Table(table) = item.get_ref() else {
                let found = kind(item.get_ref());
                self.error(&item.span(), format!("a scenario must be a table below [[scenarios]], not {found}"));
                continue;
            };
            let read = self.scenario(table, &item.span(), ids);
            draft.wrote.shocks.extend(read.shocked);
            ids = read.ids;
            if read.has_id && read.has_shocks {
                scenarios.push(read.scenario);
            }
        }
        draft.wrote.scenarios = true;
        draft.settings.scenarios = scenarios;
    }

    fn scenario(&mut self, table: &Table<'_>, span: &Range<usize>, ids: HashSet<String>) -> ScenarioDraft {
        let scenario = Scenario {
            id: String::new(),
            name: String::new(),
            category: "custom".to_owned(),
            severity: "moderate".to_owned(),
            shocks: Vec::new(),
        };
        let mut draft = ScenarioDraft { scenario, has_id: false, has_shocks: false, ids, shocked: Vec::new() };
        self.keys("scenarios", table, SCENARIO, &mut draft);
        if !draft.has_id {
            self.error(span, "the scenario has no `id`");
        }
        if !draft.has_shocks {
            self.error(span, "the scenario has no `shocks`, for example  shocks = { Market = -0.1 }");
        }
        if draft.scenario.name.is_empty() {
            draft.scenario.name.clone_from(&draft.scenario.id);
        }
        draft
    }

    fn shocks(&mut self, entry: &Entry<'_, '_>, draft: &mut ScenarioDraft) {
        let value = entry.value;
        let wanted = "`shocks` must be a table of factors and changes, for example  { Market = -0.1, \"Low Volatility\" = -0.2 }";
        let DeValue::Table(table) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("{wanted}, not {found}"));
            return;
        };
        if table.is_empty() {
            self.error(&value.span(), wanted);
        }
        for Entry { key: factor, key_span, value } in entries(table) {
            match float(value.get_ref()) {
                Some(change) if (-1.0..=10.0).contains(&change) => {
                    draft.scenario.shocks.push(Shock { factor: factor.to_owned(), change });
                    draft.shocked.push((factor.to_owned(), key_span));
                }
                _ => self.error(&value.span(), "a shock must be a fraction from -1 to 10; -0.1 is -10 %"),
            }
        }
    }
}

fn is_factor_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && name.chars().count() <= 64 && !name.chars().any(char::is_control)
}
