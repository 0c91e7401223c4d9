//! The guards of the protocol, by name.
//!
//! Each is a condition without which something would be lost or counted twice. In a product [`on`] is the constant
//! `true`. With the feature `guard-switches`, which only the simulator has, one guard at a time can be switched off on a
//! thread, to prove that the tests notice its absence.

/// A condition of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// A fold counts a place once: membership and sums are one write.
    FoldMembership,
    /// Only the claim that is current may write: owner and attempt must fit.
    Fence,
    /// A manifest counts under the epoch of its planner, and only the current planner seals.
    Epoch,
    /// An ended item never changes.
    Terminal,
    /// An item is counted only once its end is on record.
    FoldAfterTerminal,
    /// What is counted is what is on record, not what the worker remembers.
    FoldFromRecord,
    /// One at a time delivers the alert of a run, and nobody after it was sent.
    AlertClaim,
    /// Somebody looks for what was left lying.
    Sweeper,
    /// A run that nobody plans in time is abandoned, and closes.
    PlanningEnds,
    /// The index is written only over the version that was read.
    IndexVersion,
    /// The head of a night is written only over the version that was read.
    NightVersion,
    /// The watch writes the nights whose writers died before they wrote them.
    NightSweep,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 12] = [
        Self::FoldMembership,
        Self::Fence,
        Self::Epoch,
        Self::Terminal,
        Self::FoldAfterTerminal,
        Self::FoldFromRecord,
        Self::AlertClaim,
        Self::Sweeper,
        Self::PlanningEnds,
        Self::IndexVersion,
        Self::NightVersion,
        Self::NightSweep,
    ];
}

/// Whether a guard is on. Always, in a product.
#[cfg(not(feature = "guard-switches"))]
#[must_use]
pub const fn on(_guard: Guard) -> bool {
    true
}

#[cfg(feature = "guard-switches")]
pub use switches::{on, without};

#[cfg(feature = "guard-switches")]
mod switches {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OFF: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// Whether a guard is on, on this thread.
    #[must_use]
    pub fn on(guard: Guard) -> bool {
        OFF.get() != Some(guard)
    }

    /// Does something with a guard switched off on this thread; none: with all of them on.
    pub fn without<T>(guard: Option<Guard>, act: impl FnOnce() -> T) -> T {
        struct Restore(Option<Guard>);
        impl Drop for Restore {
            fn drop(&mut self) {
                OFF.set(self.0);
            }
        }
        let _restore = Restore(OFF.replace(guard));
        act()
    }
}
