//! An incident: one cause of one night series, from the first night that has it to the night that shows that it is over.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{CauseId, JobName, PortfolioId, RunId};
use crate::night::Night;
use crate::night::history::{self, Shown};
use crate::summary::RunSummary;
use crate::words::ErrorCategory;

pub use crate::night::history::MOST_PORTFOLIOS;

/// Dates of nights that an incident remembers.
const MOST_NIGHTS: usize = 400;

/// Where an incident stands. `runs` counts the nights that had the cause; the name is a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum IncidentState {
    /// Seen in fewer nights than the rules wait for: no message was sent.
    Waiting {
        /// Nights so far.
        runs: u32,
    },
    /// People were told.
    Open {
        /// Nights so far.
        runs: u32,
    },
    /// People were told again.
    Reminded {
        /// Nights so far.
        runs: u32,
        /// How often.
        reminders: u32,
    },
    /// People asked not to be told for a while.
    MutedUntil {
        /// Nights so far.
        runs: u32,
        /// Until when.
        until: DateTime<Utc>,
        /// Whether people had been told before.
        told: bool,
    },
    /// A night shows that the cause is over. The end: if it comes back, it is another incident.
    Recovered {
        /// Nights that had it.
        runs: u32,
        /// When that was found.
        at: DateTime<Utc>,
        /// Whether people had been told of it.
        told: bool,
    },
}

/// What can happen to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum IncidentEvent {
    /// A further night has the cause.
    Failed {
        /// When that was found.
        now: DateTime<Utc>,
        /// Nights that must have it before people are told; 0 and 1 are the same.
        wait_runs: u32,
        /// Until when it is muted, if it is.
        muted_until: Option<DateTime<Utc>>,
    },
    /// Somebody asks not to be told.
    Mute {
        /// The caller's clock.
        now: DateTime<Utc>,
        /// Until when.
        until: DateTime<Utc>,
    },
    /// A night shows that the cause is over.
    Recover {
        /// When that was found.
        now: DateTime<Utc>,
    },
}

/// Why an event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IncidentRefusal {
    /// It is over; the same cause again is another incident.
    #[error("the incident is over")]
    Over,
    /// The mute would end before it began.
    #[error("the mute lies in the past: give a later end")]
    MuteInThePast,
}

impl IncidentState {
    /// An incident of which nothing is known yet.
    pub const NEW: Self = Self::Waiting { runs: 0 };

    /// Nights that had the cause.
    #[must_use]
    pub const fn runs(self) -> u32 {
        match self {
            Self::Waiting { runs }
            | Self::Open { runs }
            | Self::Reminded { runs, .. }
            | Self::MutedUntil { runs, .. }
            | Self::Recovered { runs, .. } => runs,
        }
    }

    /// The same state after so many nights.
    #[must_use]
    pub const fn with_runs(self, runs: u32) -> Self {
        match self {
            Self::Waiting { .. } => Self::Waiting { runs },
            Self::Open { .. } => Self::Open { runs },
            Self::Reminded { reminders, .. } => Self::Reminded { runs, reminders },
            Self::MutedUntil { until, told, .. } => Self::MutedUntil { runs, until, told },
            Self::Recovered { at, told, .. } => Self::Recovered { runs, at, told },
        }
    }

    /// Whether people were told of it.
    #[must_use]
    pub const fn was_told(self) -> bool {
        match self {
            Self::Waiting { .. } => false,
            Self::Open { .. } | Self::Reminded { .. } => true,
            Self::MutedUntil { told, .. } | Self::Recovered { told, .. } => told,
        }
    }

    /// The state after this event. Total.
    ///
    /// # Errors
    /// [`IncidentRefusal`] says why the event cannot happen.
    pub fn next(self, event: &IncidentEvent) -> Result<Self, IncidentRefusal> {
        let told = self.was_told();
        match (self, *event) {
            (Self::Recovered { .. }, _) => Err(IncidentRefusal::Over),
            (_, IncidentEvent::Mute { now, until })
            | (_, IncidentEvent::Failed { now, muted_until: Some(until), .. })
                if until <= now =>
            {
                Err(IncidentRefusal::MuteInThePast)
            }
            (_, IncidentEvent::Mute { until, .. }) => Ok(Self::MutedUntil { runs: self.runs(), until, told }),
            (_, IncidentEvent::Recover { now }) => Ok(Self::Recovered { runs: self.runs(), at: now, told }),
            (_, IncidentEvent::Failed { muted_until: Some(until), .. }) => {
                Ok(Self::MutedUntil { runs: self.runs().saturating_add(1), until, told })
            }
            (_, IncidentEvent::Failed { wait_runs, muted_until: None, .. }) => {
                let runs = self.runs().saturating_add(1);
                Ok(match self {
                    Self::Reminded { reminders, .. } => Self::Reminded { runs, reminders: reminders.saturating_add(1) },
                    _ if told => Self::Reminded { runs, reminders: 1 },
                    _ if runs >= wait_runs => Self::Open { runs },
                    _ => Self::Waiting { runs },
                })
            }
        }
    }
}

