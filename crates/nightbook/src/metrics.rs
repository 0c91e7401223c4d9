//! The metrics of `nightbook serve`: counted from the events of the log, and asked from the records; answered at
//! `/metrics` in the text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use app::NightSettings;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, NaiveTime, Utc};
use domain::metrics::PROMETHEUS;
use domain::night::{Totals, Verdict};
use domain::ports::{Clock, RunQuery, RunStore, StoreError};
use domain::run::seconds_between;
use domain::summary::RunSummary;
use domain::words::{JobStatus, QualityFlag, RunStatus};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The jobs of a closed run, in the fields of its event.
const JOB_FIELDS: [(&str, JobStatus); 4] = [
    ("successful_jobs", JobStatus::Success),
    ("failed_jobs", JobStatus::Failed),
    ("skipped_jobs", JobStatus::Skipped),
    ("missing_jobs", JobStatus::Missing),
];

/// A sum and how many it is of.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    sum: f64,
    count: u64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }
}

#[derive(Debug, Default)]
struct Counts {
    events: BTreeMap<(String, &'static str), u64>,
    closed: BTreeMap<String, u64>,
    jobs: BTreeMap<&'static str, u64>,
    wall: Sum,
    requests: BTreeMap<u16, u64>,
    answered: Sum,
}

/// What this process has counted. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<Counts>>);

impl Metrics {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts requests, whoever answers them.
    pub(crate) fn counting(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), count))
    }
}

async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let response = next.run(request).await;
    let (code, took): (u16, Duration) = (response.status().as_u16(), began.elapsed());
    metrics.change(|counts| {
        *counts.requests.entry(code).or_default() += 1;
        counts.answered.add(took.as_secs_f64());
    });
    response
}

/// What an event says, as far as it is counted.
#[derive(Debug, Default)]
struct Said {
    event: Option<String>,
    status: Option<String>,
    jobs: [Option<u64>; 4],
    wall_seconds: Option<f64>,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => self.event = Some(value.to_owned()),
            "status" => self.status = Some(value.to_owned()),
            _ => {}
        }
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        if let Some(at) = JOB_FIELDS.iter().position(|(name, _)| *name == field.name()) {
            self.jobs[at] = Some(value);
        }
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "wall_seconds" {
            self.wall_seconds = Some(value);
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "status" {
            self.status = Some(format!("{value:?}"));
        }
    }
}

impl<S: Subscriber> Layer<S> for Metrics {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let Some(name) = said.event else { return };
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            _ => "info",
        };
        self.change(|counts| {
            if name == "run.closed" {
                *counts.closed.entry(said.status.unwrap_or_default()).or_default() += 1;
                for ((_, status), jobs) in JOB_FIELDS.iter().zip(said.jobs) {
                    *counts.jobs.entry(status.as_str()).or_default() += jobs.unwrap_or_default();
                }
                if let Some(seconds) = said.wall_seconds {
                    counts.wall.add(seconds);
                }
            }
            *counts.events.entry((name, level)).or_default() += 1;
        });
    }
}

/// What is asked at the moment of an answer.
pub(crate) struct Asked {
    /// The records.
    pub(crate) store: Arc<dyn RunStore>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// What is in hand.
    pub(crate) live: Arc<dyn api::Live>,
    /// Reads nights by the settings in force.
    pub(crate) nights: Arc<dyn NightSettings>,
    /// When the next run is due after an instant.
    pub(crate) next_due: Box<dyn Fn(DateTime<Utc>) -> Option<DateTime<Utc>> + Send + Sync>,
}

/// The router of `/metrics`.
pub(crate) fn router(metrics: Metrics, asked: Asked) -> Router {
    let state = Arc::new((metrics, asked));
    Router::new().route("/metrics", get(answer)).with_state(state)
}

