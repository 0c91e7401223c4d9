//! The rows of the store, small enough to be counted, and their changes by the state machines of the product.
//!
//! Time is abstract: a lease is good or has passed. Every change goes through [`Run::next`], [`WorkItem::next`],
//! [`Fold::count`] or [`AlertState::next`]; nothing is decided here.

use chrono::{DateTime, Utc};
use domain::alert::{AlertAbout, AlertEvent, AlertState};
use domain::fold::{Fold, FoldEntry, JobCounts};
use domain::ids::{ContentHash, JobName, Owner, PortfolioId, RunId, ScheduleName};
use domain::job::JobSpec;
use domain::record::JobRecord;
use domain::retry::RetryPolicy;
use domain::run::{AbandonReason, Abandoned, Run, RunEvent, RunLevelWork, RunPhase, SealedPlan};
use domain::start_run::StartRun;
use domain::words::{JobStatus, JobType};
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, ItemState, Place, WorkItem};
use uuid::Uuid;

/// Portfolios of the run.
pub const PORTFOLIOS: usize = 2;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
}

/// The instant at which everything happens.
pub(crate) fn now() -> DateTime<Utc> {
    at(1_000)
}

/// The end of a lease that is good, or has passed.
pub(crate) fn lease(good: bool) -> DateTime<Utc> {
    at(if good { 2_000 } else { 500 })
}

pub(crate) fn owner(who: u8) -> Owner {
    Owner(Uuid::from_u128(u128::from(who) + 1))
}

fn who(owner: Owner) -> u8 {
    u8::try_from(owner.0.as_u128().saturating_sub(1)).unwrap_or(u8::MAX)
}

fn name<T>(made: Result<T, impl std::fmt::Debug>) -> T {
    made.unwrap_or_else(|error| unreachable!("a valid name: {error:?}"))
}

fn job() -> JobSpec {
    JobSpec {
        name: name(JobName::new("job")),
        job_type: JobType::Valuation,
        critical: false,
        needs: Vec::new(),
        run_level: false,
        time_limit_seconds: 60,
    }
}

/// Where the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// By whom, and whether the lease is good.
    Planning(u8, bool),
    /// Sealed.
    Running,
    /// By whom, and whether the lease is good.
    Closing(u8, bool),
    /// For ever.
    Closed,
}

/// The run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunRow {
    /// Where it is.
    pub phase: Phase,
    /// Planners so far.
    pub plan_epoch: u8,
    /// Closers so far.
    pub close_epoch: u8,
    /// The epoch that was sealed, and whose list its planner read.
    pub sealed: Option<(u8, u8)>,
    /// Whether it ends without a plan.
    pub abandoned: bool,
}

pub(crate) fn plan(epoch: u8, list: u8) -> SealedPlan {
    SealedPlan {
        night: None,
        epoch: u32::from(epoch),
        portfolios: PORTFOLIOS as u32,
        jobs: vec![job()],
        retry: RetryPolicy::default(),
        book: ContentHash::of(&[list]),
        snapshot: ContentHash::of(b"snapshot"),
        market_data: RunLevelWork {
            attempts: 1,
            started_at: now(),
            completed_at: now(),
            error: None,
            metadata: serde_json::Map::new(),
            quality: None,
        },
        sealed_at: now(),
        deadline: lease(true),
    }
}

impl RunRow {
    fn whole(self) -> Run {
        let phase = match self.phase {
            Phase::Planning(by, good) => RunPhase::Planning { owner: owner(by), lease_until: lease(good) },
            Phase::Running => RunPhase::Running,
            Phase::Closing(by, good) => RunPhase::Closing { owner: owner(by), lease_until: lease(good) },
            Phase::Closed => RunPhase::Closed,
        };
        let start = StartRun {
            id: RunId(Uuid::nil()),
            night_series: name(ScheduleName::new("nightly")),
            schedule: name(ScheduleName::new("nightly")),
            trigger: "schedule".into(),
            as_of: now().date_naive(),
            scheduled_for: now(),
            rerun_of: None,
            repeat: 0,
            filter: Vec::new(),
            deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
        };
        Run {
            plan_epoch: u32::from(self.plan_epoch),
            close_epoch: u32::from(self.close_epoch),
            plan: self.sealed.map(|(epoch, list)| plan(epoch, list)),
            abandoned: self.abandoned.then(|| Abandoned { at: now(), reason: AbandonReason::Overdue }),
            ..Run::new(&start, phase, now())
        }
    }

    /// The run after an event; none where it is refused.
    pub(crate) fn next(self, event: &RunEvent) -> Option<Self> {
        let run = self.whole().next(event).ok()?;
        let good = |lease_until| lease_until >= now();
        let sealed = match event {
            RunEvent::Seal { plan } => {
                let list = (0..=u8::MAX).find(|list| ContentHash::of(&[*list]) == plan.book)?;
                Some((u8::try_from(plan.epoch).ok()?, list))
            }
            _ => self.sealed,
        };
        Some(Self {
            phase: match run.phase {
                RunPhase::Planning { owner, lease_until } => Phase::Planning(who(owner), good(lease_until)),
                RunPhase::Running => Phase::Running,
                RunPhase::Closing { owner, lease_until } => Phase::Closing(who(owner), good(lease_until)),
                RunPhase::Closed | RunPhase::Missed => Phase::Closed,
            },
            plan_epoch: u8::try_from(run.plan_epoch).ok()?,
            close_epoch: u8::try_from(run.close_epoch).ok()?,
            sealed,
            abandoned: run.abandoned.is_some(),
        })
    }
}