/// How new a run is: by its slot, then by when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunAge {
    /// Its slot.
    pub scheduled_for: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
}

impl RunAge {
    /// That of this run.
    #[must_use]
    pub const fn of(summary: &RunSummary) -> Self {
        Self { scheduled_for: summary.scheduled_for, started_at: summary.started_at }
    }

    /// The time from this run to a later one: between their slots, or between their starts where the slot is the same
    /// (a rerun). A backfill of last year does not last a year.
    #[must_use]
    pub fn until(&self, later: &Self) -> TimeDelta {
        let slots = later.scheduled_for - self.scheduled_for;
        let between = if slots > TimeDelta::zero() { slots } else { later.started_at - self.started_at };
        between.max(TimeDelta::zero())
    }
}

/// One cause of one night series, and whether people know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The cause.
    pub cause: CauseId,
    /// Where it stands.
    #[serde(flatten)]
    pub state: IncidentState,
    /// The job that fails, where it is one.
    pub job: Option<JobName>,
    /// What kind of fault, where a job fails.
    pub category: Option<ErrorCategory>,
    /// What happened, of the newest run.
    pub message: String,
    /// Portfolios that it affects, as far as is known.
    pub affected: u64,
    /// The first [`MOST_PORTFOLIOS`] of them, sorted.
    pub portfolios: Vec<PortfolioId>,
    /// The run that had it first.
    pub opened_run: RunId,
    /// The trading date of that run.
    pub opened_as_of: NaiveDate,
    /// How new that run is.
    pub opened: RunAge,
    /// The newest run that had it.
    pub last_run: RunId,
    /// How new that run is.
    pub last: RunAge,
    /// The trading dates of the nights that have it, the newest 400.
    #[serde(default)]
    pub nights: BTreeSet<NaiveDate>,
    /// The jobs that it failed.
    #[serde(default)]
    pub jobs: BTreeSet<JobName>,
    /// Fingerprints of errors with this cause: one for each job. A mute may name them.
    #[serde(default)]
    pub fingerprints: BTreeSet<CauseId>,
    /// Affected portfolios that were declared closed since.
    #[serde(default)]
    pub closed: BTreeSet<PortfolioId>,
}

/// What an incident is about, which decides when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    /// Jobs that did not succeed.
    Jobs,
    /// Missed slots.
    Missed,
    /// A run that goes on for too long.
    Overdue,
    /// Expected portfolios that are in no run.
    Absent,
    /// A control that did not pass.
    Control,
}

impl IncidentKind {
    /// The kind of this cause.
    #[must_use]
    pub fn of(cause: &CauseId) -> Self {
        match cause.as_str() {
            CauseId::MISSED => Self::Missed,
            CauseId::OVERDUE => Self::Overdue,
            CauseId::ABSENT => Self::Absent,
            _ if cause.is_control() => Self::Control,
            _ => Self::Jobs,
        }
    }

    /// What a night shows about a portfolio that an incident of this kind affects; `None`: nothing.
    #[must_use]
    pub fn shown(self, night: &Night, id: &PortfolioId, jobs: &BTreeSet<JobName>) -> Option<Shown> {
        match self {
            Self::Jobs => history::shown(night, id, jobs),
            // Any outcome shows that it is back.
            Self::Missed | Self::Overdue | Self::Absent => history::shown(night, id, &BTreeSet::new()),
            // A control is not evaluated where a job of the portfolio did not succeed.
            Self::Control => {
                history::shown(night, id, &night.jobs.iter().map(|job| job.name.clone()).collect::<BTreeSet<_>>())
            }
        }
    }
}

impl Incident {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> IncidentKind {
        IncidentKind::of(&self.cause)
    }

    /// The newest night that has it.
    #[must_use]
    pub fn last_night(&self) -> NaiveDate {
        self.nights.last().copied().unwrap_or(self.opened_as_of)
    }

    /// Records that a night has it. Returns whether that was not known.
    pub fn add_night(&mut self, as_of: NaiveDate) -> bool {
        let added = self.nights.insert(as_of);
        while self.nights.len() > MOST_NIGHTS {
            self.nights.pop_first();
        }
        self.opened_as_of = self.opened_as_of.min(as_of);
        added
    }

    /// Records that a night does not have it any more.
    pub fn remove_night(&mut self, as_of: NaiveDate) {
        self.nights.remove(&as_of);
        if let (Some(first), true) = (self.nights.first(), self.opened_as_of == as_of) {
            self.opened_as_of = *first;
        }
    }

