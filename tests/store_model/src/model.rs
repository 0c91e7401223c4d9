//! The model: plain maps, and every question answered by looking at everything.

use std::collections::{BTreeMap, BTreeSet};

use domain::alert::{AlertAbout, AlertEvent, AlertState, is_delivered};
use domain::fold::{Fold, FoldEntry};
use domain::ids::{Fingerprint, JobName, PortfolioId, RunId};
use domain::record::JobRecord;
use domain::run::{Publication, Run, RunEvent, RunPhase};
use domain::summary::{RunSummary, summarise};
use domain::words::{JobStatus, RunStatus};
use domain::work_item::{ItemEvent, ItemKey, ItemState, WorkItem};

use crate::operation::{Operation, PORTFOLIOS, RUNS, at, created, jobs, key, owner, place, plan, records, run_id};

/// What a store should hold.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Runs.
    pub runs: BTreeMap<RunId, Run>,
    /// Items.
    pub items: BTreeMap<ItemKey, WorkItem>,
    /// Folds.
    pub folds: BTreeMap<RunId, Fold>,
    /// Full buckets.
    pub full: BTreeSet<RunId>,
    /// Summaries, as they were written.
    pub summaries: BTreeMap<RunId, RunSummary>,
    /// Alerts.
    pub alerts: BTreeMap<RunId, AlertState>,
}

impl Model {
    /// The items of a run, by place.
    #[must_use]
    pub fn items_of(&self, run: RunId) -> Vec<WorkItem> {
        let mut items: Vec<WorkItem> = self.items.values().filter(|item| item.key.run == run).cloned().collect();
        items.sort_by_key(|item| item.place);
        items
    }

    /// The summary that a closer would compute now.
    #[must_use]
    pub fn summary_now(&self, run: RunId) -> Option<RunSummary> {
        Some(summarise(self.runs.get(&run)?, &self.items_of(run), &BTreeMap::new()))
    }

    /// Operations that this state accepts: each run and item a step further, in some of the ways there are.
    #[must_use]
    pub fn apt(&self) -> Vec<Operation> {
        let mut apt = Vec::new();
        for run in 0..RUNS {
            let id = run_id(run);
            let Some(row) = self.runs.get(&id) else {
                apt.extend([false, false, true].map(|missed| Operation::Create(run, missed)));
                continue;
            };
            match row.phase {
                RunPhase::Missed => {}
                RunPhase::Planning { .. } => {
                    apt.push(Operation::Run(run, RunEvent::Seal { plan: Box::new(plan(row.plan_epoch)) }));
                }
                RunPhase::Running => {
                    let event = RunEvent::ClaimClose { owner: owner(1), now: at(100), lease_until: at(105) };
                    apt.push(Operation::Run(run, event));
                }
                RunPhase::Closing { .. } => {
                    apt.push(Operation::Summary(run));
                    apt.push(Operation::Run(run, RunEvent::Close { epoch: row.close_epoch }));
                }
                RunPhase::Closed => apt.push(Operation::Summary(run)),
            }
            if row.has_ended() {
                let published = Publication::Published { at: at(200), files_written: 3 };
                apt.push(Operation::Run(run, RunEvent::Publish { publication: published, plan_epoch: row.plan_epoch }));
                let about = if row.phase == RunPhase::Missed { AlertAbout::Missed } else { AlertAbout::Run };
                apt.push(Operation::Alert(
                    run,
                    match self.alerts.get(&id) {
                        Some(AlertState::Sending { owner, .. }) => AlertEvent::Sent { owner: *owner, now: at(300) },
                        _ => AlertEvent::Claim { owner: owner(1), now: at(300), lease_until: at(305), about },
                    },
                ));
            }
            for portfolio in 0..PORTFOLIOS {
                self.apt_for_item(run, portfolio, &mut apt);
            }
        }
        apt
    }

    fn apt_for_item(&self, run: u8, portfolio: u32, apt: &mut Vec<Operation>) {
        let state = self.items.get(&key(run, portfolio)).map(|item| (item.state, item.attempt));
        match state {
            Some((ItemState::Working { owner, .. }, attempt)) => {
                for outcomes in [[0, 0], [0, 1], [1, 2]] {
                    let records = records(run, portfolio, outcomes);
                    let event = ItemEvent::Finish { owner, attempt, now: at(50), records, results: None };
                    apt.push(Operation::Item(run, portfolio, event));
                }
            }
            None | Some((ItemState::Pending, _)) => {
                let event = ItemEvent::Claim { owner: owner(1), now: at(40), lease_until: at(42) };
                apt.push(Operation::Item(run, portfolio, event));
            }
            Some(_) => apt.push(Operation::Fold(run, portfolio)),
        }
    }

