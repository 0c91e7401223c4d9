//! Use case 1: read and pin the inputs, seal the plan, send one message for each portfolio.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, NaiveDate, Utc};

use crate::guards::{self, Guard};
use crate::ids::{Owner, PortfolioId, RunId, ScheduleName};
use crate::ports::{Change, Creation, PinnedInputs, Ports, RunInputs, StoreError, WorkMessage};
use crate::record::JobError;
use crate::run::{BUCKET_SIZE, PagesThere, Publication, Run, RunEvent, RunPhase, RunRefusal, SealedPlan};
use crate::work_item::{ItemKey, Place};

/// How long a planner's lease lasts.
const PLAN_LEASE_SECONDS: i64 = 300;

/// Messages that are sent at once.
const SEND_BATCH: usize = 1_000;

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRun {
    /// The id, from [`crate::identity`].
    pub id: RunId,
    /// The schedule.
    pub schedule: ScheduleName,
    /// `schedule`, or the name given by hand.
    pub trigger: String,
    /// The trading date.
    pub as_of: NaiveDate,
    /// The slot.
    pub scheduled_for: DateTime<Utc>,
    /// The run to repeat.
    pub rerun_of: Option<RunId>,
    /// 0 for the first of its kind.
    pub repeat: u32,
    /// The portfolios; empty: all.
    pub filter: Vec<PortfolioId>,
}

impl StartRun {
    /// The run as it is recorded before anything of it is planned.
    #[must_use]
    pub fn planning(&self, owner: Owner, now: DateTime<Utc>, lease_until: DateTime<Utc>) -> Run {
        Run {
            batch_run_id: self.id,
            schedule: self.schedule.clone(),
            trigger: self.trigger.clone(),
            as_of: self.as_of,
            scheduled_for: self.scheduled_for,
            started_at: now,
            rerun_of: self.rerun_of,
            repeat: self.repeat,
            filter: self.filter.clone(),
            phase: RunPhase::Planning { owner, lease_until },
            plan_epoch: 1,
            close_epoch: 0,
            plan: None,
            cancelled_at: None,
            closed_at: None,
            publication: Publication::Pending,
            pages: PagesThere::Nothing,
            pages_at: None,
            pages_left: BTreeSet::new(),
        }
    }

    /// The run as somebody asks for it who does not plan it: whoever comes next does, since nobody holds its lease.
    #[must_use]
    pub fn asked_for(&self, owner: Owner, now: DateTime<Utc>) -> Run {
        self.planning(owner, now, now - Duration::milliseconds(1))
    }
}

/// Whether a run was only asked for so far: nobody has tried to plan it.
fn is_asked_for(run: &Run) -> bool {
    matches!(run.phase, RunPhase::Planning { lease_until, .. } if run.plan_epoch == 1 && lease_until < run.started_at)
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// The plan was sealed now, and the messages are sent.
    Sealed(Run),
    /// The run was there and sealed already: it goes on, or is finished.
    Existing(Run),
    /// Another planner is at it.
    PlannedElsewhere(Run),
}

impl Started {
    /// The run.
    #[must_use]
    pub const fn run(&self) -> &Run {
        match self {
            Self::Sealed(run) | Self::Existing(run) | Self::PlannedElsewhere(run) => run,
        }
    }
}

/// Why a run could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error("the run could not be recorded")]
    Store(#[from] StoreError),
    /// The inputs as a whole cannot be used.
    #[error("the inputs of the run cannot be used: {0}")]
    Inputs(JobError),
    /// Another planner took over while this one was reading.
    #[error("another planner took over run {0}")]
    Superseded(RunId),
}