    /// Whether every affected portfolio is known by name.
    #[must_use]
    pub fn is_known_by_name(&self) -> bool {
        self.affected == self.portfolios.len() as u64
    }

    /// Removes the affected portfolios for which this night shows that it is over. Only where all are known by name.
    pub fn clear(&mut self, night: &Night) {
        if !self.is_known_by_name() {
            return;
        }
        let kind = self.kind();
        let (jobs, closed) = (&self.jobs, &mut self.closed);
        self.portfolios.retain(|id| match kind.shown(night, id, jobs) {
            None => true,
            Some(Shown::Succeeded) => false,
            Some(Shown::Closed) => {
                closed.insert(id.clone());
                false
            }
        });
        self.affected = self.portfolios.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::samples::at;

    fn failed(n: i64, wait_runs: u32, muted: Option<i64>) -> IncidentEvent {
        IncidentEvent::Failed { now: at(n), wait_runs, muted_until: muted.map(at) }
    }

    fn event() -> impl Strategy<Value = IncidentEvent> {
        let time = 0i64..100;
        prop_oneof![
            4 => (time.clone(), 0u32..4, prop::option::weighted(0.2, 0i64..200)).prop_map(|(n, w, m)| failed(n, w, m)),
            1 => (time.clone(), 0i64..200).prop_map(|(n, u)| IncidentEvent::Mute { now: at(n), until: at(u) }),
            1 => time.prop_map(|n| IncidentEvent::Recover { now: at(n) }),
        ]
    }

    proptest! {
        /// Runs only grow, what was told stays told, the end is the end, and a muted run tells nobody.
        #[test]
        fn an_incident_never_goes_back(events in prop::collection::vec(event(), 0..30)) {
            let mut state = IncidentState::NEW;
            for event in &events {
                let before = state;
                match before.next(event) {
                    Err(IncidentRefusal::Over) => {
                        let over = matches!(before, IncidentState::Recovered { .. });
                        prop_assert!(over);
                    }
                    Err(IncidentRefusal::MuteInThePast) => {
                        let mutes = !matches!(event, IncidentEvent::Recover { .. });
                        prop_assert!(mutes);
                    }
                    Ok(next) => {
                        let failed = u32::from(matches!(event, IncidentEvent::Failed { .. }));
                        prop_assert_eq!(next.runs(), before.runs() + failed);
                        prop_assert!(next.was_told() || !before.was_told());
                        if let IncidentEvent::Failed { wait_runs, muted_until, .. } = event {
                            let muted = muted_until.is_some();
                            prop_assert_eq!(matches!(next, IncidentState::MutedUntil { .. }), muted);
                            if !muted {
                                prop_assert_eq!(next.was_told(), before.was_told() || next.runs() >= *wait_runs);
                            }
                        }
                        state = next;
                    }
                }
            }
        }
    }

    #[test]
    fn it_opens_reminds_is_muted_and_recovers() {
        let open = IncidentState::NEW.next(&failed(0, 1, None)).unwrap();
        assert_eq!(open, IncidentState::Open { runs: 1 });
        let again = open.next(&failed(1, 1, None)).unwrap();
        assert_eq!(again, IncidentState::Reminded { runs: 2, reminders: 1 });
        let muted = again.next(&IncidentEvent::Mute { now: at(2), until: at(50) }).unwrap();
        assert_eq!(muted.next(&failed(3, 1, Some(50))).unwrap().runs(), 3);
        let after = muted.next(&failed(51, 1, None)).unwrap();
        assert_eq!(after, IncidentState::Reminded { runs: 3, reminders: 1 });
        let over = after.next(&IncidentEvent::Recover { now: at(60) }).unwrap();
        assert_eq!(over, IncidentState::Recovered { runs: 3, at: at(60), told: true });
        assert_eq!(over.next(&failed(61, 1, None)), Err(IncidentRefusal::Over));
    }

    #[test]
    fn what_is_seen_less_often_than_the_rules_wait_for_is_told_to_nobody() {
        let once = IncidentState::NEW.next(&failed(0, 2, None)).unwrap();
        assert_eq!(once, IncidentState::Waiting { runs: 1 });
        assert!(!once.next(&IncidentEvent::Recover { now: at(1) }).unwrap().was_told());
        assert_eq!(once.next(&failed(1, 2, None)), Ok(IncidentState::Open { runs: 2 }));
    }

    #[test]
    fn a_mute_that_is_over_already_is_refused() {
        let mute = IncidentEvent::Mute { now: at(9), until: at(9) };
        assert_eq!(IncidentState::NEW.next(&mute), Err(IncidentRefusal::MuteInThePast));
    }
}
