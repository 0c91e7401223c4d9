//! What a link says about its run: one hash each for the summary, the records, the results and the inputs.

use crate::ids::{ContentHash, RunId};
use crate::run::{Publication, Run};
use crate::summary::RunSummary;
use crate::work_item::WorkItem;

/// The hashes of what belongs to one closed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRoots {
    /// Of the summary, see [`summary_root`].
    pub summary: ContentHash,
    /// Of the job records of all work items, in the order of the plan.
    pub records: ContentHash,
    /// Of the hashes of the results documents, in the order of the plan.
    pub results: ContentHash,
    /// Of the pinned inputs; `None` for a run without a plan.
    pub inputs: Option<ContentHash>,
}

impl RunRoots {
    /// The hashes of a run, from its summary and all of its work items.
    ///
    /// # Errors
    /// A value that has no JSON.
    pub fn of<'a>(
        run: &Run,
        summary: &RunSummary,
        items: impl IntoIterator<Item = &'a WorkItem>,
    ) -> Result<Self, serde_json::Error> {
        let mut roots = RootsBuilder::default();
        for item in items {
            roots.add(item)?;
        }
        let ItemRoots { records, results } = roots.finish();
        let inputs = run.plan.as_ref().map(|plan| plan.snapshot.clone());
        Ok(Self { summary: summary_root(summary)?, records, results, inputs })
    }
}

/// The hashes of what the work items of a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRoots {
    /// Of their job records.
    pub records: ContentHash,
    /// Of the hashes of their results documents.
    pub results: ContentHash,
}

/// Hashes work items one after another, in the order of the plan.
#[derive(Debug, Clone, Default)]
pub struct RootsBuilder {
    records: String,
    results: String,
}

impl RootsBuilder {
    /// Adds the next work item.
    ///
    /// # Errors
    /// A value that has no JSON.
    pub fn add(&mut self, item: &WorkItem) -> Result<(), serde_json::Error> {
        let (portfolio, state) = (&item.key.portfolio, item.state.as_str());
        let records = ContentHash::of(&serde_json::to_vec(&item.records)?);
        let results = item.results.as_ref().map_or("-", ContentHash::as_str);
        self.records.push_str(&format!("{portfolio}\t{state}\t{records}\n"));
        self.results.push_str(&format!("{portfolio}\t{results}\n"));
        Ok(())
    }

    /// Adds the work items of the next bucket.
    pub fn append(&mut self, next: &Self) {
        self.records.push_str(&next.records);
        self.results.push_str(&next.results);
    }

    /// The hashes of all of them.
    #[must_use]
    pub fn finish(self) -> ItemRoots {
        ItemRoots {
            records: ContentHash::of(self.records.as_bytes()),
            results: ContentHash::of(self.results.as_bytes()),
        }
    }
}

/// The hash of a summary without its publication, which changes after the run is closed.
///
/// # Errors
/// A value that has no JSON.
pub fn summary_root(summary: &RunSummary) -> Result<ContentHash, serde_json::Error> {
    let summary = RunSummary { publication: Publication::Pending, ..summary.clone() };
    Ok(ContentHash::of(&serde_json::to_vec(&summary)?))
}

/// The hash of the summaries of the runs that were closed before the chain began, in any order.
#[must_use]
pub fn genesis_root(mut summaries: Vec<(RunId, ContentHash)>) -> ContentHash {
    summaries.sort();
    let lines: String = summaries.iter().map(|(run, summary)| format!("{run}\t{summary}\n")).collect();
    ContentHash::of(lines.as_bytes())
}
