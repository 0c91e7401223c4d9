//! The promises, checked at every step against what was seen, not against what the code says of itself.

use std::collections::BTreeMap;

use domain::alert::AlertAbout;
use domain::fold::{Fold, FoldEntry, JobCounts};
use domain::ids::{Owner, RunId};
use domain::ports::{Change, Creation, Runs as _, Tallies as _, WorkItems as _, WorkMessage};
use domain::run::{AbandonReason, Publication, Run, RunEvent, RunPhase, RunRefusal, SealedPlan};
use domain::summary::RunSummary;
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, ItemState, WorkItem};

use crate::coverage::Row;
use crate::ports::now;
use crate::world::{Delivery, Handle, Promise};

/// What was seen, and must stay so.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    /// The claim that is current.
    claims: BTreeMap<ItemKey, (Owner, u32)>,
    /// Items as they ended.
    ended: BTreeMap<ItemKey, WorkItem>,
    /// Plans as they were sealed.
    sealed: BTreeMap<RunId, SealedPlan>,
    /// Summaries as they were first written.
    summaries: BTreeMap<RunId, RunSummary>,
}

const fn rank(phase: &RunPhase) -> u8 {
    match phase {
        RunPhase::Missed => 0,
        RunPhase::Planning { .. } => 1,
        RunPhase::Running => 2,
        RunPhase::Closing { .. } => 3,
        RunPhase::Closed => 4,
    }
}

impl Handle {
    fn hit(&self, row: Row) {
        self.world.state().coverage.hit(row);
    }

    fn broken(&self, promise: Promise, text: String) {
        let name = self.world.name(self.actor);
        self.world.violate(promise, format!("{name}: {text}"));
    }

    pub(crate) fn saw_creation(&self, run: &Run, reply: &Creation<Run>) {
        if *reply == Creation::Created && run.phase == RunPhase::Missed {
            self.hit(Row::SlotMissed);
        }
        if let Creation::Existing(existing) = reply
            && existing.batch_run_id == run.batch_run_id
            && matches!(existing.phase, RunPhase::Planning { .. })
        {
            self.hit(Row::PlannersRace);
        }
    }

    pub(crate) fn saw_run(&self, before: Option<&Run>, event: &RunEvent, reply: &Change<Run, RunRefusal>) {
        let after = match reply {
            Change::Applied(after) => after,
            Change::Refused(at, refusal) => {
                match (event, refusal) {
                    (RunEvent::Seal { .. }, RunRefusal::WrongPhase | RunRefusal::Closed) if at.abandoned.is_some() => {
                        self.hit(Row::SealAbandoned);
                    }
                    (RunEvent::Seal { .. }, RunRefusal::Superseded | RunRefusal::WrongPhase) => {
                        self.hit(Row::PlannerFenced);
                    }
                    (RunEvent::ClaimClose { .. }, RunRefusal::LeaseHeld) => self.hit(Row::ClosersRace),
                    (RunEvent::Close { .. }, _) => self.hit(Row::CloserFenced),
                    _ => {}
                }
                return;
            }
        };
        let Some(before) = before else { return };
        let id = after.batch_run_id;
        self.world.note(|| format!("run {} is {:?}", id.short(), after.phase));
        if rank(&after.phase) < rank(&before.phase) {
            self.broken(Promise::Other, format!("run {id} went back from {:?} to {:?}", before.phase, after.phase));
        }
        if before.plan.is_some() && before.plan != after.plan {
            self.broken(Promise::Lost, format!("the sealed plan of run {id} changed"));
        }
        self.abandoned(before, after);
        match event {
            RunEvent::ReleasePlan { .. } => self.hit(Row::PlanReleased),
            RunEvent::TakeOverPlan { .. } if before.phase == RunPhase::Missed => self.hit(Row::SlotLate),
            RunEvent::TakeOverPlan { .. } => self.hit(Row::PlannerTakeover),
            RunEvent::Seal { plan } => self.sealed(id, plan),
            RunEvent::ClaimClose { .. } if matches!(before.phase, RunPhase::Closing { .. }) => {
                self.hit(Row::SecondCloser);
            }
            RunEvent::Close { .. } => self.closed(after),
            RunEvent::Publish { publication, .. } => match publication {
                Publication::Failed { .. } => self.hit(Row::PublicationFailed),
                Publication::Published { .. } if before.publication != Publication::Pending => {
                    self.hit(Row::PublishedAgain);
                }
                _ => {}
            },
            RunEvent::SpreadPages { .. } if matches!(before.publication, Publication::UnderWay { .. }) => {
                self.hit(Row::SpreadAgain);
            }
            RunEvent::SpreadPages { .. } => self.hit(Row::PublicationSpread),
            RunEvent::BucketWritten { bucket, .. } if !before.pages_left.contains(bucket) => {
                self.hit(Row::BucketAgain);
            }
            _ => {}
        }
    }

