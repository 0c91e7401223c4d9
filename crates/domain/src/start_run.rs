//! Use case 1: read and pin the inputs, seal the plan, send one message for each portfolio.

use chrono::{DateTime, Duration, NaiveDate, Utc};

use crate::guards::{self, Guard};
use crate::identity;
use crate::ids::{ContentHash, JobName, Owner, PortfolioId, RunId, ScheduleName};
use crate::job::RUN_LEVEL_JOB;
use crate::night::before::night_before;
use crate::night::folding::{keep_members, put_members};
use crate::night::{NightBefore, NightKey, PinnedNight, SealedNight, keep_night};
use crate::ports::{Change, Creation, PinnedInputs, Ports, RunInputs, StoreError, WorkMessage};
use crate::record::JobError;
use crate::run::{
    AbandonReason, BUCKET_SIZE, DEFAULT_DEADLINE_MINUTES, Run, RunEvent, RunPhase, RunRefusal, SealedPlan,
};
use crate::words::ErrorCategory;
use crate::work_item::{ItemKey, Place};

/// How long a planner's lease lasts.
const PLAN_LEASE_SECONDS: i64 = 300;

/// A scheduled run that begins later than this after its slot is logged as late.
const LATE: Duration = Duration::hours(1);

/// Messages that are sent at once.
const SEND_BATCH: usize = 1_000;

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRun {
    /// The id, from [`crate::identity`].
    pub id: RunId,
    /// The schedule.
    pub schedule: ScheduleName,
    /// The night series: the name that the nights of the schedule keep when it is renamed.
    pub night_series: ScheduleName,
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
    /// Minutes from the start after which a run that could not be planned is abandoned.
    pub deadline_minutes: u32,
}

impl StartRun {
    /// The start that made this run, to plan it again.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let minutes = (run.planning_due_at() - run.started_at).num_minutes();
        Self {
            id: run.batch_run_id,
            schedule: run.schedule.clone(),
            night_series: run.night_series().clone(),
            trigger: run.trigger.clone(),
            as_of: run.as_of,
            scheduled_for: run.scheduled_for,
            rerun_of: run.rerun_of,
            repeat: run.repeat,
            filter: run.filter.clone(),
            deadline_minutes: u32::try_from(minutes).unwrap_or(DEFAULT_DEADLINE_MINUTES),
        }
    }

    /// The night that the run belongs to.
    #[must_use]
    pub fn night(&self) -> NightKey {
        NightKey { series: self.night_series.clone(), as_of: self.as_of }
    }

    /// The same start with another planning deadline, in minutes from the start.
    #[must_use]
    pub fn with_deadline(self, deadline_minutes: u32) -> Self {
        Self { deadline_minutes, ..self }
    }

    /// Whether this is the run of a slot, and not one that somebody asked for.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        self.id == identity::scheduled(&self.schedule, self.scheduled_for)
    }

    /// The run as it is recorded before anything of it is planned.
    #[must_use]
    pub fn planning(&self, owner: Owner, now: DateTime<Utc>, lease_until: DateTime<Utc>) -> Run {
        Run::new(self, RunPhase::Planning { owner, lease_until }, now)
    }

    /// The run of a slot that passed and will not be run any more.
    #[must_use]
    pub fn missed(&self, now: DateTime<Utc>) -> Run {
        Run::new(self, RunPhase::Missed, now)
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
    /// Its inputs cannot be read: it was abandoned now, and its close was asked for.
    Abandoned(Run),
}

