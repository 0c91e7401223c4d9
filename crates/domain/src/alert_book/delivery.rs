//! One message on its way through one channel: a state machine.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::alert_rules::DeliveryMode;
use crate::ids::Owner;

/// Why a message that is delivered at most once is given up when its sender dies.
pub(super) const SENDER_DIED: &str = "whoever delivered it ended meanwhile, and delivery is at_most_once";

/// Where one message is on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be delivered.
    Waiting,
    /// Somebody delivers it.
    Sending {
        /// Who.
        owner: Owner,
        /// Until when nobody else may.
        lease_until: DateTime<Utc>,
    },
    /// It was delivered.
    Delivered {
        /// When.
        at: DateTime<Utc>,
    },
    /// It was not, and is not tried any more.
    GivenUp {
        /// When.
        at: DateTime<Utc>,
        /// Why, without secrets.
        error: String,
    },
}

/// One message on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Deliveries begun.
    pub attempts: u32,
    /// Where it is.
    #[serde(flatten)]
    pub state: DeliveryState,
}

/// What can happen to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// Somebody takes it.
    Claim {
        /// Who.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The lease.
        lease_until: DateTime<Utc>,
        /// What becomes of one whose sender died.
        mode: DeliveryMode,
    },
    /// It was delivered.
    Delivered {
        /// By whom.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// It could not be delivered.
    Failed {
        /// By whom.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// Why, without secrets.
        error: String,
        /// Whether it is not tried any more.
        give_up: bool,
    },
}

/// Why an event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryRefusal {
    /// It came to an end.
    #[error("the message was delivered or given up already")]
    Ended,
    /// Somebody else has it in hand.
    #[error("another owner is delivering the message")]
    LeaseHeld,
    /// The caller does not have it in hand.
    #[error("the message is not in the hands of this owner")]
    NotHeld,
}

impl Delivery {
    /// One that nobody has tried yet.
    pub(super) const fn waiting() -> Self {
        Self { attempts: 0, state: DeliveryState::Waiting }
    }

    /// Whether nothing further can happen to it.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. })
    }

    /// The delivery after this event. Total.
    ///
    /// # Errors
    /// [`DeliveryRefusal`] says why the event cannot happen.
    pub fn next(&self, event: &DeliveryEvent) -> Result<Self, DeliveryRefusal> {
        let held_by =
            |owner: Owner| matches!(self.state, DeliveryState::Sending { owner: holder, .. } if holder == owner);
        match (&self.state, event) {
            (DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. }, _) => Err(DeliveryRefusal::Ended),
            (DeliveryState::Sending { lease_until, .. }, DeliveryEvent::Claim { now, .. }) if lease_until >= now => {
                Err(DeliveryRefusal::LeaseHeld)
            }
            (DeliveryState::Sending { .. }, DeliveryEvent::Claim { now, mode: DeliveryMode::AtMostOnce, .. }) => {
                Ok(Self { state: DeliveryState::GivenUp { at: *now, error: SENDER_DIED.to_owned() }, ..self.clone() })
            }
            (_, DeliveryEvent::Claim { owner, lease_until, .. }) => Ok(Self {
                attempts: self.attempts.saturating_add(1),
                state: DeliveryState::Sending { owner: *owner, lease_until: *lease_until },
            }),
            (_, DeliveryEvent::Delivered { owner, now }) if held_by(*owner) => {
                Ok(Self { state: DeliveryState::Delivered { at: *now }, ..self.clone() })
            }
            (_, DeliveryEvent::Failed { owner, now, error, give_up }) if held_by(*owner) => {
                let state = if *give_up {
                    DeliveryState::GivenUp { at: *now, error: error.clone() }
                } else {
                    DeliveryState::Waiting
                };
                Ok(Self { state, ..self.clone() })
            }
            (_, DeliveryEvent::Delivered { .. } | DeliveryEvent::Failed { .. }) => Err(DeliveryRefusal::NotHeld),
        }
    }
}