    /// A run is sealed or abandoned, never both, and stays what it is.
    fn abandoned(&self, before: &Run, after: &Run) {
        let id = after.batch_run_id;
        if before.abandoned.is_some() && before.abandoned != after.abandoned {
            self.broken(Promise::Other, format!("why run {id} was abandoned changed"));
        }
        if after.abandoned.is_some() && after.plan.is_some() {
            self.broken(Promise::Other, format!("run {id} is sealed, and abandoned"));
        }
        if rank(&after.phase) > 1 && after.plan.is_none() && after.abandoned.is_none() {
            self.broken(Promise::Other, format!("run {id} is open without a plan"));
        }
        if let (None, Some(abandoned)) = (&before.abandoned, &after.abandoned) {
            self.hit(match abandoned.reason {
                AbandonReason::Inputs { .. } => Row::AbandonedInputs,
                AbandonReason::Canceled => Row::AbandonedCanceled,
                AbandonReason::Overdue => Row::AbandonedOverdue,
            });
        }
    }

    /// The manifest of the sealed epoch is the list that its planner read, whole (I6).
    fn sealed(&self, id: RunId, plan: &SealedPlan) {
        self.world.state().shadow.sealed.entry(id).or_insert_with(|| plan.clone());
        self.manifest_is_whole(id, plan);
        if plan.portfolios == 0 {
            self.hit(Row::NoPortfolios);
        }
        if plan.buckets() > 1 {
            self.hit(Row::ManyBuckets);
        }
    }

    fn manifest_is_whole(&self, id: RunId, plan: &SealedPlan) {
        let mut stored = Vec::new();
        for bucket in 0..plan.buckets() {
            stored.extend(now(self.world.store.manifest(id, plan.epoch, bucket)).unwrap_or_default());
        }
        let read = self.world.scenario.list_of(&plan.book);
        if read != Some(stored.as_slice()) {
            self.broken(
                Promise::Lost,
                format!(
                    "the manifest of run {id} holds {} portfolios that are not those its planner read",
                    stored.len()
                ),
            );
        }
    }

    /// A chunk of a manifest was written: one that is sealed must not change by it.
    pub(crate) fn saw_manifest(&self, run: RunId, epoch: u32) {
        let sealed = self.world.state().shadow.sealed.get(&run).filter(|plan| plan.epoch == epoch).cloned();
        if let Some(plan) = sealed {
            self.manifest_is_whole(run, &plan);
        }
    }

    /// Something was sent: by the watch, or by whoever does it first.
    pub(crate) fn saw_sweep(&self, row: Row) {
        if self.world.name(self.actor).starts_with("watch") {
            self.hit(row);
        }
    }

    pub(crate) fn saw_message(&self, message: &WorkMessage) {
        let plan = self.world.state().shadow.sealed.get(&message.key.run).cloned();
        let known = plan.is_some_and(|plan| {
            let chunk = now(self.world.store.manifest(message.key.run, plan.epoch, message.place.bucket));
            chunk.is_ok_and(|chunk| {
                chunk.get(message.place.index as usize).is_some_and(|planned| planned.id == message.key.portfolio)
            })
        });
        if !known {
            self.broken(
                Promise::Other,
                format!("a message for {} is not of the sealed manifest", message.key.portfolio),
            );
        }
    }

