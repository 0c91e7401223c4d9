//! A work item: one portfolio in one run, and its state machine.
//!
//! `pending -> working(attempt) -> working(attempt + 1) ... -> done | lost | timed_out | cancelled`; the last four are
//! terminal and never change. The attempt number is the fence: only its holder can write, whatever the clocks say.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::guards::{self, Guard};
use crate::ids::{ContentHash, JobName, Owner, PortfolioId, RunId};
use crate::record::{JobRecord, Progress};
use crate::words::JobStatus;

/// Claims that count, at most: one more and the item is given up as lost.
pub const MAX_ATTEMPTS: u32 = 5;

/// Process deaths in a row with the same item in hand from which on voided claims count towards [`MAX_ATTEMPTS`].
pub const DEATHS_THAT_COUNT: u32 = 3;

/// Which work item: one portfolio in one run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemKey {
    /// The run.
    pub run: RunId,
    /// The portfolio.
    pub portfolio: PortfolioId,
}

/// Where in the manifest an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    /// The bucket.
    pub bucket: u32,
    /// The place in the bucket, from 0.
    pub index: u32,
}

/// Where an item is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ItemState {
    /// Nobody works on it.
    Pending,
    /// Somebody does.
    Working {
        /// Who.
        owner: Owner,
        /// Until when the claim is good without news.
        lease_until: DateTime<Utc>,
    },
    /// It came to an end of its own: every job has a record.
    Done,
    /// It was given up after too many attempts.
    Lost,
    /// The deadline of the run passed.
    TimedOut,
    /// Somebody cancelled the run.
    Cancelled,
}

impl ItemState {
    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Lost | Self::TimedOut | Self::Cancelled)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Working { .. } => "working",
            Self::Done => "done",
            Self::Lost => "lost",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why an item is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GiveUp {
    /// Too many attempts.
    Lost,
    /// The deadline passed.
    TimedOut,
    /// Somebody cancelled the run.
    Cancelled,
}

/// The job that is in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InHand {
    /// Which job.
    pub job: JobName,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// When its first attempt began.
    pub started_at: DateTime<Utc>,
    /// How far it is.
    pub progress: Option<Progress>,
}

/// One portfolio in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkItem {
    /// Which.
    pub key: ItemKey,
    /// The portfolio's name at the time of the run.
    pub portfolio_name: String,
    /// Where it stands in the manifest.
    pub place: Place,
    /// Where it is.
    #[serde(flatten)]
    pub state: ItemState,
    /// Claims so far: the fence.
    pub attempt: u32,
    /// Claims that count towards [`MAX_ATTEMPTS`].
    pub counted_attempts: u32,
    /// Process deaths in a row with this item in hand.
    pub deaths_in_a_row: u32,
    /// The last sign of life of its worker.
    pub heartbeat: Option<DateTime<Utc>>,
    /// The job in hand, as of the heartbeat.
    pub in_hand: Option<InHand>,
    /// Records so far; all of them once it is done.
    pub records: Vec<JobRecord>,
    /// Content hash of the results document, once it is done and there are results.
    pub results: Option<ContentHash>,
}

/// What can happen to an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ItemEvent {
    /// Somebody takes it: the first, or after a lease has passed.
    Claim {
        /// Who.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The lease.
        lease_until: DateTime<Utc>,
    },
    /// Its worker lives, and this is how far it is.
    Heartbeat {
        /// The worker.
        owner: Owner,
        /// Its attempt.
        attempt: u32,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The lease, renewed.
        lease_until: DateTime<Utc>,
        /// The job in hand.
        in_hand: Option<InHand>,
        /// Records so far, kept should the worker die.
        records: Vec<JobRecord>,
    },
    /// Its worker gives it back unfinished, for lack of time.
    GiveBack {
        /// The worker.
        owner: Owner,
        /// Its attempt.
        attempt: u32,
    },
    /// Its worker is done.
    Finish {
        /// The worker.
        owner: Owner,
        /// Its attempt.
        attempt: u32,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// One record for each job of the list.
        records: Vec<JobRecord>,
        /// Content hash of the results document.
        results: Option<ContentHash>,
    },
    /// It is ended from outside; records that it had are kept.
    Settle {
        /// Why.
        why: GiveUp,
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// The process of its worker is proven dead.
    VoidLease,
}

