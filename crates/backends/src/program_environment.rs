//! The environment of programs that Nightbook calls: an allow list, so that no secret of this process reaches them unasked.

use std::ffi::OsString;

/// Variables that every program sees: without them few work.
const ALWAYS: [&str; 8] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "VIRTUAL_ENV"];

/// The variables that a program sees: those of the list, and those that its settings name.
pub(crate) fn program_environment(named: &[String]) -> impl Iterator<Item = (&str, OsString)> {
    let seen = ALWAYS.iter().copied().chain(named.iter().map(String::as_str));
    seen.filter_map(|name| Some((name, std::env::var_os(name)?)))
}
