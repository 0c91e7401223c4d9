//! What is known of the alerts of one night series: open incidents, mutes, and messages on their way.
//!
//! One document for each series, changed as a whole on the condition that nobody else changed it in between. All
//! decisions are here and pure: [`decide`] says what a night comes to, [`Delivery::next`] how a message gets through a
//! channel.

mod changes;
mod closing;
mod decide;
mod delivery;
mod notes;
mod outbox;
mod rekey;
mod restatement;
mod seen;
mod wording;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use self::closing::{decide_accepted, decide_unconfigured};
pub use self::decide::{NightFacts, decide, decide_overdue};
pub use self::delivery::{Delivery, DeliveryEvent, DeliveryRefusal, DeliveryState};
pub use self::notes::{Note, notes};
pub use self::outbox::{Outgoing, Trouble, Undelivered};
pub use self::restatement::decide_restated;
use crate::alert_message::RecoveredLine;
use crate::alert_rules::{Mute, Severity};
use crate::ids::{CauseId, ChannelName, ScheduleName};
use crate::incident::{Incident, IncidentEvent, IncidentRefusal, IncidentState};

/// Decisions that are remembered, so that none is made twice.
const MOST_DECIDED: usize = 1_000;

/// Nights whose severity is remembered.
const MOST_NIGHTS: usize = 400;

/// A recovery that no message reported, because the cause was muted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// What is over.
    pub line: RecoveredLine,
    /// The end of the mute, after which it is reported.
    pub until: DateTime<Utc>,
}

/// Everything that is known of the alerts of one night series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertBook {
    /// The night series: the schedule, under the name that it keeps when it is renamed.
    pub schedule: ScheduleName,
    /// The present name of the schedule, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed: Option<ScheduleName>,
    /// How often it was written.
    pub version: u32,
    /// Incidents that are not over, by their cause.
    #[serde(default, deserialize_with = "rekey::incidents")]
    pub incidents: BTreeMap<CauseId, Incident>,
    /// Mutes by command; those of the settings are in the rules.
    #[serde(default)]
    pub mutes: Vec<Mute>,
    /// What was decided already, the newest last: the ids of alerts.
    #[serde(default)]
    pub decided: Vec<String>,
    /// The `dedup_key` of what is open: from the first message to the recovery of the last cause.
    #[serde(default)]
    pub open_key: Option<String>,
    /// The channels that had a message about what is open.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub told_channels: BTreeSet<ChannelName>,
    /// Recoveries to report when their mute is over.
    #[serde(default)]
    pub owed: Vec<Owed>,
    /// The severity of the last message about each night, where it had one.
    #[serde(default)]
    pub told_nights: BTreeMap<NaiveDate, Severity>,
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
            renamed: None,
            version: 0,
            incidents: BTreeMap::new(),
            mutes: Vec::new(),
            decided: Vec::new(),
            open_key: None,
            told_channels: BTreeSet::new(),
            owed: Vec::new(),
            told_nights: BTreeMap::new(),
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
        while self.told_nights.len() > MOST_NIGHTS {
            self.told_nights.pop_first();
        }
        self.notes_told.retain(|_, at| *at + TimeDelta::days(400) > now);
    }

    /// The present name of the schedule.
    #[must_use]
    pub fn shown_schedule(&self) -> &ScheduleName {
        self.renamed.as_ref().unwrap_or(&self.schedule)
    }

    /// The incident of this cause, or of the error with this fingerprint.
    #[must_use]
    pub fn incident(&self, cause: &CauseId) -> Option<&Incident> {
        let named = || self.incidents.values().find(|incident| incident.fingerprints.contains(cause));
        self.incidents.get(cause).or_else(named)
    }

    /// Mutes a cause or a portfolio, in place of what was said of it before.
    ///
    /// # Errors
    /// [`IncidentRefusal::MuteInThePast`]; an open incident of that cause is muted at once.
    pub fn mute(&mut self, mute: Mute, now: DateTime<Utc>) -> Result<(), IncidentRefusal> {
        let event = IncidentEvent::Mute { now, until: mute.until };
        IncidentState::NEW.next(&event)?;
        let key = mute.fingerprint.as_ref().and_then(|cause| Some(self.incident(cause)?.cause.clone()));
        if let Some(incident) = key.and_then(|key| self.incidents.get_mut(&key)) {
            incident.state = incident.state.next(&event)?;
        }
        self.mutes.retain(|other| (&other.fingerprint, &other.portfolio) != (&mute.fingerprint, &mute.portfolio));
        self.mutes.push(mute);
        Ok(())
    }
}
