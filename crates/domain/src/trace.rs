//! Traces of a run that has ended: a trace of the run, and one of each portfolio, linked to it.
//!
//! They are made from the records, so they say what the logs and the pages say, with the same names of fields. All ids are
//! derived from the ids of run and portfolio: whoever works on a portfolio knows its trace from the message alone, and what
//! is told twice is one trace. The form is that of OTLP over HTTP (JSON).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::{JobName, RunId};
use crate::record::JobRecord;
use crate::run::Run;
use crate::summary::{RunSummary, complete_records};
use crate::words::{JobStatus, RunStatus};
use crate::work_item::{ItemKey, WorkItem};

/// A span by its ids, as others refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    trace: [u8; 16],
    span: [u8; 8],
}

impl SpanContext {
    fn new(trace: Uuid, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(trace.as_bytes());
        hash.update(name);
        let mut span = [0; 8];
        span.copy_from_slice(&hash.finalize()[..8]);
        // An id of zeros means none.
        span[7] |= 1;
        Self { trace: trace.into_bytes(), span }
    }

    /// The span of a run: its trace has the id of the run.
    #[must_use]
    pub fn of_run(run: RunId) -> Self {
        Self::new(run.0, "run")
    }

    /// The span of a portfolio in a run, which is the root of a trace of its own.
    #[must_use]
    pub fn of_portfolio(key: &ItemKey) -> Self {
        Self::new(portfolio_trace(key), "portfolio")
    }

    /// The span of a job of a portfolio in a run.
    #[must_use]
    pub fn of_job(key: &ItemKey, job: &JobName) -> Self {
        Self::new(portfolio_trace(key), &format!("job {job}"))
    }

    /// As a header or an attribute of a message carries it (W3C Trace Context).
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id(), self.span_id())
    }

    /// The id of the trace, in hexadecimal.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }

    /// The id of the span, in hexadecimal.
    #[must_use]
    pub fn span_id(&self) -> String {
        hex::encode(self.span)
    }
}

fn portfolio_trace(key: &ItemKey) -> Uuid {
    Uuid::new_v5(&key.run.0, format!("portfolio {}", key.portfolio).as_bytes())
}

/// Attributes: a name and its value; null ones are left out.
fn attributes(pairs: &[(&str, Value)]) -> Value {
    let value = |value: &Value| match value {
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        // Whole numbers are texts, so that no reader rounds them.
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Bool(flag) => json!({ "boolValue": flag }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    };
    let given = pairs.iter().filter(|(_, given)| !given.is_null());
    Value::Array(given.map(|(name, given)| json!({ "key": name, "value": value(given) })).collect())
}

fn nanos(at: DateTime<Utc>) -> String {
    at.timestamp_nanos_opt().unwrap_or_default().max(0).to_string()
}

const OK: u8 = 1;
const ERROR: u8 = 2;

/// A span, ended.
struct Ended<'a> {
    context: SpanContext,
    parent: Option<SpanContext>,
    name: String,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    attributes: Value,
    /// What went wrong; none where nothing did.
    error: Option<&'a str>,
}

impl Ended<'_> {
    fn json(&self) -> Value {
        let status = match self.error {
            None => json!({ "code": OK }),
            Some(message) => json!({ "code": ERROR, "message": message }),
        };
        let mut span = json!({
            "traceId": self.context.trace_id(),
            "spanId": self.context.span_id(),
            "name": self.name,
            "kind": 1,
            "startTimeUnixNano": nanos(self.from),
            "endTimeUnixNano": nanos(self.to.max(self.from)),
            "attributes": self.attributes,
            "status": status,
        });
        if let Some(parent) = &self.parent {
            span["parentSpanId"] = parent.span_id().into();
        }
        span
    }
}