/// Starts a run, or finds the one that is there.
///
/// A repeated call is harmless: the same id is the same run. A planner that died before the seal is followed by the
/// next caller once its lease has passed (or was voided); one that died after it left a sealed manifest, from which
/// [`crate::watch::mend`] sends the messages again.
///
/// # Errors
/// [`StartError`]; nothing half-written counts, since a manifest counts only once it is sealed.
pub async fn start_run(ports: &Ports, start: &StartRun, inputs: &dyn RunInputs) -> Result<Started, StartError> {
    let owner = ports.randomness.owner();
    let now = ports.clock.now();
    let lease_until = now + Duration::seconds(PLAN_LEASE_SECONDS);
    let fresh = start.planning(owner, now, lease_until);
    let run = match ports.store.create_run(&fresh).await? {
        Creation::Created => fresh,
        Creation::Existing(run) if !matches!(run.phase, RunPhase::Planning { .. } | RunPhase::Missed) => {
            return Ok(Started::Existing(run));
        }
        // Our own write whose reply was lost.
        Creation::Existing(run) if held_by(&run, owner) => run,
        Creation::Existing(existing) => {
            let late = existing.phase == RunPhase::Missed;
            let asked_for = is_asked_for(&existing);
            let event = RunEvent::TakeOverPlan { owner, now, lease_until };
            match ports.store.apply_run(start.id, &event).await? {
                Change::Applied(run) if late => {
                    tracing::info!(batch_run_id = %run.batch_run_id, scheduled_for = %run.scheduled_for, event = "slot.late", "a slot that was recorded as missed is run late");
                    run
                }
                Change::Applied(run) if asked_for => run,
                Change::Applied(run) => {
                    tracing::warn!(batch_run_id = %run.batch_run_id, epoch = run.plan_epoch, event = "lease.taken_over", "took over the planning of a run whose planner is gone");
                    run
                }
                Change::Refused(run, _) if held_by(&run, owner) => run,
                Change::Refused(run, RunRefusal::WrongPhase | RunRefusal::Closed) => return Ok(Started::Existing(run)),
                Change::Refused(run, _) => return Ok(Started::PlannedElsewhere(run)),
            }
        }
    };
    let pinned = inputs.pin(start.as_of, &start.filter).await.map_err(StartError::Inputs)?;
    let run = seal(ports, &run, pinned).await?;
    send_messages(ports, &run).await?;
    Ok(Started::Sealed(run))
}

fn held_by(run: &Run, owner: Owner) -> bool {
    matches!(run.phase, RunPhase::Planning { owner: holder, .. } if holder == owner)
}

async fn seal(ports: &Ports, run: &Run, pinned: PinnedInputs) -> Result<Run, StartError> {
    let id = run.batch_run_id;
    let epoch = if guards::on(Guard::Epoch) { run.plan_epoch } else { 1 };
    let snapshot = ports.documents.put_snapshot(pinned.snapshot).await?;
    for (bucket, chunk) in (0..).zip(pinned.portfolios.chunks(BUCKET_SIZE as usize)) {
        ports.store.put_manifest(id, epoch, bucket, chunk).await?;
    }
    let sealed_at = ports.clock.now();
    let plan = SealedPlan {
        epoch,
        portfolios: u32::try_from(pinned.portfolios.len()).unwrap_or(u32::MAX),
        jobs: pinned.jobs,
        retry: pinned.retry,
        book: pinned.book,
        snapshot,
        market_data: pinned.market_data,
        sealed_at,
        deadline: sealed_at + Duration::minutes(i64::from(pinned.deadline_minutes)),
    };
    match ports.store.apply_run(id, &RunEvent::Seal { plan: Box::new(plan.clone()) }).await? {
        Change::Applied(run) => {
            tracing::info!(
                batch_run_id = %id, as_of = %run.as_of, portfolios = plan.portfolios, jobs = plan.jobs.len(),
                event = "run.sealed", "the plan of the run is sealed"
            );
            Ok(run)
        }
        // The reply to our own seal was lost.
        Change::Refused(run, _) if run.plan.as_ref() == Some(&plan) => Ok(run),
        Change::Refused(..) => Err(StartError::Superseded(id)),
    }
}

/// Sends one message for each portfolio of the sealed manifest, never from memory; a run without portfolios goes
/// straight to its close.
async fn send_messages(ports: &Ports, run: &Run) -> Result<(), StoreError> {
    let Some(plan) = &run.plan else { return Ok(()) };
    if plan.portfolios == 0 {
        return ports.queue.send_close(run.batch_run_id).await;
    }
    let mut batch = Vec::with_capacity(SEND_BATCH);
    for bucket in 0..plan.buckets() {
        let chunk = ports.store.manifest(run.batch_run_id, plan.epoch, bucket).await?;
        for (index, portfolio) in (0..).zip(chunk) {
            batch.push(WorkMessage {
                key: ItemKey { run: run.batch_run_id, portfolio: portfolio.id },
                name: portfolio.name,
                place: Place { bucket, index },
            });
        }
        if batch.len() >= SEND_BATCH {
            ports.queue.send_work(std::mem::take(&mut batch)).await?;
        }
    }
    if batch.is_empty() { Ok(()) } else { ports.queue.send_work(batch).await }
}
