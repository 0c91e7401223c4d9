//! Prices from outside the book: `[prices] source = "http"`.
//!
//! Before the inputs of a run are pinned, the closes that its portfolios need and nobody holds yet are asked for: only the
//! sessions that are missing, in batches, at no more than the allowed rate. What comes is checked row by row and put
//! into the shelf, where a close that is there is never overwritten. A close of the book itself always counts before one
//! that was fetched.

mod answer;
mod ask;
mod bucket;
mod gate;
mod plan;

pub use answer::{Row, Rows, read_csv, read_json};
pub use ask::{Ask, AskError};
pub use bucket::Bucket;
pub use gate::{Asked, HttpPrices, Shelf};
pub use plan::{Request, plan};