impl Started {
    /// The run.
    #[must_use]
    pub const fn run(&self) -> &Run {
        match self {
            Self::Sealed(run) | Self::Existing(run) | Self::PlannedElsewhere(run) | Self::Abandoned(run) => run,
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

/// Starts a run, or finds the one that exists.
///
/// A repeated call is harmless: the same id is the same run. A planner that died before the seal is followed by the
/// next caller once its lease has passed (or was voided); one that died after it left a sealed manifest, from which
/// [`crate::watch::mend`] sends the messages again.
///
/// A run that somebody asks for reads its inputs before it is recorded: where they cannot be read, nothing is
/// recorded. A run that is on record already, or whose slot is due, must end: one that somebody asked for is abandoned at
/// once where the error is permanent; every other one is tried again until its planning deadline, and abandoned then.
///
/// # Errors
/// [`StartError`]; nothing half-written counts, since a manifest counts only once it is sealed.
pub async fn start_run(ports: &Ports, start: &StartRun, inputs: &dyn RunInputs) -> Result<Started, StartError> {
    let asked_for_here = !start.is_scheduled() && ports.store.run(start.id).await?.is_none();
    let early = if asked_for_here {
        let before = night_before(ports, &start.night()).await?;
        let pinned = pin(start, inputs, &before).await.map_err(StartError::Inputs)?;
        Some(store_inputs(ports, start, pinned).await?)
    } else {
        None
    };
    let run = match take_plan(ports, start).await? {
        Plan::Ours(run) => run,
        Plan::NotOurs(started) => return Ok(started),
    };
    let pinned = match early {
        Some(pinned) => pinned,
        None => {
            let before = night_before(ports, &start.night()).await?;
            let stored = match pin(start, inputs, &before).await {
                Ok(pinned) => store_inputs(ports, start, pinned).await.map_err(|error| of_the_store(&error)),
                Err(error) => Err(error),
            };
            match stored {
                Ok(pinned) => pinned,
                Err(error) => return give_up_or_release(ports, &run, error).await,
            }
        }
    };
    match seal(ports, &run, pinned).await? {
        Sealing::Sealed(run) => {
            send_messages(ports, &run).await?;
            Ok(Started::Sealed(run))
        }
        Sealing::Ended(run) => Ok(Started::Existing(run)),
    }
}

async fn pin(start: &StartRun, inputs: &dyn RunInputs, before: &NightBefore) -> Result<PinnedInputs, JobError> {
    inputs.pin(start.as_of, &start.filter, before).await
}

/// Inputs whose documents are stored.
struct StoredInputs {
    /// The inputs, without the bytes of the snapshot.
    pinned: PinnedInputs,
    /// The stored snapshot.
    snapshot: ContentHash,
    /// What is sealed for the night.
    night: Option<SealedNight>,
}

async fn store_inputs(ports: &Ports, start: &StartRun, mut pinned: PinnedInputs) -> Result<StoredInputs, StoreError> {
    let snapshot = ports.documents.put_snapshot(std::mem::take(&mut pinned.snapshot)).await?;
    let night = match pinned.night.take() {
        Some(PinnedNight { members, inputs, newest_close, restatement_tolerance }) => {
            let members = put_members(ports.store.as_ref(), &members).await?;
            let nightbook_version = env!("CARGO_PKG_VERSION").to_owned();
            Some(SealedNight { members, inputs, newest_close, nightbook_version, restatement_tolerance })
        }
        None => sealed_by_original(ports, start).await?,
    };
    Ok(StoredInputs { pinned, snapshot, night })
}

/// What the plan of the run that is repeated sealed for the night: a rerun has the same inputs.
async fn sealed_by_original(ports: &Ports, start: &StartRun) -> Result<Option<SealedNight>, StoreError> {
    let Some(original) = start.rerun_of else { return Ok(None) };
    let stored = ports.store.run(original).await?;
    let night = stored.and_then(|stored| stored.run.plan).and_then(|plan| plan.night);
    if let Some(night) = &night {
        keep_members(ports.store.as_ref(), &night.members).await?;
    }
    Ok(night)
}

/// A store that cannot take the inputs may take them later.
fn of_the_store(error: &StoreError) -> JobError {
    JobError::from_error(ErrorCategory::Transient, error)
}

/// Whether this caller plans the run.
enum Plan {
    /// It holds the lease.
    Ours(Run),
    /// It does not, for this reason.
    NotOurs(Started),
}

/// Creates the run in planning, or takes over the planning of the one on record.
async fn take_plan(ports: &Ports, start: &StartRun) -> Result<Plan, StoreError> {
    let owner = ports.randomness.owner();
    let now = ports.clock.now();
    let lease_until = now + Duration::seconds(PLAN_LEASE_SECONDS);
    let fresh = start.planning(owner, now, lease_until);
    let existing = match ports.store.create_run(&fresh).await? {
        Creation::Created => {
            if start.is_scheduled() && now - start.scheduled_for > LATE {
                tracing::info!(batch_run_id = %fresh.batch_run_id, scheduled_for = %fresh.scheduled_for, event = "slot.late", "a slot that had passed is run late");
            }
            return Ok(Plan::Ours(fresh));
        }
        Creation::Existing(run) if !matches!(run.phase, RunPhase::Planning { .. } | RunPhase::Missed) => {
            return Ok(Plan::NotOurs(Started::Existing(run)));
        }
        // Our own write whose reply was lost.
        Creation::Existing(run) if held_by(&run, owner) => return Ok(Plan::Ours(run)),
        Creation::Existing(existing) => existing,
    };
    let late = existing.phase == RunPhase::Missed;
    let expected = is_asked_for(&existing) || existing.planning_error.is_some();
    let event = RunEvent::TakeOverPlan { owner, now, lease_until };
    Ok(match ports.store.apply_run(start.id, &event).await? {
        Change::Applied(run) => {
            if late {
                tracing::info!(batch_run_id = %run.batch_run_id, scheduled_for = %run.scheduled_for, event = "slot.late", "a slot that was recorded as missed is run late");
            } else if !expected {
                tracing::warn!(batch_run_id = %run.batch_run_id, epoch = run.plan_epoch, event = "lease.taken_over", "took over the planning of a run whose planner is gone");
            }
            Plan::Ours(run)
        }
        Change::Refused(run, _) if held_by(&run, owner) => Plan::Ours(run),
        Change::Refused(run, RunRefusal::WrongPhase | RunRefusal::Closed) => Plan::NotOurs(Started::Existing(run)),
        Change::Refused(run, _) => Plan::NotOurs(Started::PlannedElsewhere(run)),
    })
}

/// What becomes of a run on record whose inputs cannot be read.
///
/// A run that somebody asked for is abandoned at once where trying again cannot help; every other one is tried again
/// until its planning deadline, and abandoned then.
///
/// # Errors
/// [`StartError::Inputs`] where the run is tried again; the store.
async fn give_up_or_release(ports: &Ports, run: &Run, error: JobError) -> Result<Started, StartError> {
    let id = run.batch_run_id;
    let now = ports.clock.now();
    let job = JobName::new(RUN_LEVEL_JOB).map_err(|_| StartError::Inputs(error.clone()))?;
    // One line says all: pages and alerts show the message without its chain.
    let causes = std::iter::once(error.message.clone()).chain(error.chain.iter().cloned());
    let recorded = JobError::new(error.category, causes.collect::<Vec<_>>().join(": ")).recorded(&job, &[]);
    let hopeless = !StartRun::of(run).is_scheduled() && error.category == ErrorCategory::Permanent;
    if !hopeless && !run.planning_is_overdue(now) {
        let event = RunEvent::ReleasePlan { epoch: run.plan_epoch, now, error: recorded };
        ports.store.apply_run(id, &event).await?;
        return Err(StartError::Inputs(error));
    }
    match abandon(ports, id, AbandonReason::Inputs { error: recorded }).await? {
        Change::Applied(run) => Ok(Started::Abandoned(run)),
        Change::Refused(run, _) if run.abandoned.is_some() => Ok(Started::Abandoned(run)),
        Change::Refused(run, _) => Ok(Started::Existing(run)),
    }
}

/// Ends a run without a plan, and asks for its close.
///
/// # Errors
/// The store or the queue; the next sweep asks for the close again.
pub(crate) async fn abandon(
    ports: &Ports,
    id: RunId,
    reason: AbandonReason,
) -> Result<Change<Run, RunRefusal>, StoreError> {
    let change = ports.store.apply_run(id, &RunEvent::AbandonPlan { now: ports.clock.now(), reason }).await?;
    let (Change::Applied(run) | Change::Refused(run, _)) = &change;
    if let (Some(abandoned), false) = (&run.abandoned, run.is_closed()) {
        tracing::error!(batch_run_id = %id, as_of = %run.as_of, reason = abandoned.reason.as_str(), error = abandoned.reason.message().unwrap_or_default(), event = "run.abandoned", "the run has not started, and is closed as failed");
        ports.queue.send_close(id).await?;
    }
    Ok(change)
}

fn held_by(run: &Run, owner: Owner) -> bool {
    matches!(run.phase, RunPhase::Planning { owner: holder, .. } if holder == owner)
}

/// What became of a seal.
enum Sealing {
    /// The plan is fixed.
    Sealed(Run),
    /// The run was abandoned meanwhile.
    Ended(Run),
}

async fn seal(ports: &Ports, run: &Run, inputs: StoredInputs) -> Result<Sealing, StartError> {
    let StoredInputs { pinned, snapshot, night } = inputs;
    let id = run.batch_run_id;
    let epoch = if guards::on(Guard::Epoch) { run.plan_epoch } else { 1 };
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
        night,
        sealed_at,
        deadline: sealed_at + Duration::minutes(i64::from(pinned.deadline_minutes)),
    };
    match ports.store.apply_run(id, &RunEvent::Seal { plan: Box::new(plan.clone()) }).await? {
        Change::Applied(run) => {
            keep_night(ports, &run.night(), None).await?;
            tracing::info!(
                batch_run_id = %id, as_of = %run.as_of, portfolios = plan.portfolios, jobs = plan.jobs.len(),
                event = "run.sealed", "the plan of the run is sealed"
            );
            Ok(Sealing::Sealed(run))
        }
        // The reply to our own seal was lost.
        Change::Refused(run, _) if run.plan.as_ref() == Some(&plan) => Ok(Sealing::Sealed(run)),
        Change::Refused(run, _) if run.abandoned.is_some() => Ok(Sealing::Ended(run)),
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
