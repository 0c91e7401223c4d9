//! The chain of closed runs against what is stored.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::chain::{ItemRoots, Link, RootsBuilder, genesis_root, summary_root};
use domain::ids::{ContentHash, RunId};
use domain::ports::{RunStore, StoredRun};

use super::DoctorReport;

/// Links that are read at once.
const LINKS_PER_READ: usize = 1_000;

/// What the link of a run has to say.
#[derive(Debug)]
pub(super) struct ExaminedRun {
    is_closed: bool,
    closed_at: Option<DateTime<Utc>>,
    summary: Option<ContentHash>,
    /// `None` where records were retired or could not be read.
    items: Option<ItemRoots>,
    inputs: Option<ContentHash>,
}

impl ExaminedRun {
    pub(super) fn of(stored: &StoredRun, roots: Option<RootsBuilder>) -> Result<Self, serde_json::Error> {
        Ok(Self {
            is_closed: stored.run.is_closed(),
            closed_at: stored.summary.as_ref().and_then(|summary| summary.closed_at),
            summary: stored.summary.as_ref().map(summary_root).transpose()?,
            items: roots.map(RootsBuilder::finish),
            inputs: stored.run.plan.as_ref().map(|plan| plan.snapshot.clone()),
        })
    }

    /// What of the run is not what its link says.
    fn differs_from(&self, link: &Link) -> Vec<&'static str> {
        let mut found = Vec::new();
        if self.summary.as_ref() != Some(&link.summary) {
            found.push("summary");
        }
        if self.closed_at != Some(link.at) {
            found.push("time of closing");
        }
        if let Some(ItemRoots { records, results }) = &self.items {
            if link.records.as_ref() != Some(records) {
                found.push("records");
            }
            if link.results.as_ref() != Some(results) {
                found.push("results");
            }
        }
        if self.inputs != link.inputs {
            found.push("pinned inputs");
        }
        found
    }
}

/// Verifies every link, and that every closed run has one.
pub(super) async fn examine(
    store: &dyn RunStore,
    runs: &BTreeMap<RunId, ExaminedRun>,
    since: Option<DateTime<Utc>>,
    report: &mut DoctorReport,
) {
    let mut linked = BTreeSet::new();
    let mut before: Option<Link> = None;
    let mut genesis = None;
    loop {
        let after = before.as_ref().map_or(0, |link| link.number);
        let Some(links) = report.note(store.links(after, LINKS_PER_READ).await) else { return };
        if links.is_empty() {
            break;
        }
        report.count("links of the chain", links.len());
        for link in links {
            report.problems.extend(link.break_after(before.as_ref()));
            report.links.push(link.hash());
            match link.batch_run_id {
                Some(run) => {
                    linked.insert(run);
                    examine_run(run, &link, runs.get(&run), report);
                }
                None => genesis = Some(link.clone()),
            }
            before = Some(link);
        }
    }
    examine_unlinked(runs, &linked, genesis.as_ref(), since, report);
}

fn examine_run(run: RunId, link: &Link, examined: Option<&ExaminedRun>, report: &mut DoctorReport) {
    let number = link.number;
    match examined {
        None => report.problems.push(format!("run {run} of link {number} of the chain is gone")),
        Some(examined) => {
            let differs = examined.differs_from(link);
            if !differs.is_empty() {
                let what = differs.join(", ");
                report.problems.push(format!(
                    "run {run} was changed after it was closed: its {what} are not those of link {number} of the chain"
                ));
            }
        }
    }
}

/// Runs without a link were closed before the chain began.
fn examine_unlinked(
    runs: &BTreeMap<RunId, ExaminedRun>,
    linked: &BTreeSet<RunId>,
    genesis: Option<&Link>,
    since: Option<DateTime<Utc>>,
    report: &mut DoctorReport,
) {
    let since = genesis.map(|genesis| genesis.at).or(since);
    let mut earlier = Vec::new();
    for (run, examined) in runs.iter().filter(|(run, examined)| examined.is_closed && !linked.contains(run)) {
        if since.is_some_and(|since| examined.closed_at.is_some_and(|at| at >= since)) {
            report.problems.push(format!("run {run} was closed after the chain began and has no link in it"));
        } else if let Some(summary) = &examined.summary {
            earlier.push((*run, summary.clone()));
        }
    }
    if let Some(genesis) = genesis
        && genesis_root(earlier) != genesis.summary
    {
        report
            .problems
            .push("the runs that were closed before the chain began are not those of its first link".to_owned());
    }
}