/// Why an event was refused. A refusal changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ItemRefusal {
    /// It has ended.
    #[error("the work item has ended")]
    Terminal,
    /// Somebody works on it and their lease has not passed.
    #[error("another worker holds the claim")]
    LeaseHeld,
    /// The caller's claim is not the current one.
    #[error("another worker took over")]
    Superseded,
    /// It was claimed too often: only `Settle` is left.
    #[error("the work item was claimed too often")]
    Exhausted,
    /// Nobody works on it.
    #[error("nobody works on the work item")]
    NotWorking,
}

impl WorkItem {
    /// An item that nobody has touched.
    #[must_use]
    pub const fn untouched(key: ItemKey, portfolio_name: String, place: Place) -> Self {
        Self {
            key,
            portfolio_name,
            place,
            state: ItemState::Pending,
            attempt: 0,
            counted_attempts: 0,
            deaths_in_a_row: 0,
            heartbeat: None,
            in_hand: None,
            records: Vec::new(),
            results: None,
        }
    }

    /// The item after this event.
    ///
    /// Total: every event in every state gives an item or a refusal.
    ///
    /// # Errors
    /// [`ItemRefusal`] says why the event cannot happen; the item stays as it is.
    #[expect(clippy::too_many_lines, reason = "total: an arm for each state and event")]
    pub fn next(&self, event: &ItemEvent) -> Result<Self, ItemRefusal> {
        let mut item = self.clone();
        let state = match event {
            ItemEvent::Finish { owner, .. } if self.state.is_terminal() && !guards::on(Guard::Terminal) => {
                ItemState::Working { owner: *owner, lease_until: DateTime::<Utc>::MIN_UTC }
            }
            ItemEvent::Settle { .. } if self.state.is_terminal() && !guards::on(Guard::Terminal) => ItemState::Pending,
            _ => self.state,
        };
        match (state, event) {
            (ItemState::Done | ItemState::Lost | ItemState::TimedOut | ItemState::Cancelled, _) => {
                return Err(ItemRefusal::Terminal);
            }

            (ItemState::Working { lease_until, .. }, ItemEvent::Claim { now, .. }) if lease_until >= *now => {
                return Err(ItemRefusal::LeaseHeld);
            }
            (ItemState::Pending | ItemState::Working { .. }, ItemEvent::Claim { owner, now, lease_until }) => {
                if self.counted_attempts >= MAX_ATTEMPTS {
                    return Err(ItemRefusal::Exhausted);
                }
                item.state = ItemState::Working { owner: *owner, lease_until: *lease_until };
                item.attempt += 1;
                item.counted_attempts += 1;
                item.heartbeat = Some(*now);
                item.in_hand = None;
            }

            (
                ItemState::Working { owner: current, .. },
                ItemEvent::Heartbeat { owner, attempt, now, lease_until, in_hand, records },
            ) => {
                self.fence(current, *owner, *attempt)?;
                item.state = ItemState::Working { owner: *owner, lease_until: *lease_until };
                item.heartbeat = Some(*now);
                item.in_hand.clone_from(in_hand);
                item.records.clone_from(records);
            }
            (ItemState::Working { owner: current, .. }, ItemEvent::GiveBack { owner, attempt }) => {
                self.fence(current, *owner, *attempt)?;
                item.state = ItemState::Pending;
                item.in_hand = None;
                item.deaths_in_a_row = 0;
            }
            (
                ItemState::Working { owner: current, .. },
                ItemEvent::Finish { owner, attempt, now, records, results },
            ) => {
                self.fence(current, *owner, *attempt)?;
                item.state = ItemState::Done;
                item.heartbeat = Some(*now);
                item.in_hand = None;
                item.records.clone_from(records);
                item.results.clone_from(results);
            }
            (ItemState::Working { .. }, ItemEvent::VoidLease) => {
                item.state = ItemState::Pending;
                item.in_hand = None;
                item.deaths_in_a_row += 1;
                // A death of the process says little about the item, until the same item was in hand three times in
                // a row: then all three claims count, and each one after.
                if item.deaths_in_a_row < DEATHS_THAT_COUNT {
                    item.counted_attempts = item.counted_attempts.saturating_sub(1);
                } else if item.deaths_in_a_row == DEATHS_THAT_COUNT {
                    item.counted_attempts += DEATHS_THAT_COUNT - 1;
                }
            }
            (ItemState::Pending | ItemState::Working { .. }, ItemEvent::Settle { why, now }) => {
                item.state = match why {
                    GiveUp::Lost => ItemState::Lost,
                    GiveUp::TimedOut => ItemState::TimedOut,
                    GiveUp::Cancelled => ItemState::Cancelled,
                };
                item.heartbeat = Some(*now);
                item.in_hand = None;
                // Only what had ended is a record; a job that was in hand has none, and so is missing.
                item.records.retain(|record| {
                    matches!(record.status, JobStatus::Success | JobStatus::Failed | JobStatus::Skipped)
                });
            }

            (
                ItemState::Pending,
                ItemEvent::Heartbeat { .. }
                | ItemEvent::GiveBack { .. }
                | ItemEvent::Finish { .. }
                | ItemEvent::VoidLease,
            ) => return Err(ItemRefusal::NotWorking),
        }
        Ok(item)
    }