/// The spans of a run that has ended: the run, and the work that was done once for it.
#[must_use]
pub fn run_spans(run: &Run, summary: &RunSummary) -> Vec<Value> {
    let root = SpanContext::of_run(run.batch_run_id);
    let end = summary.closed_at.unwrap_or(run.started_at);
    let verdict = summary.verdict();
    let fields = [
        ("batch_run_id", run.batch_run_id.to_string().into()),
        ("schedule", run.schedule.as_str().into()),
        ("trigger", run.trigger.as_str().into()),
        ("as_of", run.as_of.to_string().into()),
        ("status", summary.status.as_str().into()),
        ("rerun_of", run.rerun_of.map(|of| of.to_string()).into()),
        ("portfolios", summary.portfolios_expected.into()),
        ("total_jobs", summary.total_jobs.into()),
        ("successful_jobs", summary.successful_jobs.into()),
        ("failed_jobs", summary.failed_jobs.into()),
        ("skipped_jobs", summary.skipped_jobs.into()),
        ("missing_jobs", summary.missing_jobs.into()),
    ];
    let whole = Ended {
        context: root,
        parent: None,
        name: format!("run {}", run.schedule),
        from: run.started_at,
        to: end,
        attributes: attributes(&fields),
        error: (summary.status != RunStatus::Success).then_some(verdict.as_str()),
    };
    let mut spans = vec![whole.json()];
    if let Some(plan) = &run.plan {
        let inner = |name: &str, from, to, fields: &[(&str, Value)], error| Ended {
            context: SpanContext::new(run.batch_run_id.0, name),
            parent: Some(root),
            name: name.to_owned(),
            from,
            to,
            attributes: attributes(fields),
            error,
        };
        let work = &plan.market_data;
        let failed = work.error.as_ref().map(|error| error.message.as_str());
        let attempts = [("attempt", work.attempts.into())];
        spans.push(inner("plan", run.started_at, plan.sealed_at, &[], None).json());
        spans.push(inner("market data", work.started_at, work.completed_at, &attempts, failed).json());
    }
    spans
}

/// The spans of a portfolio in a run that has ended: the portfolio, linked to the run, and each job that ran for it. What
/// was done once for the run is in the trace of the run.
#[must_use]
pub fn portfolio_spans(run: &Run, summary: &RunSummary, item: &WorkItem) -> Vec<Value> {
    let jobs = run.plan.as_ref().map_or(&[][..], |plan| &plan.jobs);
    let records = complete_records(item, jobs);
    let own = |record: &&JobRecord| !jobs.iter().any(|job| job.run_level && job.name == record.job_name);
    let timed: Vec<(&JobRecord, DateTime<Utc>, DateTime<Utc>)> = records
        .iter()
        .filter(own)
        .filter(|record| matches!(record.status, JobStatus::Success | JobStatus::Failed))
        .filter_map(|record| Some((record, record.started_at?, record.completed_at?)))
        .collect();
    let closed = summary.closed_at.unwrap_or(run.started_at);
    let from = timed.iter().map(|(_, from, _)| *from).min().unwrap_or(closed);
    let to = timed.iter().map(|(.., to)| *to).max().unwrap_or(closed);
    let count = |status: JobStatus| records.iter().filter(|record| record.status == status).count();
    let whole = count(JobStatus::Success) == records.len();
    let root = SpanContext::of_portfolio(&item.key);
    let told = format!("{} of {} jobs succeeded", count(JobStatus::Success), records.len());
    let fields = [
        ("batch_run_id", run.batch_run_id.to_string().into()),
        ("portfolio_id", item.key.portfolio.as_str().into()),
        ("as_of", run.as_of.to_string().into()),
        ("state", item.state.as_str().into()),
        ("attempt", item.attempt.into()),
        ("successful_jobs", count(JobStatus::Success).into()),
        ("failed_jobs", count(JobStatus::Failed).into()),
        ("skipped_jobs", count(JobStatus::Skipped).into()),
        ("missing_jobs", count(JobStatus::Missing).into()),
    ];
    let portfolio = Ended {
        context: root,
        parent: None,
        name: "portfolio".to_owned(),
        from,
        to,
        attributes: attributes(&fields),
        error: (!whole).then_some(told.as_str()),
    };
    let mut spans = vec![portfolio.json()];
    let of_run = SpanContext::of_run(run.batch_run_id);
    spans[0]["links"] = json!([{
        "traceId": of_run.trace_id(),
        "spanId": of_run.span_id(),
        "attributes": attributes(&[("batch_run_id", run.batch_run_id.to_string().into())]),
    }]);
    for (record, from, to) in timed {
        let error = record.error.as_ref();
        let fields = [
            ("batch_run_id", run.batch_run_id.to_string().into()),
            ("portfolio_id", item.key.portfolio.as_str().into()),
            ("job_name", record.job_name.as_str().into()),
            ("job_type", record.job_type.as_str().into()),
            ("status", record.status.as_str().into()),
            ("attempt", record.attempt.into()),
            ("records_processed", record.records_processed.into()),
            ("category", error.map(|error| error.category.as_str()).into()),
            ("fingerprint", error.map(|error| error.fingerprint.as_str()).into()),
        ];
        let job = Ended {
            context: SpanContext::of_job(&item.key, &record.job_name),
            parent: Some(root),
            name: record.job_name.to_string(),
            from,
            to,
            attributes: attributes(&fields),
            error: error.map(|error| error.message.as_str()),
        };
        spans.push(job.json());
    }
    spans
}

