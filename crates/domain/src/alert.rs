//! The outbox of the alert of a run.
//!
//! At least once: the claim has a lease, and a claimer that dies inside the delivery is followed by another with the
//! same `alert_id`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::Owner;
use crate::run::{Publication, Run, RunPhase};
use crate::words::RunStatus;

/// Causes that an alert names at most.
pub const TOP_CAUSES: usize = 3;

/// What an alert is about. A run that was missed and then run late may have one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertAbout {
    /// That its slot was missed.
    Missed,
    /// How it went.
    #[default]
    Run,
}

impl AlertAbout {
    /// What the alert of a run of this status is about.
    #[must_use]
    pub const fn of(status: RunStatus) -> Self {
        match status {
            RunStatus::Missed => Self::Missed,
            RunStatus::Running | RunStatus::Success | RunStatus::Partial | RunStatus::Failed => Self::Run,
        }
    }

    /// The end of the `alert_id`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Run => "run",
        }
    }
}

/// Where the alert of a run is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AlertState {
    /// Nobody has taken it.
    #[default]
    Open,
    /// Somebody is delivering it.
    Sending {
        /// Who.
        owner: Owner,
        /// Until when.
        lease_until: DateTime<Utc>,
        /// Deliveries begun so far.
        deliveries: u32,
        /// What it is about.
        #[serde(default)]
        about: AlertAbout,
    },
    /// It was delivered, or there was nothing to tell.
    Sent {
        /// When.
        at: DateTime<Utc>,
        /// Deliveries begun.
        deliveries: u32,
        /// What it was about.
        #[serde(default)]
        about: AlertAbout,
    },
}

/// Whether nothing of an ended run is left to be delivered: its pages are published, and its alert is out of the way.
#[must_use]
pub fn is_delivered(run: &Run, alert: AlertState) -> bool {
    let about = if run.phase == RunPhase::Missed { AlertAbout::Missed } else { AlertAbout::Run };
    matches!(run.publication, Publication::Published { .. })
        && matches!(alert, AlertState::Sent { about: told, .. } if told >= about)
}

/// What can happen to the alert of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AlertEvent {
    /// Somebody takes it.
    Claim {
        /// Who.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The lease.
        lease_until: DateTime<Utc>,
        /// What it is about.
        #[serde(default)]
        about: AlertAbout,
    },
    /// It was delivered.
    Sent {
        /// By whom.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// It could not be delivered: anyone may try again.
    GiveBack {
        /// Who.
        owner: Owner,
    },
}

/// Why an event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlertRefusal {
    /// It was delivered already.
    #[error("the alert was sent already")]
    AlreadySent,
    /// Somebody else is delivering it.
    #[error("another owner is sending the alert")]
    LeaseHeld,
    /// The caller does not hold it.
    #[error("the alert is not in the hands of this owner")]
    NotHeld,
}

impl AlertState {
    /// The state after this event. Total.
    ///
    /// # Errors
    /// [`AlertRefusal`] says why the event cannot happen.
    pub fn next(self, event: &AlertEvent) -> Result<Self, AlertRefusal> {
        match (self, event) {
            (Self::Sent { about: before, .. }, AlertEvent::Claim { owner, lease_until, about, .. })
                if before < *about =>
            {
                Ok(Self::Sending { owner: *owner, lease_until: *lease_until, deliveries: 1, about: *about })
            }
            (Self::Sent { .. }, _) => Err(AlertRefusal::AlreadySent),
            (Self::Open, AlertEvent::Claim { owner, lease_until, about, .. }) => {
                Ok(Self::Sending { owner: *owner, lease_until: *lease_until, deliveries: 1, about: *about })
            }
            (
                Self::Sending { lease_until, deliveries, .. },
                AlertEvent::Claim { owner, now, lease_until: new, about },
            ) => {
                if lease_until >= *now {
                    Err(AlertRefusal::LeaseHeld)
                } else {
                    let deliveries = deliveries + 1;
                    Ok(Self::Sending { owner: *owner, lease_until: *new, deliveries, about: *about })
                }
            }
            (Self::Sending { owner: holder, deliveries, about, .. }, AlertEvent::Sent { owner, now })
                if holder == *owner =>
            {
                Ok(Self::Sent { at: *now, deliveries, about })
            }
            (Self::Sending { owner: holder, .. }, AlertEvent::GiveBack { owner }) if holder == *owner => Ok(Self::Open),
            (Self::Open | Self::Sending { .. }, AlertEvent::Sent { .. } | AlertEvent::GiveBack { .. }) => {
                Err(AlertRefusal::NotHeld)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::samples::{at, owner};

    fn claim(o: u128, n: i64) -> AlertEvent {
        AlertEvent::Claim { owner: owner(o), now: at(n), lease_until: at(n + 60), about: AlertAbout::Run }
    }

    #[test]
    fn an_alert_is_sent_once_and_taken_over_from_the_dead() {
        let sending = AlertState::Open.next(&claim(1, 0)).unwrap();
        assert_eq!(sending.next(&claim(2, 30)), Err(AlertRefusal::LeaseHeld));
        let again = sending.next(&claim(2, 61)).unwrap();
        assert_eq!(again.next(&AlertEvent::Sent { owner: owner(1), now: at(62) }), Err(AlertRefusal::NotHeld));
        let sent = again.next(&AlertEvent::Sent { owner: owner(2), now: at(62) }).unwrap();
        assert_eq!(sent, AlertState::Sent { at: at(62), deliveries: 2, about: AlertAbout::Run });
        assert_eq!(sent.next(&claim(3, 900)), Err(AlertRefusal::AlreadySent));
    }

    #[test]
    fn a_run_that_was_missed_and_then_run_late_may_tell_of_both() {
        let about = |about, n| AlertEvent::Claim { owner: owner(1), now: at(n), lease_until: at(n + 60), about };
        let sent = |state: AlertState, n| state.next(&AlertEvent::Sent { owner: owner(1), now: at(n) }).unwrap();
        let missed = sent(AlertState::Open.next(&about(AlertAbout::Missed, 0)).unwrap(), 1);
        assert_eq!(missed.next(&about(AlertAbout::Missed, 2)), Err(AlertRefusal::AlreadySent));
        let run = sent(missed.next(&about(AlertAbout::Run, 900)).unwrap(), 901);
        assert_eq!(run.next(&about(AlertAbout::Missed, 902)), Err(AlertRefusal::AlreadySent), "never back");
        assert_eq!(run.next(&about(AlertAbout::Run, 902)), Err(AlertRefusal::AlreadySent));
    }

    #[test]
    fn a_failed_delivery_can_be_tried_at_once() {
        let sending = AlertState::Open.next(&claim(1, 0)).unwrap();
        let open = sending.next(&AlertEvent::GiveBack { owner: owner(1) }).unwrap();
        assert!(open.next(&claim(2, 1)).is_ok());
    }
}