    fn fence(&self, current: Owner, owner: Owner, attempt: u32) -> Result<(), ItemRefusal> {
        let holds = current == owner && self.attempt == attempt;
        if holds || !guards::on(Guard::Fence) { Ok(()) } else { Err(ItemRefusal::Superseded) }
    }

    /// Whether this event is the one that made the item what it is: a reply was lost, and the request came again.
    #[must_use]
    pub fn is_result_of(&self, event: &ItemEvent) -> bool {
        match (self.state, event) {
            (ItemState::Working { owner: current, .. }, ItemEvent::Claim { owner, now, .. }) => {
                current == *owner && self.heartbeat == Some(*now)
            }
            (ItemState::Done, ItemEvent::Finish { attempt, records, results, .. }) => {
                self.attempt == *attempt && self.records == *records && self.results == *results
            }
            _ => false,
        }
    }
}

/// An untouched item as tests of this crate and the conformance suite make it.
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod samples {
    use super::*;
    use uuid::Uuid;

    pub(crate) fn item(run: u128, portfolio: &str, bucket: u32, index: u32) -> WorkItem {
        let portfolio = PortfolioId::new(portfolio).unwrap_or_else(|_| unreachable!("a valid id"));
        WorkItem::untouched(
            ItemKey { run: RunId(Uuid::from_u128(run)), portfolio },
            "A portfolio".into(),
            Place { bucket, index },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::samples::item;
    use super::*;
    use crate::run::samples::{at, owner};
    use proptest::prelude::*;

    fn claim(o: u128, now: i64) -> ItemEvent {
        ItemEvent::Claim { owner: owner(o), now: at(now), lease_until: at(now + 60) }
    }

    fn finish(o: u128, attempt: u32) -> ItemEvent {
        ItemEvent::Finish { owner: owner(o), attempt, now: at(500), records: Vec::new(), results: None }
    }

    fn events() -> impl Strategy<Value = ItemEvent> {
        let who = 1u128..4;
        let when = 0i64..400;
        let attempt = 1u32..8;
        prop_oneof![
            4 => (who.clone(), when.clone()).prop_map(|(o, n)| claim(o, n)),
            2 => (who.clone(), attempt.clone(), when.clone()).prop_map(|(o, attempt, n)| ItemEvent::Heartbeat {
                owner: owner(o), attempt, now: at(n), lease_until: at(n + 60), in_hand: None, records: Vec::new() }),
            1 => (who.clone(), attempt.clone()).prop_map(|(o, attempt)| ItemEvent::GiveBack { owner: owner(o), attempt }),
            2 => (who, attempt).prop_map(|(o, attempt)| finish(o, attempt)),
            1 => (prop_oneof![Just(GiveUp::Lost), Just(GiveUp::TimedOut), Just(GiveUp::Cancelled)], when)
                .prop_map(|(why, n)| ItemEvent::Settle { why, now: at(n) }),
            2 => Just(ItemEvent::VoidLease),
        ]
    }

    proptest! {
        /// I1 and I2: terminal is for ever, the fence never goes back, and only its holder finishes.
        #[test]
        fn any_sequence_of_events_keeps_the_promises(events in prop::collection::vec(events(), 0..60)) {
            let mut now = item(1, "p", 0, 0);
            for event in &events {
                match now.next(event) {
                    Ok(next) => {
                        prop_assert!(!now.state.is_terminal(), "a terminal item changed");
                        prop_assert!(next.attempt >= now.attempt);
                        prop_assert!(next.counted_attempts <= next.attempt.max(MAX_ATTEMPTS));
                        if let ItemEvent::Finish { owner, attempt, .. } = event {
                            let held = matches!(now.state, ItemState::Working { owner: o, .. } if o == *owner);
                            prop_assert!(held && now.attempt == *attempt, "a stale worker finished");
                        }
                        now = next;
                    }
                    Err(refusal) => if now.state.is_terminal() { prop_assert_eq!(refusal, ItemRefusal::Terminal); }
                }
            }
        }
    }

    #[test]
    fn a_live_claim_is_respected_and_a_passed_one_taken_over() {
        let working = item(1, "p", 0, 0).next(&claim(1, 0)).unwrap();
        assert_eq!(working.next(&claim(2, 60)), Err(ItemRefusal::LeaseHeld));
        let taken = working.next(&claim(2, 61)).unwrap();
        assert_eq!(taken.attempt, 2);
        assert_eq!(taken.next(&finish(1, 1)), Err(ItemRefusal::Superseded), "a late result of attempt 1 is refused");
        assert_eq!(taken.next(&finish(2, 2)).unwrap().state, ItemState::Done);
    }

    #[test]
    fn the_same_owner_with_an_old_attempt_is_fenced_off() {
        let working = item(1, "p", 0, 0).next(&claim(1, 0)).unwrap();
        let again = working.next(&claim(1, 61)).unwrap();
        assert_eq!(again.next(&finish(1, 1)), Err(ItemRefusal::Superseded));
    }

    #[test]
    fn five_claims_that_count_and_no_more() {
        let mut now = item(1, "p", 0, 0);
        for n in 0..i64::from(MAX_ATTEMPTS) {
            now = now.next(&claim(1, n * 100)).unwrap();
        }
        assert_eq!(now.next(&claim(1, 1_000)), Err(ItemRefusal::Exhausted));
        let lost = now.next(&ItemEvent::Settle { why: GiveUp::Lost, now: at(1_000) }).unwrap();
        assert_eq!(lost.state, ItemState::Lost);
    }

    #[test]
    fn two_deaths_cost_nothing_and_from_the_third_all_count() {
        let mut now = item(1, "p", 0, 0);
        let mut counted = Vec::new();
        for _ in 0..4 {
            now = now.next(&claim(1, 0)).unwrap().next(&ItemEvent::VoidLease).unwrap();
            counted.push(now.counted_attempts);
        }
        assert_eq!(counted, [0, 0, 3, 4]);
        now = now.next(&claim(1, 0)).unwrap().next(&ItemEvent::VoidLease).unwrap();
        assert_eq!(now.next(&claim(1, 0)), Err(ItemRefusal::Exhausted));
    }

    #[test]
    fn a_settled_item_keeps_the_records_that_had_ended() {
        let working = item(1, "p", 0, 0).next(&claim(1, 0)).unwrap();
        let spec = &crate::job::tests::list()[0];
        let record = |status| JobRecord::blank(working.key.run, &working.key.portfolio, "P", spec, status);
        let beat = ItemEvent::Heartbeat {
            owner: owner(1),
            attempt: 1,
            now: at(5),
            lease_until: at(65),
            in_hand: None,
            records: vec![record(JobStatus::Success), record(JobStatus::Running)],
        };
        let settled =
            working.next(&beat).unwrap().next(&ItemEvent::Settle { why: GiveUp::TimedOut, now: at(9) }).unwrap();
        assert_eq!(settled.records.iter().map(|r| r.status).collect::<Vec<_>>(), [JobStatus::Success]);
    }

    #[test]
    fn a_reply_that_was_lost_is_recognised() {
        let working = item(1, "p", 0, 0).next(&claim(1, 0)).unwrap();
        assert!(working.is_result_of(&claim(1, 0)));
        assert!(!working.is_result_of(&claim(2, 0)));
        let done = working.next(&finish(1, 1)).unwrap();
        assert!(done.is_result_of(&finish(1, 1)));
        assert!(!done.is_result_of(&finish(1, 2)));
    }
}
