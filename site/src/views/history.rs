//! `history/index.html` and `history/<yyyy-mm>.html`: what ran when, and how often it went well.

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate, TimeDelta};
use domain::night::Verdict;
use serde::Serialize;

use super::nights_list::{self, NightLine, Notes};
use super::strip::Strip;
use super::{Stamp, verdict_class, verdict_glyph};
use crate::days::TradingDay;
use crate::gather::RunHead;

/// A day of a calendar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Day {
    /// 0 before the first and after the last of the month.
    pub(crate) day: u32,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    /// What stands in the cell: the share of jobs, or a word.
    pub(crate) text: String,
    /// Marks of runs by hand and of reruns.
    pub(crate) marks: String,
    /// What is said of it.
    pub(crate) title: String,
    /// The page of the night, from the root.
    pub(crate) link: Option<String>,
}

/// How it went over some trading dates.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) dates: u64,
    /// Dates on which every portfolio succeeded, and those among them on which a control warns.
    pub(crate) good: u64,
    pub(crate) warned: u64,
    /// `98.4 %`, or a dash where there is no date.
    pub(crate) rate: String,
    pub(crate) missed: u64,
    /// Trading dates in a row that did not go well.
    pub(crate) longest_red: u64,
    /// Stretches that did not go well.
    pub(crate) incidents: u64,
    /// Trading dates from the beginning of a stretch to the next good one, on average.
    pub(crate) to_recover: String,
    /// Good trading dates between two stretches, on average.
    pub(crate) between: String,
}

/// A month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MonthView {
    pub(crate) month: String,
    pub(crate) title: String,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) weeks: Vec<Vec<Day>>,
    pub(crate) nights: Vec<NightLine>,
    /// How many runs the month has.
    pub(crate) runs: u64,
    pub(crate) good: u64,
    pub(crate) dates: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
}

/// The list of months.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HistoryView {
    pub(crate) stamp: Option<Stamp>,
    /// Years, newest first, each with its months as number, name and address.
    pub(crate) years: Vec<(String, Vec<(String, String)>)>,
    pub(crate) records: Vec<Record>,
    pub(crate) strip: Strip,
    /// The newest nights with their runs.
    pub(crate) nights: Vec<NightLine>,
}

fn mean(total: u64, of: u64, unit: &str) -> String {
    if of == 0 { "–".to_owned() } else { format!("{:.1} {unit}", total as f64 / of as f64) }
}

/// How it went over these trading dates, newest first.
fn record(name: String, days: &[&TradingDay]) -> Record {
    let (mut longest, mut current, mut incidents, mut red, mut recovered, mut green) = (0, 0u64, 0, 0, 0, 0);
    let ended = || days.iter().rev().filter(|day| day.verdict != Verdict::Running);
    for day in ended() {
        if day.is_bad() {
            incidents += u64::from(current == 0);
            current += 1;
            longest = longest.max(current);
        } else {
            if current > 0 {
                recovered += 1;
                red += current;
            }
            current = 0;
            green += 1;
        }
    }
    let dates = ended().count() as u64;
    Record {
        name,
        dates,
        good: green,
        warned: ended().filter(|day| day.verdict == Verdict::Warning).count() as u64,
        rate: if dates == 0 { "–".to_owned() } else { format!("{:.1} %", green as f64 * 100.0 / dates as f64) },
        missed: ended().filter(|day| day.verdict == Verdict::Missed).count() as u64,
        longest_red: longest,
        incidents,
        to_recover: mean(red, recovered, "dates"),
        between: mean(green, incidents, "dates"),
    }
}

/// The page of a month, of its nights and runs, newest first. `months` are those that have a page, newest first.
pub(crate) fn month(month: &str, days: &[TradingDay], runs: &[RunHead], notes: &Notes, months: &[String]) -> MonthView {
    let first = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").unwrap_or_default();
    let at = months.iter().position(|other| other == month);
    let record = record(first.format("%B %Y").to_string(), &days.iter().collect::<Vec<_>>());
    MonthView {
        month: month.to_owned(),
        title: first.format("%B %Y").to_string(),
        stamp: runs.iter().filter_map(|head| head.summary.closed_at).max().map(Stamp::of),
        weeks: weeks(first, days),
        good: record.good,
        dates: record.dates,
        records: vec![record],
        nights: nights_list::lines(&[], days, runs, notes),
        runs: runs.len() as u64,
        previous: at.and_then(|at| months.get(at + 1)).cloned(),
        next: at.filter(|at| *at > 0).and_then(|at| months.get(at - 1)).cloned(),
    }
}

fn weeks(first: NaiveDate, known: &[TradingDay]) -> Vec<Vec<Day>> {
    let blank = || Day {
        day: 0,
        class: "",
        glyph: "",
        text: String::new(),
        marks: String::new(),
        title: String::new(),
        link: None,
    };
    let known: BTreeMap<NaiveDate, &TradingDay> = known.iter().map(|day| (day.as_of, day)).collect();
    let mut days: Vec<Day> = (0..first.weekday().num_days_from_monday()).map(|_| blank()).collect();
    let mut date = first;
    while date.month() == first.month() {
        days.push(match known.get(&date) {
            None => Day { day: date.day(), title: format!("{date}: no night"), ..blank() },
            Some(day) => Day {
                day: date.day(),
                class: verdict_class(day.verdict),
                glyph: verdict_glyph(day.verdict),
                text: day.verdict.to_string(),
                marks: [(day.rerun, "rerun"), (day.by_hand && !day.rerun, "by hand")]
                    .into_iter()
                    .filter_map(|(is, word)| is.then_some(word))
                    .collect(),
                title: day.title(),
                link: day.link.clone(),
            },
        });
        let Some(next) = date.succ_opt() else { break };
        date = next;
    }
    while !days.len().is_multiple_of(7) {
        days.push(blank());
    }
    days.chunks(7).map(<[Day]>::to_vec).collect()
}

/// What the list of months is made of.
pub(crate) struct HistoryInput<'a> {
    /// Newest first.
    pub(crate) months: &'a [String],
    /// Nights up to the last date that may be run, newest first.
    pub(crate) days: &'a [TradingDay],
    /// Nights of later dates.
    pub(crate) later: &'a [TradingDay],
    /// The newest runs, newest first.
    pub(crate) runs: &'a [RunHead],
    pub(crate) notes: &'a Notes,
}

/// Nights that the list shows.
pub(crate) const MOST_NIGHTS: usize = 30;

/// The list of months, and the newest nights.
pub(crate) fn index(input: &HistoryInput<'_>) -> HistoryView {
    let (days, recent) = (input.days, input.runs);
    let mut years: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for month in input.months {
        let first = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").unwrap_or_default();
        let (year, name) = (first.format("%Y").to_string(), first.format("%B").to_string());
        if years.last().is_none_or(|last| last.0 != year) {
            years.push((year, Vec::new()));
        }
        if let Some(last) = years.last_mut() {
            last.1.push((format!("{month}.html"), name));
        }
    }
    let newest = days.first().map(|day| day.as_of);
    let span = |back: i64| {
        let within = |day: &&TradingDay| newest.is_some_and(|newest| day.as_of > newest - TimeDelta::days(back));
        record(format!("last {back} days"), &days.iter().filter(within).collect::<Vec<_>>())
    };
    HistoryView {
        stamp: recent.iter().filter_map(|head| head.summary.closed_at).max().map(Stamp::of),
        years,
        records: [7, 30, 90].map(span).into(),
        strip: super::strip::build(days),
        nights: nights_list::lines(input.later, &days[..days.len().min(MOST_NIGHTS)], recent, input.notes),
    }
}
