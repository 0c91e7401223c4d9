//! Nights as lists show them: one line a night, its runs beneath.

use std::collections::BTreeMap;

use domain::ids::RunId;
use serde::Serialize;

use super::night::{AcceptLine, accepts};
use super::run::NoteLine;
use super::{RunLine, verdict_class, verdict_glyph};
use crate::days::TradingDay;
use crate::gather::RunHead;

/// One run beneath its night.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunOfNight {
    #[serde(flatten)]
    pub(crate) line: RunLine,
    pub(crate) notes: Vec<NoteLine>,
}

/// One night.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NightLine {
    pub(crate) as_of: String,
    pub(crate) verdict: &'static str,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) link: Option<String>,
    pub(crate) sentence: String,
    pub(crate) data_through: String,
    pub(crate) stale: bool,
    /// Whether the date is later than allowed: it decides nothing.
    pub(crate) later: bool,
    pub(crate) accepts: Vec<AcceptLine>,
    pub(crate) runs: Vec<RunOfNight>,
}

/// Notes by run.
pub(crate) type Notes = BTreeMap<RunId, Vec<NoteLine>>;

/// These nights, newest first, with those of their runs that are known. Nights later than allowed come first.
pub(crate) fn lines(later: &[TradingDay], days: &[TradingDay], runs: &[RunHead], notes: &Notes) -> Vec<NightLine> {
    let one = |day: &TradingDay, later: bool| {
        let of_night = |head: &&RunHead| head.run.as_of == day.as_of;
        NightLine {
            as_of: day.as_of.to_string(),
            verdict: day.verdict.as_str(),
            class: verdict_class(day.verdict),
            glyph: verdict_glyph(day.verdict),
            link: day.link.clone(),
            sentence: day.sentence(),
            data_through: day.newest_close.map_or_else(String::new, |date| date.to_string()),
            stale: day.newest_close.is_some_and(|date| date < day.as_of),
            later,
            accepts: accepts(&day.acceptances),
            runs: runs
                .iter()
                .filter(of_night)
                .map(|head| RunOfNight {
                    line: RunLine::of(head),
                    notes: notes.get(&head.run.batch_run_id).cloned().unwrap_or_default(),
                })
                .collect(),
        }
    };
    later.iter().map(|day| one(day, true)).chain(days.iter().map(|day| one(day, false))).collect()
}
