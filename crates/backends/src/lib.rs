//! Implementations of the ports.
//!
//! - `local` (feature `local`, the default): records in one `SQLite` file, results and inputs in files, the site in a
//!   folder, messages in process. One writing process at a time holds the folder; any number may read beside it.
//! - `aws` (feature `aws`, never on by default): records in `DynamoDB`, messages by SQS, results, inputs and site in S3,
//!   alerts by SNS.
//! - `channels` (feature `channels`, the default): ways to people: a command, webhooks, e-mail.
//! - [`memory`]: everything in memory, for tests; the plainest reading of the rules in `domain::conformance`.
//! - [`system`]: the clock, waiting and chance of this machine.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "channels")]
pub mod channels;
#[cfg(any(feature = "aws", feature = "local"))]
mod examine;
#[cfg(any(feature = "channels", feature = "local"))]
mod group;
#[cfg(feature = "local")]
pub mod local;
pub mod memory;
#[cfg(any(feature = "channels", feature = "local"))]
mod program_environment;
pub mod system;

#[cfg(any(feature = "aws", feature = "local"))]
pub use examine::DoctorReport;