async fn answer(State(state): State<Arc<(Metrics, Asked)>>) -> Response {
    let (metrics, asked) = state.as_ref();
    match text(metrics, asked).await {
        Ok(body) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// The lines of one metric.
struct Lines<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Lines<'_> {
    fn one(&mut self, value: impl std::fmt::Display) {
        let _ = writeln!(self.out, "{} {value}", self.name);
    }

    fn with(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let _ = writeln!(self.out, "{}{{{}}} {value}", self.name, labels.join(","));
    }

    /// Counts of jobs that succeeded, failed, were skipped or are missing.
    fn jobs(&mut self, counts: [u64; 4]) {
        let statuses = [JobStatus::Success, JobStatus::Failed, JobStatus::Skipped, JobStatus::Missing];
        for (status, jobs) in statuses.into_iter().zip(counts) {
            self.with(&[("status", status.as_str())], jobs);
        }
    }

    fn sum(&mut self, sum: Sum) {
        let _ = writeln!(self.out, "{name}_sum {}\n{name}_count {}", sum.sum, sum.count, name = self.name);
    }
}

fn seconds_since_1970(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1e3
}

#[expect(clippy::too_many_lines, reason = "one table: an arm for each metric")]
async fn text(metrics: &Metrics, asked: &Asked) -> Result<String, StoreError> {
    let now = asked.clock.now();
    let open = asked.store.open_runs().await?;
    let undelivered = asked.store.undelivered().await?.len();
    let newest = asked.store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?.runs.into_iter().next();
    let night = asked.nights.reader().await?.newest(asked.store.as_ref(), now).await?;
    let summary = newest.as_ref().and_then(|stored| stored.summary.as_ref());
    let counts = metrics.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = String::new();
    for spec in PROMETHEUS {
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {}", spec.name, spec.meaning, spec.name, spec.kind);
        let mut lines = Lines { out: &mut out, name: spec.name };
        match spec.name {
            "nightbook_build_info" => lines.with(&[("version", env!("CARGO_PKG_VERSION"))], 1),
            "nightbook_open_runs" => lines.one(open.len()),
            "nightbook_oldest_open_run_seconds" => {
                lines.one(open.first().map_or(0.0, |run| seconds_between(run.started_at, now)));
            }
            "nightbook_undelivered_runs" => lines.one(undelivered),
            "nightbook_jobs_in_hand" => lines.one(asked.live.in_hand().len()),
            "nightbook_last_run_started_timestamp_seconds" => {
                newest.iter().for_each(|stored| lines.one(seconds_since_1970(stored.run.started_at)));
            }
            "nightbook_last_run_status" => {
                if let Some(stored) = &newest {
                    for status in RunStatus::ALL {
                        lines.with(&[("status", status.as_str())], u8::from(*status == stored.status()));
                    }
                }
            }
            "nightbook_night_verdict" => {
                if let Some(view) = &night {
                    for verdict in Verdict::ALL {
                        let is = u8::from(verdict == view.night.verdict);
                        lines.with(&[("verdict", verdict.as_str())], is);
                    }
                }
            }
            "nightbook_night_jobs" => {
                if let Some(Totals { success, failed, skipped, missing, .. }) =
                    night.as_ref().map(|view| view.night.totals)
                {
                    lines.jobs([success, failed, skipped, missing]);
                }
            }
            "nightbook_night_as_of_timestamp_seconds" => {
                let date = night.as_ref().map(|view| view.night.as_of.and_time(NaiveTime::MIN).and_utc());
                date.iter().for_each(|at| lines.one(seconds_since_1970(*at)));
            }
            "nightbook_last_run_jobs" => {
                if let Some(jobs) = summary.map(RunSummary::counts) {
                    lines.jobs([jobs.success, jobs.failed, jobs.skipped, jobs.missing]);
                }
            }
            "nightbook_last_run_portfolios" => {
                for quality in summary.iter().map(|summary| summary.data_quality) {
                    for (flag, portfolios) in [
                        (QualityFlag::Full, quality.full),
                        (QualityFlag::Limited, quality.limited),
                        (QualityFlag::Failed, quality.failed),
                    ] {
                        lines.with(&[("quality", flag.as_str())], portfolios);
                    }
                }
            }
            "nightbook_last_run_wall_seconds" => {
                summary.iter().filter_map(|summary| summary.wall_seconds).for_each(|seconds| lines.one(seconds));
            }
            "nightbook_next_run_due_timestamp_seconds" => {
                (asked.next_due)(now).iter().for_each(|at| lines.one(seconds_since_1970(*at)));
            }
            "nightbook_runs_closed_total" => {
                for (status, runs) in &counts.closed {
                    lines.with(&[("status", status)], runs);
                }
            }
            "nightbook_jobs_total" => {
                for (_, status) in JOB_FIELDS {
                    let jobs = counts.jobs.get(status.as_str()).copied().unwrap_or_default();
                    lines.with(&[("status", status.as_str())], jobs);
                }
            }
            "nightbook_run_wall_seconds" => lines.sum(counts.wall),
            "nightbook_events_total" => {
                for ((event, level), many) in &counts.events {
                    lines.with(&[("event", event), ("level", level)], many);
                }
            }
            "nightbook_http_requests_total" => {
                for (code, many) in &counts.requests {
                    lines.with(&[("code", &code.to_string())], many);
                }
            }
            "nightbook_http_request_seconds" => lines.sum(counts.answered),
            other => unreachable!("{other} is in the table of metrics and is not answered"),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backends::memory::MemoryStore;
    use backends::system::SystemClock;
    use domain::ports::Runs as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    struct Idle;

    impl api::Live for Idle {
        fn in_hand(&self) -> Vec<api::Hand> {
            Vec::new()
        }
    }

    async fn answered(metrics: &Metrics) -> String {
        answered_on(metrics, MemoryStore::default()).await
    }

    async fn answered_on(metrics: &Metrics, store: MemoryStore) -> String {
        let asked = Asked {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            live: Arc::new(Idle),
            nights: Arc::new(app::NightReader::default()),
            next_due: Box::new(Some),
        };
        text(metrics, &asked).await.unwrap()
    }

    #[tokio::test]
    async fn events_are_counted_by_name_and_a_closed_run_with_its_jobs() {
        let metrics = Metrics::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(metrics.clone()), || {
            for failed in [1_u64, 2] {
                tracing::info!(
                    batch_run_id = "7d0a", status = %RunStatus::Partial, total_jobs = 18_u64, successful_jobs = 10_u64,
                    failed_jobs = failed, skipped_jobs = 3_u64, missing_jobs = 0_u64, wall_seconds = Some(1.5),
                    event = "run.closed", "the run is closed"
                );
            }
            tracing::error!(portfolio_id = "p1", event = "job.failed", "a job failed");
            tracing::info!("without a name");
        });
        let text = answered(&metrics).await;
        for line in [
            "nightbook_runs_closed_total{status=\"partial\"} 2",
            "nightbook_jobs_total{status=\"success\"} 20",
            "nightbook_jobs_total{status=\"failed\"} 3",
            "nightbook_jobs_total{status=\"missing\"} 0",
            "nightbook_run_wall_seconds_sum 3",
            "nightbook_run_wall_seconds_count 2",
            "nightbook_events_total{event=\"job.failed\",level=\"error\"} 1",
            "nightbook_open_runs 0",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("7d0a") && !text.contains("p1"), "an id is no label");
    }

    #[tokio::test]
    async fn a_missed_night_is_missed_and_not_running() {
        let store = MemoryStore::default();
        let slot = "2026-11-24T23:30:00Z".parse().unwrap();
        let schedule = domain::ids::ScheduleName::new("nightly").unwrap();
        let start = domain::start_run::StartRun {
            id: domain::identity::scheduled(&schedule, slot),
            night_series: schedule.clone(),
            schedule,
            trigger: "schedule".into(),
            as_of: slot.date_naive(),
            scheduled_for: slot,
            rerun_of: None,
            repeat: 0,
            filter: Vec::new(),
            deadline_minutes: 120,
        };
        store.create_run(&start.missed(slot)).await.unwrap();
        let text = answered_on(&Metrics::default(), store).await;
        for line in [
            "nightbook_last_run_status{status=\"missed\"} 1",
            "nightbook_last_run_status{status=\"running\"} 0",
            "nightbook_night_verdict{verdict=\"missed\"} 1",
            "nightbook_night_verdict{verdict=\"ok\"} 0",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn every_metric_of_the_table_is_answered_with_help_and_type() {
        let text = answered(&Metrics::default()).await;
        for spec in PROMETHEUS {
            assert!(text.contains(&format!("# HELP {} ", spec.name)), "{}", spec.name);
            assert!(text.contains(&format!("# TYPE {} {}\n", spec.name, spec.kind)), "{}", spec.name);
        }
        let sample = |line: &str| line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(text.lines().filter(|line| !line.starts_with('#')).all(sample), "{text}");
    }
}
