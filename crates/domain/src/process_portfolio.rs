//! Use case 2: claim a work item, run its jobs in order, finish it exactly once.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{Either, select};

#[cfg(feature = "guard-switches")]
use crate::guards::{self, Guard};
use crate::ids::{JobName, Owner};
use crate::job::JobSpec;
use crate::job_context::JobContext;
use crate::ports::{Change, JobRunner, PortfolioJobs, Ports, StoreError, WorkMessage};
use crate::record::{JobError, JobOutput, JobRecord, SkippedBecause};
use crate::run::{Run, SealedPlan, seconds_between};
use crate::tail::run_tail;
use crate::time_limit::TimeLimit;
use crate::watch::settle_if_hopeless;
use crate::words::{ErrorCategory, JobStatus};
use crate::work_item::{InHand, ItemEvent, ItemRefusal, ItemState, WorkItem};

/// How long a claim is good without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(120);

/// Time between two heartbeats: at most one write of progress in this time.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// How long a job that was told that its time is up has to come back, before it is left behind.
pub const GRACE: Duration = Duration::from_secs(2);

/// What to do with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Acknowledge it: the item has ended and is counted, or the message means nothing any more.
    Acknowledge,
    /// Give it back: somebody else works on the item, or this worker lost it.
    GiveBack,
}

/// Processes one portfolio of one run.
///
/// # Errors
/// The store or the queue; then the message comes again. A failure of a job is no error but a record.
pub async fn process_portfolio(
    ports: &Ports,
    runner: &dyn JobRunner,
    message: &WorkMessage,
) -> Result<Handled, StoreError> {
    process_portfolio_until(ports, runner, message, std::future::pending()).await
}

/// As [`process_portfolio`], by a worker that has to go at some time.
///
/// Once `out_of_time` is over, the job in hand is told to stop, and the item is given back for whoever comes next, at once
/// and not only when the claim has run out.
///
/// # Errors
/// The store or the queue; then the message comes again. A failure of a job is no error but a record.
pub async fn process_portfolio_until(
    ports: &Ports,
    runner: &dyn JobRunner,
    message: &WorkMessage,
    out_of_time: impl Future<Output = ()> + Send,
) -> Result<Handled, StoreError> {
    let key = &message.key;
    let Some(stored) = ports.store.run(key.run).await? else {
        tracing::warn!(batch_run_id = %key.run, portfolio_id = %key.portfolio, event = "message.stale", "a message for a run that is not on record was dropped");
        return Ok(Handled::Acknowledge);
    };
    let run = stored.run;
    let Some(plan) = run.plan.clone().filter(|_| !run.is_closed()) else {
        tracing::info!(batch_run_id = %key.run, portfolio_id = %key.portfolio, event = "message.stale", "a message for a run that is closed was dropped");
        return Ok(Handled::Acknowledge);
    };
    let owner = ports.randomness.owner();
    let now = ports.clock.now();
    let claim = ItemEvent::Claim { owner, now, lease_until: now + LEASE };
    let item = if run.gives_up_at().is_some_and(|at| at < now) {
        let untouched = WorkItem::untouched(key.clone(), message.name.clone(), message.place);
        let item = ports.store.item(key).await?.unwrap_or(untouched);
        if let Some(item) = settle_if_hopeless(ports, &run, &item).await? {
            run_tail(ports, &plan, &item).await?;
        }
        return Ok(Handled::Acknowledge);
    } else {
        match ports.store.apply_item(key, &message.name, message.place, &claim).await? {
            Change::Applied(item) => item,
            Change::Refused(item, ItemRefusal::Terminal) => {
                run_tail(ports, &plan, &item).await?;
                return Ok(Handled::Acknowledge);
            }
            Change::Refused(item, ItemRefusal::Exhausted) => {
                if let Some(item) = settle_if_hopeless(ports, &run, &item).await? {
                    run_tail(ports, &plan, &item).await?;
                }
                return Ok(Handled::Acknowledge);
            }
            // If the twin dies, this message is what brings the item back.
            Change::Refused(..) => return Ok(Handled::GiveBack),
        }
    };
    if item.attempt > 1 {
        tracing::info!(batch_run_id = %key.run, portfolio_id = %key.portfolio, attempt = item.attempt, event = "lease.taken_over", "took over a portfolio whose worker is gone");
    }
    #[cfg(feature = "guard-switches")]
    if !guards::on(Guard::FoldAfterTerminal) {
        run_tail(ports, &plan, &item).await?;
    }
    let mut worker =
        Worker { ports, run: &run, plan: &plan, item, owner, last_beat: now, known: Vec::new(), in_hand: None };
    let ended = match select(pin!(worker.work(runner)), pin!(out_of_time)).await {
        Either::Left((ended, _)) => Some(ended?),
        Either::Right(_) => None,
    };
    let Some(ended) = ended else { return worker.give_back().await };
    match ended {
        Some(item) => {
            run_tail(ports, &plan, &item).await?;
            Ok(Handled::Acknowledge)
        }
        None => {
            tracing::warn!(batch_run_id = %key.run, portfolio_id = %key.portfolio, event = "result.late", "the claim was lost, the result of this attempt does not count");
            Ok(Handled::GiveBack)
        }
    }
}

