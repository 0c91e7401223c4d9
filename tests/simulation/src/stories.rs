//! Stories: small schedules without chance, told event by event, and what was on record at their end.
//!
//! They show what the protocol does and in which order; the promises alone would also be kept by a worker that never
//! works, since the watch ends everything at the deadline.

use std::collections::BTreeMap;

use domain::record::JobError;
use domain::words::ErrorCategory;

use crate::executor::SECOND;
use crate::faults::{Fault, Faults};
use crate::scenario::{Behaviour, Scenario};
use crate::schedule::simulate;

/// A story by its name, told line by line. None where there is none of this name.
#[must_use]
pub fn tell(name: &str) -> Option<Vec<String>> {
    let (scenario, faults) = story(name)?;
    let outcome = simulate(0, scenario, Faults::At(faults), true);
    let mut lines = outcome.trace;
    lines.extend(outcome.violations.into_iter().map(|violation| format!("BROKEN {}", violation.text)));
    Some(lines)
}

/// Every story.
pub const NAMES: &[&str] = &[
    "calm",
    "two portfolios, one of them long",
    "a job that hangs",
    "jobs that fail",
    "the price source is down",
    "no portfolio",
    "nobody works",
    "cancelled",
    "the inputs cannot be read",
    "cancelled before it is planned",
    "a portfolio that kills its worker",
    "the process dies again and again",
    "the planner dies",
    "the seal is sent again",
    "the worker dies with its work done",
    "a late worker",
    "the closer dies before its summary",
    "the closer dies after its summary",
    "a page that never returns",
    "a slow page",
    "the alert fails once",
    "a missed slot, run late",
];

#[expect(clippy::too_many_lines, reason = "one table: an arm for each story")]
fn story(name: &str) -> Option<(Scenario, BTreeMap<u64, Fault>)> {
    let mut scenario = Scenario::smallest();
    let mut faults = BTreeMap::new();
    let mut at = |call, fault| {
        faults.insert(call, fault);
    };
    match name {
        "calm" => {}
        "two portfolios, one of them long" => {
            scenario = Scenario { site: false, ..Scenario::small(2) };
            scenario.behaviour.long = 0.5;
        }
        "a job that hangs" => {
            scenario.behaviour.hangs = 1.0;
        }
        "jobs that fail" => {
            scenario = Scenario { site: false, ..Scenario::small(2) };
            scenario.behaviour.fails = 0.7;
        }
        "the price source is down" => {
            scenario = Scenario { site: false, ..Scenario::small(1) };
            scenario.market_data = Some(JobError::new(ErrorCategory::Transient, "the price source is down"));
        }
        "no portfolio" => scenario.lists[0].1.clear(),
        "nobody works" => scenario.workers_gone = true,
        "cancelled" => {
            scenario.behaviour.long = 1.0;
            scenario.cancel_at = Some(90 * SECOND);
        }
        "the inputs cannot be read" => {
            scenario.slots[0].unreadable_until = crate::executor::Micros::MAX;
            scenario.slots[0].start.deadline_minutes = 10;
        }
        "cancelled before it is planned" => {
            scenario.slots[0].unreadable_until = 3_000 * SECOND;
            scenario.cancel_at = Some(90 * SECOND);
        }
        "a portfolio that kills its worker" => {
            scenario.deadline_minutes = 90;
            scenario.behaviour = Behaviour {
                poison: scenario.lists[0].1.first().map(|planned| planned.id.clone()),
                ..Behaviour::default()
            };
        }
        "the process dies again and again" => {
            scenario.behaviour.long = 1.0;
            scenario.deadline_minutes = 90;
            scenario.restarts = (0..6).map(|n| (100 + n * 302) * SECOND).collect();
        }
        "the planner dies" => at(2, Fault::KilledBefore),
        "the seal is sent again" => at(5, Fault::SentAgain),
        "the worker dies with its work done" => at(13, Fault::KilledAfter),
        "a late worker" => at(13, Fault::LandsLate),
        "the closer dies before its summary" => at(21, Fault::KilledBefore),
        "the closer dies after its summary" => at(22, Fault::KilledAfter),
        "a page that never returns" => at(23, Fault::NeverReturns),
        "a slow page" => {
            scenario.behaviour.fails = 1.0;
            at(24, Fault::StalledBefore);
        }
        "the alert fails once" => {
            scenario.behaviour.fails = 1.0;
            at(27, Fault::ReplyLost);
        }
        "a missed slot, run late" => {
            scenario.catch_up = false;
            scenario.late_planner = Some(1_000 * SECOND);
            scenario.slots[0].planners = 0;
        }
        _ => return None,
    }
    Some((scenario, faults))
}
