//! A run and its state machine: `planning -> running -> closing -> closed`, monotone. A slot that passed without a run
//! is `missed`, and may still be planned late.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::guards::{self, Guard};
use crate::ids::{ContentHash, Owner, PortfolioId, RunId, ScheduleName};
use crate::job::JobSpec;
use crate::record::{Quality, RecordedError};
use crate::retry::RetryPolicy;

/// Portfolios in one bucket: one fold, one chunk of the manifest.
pub const BUCKET_SIZE: u32 = 100;

/// After this time the messages of a publication that is not through are sent again.
const SPREAD_AGAIN: TimeDelta = TimeDelta::minutes(15);

/// A portfolio as the manifest of a run lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPortfolio {
    /// Its id.
    pub id: PortfolioId,
    /// Its name at the time of the run.
    pub name: String,
}

/// The work that is done once per run, and its outcome: reading the prices and pinning them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLevelWork {
    /// Attempts that were made, from 1.
    pub attempts: u32,
    /// Start of the first.
    pub started_at: DateTime<Utc>,
    /// End of the last.
    pub completed_at: DateTime<Utc>,
    /// The error of the last, where it failed. Every portfolio's record then carries it.
    pub error: Option<RecordedError>,
    /// Results in brief, for the records.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Quality over the whole market data, where it is known.
    pub quality: Option<Quality>,
}

impl RunLevelWork {
    /// How long it took.
    #[must_use]
    pub fn duration_seconds(&self) -> f64 {
        seconds_between(self.started_at, self.completed_at)
    }
}

/// Seconds from one instant to another, never negative (a clock may be set back).
#[must_use]
pub fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    let micros = (to - from).num_microseconds().unwrap_or(i64::MAX).max(0);
    micros as f64 / 1e6
}

/// What is fixed when a run is sealed, and never changes after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealedPlan {
    /// The planner's epoch: manifests of other epochs do not count.
    pub epoch: u32,
    /// Portfolios expected.
    pub portfolios: u32,
    /// The job list.
    pub jobs: Vec<JobSpec>,
    /// How failures are tried again.
    pub retry: RetryPolicy,
    /// Content hash of the book as it was read.
    pub book: ContentHash,
    /// Content hash of the pinned inputs.
    pub snapshot: ContentHash,
    /// The work done once.
    pub market_data: RunLevelWork,
    /// When the plan was sealed.
    pub sealed_at: DateTime<Utc>,
    /// When what is not finished is given up.
    pub deadline: DateTime<Utc>,
}

impl SealedPlan {
    /// Buckets of [`BUCKET_SIZE`] portfolios, the last one shorter.
    #[must_use]
    pub const fn buckets(&self) -> u32 {
        self.portfolios.div_ceil(BUCKET_SIZE)
    }

    /// Portfolios in this bucket.
    #[must_use]
    pub const fn bucket_len(&self, bucket: u32) -> u32 {
        let from = bucket * BUCKET_SIZE;
        if from >= self.portfolios {
            0
        } else if self.portfolios - from < BUCKET_SIZE {
            self.portfolios - from
        } else {
            BUCKET_SIZE
        }
    }

    /// Jobs in all: portfolios times jobs of the list.
    #[must_use]
    pub fn total_jobs(&self) -> u64 {
        u64::from(self.portfolios) * self.jobs.len() as u64
    }
}

/// Where a run is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum RunPhase {
    /// Its inputs are being read; the planner holds a lease.
    Planning {
        /// The planner.
        owner: Owner,
        /// Until when.
        lease_until: DateTime<Utc>,
    },
    /// Sealed: the portfolios are being worked on.
    Running,
    /// Every portfolio has ended; a closer holds a lease.
    Closing {
        /// The closer.
        owner: Owner,
        /// Until when.
        lease_until: DateTime<Utc>,
    },
    /// Closed, for ever.
    Closed,
    /// Its slot passed and nothing ran. Whoever comes late may still plan it.
    Missed,
}

