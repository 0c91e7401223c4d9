//! What can go wrong at a call of a port, and when it does.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::executor::{Micros, SECOND};

/// Something that goes wrong at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The caller dies before the request leaves.
    KilledBefore,
    /// The request is carried out, and the caller dies before the reply.
    KilledAfter,
    /// The request is carried out, the reply is lost, and the client sends it again.
    SentAgain,
    /// The request is carried out, and the caller is told that it failed.
    ReplyLost,
    /// The request is not carried out, and the caller is told so.
    Throttled,
    /// The request takes long to arrive, longer than some leases.
    StalledBefore,
    /// The reply takes long to arrive.
    StalledAfter,
    /// The caller dies, and its request is carried out some time later.
    LandsLate,
    /// The request is not carried out, and the error says that a retry cannot help.
    Refused,
    /// The call never returns, and the caller does not die either.
    NeverReturns,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::SentAgain,
        Self::ReplyLost,
        Self::Throttled,
        Self::StalledBefore,
        Self::StalledAfter,
        Self::LandsLate,
        Self::Refused,
        Self::NeverReturns,
    ];

    /// How the trace and the coverage table call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KilledBefore => "killed before",
            Self::KilledAfter => "killed after",
            Self::SentAgain => "reply lost, sent again",
            Self::ReplyLost => "reply lost, told failed",
            Self::Throttled => "throttled",
            Self::StalledBefore => "stalled before",
            Self::StalledAfter => "stalled after",
            Self::LandsLate => "sender dead, request lands later",
            Self::Refused => "refused",
            Self::NeverReturns => "never returns",
        }
    }
}

/// How likely faults are: drawn anew for each schedule, so that each schedule is hard in a way of its own.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Chance of a fault at a call.
    pub rate: f64,
    /// The kinds that occur.
    pub kinds: Vec<Fault>,
    /// Chance that a message is delivered twice.
    pub duplicates: f64,
    /// Chance that a delivery is spent without anything having run.
    pub spent: f64,
    /// Chance that an acknowledgement is lost.
    pub lost_acknowledgements: f64,
    /// Longest a message or a call may take.
    pub slowness: Micros,
}

impl Profile {
    /// A profile of its own for each schedule.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let rate = *pick(rng, &[0.0, 0.005, 0.02, 0.05, 0.15]);
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| rng.random_bool(0.5)).collect();
        if kinds.is_empty() {
            kinds.push(*pick(rng, &Fault::ALL));
        }
        Self {
            rate,
            kinds,
            duplicates: *pick(rng, &[0.0, 0.1, 0.4]),
            spent: *pick(rng, &[0.0, 0.0, 0.1, 0.5]),
            lost_acknowledgements: *pick(rng, &[0.0, 0.05, 0.3]),
            slowness: *pick(rng, &[SECOND / 50, SECOND / 50, SECOND, 20 * SECOND]),
        }
    }
}

/// One of several.
pub fn pick<'a, T>(rng: &mut ChaCha8Rng, among: &'a [T]) -> &'a T {
    &among[rng.random_range(0..among.len())]
}

/// Where faults come from.
#[derive(Debug, Clone)]
pub enum Faults {
    /// By chance.
    Drawn(Profile),
    /// At these calls, by number; nowhere else.
    At(BTreeMap<u64, Fault>),
}

impl Faults {
    /// The fault of a call, if any.
    pub fn of_call(&self, number: u64, rng: &mut ChaCha8Rng) -> Option<Fault> {
        match self {
            Self::Drawn(profile) => {
                (profile.rate > 0.0 && rng.random_bool(profile.rate)).then(|| *pick(rng, &profile.kinds))
            }
            Self::At(calls) => calls.get(&number).copied(),
        }
    }

    /// The profile of what is not a call: messages and slowness.
    #[must_use]
    pub fn profile(&self) -> Profile {
        match self {
            Self::Drawn(profile) => profile.clone(),
            Self::At(_) => Profile { slowness: SECOND / 100, ..Profile::default() },
        }
    }
}

/// How long a stalled call takes: often longer than a lease.
pub fn stall(rng: &mut ChaCha8Rng) -> Micros {
    let seconds = match rng.random_range(0..3) {
        0 => rng.random_range(1..30),
        1 => rng.random_range(30..200),
        _ => rng.random_range(200..900),
    };
    seconds * SECOND
}