    /// Does what an operation does.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create(run, missed) => {
                self.runs.entry(run_id(*run)).or_insert_with(|| created(*run, *missed));
            }
            Operation::Run(run, event) => {
                if let Some(next) = self.runs.get(&run_id(*run)).and_then(|run| run.next(event).ok()) {
                    self.runs.insert(next.batch_run_id, next);
                }
            }
            Operation::Item(run, portfolio, event) => {
                let key = key(*run, *portfolio);
                let item = self.items.get(&key).cloned();
                let item = item.unwrap_or_else(|| WorkItem::untouched(key.clone(), "P".into(), place(*portfolio)));
                if let (true, Ok(next)) = (self.runs.contains_key(&key.run), item.next(event)) {
                    self.items.insert(key, next);
                }
            }
            Operation::Fold(run, portfolio) => {
                if let Some(entry) = self.entry(*run, *portfolio) {
                    self.folds.entry(run_id(*run)).or_insert_with(|| Fold::empty(0)).count(&entry);
                }
            }
            Operation::MarkFull(run) => {
                if self.folds.contains_key(&run_id(*run)) {
                    self.full.insert(run_id(*run));
                }
            }
            Operation::Summary(run) => {
                let id = run_id(*run);
                if let Some(summary) = self.closed_summary(id) {
                    self.summaries.entry(id).or_insert(summary);
                }
            }
            Operation::Alert(run, event) => {
                let id = run_id(*run);
                let state = self.alerts.get(&id).copied().unwrap_or_default();
                if let (true, Ok(next)) = (self.runs.contains_key(&id), state.next(event)) {
                    self.alerts.insert(id, next);
                }
            }
            Operation::Reopen => {}
        }
    }

    /// What an item adds to its fold; none while it has not ended.
    #[must_use]
    pub fn entry(&self, run: u8, portfolio: u32) -> Option<FoldEntry> {
        FoldEntry::of(self.items.get(&key(run, portfolio))?, jobs().len())
    }

    /// The summary of a run that a closer has claimed; a store is never given another.
    #[must_use]
    pub fn closed_summary(&self, run: RunId) -> Option<RunSummary> {
        let claimed = self.runs.get(&run)?;
        (claimed.closed_at.is_some() && claimed.phase != RunPhase::Missed).then(|| self.summary_now(run)).flatten()
    }

    /// The status by which a run is found.
    #[must_use]
    pub fn status(&self, run: &Run) -> RunStatus {
        let summary = self.summaries.get(&run.batch_run_id).map(|summary| summary.status);
        summary.unwrap_or_else(|| run.status_before_summary())
    }

    /// Runs, newest first.
    #[must_use]
    pub fn newest(&self) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self.runs.values().collect();
        runs.sort_by_key(|run| std::cmp::Reverse((run.scheduled_for, run.started_at, run.batch_run_id)));
        runs
    }

    /// Runs that have not ended, oldest first.
    #[must_use]
    pub fn open(&self) -> Vec<RunId> {
        self.oldest(|run| !run.has_ended())
    }

    /// Ended runs of which something is not delivered, oldest first.
    #[must_use]
    pub fn undelivered(&self) -> Vec<RunId> {
        let alert = |run: &Run| self.alerts.get(&run.batch_run_id).copied().unwrap_or_default();
        self.oldest(|run| run.has_ended() && !is_delivered(run, alert(run)))
    }

    fn oldest(&self, fits: impl Fn(&Run) -> bool) -> Vec<RunId> {
        let mut runs: Vec<&Run> = self.runs.values().filter(|run| fits(run)).collect();
        runs.sort_by_key(|run| (run.started_at, run.batch_run_id));
        runs.into_iter().map(|run| run.batch_run_id).collect()
    }

    /// Records of ended items of a run.
    #[must_use]
    pub fn records(&self, run: RunId) -> Vec<JobRecord> {
        self.items_of(run).into_iter().filter(|item| item.state.is_terminal()).flat_map(|item| item.records).collect()
    }

    /// The newest success of a job that no newer run of the same portfolio and date took back.
    #[must_use]
    pub fn last_success(&self, job: &JobName, portfolio: Option<&PortfolioId>) -> Option<JobRecord> {
        let all: Vec<(&Run, JobRecord)> = self
            .runs
            .values()
            .flat_map(|run| self.records(run.batch_run_id).into_iter().map(move |record| (run, record)))
            .filter(|(_, record)| record.job_name == *job)
            .collect();
        let taken_back = |run: &Run, record: &JobRecord| {
            all.iter().any(|(newer, other)| {
                other.portfolio_id == record.portfolio_id
                    && newer.as_of == run.as_of
                    && newer.started_at > run.started_at
                    && other.status != JobStatus::Success
            })
        };
        all.iter()
            .filter(|(run, record)| record.status == JobStatus::Success && !taken_back(run, record))
            .filter(|(_, record)| portfolio.is_none_or(|portfolio| record.portfolio_id == *portfolio))
            .max_by_key(|(run, record)| (run.as_of, run.started_at, std::cmp::Reverse(record.portfolio_id.clone())))
            .map(|(_, record)| record.clone())
    }

    /// Causes with the runs in whose summary they stand, newest run first.
    #[must_use]
    pub fn failures(&self) -> Vec<(RunId, Fingerprint, u64)> {
        let mut found: Vec<_> = self
            .summaries
            .values()
            .flat_map(|summary| summary.failures.iter().map(move |cause| (summary, cause)))
            .collect();
        found.sort_by(|a, b| b.0.started_at.cmp(&a.0.started_at).then_with(|| a.1.fingerprint.cmp(&b.1.fingerprint)));
        found
            .into_iter()
            .map(|(summary, cause)| (summary.batch_run_id, cause.fingerprint.clone(), cause.count))
            .collect()
    }
}
