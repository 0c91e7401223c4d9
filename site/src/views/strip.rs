//! The last 90 days as bars: worst state of each, its height the share of jobs that succeeded.

use chrono::{Datelike as _, TimeDelta};
use domain::night::Verdict;
use serde::Serialize;

use super::{verdict_class, verdict_glyph};
use crate::days::TradingDay;

/// Days shown.
pub(crate) const DAYS: i64 = 90;
/// Room of a bar, and its greatest height.
const STEP: i64 = 10;
const HEIGHT: u64 = 36;

/// A bar: one trading date.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Bar {
    pub(crate) x: i64,
    pub(crate) y: u64,
    pub(crate) height: u64,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) as_of: String,
    pub(crate) share: u64,
    pub(crate) success: u64,
    pub(crate) total: u64,
    pub(crate) title: String,
    pub(crate) link: Option<String>,
}

/// The strip.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Strip {
    /// Oldest first.
    pub(crate) bars: Vec<Bar>,
    /// Days without a night: none was expected.
    pub(crate) gaps: Vec<i64>,
    /// Where months begin, and their names.
    pub(crate) months: Vec<(i64, String)>,
    pub(crate) good: u64,
}

/// The strip of these trading dates, newest first.
pub(crate) fn build(days: &[TradingDay]) -> Strip {
    let (Some(newest), Some(oldest)) = (days.first(), days.last()) else { return Strip::default() };
    let first = newest.as_of - TimeDelta::days(DAYS - 1);
    let x = |date: chrono::NaiveDate| (date - first).num_days() * STEP;
    let shown: Vec<&TradingDay> = days.iter().rev().filter(|day| day.as_of >= first).collect();
    let bars: Vec<Bar> = shown
        .iter()
        .map(|day| {
            let missed = day.verdict == Verdict::Missed;
            let height = if missed { HEIGHT } else { 8 + day.share() * (HEIGHT - 8) / 100 };
            Bar {
                x: x(day.as_of),
                y: HEIGHT - height,
                height,
                class: verdict_class(day.verdict),
                glyph: verdict_glyph(day.verdict),
                verdict: day.verdict,
                as_of: day.as_of.to_string(),
                share: day.share(),
                success: day.totals.success,
                total: day.totals.total_jobs,
                title: day.title(),
                link: day.link.clone(),
            }
        })
        .collect();
    let all = (0..DAYS).map(|ago| first + TimeDelta::days(ago));
    let known = |date: &chrono::NaiveDate| *date >= oldest.as_of;
    let gaps = all.clone().filter(known).map(x).filter(|x| bars.iter().all(|bar| bar.x != *x)).collect();
    let months = all.filter(|date| date.day() == 1).map(|date| (x(date), date.format("%b").to_string())).collect();
    Strip { good: shown.iter().filter(|day| day.is_good()).count() as u64, bars, gaps, months }
}
