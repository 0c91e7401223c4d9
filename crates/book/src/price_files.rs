//! `prices.csv` or the files in `prices/`: millions of rows, so this is the one reader that counts nanoseconds and bytes.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;

use crate::issue::{Findings, Issue, Scope, shown};
use crate::memory::Memory;
use crate::prices::{PricePoint, Prices};
use crate::settings::ScheduleSettings;
use crate::source::BookError;
use crate::table::{Columns, Row, Table};
use crate::value;

pub(crate) const COLUMNS: Columns = Columns { required: &["date", "symbol", "close"], optional: &[] };

/// A book may have this many price rows; more would not fit into the memory of a small machine.
const MAX_ROWS: usize = 50_000_000;

/// How many wrong rows a symbol keeps.
const KEPT: usize = 20;

/// A close and where it was read; the line tells a duplicate's first row.
#[derive(Clone, Copy)]
struct Entry {
    close: f64,
    date: NaiveDate,
    file: u32,
    line: u32,
}

/// All closes while files are still being read.
#[derive(Default)]
pub(crate) struct Collector {
    schedule: ScheduleSettings,
    numbers: HashMap<Box<[u8]>, u32>,
    symbols: Vec<String>,
    entries: Vec<Vec<Entry>>,
    rows: usize,
    files: Vec<String>,
    unusable: BTreeMap<String, Findings>,
    /// For each day from 1900 on: not asked yet, session, none.
    sessions: Vec<u8>,
}

impl Collector {
    pub(crate) fn new(schedule: ScheduleSettings) -> Self {
        Self { schedule, ..Self::default() }
    }

    fn is_session(&mut self, date: NaiveDate) -> bool {
        let at = date.signed_duration_since(NaiveDate::from_ymd_opt(1900, 1, 1).unwrap_or_default()).num_days();
        let at = usize::try_from(at).unwrap_or(0);
        if self.sessions.len() <= at {
            self.sessions.resize(at + 4_000, 0);
        }
        if self.sessions[at] == 0 {
            self.sessions[at] = if self.schedule.is_session(date) { 1 } else { 2 };
        }
        self.sessions[at] == 1
    }

    fn number_of(&mut self, symbol: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(symbol) {
            return Some(*number);
        }
        let text = value::parse_symbol(symbol)?;
        let number = u32::try_from(self.symbols.len()).ok()?;
        self.numbers.insert(symbol.into(), number);
        self.symbols.push(text.to_owned());
        self.entries.push(Vec::new());
        Some(number)
    }

    /// Reads one file.
    pub(crate) fn read(
        &mut self,
        table: &mut Table,
        memory: &mut Memory,
        errors: &mut Findings,
        warnings: &mut Findings,
    ) -> Result<(), BookError> {
        let (date_at, symbol_at, close_at) = (table.place(0), table.place(1), table.place(2));
        let name = table.name().to_owned();
        let file = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(name.clone());
        let mut closed: BTreeMap<NaiveDate, (u64, u64)> = BTreeMap::new();
        let mut row = Row::default();
        let mut last: Option<(Vec<u8>, u32)> = None;
        while table.next(&mut row, errors)? {
            let (date_text, symbol_text, close_text) = (row.field(date_at), row.field(symbol_at), row.field(close_at));
            let number = match &last {
                Some((text, number)) if text == symbol_text => Some(*number),
                _ => {
                    let number = self.number_of(symbol_text);
                    last = number.map(|number| (symbol_text.to_vec(), number));
                    number
                }
            };
            let date = value::parse_date(date_text);
            let close = value::parse_number(close_text).filter(|close| *close >= value::MIN_CLOSE);
            let (Some(number), Some(date), Some(close), true) = (number, date, close, row.len() == table.width())
            else {
                self.complain(table, &row, number, errors);
                continue;
            };
            if !self.is_session(date) {
                closed.entry(date).or_insert((row.line, 0)).1 += 1;
                continue;
            }
            if self.rows == MAX_ROWS {
                let message = format!("a book may have {} price rows at most", value::grouped(MAX_ROWS as u64));
                errors.push(row.line, "", &[], message, Scope::Book);
                break;
            }
            if let Some(message) = memory.close() {
                errors.push(row.line, "", &[], message, Scope::Book);
                break;
            }
            self.rows += 1;
            let line = u32::try_from(row.line).unwrap_or(u32::MAX);
            self.entries[number as usize].push(Entry { close, date, file, line });
        }
        self.warn_about_closed_days(&closed, warnings);
        Ok(())
    }

