use std::collections::{BTreeMap, BTreeSet};

use chrono::{TimeDelta, TimeZone as _};
use domain::ids::ContentHash;
use domain::job::JobSpec;
use domain::record::{JobError, SkippedBecause};
use domain::retry::RetryPolicy;
use domain::run::{Run as BatchRun, RunLevelWork, RunPhase};
use domain::summary::summarise;
use domain::words::{ErrorCategory, JobType};

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 24, 23, 30, 0).unwrap() + TimeDelta::seconds(seconds)
}

fn name(text: &str) -> JobName {
    JobName::new(text).unwrap()
}

fn run() -> BatchRun {
    let spec = |job: &str, needs: &[&str]| JobSpec {
        name: name(job),
        job_type: JobType::RiskMetrics,
        critical: false,
        needs: needs.iter().map(|need| name(need)).collect(),
        run_level: false,
        time_limit_seconds: 60,
    };
    let plan = SealedPlan {
        night: None,
        epoch: 1,
        portfolios: 1,
        jobs: vec![spec("a", &[]), spec("b", &["a"]), spec("c", &["b"]), spec("d", &[])],
        retry: RetryPolicy::default(),
        book: ContentHash::of(b"book"),
        snapshot: ContentHash::of(b"snapshot"),
        market_data: RunLevelWork {
            attempts: 1,
            started_at: at(0),
            completed_at: at(1),
            error: None,
            metadata: serde_json::Map::new(),
            quality: None,
        },
        sealed_at: at(1),
        deadline: at(7_200),
    };
    let start = domain::start_run::StartRun {
        id: RunId(Uuid::from_u128(7)),
        night_series: ScheduleName::new("nightly").unwrap(),
        schedule: ScheduleName::new("nightly").unwrap(),
        trigger: "schedule".into(),
        as_of: "2026-11-24".parse().unwrap(),
        scheduled_for: at(0),
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    BatchRun {
        close_epoch: 1,
        plan: Some(plan),
        closed_at: Some(at(60)),
        ..BatchRun::new(&start, RunPhase::Closed, at(1))
    }
}

/// Records of a portfolio: a success on limited data, a failure, what it skipped, and nothing of the last.
fn records(run: &BatchRun) -> Vec<JobRecord> {
    let portfolio = PortfolioId::new("growth").unwrap();
    let statuses = [JobStatus::Success, JobStatus::Failed, JobStatus::Skipped, JobStatus::Missing];
    let jobs = &run.plan.as_ref().unwrap().jobs;
    jobs.iter()
        .zip(statuses)
        .zip(0..)
        .map(|((job, status), place)| {
            let mut record = JobRecord::blank(run.batch_run_id, &portfolio, "Growth", job, status);
            if matches!(status, JobStatus::Success | JobStatus::Failed) {
                record.started_at = Some(at(2 + place));
                record.completed_at = Some(at(10 + place));
            }
            match status {
                JobStatus::Success => {
                    record.records_processed = 75;
                    record.quality = Some(Quality {
                        flag: QualityFlag::Limited,
                        data_days: 200,
                        required_days: 252,
                        positions_processed: 74,
                        positions_total: 75,
                        symbols_missing: vec!["SNOW".into()],
                        notes: Vec::new(),
                    });
                }
                JobStatus::Failed => {
                    let error = JobError::new(ErrorCategory::Permanent, "no usable equity");
                    record.error = Some(error.recorded(&job.name, &[]));
                }
                JobStatus::Skipped => {
                    record.skipped_because =
                        Some(SkippedBecause { job: name("b"), reason: "it needs b, which did not succeed".into() });
                }
                _ => {}
            }
            record
        })
        .collect()
}

fn closed() -> (StoredRun, Vec<JobRecord>) {
    let run = run();
    let summary = Some(summarise(&run, &[], &BTreeMap::new()));
    let records = records(&run);
    (StoredRun { run, summary }, records)
}

#[test]
fn events_of_a_run_with_every_outcome() {
    let (stored, records) = closed();
    insta::assert_json_snapshot!(events(&stored, &records, "nightbook"));
}

#[test]
fn every_run_begins_once_and_ends_once_and_never_before_it_began() {
    let (stored, records) = closed();
    let all = events(&stored, &records, "nightbook");
    assert!(all[1..].iter().all(|event| event.event_time >= all[0].event_time || event.event_type != EventType::Start));
    let ids: BTreeSet<Uuid> = all.iter().map(|event| event.run.run_id).collect();
    assert_eq!(ids.len(), 1 + records.len());
    for id in ids {
        let of: Vec<&RunEvent> = all.iter().filter(|event| event.run.run_id == id).collect();
        let [first, last] = &of[..] else { panic!("{} events of {id}", of.len()) };
        assert_eq!((first.event_type, last.event_type == EventType::Start), (EventType::Start, false));
        assert!(first.event_time <= last.event_time);
        assert_eq!((&first.job, first.run.facets.get("parent")), (&last.job, last.run.facets.get("parent")));
    }
    assert_eq!(all.last().unwrap().run.run_id, stored.run.batch_run_id.0);
}

#[test]
fn what_has_not_ended_has_no_last_event() {
    let (mut stored, mut records) = closed();
    stored.summary = None;
    stored.run.closed_at = None;
    stored.run.phase = RunPhase::Running;
    records[0].status = JobStatus::Running;
    records[0].completed_at = None;
    for record in &mut records[1..] {
        record.status = JobStatus::Pending;
    }
    let kinds: Vec<EventType> = events(&stored, &records, "n").iter().map(|event| event.event_type).collect();
    assert_eq!(kinds, [EventType::Start, EventType::Start]);
}

#[test]
fn a_missed_slot_is_an_abort() {
    let (mut stored, _) = closed();
    stored.summary = None;
    stored.run.plan = None;
    stored.run.phase = RunPhase::Missed;
    let all = events(&stored, &[], "n");
    assert_eq!(all.last().unwrap().event_type, EventType::Abort);
}
