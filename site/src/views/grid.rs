//! Cells of portfolios and jobs, as every grid shows them.

use std::sync::Arc;

use domain::record::JobRecord;
use domain::words::{JobStatus, QualityFlag};
use serde::Serialize;

use crate::options::Card;
use crate::text::duration;
use domain::baseline::{Band, Pace};

/// One cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CellView {
    #[serde(serialize_with = "shared")]
    pub(crate) job: Arc<str>,
    pub(crate) status: JobStatus,
    /// What stands beside the glyph: a duration, or the word.
    pub(crate) label: String,
    /// What a click leads to, from the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    /// More, on hovering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) retried: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) limited: bool,
    #[serde(skip_serializing_if = "is_usual")]
    pub(crate) pace: Pace,
}

fn is_usual(pace: &Pace) -> bool {
    *pace == Pace::Usual
}

impl CellView {
    /// A cell of this status, with the duration of one that succeeded.
    pub(crate) fn new(
        job: &Arc<str>,
        status: JobStatus,
        attempt: u32,
        seconds: Option<f64>,
        quality: Option<QualityFlag>,
    ) -> Self {
        let label = match (status, seconds) {
            (JobStatus::Success, Some(seconds)) => duration(seconds),
            _ => status.as_str().to_owned(),
        };
        Self {
            job: Arc::clone(job),
            status,
            label,
            link: None,
            title: None,
            retried: status == JobStatus::Success && attempt > 1,
            limited: matches!(quality, Some(QualityFlag::Limited | QualityFlag::Failed)),
            pace: Pace::Usual,
        }
    }

    /// With the duration measured against this band.
    pub(crate) fn against(mut self, band: Option<&Band>, seconds: Option<f64>) -> Self {
        if let (JobStatus::Success, Some(band), Some(seconds)) = (self.status, band, seconds) {
            self.pace = band.pace(seconds);
            if self.pace != Pace::Usual && self.title.is_none() {
                self.title = Some(format!("{}: usually {}", self.pace.words(), duration(band.median)));
            }
        }
        self
    }

    /// The cell of a record.
    pub(crate) fn of(record: &JobRecord, job: &Arc<str>) -> Self {
        let flag = record.quality.as_ref().map(|quality| quality.flag);
        let mut cell = Self::new(job, record.status, record.attempt, record.duration_seconds, flag);
        cell.title = match record.status {
            JobStatus::Failed => record.error.as_ref().map(|error| cut(&error.message)),
            JobStatus::Skipped => record.skipped_because.as_ref().map(|because| format!("because of {}", because.job)),
            JobStatus::Running => record.progress.as_ref().map(|progress| cut(&progress.item)),
            _ => None,
        };
        cell
    }

    /// Whether somebody should look at it.
    pub(crate) const fn is_problem(&self) -> bool {
        matches!(self.status, JobStatus::Failed | JobStatus::Skipped | JobStatus::Missing)
    }

    /// The classes of the cell; short, there are thousands of them.
    pub(crate) fn class(&self) -> &'static str {
        let odd = self.pace != Pace::Usual;
        match (self.status, self.retried, self.limited) {
            (JobStatus::Success, false, false) if odd => "s o",
            (JobStatus::Success, true, false) if odd => "s r o",
            (JobStatus::Success, false, true) if odd => "s l o",
            (JobStatus::Success, true, true) if odd => "s r l o",
            (JobStatus::Success, false, false) => "s",
            (JobStatus::Success, true, false) => "s r",
            (JobStatus::Success, false, true) => "s l",
            (JobStatus::Success, true, true) => "s r l",
            (JobStatus::Failed, ..) => "f",
            (JobStatus::Skipped, ..) => "k",
            (JobStatus::Missing, ..) => "m",
            (JobStatus::Running, ..) => "w",
            (JobStatus::Pending, ..) => "p",
        }
    }

    /// Glyph, label and mark: all that is told without colour.
    pub(crate) fn text(&self) -> String {
        match self.pace {
            Pace::Usual => format!("{} {}", self.glyph(), self.label),
            pace => format!("{} {} {}", self.glyph(), self.label, pace.mark()),
        }
    }

    /// The glyph.
    pub(crate) const fn glyph(&self) -> &'static str {
        match self.status {
            JobStatus::Success if self.retried => "↻",
            JobStatus::Success => "✓",
            JobStatus::Failed => "✕",
            JobStatus::Skipped => "–",
            JobStatus::Missing => "◇",
            JobStatus::Running => "▶",
            JobStatus::Pending => "·",
        }
    }
}

/// A message cut to what fits a tooltip.
pub(crate) fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(160).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// One row: a portfolio over jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GridRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Whether the page of the portfolio is there.
    pub(crate) link: bool,
    /// Whether it is in no run of the night.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) absent: bool,
    /// Whether some cell is a problem.
    pub(crate) problem: bool,
    /// Owner and tags: further words to find it by.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) words: String,
    pub(crate) cells: Vec<CellView>,
}

/// Owner and tags of a card, as the filter finds them.
pub(crate) fn card_words(card: Option<&Card>) -> String {
    let words = card.map(|card| card.owner.iter().chain(&card.tags).map(String::as_str).collect::<Vec<_>>());
    words.unwrap_or_default().join(" ")
}

/// A grid with its columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Grid {
    pub(crate) jobs: Vec<Column>,
    pub(crate) rows: Vec<GridRow>,
    /// Rows that did not fit.
    pub(crate) more: u64,
    /// Rows with a problem, in all.
    pub(crate) problems: u64,
}

/// A column: a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Column {
    #[serde(serialize_with = "shared")]
    pub(crate) name: Arc<str>,
    /// Whether the page of the job is there.
    pub(crate) link: bool,
}

impl Column {
    /// The words of the name, between which a line may break.
    pub(crate) fn words(&self) -> std::str::Split<'_, char> {
        self.name.split('_')
    }
}

impl Grid {
    /// The rows with the worst first, and at most so many.
    pub(crate) fn new(jobs: Vec<Column>, mut rows: Vec<GridRow>, most: usize) -> Self {
        let weight = |row: &GridRow| {
            let of = |status| row.cells.iter().filter(|cell| cell.status == status).count();
            let running = of(JobStatus::Running);
            (
                std::cmp::Reverse((of(JobStatus::Failed), of(JobStatus::Missing), of(JobStatus::Skipped), running)),
                !row.problem,
            )
        };
        rows.sort_by_cached_key(weight);
        let problems = rows.iter().filter(|row| row.problem).count() as u64;
        let more = rows.len().saturating_sub(most) as u64;
        rows.truncate(most);
        Self { jobs, rows, more, problems }
    }
}

fn shared<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