/// How the site stands towards a run. A failed publication never changes the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(tag = "state", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Publication {
    /// Not tried yet.
    #[default]
    Pending,
    /// The pages of its portfolios are being written by messages, bucket by bucket; whoever writes the last ends it.
    UnderWay {
        /// When the messages were sent, the last time.
        since: DateTime<Utc>,
        /// Files that were written so far.
        files_written: u64,
    },
    /// The pages of this run are there.
    Published {
        /// When.
        at: DateTime<Utc>,
        /// Files that were written, unchanged ones not counted.
        files_written: u64,
    },
    /// The last try failed; `watch` and `nightbook publish` try again.
    Failed {
        /// When.
        at: DateTime<Utc>,
        /// Why, masked.
        error: String,
    },
}

impl Publication {
    /// Files that were written for a publication that is under way.
    #[must_use]
    pub const fn files_under_way(&self) -> u64 {
        match self {
            Self::UnderWay { files_written, .. } => *files_written,
            Self::Pending | Self::Published { .. } | Self::Failed { .. } => 0,
        }
    }
}

/// Which pages of a run are there. It only grows, whatever becomes of a publication: others may link to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PagesThere {
    /// None: nothing may link to the run.
    #[default]
    Nothing,
    /// The page of the run, and the pages of its jobs and its month.
    Run,
    /// Those, and a page for each of its portfolios.
    Portfolios,
}

/// One scheduled pass over all portfolios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub batch_run_id: RunId,
    /// The schedule that it belongs to.
    pub schedule: ScheduleName,
    /// What started it: `schedule`, or the name given by hand.
    pub trigger: String,
    /// The trading date it stands for.
    pub as_of: NaiveDate,
    /// The slot it stands for.
    pub scheduled_for: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The run it repeats, for a rerun.
    pub rerun_of: Option<RunId>,
    /// 0 for the first of its kind, one more for each `--again` or rerun.
    pub repeat: u32,
    /// The portfolios asked for; empty: all.
    pub filter: Vec<PortfolioId>,
    /// Where it is.
    #[serde(flatten)]
    pub phase: RunPhase,
    /// Counts planners: one more with each takeover.
    pub plan_epoch: u32,
    /// Counts closers: one more with each takeover.
    pub close_epoch: u32,
    /// What was sealed.
    pub plan: Option<SealedPlan>,
    /// When somebody asked to end it early.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// When the first closer began: the `closed_at` of the summary, the same for every closer.
    pub closed_at: Option<DateTime<Utc>>,
    /// How the site stands.
    pub publication: Publication,
    /// Which of its pages are there.
    #[serde(default)]
    pub pages: PagesThere,
    /// Since when the first of them is: what the site says of itself must not depend on when it is written again.
    #[serde(default)]
    pub pages_at: Option<DateTime<Utc>>,
    /// Buckets whose portfolios have no pages of this run yet, while its publication is spread over messages.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pages_left: BTreeSet<u32>,
}

