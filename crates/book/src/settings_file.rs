//! `nightbook.toml` to [`Settings`]: every key and value checked by hand, so that all errors come at once and each with its
//! place in the file.

mod added_jobs;
mod alerts;
mod http_prices;

use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};

use chrono::{DateTime, Offset, TimeZone, Timelike, Utc};
use domain::ids::{JobName, ScheduleName};
use domain::zone::Zone;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::calendar::Calendar;
use crate::issue::{Findings, Scope};
use crate::portfolios::is_web_address;
use crate::schedule;
use crate::settings::{
    Detail, Factor, JOBS, LineageSettings, Scenario, ScheduleSettings, Settings, Shock, known_job, needs_of,
};
use crate::value;

/// The file's name.
pub(crate) const FILE: &str = "nightbook.toml";

/// All sections and their keys; `factors` has names of the user's own.
const SECTIONS: [(&str, &[&str]); 16] = [
    ("site", &["title", "base_url", "detail", "portfolio_badges"]),
    ("schedule", &["name", "cron", "timezone", "calendar", "grace_minutes", "catch_up"]),
    ("factors", &[]),
    ("rates", &["factor", "duration"]),
    ("factor_analysis", &["window", "min_observations", "beta_cap"]),
    ("correlations", &["window", "min_overlap", "min_position_value", "min_weight", "cluster_threshold"]),
    ("snapshot", &["risk_window"]),
    ("greeks", &["rate", "default_volatility", "dividend_yield"]),
    (
        "run",
        &[
            "jobs",
            "concurrency",
            "retries",
            "backoff_seconds",
            "job_timeout_seconds",
            "deadline_minutes",
            "price_max_age_sessions",
        ],
    ),
    ("market_risk", &["moves"]),
    ("scenarios", &["id", "name", "category", "severity", "shocks"]),
    ("retention", &["records_days", "results_days"]),
    (
        "prices",
        &[
            "source",
            "url",
            "header",
            "key_env",
            "format",
            "rows",
            "date",
            "close",
            "symbol",
            "batch_size",
            "requests_per_minute",
            "timeout_seconds",
            "total_seconds",
        ],
    ),
    (
        "alerts",
        &[
            "command",
            "wait_runs",
            "min_portfolios",
            "digest",
            "digest_days",
            "quality_share",
            "pace_seconds",
            "overdue_minutes",
            "quiet_hours",
            "delivery",
            "mute",
            "channel",
        ],
    ),
    ("lineage", &["namespace", "file", "url", "key_env"]),
    ("jobs", &["name", "type", "command", "lambda", "env", "needs", "critical", "time_limit_seconds"]),
];

const SEVERITIES: [&str; 4] = ["mild", "moderate", "severe", "extreme"];

type Value<'i> = Spanned<DeValue<'i>>;
type Table<'i> = DeTable<'i>;

/// Reads the settings; what cannot be used keeps its default, and the errors say so.
pub(crate) fn read(content: &[u8], errors: &mut Findings, warnings: &mut Findings) -> Settings {
    let mut settings = Settings::default();
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
            return settings;
        }
    };
    let (root, syntax) = DeTable::parse_recoverable(text);
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut keys = Vec::new();
    key_starts(root.get_ref(), "", &mut keys);
    keys.sort_by_key(|(start, _)| *start);
    let mut walk =
        Walk { text, line_starts, keys, errors, warnings, broken_lines: HashSet::new(), quiet_zone_open: false };
    for error in &syntax {
        let span = error.span().unwrap_or(0..0);
        let (line, column) = walk.place(span.start);
        if walk.broken_lines.insert(line) {
            let message = format!("not TOML: {}", error.message().trim().replace('\n', "; "));
            let text = walk.line_of(span.start).to_owned();
            walk.errors.push(line, "", text.as_bytes(), format!("{message} (column {column})"), Scope::Book);
        }
    }
    walk.root(root.get_ref(), &mut settings);
    settings
}

struct Walk<'w> {
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
    quiet_zone_open: bool,
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

