//! stub

pub mod ids;
