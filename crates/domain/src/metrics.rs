//! The metrics: their names, and the line in which a function writes them to its log.
//!
//! `CloudWatch` reads them from there (embedded metric format). Ids are never dimensions: what each run or portfolio did
//! is asked from the records.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::summary::RunSummary;
use crate::words::RunStatus;

/// A metric that `nightbook serve` answers at `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricSpec {
    /// Its name.
    pub name: &'static str,
    /// `counter` (since the process began), `gauge` or `summary` (`_sum` and `_count`).
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it is, with its unit.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> MetricSpec {
    MetricSpec { name, kind, labels, meaning }
}

/// The metrics under `nightbook serve`, in the order in which they are answered.
pub const PROMETHEUS: &[MetricSpec] = &[
    metric("nightbook_build_info", "gauge", &["version"], "1, with the version of the program"),
    metric("nightbook_open_runs", "gauge", &[], "runs that have not ended"),
    metric(
        "nightbook_oldest_open_run_seconds",
        "gauge",
        &[],
        "seconds since the oldest of them began; 0 where there is none",
    ),
    metric("nightbook_undelivered_runs", "gauge", &[], "runs that have ended and whose pages or alert are not out yet"),
    metric("nightbook_jobs_in_hand", "gauge", &[], "jobs that are being worked on at this moment"),
    metric(
        "nightbook_last_run_started_timestamp_seconds",
        "gauge",
        &[],
        "when the newest run began, in seconds since 1970",
    ),
    metric(
        "nightbook_last_run_status",
        "gauge",
        &["status"],
        "1 for how the newest run, also a rerun or a run of some portfolios, stands or ended, 0 for the others; it does not judge the night",
    ),
    metric(
        "nightbook_night_verdict",
        "gauge",
        &["verdict"],
        "1 for the verdict of the newest night of the schedule, 0 for the others",
    ),
    metric(
        "nightbook_night_jobs",
        "gauge",
        &["status"],
        "jobs of the newest night, those of absent portfolios as missing",
    ),
    metric(
        "nightbook_night_as_of_timestamp_seconds",
        "gauge",
        &[],
        "the beginning of the trading date of the newest night in UTC, in seconds since 1970",
    ),
    metric("nightbook_last_run_jobs", "gauge", &["status"], "jobs of the newest run, once it is closed"),
    metric(
        "nightbook_last_run_portfolios",
        "gauge",
        &["quality"],
        "portfolios of the newest run by the quality of their data",
    ),
    metric(
        "nightbook_last_run_wall_seconds",
        "gauge",
        &[],
        "seconds from start to close of the newest run, once it is closed",
    ),
    metric("nightbook_next_run_due_timestamp_seconds", "gauge", &[], "when the next run is due, in seconds since 1970"),
    metric("nightbook_runs_closed_total", "counter", &["status"], "runs closed, by how they ended"),
    metric("nightbook_jobs_total", "counter", &["status"], "jobs of the closed runs, by how they ended"),
    metric("nightbook_run_wall_seconds", "summary", &[], "seconds from start to close of the closed runs"),
    metric(
        "nightbook_events_total",
        "counter",
        &["event", "level"],
        "events, as the table of events names them; those of level debug are not counted",
    ),
    metric("nightbook_http_requests_total", "counter", &["code"], "requests answered, by status code"),
    metric("nightbook_http_request_seconds", "summary", &[], "seconds until a request was answered"),
];

/// A metric that the functions write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloudMetric {
    /// Runs closed.
    RunsClosed,
    /// Of these: not with success.
    RunsNotWell,
    /// Jobs of a closed run that ended well.
    JobsSucceeded,
    /// That failed.
    JobsFailed,
    /// That were skipped.
    JobsSkipped,
    /// That have no record.
    JobsMissing,
    /// From start to close.
    RunSeconds,
    /// Age of the oldest run that has not ended.
    OldestOpenRunSeconds,
    /// Sweeps of the watch.
    WatchSweeps,
    /// Slots that passed without a run.
    SlotsMissed,
}

/// The namespace of the metrics of the functions.
pub const NAMESPACE: &str = "Nightbook";

