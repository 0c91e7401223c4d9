//! The state machine of a run: one total function.

use chrono::TimeDelta;

use super::{AbandonReason, Abandoned, PagesThere, Publication, Run, RunEvent, RunPhase, RunRefusal};
use crate::guards::{self, Guard};

/// A void lease ends this long before the instant at which it was given back: leases are inclusive.
const VOID: TimeDelta = TimeDelta::milliseconds(1);

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
                // The planning deadline keeps its distance from the start.
                run.planning_deadline = self.planning_deadline.map(|at| at + (run.started_at - self.started_at));
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
            (RunPhase::Planning { .. }, RunEvent::AbandonPlan { now, reason }) => {
                if *reason == AbandonReason::Canceled {
                    run.cancelled_at = Some(self.cancelled_at.unwrap_or(*now));
                }
                run.abandoned = Some(Abandoned { at: *now, reason: reason.clone() });
                run.phase = RunPhase::Running;
            }
            (RunPhase::Planning { .. }, RunEvent::Cancel { now }) => {
                let reason = AbandonReason::Canceled;
                return self.next(&RunEvent::AbandonPlan { now: *now, reason });
            }
            (RunPhase::Planning { owner, .. }, RunEvent::ReleasePlan { epoch, now, error }) => {
                if *epoch != self.plan_epoch {
                    return Err(RunRefusal::Superseded);
                }
                run.phase = RunPhase::Planning { owner: *owner, lease_until: *now - VOID };
                run.planning_error = Some(error.clone());
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
            (RunPhase::Running, RunEvent::Cancel { now }) => {
                run.cancelled_at = Some(self.cancelled_at.unwrap_or(*now));
            }
            (RunPhase::Planning { owner, .. }, RunEvent::VoidLease { now }) => {
                run.phase = RunPhase::Planning { owner: *owner, lease_until: *now - VOID };
            }
            (RunPhase::Closing { owner, .. }, RunEvent::VoidLease { now }) => {
                run.phase = RunPhase::Closing { owner: *owner, lease_until: *now - VOID };
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
                | RunEvent::AbandonPlan { .. }
                | RunEvent::ReleasePlan { .. }
                | RunEvent::KeepClose { .. }
                | RunEvent::Close { .. },
            )
            | (
                RunPhase::Closing { .. },
                RunEvent::TakeOverPlan { .. }
                | RunEvent::Seal { .. }
                | RunEvent::AbandonPlan { .. }
                | RunEvent::ReleasePlan { .. }
                | RunEvent::Cancel { .. },
            ) => {
                return Err(RunRefusal::WrongPhase);
            }
        }
        Ok(run)
    }
}
