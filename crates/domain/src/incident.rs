//! An incident: one cause of one schedule, from the first run that had it to the run that did not any more.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{CauseId, JobName, PortfolioId, RunId};
use crate::summary::RunSummary;
use crate::words::ErrorCategory;

/// Affected portfolios that an incident remembers by name. Of one with more, only a run over all portfolios can say that
/// it is over.
pub const MOST_PORTFOLIOS: usize = 500;

/// Where an incident stands. `runs` counts the runs that had the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum IncidentState {
    /// Seen in fewer runs than the rules wait for: nobody was told.
    Waiting {
        /// Runs so far.
        runs: u32,
    },
    /// People were told.
    Open {
        /// Runs so far.
        runs: u32,
    },
    /// People were told again.
    Reminded {
        /// Runs so far.
        runs: u32,
        /// How often.
        reminders: u32,
    },
    /// People asked not to be told for a while.
    MutedUntil {
        /// Runs so far.
        runs: u32,
        /// Until when.
        until: DateTime<Utc>,
        /// Whether people had been told before.
        told: bool,
    },
    /// A run did not have the cause any more. The end: if it comes back, it is another incident.
    Recovered {
        /// Runs that had it.
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
    /// A run had the cause.
    Failed {
        /// When that was found.
        now: DateTime<Utc>,
        /// Runs that must have it before people are told; 0 and 1 are the same.
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
    /// A run that would have had the cause did not have it.
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

    /// Runs that had the cause.
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

/// One cause of one schedule, and how people know of it.
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
}

impl Incident {
    /// Takes in that a run of only these portfolios did not have the cause; says whether nothing is left of it. Without
    /// names, it was a run of all portfolios.
    pub fn clear(&mut self, portfolios: &[PortfolioId]) -> bool {
        if portfolios.is_empty() {
            return true;
        }
        let known = self.affected == self.portfolios.len() as u64 && self.affected > 0;
        if !known {
            return false;
        }
        self.portfolios.retain(|portfolio| !portfolios.contains(portfolio));
        self.affected = self.portfolios.len() as u64;
        self.affected == 0
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
