//! Files for machines: `status.json`, badges, `runs/<id>/*.json`, `portfolios/<id>.json`. Their schemas are
//! in [`super::schemas`].

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::fold::JobCounts;
use domain::ids::{ContentHash, RunId};
use domain::night::Verdict;
use domain::night::report::NightReport;
use domain::ports::PortfolioRun;
use domain::record::JobRecord;
use domain::summary::RunSummary;
use domain::words::{JobStatus, QualityFlag, RunStatus};
use serde::{Deserialize, Serialize};

use super::grid::Column;
use super::index::{IndexInput, IndexView};
use super::portfolio::{PortfolioRow, PortfolioView};
use crate::gather::{JobData, PortfolioData, RunData, RunHead, age_key};
use crate::options::Card;
use crate::text::{machine, visible};

/// Which run a page shows, to tell an older one from a newer one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ShownRun {
    pub(crate) scheduled_for: DateTime<Utc>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) batch_run_id: RunId,
}

/// The newest link of the chain of closed runs: a copy of it that is kept elsewhere shows whether runs were rewritten
/// later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainEnd {
    /// Its number.
    pub(crate) number: u64,
    /// Its hash.
    pub(crate) hash: ContentHash,
}

/// `status.json`. Every key speaks of the newest night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatusFile {
    /// Of this file.
    pub(crate) schema: u32,
    /// The newest run of the night; none: there is no night.
    #[serde(flatten)]
    pub(crate) shown: Option<ShownRun>,
    /// The verdict in the words of a run.
    pub(crate) status: Option<RunStatus>,
    /// The headline of the night.
    pub(crate) verdict: String,
    pub(crate) as_of: Option<String>,
    pub(crate) total_jobs: u64,
    pub(crate) counts: JobCounts,
    pub(crate) generated_at: String,
    /// When the newest closed run was closed.
    pub(crate) data_through: Option<String>,
    /// When the next run is due, and how many seconds later it may be.
    pub(crate) due_at: Option<String>,
    pub(crate) grace_seconds: u64,
    /// The newest night; null: there is none.
    #[serde(default)]
    pub(crate) night: Option<NightReport>,
    /// The newest link of the chain of closed runs; left out if no run was closed since the chain began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chain: Option<ChainEnd>,
    /// Why newer settings were refused; left out if the settings in force are the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings_warning: Option<String>,
}

impl StatusFile {
    pub(crate) fn of(input: &IndexInput<'_>, view: &IndexView) -> Self {
        let night = input.night.as_ref();
        let totals = night.map(|night| night.data.night.totals).unwrap_or_default();
        Self {
            schema: 1,
            shown: night.and_then(|night| newest_run(night.runs)).map(|head| ShownRun {
                scheduled_for: head.run.scheduled_for,
                started_at: head.run.started_at,
                batch_run_id: head.run.batch_run_id,
            }),
            status: night.map(|night| night.data.night.verdict.status()),
            verdict: view.night.as_ref().map_or_else(|| "No run yet".to_owned(), |night| night.headline.clone()),
            as_of: night.map(|night| night.data.night.as_of.to_string()),
            total_jobs: totals.total_jobs,
            counts: JobCounts {
                success: totals.success,
                failed: totals.failed,
                skipped: totals.skipped,
                missing: totals.missing,
            },
            generated_at: machine(input.now),
            data_through: view.closed.as_ref().map(|stamp| stamp.machine.clone()),
            due_at: view.due.as_ref().map(|stamp| stamp.machine.clone()),
            grace_seconds: view.grace_seconds,
            night: night.map(|night| {
                let schedule = &night.data.head.schedule;
                NightReport::of(&night.data.night, schedule, view.due_at, night.missed, night.target)
            }),
            chain: input.newest_link.clone(),
            settings_warning: view.settings_warning.clone(),
        }
    }
}

/// The newest of these runs: a missed slot says nothing where there is a run.
pub(crate) fn newest_run(runs: &[RunHead]) -> Option<&RunHead> {
    runs.iter().max_by_key(|head| (head.summary.status != RunStatus::Missed, age_key(&head.run)))
}

/// What a badge says: its state with its date, so that an old badge shows that it is old.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Badge {
    pub(crate) schema_version: u32,
    pub(crate) label: String,
    pub(crate) message: String,
    pub(crate) color: &'static str,
    pub(crate) is_error: bool,
}

const GREEN: &str = "0a6b4a";
const AMBER: &str = "8a5a00";
const RED: &str = "b3261e";
const PURPLE: &str = "6b2fa0";
const BLUE: &str = "1f5f9e";
const GREY: &str = "59616b";

impl Badge {
    fn new(label: &str, message: String, color: &'static str) -> Self {
        let is_error = color == RED || color == PURPLE;
        Self { schema_version: 1, label: label.chars().take(40).collect(), message, color, is_error }
    }

    /// Of the newest night.
    pub(crate) fn of(title: &str, night: Option<(Verdict, NaiveDate)>) -> Self {
        let title = visible(title);
        let label = if title.is_empty() { "nightbook" } else { &title };
        let Some((verdict, as_of)) = night else {
            return Self::new(label, "no run yet".into(), GREY);
        };
        let color = match verdict {
            Verdict::Ok => GREEN,
            Verdict::Warning | Verdict::Partial => AMBER,
            Verdict::Failed => RED,
            Verdict::Running => BLUE,
            Verdict::Missed => PURPLE,
        };
        Self::new(label, format!("{verdict} {as_of}"), color)
    }

