//! What the schedules came across. A row of zero means that a promise was not tried, and so is a failure.

use std::collections::BTreeMap;

use crate::faults::Fault;

macro_rules! rows {
    ($($row:ident: $text:literal,)*) => {
        /// Something that must occur in the schedules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Row {
            $(#[doc = $text] $row,)*
        }

        impl Row {
            /// Every row, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$row,)*];

            /// How the table calls it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$row => $text,)* }
            }
        }
    };
}

rows! {
    KilledBefore: "fault: killed before a call",
    KilledAfter: "fault: killed after a call",
    SentAgain: "fault: reply lost, request sent again",
    ReplyLost: "fault: reply lost, caller told that it failed",
    Throttled: "fault: throttled",
    StalledBefore: "fault: stalled on the way there",
    StalledAfter: "fault: stalled on the way back",
    LandsLate: "fault: sender dead, request lands later",
    Refused: "fault: refused for good",
    NeverReturns: "fault: a call that never returns",
    ClockSkew: "clocks apart by minutes",
    DuplicateMessage: "messages sent twice",
    Reordered: "messages delivered out of order",
    AcknowledgementLost: "acknowledgements lost",
    DeadLetter: "dead letters",
    DeadLetterNeverRan: "dead letters that never ran",
    PlannersRace: "a second planner found the first at work",
    PlannerTakeover: "planner takeovers",
    PlannerFenced: "a planner was too late to seal",
    PlanReleased: "planners that could not read the inputs, and gave the run back",
    AbandonedInputs: "runs abandoned: their inputs cannot be read",
    AbandonedCanceled: "runs canceled before they had a plan",
    AbandonedOverdue: "runs abandoned: nobody planned them in time",
    SealAbandoned: "a planner was too late: its run was abandoned",
    StartRefused: "a run by hand whose inputs cannot be read: nothing recorded",
    RunMissing: "a run that nobody started, started by the watch",
    SlotMissed: "slots recorded as missed",
    SlotLate: "a missed slot that was run late after all",
    NoPortfolios: "runs without portfolios",
    ManyBuckets: "runs of more than one bucket",
    LeaseTakeover: "lease takeovers by workers",
    TwinAtWork: "a message came while its twin was at work",
    AfterTheEnd: "a message came after its item had ended",
    LateResult: "late results refused",
    ClaimLost: "claims lost between two heartbeats",
    Heartbeat: "heartbeats of long jobs",
    JobHung: "jobs that hung and were ended by their supervisor",
    PoisonTried: "items that kill their worker",
    WorkersGone: "runs without any worker",
    ProcessRestart: "whole processes restarted, leases voided",
    Lost: "items lost",
    TimedOut: "items timed out",
    Cancelled: "items cancelled",
    SettleRefused: "an item that ended while it was given up",
    SweptMessage: "messages sent again by the watch",
    StillWaiting: "sweeps that found messages in the queue",
    SweptClose: "closes asked for by the watch",
    CloseTooEarly: "a close that came too early",
    ClosersRace: "a second closer found the first at work",
    SecondCloser: "second closers",
    CloserFenced: "a closer was too late to close",
    LinkTaken: "a link of the chain that another closer appended first",
    RunHasLink: "a closer found the link of its run",
    SummaryThere: "a closer found the summary of another",
    PublicationFailed: "publications that failed",
    PublishedAgain: "publications repeated",
    PublicationSpread: "publications spread over messages",
    SpreadAgain: "a spread publication that was asked for again",
    BucketAgain: "a bucket whose pages were there already",
    IndexRefused: "an index refused, since somebody else had written it",
    AlertSent: "alerts delivered",
    AlertRepeated: "alerts delivered again, after a fault",
    AlertHeld: "an alert that somebody else was delivering",
    Rerun: "reruns beside their original",
    StoppedAfterSeal: "stopped between the seal of a plan and its night",
    StoppedAfterMissed: "stopped between a missed slot and its night",
    StoppedAfterSummary: "stopped between a summary and the document of its night",
    StoppedAfterDocument: "stopped between the document of a night and its head",
    StoppedAfterHead: "stopped between the head of a night and the close of its run",
    NightRepaired: "nights written by the watch, because their writer had stopped",
    NightRefused: "a head of a night refused, because somebody else had written it",
    ClosesRace: "two closes of one trading date wrote its night at once",
}

impl Row {
    /// The row of a fault.
    #[must_use]
    pub const fn of_fault(fault: Fault) -> Self {
        match fault {
            Fault::KilledBefore => Self::KilledBefore,
            Fault::KilledAfter => Self::KilledAfter,
            Fault::SentAgain => Self::SentAgain,
            Fault::ReplyLost => Self::ReplyLost,
            Fault::Throttled => Self::Throttled,
            Fault::StalledBefore => Self::StalledBefore,
            Fault::StalledAfter => Self::StalledAfter,
            Fault::LandsLate => Self::LandsLate,
            Fault::Refused => Self::Refused,
            Fault::NeverReturns => Self::NeverReturns,
        }
    }
}

/// How often each row was met, and in how many schedules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    hits: BTreeMap<Row, (u64, u64)>,
}

impl Coverage {
    /// Notes one occurrence.
    pub fn hit(&mut self, row: Row) {
        let (times, schedules) = self.hits.entry(row).or_default();
        *times += 1;
        *schedules = 1;
    }

    /// Adds what other schedules came across.
    pub fn add(&mut self, other: &Self) {
        for (row, (times, schedules)) in &other.hits {
            let sum = self.hits.entry(*row).or_default();
            sum.0 += times;
            sum.1 += schedules;
        }
    }

    /// Occurrences, and schedules with any.
    #[must_use]
    pub fn of(&self, row: Row) -> (u64, u64) {
        self.hits.get(&row).copied().unwrap_or_default()
    }

    /// Rows that were never met.
    #[must_use]
    pub fn uncovered(&self) -> Vec<Row> {
        Row::ALL.iter().copied().filter(|row| self.of(*row).0 == 0).collect()
    }

    /// The table, one line a row.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!("{:<58} {:>12} {:>12}\n", "what the schedules came across", "times", "schedules");
        for row in Row::ALL {
            let (times, schedules) = self.of(*row);
            table.push_str(&format!("{:<58} {times:>12} {schedules:>12}\n", row.text()));
        }
        table
    }
}
