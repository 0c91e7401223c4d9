//! What happens between a run and the head of its night, and what a head must never lose.

use std::collections::{BTreeMap, BTreeSet};

use domain::night::{Night, NightHead, NightKey, runs_of};
use domain::ports::Nights as _;

use crate::coverage::Row;
use crate::faults::Fault;
use crate::ports::now;
use crate::world::{Handle, Promise};

/// Who wrote nights.
#[derive(Debug, Default)]
pub(crate) struct NightWrites {
    /// The actor that wrote the stored head of each night.
    newest: BTreeMap<NightKey, usize>,
    /// The sweeps that have begun to look for nights without a head.
    sweeping: BTreeSet<usize>,
}

/// Whether a fault at this call stops an actor on the way from a run to the head of its night, and after which step.
pub(crate) fn stopped(actor: &str, what: &str, fault: Fault) -> Option<Row> {
    let landed = match fault {
        Fault::KilledAfter | Fault::ReplyLost => true,
        Fault::KilledBefore | Fault::Throttled | Fault::LandsLate | Fault::Refused | Fault::NeverReturns => false,
        Fault::SentAgain | Fault::StalledBefore | Fault::StalledAfter => return None,
    };
    let is = |kind: &str| actor.starts_with(kind);
    match (what, landed) {
        ("seal the plan", true) => Some(Row::StoppedAfterSeal),
        ("create the run", true) if is("watch") => Some(Row::StoppedAfterMissed),
        ("write the summary", true) => Some(Row::StoppedAfterSummary),
        ("write a night document", false) if is("closer") => Some(Row::StoppedAfterSummary),
        ("write a night document", true) if is("closer") => Some(Row::StoppedAfterDocument),
        ("write a night", false) => Some(Row::StoppedAfterDocument),
        ("write a night", true) if is("closer") => Some(Row::StoppedAfterHead),
        ("close the run", false) => Some(Row::StoppedAfterHead),
        _ => None,
    }
}

impl Handle {
    /// A sweep reads the heads of the newest nights to find those that nobody wrote.
    pub(crate) fn saw_nights_read(&self) {
        let mut state = self.world.state();
        if state.actors[self.actor].name.starts_with("watch") {
            state.nights.sweeping.insert(self.actor);
        }
    }

    /// A head was written, or refused: it fits its document, and knows every run that the one before knew.
    pub(crate) fn saw_night(&self, before: Option<&NightHead>, head: &NightHead, written: bool) {
        let key = head.key();
        let mut guard = self.world.state();
        let state = &mut *guard;
        if !written {
            state.coverage.hit(Row::NightRefused);
            let other = state.nights.newest.get(&key).copied().filter(|other| *other != self.actor);
            let is_closer = |actor: usize| state.actors[actor].name.starts_with("closer");
            if is_closer(self.actor) && other.is_some_and(is_closer) {
                state.coverage.hit(Row::ClosesRace);
            }
            return;
        }
        state.nights.newest.insert(key.clone(), self.actor);
        if state.nights.sweeping.contains(&self.actor) {
            state.coverage.hit(Row::NightRepaired);
        }
        drop(guard);
        let document = now(self.world.store.night_document(&head.document)).ok().flatten();
        let night = document.and_then(|bytes| serde_json::from_slice::<Night>(&bytes).ok());
        if !night.is_some_and(|night| head.is_of(&night)) {
            self.violated(format!("the head of the night of {} does not fit the document that it names", key.as_of));
        }
        for stored in now(runs_of(&self.world.store, &key)).unwrap_or_default() {
            if before.is_some_and(|before| before.knows(&stored)) && !head.knows(&stored) {
                let run = stored.run.batch_run_id.short();
                self.violated(format!("the head of the night of {} forgot how run {run} ended", key.as_of));
            }
        }
    }

    fn violated(&self, text: String) {
        self.world.violate(Promise::Other, format!("{}: {text}", self.world.name(self.actor)));
    }
}