/// One claim of one item.
struct Worker<'a> {
    ports: &'a Ports,
    run: &'a Run,
    plan: &'a SealedPlan,
    item: WorkItem,
    owner: Owner,
    last_beat: DateTime<Utc>,
    known: Vec<String>,
    /// The context of the attempt in hand, to stop it by.
    in_hand: Option<JobContext>,
}

/// What one attempt, or all of them, came to.
enum Ended {
    With(Result<JobOutput, JobError>),
    ClaimLost,
}

impl Worker<'_> {
    /// Runs every job; gives the finished item, or none where the claim was lost on the way.
    async fn work(&mut self, runner: &dyn JobRunner) -> Result<Option<WorkItem>, StoreError> {
        let opened = runner.open(self.run, &self.item.key.portfolio).await;
        if let Ok(jobs) = &opened {
            self.known = jobs.known_ids();
        }
        let plan = self.plan;
        let mut course = Course::default();
        for job in &plan.jobs {
            let record = match course.skip_reason(job) {
                Some(because) => {
                    let mut record = self.blank(job, JobStatus::Skipped);
                    record.skipped_because = Some(because);
                    record
                }
                None => match self.run_job(job, &opened, &course.records).await? {
                    Some(record) => record,
                    None => return Ok(None),
                },
            };
            course.push(job, record);
        }
        let records = course.records;
        let results = match opened.as_ref().map(|jobs| jobs.results()) {
            Ok(Ok(Some(json))) => Some(self.ports.documents.put_results(&self.item.key, json).await?),
            Ok(Ok(None)) | Err(_) => None,
            Ok(Err(error)) => {
                tracing::error!(batch_run_id = %self.item.key.run, portfolio_id = %self.item.key.portfolio, error = %error, "the results of a portfolio could not be written as a document");
                None
            }
        };
        let now = self.ports.clock.now();
        let event = ItemEvent::Finish { owner: self.owner, attempt: self.item.attempt, now, records, results };
        let change =
            self.ports.store.apply_item(&self.item.key, &self.item.portfolio_name, self.item.place, &event).await?;
        Ok(match change {
            Change::Applied(item) => Some(item),
            Change::Refused(item, _) if item.is_result_of(&event) => Some(item),
            #[cfg(feature = "guard-switches")]
            Change::Refused(..) if !guards::on(Guard::FoldFromRecord) => self.item.next(&event).ok(),
            Change::Refused(..) => None,
        })
    }

    /// Stops the job in hand and gives the item back unfinished. What was on its way to the store may have landed.
    async fn give_back(&self) -> Result<Handled, StoreError> {
        if let Some(context) = &self.in_hand {
            context.stop();
        }
        let (key, item) = (&self.item.key, &self.item);
        let event = ItemEvent::GiveBack { owner: self.owner, attempt: item.attempt };
        match self.ports.store.apply_item(key, &item.portfolio_name, item.place, &event).await? {
            Change::Refused(item, ItemRefusal::Terminal) => {
                run_tail(self.ports, self.plan, &item).await?;
                Ok(Handled::Acknowledge)
            }
            Change::Applied(_) | Change::Refused(..) => {
                tracing::warn!(batch_run_id = %key.run, portfolio_id = %key.portfolio, attempt = item.attempt, event = "portfolio.yielded", "the worker ran out of time and gave the portfolio back");
                Ok(Handled::GiveBack)
            }
        }
    }

    fn blank(&self, job: &JobSpec, status: JobStatus) -> JobRecord {
        JobRecord::blank(self.item.key.run, &self.item.key.portfolio, &self.item.portfolio_name, job, status)
    }

    /// Runs a job with its attempts; none where the claim was lost.
    async fn run_job(
        &mut self,
        job: &JobSpec,
        opened: &Result<Arc<dyn PortfolioJobs>, JobError>,
        before: &[JobRecord],
    ) -> Result<Option<JobRecord>, StoreError> {
        let market_data = &self.plan.market_data;
        let started_at = self.ports.clock.now();
        let mut attempt = 1;
        let (mut progress, mut waited) = (None, Duration::ZERO);
        let outcome = if let (true, Some(error)) = (job.run_level, &market_data.error) {
            // The work was done once for the run, and failed there after all its attempts.
            let mut record = self.blank(job, JobStatus::Failed);
            record.error = Some(error.clone());
            self.stamp_run_level(&mut record);
            self.log(&record);
            return Ok(Some(record));
        } else {
            loop {
                let context = JobContext::new(Arc::clone(&self.ports.clock));
                self.in_hand = Some(context.clone());
                let hand = InHand { job: job.name.clone(), attempt, started_at, progress: None };
                let ended = match opened {
                    Ok(jobs) => self.attempt(jobs.as_ref(), job, &context, hand, before).await?,
                    Err(error) => Ended::With(Err(error.clone())),
                };
                progress = context.last_progress().or(progress);
                waited += context.waits().waited;
                let error = match ended {
                    Ended::ClaimLost => return Ok(None),
                    Ended::With(Ok(output)) => break Ok(output),
                    Ended::With(Err(error)) => error,
                };
                let jitter = self.ports.randomness.jitter();
                let Some(wait) = self.plan.retry.wait_after(error.category, attempt, jitter) else { break Err(error) };
                tracing::warn!(
                    batch_run_id = %self.item.key.run, portfolio_id = %self.item.key.portfolio, job_name = %job.name,
                    attempt, category = %error.category, error = %error.recorded(&job.name, &[]).message,
                    wait_seconds = wait.as_secs_f64(), event = "job.retried", "a job failed and is tried again"
                );
                self.ports.sleeper.sleep(wait).await;
                attempt += 1;
            }
        };
        let completed_at = self.ports.clock.now();
        let mut record = self.blank(job, JobStatus::Success);
        record.attempt = attempt;
        record.started_at = Some(started_at);
        record.completed_at = Some(completed_at);
        let waited = waited.as_secs_f64().min(seconds_between(started_at, completed_at));
        record.duration_seconds = Some(seconds_between(started_at, completed_at) - waited);
        record.waited_seconds = (waited > 0.0).then_some(waited);
        record.progress = progress;
        match outcome {
            Ok(output) => {
                record.records_processed = output.records_processed;
                record.quality = output.quality;
                record.job_metadata = output.metadata;
            }
            Err(error) => {
                record.status = JobStatus::Failed;
                let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
                record.error = Some(error.recorded(&job.name, &known));
            }
        }
        if job.run_level {
            self.stamp_run_level(&mut record);
        }
        self.log(&record);
        Ok(Some(record))
    }

    /// Gives a record of work that was done once for the run the attempts and times of that work.
    fn stamp_run_level(&self, record: &mut JobRecord) {
        let work = &self.plan.market_data;
        record.attempt = work.attempts.max(record.attempt);
        record.started_at = Some(work.started_at);
        record.completed_at = Some(work.completed_at);
        record.duration_seconds = Some(work.duration_seconds());
        record.waited_seconds = None;
        for (key, value) in &work.metadata {
            record.job_metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    fn log(&self, record: &JobRecord) {
        match &record.error {
            None => tracing::debug!(
                batch_run_id = %record.batch_run_id, portfolio_id = %record.portfolio_id, job_name = %record.job_name,
                attempt = record.attempt, event = "job.success", "a job ended well"
            ),
            Some(error) => tracing::error!(
                batch_run_id = %record.batch_run_id, portfolio_id = %record.portfolio_id, job_name = %record.job_name,
                attempt = record.attempt, category = %error.category, fingerprint = %error.fingerprint,
                error = %error.message, chain = ?error.chain, event = "job.failed", "a job failed"
            ),
        }
    }

    /// Runs one attempt under its time limit, with heartbeats.
    async fn attempt(
        &mut self,
        jobs: &dyn PortfolioJobs,
        job: &JobSpec,
        context: &JobContext,
        mut hand: InHand,
        before: &[JobRecord],
    ) -> Result<Ended, StoreError> {
        let sleeper = Arc::clone(&self.ports.sleeper);
        let mut running = pin!(jobs.run(&job.name, context.clone()));
        let mut time_limit = TimeLimit::of_seconds(job.time_limit_seconds);
        let mut limit = sleeper.sleep(time_limit.next_sleep(context.waits()).unwrap_or_default());
        loop {
            let beat = sleeper.sleep(HEARTBEAT);
            match select(running.as_mut(), select(limit, beat)).await {
                Either::Left((ended, _)) => return Ok(Ended::With(ended)),
                Either::Right((Either::Left(_), _)) => {
                    if let Some(rest) = time_limit.next_sleep(context.waits()) {
                        limit = sleeper.sleep(rest);
                        continue;
                    }
                    context.time_is_up();
                    let timeout = || {
                        JobError::new(
                            ErrorCategory::Timeout,
                            format!("{} ran longer than its limit of {} s", job.name, job.time_limit_seconds),
                        )
                    };
                    return Ok(match select(running.as_mut(), sleeper.sleep(GRACE)).await {
                        // It may have finished at the last moment; then its result counts.
                        Either::Left((Ok(output), _)) => Ended::With(Ok(output)),
                        Either::Left((Err(error), _)) if error.category != ErrorCategory::Timeout => {
                            Ended::With(Err(error))
                        }
                        Either::Left(_) | Either::Right(_) => Ended::With(Err(timeout())),
                    });
                }
                Either::Right((Either::Right((_, rest)), _)) => {
                    limit = rest;
                    hand.progress = context.last_progress();
                    if !self.heartbeat(&hand, before).await? {
                        context.stop();
                        return Ok(Ended::ClaimLost);
                    }
                }
            }
        }
    }

    /// Writes a sign of life; says whether the claim is still ours.
    async fn heartbeat(&mut self, hand: &InHand, before: &[JobRecord]) -> Result<bool, StoreError> {
        let now = self.ports.clock.now();
        if let Some(progress) = &hand.progress {
            tracing::info!(
                batch_run_id = %self.item.key.run, portfolio_id = %self.item.key.portfolio, job_name = %hand.job,
                attempt = hand.attempt, done = progress.done, total = progress.total, item = %progress.item,
                event = "job.progress", "a long job is going on"
            );
        }
        let event = ItemEvent::Heartbeat {
            owner: self.owner,
            attempt: self.item.attempt,
            now,
            lease_until: now + LEASE,
            in_hand: Some(hand.clone()),
            records: before.to_vec(),
        };
        self.last_beat = now;
        let change =
            self.ports.store.apply_item(&self.item.key, &self.item.portfolio_name, self.item.place, &event).await?;
        Ok(match change {
            Change::Applied(item) => matches!(item.state, ItemState::Working { .. }),
            Change::Refused(..) => false,
        })
    }
}

/// The records of a portfolio so far, and what stopped it: which job runs next is decided here alone.
#[derive(Default)]
struct Course {
    records: Vec<JobRecord>,
    /// The critical job that stopped the portfolio, and why.
    stopped: Option<SkippedBecause>,
}

impl Course {
    /// Why a job is not run, if it is not: a critical job stopped the portfolio, or a needed one did not succeed.
    fn skip_reason(&self, job: &JobSpec) -> Option<SkippedBecause> {
        if let Some(because) = &self.stopped {
            return Some(because.clone());
        }
        let by_name: BTreeMap<&JobName, &JobRecord> =
            self.records.iter().map(|record| (&record.job_name, record)).collect();
        job.needs.iter().find_map(|need| {
            let record = by_name.get(need)?;
            if record.status == JobStatus::Success {
                return None;
            }
            let reason = format!("it needs {need}, which did not succeed");
            Some(SkippedBecause { job: root_of(record), reason })
        })
    }

    /// Takes the record of the next job of the list.
    fn push(&mut self, job: &JobSpec, record: JobRecord) {
        if job.critical && record.status != JobStatus::Success && self.stopped.is_none() {
            let reason = format!("the critical job {} did not succeed", job.name);
            self.stopped = Some(SkippedBecause { job: root_of(&record), reason });
        }
        self.records.push(record);
    }
}

/// The job that failed first: the one of this record, or the one for which it was skipped.
fn root_of(record: &JobRecord) -> JobName {
    record.skipped_because.as_ref().map_or_else(|| record.job_name.clone(), |because| because.job.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PortfolioId, RunId};
    use crate::job::tests::list;
    use proptest::prelude::*;

    fn record(job: &JobSpec, status: JobStatus, because: Option<SkippedBecause>) -> JobRecord {
        let portfolio = PortfolioId::new("p").unwrap();
        let mut record = JobRecord::blank(RunId(uuid::Uuid::nil()), &portfolio, "P", job, status);
        record.skipped_because = because;
        record
    }

    proptest! {
        /// A10: any outcome of any job gives exactly one record a job, every skipped one names a job that failed, and
        /// nothing runs after a critical job that did not succeed.
        #[test]
        fn every_skip_names_a_failure(fails in prop::collection::vec(any::<bool>(), 4)) {
            let jobs = list();
            let mut course = Course::default();
            for (job, fail) in jobs.iter().zip(fails) {
                let record = match course.skip_reason(job) {
                    Some(because) => record(job, JobStatus::Skipped, Some(because)),
                    None if fail => record(job, JobStatus::Failed, None),
                    None => record(job, JobStatus::Success, None),
                };
                course.push(job, record);
            }
            let records = course.records;
            prop_assert_eq!(records.len(), jobs.len());
            let stop = jobs.iter().zip(&records).position(|(job, r)| job.critical && r.status != JobStatus::Success);
            for r in records.iter().skip(stop.map_or(jobs.len(), |at| at + 1)) {
                prop_assert_eq!(r.status, JobStatus::Skipped);
            }
            for r in records.iter().filter(|r| r.status == JobStatus::Skipped) {
                let cause = &r.skipped_because.as_ref().unwrap().job;
                let root = records.iter().find(|r| r.job_name == *cause).unwrap();
                prop_assert_eq!(root.status, JobStatus::Failed);
            }
        }
    }

    #[test]
    fn a_skipped_critical_job_skips_the_rest() {
        // b failed, so the critical c, which needs it, is skipped; d needs c.
        let jobs = list();
        let ok = record(&jobs[0], JobStatus::Success, None);
        let failed = record(&jobs[1], JobStatus::Failed, None);
        let mut course = Course::default();
        course.push(&jobs[0], ok);
        course.push(&jobs[1], failed);
        let because = course.skip_reason(&jobs[2]).unwrap();
        assert_eq!(because.job, jobs[1].name);
        assert_eq!(because.reason, "it needs b, which did not succeed");
        course.push(&jobs[2], record(&jobs[2], JobStatus::Skipped, Some(because)));
        let because = course.skip_reason(&jobs[3]).unwrap();
        assert_eq!(because.job, jobs[1].name, "the job that failed, not the one that was skipped");
        assert_eq!(because.reason, "the critical job c did not succeed");
    }
}
