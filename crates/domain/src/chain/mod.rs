//! The chain of closed runs: tamper evidence for the records.
//!
//! Before a run is published, its closer appends one [`Link`]: the hashes of the summary, the records, the results and the
//! inputs of the run, and the hash of the link before. Whoever rewrites or removes a run has to rewrite every later link,
//! and so the hash of the newest one, which stands in status.json and the feed: a copy of either that is kept elsewhere
//! shows it.

mod append;
mod roots;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::append::append_run;
pub use self::roots::{ItemRoots, RootsBuilder, RunRoots, genesis_root, summary_root};
use crate::ids::{ContentHash, RunId};

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its position, from 1. The first one is the genesis link: it belongs to no run.
    pub number: u64,
    /// The hash of the link before; `None` for the genesis link.
    pub previous: Option<ContentHash>,
    /// The closed run; `None` for the genesis link.
    pub batch_run_id: Option<RunId>,
    /// When the run was closed; for the genesis link, when the chain began.
    pub at: DateTime<Utc>,
    /// The hash of the summary without its publication; for the genesis link, of the summaries of all runs that were
    /// closed before the chain began.
    pub summary: ContentHash,
    /// The hash of the job records of the run.
    pub records: Option<ContentHash>,
    /// The hash of the hashes of its results documents.
    pub results: Option<ContentHash>,
    /// The hash of its pinned inputs; `None` for a run without a plan.
    pub inputs: Option<ContentHash>,
}

impl Link {
    /// The link of a run after this one.
    #[must_use]
    pub fn followed_by(&self, run: RunId, at: DateTime<Utc>, roots: RunRoots) -> Self {
        let RunRoots { summary, records, results, inputs } = roots;
        Self {
            number: self.number + 1,
            previous: Some(self.hash()),
            batch_run_id: Some(run),
            at,
            summary,
            records: Some(records),
            results: Some(results),
            inputs,
        }
    }

    /// The link that a chain begins with, over the summaries of the runs that were closed before.
    #[must_use]
    pub const fn genesis(at: DateTime<Utc>, summaries: ContentHash) -> Self {
        Self {
            number: 1,
            previous: None,
            batch_run_id: None,
            at,
            summary: summaries,
            records: None,
            results: None,
            inputs: None,
        }
    }

    /// The SHA-256 of everything that it says, one line a field.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        let hash = |hash: &Option<ContentHash>| hash.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let run = self.batch_run_id.map_or_else(|| "-".to_owned(), |run| run.to_string());
        let lines = [
            self.number.to_string(),
            hash(&self.previous),
            run,
            self.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            self.summary.to_string(),
            hash(&self.records),
            hash(&self.results),
            hash(&self.inputs),
        ];
        ContentHash::of(lines.join("\n").as_bytes())
    }

    /// Why this link cannot stand after that one; `None` if it can. `before` is `None` for the first link.
    #[must_use]
    pub fn break_after(&self, before: Option<&Self>) -> Option<String> {
        let number = self.number;
        let Some(before) = before else {
            let is_genesis = number == 1 && self.previous.is_none() && self.batch_run_id.is_none();
            return (!is_genesis).then(|| format!("the chain begins with link {number}, which is not its first one"));
        };
        if number != before.number + 1 {
            return Some(format!("link {} of the chain is followed by link {number}", before.number));
        }
        if self.batch_run_id.is_none() {
            return Some(format!("link {number} of the chain belongs to no run"));
        }
        let hash = before.hash();
        (self.previous.as_ref() != Some(&hash)).then(|| {
            format!("link {number} of the chain does not fit link {}: one of them was rewritten", before.number)
        })
    }
}

/// What became of an attempt to append a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is stored.
    Appended,
    /// Another link has its number.
    NumberTaken,
    /// Its run has a link already: this one.
    RunHasLink(Link),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::samples::at;

    fn roots(n: u8) -> RunRoots {
        let hash = |what: &str| ContentHash::of(format!("{what} {n}").as_bytes());
        RunRoots { summary: hash("summary"), records: hash("records"), results: hash("results"), inputs: None }
    }

    fn run(n: u128) -> RunId {
        RunId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_changed_field_of_any_link_breaks_the_chain() {
        let first = Link::genesis(at(0), ContentHash::of(b""));
        let second = first.followed_by(run(2), at(1), roots(2));
        let third = second.followed_by(run(3), at(2), roots(3));
        assert_eq!(first.break_after(None), None);
        assert_eq!(second.break_after(Some(&first)), None);
        assert_eq!(third.break_after(Some(&second)), None);
        let other = || Some(ContentHash::of(b"other"));
        let changed = [
            Link { number: 3, ..second.clone() },
            Link { previous: other(), ..second.clone() },
            Link { batch_run_id: Some(run(4)), ..second.clone() },
            Link { at: at(9), ..second.clone() },
            Link { summary: ContentHash::of(b"other"), ..second.clone() },
            Link { records: other(), ..second.clone() },
            Link { results: other(), ..second.clone() },
            Link { inputs: other(), ..second.clone() },
        ];
        for link in changed {
            let found = [link.break_after(Some(&first)), third.break_after(Some(&link))];
            assert!(found.iter().any(Option::is_some), "{link:?}");
        }
        assert!(second.break_after(None).is_some(), "the first link is gone");
        assert!(third.break_after(Some(&first)).is_some(), "a link in the middle is gone");
    }
}
