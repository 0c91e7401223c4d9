//! `history/index.html` and `history/<yyyy-mm>.html`: what ran when.

use chrono::{Datelike as _, NaiveDate};
use domain::words::RunStatus;
use serde::Serialize;

use super::{RunLine, Stamp, run_class, run_glyph};
use crate::gather::RunHead;

/// A day of a calendar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Day {
    /// 0 before the first and after the last of the month.
    pub(crate) day: u32,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    /// What is said of it.
    pub(crate) title: String,
    /// The page of the newest run of this trading date, from the root.
    pub(crate) link: Option<String>,
}

/// A month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MonthView {
    pub(crate) month: String,
    pub(crate) title: String,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) weeks: Vec<Vec<Day>>,
    pub(crate) runs: Vec<RunLine>,
    pub(crate) good: u64,
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
}

/// The list of months.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HistoryView {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) months: Vec<String>,
    pub(crate) recent: Vec<RunLine>,
}

/// The page of a month, of its runs, newest first. `months` are those that have a page, newest first.
pub(crate) fn month(month: &str, runs: &[RunHead], months: &[String]) -> MonthView {
    let first = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").unwrap_or_default();
    let at = months.iter().position(|other| other == month);
    MonthView {
        month: month.to_owned(),
        title: first.format("%B %Y").to_string(),
        stamp: runs.iter().filter_map(|head| head.summary.closed_at).max().map(Stamp::of),
        weeks: weeks(first, runs),
        good: runs.iter().filter(|head| head.summary.status == RunStatus::Success).count() as u64,
        runs: runs.iter().map(RunLine::of).collect(),
        previous: at.and_then(|at| months.get(at + 1)).cloned(),
        next: at.filter(|at| *at > 0).and_then(|at| months.get(at - 1)).cloned(),
    }
}

fn weeks(first: NaiveDate, runs: &[RunHead]) -> Vec<Vec<Day>> {
    let blank = || Day { day: 0, class: "", glyph: "", title: String::new(), link: None };
    let mut days: Vec<Day> = (0..first.weekday().num_days_from_monday()).map(|_| blank()).collect();
    let mut date = first;
    while date.month() == first.month() {
        // The newest run of a trading date speaks for it.
        let newest =
            runs.iter().filter(|head| head.run.as_of == date).max_by_key(|head| crate::gather::age_key(&head.run));
        days.push(match newest {
            None => Day { day: date.day(), title: format!("{date}: no run"), ..blank() },
            Some(head) => Day {
                day: date.day(),
                class: run_class(head.summary.status),
                glyph: run_glyph(head.summary.status),
                title: format!("{date}: {}", head.summary.verdict()),
                link: head.linkable.then(|| format!("runs/{}/index.html", head.run.batch_run_id)),
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

/// The list of these months, newest first, and the newest runs.
pub(crate) fn index(months: &[String], recent: &[RunHead]) -> HistoryView {
    HistoryView {
        stamp: recent.iter().filter_map(|head| head.summary.closed_at).max().map(Stamp::of),
        months: months.to_vec(),
        recent: recent.iter().take(30).map(RunLine::of).collect(),
    }
}