    /// Of a job, in its newest closed run.
    pub(crate) fn of_job(data: &JobData) -> Self {
        let label = data.job.as_str();
        let Some(run) = data.runs.first() else { return Self::new(label, "no run yet".into(), GREY) };
        let line = &run.line;
        if line.success == line.portfolios {
            return Self::new(label, format!("success {}", run.as_of), GREEN);
        }
        let color = if line.success == 0 { RED } else { AMBER };
        Self::new(label, format!("{} of {} on {}", line.success, line.portfolios, run.as_of), color)
    }

    /// Of a portfolio, in its newest run.
    pub(crate) fn of_portfolio(view: &PortfolioView) -> Self {
        let date = view.as_of.as_deref().unwrap_or("no run yet");
        let color = match view.class {
            "ok" => GREEN,
            "bad" => RED,
            "run" => BLUE,
            _ => AMBER,
        };
        Self::new(view.id.as_str(), format!("{} of {} on {date}", view.succeeded, view.total), color)
    }
}

/// `runs/<id>/jobs.json`.
#[derive(Debug, Serialize)]
pub(crate) struct JobsFile {
    pub(crate) schema: u32,
    pub(crate) batch_run_id: RunId,
    pub(crate) jobs: Vec<JobRecord>,
}

impl JobsFile {
    pub(crate) fn of(data: &RunData) -> Self {
        let without_brief = |mut record: JobRecord| {
            // The results in brief stand in the files of the portfolios.
            record.job_metadata.clear();
            record
        };
        let jobs = data.items.iter().flat_map(|item| data.records(item)).map(without_brief).collect();
        Self { schema: 1, batch_run_id: data.head.run.batch_run_id, jobs }
    }
}

/// `history/months.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MonthsFile {
    pub(crate) schema: u32,
    /// Newest first.
    pub(crate) months: Vec<String>,
}

/// `runs/<id>/summary.json`: the summary without how the site stands towards it, which the site cannot know of itself.
pub(crate) fn summary_file(summary: &RunSummary) -> serde_json::Result<serde_json::Value> {
    let mut value = serde_json::to_value(summary)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("publication");
        fields.insert("schema".to_owned(), 1.into());
    }
    Ok(value)
}

/// One run in the file of a portfolio; the lists are in the order of its `jobs`.
#[derive(Debug, Serialize)]
struct PortfolioFileRun<'a> {
    batch_run_id: RunId,
    as_of: NaiveDate,
    scheduled_for: DateTime<Utc>,
    started_at: DateTime<Utc>,
    status: Vec<Option<JobStatus>>,
    duration_seconds: Vec<Option<f64>>,
    attempts: Vec<u32>,
    quality: Vec<Option<QualityFlag>>,
    figures: BTreeMap<&'a str, f64>,
}

/// `portfolios/<id>.json`.
#[derive(Debug, Serialize)]
pub(crate) struct PortfolioFile<'a> {
    schema: u32,
    portfolio_id: &'a str,
    portfolio_name: &'a str,
    #[serde(flatten)]
    card: &'a Card,
    /// The newest night, how the portfolio stands on it, and the date through which its data reaches.
    night: Option<&'a str>,
    state: &'a str,
    newest_close: Option<&'a str>,
    jobs: Vec<&'a str>,
    runs: Vec<PortfolioFileRun<'a>>,
    /// Trading date of the last success, in the order of `jobs`.
    last_success: Vec<Option<&'a str>>,
}

impl<'a> PortfolioFile<'a> {
    pub(crate) fn of(data: &'a PortfolioData, view: &'a PortfolioView) -> Self {
        let run = |(run, row): (&'a PortfolioRun, &PortfolioRow)| {
            let of = |column: &Column| run.cells.iter().find(|cell| cell.job.as_str() == &*column.name);
            let mut figures = BTreeMap::new();
            for (name, value) in run.cells.iter().flat_map(|cell| &cell.figures) {
                figures.entry(name.as_str()).or_insert(*value);
            }
            PortfolioFileRun {
                batch_run_id: run.batch_run_id,
                as_of: run.as_of,
                scheduled_for: run.scheduled_for,
                started_at: run.started_at,
                status: row.cells.iter().map(|cell| cell.as_ref().map(|cell| cell.status)).collect(),
                duration_seconds: view.columns.iter().map(|column| of(column)?.duration_seconds).collect(),
                attempts: view.columns.iter().map(|column| of(column).map_or(0, |cell| cell.attempt)).collect(),
                quality: view.columns.iter().map(|column| of(column)?.quality).collect(),
                figures,
            }
        };
        Self {
            schema: 1,
            portfolio_id: view.id.as_str(),
            portfolio_name: &view.name,
            card: &view.card,
            night: view.night.as_deref(),
            state: view.word,
            newest_close: view.data_through.as_deref(),
            jobs: view.columns.iter().map(|column| &*column.name).collect(),
            runs: data.runs.iter().zip(&view.rows).map(run).collect(),
            last_success: view.jobs.iter().map(|job| job.as_of.as_deref()).collect(),
        }
    }
}