/// What can happen to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// Another planner takes over from one whose lease has passed, or that is known to be dead.
    TakeOverPlan {
        /// The new planner.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The new lease.
        lease_until: DateTime<Utc>,
    },
    /// The plan is complete.
    Seal {
        /// What is fixed; its epoch must be the current one.
        plan: Box<SealedPlan>,
    },
    /// Somebody asks to end it early: what has not ended is given up at the next sweep.
    Cancel {
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// A closer begins, or takes over from one whose lease has passed. The caller has read that every bucket is full,
    /// which can only stay so.
    ClaimClose {
        /// The closer.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The lease.
        lease_until: DateTime<Utc>,
    },
    /// The closer is done.
    Close {
        /// The closer's epoch.
        epoch: u32,
    },
    /// The pages were written, or not. Allowed in every phase: publication has a status of its own.
    Publish {
        /// The outcome.
        publication: Publication,
        /// The planner's epoch as the publisher read it: what was published of a missed slot says nothing of its late
        /// run.
        plan_epoch: u32,
    },
    /// The pages of its portfolios are to be written by messages, one for each bucket that is left. Allowed in every
    /// phase of a run that was sealed.
    SpreadPages {
        /// The caller's clock.
        now: DateTime<Utc>,
        /// Files that were written for it until now.
        files_written: u64,
        /// The planner's epoch as the publisher read it.
        plan_epoch: u32,
    },
    /// The pages of the portfolios of a bucket were written.
    BucketWritten {
        /// The bucket.
        bucket: u32,
        /// Files that were written for it.
        files_written: u64,
        /// The planner's epoch as the publisher read it.
        plan_epoch: u32,
    },
    /// Pages of the run are there from now on. Allowed in every phase.
    PagesWritten {
        /// Which.
        pages: PagesThere,
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// The closer is still at it.
    KeepClose {
        /// The closer's epoch.
        epoch: u32,
        /// The lease, renewed.
        lease_until: DateTime<Utc>,
    },
    /// The process that held the planner's or closer's lease is proven dead.
    VoidLease {
        /// The caller's clock.
        now: DateTime<Utc>,
    },
}

/// Why an event was refused. A refusal changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunRefusal {
    /// Somebody else's lease has not passed yet.
    #[error("another owner holds the lease")]
    LeaseHeld,
    /// The caller's epoch is not the current one: somebody took over.
    #[error("another owner took over")]
    Superseded,
    /// The run is not in a phase in which this can happen.
    #[error("the run is not in a phase in which this can happen")]
    WrongPhase,
    /// The run is closed.
    #[error("the run is closed")]
    Closed,
}