/// A table's entries in the order of the file.
fn entries<'t, 'i>(table: &'t Table<'i>) -> Vec<(&'t str, Range<usize>, &'t Value<'i>)> {
    let mut entries: Vec<_> = table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Walk<'_> {
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
        crate::issue::shown(path.as_bytes())
    }

    fn line_of(&self, at: usize) -> &str {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        self.text[self.line_starts[line - 1]..].lines().next().unwrap_or("")
    }

    fn source(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or("")
    }

    fn error(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let (line, column) = self.place(span.start);
        if !self.broken_lines.contains(&line) {
            let text = self.source(span).lines().next().unwrap_or("").to_owned();
            let message = format!("{} (column {column})", message.into());
            self.errors.push(line, &self.path(span.start), text.as_bytes(), message, Scope::Book);
        }
    }

    fn warn(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let (line, column) = self.place(span.start);
        let text = self.source(span).lines().next().unwrap_or("").to_owned();
        let message = format!("{} (column {column})", message.into());
        self.warnings.push(line, &self.path(span.start), text.as_bytes(), message, Scope::Orphan);
    }

    fn warn_file(&mut self, message: impl Into<String>) {
        self.warnings.push(0, "", &[], message, Scope::Orphan);
    }

    fn unknown_key(&mut self, section: &str, key: &str, span: &Range<usize>, known: &[&str]) {
        let full = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        let elsewhere = SECTIONS.iter().find(|(name, keys)| *name != section && keys.contains(&key));
        let help = match (value::nearest(key, known.iter().copied()), elsewhere) {
            (Some(near), _) => format!("; did you mean `{near}`?"),
            (None, Some((name, _))) => format!("; it belongs into [{name}]."),
            (None, None) => ".".to_owned(),
        };
        let full = crate::issue::shown(full.as_bytes());
        self.error(span, format!("unknown key `{full}`{help} Allowed here: {}", known.join(", ")));
    }

    fn root(&mut self, root: &Table<'_>, settings: &mut Settings) {
        let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        let mut wrote = Wrote::default();
        let mut added = None;
        for (key, span, value) in entries(root) {
            let Some((section, keys)) = SECTIONS.iter().find(|(name, _)| *name == key) else {
                self.unknown_key("", key, &span, &names);
                continue;
            };
            if *section == "scenarios" {
                self.scenarios(value, settings, &mut wrote);
                continue;
            }
            if *section == "jobs" {
                added = Some(value);
                continue;
            }
            let DeValue::Table(table) = value.get_ref() else {
                self.error(&span, format!("`{key}` is {}; it must be a table: [{key}]", kind(value.get_ref())));
                continue;
            };
            if *section == "prices" {
                self.http_prices(table, settings);
                continue;
            }
            if *section == "factors" {
                self.factors(table, &span, settings, &mut wrote);
                continue;
            }
            for (key, span, value) in entries(table) {
                if keys.contains(&key) {
                    self.setting(section, key, value, settings, &mut wrote);
                } else {
                    self.unknown_key(section, key, &span, keys);
                }
            }
        }
        self.alerts_together(settings);
        // Last: what a job may need depends on the list in [run].
        if let Some(value) = added {
            self.added_jobs(value, settings);
        }
        self.together(settings, &wrote);
    }

    fn setting(&mut self, section: &str, key: &str, value: &Value<'_>, settings: &mut Settings, wrote: &mut Wrote) {
        let s = settings;
        match (section, key) {
            ("site", "title") => {
                if let Some((text, span)) = self.text(key, value) {
                    if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
                        self.error(&span, "`title` may have 1 to 100 characters, none of them a control character");
                    } else {
                        s.site.title = text;
                    }
                }
            }
            ("site", "base_url") => {
                if let Some((text, span)) = self.text(key, value) {
                    if is_web_address(&text) && !text.contains(['?', '#']) {
                        s.site.base_url = Some(text.trim_end_matches('/').to_owned());
                    } else {
                        self.error(
                            &span,
                            "`base_url` must begin with https:// or http:// and have no spaces, user, password, ? or #",
                        );
                    }
                }
            }
            ("site", "detail") => {
                if let Some(detail) = self.choice(key, value, &["full", "redacted"]) {
                    s.site.detail = if detail == "full" { Detail::Full } else { Detail::Redacted };
                }
            }
            ("site", "portfolio_badges") => match value.get_ref() {
                DeValue::Boolean(badges) => s.site.portfolio_badges = *badges,
                other => {
                    let found = kind(other);
                    self.error(&value.span(), format!("`portfolio_badges` must be true or false, not {found}"));
                }
            },
            ("schedule", "name") => {
                if let Some((text, span)) = self.text(key, value) {
                    match ScheduleName::new(text) {
                        Ok(name) => s.schedule.name = name,
                        Err(_) => self.error(&span, format!("`name` may have {}", ScheduleName::ALLOWED)),
                    }
                }
            }
            ("schedule", "cron") => self.cron(value, s, wrote),
            ("schedule", "timezone") => {
                if let Some((text, span)) = self.text(key, value) {
                    match text.parse::<Zone>() {
                        Ok(zone) => {
                            s.schedule.timezone = zone;
                            wrote.cron.get_or_insert(span);
                        }
                        Err(_) => {
                            let zones = Zone::names;
                            let town = format!("/{}", text.replace(' ', "_"));
                            let by_town = zones().find(|zone| zone.ends_with(&town));
                            let near = by_town.or_else(|| value::nearest(&text, zones()));
                            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                            self.error(
                                &span,
                                format!("`timezone` must be an IANA time zone such as America/New_York or UTC{near}"),
                            );
                        }
                    }
                }
            }
            ("schedule", "calendar") => {
                if let Some(name) = self.choice(key, value, &Calendar::NAMES) {
                    s.schedule.calendar = Calendar::from_name(name).unwrap_or_default();
                }
            }
            ("schedule", "grace_minutes") => self.whole(key, value, 0..=10_080, &mut s.schedule.grace_minutes),
            ("schedule", "catch_up") => match value.get_ref() {
                DeValue::Boolean(flag) => s.schedule.catch_up = *flag,
                other => {
                    let found = kind(other);
                    self.error(&value.span(), format!("`catch_up` must be true or false, not {found}"));
                }
            },
            ("rates", "factor") => {
                if let Some((text, span)) = self.text(key, value) {
                    wrote.rates_factor = Some(span);
                    s.rates.factor = text;
                }
            }
            ("rates", "duration") => self.number(key, value, 0.0..=100.0, &mut s.rates.duration),
            ("factor_analysis", "window") => {
                self.whole(key, value, 3..=5_000, &mut s.factor_analysis.window);
                wrote.factor_window.get_or_insert(value.span());
            }
            ("factor_analysis", "min_observations") => {
                self.whole(key, value, 3..=5_000, &mut s.factor_analysis.min_observations);
                wrote.factor_window = Some(value.span());
            }
            ("factor_analysis", "beta_cap") => {
                self.number(key, value, f64::MIN_POSITIVE..=1_000.0, &mut s.factor_analysis.beta_cap);
            }
            ("correlations", "window") => {
                self.whole(key, value, 3..=5_000, &mut s.correlations.window);
                wrote.correlation_window.get_or_insert(value.span());
            }
            ("correlations", "min_overlap") => {
                self.whole(key, value, 3..=5_000, &mut s.correlations.min_overlap);
                wrote.correlation_window = Some(value.span());
            }
            ("correlations", "min_position_value") => {
                self.number(key, value, 0.0..=value::MAX_NUMBER, &mut s.correlations.min_position_value);
            }
            ("correlations", "min_weight") => self.number(key, value, 0.0..=1.0, &mut s.correlations.min_weight),
            ("correlations", "cluster_threshold") => {
                self.number(key, value, 0.0..=1.0, &mut s.correlations.cluster_threshold);
            }
            ("snapshot", "risk_window") => self.whole(key, value, 2..=5_000, &mut s.snapshot.risk_window),
            ("greeks", "rate") => self.number(key, value, -0.5..=1.0, &mut s.greeks.rate),
            ("greeks", "default_volatility") => {
                self.number(key, value, 0.0001..=10.0, &mut s.greeks.default_volatility);
            }
            ("greeks", "dividend_yield") => self.number(key, value, -0.5..=1.0, &mut s.greeks.dividend_yield),
            ("run", "jobs") => self.jobs(value, s),
            ("run", "concurrency") => {
                let mut concurrency = 0;
                self.whole(key, value, 1..=1_024, &mut concurrency);
                s.run.concurrency = (concurrency > 0).then_some(concurrency);
            }
            ("run", "retries") => self.whole(key, value, 1..=20, &mut s.run.retries),
            ("run", "backoff_seconds") => self.number(key, value, 0.0..=3_600.0, &mut s.run.backoff_seconds),
            ("run", "job_timeout_seconds") => self.whole(key, value, 1..=86_400, &mut s.run.job_timeout_seconds),
            ("run", "deadline_minutes") => self.whole(key, value, 1..=10_080, &mut s.run.deadline_minutes),
            ("run", "price_max_age_sessions") => self.whole(key, value, 0..=250, &mut s.run.price_max_age_sessions),
            ("market_risk", "moves") => self.moves(value, s),
            ("retention", "records_days") => self.whole(key, value, 1..=36_500, &mut s.retention.records_days),
            ("retention", "results_days") => self.whole(key, value, 1..=36_500, &mut s.retention.results_days),
            ("alerts", _) => self.alert_setting(key, value, s),
            ("lineage", _) => self.lineage(key, value, &mut s.lineage),
            _ => {}
        }
    }

    fn lineage(&mut self, key: &str, value: &Value<'_>, lineage: &mut LineageSettings) {
        let Some((text, span)) = self.text(key, value) else { return };
        match key {
            "namespace" => {
                if (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
                    lineage.namespace = text;
                } else {
                    self.error(&span, "`namespace` may have 1 to 100 characters, none of them a control character");
                }
            }
            "file" => {
                if text.is_empty() || text.len() > 4_096 || text.contains('\0') {
                    self.error(&span, "`file` must be the path of a file; a relative one lies in the data folder");
                } else {
                    lineage.file = Some(text);
                }
            }
            "url" => {
                if is_web_address(&text) {
                    lineage.url = Some(text);
                } else {
                    let wanted = "`url` must begin with https:// or http:// and have no spaces, user or password; a key is named by `key_env`";
                    self.error(&span, wanted);
                }
            }
            _ => {
                if value::is_variable_name(&text) {
                    lineage.key_env = Some(text);
                } else {
                    self.error(&span, value::VARIABLE_WANTED);
                }
            }
        }
    }

    fn text(&mut self, key: &str, value: &Value<'_>) -> Option<(String, Range<usize>)> {
        match value.get_ref() {
            DeValue::String(text) => Some((text.trim().to_owned(), value.span())),
            other => {
                let found = kind(other);
                self.error(&value.span(), format!("`{key}` must be a text in quotes, not {found}"));
                None
            }
        }
    }

    fn choice<'c>(&mut self, key: &str, value: &Value<'_>, choices: &[&'c str]) -> Option<&'c str> {
        let (text, span) = self.text(key, value)?;
        let found = choices.iter().find(|choice| **choice == text).copied();
        if found.is_none() {
            let near = value::hint(&text, choices.iter().copied());
            self.error(&span, format!("`{key}` must be one of {}{near}", choices.join(", ")));
        }
        found
    }

    fn whole(&mut self, key: &str, value: &Value<'_>, allowed: RangeInclusive<u32>, target: &mut u32) {
        let (least, most) = (allowed.start(), allowed.end());
        let wanted = format!("`{key}` must be a whole number from {least} to {most}");
        match value.get_ref() {
            DeValue::Integer(integer) => match u32::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) if allowed.contains(&number) => *target = number,
                _ => self.error(&value.span(), wanted),
            },
            DeValue::Float(_) => self.error(&value.span(), format!("{wanted}, without a point")),
            other => {
                let found = kind(other);
                self.error(&value.span(), format!("{wanted}, not {found}"));
            }
        }
    }

    fn number(&mut self, key: &str, value: &Value<'_>, allowed: RangeInclusive<f64>, target: &mut f64) {
        // The smallest of the ranges that leave 0 out reads better as "above 0".
        let least = if *allowed.start() == f64::MIN_POSITIVE {
            "above 0".to_owned()
        } else {
            format!("from {}", allowed.start())
        };
        let wanted = format!("`{key}` must be a number {least} to {}", allowed.end());
        match float(value.get_ref()) {
            Some(number) if allowed.contains(&number) => *target = number,
            Some(_) => self.error(&value.span(), wanted),
            None => {
                let found = kind(value.get_ref());
                self.error(&value.span(), format!("{wanted}, not {found}"));
            }
        }
    }

    fn cron(&mut self, value: &Value<'_>, settings: &mut Settings, wrote: &mut Wrote) {
        let Some((text, span)) = self.text("cron", value) else { return };
        let wanted = "`cron` must have five fields: minute, hour, day of month, month, day of week; for example \"30 18 * * 1-5\"";
        match schedule::parse_cron(&text) {
            Ok(_) => {
                let trial = ScheduleSettings { cron: text.clone(), ..ScheduleSettings::default() };
                if schedule::next_slot(&trial, probe_start()).is_some() {
                    settings.schedule.cron = text;
                    wrote.cron = Some(span);
                } else {
                    self.error(&span, format!("the schedule never comes; {wanted}"));
                }
            }
            Err(reason) => self.error(&span, format!("{wanted} ({})", reason.trim_end_matches('.'))),
        }
    }

    fn jobs(&mut self, value: &Value<'_>, settings: &mut Settings) {
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`jobs` must be a list of job names, not {found}"));
            return;
        };
        let mut jobs: Vec<JobName> = Vec::new();
        let mut places: Vec<(usize, Range<usize>)> = Vec::new();
        for item in list {
            let Some((text, span)) = self.text("jobs", item) else { continue };
            let Some(at) = JOBS.iter().position(|job| *job == text) else {
                let near = value::hint(&text, JOBS);
                self.error(&span, format!("no such job{near}; the jobs are {}", JOBS.join(", ")));
                continue;
            };
            if places.iter().any(|(other, _)| *other == at) {
                self.error(&span, format!("`{text}` is in the list twice; each job runs once"));
                continue;
            }
            if let Some((before, _)) = places.iter().find(|(other, _)| *other > at) {
                let message =
                    format!("`{text}` must stand before `{}`; the order is {}", JOBS[*before], JOBS.join(", "));
                self.error(&span, message);
            }
            jobs.push(known_job(JOBS[at]));
            places.push((at, span));
        }
        for (at, span) in &places {
            for need in needs_of(JOBS[*at]) {
                if !jobs.iter().any(|job| job.as_str() == *need) {
                    self.error(span, format!("`{}` needs `{need}`; add it, or leave both out", JOBS[*at]));
                }
            }
        }
        if list.is_empty() {
            self.error(&value.span(), format!("`jobs` must name a job at least; the jobs are {}", JOBS.join(", ")));
        }
        settings.run.jobs = jobs;
    }

    fn moves(&mut self, value: &Value<'_>, settings: &mut Settings) {
        let wanted =
            "`moves` must be a list of 1 to 50 different fractions above -1 and up to 10, none of them 0; 0.05 is 5 %";
        let DeValue::Array(list) = value.get_ref() else {
            self.error(&value.span(), wanted);
            return;
        };
        let mut moves: Vec<f64> = Vec::new();
        for item in list {
            match float(item.get_ref()) {
                Some(change) if change > -1.0 && change <= 10.0 && change != 0.0 && !moves.contains(&change) => {
                    moves.push(change);
                }
                _ => self.error(&item.span(), wanted),
            }
        }
        if list.is_empty() || list.len() > 50 {
            self.error(&value.span(), wanted);
        } else {
            settings.market_risk.moves = moves;
        }
    }

    fn factors(&mut self, table: &Table<'_>, span: &Range<usize>, settings: &mut Settings, wrote: &mut Wrote) {
        wrote.factors = Some(span.clone());
        let mut factors: Vec<Factor> = Vec::new();
        let all = entries(table);
        if all.is_empty() || all.len() > 64 {
            self.error(span, "[factors] must have 1 to 64 factors, each as  name = \"proxy symbol\"");
        }
        for (name, key_span, value) in all {
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
        settings.factors = factors;
    }

    fn scenarios(&mut self, value: &Value<'_>, settings: &mut Settings, wrote: &mut Wrote) {
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`scenarios` is {found}; write each scenario below [[scenarios]]"));
            return;
        };
        let mut scenarios: Vec<Scenario> = Vec::new();
        for item in list {
            let DeValue::Table(table) = item.get_ref() else {
                let found = kind(item.get_ref());
                self.error(&item.span(), format!("a scenario must be a table below [[scenarios]], not {found}"));
                continue;
            };
            if let Some(scenario) = self.scenario(table, &item.span(), wrote) {
                scenarios.push(scenario);
            }
        }
        wrote.scenarios = true;
        settings.scenarios = scenarios;
    }

    fn scenario(&mut self, table: &Table<'_>, span: &Range<usize>, wrote: &mut Wrote) -> Option<Scenario> {
        let known = SECTIONS.iter().find(|(name, _)| *name == "scenarios").map_or(&[][..], |(_, keys)| *keys);
        let mut scenario = Scenario {
            id: String::new(),
            name: String::new(),
            category: "custom".to_owned(),
            severity: "moderate".to_owned(),
            shocks: Vec::new(),
        };
        let (mut has_id, mut has_shocks) = (false, false);
        for (key, key_span, value) in entries(table) {
            match key {
                "id" => {
                    has_id = true;
                    let Some((id, span)) = self.text(key, value) else { continue };
                    let fits = (1..=64).contains(&id.len())
                        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
                    if !fits {
                        self.error(&span, "`id` may have 1 to 64 characters of a-z 0-9 _ -");
                    } else if !wrote.scenario_ids.insert(id.clone()) {
                        self.error(&span, "another scenario has this id; ids must be unique");
                    }
                    scenario.id = id;
                }
                "name" | "category" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    if text.is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
                        self.error(
                            &span,
                            format!("`{key}` may have 1 to 100 characters, none of them a control character"),
                        );
                    } else if key == "name" {
                        scenario.name = text;
                    } else {
                        scenario.category = text;
                    }
                }
                "severity" => {
                    if let Some(severity) = self.choice(key, value, &SEVERITIES) {
                        scenario.severity = severity.to_owned();
                    }
                }
                "shocks" => {
                    has_shocks = true;
                    self.shocks(value, &mut scenario, wrote);
                }
                _ => self.unknown_key("scenarios", key, &key_span, known),
            }
        }
        if !has_id {
            self.error(span, "the scenario has no `id`");
        }
        if !has_shocks {
            self.error(span, "the scenario has no `shocks`, for example  shocks = { Market = -0.1 }");
        }
        if scenario.name.is_empty() {
            scenario.name.clone_from(&scenario.id);
        }
        (has_id && has_shocks).then_some(scenario)
    }

    fn shocks(&mut self, value: &Value<'_>, scenario: &mut Scenario, wrote: &mut Wrote) {
        let wanted = "`shocks` must be a table of factors and changes, for example  { Market = -0.1, \"Low Volatility\" = -0.2 }";
        let DeValue::Table(table) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("{wanted}, not {found}"));
            return;
        };
        if table.is_empty() {
            self.error(&value.span(), wanted);
        }
        for (factor, key_span, value) in entries(table) {
            match float(value.get_ref()) {
                Some(change) if (-1.0..=10.0).contains(&change) => {
                    scenario.shocks.push(Shock { factor: factor.to_owned(), change });
                    wrote.shocks.push((factor.to_owned(), key_span));
                }
                _ => self.error(&value.span(), "a shock must be a fraction from -1 to 10; -0.1 is -10 %"),
            }
        }
    }

    /// What settings must be to each other, once all are read.
    fn together(&mut self, settings: &Settings, wrote: &Wrote) {
        let (window, least) = (settings.factor_analysis.window, settings.factor_analysis.min_observations);
        if let Some(span) = wrote.factor_window.as_ref().filter(|_| least > window) {
            self.error(
                span,
                format!("min_observations is {least} and window {window}; no window could ever have enough"),
            );
        }
        let (window, least) = (settings.correlations.window, settings.correlations.min_overlap);
        if let Some(span) = wrote.correlation_window.as_ref().filter(|_| least > window) {
            self.error(span, format!("min_overlap is {least} and window {window}; no window could ever have enough"));
        }
        let has = |name: &str| settings.factors.iter().any(|factor| factor.name == name);
        let names: Vec<&str> = settings.factors.iter().map(|factor| factor.name.as_str()).collect();
        for (factor, span) in &wrote.shocks {
            if !has(factor) {
                let near = value::hint(factor, names.iter().copied());
                self.warn(span, format!("the book has no such factor{near}; this scenario is not computed"));
            }
        }
        if !wrote.scenarios {
            let lost = |scenario: &&Scenario| scenario.shocks.iter().any(|shock| !has(&shock.factor));
            let count = settings.scenarios.iter().filter(lost).count();
            if count > 0 {
                let all = settings.scenarios.len();
                self.warn_file(format!(
                    "{count} of the {all} scenarios built in shock factors that [factors] does not name; they are not computed"
                ));
            }
        }
        if let Some(span) = wrote.rates_factor.as_ref().filter(|_| !has(&settings.rates.factor)) {
            let near = value::hint(&settings.rates.factor, names.iter().copied());
            self.warn(span, format!("the book has no such factor{near}; no shock is taken for a change of yield"));
        }
        if let Some(span) = wrote.factors.as_ref().filter(|_| !has("Market")) {
            self.warn(span, "no factor named `Market`: market_risk_scenarios has nothing to move");
        }
        if let Some(span) = &wrote.cron {
            self.night_hours(span, &settings.schedule);
        }
    }

    /// Where clocks change, they do so in the small hours: a slot then is skipped or moved twice a year.
    fn night_hours(&mut self, span: &Range<usize>, schedule: &ScheduleSettings) {
        let zone = schedule.timezone;
        let offset =
            |month| zone.with_ymd_and_hms(2025, month, 15, 12, 0, 0).earliest().map(|time| time.offset().fix());
        if offset(1) == offset(7) {
            return;
        }
        let mut after = probe_start();
        for _ in 0..200 {
            let Some(slot) = schedule::next_slot(schedule, after) else { return };
            let local = slot.with_timezone(&zone);
            if local.hour() < 4 {
                let message = format!(
                    "a slot at {} in {zone} lies in the hours in which clocks change; one from 04:00 to 23:59 always comes once",
                    local.format("%H:%M")
                );
                self.warn(span, message);
                return;
            }
            after = slot;
        }
    }
}

