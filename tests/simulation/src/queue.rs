//! The queue: at least once, in any order, and sometimes spent without anything having run.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ids::RunId;
use domain::ports::WorkMessage;
use rand::RngExt as _;

use crate::actors;
use crate::coverage::Row;
use crate::executor::{Micros, SECOND};
use crate::faults::Profile;
use crate::world::World;

/// Deliveries before a message goes to the dead letters.
const MOST_DELIVERIES: u32 = 5;

/// A message.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Work(WorkMessage),
    Close(RunId),
    Pages(RunId, u32),
}

#[derive(Debug, Clone)]
struct Waiting {
    message: Message,
    deliveries: u32,
    /// Deliveries on which something ran.
    ran: u32,
}

/// Messages that are not acknowledged.
#[derive(Debug)]
pub(crate) struct Queue {
    profile: Profile,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    newest_delivered: u64,
}

impl Queue {
    pub(crate) const fn new(profile: Profile) -> Self {
        Self { profile, waiting: BTreeMap::new(), next: 0, newest_delivered: 0 }
    }

    /// Longest that a call or a message may take while there are faults.
    pub(crate) fn slowness(&self) -> Micros {
        self.profile.slowness.max(1_000)
    }
}

impl World {
    /// Messages for work that nobody has received yet.
    pub(crate) fn waiting_work(&self) -> u64 {
        let state = self.state();
        let unseen = |waiting: &&Waiting| waiting.deliveries == 0 && matches!(waiting.message, Message::Work(_));
        state.queue.waiting.values().filter(unseen).count() as u64
    }

    /// Takes a message, perhaps twice.
    pub(crate) fn send(self: &Arc<Self>, message: Message) {
        let mut guard = self.state();
        let state = &mut *guard;
        let twice = state.queue.profile.duplicates > 0.0
            && self.faulty(state)
            && state.rng.random_bool(state.queue.profile.duplicates);
        let mut sent = Vec::new();
        for _ in 0..=u32::from(twice) {
            let id = state.queue.next;
            state.queue.next += 1;
            state.queue.waiting.insert(id, Waiting { message: message.clone(), deliveries: 0, ran: 0 });
            let most = if self.faulty(state) { state.queue.slowness() } else { 10_000 };
            sent.push((id, state.rng.random_range(500..=most)));
        }
        if twice {
            state.coverage.hit(Row::DuplicateMessage);
        }
        drop(guard);
        for (id, delay) in sent {
            self.deliver_after(id, delay);
        }
    }

    fn deliver_after(self: &Arc<Self>, id: u64, delay: Micros) {
        let world = Arc::clone(self);
        self.timeline.after(delay, move || world.deliver(id));
    }

    fn deliver(self: &Arc<Self>, id: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        let faulty = self.faulty(state);
        let Some(waiting) = state.queue.waiting.get_mut(&id) else { return };
        waiting.deliveries += 1;
        if waiting.deliveries > MOST_DELIVERIES {
            state.coverage.hit(Row::DeadLetter);
            if waiting.ran == 0 {
                state.coverage.hit(Row::DeadLetterNeverRan);
            }
            state.queue.waiting.remove(&id);
            return;
        }
        if waiting.deliveries == 1 {
            if id < state.queue.newest_delivered {
                state.coverage.hit(Row::Reordered);
            }
            state.queue.newest_delivered = state.queue.newest_delivered.max(id);
        }
        let spent = faulty && state.queue.profile.spent > 0.0 && state.rng.random_bool(state.queue.profile.spent);
        let (token, message) = (waiting.deliveries, waiting.message.clone());
        if !spent {
            waiting.ran += 1;
        }
        drop(guard);
        // Whatever becomes of this delivery: unless it is acknowledged, the message comes again.
        let world = Arc::clone(self);
        self.timeline.after(self.scenario.visibility, move || {
            let same = world.state().queue.waiting.get(&id).is_some_and(|waiting| waiting.deliveries == token);
            if same {
                world.deliver(id);
            }
        });
        if !spent {
            actors::handle(self, id, message);
        }
    }

    /// The receiver is done with a message: it is gone, unless the acknowledgement is lost.
    pub(crate) fn acknowledge(&self, id: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        let chance = state.queue.profile.lost_acknowledgements;
        if chance > 0.0 && self.faulty(state) && state.rng.random_bool(chance) {
            state.coverage.hit(Row::AcknowledgementLost);
        } else {
            state.queue.waiting.remove(&id);
        }
    }

    /// The receiver could not handle a message: it comes again soon.
    pub(crate) fn give_back(self: &Arc<Self>, id: u64) {
        let delay = self.state().rng.random_range(SECOND..60 * SECOND);
        self.deliver_after(id, delay);
    }
}
