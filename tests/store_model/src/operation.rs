//! The operations, small numbers that stand for runs, portfolios, times and outcomes, so that sequences shrink well.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::alert::{AlertAbout, AlertEvent};
use domain::ids::{ContentHash, JobName, Owner, PortfolioId, RunId, ScheduleName};
use domain::job::JobSpec;
use domain::record::{JobError, JobRecord, RecordedError};
use domain::retry::RetryPolicy;
use domain::run::{AbandonReason, PagesThere, Publication, Run, RunEvent, RunLevelWork, RunPhase, SealedPlan};
use domain::words::{ErrorCategory, JobStatus, JobType};
use domain::work_item::{GiveUp, ItemEvent, ItemKey, Place, WorkItem};
use proptest::prelude::*;
use uuid::Uuid;

/// Portfolios of each run.
pub const PORTFOLIOS: u32 = 3;

/// Runs.
pub const RUNS: u8 = 4;

/// One call of a store.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Create a run, planned or missed.
    Create(u8, bool),
    /// An event of a run.
    Run(u8, RunEvent),
    /// An event of an item.
    Item(u8, u32, ItemEvent),
    /// Count an item.
    Fold(u8, u32),
    /// Mark the bucket full.
    MarkFull(u8),
    /// Write the summary of what is there.
    Summary(u8),
    /// An event of the alert.
    Alert(u8, AlertEvent),
    /// Close the store and open it again.
    Reopen,
}

/// The instant of a small number.
#[must_use]
pub fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap_or_default() + TimeDelta::minutes(minutes)
}

pub(crate) fn owner(who: u8) -> Owner {
    Owner(Uuid::from_u128(u128::from(who) + 1))
}

/// The id of a run.
#[must_use]
pub fn run_id(run: u8) -> RunId {
    RunId(Uuid::from_u128(u128::from(run) + 100))
}

/// The key of an item.
#[must_use]
pub fn key(run: u8, portfolio: u32) -> ItemKey {
    ItemKey { run: run_id(run), portfolio: portfolio_id(portfolio) }
}

/// The id of a portfolio.
#[must_use]
pub fn portfolio_id(portfolio: u32) -> PortfolioId {
    PortfolioId::new(format!("p{portfolio}")).unwrap_or_else(|_| unreachable!("a valid id"))
}

/// The place of a portfolio.
#[must_use]
pub const fn place(portfolio: u32) -> Place {
    Place { bucket: 0, index: portfolio }
}

/// The jobs of every run.
#[must_use]
pub fn jobs() -> Vec<JobSpec> {
    ["first", "second"]
        .map(|name| JobSpec {
            name: JobName::new(name).unwrap_or_else(|_| unreachable!("a valid name")),
            job_type: JobType::Valuation,
            critical: false,
            needs: Vec::new(),
            run_level: false,
            time_limit_seconds: 60,
        })
        .to_vec()
}