impl Run {
    /// The run after this event.
    ///
    /// Total: every event in every phase gives a run or a refusal.
    ///
    /// # Errors
    /// [`RunRefusal`] says why the event cannot happen; the run stays as it is.
    #[expect(clippy::too_many_lines, reason = "total: an arm for each phase and event")]
    pub fn next(&self, event: &RunEvent) -> Result<Self, RunRefusal> {
        let mut run = self.clone();
        match (&self.phase, event) {
            (_, RunEvent::Publish { publication, plan_epoch }) => {
                if *plan_epoch != self.plan_epoch {
                    return Err(RunRefusal::Superseded);
                }
                run.publication = publication.clone();
                if matches!(publication, Publication::Published { .. }) {
                    run.pages_left.clear();
                }
            }
            (_, RunEvent::SpreadPages { now, files_written, plan_epoch }) => {
                if *plan_epoch != self.plan_epoch {
                    return Err(RunRefusal::Superseded);
                }
                let plan = self.plan.as_ref().ok_or(RunRefusal::WrongPhase)?;
                // What is there stays there: then only the rest is left, which whoever finds no bucket left writes.
                if run.pages_left.is_empty() && run.pages < PagesThere::Portfolios {
                    run.pages_left = (0..plan.buckets()).collect();
                }
                let files_written = self.publication.files_under_way() + files_written;
                run.publication = Publication::UnderWay { since: *now, files_written };
            }
            (_, RunEvent::BucketWritten { bucket, files_written, plan_epoch }) => {
                if *plan_epoch != self.plan_epoch {
                    return Err(RunRefusal::Superseded);
                }
                run.pages_left.remove(bucket);
                if let Publication::UnderWay { files_written: so_far, .. } = &mut run.publication {
                    *so_far += files_written;
                }
                if run.pages_left.is_empty() && !self.pages_left.is_empty() {
                    run.pages = PagesThere::Portfolios;
                }
            }
            (_, RunEvent::PagesWritten { pages, now }) => {
                run.pages = self.pages.max(*pages);
                run.pages_at = Some(self.pages_at.unwrap_or(*now));
            }

            (RunPhase::Planning { lease_until, .. }, RunEvent::TakeOverPlan { owner, now, lease_until: new }) => {
                if lease_until >= now {
                    return Err(RunRefusal::LeaseHeld);
                }
                run.phase = RunPhase::Planning { owner: *owner, lease_until: *new };
                run.plan_epoch += 1;
            }
            (RunPhase::Missed, RunEvent::TakeOverPlan { owner, now, lease_until }) => {
                run.phase = RunPhase::Planning { owner: *owner, lease_until: *lease_until };
                run.plan_epoch += 1;
                // Never earlier than it was noticed: clocks differ, and pages order runs by when they began.
                run.started_at = self.started_at.max(*now);
                run.closed_at = None;
                // What was published tells of the slot, not of this run.
                run.publication = Publication::Pending;
                run.pages_left.clear();
            }
            (RunPhase::Planning { .. }, RunEvent::Seal { plan }) => {
                if plan.epoch != self.plan_epoch && guards::on(Guard::Epoch) {
                    return Err(RunRefusal::Superseded);
                }
                run.plan = Some(plan.as_ref().clone());
                run.phase = RunPhase::Running;
            }
            (RunPhase::Running, RunEvent::ClaimClose { owner, now, lease_until }) => {
                run.phase = RunPhase::Closing { owner: *owner, lease_until: *lease_until };
                run.close_epoch += 1;
                run.closed_at = Some(self.closed_at.unwrap_or(*now));
            }
            (RunPhase::Closing { lease_until, .. }, RunEvent::ClaimClose { owner, now, lease_until: new }) => {
                if lease_until >= now {
                    return Err(RunRefusal::LeaseHeld);
                }
                run.phase = RunPhase::Closing { owner: *owner, lease_until: *new };
                run.close_epoch += 1;
            }
            (RunPhase::Closing { .. }, RunEvent::Close { epoch }) => {
                if *epoch != self.close_epoch {
                    return Err(RunRefusal::Superseded);
                }
                run.phase = RunPhase::Closed;
            }
            (RunPhase::Closing { owner, .. }, RunEvent::KeepClose { epoch, lease_until }) => {
                if *epoch != self.close_epoch {
                    return Err(RunRefusal::Superseded);
                }
                run.phase = RunPhase::Closing { owner: *owner, lease_until: *lease_until };
            }
            (RunPhase::Planning { .. } | RunPhase::Running, RunEvent::Cancel { now }) => {
                run.cancelled_at = Some(self.cancelled_at.unwrap_or(*now));
            }
            (RunPhase::Planning { owner, .. }, RunEvent::VoidLease { now }) => {
                run.phase = RunPhase::Planning { owner: *owner, lease_until: *now - chrono::Duration::milliseconds(1) };
            }
            (RunPhase::Closing { owner, .. }, RunEvent::VoidLease { now }) => {
                run.phase = RunPhase::Closing { owner: *owner, lease_until: *now - chrono::Duration::milliseconds(1) };
            }
            (RunPhase::Running, RunEvent::VoidLease { .. }) => {}

            (RunPhase::Closed, _) => return Err(RunRefusal::Closed),
            (RunPhase::Missed, _) => return Err(RunRefusal::WrongPhase),
            (
                RunPhase::Planning { .. },
                RunEvent::ClaimClose { .. } | RunEvent::KeepClose { .. } | RunEvent::Close { .. },
            )
            | (
                RunPhase::Running,
                RunEvent::TakeOverPlan { .. }
                | RunEvent::Seal { .. }
                | RunEvent::KeepClose { .. }
                | RunEvent::Close { .. },
            )
            | (
                RunPhase::Closing { .. },
                RunEvent::TakeOverPlan { .. } | RunEvent::Seal { .. } | RunEvent::Cancel { .. },
            ) => {
                return Err(RunRefusal::WrongPhase);
            }
        }
        Ok(run)
    }

    /// Whether its pages are to be asked for, again where it was long ago: messages may be lost to the dead letters.
    #[must_use]
    pub fn wants_pages(&self, now: DateTime<Utc>) -> bool {
        match self.publication {
            Publication::Published { .. } => false,
            Publication::UnderWay { since, .. } => since + SPREAD_AGAIN < now,
            Publication::Pending | Publication::Failed { .. } => true,
        }
    }

