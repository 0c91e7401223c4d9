//! Runs as the tests of this crate and the conformance suite make them.

use super::*;
use crate::ids::{ContentHash, JobName};
use crate::job::{JobSpec, RUN_LEVEL_JOB};
use crate::record::JobError;
use crate::retry::RetryPolicy;
use crate::words::{ErrorCategory, JobType};
use chrono::TimeZone;
use uuid::Uuid;

/// 2026-11-24 23:30 UTC and some seconds.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 24, 23, 30, 0).single().unwrap_or_default() + chrono::Duration::seconds(seconds)
}

pub(crate) fn owner(n: u128) -> Owner {
    Owner(Uuid::from_u128(n))
}

/// A run in planning by owner 1, with a lease of 60 seconds.
pub(crate) fn planning(id: u128) -> Run {
    let start = StartRun {
        id: RunId(Uuid::from_u128(id)),
        schedule: ScheduleName::new("nightly").unwrap_or_else(|_| unreachable!("a valid name")),
        night_series: ScheduleName::new("nightly").unwrap_or_else(|_| unreachable!("a valid name")),
        trigger: "manual".into(),
        as_of: NaiveDate::from_ymd_opt(2026, 11, 24).unwrap_or_default(),
        scheduled_for: at(0),
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: DEFAULT_DEADLINE_MINUTES,
    };
    start.planning(owner(1), at(1), at(60))
}

/// A run whose slot passed.
pub(crate) fn missed_run(id: u128) -> Run {
    Run { phase: RunPhase::Missed, closed_at: Some(at(1)), trigger: "schedule".into(), ..planning(id) }
}

/// What is recorded where the inputs cannot be read.
pub(crate) fn unreadable() -> RecordedError {
    let job = JobName::new(RUN_LEVEL_JOB).unwrap_or_else(|_| unreachable!("a valid name"));
    JobError::new(ErrorCategory::Permanent, "positions.csv:39: quantity is not a number").recorded(&job, &[])
}

/// A plan of so many portfolios and the two jobs `first` (critical) and `second`.
pub(crate) fn plan(epoch: u32, portfolios: u32) -> SealedPlan {
    let name = |text: &str| JobName::new(text).unwrap_or_else(|_| unreachable!("a valid name"));
    SealedPlan {
        epoch,
        portfolios,
        jobs: vec![
            JobSpec {
                name: name("first"),
                job_type: JobType::MarketData,
                critical: true,
                needs: vec![],
                run_level: true,
                time_limit_seconds: 300,
            },
            JobSpec {
                name: name("second"),
                job_type: JobType::Valuation,
                critical: false,
                needs: vec![name("first")],
                run_level: false,
                time_limit_seconds: 300,
            },
        ],
        retry: RetryPolicy::default(),
        book: ContentHash::of(b"book"),
        snapshot: ContentHash::of(b"snapshot"),
        market_data: RunLevelWork {
            attempts: 1,
            started_at: at(1),
            completed_at: at(2),
            error: None,
            metadata: serde_json::Map::new(),
            quality: None,
        },
        night: None,
        sealed_at: at(2),
        deadline: at(7202),
    }
}
