//! Lost replies: whether a stored state is the result of an event that the caller has already tried.
//!
//! A backend that writes under a condition asks this when its write was refused and another writer may have followed.

use crate::alert::{AlertEvent, AlertState};
use crate::run::{Run, RunEvent, RunPhase};

impl Run {
    /// Whether this event, tried before by the same caller, led to this state.
    #[must_use]
    pub fn is_result_of(&self, event: &RunEvent) -> bool {
        match (&self.phase, event) {
            (
                RunPhase::Planning { owner: holder, lease_until: until },
                RunEvent::TakeOverPlan { owner, lease_until, .. },
            )
            | (
                RunPhase::Closing { owner: holder, lease_until: until },
                RunEvent::ClaimClose { owner, lease_until, .. },
            ) => (holder, until) == (owner, lease_until),
            (_, RunEvent::AbandonPlan { now, reason }) => {
                self.abandoned.as_ref().is_some_and(|abandoned| (&abandoned.at, &abandoned.reason) == (now, reason))
            }
            (_, RunEvent::Seal { plan }) => self.plan.as_ref() == Some(plan),
            (RunPhase::Closed, RunEvent::Close { epoch }) => self.close_epoch == *epoch,
            _ => false,
        }
    }
}

impl AlertState {
    /// Whether this event, tried before by the same caller, led to this state.
    #[must_use]
    pub fn is_result_of(self, event: &AlertEvent) -> bool {
        match (self, event) {
            (Self::Sending { owner: holder, lease_until: until, .. }, AlertEvent::Claim { owner, lease_until, .. }) => {
                (holder, until) == (*owner, *lease_until)
            }
            (Self::Sent { at, .. }, AlertEvent::Sent { now, .. }) => at == *now,
            (Self::Open, AlertEvent::GiveBack { .. }) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertAbout;
    use crate::run::samples::{at, owner};

    #[test]
    fn an_alert_is_the_result_of_ones_own_claim_by_its_lease() {
        let claim =
            |until| AlertEvent::Claim { owner: owner(1), now: at(0), lease_until: at(until), about: AlertAbout::Run };
        let sending = AlertState::Open.next(&claim(60)).unwrap();
        assert!(sending.is_result_of(&claim(60)) && !sending.is_result_of(&claim(61)));
        let sent = AlertEvent::Sent { owner: owner(1), now: at(9) };
        assert!(sending.next(&sent).unwrap().is_result_of(&sent));
    }
}
