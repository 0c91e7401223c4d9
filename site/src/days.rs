//! Trading dates: one night each. The strip, the calendar, the lists and the feed stand on it.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use domain::ids::{RunId, ScheduleName};
use domain::night::{Acceptance, Edition, NightHead, Totals, Verdict};

use crate::gather::RunHead;
use crate::pages::night_path;
use crate::text::count;

/// One trading date.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TradingDay {
    pub(crate) as_of: NaiveDate,
    pub(crate) series: ScheduleName,
    pub(crate) verdict: Verdict,
    pub(crate) totals: Totals,
    /// Expected portfolios, and those that succeeded in every job.
    pub(crate) expected: u64,
    pub(crate) succeeded: u64,
    pub(crate) absent: u64,
    /// Control results other than `ok`.
    pub(crate) controls: u64,
    /// Editions of its figures beside the first.
    pub(crate) editions: u64,
    /// The newest of them, oldest first, with their first figures.
    pub(crate) newest_editions: Vec<Edition>,
    /// The newest date with a close.
    pub(crate) newest_close: Option<NaiveDate>,
    pub(crate) acceptances: Vec<Acceptance>,
    /// The largest causes, one line each.
    pub(crate) causes: Vec<String>,
    /// The page of the night, from the root, if it is there.
    pub(crate) link: Option<String>,
    /// The runs, oldest first.
    pub(crate) runs: Vec<RunId>,
    /// How many runs it has.
    pub(crate) run_count: u64,
    /// When its first run began.
    pub(crate) began: DateTime<Utc>,
    /// When the newest of its runs that is closed was.
    pub(crate) closed_at: Option<DateTime<Utc>>,
    /// Whether a run repeats another.
    pub(crate) rerun: bool,
    /// Whether something else than the schedule started a run.
    pub(crate) by_hand: bool,
}

impl TradingDay {
    /// The day of this night. `runs` are those of its runs that are known; `linkable`: whether its page is there.
    pub(crate) fn of(head: &NightHead, runs: &[&RunHead], linkable: bool) -> Self {
        let missed_only = head.verdict == Verdict::Missed;
        Self {
            as_of: head.as_of,
            series: head.night_series.clone(),
            verdict: head.verdict,
            totals: head.totals,
            expected: head.expected_portfolios,
            succeeded: head.succeeded_portfolios,
            absent: head.absent_count,
            controls: head.control_count,
            editions: head.edition_count,
            newest_editions: head.editions.clone(),
            newest_close: head.newest_close,
            acceptances: head.acceptances.clone(),
            causes: head
                .causes
                .iter()
                .map(|cause| format!("{} ({}): {}", cause.cause, count(cause.explains(), "job"), cause.message))
                .collect(),
            link: linkable.then(|| night_path(&head.night_series, head.as_of)),
            runs: head.runs.clone(),
            run_count: head.run_count,
            began: runs
                .iter()
                .map(|run| run.run.started_at)
                .min()
                .unwrap_or_else(|| head.as_of.and_time(NaiveTime::MIN).and_utc()),
            closed_at: runs.iter().filter_map(|run| run.summary.closed_at).max(),
            rerun: runs.iter().any(|run| run.run.rerun_of.is_some()),
            by_hand: !missed_only && runs.iter().any(|run| run.run.trigger != "schedule" && run.run.plan.is_some()),
        }
    }

    /// Whether somebody should know: it has ended, and not well.
    pub(crate) const fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Partial | Verdict::Failed | Verdict::Missed)
    }

    /// Whether every portfolio succeeded. A control may warn.
    pub(crate) const fn is_good(&self) -> bool {
        matches!(self.verdict, Verdict::Ok | Verdict::Warning)
    }

    /// The share of the jobs that succeeded, in hundredths.
    pub(crate) fn share(&self) -> u64 {
        (self.totals.success * 100).checked_div(self.totals.total_jobs).unwrap_or(0)
    }

    /// What happened, in few words.
    pub(crate) fn sentence(&self) -> String {
        let mut text = match self.verdict {
            Verdict::Missed => return "no run took place".to_owned(),
            Verdict::Running => "in progress".to_owned(),
            _ if self.expected == 0 => "no portfolio was processed".to_owned(),
            _ => format!("{} of {} succeeded", self.succeeded, count(self.expected, "portfolio")),
        };
        if self.absent > 0 {
            text += &format!(", {} absent", self.absent);
        }
        if self.controls > 0 {
            text += &format!(", {} other than ok", count(self.controls, "control result"));
        }
        if !self.acceptances.is_empty() {
            text += &format!(", {}", count(self.acceptances.len() as u64, "acceptance"));
        }
        if self.editions > 0 {
            text += &format!(
                ", figures restated {}",
                if self.editions == 1 { "once".to_owned() } else { count(self.editions, "time") }
            );
        }
        text
    }

    /// What is said of it.
    pub(crate) fn title(&self) -> String {
        let runs = if self.run_count > 1 { format!(", {} runs", self.run_count) } else { String::new() };
        format!("{}: {}, {}{runs}", self.as_of, self.verdict, self.sentence())
    }
}

/// A stretch of trading dates that did not go well.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Incident<'a> {
    /// Its dates, oldest first, at least one.
    pub(crate) days: Vec<&'a TradingDay>,
    /// The date that went well after it.
    pub(crate) recovered: Option<&'a TradingDay>,
}

/// The incidents in these dates (newest first), newest first. One whose beginning is not among them is left out: its
/// identity is its first run.
pub(crate) fn incidents(days: &[TradingDay], more_before: bool) -> Vec<Incident<'_>> {
    let mut found: Vec<Incident<'_>> = Vec::new();
    let mut current: Option<Incident<'_>> = None;
    let mut known = !more_before;
    for day in days.iter().rev().filter(|day| day.verdict != Verdict::Running) {
        if day.is_bad() {
            if known {
                current.get_or_insert_with(|| Incident { days: Vec::new(), recovered: None }).days.push(day);
            }
        } else {
            known = true;
            found.extend(current.take().map(|incident| Incident { recovered: Some(day), ..incident }));
        }
    }
    found.extend(current);
    found.reverse();
    found
}
