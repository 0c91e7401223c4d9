//! The rules that every implementation of the ports must obey, one function each; a violation panics with a message.
//!
//! One file for each port. A backend runs each rule in its tests, by the macro of the port:
//! [`run_rules!`](crate::run_rules), [`work_item_rules!`](crate::work_item_rules),
//! [`tally_rules!`](crate::tally_rules), [`history_rules!`](crate::history_rules),
//! [`alert_book_rules!`](crate::alert_book_rules), [`chain_rules!`](crate::chain_rules), [`night_rules!`](crate::night_rules), [`note_rules!`](crate::note_rules),
//! [`document_rules!`](crate::document_rules) and [`site_rules!`](crate::site_rules). Each rule makes its own runs,
//! portfolios and jobs from the `seed`, so rules with different seeds can share a store, also one in production, but for the rules of the chain.

#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how a rule says that it is broken")]

mod alert_books;
mod chain;
mod documents;
mod fixtures;
mod history;
mod nights;
mod notes;
mod retention;
mod runs;
mod site;
mod tallies;
mod work_items;

pub use alert_books::*;
pub use chain::*;
pub use documents::*;
pub use history::*;
pub use nights::*;
pub use notes::*;
pub use retention::*;
pub use runs::*;
pub use site::*;
pub use tallies::*;
pub use work_items::*;
