//! Files for machines: `status.json`, badges, `feed.xml`, `runs/<id>/*.json`, `portfolios/<id>.json`. Their schemas are
//! in [`super::schemas`].

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::fold::JobCounts;
use domain::ids::{ContentHash, RunId};
use domain::ports::PortfolioRun;
use domain::record::JobRecord;
use domain::summary::RunSummary;
use domain::words::{JobStatus, QualityFlag, RunStatus};
use serde::{Deserialize, Serialize};

use super::grid::Column;
use super::index::{IndexInput, IndexView};
use super::portfolio::{PortfolioRow, PortfolioView};
use crate::days::{TradingDay, days, incidents};
use crate::gather::{JobData, PortfolioData, RunData, RunHead};
use crate::options::{Card, SiteOptions};
use crate::text::{count, machine, visible};

/// Which run a page shows, to tell an older one from a newer one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ShownRun {
    pub(crate) scheduled_for: DateTime<Utc>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) batch_run_id: RunId,
}

/// `status.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatusFile {
    /// Of this file.
    pub(crate) schema: u32,
    /// The newest run; none: there is none.
    #[serde(flatten)]
    pub(crate) shown: Option<ShownRun>,
    pub(crate) status: Option<RunStatus>,
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
    /// Why newer settings were refused; left out if the settings in force are the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings_warning: Option<String>,
}

impl StatusFile {
    pub(crate) fn of(input: &IndexInput<'_>, view: &IndexView) -> Self {
        let open = input.open.iter().map(|data| &data.head);
        let head = open.chain(input.runs).find(|head| Some(head.run.batch_run_id) == view.newest);
        let summary = head.map(|head| &head.summary);
        Self {
            schema: 1,
            // The newest of all that the index was made from, whichever of them the verdict is about: the index never
            // goes back behind it.
            shown: input.runs.first().or(head).map(|head| ShownRun {
                scheduled_for: head.run.scheduled_for,
                started_at: head.run.started_at,
                batch_run_id: head.run.batch_run_id,
            }),
            status: summary.map(|summary| summary.status),
            verdict: view.verdict.clone(),
            as_of: summary.map(|summary| summary.as_of.to_string()),
            total_jobs: summary.map_or(0, |summary| summary.total_jobs),
            counts: summary.map(|summary| summary.counts()).unwrap_or_default(),
            generated_at: machine(input.now),
            data_through: view.data_through.as_ref().map(|stamp| stamp.machine.clone()),
            due_at: view.due.as_ref().map(|stamp| stamp.machine.clone()),
            grace_seconds: view.grace_seconds,
            settings_warning: view.settings_warning.clone(),
        }
    }
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

    /// Of the system: its newest trading date that has ended.
    pub(crate) fn of(title: &str, days: &[TradingDay]) -> Self {
        let title = visible(title);
        let label = if title.is_empty() { "nightbook" } else { &title };
        let Some(day) = days.iter().find(|day| day.status != RunStatus::Running) else {
            return Self::new(label, "no run yet".into(), GREY);
        };
        let color = match day.status {
            RunStatus::Success => GREEN,
            RunStatus::Partial => AMBER,
            RunStatus::Failed => RED,
            RunStatus::Running => BLUE,
            RunStatus::Missed => PURPLE,
        };
        Self::new(label, format!("{} {}", day.status, day.as_of), color)
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

/// An entry of the feed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FeedEntry {
    /// A permanent URN.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) published: String,
    pub(crate) updated: String,
    pub(crate) category: &'static str,
    pub(crate) link: Option<String>,
    pub(crate) summary: String,
}

/// `feed.xml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FeedView {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) updated: String,
    pub(crate) own: Option<String>,
    pub(crate) home: String,
    pub(crate) entries: Vec<FeedEntry>,
}

/// Entries of the feed, at most.
const MOST_ENTRIES: usize = 30;

/// The feed of these runs, newest first.
///
/// Every trading date is told of once: a good one in an entry of its own, the others in the incident that they are part
/// of, which is updated with each of them and when it is over. `more_before`: whether there are older runs.
pub(crate) fn feed(runs: &[RunHead], options: &SiteOptions, more_before: bool) -> FeedView {
    let base = options.base_url.as_ref().map(|base| format!("{}/", base.trim_end_matches('/')));
    let at = |path: &str| format!("{}{path}", base.as_deref().unwrap_or_default());
    let days = days(runs);
    let link = |day: &TradingDay| day.link.then(|| at(&super::run_link(day.run)));
    let mut entries: Vec<FeedEntry> = days
        .iter()
        .filter(|day| day.status == RunStatus::Success)
        .map(|day| FeedEntry {
            id: format!("urn:uuid:{}", day.run),
            title: format!("{}: {}", day.as_of, day.verdict),
            published: machine(day.closed_at.unwrap_or(day.began)),
            updated: machine(day.closed_at.unwrap_or(day.began)),
            category: "run",
            link: link(day),
            summary: day.verdict.clone(),
        })
        .collect();
    for incident in incidents(&days, more_before) {
        let (Some(first), Some(last)) = (incident.days.first(), incident.days.last()) else { continue };
        let moment = |day: &TradingDay| day.closed_at.unwrap_or(day.began);
        let dates = count(incident.days.len() as u64, "trading date");
        let (title, updated) = match incident.recovered {
            Some(day) => (format!("Recovered on {}: not well since {}, {dates}", day.as_of, first.as_of), moment(day)),
            None => (format!("Not well since {}: {}", first.as_of, last.verdict), moment(last)),
        };
        let told = incident.days.iter().rev().take(5).map(|day| format!("{}: {}", day.as_of, day.verdict));
        let causes = runs.iter().filter(|head| head.run.batch_run_id == last.run).flat_map(|head| {
            head.summary
                .failures
                .iter()
                .take(5)
                .map(|cause| format!("{} ({}, {} jobs): {}", cause.job, cause.category, cause.count, cause.message))
        });
        entries.push(FeedEntry {
            id: urn(&format!("nightbook incident {}", first.first)),
            title,
            published: machine(moment(first)),
            updated: machine(updated),
            category: "incident",
            link: link(incident.recovered.unwrap_or(last)),
            summary: told.chain(causes).collect::<Vec<_>>().join("\n"),
        });
    }
    entries.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| a.id.cmp(&b.id)));
    entries.truncate(MOST_ENTRIES);
    FeedView {
        id: urn(&format!("nightbook feed {}", options.base_url.as_deref().unwrap_or(&options.title))),
        title: options.title.clone(),
        updated: entries.first().map_or_else(|| machine(DateTime::UNIX_EPOCH), |entry| entry.updated.clone()),
        own: base.as_ref().map(|_| at("feed.xml")),
        home: at("index.html"),
        entries,
    }
}

/// A permanent id of a name: a UUID of version 8, made by a rule of its own.
fn urn(name: &str) -> String {
    let hash = ContentHash::of(name.as_bytes()).to_string();
    format!("urn:uuid:{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
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
            jobs: view.columns.iter().map(|column| &*column.name).collect(),
            runs: data.runs.iter().zip(&view.rows).map(run).collect(),
            last_success: view.jobs.iter().map(|job| job.as_of.as_deref()).collect(),
        }
    }
}