/// Where settings stand that are checked against others.
#[derive(Default)]
struct Wrote {
    cron: Option<Range<usize>>,
    rates_factor: Option<Range<usize>>,
    factor_window: Option<Range<usize>>,
    correlation_window: Option<Range<usize>>,
    factors: Option<Range<usize>>,
    scenarios: bool,
    scenario_ids: HashSet<String>,
    shocks: Vec<(String, Range<usize>)>,
}

fn float(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Float(float) => float.as_str().parse::<f64>().ok()?,
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f64,
        _ => return None,
    };
    Some(number)
}

fn is_factor_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && name.chars().count() <= 64 && !name.chars().any(char::is_control)
}

/// Where trial slots are counted from: any fixed instant does.
fn probe_start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_735_732_800, 0).earliest().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The settings, and errors and warnings as "line:column: text: message".
    pub(super) fn parse(content: &str) -> (Settings, Vec<String>, Vec<String>) {
        let (mut errors, mut warnings) = (Findings::new(FILE), Findings::new(FILE));
        let settings = read(content.as_bytes(), &mut errors, &mut warnings);
        let one = |i: &crate::Issue| {
            let (message, column) =
                i.message.strip_suffix(')').and_then(|m| m.rsplit_once(" (column ")).unwrap_or((&i.message, ""));
            format!("{}:{column}: {}: {message}", i.line, i.text)
        };
        let lines = |findings: Findings| findings.finish().iter().map(one).collect();
        (settings, lines(errors), lines(warnings))
    }

    #[test]
    fn no_content_gives_the_defaults() {
        let (settings, errors, warnings) = parse("# nothing\n");
        assert_eq!(settings, Settings::default());
        assert!(errors.is_empty() && warnings.is_empty(), "{errors:?} {warnings:?}");
        assert_eq!(settings.scenarios.len(), 18);
        assert_eq!(settings.run.jobs.len(), JOBS.len());
        assert_eq!(settings.schedule.cron, "30 18 * * 1-5");
        for scenario in &settings.scenarios {
            for shock in &scenario.shocks {
                assert!(settings.factors.iter().any(|factor| factor.name == shock.factor), "{}", scenario.id);
            }
        }
    }

    #[test]
    fn every_setting_can_be_set() {
        let content = r#"
            [site]
            title = "Risk"
            base_url = "https://risk.example/night/"
            detail = "redacted"
            [schedule]
            name = "europe"
            cron = "0 22 * * MON-FRI"
            timezone = "Europe/Berlin"
            calendar = "weekdays"
            grace_minutes = 30
            catch_up = false
            [factors]
            Market = "VT"
            "Interest Rate" = "IEF"
            [rates]
            factor = "Interest Rate"
            duration = 7.5
            [factor_analysis]
            window = 120
            min_observations = 80
            beta_cap = 5
            [correlations]
            window = 60
            min_overlap = 20
            min_position_value = 0
            min_weight = 0.0
            cluster_threshold = 0.8
            [snapshot]
            risk_window = 500
            [greeks]
            rate = 0.03
            default_volatility = 0.3
            dividend_yield = 0.01
            [run]
            jobs = ["market_data_update", "position_values_update"]
            concurrency = 4
            retries = 5
            backoff_seconds = 0.5
            job_timeout_seconds = 60
            deadline_minutes = 45
            price_max_age_sessions = 3
            [market_risk]
            moves = [-0.3, 0.3]
            [retention]
            records_days = 100
            results_days = 10
            [alerts]
            command = ["mail", "-s", "Nightbook"]
            wait_runs = 2
            min_portfolios = 3
            digest = false
            digest_days = 14
            quality_share = 0.25
            pace_seconds = 1.5
            overdue_minutes = 0
            quiet_hours = { from = "22:00", to = "07:30" }
            delivery = "at_most_once"
            [[alerts.mute]]
            fingerprint = "0123456789abcdef"
            until = 2026-12-24
            reason = "the vendor mends it"
            [[alerts.mute]]
            portfolio = "alpha"
            until = 2026-12-24T18:00:00+01:00
            reason = "being wound up"
            [[alerts.channel]]
            name = "desk"
            type = "slack"
            url_env = "DESK_WEBHOOK"
            min_severity = "warning"
            [[alerts.channel]]
            name = "hook"
            type = "webhook"
            url = "https://hooks.example/night"
            secret_env = "HOOK_SECRET"
            [[alerts.channel]]
            name = "mail"
            type = "email"
            host = "mail.example"
            username = "batch"
            password_env = "MAIL_PASSWORD"
            from = "Nightbook <night@example.com>"
            to = ["ops@example.com"]
            [[alerts.channel]]
            name = "pager"
            type = "command"
            command = ["page"]
            timeout_seconds = 5
            [[alerts.channel]]
            name = "topic"
            type = "sns"
            topic_arn = "arn:aws:sns:eu-central-1:123456789012:night"
            [[alerts.channel]]
            name = "bus"
            type = "eventbridge"
            bus = "default"
            [[scenarios]]
            id = "crash"
            name = "Crash"
            category = "market"
            severity = "severe"
            shocks = { Market = -0.4, "Interest Rate" = -0.01 }
        "#;
        let (settings, errors, warnings) = parse(content);
        assert!(errors.is_empty() && warnings.is_empty(), "{errors:?} {warnings:?}");
        let defaults = Settings::default();
        assert_ne!(settings.site, defaults.site);
        assert_eq!(settings.site.base_url.as_deref(), Some("https://risk.example/night"));
        assert_eq!(settings.schedule.timezone, "Europe/Berlin".parse().unwrap());
        assert_eq!(settings.factors.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["Market", "Interest Rate"]);
        assert_eq!(settings.scenarios[0].shocks.len(), 2);
        assert_eq!(settings.scenarios[0].shocks[0], Shock { factor: "Market".to_owned(), change: -0.4 });
        assert_eq!(settings.run.concurrency, Some(4));
        assert_eq!(settings.market_risk.moves, [-0.3, 0.3]);
        assert_eq!(settings.alerts.command.as_deref().map(<[_]>::len), Some(3));
        assert_eq!(settings.alerts.all_channels().len(), 7);
        assert_eq!(settings.alerts.rules.quiet_hours.unwrap().timezone, "Europe/Berlin".parse().unwrap());
        let untils: Vec<String> = settings.alerts.rules.mutes.iter().map(|mute| mute.until.to_rfc3339()).collect();
        assert_eq!(untils, ["2026-12-25T00:00:00+00:00", "2026-12-24T17:00:00+00:00"]);
        // A setting that is read is one that can be written and read again.
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }

    #[test]
    fn all_errors_come_at_once_each_with_its_place() {
        let content = "titel = \"x\"\n[schedule]\ncrno = \"x\"\ncron = \"61 * * * *\"\ntimezone = \"Europe/Berlim\"\n\
                       grace_minutes = -1\n[run]\nretries = \"3\"\njobs = [\"factor_analysis\", \"greek_calculation\"]\n\
                       [greeks]\nrate = nan\nvolatility = 1\n[sceduled]\n";
        let (_, errors, _) = parse(content);
        for (at, wanted) in [
            "1:1: titel: unknown key `titel`",
            "3:1: crno: unknown key `schedule.crno`; did you mean `cron`?",
            "4:8: \"61 * * * *\": `cron` must have five fields",
            "5:12: \"Europe/Berlim\": `timezone` must be an IANA time zone such as America/New_York or UTC; did you mean `Europe/Berlin`?",
            "6:17: -1: `grace_minutes` must be a whole number from 0 to 10080",
            "8:11: \"3\": `retries` must be a whole number from 1 to 20, not a text",
        ]
        .iter()
        .enumerate()
        {
            assert!(errors[at].starts_with(wanted), "wanted {wanted}\n   got {}", errors[at]);
        }
        let rest = errors.join("\n");
        assert!(rest.contains("9:9: \"factor_analysis\": `factor_analysis` needs `market_data_update`"), "{rest}");
        assert!(
            rest.contains("9:28: \"greek_calculation\": no such job; did you mean `greeks_calculation`?"),
            "{rest}"
        );
        assert!(rest.contains("11:8: nan: `rate` must be a number from -0.5 to 1"), "{rest}");
        assert!(rest.contains("12:1: volatility: unknown key"), "{rest}");
        assert!(rest.contains("13:2: sceduled: unknown key `sceduled`; did you mean `schedule`?"), "{rest}");
    }

    #[test]
    fn the_column_of_a_finding_is_the_path_of_its_key() {
        let (mut errors, mut warnings) = (Findings::new(FILE), Findings::new(FILE));
        let content = "titel = 1\nsite.detail = \"x\"\n[run]\njobs = [\"no\"]\n\"a\\u0000\" = 1\n[[scenarios]]\nid = \"a\"\n\
                       shocks = { Market = 99 }\n[[scenarios]]\nid = \"b\"\n[factors]\nMarket = 3\n";
        read(content.as_bytes(), &mut errors, &mut warnings);
        let paths: Vec<(u64, String)> = errors.finish().into_iter().map(|issue| (issue.line, issue.column)).collect();
        let wanted = [
            (1, "titel"),
            (2, "site.detail"),
            (4, "run.jobs"),
            (5, "run.a\\u{0}"),
            (8, "scenarios.shocks.Market"),
            (9, "scenarios"),
            (12, "factors.Market"),
        ];
        assert_eq!(paths, wanted.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn syntax_errors_do_not_hide_the_others() {
        let (_, errors, _) = parse("[site]\ntitle = \ndetail = \"all\"\n[site]\n[run]\nretries = 0\nretries = 2\n");
        let all = errors.join("\n");
        assert!(all.contains("2:") && all.contains("not TOML"), "{all}");
        assert!(all.contains("`detail` must be one of full, redacted"), "{all}");
        assert!(all.contains("`retries` must be a whole number"), "{all}");
        assert!(all.contains("\n7:"), "{all}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_errors() {
        let (_, errors, _) = parse("[factor_analysis]\nwindow = 50\n[correlations]\nmin_overlap = 100\n");
        assert!(errors[0].starts_with("2:10: 50: min_observations is 60 and window 50"), "{errors:?}");
        assert!(errors[1].starts_with("4:15: 100: min_overlap is 100"), "{errors:?}");
        let (_, errors, _) = parse("[run]\njobs = [\"position_values_update\", \"market_data_update\"]\n");
        assert!(errors[0].contains("`market_data_update` must stand before `position_values_update`"), "{errors:?}");
        let (_, errors, _) = parse("[run]\njobs = []\n");
        assert!(errors[0].contains("a job at least"), "{errors:?}");
        let (_, errors, _) = parse("[run]\njobs = [\"market_data_update\", \"market_data_update\"]\n");
        assert!(errors[0].contains("twice"), "{errors:?}");
    }

    #[test]
    fn scenarios_are_checked() {
        let (settings, errors, warnings) = parse(
            "[[scenarios]]\nid = \"a\"\nshocks = { Markt = -0.1 }\n[[scenarios]]\nid = \"a\"\nshocks = {}\n\
             [[scenarios]]\nid = \"B c\"\nseverity = \"huge\"\nshocks = { Market = -2.0, Value = \"x\" }\n[[scenarios]]\n",
        );
        assert_eq!(settings.scenarios.first().map(|s| s.name.as_str()), Some("a"));
        assert!(
            warnings[0].starts_with("3:12: Markt: the book has no such factor; did you mean `Market`?"),
            "{warnings:?}"
        );
        let all = errors.join("\n");
        for wanted in [
            "5:6: \"a\": another",
            "6:10: {}:",
            "8:6:",
            "9:12:",
            "10:21: -2.0",
            "10:35: \"x\"",
            "no `id`",
            "no `shocks`",
        ] {
            assert!(all.contains(wanted), "{wanted} is not in\n{all}");
        }
    }

    #[test]
    fn small_hours_are_warned_about_where_clocks_change() {
        let warnings =
            |cron: &str, zone: &str| parse(&format!("[schedule]\ncron = \"{cron}\"\ntimezone = \"{zone}\"\n")).2.len();
        assert_eq!(warnings("30 2 * * 2-6", "America/New_York"), 1);
        assert_eq!(warnings("0 */6 * * *", "Europe/Berlin"), 1);
        assert_eq!(warnings("0 4 * * *", "Europe/Berlin"), 0);
        assert_eq!(warnings("30 2 * * *", "UTC"), 0);
        assert_eq!(warnings("30 2 * * *", "Asia/Tokyo"), 0);
    }

    #[test]
    fn factors_of_the_book_make_scenarios_built_in_incomplete() {
        let (settings, errors, warnings) = parse("[factors]\nWorld = \"VT\"\nTech = \"VT\"\n");
        assert!(errors.is_empty());
        assert_eq!(settings.factors.len(), 2);
        let all = warnings.join("\n");
        assert!(all.contains("18 of the 18 scenarios"), "{all}");
        assert!(all.contains("no factor named `Market`"), "{all}");
        assert!(all.contains("the proxy of `World` too"), "{all}");
    }

    #[test]
    fn many_errors_take_no_more_time_than_few() {
        let content = (0..50_000).map(|n| format!("key{n} = 1\n")).collect::<String>();
        let started = std::time::Instant::now();
        let (_, errors, _) = parse(&content);
        assert_eq!(errors.len(), 1_001);
        assert!(errors[1_000].ends_with("and 49000 more, the last on line 50000"), "{}", errors[1_000]);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn no_text_panics(content in "([a-z_]{1,8} ?= ?[\\[\\]{}\"'0-9.a-z,-]{0,8}|\\[{1,2}[a-z.]{0,8}\\]{1,2}|\\PC{0,12}|\r)(\n([a-z_]{1,8} ?= ?[\\[\\]{}\"'0-9.a-z,-]{0,8}|\\[{1,2}[a-z.]{0,8}\\]{1,2}|\\PC{0,12}|\r)){0,8}") {
            let lines = content.lines().count() as u64;
            let (mut errors, mut warnings) = (Findings::new(FILE), Findings::new(FILE));
            read(content.as_bytes(), &mut errors, &mut warnings);
            for issue in errors.finish().iter().chain(&warnings.finish()) {
                prop_assert!(issue.line <= lines.max(1), "{issue:?}");
                prop_assert!(!issue.message.is_empty());
            }
        }
    }
}
