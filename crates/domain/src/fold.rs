//! The fold of a bucket: which of its items have ended, and what they add up to.
//!
//! Both are in one place that one conditional write can change. Membership and sums together are what makes counting exact, however often a message comes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::guards::{self, Guard};
use crate::words::{JobStatus, QualityFlag};
use crate::work_item::{ItemState, WorkItem};

/// What a set of job records adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobCounts {
    /// Ended well.
    pub success: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Not run.
    pub skipped: u64,
    /// Without a record.
    pub missing: u64,
}

impl JobCounts {
    /// All of them. Stored counts are not trusted to add up: beyond the largest number it stays there.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.success.saturating_add(self.failed).saturating_add(self.skipped).saturating_add(self.missing)
    }

    /// Counts one record of this status; what has not ended counts as missing.
    pub const fn add(&mut self, status: JobStatus) {
        match status {
            JobStatus::Success => self.success += 1,
            JobStatus::Failed => self.failed += 1,
            JobStatus::Skipped => self.skipped += 1,
            JobStatus::Pending | JobStatus::Running | JobStatus::Missing => self.missing += 1,
        }
    }

    /// Adds others to these.
    pub const fn add_all(&mut self, other: &Self) {
        self.success = self.success.saturating_add(other.success);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.missing = self.missing.saturating_add(other.missing);
    }
}

/// What one ended item adds to its fold: a function of its stored, terminal record, so the same whoever folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldEntry {
    /// The item's place in the bucket.
    pub index: u32,
    /// Its jobs.
    pub jobs: JobCounts,
    /// Whether it came to an end of its own.
    pub processed: bool,
    /// Its overall data quality, where any job reported one.
    pub quality: Option<QualityFlag>,
}

impl FoldEntry {
    /// The entry of an ended item of a run with so many jobs; none while the item has not ended.
    #[must_use]
    pub fn of(item: &WorkItem, jobs: usize) -> Option<Self> {
        if !item.state.is_terminal() && guards::on(Guard::FoldAfterTerminal) {
            return None;
        }
        let mut counts = JobCounts::default();
        for record in &item.records {
            counts.add(record.status);
        }
        counts.missing += (jobs as u64).saturating_sub(item.records.len() as u64);
        Some(Self {
            index: item.place.index,
            jobs: counts,
            processed: matches!(item.state, ItemState::Done),
            quality: portfolio_quality(item),
        })
    }
}

/// The data quality of a portfolio in a run: the worst that any of its jobs reported.
///
/// A portfolio whose first job failed has no usable data; one that never came to it has none reported.
#[must_use]
pub fn portfolio_quality(item: &WorkItem) -> Option<QualityFlag> {
    item.records.iter().filter_map(|record| record.quality.as_ref().map(|quality| quality.flag)).max()
}

/// The fold of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fold {
    /// The bucket.
    pub bucket: u32,
    /// Places that have been counted.
    pub done: BTreeSet<u32>,
    /// Their jobs.
    pub jobs: JobCounts,
    /// How many came to an end of their own.
    pub processed: u32,
    /// Portfolios by quality: full, limited, failed.
    pub quality: [u32; 3],
}

impl Fold {
    /// Nothing counted yet.
    #[must_use]
    pub fn empty(bucket: u32) -> Self {
        Self { bucket, ..Self::default() }
    }

    /// Counts an entry, once: an index that is in already changes nothing. Says whether it was new.
    pub fn count(&mut self, entry: &FoldEntry) -> bool {
        if !self.done.insert(entry.index) && guards::on(Guard::FoldMembership) {
            return false;
        }
        self.jobs.add_all(&entry.jobs);
        self.processed = self.processed.saturating_add(u32::from(entry.processed));
        let counted = match entry.quality {
            Some(QualityFlag::Full) => &mut self.quality[0],
            Some(QualityFlag::Limited) => &mut self.quality[1],
            Some(QualityFlag::Failed) => &mut self.quality[2],
            None => return true,
        };
        *counted = counted.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = FoldEntry> {
        (0u32..20, 0u64..9, 0u64..9, any::<bool>()).prop_map(|(index, success, failed, processed)| FoldEntry {
            index,
            jobs: JobCounts { success, failed, skipped: 1, missing: 0 },
            processed,
            quality: processed.then_some(QualityFlag::Limited),
        })
    }

    proptest! {
        /// I4: whatever the order and however often each comes, each place is counted once.
        #[test]
        fn each_place_is_counted_once(entries in prop::collection::vec(entry(), 0..60)) {
            let mut fold = Fold::empty(0);
            let mut first = std::collections::BTreeMap::new();
            for e in &entries {
                let new = fold.count(e);
                prop_assert_eq!(new, !first.contains_key(&e.index));
                first.entry(e.index).or_insert(*e);
            }
            let mut jobs = JobCounts::default();
            for e in first.values() { jobs.add_all(&e.jobs); }
            prop_assert_eq!(fold.jobs, jobs);
            prop_assert_eq!(fold.done.len(), first.len());
            prop_assert_eq!(fold.processed as usize, first.values().filter(|e| e.processed).count());
        }
    }
}