/// A run as it is created: two of the four stand for the same trading date, one repeats another.
#[must_use]
pub fn created(run: u8, missed: bool) -> Run {
    let day = i64::from(run / 2);
    let started_at = at(day * 1_440 + i64::from(run));
    let start = domain::start_run::StartRun {
        id: run_id(run),
        night_series: ScheduleName::new("nightly").unwrap_or_else(|_| unreachable!("a valid name")),
        schedule: ScheduleName::new("nightly").unwrap_or_else(|_| unreachable!("a valid name")),
        trigger: "schedule".into(),
        as_of: NaiveDate::from_ymd_opt(2026, 11, 30).unwrap_or_default() + TimeDelta::days(day),
        scheduled_for: at(day * 1_440),
        rerun_of: (run == 1).then(|| run_id(0)),
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    Run {
        plan_epoch: u32::from(!missed),
        closed_at: missed.then_some(started_at),
        ..Run::new(
            &start,
            if missed {
                RunPhase::Missed
            } else {
                RunPhase::Planning { owner: owner(0), lease_until: at(day * 1_440 + 5) }
            },
            started_at,
        )
    }
}

pub(crate) fn plan(epoch: u32) -> SealedPlan {
    SealedPlan {
        night: None,
        epoch,
        portfolios: PORTFOLIOS,
        jobs: jobs(),
        retry: RetryPolicy::default(),
        book: ContentHash::of(b"book"),
        snapshot: ContentHash::of(b"snapshot"),
        market_data: RunLevelWork {
            attempts: 1,
            started_at: at(0),
            completed_at: at(0),
            error: None,
            metadata: serde_json::Map::new(),
            quality: None,
        },
        sealed_at: at(1),
        deadline: at(9_999),
    }
}

/// Records of an item whose jobs ended so: well, or with one of two causes.
#[must_use]
pub fn records(run: u8, portfolio: u32, outcomes: [u8; 2]) -> Vec<JobRecord> {
    let item = WorkItem::untouched(key(run, portfolio), "P".into(), place(portfolio));
    jobs()
        .iter()
        .zip(outcomes)
        .map(|(job, outcome)| {
            let status = if outcome == 0 { JobStatus::Success } else { JobStatus::Failed };
            let mut record = JobRecord::blank(item.key.run, &item.key.portfolio, "P", job, status);
            record.attempt = 1;
            record.duration_seconds = Some(f64::from(outcome));
            if outcome > 0 {
                let cause = ["disk", "network"][usize::from(outcome - 1)];
                record.error = Some(
                    JobError::new(ErrorCategory::Permanent, format!("the {cause} failed")).recorded(&job.name, &[]),
                );
            }
            record
        })
        .collect()
}

fn unreadable() -> RecordedError {
    JobError::new(ErrorCategory::Permanent, "positions.csv cannot be read").recorded(&jobs()[0].name, &[])
}

fn run_event() -> impl Strategy<Value = RunEvent> {
    let when = 0i64..3_000;
    prop_oneof![
        1 => (0u8..3, when.clone()).prop_map(|(who, n)| RunEvent::TakeOverPlan {
            owner: owner(who),
            now: at(n),
            lease_until: at(n + 5)
        }),
        4 => (1u32..3).prop_map(|epoch| RunEvent::Seal { plan: Box::new(plan(epoch)) }),
        1 => when.clone().prop_map(|n| RunEvent::Cancel { now: at(n) }),
        1 => when.clone().prop_map(|n| RunEvent::AbandonPlan {
            now: at(n),
            reason: AbandonReason::Inputs { error: unreadable() },
        }),
        1 => (1u32..3, when.clone()).prop_map(|(epoch, n)| RunEvent::ReleasePlan { epoch, now: at(n), error: unreadable() }),
        3 => (0u8..3, when.clone()).prop_map(|(who, n)| RunEvent::ClaimClose {
            owner: owner(who),
            now: at(n),
            lease_until: at(n + 5)
        }),
        2 => (1u32..3).prop_map(|epoch| RunEvent::Close { epoch }),
        1 => when.clone().prop_map(|n| RunEvent::VoidLease { now: at(n) }),
        1 => when.clone().prop_map(|n| RunEvent::PagesWritten { pages: PagesThere::Run, now: at(n) }),
        1 => when.clone().prop_map(|n| RunEvent::Publish { publication: Publication::Failed { at: at(n), error: "disk".into() }, plan_epoch: 1 }),
        1 => (when.clone(), 0u32..2).prop_map(|(n, plan_epoch)| RunEvent::SpreadPages { now: at(n), files_written: 1, plan_epoch }),
        1 => (0u32..2).prop_map(|bucket| RunEvent::BucketWritten { bucket, files_written: 2, plan_epoch: 1 }),
        2 => when.prop_map(|n| RunEvent::Publish { publication: Publication::Published { at: at(n), files_written: 3 }, plan_epoch: 1 }),
    ]
}

fn item_event(run: u8, portfolio: u32) -> impl Strategy<Value = ItemEvent> {
    let when = 0i64..3_000;
    prop_oneof![
        3 => (0u8..3, when.clone()).prop_map(|(who, n)| ItemEvent::Claim { owner: owner(who), now: at(n), lease_until: at(n + 2) }),
        1 => (0u8..3, 1u32..4, when.clone()).prop_map(move |(who, attempt, n)| ItemEvent::Heartbeat {
            owner: owner(who),
            attempt,
            now: at(n),
            lease_until: at(n + 2),
            in_hand: None,
            records: records(run, portfolio, [0, 0])[..1].to_vec(),
        }),
        1 => (0u8..3, 1u32..4).prop_map(|(who, attempt)| ItemEvent::GiveBack { owner: owner(who), attempt }),
        4 => (0u8..3, 1u32..4, when.clone(), [0u8..3, 0u8..3]).prop_map(move |(who, attempt, n, outcomes)| {
            ItemEvent::Finish {
                owner: owner(who),
                attempt,
                now: at(n),
                records: records(run, portfolio, outcomes),
                results: None,
            }
        }),
        1 => when.prop_map(|n| ItemEvent::Settle { why: GiveUp::TimedOut, now: at(n) }),
        1 => Just(ItemEvent::VoidLease),
    ]
}

fn alert_event() -> impl Strategy<Value = AlertEvent> {
    let when = 0i64..3_000;
    let about = prop_oneof![1 => Just(AlertAbout::Missed), 3 => Just(AlertAbout::Run)];
    prop_oneof![
        2 => (0u8..2, when.clone(), about).prop_map(|(who, n, about)| AlertEvent::Claim {
            owner: owner(who), now: at(n), lease_until: at(n + 2), about
        }),
        2 => (0u8..2, when).prop_map(|(who, n)| AlertEvent::Sent { owner: owner(who), now: at(n) }),
        1 => (0u8..2).prop_map(|who| AlertEvent::GiveBack { owner: owner(who) }),
    ]
}

/// Any operation.
pub fn any_operation() -> impl Strategy<Value = Operation> {
    let run = 0..RUNS;
    prop_oneof![
        3 => (run.clone(), prop::bool::weighted(0.2)).prop_map(|(run, missed)| Operation::Create(run, missed)),
        5 => (run.clone(), run_event()).prop_map(|(run, event)| Operation::Run(run, event)),
        8 => (run.clone(), 0..PORTFOLIOS)
            .prop_flat_map(|(run, portfolio)| item_event(run, portfolio).prop_map(move |event| Operation::Item(run, portfolio, event))),
        3 => (run.clone(), 0..PORTFOLIOS).prop_map(|(run, portfolio)| Operation::Fold(run, portfolio)),
        1 => run.clone().prop_map(Operation::MarkFull),
        2 => run.clone().prop_map(Operation::Summary),
        2 => (run, alert_event()).prop_map(|(run, event)| Operation::Alert(run, event)),
        1 => Just(Operation::Reopen),
    ]
}