    /// Says everything that is wrong with a row.
    fn complain(&mut self, table: &Table, row: &Row, number: Option<u32>, errors: &mut Findings) {
        let symbol = number.map(|number| self.symbols[number as usize].clone());
        let scope = symbol.clone().map_or(Scope::Orphan, Scope::Symbol);
        let mut complaints: Vec<(&str, &[u8], String)> = Vec::new();
        if row.len() == table.width() {
            let [date, symbol, close] = [0, 1, 2].map(|at| row.field(table.place(at)));
            if value::parse_date(date).is_none() {
                complaints.push(("date", date, value::date_complaint(date)));
            }
            if number.is_none() {
                let message = format!("not a symbol; allowed are {}", value::SYMBOL_ALLOWED);
                complaints.push(("symbol", symbol, message));
            }
            match value::parse_number(close) {
                Some(value) if value >= value::MIN_CLOSE => {}
                Some(_) => complaints.push(("close", close, "out of range; allowed is a price above 0".to_owned())),
                None => complaints.push(("close", close, value::number_complaint(close, "a price above 0"))),
            }
        } else {
            complaints.push(("", row.raw(), table.width_complaint(row)));
        }
        for (column, text, message) in complaints {
            let (file, column, text) = (table.name().to_owned(), column.to_owned(), shown(text));
            let issue = Issue { file, line: row.line, column, text, message, scope: scope.clone() };
            self.keep(symbol.as_deref(), issue, errors);
        }
    }

    fn keep(&mut self, symbol: Option<&str>, issue: Issue, errors: &mut Findings) {
        if let Some(symbol) = symbol {
            if let Some(findings) = self.unusable.get_mut(symbol) {
                findings.add(issue.clone());
            } else {
                let mut findings = Findings::with_limit(&issue.file, KEPT);
                findings.add(issue.clone());
                self.unusable.insert(symbol.to_owned(), findings);
            }
        }
        errors.add(issue);
    }

    /// One warning for the whole file, with the first of the days as an example.
    fn warn_about_closed_days(&self, closed: &BTreeMap<NaiveDate, (u64, u64)>, warnings: &mut Findings) {
        let Some((date, (line, _))) = closed.iter().min_by_key(|(_, (line, _))| *line) else { return };
        let rows = match closed.values().map(|(_, count)| count).sum() {
            1 => "1 row is".to_owned(),
            count => format!("{} rows are", value::grouped(count)),
        };
        let days = match closed.len() {
            1 => "on a day".to_owned(),
            count => format!("on {} days", value::grouped(count as u64)),
        };
        let reason = self.schedule.holiday_name(*date).unwrap_or("no session");
        let weekday = value::weekday_name(*date);
        let message = format!(
            "{rows} left out: {days} without a session by the calendar {}; the first is this {weekday}{}",
            self.schedule.calendar,
            if reason == weekday { String::new() } else { format!(" ({reason})") }
        );
        warnings.push(*line, "date", date.to_string().as_bytes(), message, Scope::Orphan);
    }

    /// Sorts each symbol's closes and takes out the later ones of a day; `errors` has the findings of each file in order.
    pub(crate) fn finish(mut self, errors: &mut [Findings]) -> Prices {
        let mut series: BTreeMap<String, Vec<PricePoint>> = BTreeMap::new();
        let mut order: Vec<usize> = (0..self.symbols.len()).collect();
        order.sort_by(|a, b| self.symbols[*a].cmp(&self.symbols[*b]));
        for number in order {
            let mut entries = std::mem::take(&mut self.entries[number]);
            let symbol = self.symbols[number].clone();
            if !entries.is_sorted_by(|a, b| a.date < b.date) {
                entries.sort_by_key(|entry| (entry.date, entry.file, entry.line));
            }
            let mut points: Vec<PricePoint> = Vec::with_capacity(entries.len());
            let mut first: Option<Entry> = None;
            for entry in entries {
                if let Some(first) = first.filter(|first| first.date == entry.date) {
                    let place = &self.files[first.file as usize];
                    let message = format!(
                        "date and symbol must be unique; line {} of {place} has them already, and it stays",
                        first.line
                    );
                    let (file, line, text) =
                        (self.files[entry.file as usize].clone(), u64::from(entry.line), entry.date.to_string());
                    let scope = Scope::Symbol(symbol.clone());
                    let issue = Issue { file, line, column: "date".to_owned(), text, message, scope };
                    self.keep(Some(&symbol), issue, &mut errors[entry.file as usize]);
                    continue;
                }
                first = Some(entry);
                points.push(PricePoint { date: entry.date, close: entry.close });
            }
            if !points.is_empty() {
                points.shrink_to_fit();
                series.insert(symbol, points);
            }
        }
        let issues = std::mem::take(&mut self.unusable)
            .into_iter()
            .map(|(symbol, findings)| {
                let issues = findings.finish_as(Scope::Symbol(symbol.clone()));
                (symbol, issues)
            })
            .collect();
        Prices { series, issues }
    }
}