    pub(crate) fn saw_item(&self, before: Option<&WorkItem>, event: &ItemEvent, reply: &Change<WorkItem, ItemRefusal>) {
        let after = match reply {
            Change::Applied(after) => after,
            Change::Refused(_, refusal) => {
                match (event, refusal) {
                    (ItemEvent::Claim { .. }, ItemRefusal::LeaseHeld) => self.hit(Row::TwinAtWork),
                    (ItemEvent::Claim { .. }, ItemRefusal::Terminal) => self.hit(Row::AfterTheEnd),
                    (ItemEvent::Finish { .. }, _) => self.hit(Row::LateResult),
                    (ItemEvent::Heartbeat { .. }, _) => self.hit(Row::ClaimLost),
                    (ItemEvent::Settle { .. }, _) => self.hit(Row::SettleRefused),
                    _ => {}
                }
                return;
            }
        };
        if before == Some(after) {
            // The same request again, its reply had been lost.
            return;
        }
        let key = &after.key;
        self.world.note(|| format!("item {} is {:?}, attempt {}", key.portfolio, after.state, after.attempt));
        let ended = self.world.state().shadow.ended.get(key).cloned();
        if let Some(ended) = ended {
            self.broken(
                Promise::Other,
                format!("item {} ended as {:?} and was changed after", key.portfolio, ended.state),
            );
        }
        let holder = self.world.state().shadow.claims.get(key).copied();
        match event {
            ItemEvent::Claim { owner, .. } => {
                if matches!(before.map(|item| item.state), Some(ItemState::Working { .. })) {
                    self.hit(Row::LeaseTakeover);
                }
                if holder.is_some_and(|(_, attempt)| attempt >= after.attempt) {
                    self.broken(Promise::Other, format!("the attempt of item {} did not grow", key.portfolio));
                }
                self.world.state().shadow.claims.insert(key.clone(), (*owner, after.attempt));
            }
            ItemEvent::Heartbeat { owner, attempt, .. }
            | ItemEvent::Finish { owner, attempt, .. }
            | ItemEvent::GiveBack { owner, attempt } => {
                if holder != Some((*owner, *attempt)) {
                    self.broken(
                        Promise::Other,
                        format!("attempt {attempt} of item {} wrote, though {holder:?} held the claim", key.portfolio),
                    );
                }
                if matches!(event, ItemEvent::Heartbeat { .. }) {
                    self.hit(Row::Heartbeat);
                }
            }
            ItemEvent::Settle { .. } | ItemEvent::VoidLease => {}
        }
        match after.state {
            ItemState::Lost => self.hit(Row::Lost),
            ItemState::TimedOut => self.hit(Row::TimedOut),
            ItemState::Cancelled => self.hit(Row::Cancelled),
            ItemState::Pending | ItemState::Working { .. } | ItemState::Done => {}
        }
        if after.state.is_terminal() {
            self.world.state().shadow.ended.entry(key.clone()).or_insert_with(|| after.clone());
        }
    }

    /// What is counted has ended (I3), and is counted once, as it is on record (I4).
    pub(crate) fn saw_fold(&self, run: RunId, fold: &Fold) {
        let Some(plan) = self.world.state().shadow.sealed.get(&run).cloned() else { return };
        let items = now(self.world.store.items(run, fold.bucket)).unwrap_or_default();
        let (mut jobs, mut processed) = (JobCounts::default(), 0);
        for index in &fold.done {
            let item = items.iter().find(|item| item.place.index == *index);
            match item.filter(|item| item.state.is_terminal()).and_then(|item| FoldEntry::of(item, plan.jobs.len())) {
                Some(entry) => {
                    jobs.add_all(&entry.jobs);
                    processed += u32::from(entry.processed);
                }
                None => self.broken(Promise::Lost, format!("place {index} of run {run} is counted and has not ended")),
            }
        }
        if (fold.jobs, fold.processed) != (jobs, processed) {
            self.broken(
                Promise::DoubleCounted,
                format!("the fold of run {run} says {:?}, its records say {jobs:?}", fold.jobs),
            );
        }
    }

    /// A bucket is full only when every place in it is counted (I5).
    pub(crate) fn saw_full(&self, run: RunId, bucket: u32) {
        let Some(plan) = self.world.state().shadow.sealed.get(&run).cloned() else { return };
        let folds = now(self.world.store.folds(run)).unwrap_or_default();
        let done = folds.iter().find(|fold| fold.bucket == bucket).map_or(0, |fold| fold.done.len());
        if done != plan.bucket_len(bucket) as usize {
            self.broken(Promise::Lost, format!("bucket {bucket} of run {run} is called full with {done} counted"));
        }
    }

