//! Runs and jobs as OpenLineage events (specification 2-0-2): pure, from the records alone.
//!
//! A run is an OpenLineage run of the job that bears the name of its schedule. Each of its job records is a run of its
//! own, of the job `<schedule>.<portfolio>.<job>`, with the run as its parent. Ids are derived, so the events of a run are the
//! same whenever they are made: a consumer that gets them twice has them once.

mod event;
mod facets;

use chrono::{DateTime, Utc};
use domain::ids::{JobName, PortfolioId, RunId, ScheduleName};
use domain::ports::StoredRun;
use domain::record::{JobRecord, Quality};
use domain::run::SealedPlan;
use domain::words::{JobStatus, QualityFlag, RunStatus};
use serde_json::json;
use uuid::Uuid;

pub use event::{Dataset, EventType, Job, Run, RunEvent};
use facets::Facets;

/// The events of a run and its records, in the order in which things happened: first the start of the run, last its end.
///
/// A job that ended well ends with `COMPLETE`, one that failed or has no record with `FAIL` and its reason, one that was
/// skipped with `ABORT` and its reason. A run ends with `COMPLETE` only if every job succeeded; a slot that passed
/// without a run is an `ABORT`. What has not ended has no last event yet.
#[must_use]
pub fn events(stored: &StoredRun, records: &[JobRecord], namespace: &str) -> Vec<RunEvent> {
    let told = Told { stored, namespace };
    let mut events = vec![told.run_event(EventType::Start, stored.run.started_at, None)];
    for record in records {
        events.extend(told.job_events(record));
    }
    if let (Some(summary), Some(closed_at)) = (&stored.summary, stored.run.closed_at) {
        let (kind, why) = match summary.status {
            RunStatus::Success => (EventType::Complete, None),
            _ => (EventType::Fail, Some(summary.verdict())),
        };
        events.push(told.run_event(kind, closed_at, why));
    } else if let (true, Some(closed_at)) = (stored.run.plan.is_none(), stored.run.closed_at) {
        let why = format!("the run of {} did not take place", stored.run.as_of);
        events.push(told.run_event(EventType::Abort, closed_at, Some(why)));
    }
    // By time; what happens at the same time stays in its order. The start of the run stays first and its end last: work
    // that was done for the run before its portfolios may have begun a moment earlier.
    let last = events.len() - usize::from(stored.run.closed_at.is_some());
    if let Some(jobs) = events.get_mut(1..last) {
        jobs.sort_by_key(|event| event.event_time);
    }
    events
}

/// The id of the OpenLineage run of one job of one portfolio.
#[must_use]
pub fn job_run_id(run: RunId, portfolio: &PortfolioId, job: &JobName) -> Uuid {
    Uuid::new_v5(&run.0, format!("{portfolio}/{job}").as_bytes())
}

struct Told<'a> {
    stored: &'a StoredRun,
    namespace: &'a str,
}

