//! The verdict of a night: one word, by one total rule.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::controls::Level;
use crate::words::RunStatus;

/// How a night stands. The words are serialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Verdict {
    /// A run is open and no full run of the date has ended yet.
    Running,
    /// The slot passed without a run.
    Missed,
    /// No expected portfolio succeeded wholly.
    Failed,
    /// A job did not succeed, a portfolio is absent, or a control failed.
    Partial,
    /// Everything succeeded and a control warns.
    Warning,
    /// Every expected portfolio, every job, every control.
    Ok,
}

/// What the verdict depends on, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whether a run is open.
    pub in_progress: bool,
    /// Whether a full run that counts has ended.
    pub full_run_ended: bool,
    /// Whether a missed slot is recorded and there is no run.
    pub only_missed: bool,
    /// Expected portfolios that succeeded in every job.
    pub succeeded_wholly: u64,
    /// Whether a job of an expected portfolio did not succeed, or an expected portfolio is absent.
    pub incomplete: bool,
    /// The worst control result that nobody accepted.
    pub worst_control: Level,
}

impl Verdict {
    /// Every verdict, in the order in which the rule asks.
    pub const ALL: [Self; 6] = [Self::Running, Self::Missed, Self::Failed, Self::Partial, Self::Warning, Self::Ok];

    /// The verdict in the words that runs have, for fields that are older than verdicts.
    #[must_use]
    pub const fn status(self) -> RunStatus {
        match self {
            Self::Running => RunStatus::Running,
            Self::Missed => RunStatus::Missed,
            Self::Failed => RunStatus::Failed,
            Self::Partial => RunStatus::Partial,
            Self::Warning | Self::Ok => RunStatus::Success,
        }
    }

    /// The verdict for these facts. Total: the first case that applies.
    #[must_use]
    pub const fn of(facts: &Facts) -> Self {
        if facts.in_progress && !facts.full_run_ended {
            Self::Running
        } else if facts.only_missed {
            Self::Missed
        } else if facts.succeeded_wholly == 0 {
            Self::Failed
        } else if facts.incomplete || matches!(facts.worst_control, Level::Failure) {
            Self::Partial
        } else if matches!(facts.worst_control, Level::Warning) {
            Self::Warning
        } else {
            Self::Ok
        }
    }

    /// The word as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Warning => "warning",
            Self::Ok => "ok",
        }
    }

    /// How bad a judged night is: 0 for `ok` to 3 for `failed`. None while nothing is judged (`running`, `missed`).
    #[must_use]
    pub const fn severity(self) -> Option<u8> {
        match self {
            Self::Ok => Some(0),
            Self::Warning => Some(1),
            Self::Partial => Some(2),
            Self::Failed => Some(3),
            Self::Running | Self::Missed => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_spelled_as_agreed() {
        let words: Vec<String> = Verdict::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["running", "missed", "failed", "partial", "warning", "ok"]);
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
        }
    }

    #[test]
    fn the_first_case_that_applies_decides() {
        let good = Facts {
            in_progress: false,
            full_run_ended: true,
            only_missed: false,
            succeeded_wholly: 1,
            incomplete: false,
            worst_control: Level::Ok,
        };
        assert_eq!(Verdict::of(&good), Verdict::Ok);
        let warns = Facts { worst_control: Level::Warning, ..good };
        assert_eq!(Verdict::of(&warns), Verdict::Warning);
        assert_eq!(Verdict::of(&Facts { worst_control: Level::Failure, ..good }), Verdict::Partial);
        let incomplete = Facts { incomplete: true, ..warns };
        assert_eq!(Verdict::of(&incomplete), Verdict::Partial);
        let nothing = Facts { succeeded_wholly: 0, ..incomplete };
        assert_eq!(Verdict::of(&nothing), Verdict::Failed);
        assert_eq!(Verdict::of(&Facts { only_missed: true, ..nothing }), Verdict::Missed);
        let open = Facts { in_progress: true, ..nothing };
        assert_eq!(Verdict::of(&open), Verdict::Failed, "a full run ended, so its verdict stands");
        assert_eq!(Verdict::of(&Facts { full_run_ended: false, ..open }), Verdict::Running);
    }
}