/// Where an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// Nobody works on it.
    Pending,
    /// Who, and whether the lease is good.
    Working(u8, bool),
    /// Ended by its worker, well or not.
    Done(bool),
    /// Ended by the watch.
    TimedOut,
}

/// A work item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemRow {
    /// Where it is.
    pub item: Item,
    /// Claims so far.
    pub attempt: u8,
}

impl ItemRow {
    pub(crate) const UNTOUCHED: Self = Self { item: Item::Pending, attempt: 0 };

    /// Whether it has ended.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self.item, Item::Done(_) | Item::TimedOut)
    }

    fn whole(self, index: usize) -> WorkItem {
        let key = ItemKey { run: RunId(Uuid::nil()), portfolio: name(PortfolioId::new(format!("p{index}"))) };
        let mut item = WorkItem::untouched(key, "P".into(), Place { bucket: 0, index: index as u32 });
        item.attempt = u32::from(self.attempt);
        item.counted_attempts = u32::from(self.attempt);
        item.state = match self.item {
            Item::Pending => ItemState::Pending,
            Item::Working(by, good) => ItemState::Working { owner: owner(by), lease_until: lease(good) },
            Item::Done(_) => ItemState::Done,
            Item::TimedOut => ItemState::TimedOut,
        };
        if let Item::Done(well) = self.item {
            item.records = records(&item, well);
        }
        item
    }

    /// The item after an event, or why it is refused.
    pub(crate) fn next(self, index: usize, event: &ItemEvent) -> Result<Self, ItemRefusal> {
        let item = self.whole(index).next(event)?;
        Ok(Self {
            item: match item.state {
                ItemState::Pending => Item::Pending,
                ItemState::Working { owner, lease_until } => Item::Working(who(owner), lease_until >= now()),
                ItemState::Done => Item::Done(item.records.iter().all(|record| record.status == JobStatus::Success)),
                ItemState::Lost | ItemState::TimedOut | ItemState::Cancelled => Item::TimedOut,
            },
            attempt: u8::try_from(item.attempt).unwrap_or(u8::MAX),
        })
    }

    pub(crate) fn finish(self, index: usize, by: u8, attempt: u8, well: bool) -> ItemEvent {
        let records = records(&self.whole(index), well);
        ItemEvent::Finish { owner: owner(by), attempt: u32::from(attempt), now: now(), records, results: None }
    }

    /// What the item adds to the fold, by its record.
    pub(crate) fn entry(self, index: usize) -> Option<FoldEntry> {
        FoldEntry::of(&self.whole(index), 1)
    }
}

fn records(item: &WorkItem, well: bool) -> Vec<JobRecord> {
    let status = if well { JobStatus::Success } else { JobStatus::Failed };
    vec![JobRecord::blank(item.key.run, &item.key.portfolio, "P", &job(), status)]
}

/// The fold of the one bucket: which places are counted, and what they add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FoldRow {
    /// Places, as bits.
    pub done: u8,
    /// Success, failed, missing.
    pub sums: [u8; 3],
}

impl FoldRow {
    pub(crate) fn counted(self) -> usize {
        self.done.count_ones() as usize
    }

    pub(crate) fn count(self, entry: &FoldEntry) -> Self {
        let mut fold = Fold::empty(0);
        fold.done = (0..PORTFOLIOS as u32).filter(|index| self.done & (1 << index) != 0).collect();
        let [success, failed, missing] = self.sums.map(u64::from);
        fold.jobs = JobCounts { success, failed, skipped: 0, missing };
        fold.count(entry);
        let sums = [fold.jobs.success, fold.jobs.failed, fold.jobs.missing];
        Self {
            done: fold.done.iter().fold(0, |bits, index| bits | 1 << index),
            sums: sums.map(|sum| u8::try_from(sum).unwrap_or(u8::MAX)),
        }
    }
}

/// The alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alert {
    /// Nobody has taken it.
    Open,
    /// By whom, and whether the lease is good.
    Sending(u8, bool),
    /// Delivered.
    Sent,
}

impl Alert {
    /// The alert after an event; none where it is refused.
    pub(crate) fn next(self, event: &AlertEvent) -> Option<Self> {
        let about = AlertAbout::Run;
        let state = match self {
            Self::Open => AlertState::Open,
            Self::Sending(by, good) => {
                AlertState::Sending { owner: owner(by), lease_until: lease(good), deliveries: 1, about }
            }
            Self::Sent => AlertState::Sent { at: now(), deliveries: 1, about },
        };
        Some(match state.next(event).ok()? {
            AlertState::Open => Self::Open,
            AlertState::Sending { owner, lease_until, .. } => Self::Sending(who(owner), lease_until >= now()),
            AlertState::Sent { .. } => Self::Sent,
        })
    }
}
