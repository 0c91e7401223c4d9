//! The run protocol as a model that `stateright` checks exhaustively: two portfolios, two planners with different
//! lists, two workers, two closers and the watch; deaths, requests that land after their sender died, leases that pass
//! at any moment, messages that come twice and in any order.
//!
//! Each actor is the steps of its use case, one call of the store at a time. The rows change by the state machines of
//! the product ([`rows`]). Liveness is only what the checker is good at: that a run always *can* still be closed is not
//! expressible; that it is closed at the end of every path is, since all budgets are finite and the watch comes last.

pub mod protocol;
pub mod rows;
