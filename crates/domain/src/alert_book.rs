//! What is known of the alerts of one schedule: open incidents, mutes, and messages on their way.
//!
//! One document for each schedule, changed as a whole on the condition that nobody else changed it in between. All
//! decisions are here and pure: [`decide`] says what a run comes to, [`Delivery::next`] how a message gets through a
//! channel.

mod decide;
mod delivery;
mod notes;
mod outbox;
mod wording;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use self::decide::{RunFacts, decide, decide_overdue};
pub use self::delivery::{Delivery, DeliveryEvent, DeliveryRefusal, DeliveryState};
pub use self::notes::{Note, notes};
pub use self::outbox::{Outgoing, Trouble, Undelivered};
use crate::alert_rules::Mute;
use crate::ids::{CauseId, ChannelName, ScheduleName};
use crate::incident::{Incident, IncidentEvent, IncidentRefusal, IncidentState};

/// Decisions that are remembered, so that none is made twice.
const MOST_DECIDED: usize = 1_000;

/// Everything that is known of the alerts of one schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertBook {
    /// The schedule.
    pub schedule: ScheduleName,
    /// How often it was written.
    pub version: u32,
    /// Incidents that are not over, by their cause.
    #[serde(default)]
    pub incidents: BTreeMap<CauseId, Incident>,
    /// Mutes by command; those of the settings are in the rules.
    #[serde(default)]
    pub mutes: Vec<Mute>,
    /// What was decided already, the newest last: the ids of alerts.
    #[serde(default)]
    pub decided: Vec<String>,
    /// When each note of a digest was told last.
    #[serde(default)]
    pub notes_told: BTreeMap<String, DateTime<Utc>>,
    /// Messages on their way, the oldest first.
    #[serde(default)]
    pub outbox: Vec<Outgoing>,
    /// Channels that fail.
    #[serde(default)]
    pub troubles: BTreeMap<ChannelName, Trouble>,
}

impl AlertBook {
    /// The book of a schedule of which nothing is known.
    #[must_use]
    pub const fn empty(schedule: ScheduleName) -> Self {
        Self {
            schedule,
            version: 0,
            incidents: BTreeMap::new(),
            mutes: Vec::new(),
            decided: Vec::new(),
            notes_told: BTreeMap::new(),
            outbox: Vec::new(),
            troubles: BTreeMap::new(),
        }
    }

    /// Forgets what is over.
    fn tidy(&mut self, now: DateTime<Utc>) {
        self.tidy_outbox(now);
        self.mutes.retain(|mute| mute.until > now);
        let forgotten = self.decided.len().saturating_sub(MOST_DECIDED);
        self.decided.drain(..forgotten);
        self.notes_told.retain(|_, at| *at + TimeDelta::days(400) > now);
    }

    /// Mutes a cause or a portfolio, in place of what was said of it before.
    ///
    /// # Errors
    /// [`IncidentRefusal::MuteInThePast`]; an open incident of that cause is muted at once.
    pub fn mute(&mut self, mute: Mute, now: DateTime<Utc>) -> Result<(), IncidentRefusal> {
        let event = IncidentEvent::Mute { now, until: mute.until };
        IncidentState::NEW.next(&event)?;
        if let Some(incident) = mute.fingerprint.as_ref().and_then(|cause| self.incidents.get_mut(cause)) {
            incident.state = incident.state.next(&event)?;
        }
        self.mutes.retain(|other| (&other.fingerprint, &other.portfolio) != (&mute.fingerprint, &mute.portfolio));
        self.mutes.push(mute);
        Ok(())
    }
}
