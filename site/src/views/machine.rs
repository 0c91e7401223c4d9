//! Files for machines: `status.json`, `badge.json`, `badge.svg`, `feed.xml`, `runs/<id>/jobs.json`.

use chrono::{DateTime, Utc};
use domain::fold::JobCounts;
use domain::ids::{ContentHash, RunId};
use domain::record::JobRecord;
use domain::words::RunStatus;
use serde::{Deserialize, Serialize};

use super::index::{IndexInput, IndexView};
use super::run_class;
use crate::gather::{RunData, RunHead};
use crate::options::SiteOptions;
use crate::text::{machine, visible};

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
}

impl StatusFile {
    pub(crate) fn of(input: &IndexInput<'_>, view: &IndexView) -> Self {
        let open = input.open.iter().map(|data| &data.head);
        let head = open.chain(input.runs).find(|head| Some(head.run.batch_run_id) == view.newest);
        let summary = head.map(|head| &head.summary);
        Self {
            schema: 1,
            shown: head.map(|head| ShownRun {
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
        }
    }
}

/// What the badge says: the newest closed run, and its date, so that an old badge shows that it is old.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Badge {
    pub(crate) schema_version: u32,
    pub(crate) label: String,
    pub(crate) message: String,
    pub(crate) color: &'static str,
    pub(crate) is_error: bool,
}

impl Badge {
    pub(crate) fn of(title: &str, newest_closed: Option<&RunHead>) -> Self {
        let (message, color, is_error) = match newest_closed.map(|head| &head.summary) {
            None => ("no run yet".to_owned(), "6b7480", false),
            Some(summary) => {
                let color = match summary.status {
                    RunStatus::Success => "0a6b4a",
                    RunStatus::Partial => "8a5a00",
                    RunStatus::Failed => "b3261e",
                    RunStatus::Running => "1f5f9e",
                    RunStatus::Missed => "6b2fa0",
                };
                (format!("{} {}", summary.status, summary.as_of), color, summary.status == RunStatus::Failed)
            }
        };
        let label = if title.is_empty() { "nightbook".to_owned() } else { visible(title) };
        Self { schema_version: 1, label: label.chars().take(40).collect(), message, color, is_error }
    }
}

/// An entry of the feed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FeedEntry {
    pub(crate) id: RunId,
    pub(crate) title: String,
    pub(crate) published: String,
    pub(crate) updated: String,
    pub(crate) class: &'static str,
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

/// The feed of these runs, newest first: the newest 30 that are closed.
pub(crate) fn feed(runs: &[RunHead], options: &SiteOptions) -> FeedView {
    let base = options.base_url.as_ref().map(|base| format!("{}/", base.trim_end_matches('/')));
    let at = |path: &str| format!("{}{path}", base.as_deref().unwrap_or_default());
    let entries: Vec<FeedEntry> = runs
        .iter()
        .filter_map(|head| Some((head, head.summary.closed_at?)))
        .take(30)
        .map(|(head, closed_at)| FeedEntry {
            id: head.run.batch_run_id,
            title: format!("{}: {}", head.run.as_of, head.summary.verdict()),
            published: machine(head.run.started_at),
            updated: machine(closed_at),
            class: run_class(head.summary.status),
            link: head.linkable.then(|| at(&format!("runs/{}/index.html", head.run.batch_run_id))),
            summary: head
                .summary
                .failures
                .iter()
                .take(5)
                .map(|cluster| {
                    format!("{} ({} of {}): {}", cluster.job, cluster.category, cluster.count, cluster.message)
                })
                .collect::<Vec<_>>()
                .join("\n"),
        })
        .collect();
    FeedView {
        id: feed_id(options),
        title: options.title.clone(),
        updated: entries
            .iter()
            .map(|entry| entry.updated.clone())
            .max()
            .unwrap_or_else(|| machine(DateTime::UNIX_EPOCH)),
        own: base.as_ref().map(|_| at("feed.xml")),
        home: at("index.html"),
        entries,
    }
}

/// The permanent id of the feed: of the site's address, or else of its title.
fn feed_id(options: &SiteOptions) -> String {
    let name = options.base_url.as_deref().unwrap_or(&options.title);
    let hash = ContentHash::of(format!("nightbook feed {name}").as_bytes()).to_string();
    // A UUID of version 8: made by a rule of its own.
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
        let jobs = data.items.iter().flat_map(|item| data.records(item)).collect();
        Self { schema: 1, batch_run_id: data.head.run.batch_run_id, jobs }
    }
}