impl Told<'_> {
    fn schedule(&self) -> &ScheduleName {
        &self.stored.run.schedule
    }

    fn plan(&self) -> Option<&SealedPlan> {
        self.stored.run.plan.as_ref()
    }

    fn dataset(&self, name: String) -> Dataset {
        Dataset::new(self.namespace, name)
    }

    fn run_event(&self, kind: EventType, at: DateTime<Utc>, why: Option<String>) -> RunEvent {
        let run = &self.stored.run;
        let mut facets = Facets::default().nominal_time(run.scheduled_for).engine();
        if let Some(why) = why {
            facets = facets.error(&why, &[]);
        }
        let inputs = self.plan().map(|plan| {
            let book = self.dataset(format!("{}.book", self.schedule())).version(plan.book.as_str());
            [book, self.market_data(plan)]
        });
        RunEvent {
            event_type: kind,
            event_time: at,
            run: Run { run_id: run.batch_run_id.0, facets: facets.done() },
            job: Job::new(self.namespace, self.schedule().to_string(), "BATCH"),
            inputs: inputs.into_iter().flatten().collect(),
            outputs: Vec::new(),
            ..RunEvent::blank()
        }
    }

    fn market_data(&self, plan: &SealedPlan) -> Dataset {
        self.dataset(format!("{}.market_snapshot", self.schedule())).version(plan.snapshot.as_str())
    }

    /// The first event of a job, and its last if it has ended.
    fn job_events(&self, record: &JobRecord) -> Vec<RunEvent> {
        let run = &self.stored.run;
        // A job that never began is told of when the run was closed: it has no time of its own.
        let ended = record.completed_at.or(run.closed_at);
        let started = record.started_at.or(ended);
        let (kind, why) = match record.status {
            JobStatus::Pending => return Vec::new(),
            JobStatus::Running => (None, None),
            JobStatus::Success => (Some(EventType::Complete), None),
            JobStatus::Failed => (Some(EventType::Fail), record.error.as_ref().map(|error| error.message.clone())),
            JobStatus::Skipped => {
                let because = record.skipped_because.as_ref();
                let why = because.map(|because| format!("skipped because of {}: {}", because.job, because.reason));
                (Some(EventType::Abort), why)
            }
            JobStatus::Missing => (Some(EventType::Fail), Some("the job should have a record and has none".to_owned())),
        };
        let start = started.map(|at| self.job_event(record, EventType::Start, at, None));
        let end = kind.zip(ended).map(|(kind, at)| self.job_event(record, kind, at, why));
        start.into_iter().chain(end).collect()
    }

    fn job_event(&self, record: &JobRecord, kind: EventType, at: DateTime<Utc>, why: Option<String>) -> RunEvent {
        let run = &self.stored.run;
        let schedule = self.schedule();
        let mut facets = Facets::default().nominal_time(run.scheduled_for).engine().parent(
            run.batch_run_id,
            self.namespace,
            schedule.as_str(),
        );
        if let Some(why) = why {
            facets = facets.error(&why, record.error.as_ref().map_or(&[][..], |error| &error.chain));
        }
        let (portfolio, job) = (&record.portfolio_id, &record.job_name);
        let input = self.plan().map(|plan| {
            let input = self.market_data(plan);
            record
                .quality
                .as_ref()
                .filter(|_| kind != EventType::Start)
                .map_or(input.clone(), |quality| told(input, quality))
        });
        let output = (kind == EventType::Complete).then(|| {
            let results = self.dataset(format!("{schedule}.{portfolio}.{job}"));
            results.output_facet(
                "outputStatistics",
                facets::OUTPUT_STATISTICS,
                json!({"rowCount": record.records_processed}),
            )
        });
        RunEvent {
            event_type: kind,
            event_time: at,
            run: Run { run_id: job_run_id(run.batch_run_id, portfolio, job), facets: facets.done() },
            job: Job::new(self.namespace, format!("{schedule}.{portfolio}.{job}"), "JOB"),
            inputs: input.into_iter().collect(),
            outputs: output.into_iter().collect(),
            ..RunEvent::blank()
        }
    }
}

/// An input with what is known of its quality.
fn told(input: Dataset, quality: &Quality) -> Dataset {
    let count = |n: u32| json!({"count": n});
    let metrics = json!({
        "rowCount": quality.data_days,
        "columnMetrics": {
            "data_days": count(quality.data_days),
            "positions": {"count": quality.positions_processed, "nullCount": quality.positions_total.saturating_sub(quality.positions_processed)},
        },
    });
    let mut assertions = vec![json!({"assertion": "the data is full", "success": quality.flag == QualityFlag::Full})];
    for symbol in &quality.symbols_missing {
        assertions.push(json!({"assertion": "the symbol has prices", "success": false, "column": symbol}));
    }
    input.input_facet("dataQualityMetrics", facets::QUALITY_METRICS, metrics).input_facet(
        "dataQualityAssertions",
        facets::QUALITY_ASSERTIONS,
        json!({ "assertions": assertions }),
    )
}

#[cfg(test)]
mod tests;
