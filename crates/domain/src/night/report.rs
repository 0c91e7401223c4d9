//! A night as every surface serializes it: one object for status.json, the API, the command line and the feed.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::headline::Headline;
use super::next_step::{CommandTarget, NextStep, next_step};
use super::{Edition, Night, NightCause, NightControl, Totals, Verdict};
use crate::ids::{PortfolioId, RunId, ScheduleName};

/// A night with its sentences. The names of the fields are a contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NightReport {
    /// The schedule, under its present name.
    pub schedule: ScheduleName,
    /// The night series.
    pub night_series: ScheduleName,
    /// The trading date.
    pub as_of: NaiveDate,
    /// How the night stands.
    pub verdict: Verdict,
    /// Portfolios, cause and action.
    pub headline: String,
    /// What to do.
    pub next_step: NextStep,
    /// The number of expected portfolios.
    pub expected_portfolios: u64,
    /// Expected portfolios that are in no run, sorted.
    pub absent: Vec<PortfolioId>,
    /// The job counts.
    pub totals: Totals,
    /// Control results other than `ok`, the worst first.
    pub controls: Vec<NightControl>,
    /// Causes, the largest first.
    pub causes: Vec<NightCause>,
    /// The runs that changed recorded figures, oldest first; numbers begin with 2.
    #[serde(default)]
    pub editions: Vec<Edition>,
    /// Every run, oldest first.
    pub runs: Vec<RunId>,
    /// The runs that are open.
    pub in_progress: Vec<RunId>,
    /// The date through which the data reaches.
    pub newest_close: Option<NaiveDate>,
    /// When the night after is due; `None` if no schedule says so.
    pub due_at: Option<DateTime<Utc>>,
}

impl NightReport {
    /// The report of a night for readers of these commands. `missed` are the dates of the series with a missed slot and no
    /// run. The surface masks what a redacted reader must not see beyond the sentences.
    #[must_use]
    pub fn of(
        night: &Night,
        schedule: &ScheduleName,
        due_at: Option<DateTime<Utc>>,
        missed: &[NaiveDate],
        target: &CommandTarget,
    ) -> Self {
        Self {
            schedule: schedule.clone(),
            night_series: night.night_series.clone(),
            as_of: night.as_of,
            verdict: night.verdict,
            headline: Headline::of(night, missed, target).to_string(),
            next_step: next_step(night, missed, target),
            expected_portfolios: night.expected_portfolios(),
            absent: night.absent.iter().cloned().collect(),
            totals: night.totals,
            controls: night.controls.clone(),
            causes: night.causes.clone(),
            editions: night.editions.iter().map(Edition::shortened).collect(),
            runs: night.runs.clone(),
            in_progress: night.in_progress.clone(),
            newest_close: night.newest_close,
            due_at,
        }
    }
}