    /// Whether nothing more is to be done for it: it is closed, or its slot was missed.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase, RunPhase::Closed | RunPhase::Missed)
    }

    /// Whether it is closed for ever.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, RunPhase::Closed)
    }

    /// When what is not finished is given up: the deadline of the plan, or the moment somebody cancelled.
    #[must_use]
    pub fn gives_up_at(&self) -> Option<DateTime<Utc>> {
        let deadline = self.plan.as_ref().map(|plan| plan.deadline);
        match (deadline, self.cancelled_at) {
            (Some(deadline), Some(cancelled)) => Some(deadline.min(cancelled)),
            (deadline, cancelled) => deadline.or(cancelled),
        }
    }
}

/// A run as tests of this crate and the conformance suite make it.
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod samples {
    use super::*;
    use crate::ids::JobName;
    use crate::words::JobType;
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
        Run {
            batch_run_id: RunId(Uuid::from_u128(id)),
            schedule: ScheduleName::new("nightly").unwrap_or_else(|_| unreachable!("a valid name")),
            trigger: "manual".into(),
            as_of: NaiveDate::from_ymd_opt(2026, 11, 24).unwrap_or_default(),
            scheduled_for: at(0),
            started_at: at(1),
            rerun_of: None,
            repeat: 0,
            filter: Vec::new(),
            phase: RunPhase::Planning { owner: owner(1), lease_until: at(60) },
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

    /// A run whose slot passed.
    pub(crate) fn missed_run(id: u128) -> Run {
        Run { phase: RunPhase::Missed, closed_at: Some(at(1)), trigger: "schedule".into(), ..planning(id) }
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
            sealed_at: at(2),
            deadline: at(7202),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{at, missed_run, owner, plan, planning};
    use super::*;
    use proptest::prelude::*;

    fn events() -> impl Strategy<Value = RunEvent> {
        let who = 1u128..4;
        let when = 0i64..200;
        prop_oneof![
            (who.clone(), when.clone()).prop_map(|(o, n)| RunEvent::TakeOverPlan {
                owner: owner(o),
                now: at(n),
                lease_until: at(n + 60)
            }),
            (1u32..4).prop_map(|epoch| RunEvent::Seal { plan: Box::new(plan(epoch, 3)) }),
            when.clone().prop_map(|n| RunEvent::Cancel { now: at(n) }),
            (who, when.clone()).prop_map(|(o, n)| RunEvent::ClaimClose {
                owner: owner(o),
                now: at(n),
                lease_until: at(n + 60)
            }),
            (0u32..4).prop_map(|epoch| RunEvent::Close { epoch }),
            (0u32..4, when.clone()).prop_map(|(epoch, n)| RunEvent::KeepClose { epoch, lease_until: at(n + 60) }),
            prop_oneof![Just(PagesThere::Nothing), Just(PagesThere::Run), Just(PagesThere::Portfolios)]
                .prop_map(|pages| RunEvent::PagesWritten { pages, now: at(7) }),
            when.clone().prop_map(|n| RunEvent::VoidLease { now: at(n) }),
            (0u32..3, when.clone()).prop_map(|(plan_epoch, n)| RunEvent::SpreadPages {
                now: at(n),
                files_written: 1,
                plan_epoch
            }),
            (0u32..3, 0u32..2).prop_map(|(plan_epoch, bucket)| RunEvent::BucketWritten {
                bucket,
                files_written: 1,
                plan_epoch
            }),
            (0u32..3).prop_map(|plan_epoch| RunEvent::Publish {
                publication: Publication::Failed { at: at(9), error: "disk".into() },
                plan_epoch,
            }),
        ]
    }

    fn rank(run: &Run) -> u8 {
        match run.phase {
            RunPhase::Missed => 0,
            RunPhase::Planning { .. } => 1,
            RunPhase::Running => 2,
            RunPhase::Closing { .. } => 3,
            RunPhase::Closed => 4,
        }
    }

    proptest! {
        /// Whatever happens in whatever order: phases only go forward, the sealed plan never changes, `closed_at`
        /// never changes, epochs never go back, and a closed run takes nothing but news of its publication.
        #[test]
        fn any_sequence_of_events_keeps_the_promises(
            missed in any::<bool>(), events in prop::collection::vec(events(), 0..40),
        ) {
            let mut run = if missed { missed_run(1) } else { planning(1) };
            for event in &events {
                if let Ok(next) = run.next(event) {
                    prop_assert!(rank(&next) >= rank(&run));
                    prop_assert!(next.plan_epoch >= run.plan_epoch && next.close_epoch >= run.close_epoch);
                    if run.plan.is_some() { prop_assert_eq!(&next.plan, &run.plan); }
                    if run.closed_at.is_some() && run.phase != RunPhase::Missed {
                        prop_assert_eq!(next.closed_at, run.closed_at);
                    }
                    prop_assert!(next.pages >= run.pages, "what is there stays");
                    let of_the_site = matches!(
                        event,
                        RunEvent::Publish { .. }
                            | RunEvent::PagesWritten { .. }
                            | RunEvent::SpreadPages { .. }
                            | RunEvent::BucketWritten { .. }
                    );
                    if run.is_closed() { prop_assert!(of_the_site); }
                    run = next;
                }
            }
        }

        /// A planner that was taken over cannot seal, whenever its request lands.
        #[test]
        fn a_stale_planner_cannot_seal(late in 61i64..1000) {
            let run = planning(1)
                .next(&RunEvent::TakeOverPlan { owner: owner(2), now: at(late), lease_until: at(late + 60) })
                .unwrap();
            let seal = |epoch| RunEvent::Seal { plan: Box::new(plan(epoch, 3)) };
            prop_assert_eq!(run.next(&seal(1)), Err(RunRefusal::Superseded));
            prop_assert!(run.next(&seal(2)).is_ok());
        }
    }

    #[test]
    fn a_live_lease_is_respected_and_a_passed_one_is_not() {
        let run = planning(1);
        let take = |n| RunEvent::TakeOverPlan { owner: owner(2), now: at(n), lease_until: at(n + 60) };
        assert_eq!(run.next(&take(60)), Err(RunRefusal::LeaseHeld));
        assert!(run.next(&take(61)).is_ok());
        let voided = run.next(&RunEvent::VoidLease { now: at(5) }).unwrap();
        assert!(voided.next(&take(5)).is_ok(), "a dead process's lease is void at once");
    }

    #[test]
    fn a_missed_slot_may_still_be_run_late_and_nothing_else() {
        let missed = missed_run(1);
        assert!(missed.has_ended() && !missed.is_closed());
        for event in [
            RunEvent::Seal { plan: Box::new(plan(1, 3)) },
            RunEvent::Cancel { now: at(9) },
            RunEvent::ClaimClose { owner: owner(1), now: at(9), lease_until: at(60) },
            RunEvent::VoidLease { now: at(9) },
        ] {
            assert_eq!(missed.next(&event), Err(RunRefusal::WrongPhase), "{event:?}");
        }
        let published = Publication::Published { at: at(60), files_written: 2 };
        let told = RunEvent::Publish { publication: published, plan_epoch: missed.plan_epoch };
        let missed = missed.next(&told).unwrap();
        let late =
            missed.next(&RunEvent::TakeOverPlan { owner: owner(2), now: at(900), lease_until: at(960) }).unwrap();
        assert_eq!(late.publication, Publication::Pending, "what was published tells of the slot");
        assert_eq!(late.next(&told), Err(RunRefusal::Superseded), "also where that is heard of late");
        assert_eq!((late.started_at, late.closed_at, late.plan_epoch), (at(900), None, 2));
        assert!(late.next(&RunEvent::Seal { plan: Box::new(plan(2, 3)) }).is_ok());
    }

    #[test]
    fn a_publication_that_is_spread_has_every_bucket_written_once_and_goes_on_where_it_stopped() {
        let sealed = planning(1).next(&RunEvent::Seal { plan: Box::new(plan(1, 250)) }).unwrap();
        let spread = |n| RunEvent::SpreadPages { now: at(n), files_written: 3, plan_epoch: 1 };
        let written = |bucket| RunEvent::BucketWritten { bucket, files_written: 200, plan_epoch: 1 };
        assert_eq!(planning(1).next(&spread(5)), Err(RunRefusal::WrongPhase), "what is not sealed has no buckets");
        let stale = RunEvent::SpreadPages { now: at(5), files_written: 0, plan_epoch: 0 };
        assert_eq!(sealed.next(&stale), Err(RunRefusal::Superseded));
        let run = sealed.next(&spread(10)).unwrap();
        assert_eq!(run.pages_left, BTreeSet::from([0, 1, 2]));
        assert!(!run.wants_pages(at(10 + 15 * 60)) && run.wants_pages(at(11 + 15 * 60)));
        let run = run.next(&written(2)).unwrap().next(&written(2)).unwrap();
        let failed = Publication::Failed { at: at(20), error: "disk".into() };
        let run = run.next(&RunEvent::Publish { publication: failed, plan_epoch: 1 }).unwrap();
        assert!(run.wants_pages(at(20)));
        let run = run.next(&spread(30)).unwrap();
        assert_eq!(run.pages_left, BTreeSet::from([0, 1]), "what is there is not asked for again");
        let run = run.next(&written(0)).unwrap();
        assert!(run.pages < PagesThere::Portfolios);
        let run = run.next(&written(1)).unwrap();
        assert_eq!((run.pages, run.pages_left.len()), (PagesThere::Portfolios, 0));
        assert_eq!(run.publication.files_under_way(), 403, "since it began anew");
        let again = run.next(&spread(40)).unwrap();
        assert!(again.pages_left.is_empty(), "only the end of it is left");
        let published = Publication::Published { at: at(50), files_written: 7 };
        let run = again.next(&RunEvent::Publish { publication: published, plan_epoch: 1 }).unwrap();
        assert!(!run.wants_pages(at(9_999)));
    }

    #[test]
    fn a_closer_keeps_its_lease_until_another_takes_over() {
        let running = planning(1).next(&RunEvent::Seal { plan: Box::new(plan(1, 3)) }).unwrap();
        let claim = |o, n| RunEvent::ClaimClose { owner: owner(o), now: at(n), lease_until: at(n + 60) };
        let keep = |epoch, n: i64| RunEvent::KeepClose { epoch, lease_until: at(n + 60) };
        let kept = running.next(&claim(1, 10)).unwrap().next(&keep(1, 50)).unwrap();
        assert_eq!(kept.next(&claim(2, 110)), Err(RunRefusal::LeaseHeld), "the renewed lease lasts until 110");
        let taken = kept.next(&claim(2, 111)).unwrap();
        assert_eq!(taken.next(&keep(1, 112)), Err(RunRefusal::Superseded));
    }

    #[test]
    fn only_the_latest_closer_closes() {
        let running = planning(1).next(&RunEvent::Seal { plan: Box::new(plan(1, 3)) }).unwrap();
        let claim = |o, n| RunEvent::ClaimClose { owner: owner(o), now: at(n), lease_until: at(n + 60) };
        let first = running.next(&claim(1, 10)).unwrap();
        assert_eq!(first.next(&claim(2, 70)), Err(RunRefusal::LeaseHeld));
        let second = first.next(&claim(2, 71)).unwrap();
        assert_eq!(second.next(&RunEvent::Close { epoch: 1 }), Err(RunRefusal::Superseded));
        let closed = second.next(&RunEvent::Close { epoch: 2 }).unwrap();
        assert_eq!(closed.closed_at, Some(at(10)), "both closers write the same summary");
        assert_eq!(closed.next(&claim(3, 900)), Err(RunRefusal::Closed));
    }

    #[test]
    fn buckets_cover_every_portfolio_once() {
        for n in [0, 1, 99, 100, 101, 200, 9_999, 10_000] {
            let plan = plan(1, n);
            assert_eq!((0..plan.buckets()).map(|b| plan.bucket_len(b)).sum::<u32>(), n);
            assert_eq!(plan.bucket_len(plan.buckets()), 0);
        }
    }
}