/// The body of a request to `/v1/traces`.
#[must_use]
pub fn otlp_body(service: &str, version: &str, spans: Vec<Value>) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&[("service.name", service.into()), ("service.version", version.into())]) },
        "scopeSpans": [{ "scope": { "name": "nightbook", "version": version }, "spans": spans }],
    }]})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::run::samples::{at, plan, planning};
    use crate::summary::summarise;
    use crate::work_item::ItemState;
    use crate::work_item::samples::item;

    #[test]
    fn ids_follow_from_run_and_portfolio_and_are_of_the_right_form() {
        let run = planning(1).batch_run_id;
        let key = item(1, "a", 0, 0).key;
        assert_eq!(
            SpanContext::of_run(run).trace_id(),
            run.0.simple().to_string(),
            "the trace of a run is found by its id"
        );
        let (portfolio, job) =
            (SpanContext::of_portfolio(&key), SpanContext::of_job(&key, &JobName::new("first").unwrap()));
        assert_eq!(portfolio.trace_id(), job.trace_id());
        assert_ne!(portfolio.span_id(), job.span_id());
        let parent = portfolio.traceparent();
        assert_eq!((parent.len(), &parent[..3], &parent[52..]), (55, "00-", "-01"), "{parent}");
    }

    #[test]
    fn a_portfolio_is_a_trace_with_a_span_for_each_of_its_jobs_and_a_link_to_the_run() {
        let mut run = planning(1);
        run.plan = Some(plan(1, 1));
        let mut item = item(1, "a", 0, 0);
        item.state = ItemState::Done;
        let jobs = run.plan.as_ref().unwrap().jobs.clone();
        item.records = jobs
            .iter()
            .map(|job| {
                let mut record = JobRecord::blank(run.batch_run_id, &item.key.portfolio, "A", job, JobStatus::Success);
                record.started_at = Some(at(10));
                record.completed_at = Some(at(12));
                record
            })
            .collect();
        let summary = summarise(&run, &[item.clone()], &BTreeMap::new());
        let spans = portfolio_spans(&run, &summary, &item);
        assert_eq!(spans.len(), 2, "the first job is done once for the run: {spans:?}");
        let of_run = run_spans(&run, &summary);
        assert_eq!(of_run.len(), 3);
        assert_eq!(spans[0]["links"][0]["spanId"], of_run[0]["spanId"]);
        assert_eq!(spans[0]["links"][0]["traceId"], of_run[0]["traceId"]);
        assert_eq!((&spans[1]["parentSpanId"], &spans[1]["traceId"]), (&spans[0]["spanId"], &spans[0]["traceId"]));
        assert_eq!(spans[1]["startTimeUnixNano"], nanos(at(10)));
        assert_eq!(spans[1]["status"]["code"], OK);
    }
}