impl CloudMetric {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::RunsClosed,
        Self::RunsNotWell,
        Self::JobsSucceeded,
        Self::JobsFailed,
        Self::JobsSkipped,
        Self::JobsMissing,
        Self::RunSeconds,
        Self::OldestOpenRunSeconds,
        Self::WatchSweeps,
        Self::SlotsMissed,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunsClosed => "RunsClosed",
            Self::RunsNotWell => "RunsNotWell",
            Self::JobsSucceeded => "JobsSucceeded",
            Self::JobsFailed => "JobsFailed",
            Self::JobsSkipped => "JobsSkipped",
            Self::JobsMissing => "JobsMissing",
            Self::RunSeconds => "RunSeconds",
            Self::OldestOpenRunSeconds => "OldestOpenRunSeconds",
            Self::WatchSweeps => "WatchSweeps",
            Self::SlotsMissed => "SlotsMissed",
        }
    }

    /// Its unit, as `CloudWatch` calls it.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::RunSeconds | Self::OldestOpenRunSeconds => "Seconds",
            _ => "Count",
        }
    }

    /// What it is, and when it is written.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::RunsClosed => "1 for each run that is closed",
            Self::RunsNotWell => "1 for each run that is closed and did not end with success, else 0",
            Self::JobsSucceeded => "jobs of a closed run that ended well",
            Self::JobsFailed => "jobs of a closed run that failed",
            Self::JobsSkipped => "jobs of a closed run that were skipped",
            Self::JobsMissing => "jobs of a closed run without a record",
            Self::RunSeconds => "from start to close of a closed run",
            Self::OldestOpenRunSeconds => "each sweep of the watch: age of the oldest open run; 0 when none is open",
            Self::WatchSweeps => "1 at the end of each sweep of the watch",
            Self::SlotsMissed => "slots that a sweep of the watch recorded as missed",
        }
    }
}

/// What is written when a run is closed.
#[must_use]
pub fn of_closed(summary: &RunSummary) -> Vec<(CloudMetric, f64)> {
    let mut values = vec![
        (CloudMetric::RunsClosed, 1.0),
        (CloudMetric::RunsNotWell, f64::from(u8::from(summary.status != RunStatus::Success))),
        (CloudMetric::JobsSucceeded, summary.successful_jobs as f64),
        (CloudMetric::JobsFailed, summary.failed_jobs as f64),
        (CloudMetric::JobsSkipped, summary.skipped_jobs as f64),
        (CloudMetric::JobsMissing, summary.missing_jobs as f64),
    ];
    values.extend(summary.wall_seconds.map(|seconds| (CloudMetric::RunSeconds, seconds)));
    values
}

/// The line of a log from which `CloudWatch` reads these metrics. `service` is the one dimension; `fields` stand beside
/// them for those who search the log, and are no dimensions.
#[must_use]
pub fn emf_line(
    service: &str,
    at: DateTime<Utc>,
    values: &[(CloudMetric, f64)],
    fields: &[(&'static str, Value)],
) -> String {
    let metrics: Vec<Value> =
        values.iter().map(|(metric, _)| json!({ "Name": metric.name(), "Unit": metric.unit() })).collect();
    let about = json!({
        "Timestamp": at.timestamp_millis(),
        "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [["Service"]], "Metrics": metrics }],
    });
    let mut line = Map::new();
    line.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    line.extend(values.iter().map(|(metric, value)| (metric.name().to_owned(), json!(value))));
    line.insert("Service".to_owned(), service.into());
    line.insert("_aws".to_owned(), about);
    Value::Object(line).to_string()
}

/// The metrics under `nightbook serve`, as `docs/events.md` shows them.
#[must_use]
pub fn prometheus_table() -> String {
    let mut lines = String::from("| metric | kind | labels | what it is |\n|---|---|---|---|\n");
    for MetricSpec { name, kind, labels, meaning } in PROMETHEUS {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        lines.push_str(&format!("| `{name}` | {kind} | {} | {meaning} |\n", labels.join(" ")));
    }
    lines
}

/// The metrics of the functions, as `docs/events.md` shows them.
#[must_use]
pub fn cloud_table() -> String {
    let mut lines = String::from("| metric | unit | what it is |\n|---|---|---|\n");
    for metric in CloudMetric::ALL {
        lines.push_str(&format!("| `{}` | {} | {} |\n", metric.name(), metric.unit(), metric.meaning()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::samples::at;

    #[test]
    fn a_line_is_as_cloudwatch_reads_it() {
        let fields = [("batch_run_id", json!("7d0a"))];
        let values = [(CloudMetric::RunsClosed, 1.0), (CloudMetric::RunSeconds, 2.5)];
        let line = emf_line("nightbook", at(0), &values, &fields);
        assert!(!line.contains('\n'), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["_aws"]["Timestamp"], at(0).timestamp_millis());
        let about = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!((&about["Namespace"], &about["Dimensions"]), (&json!("Nightbook"), &json!([["Service"]])));
        assert_eq!(about["Metrics"][1], json!({"Name": "RunSeconds", "Unit": "Seconds"}));
        assert_eq!((&line["RunsClosed"], &line["Service"]), (&json!(1.0), &json!("nightbook")));
        assert_eq!(line["batch_run_id"], "7d0a", "beside the metrics, and no dimension");
    }

    #[test]
    fn no_label_is_an_id() {
        for metric in PROMETHEUS {
            for label in metric.labels {
                assert!(
                    ["version", "status", "quality", "event", "level", "code", "verdict"].contains(label),
                    "{metric:?}"
                );
            }
        }
    }
}