    /// The summary is what the records add up to, whoever computes it (I7).
    pub(crate) fn saw_summary(&self, proposed: &RunSummary, reply: &Creation<RunSummary>) {
        let id = proposed.batch_run_id;
        match reply {
            Creation::Existing(existing) => {
                self.hit(Row::SummaryThere);
                if !same(existing, proposed) {
                    self.broken(Promise::Other, format!("two closers of run {id} computed different summaries"));
                }
            }
            Creation::Created => {
                self.world.state().shadow.summaries.insert(id, proposed.clone());
                let Some(plan) = self.world.state().shadow.sealed.get(&id).cloned() else { return };
                let (counts, processed) = self.recount(id, &plan);
                if proposed.total_jobs != plan.total_jobs() || proposed.counts().total() != plan.total_jobs() {
                    self.broken(Promise::Lost, format!("the summary of run {id} does not hold all of its jobs"));
                }
                if (proposed.counts(), proposed.portfolios_processed) != (counts, processed) {
                    self.broken(
                        Promise::DoubleCounted,
                        format!("the summary of run {id} says {:?}, its records say {counts:?}", proposed.counts()),
                    );
                }
            }
        }
    }

    /// The records of a run, counted one by one by the manifest.
    pub(crate) fn recount(&self, id: RunId, plan: &SealedPlan) -> (JobCounts, u64) {
        let (mut counts, mut processed) = (JobCounts::default(), 0);
        for bucket in 0..plan.buckets() {
            for planned in now(self.world.store.manifest(id, plan.epoch, bucket)).unwrap_or_default() {
                let item = now(self.world.store.item(&ItemKey { run: id, portfolio: planned.id })).ok().flatten();
                processed += u64::from(item.as_ref().is_some_and(|item| matches!(item.state, ItemState::Done)));
                for job in &plan.jobs {
                    let records = item.iter().flat_map(|item| &item.records);
                    let mut of_job = records.filter(|record| record.job_name == job.name);
                    counts.add(of_job.next().map_or(domain::words::JobStatus::Missing, |record| record.status));
                    if of_job.next().is_some() {
                        self.broken(Promise::DoubleCounted, format!("two records of {} in run {id}", job.name));
                    }
                }
            }
        }
        (counts, processed)
    }

    fn closed(&self, run: &Run) {
        let id = run.batch_run_id;
        if !self.world.state().shadow.summaries.contains_key(&id) {
            self.broken(Promise::Lost, format!("run {id} is closed without a summary"));
        }
        let Some(plan) = &run.plan else { return };
        for bucket in 0..plan.buckets() {
            for planned in now(self.world.store.manifest(id, plan.epoch, bucket)).unwrap_or_default() {
                let key = ItemKey { run: id, portfolio: planned.id };
                if !self.world.state().shadow.ended.contains_key(&key) {
                    self.broken(Promise::Lost, format!("run {id} is closed, and {} has not ended", key.portfolio));
                }
            }
        }
    }

    /// An alert reached people: once, unless a fault met whoever delivered it before; and always the same.
    pub(crate) fn saw_delivery(&self, summary: &RunSummary) {
        let run = summary.batch_run_id;
        let summary = RunSummary { publication: Publication::Pending, ..summary.clone() };
        let id = format!("{run}/{}", AlertAbout::of(summary.status).as_str());
        let mut guard = self.world.state();
        let state = &mut *guard;
        state.coverage.hit(Row::AlertSent);
        let earlier = state.deliveries.entry(id).or_default();
        let before = earlier.last().cloned();
        earlier.push(Delivery { actor: self.actor, summary: summary.clone() });
        let Some(before) = before else { return };
        state.coverage.hit(Row::AlertRepeated);
        let (first, second) = (&state.actors[before.actor], &state.actors[self.actor]);
        // Clocks that are further apart than the lease is long are a fault, too.
        let apart = (first.skew - second.skew).abs() > chrono::TimeDelta::seconds(100);
        let excused = first.faulted || second.faulted || apart || before.actor == self.actor;
        drop(guard);
        if !excused {
            self.broken(Promise::DoubleCounted, format!("the alert of run {run} was delivered twice"));
        }
        if before.summary != summary {
            self.broken(Promise::Other, format!("the alert of run {run} came in two forms"));
        }
    }
}

/// Whether two summaries agree in everything that a closer computes.
pub(crate) fn same(one: &RunSummary, other: &RunSummary) -> bool {
    let plain = |summary: &RunSummary| {
        let mut summary = RunSummary { publication: Publication::Pending, ..summary.clone() };
        for cause in &mut summary.failures {
            // Which run came first may be known better by whoever looks later.
            cause.first_seen_run = summary.batch_run_id;
            cause.new = true;
        }
        summary
    };
    plain(one) == plain(other)
}
