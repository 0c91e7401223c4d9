//! Runs, portfolios and jobs of a seed, and the steps that the rules share.

use chrono::{Duration, Months, NaiveDate};

use crate::chain::append_run;
use crate::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId};
use crate::ports::{Change, Creation, RunStore, month_of};
use crate::record::{JobRecord, RecordedError};
use crate::run::samples::{at, owner, plan, planning};
use crate::run::{Run, RunEvent, RunRefusal, SealedPlan};
use crate::summary::{RunSummary, summarise};
use crate::words::{ErrorCategory, JobStatus};
use crate::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

pub(super) fn number(seed: u128, n: u128) -> u128 {
    seed.wrapping_mul(1_000).wrapping_add(n)
}

/// A year of this seed's own, far away from those of real runs.
pub(super) fn new_year(seed: u128) -> NaiveDate {
    let year = 2_100 + i32::try_from(seed % 7_000).unwrap();
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap()
}

/// A run in planning whose slot is so many days into the year of its seed.
pub(super) fn run_on(seed: u128, n: u128, day: i64) -> Run {
    let as_of = new_year(seed) + Duration::days(day);
    let scheduled_for = as_of.and_hms_opt(23, 30, 0).unwrap().and_utc();
    Run { as_of, scheduled_for, started_at: scheduled_for + Duration::seconds(1), ..planning(number(seed, n)) }
}

pub(super) fn job(seed: u128, name: &str) -> JobName {
    JobName::new(format!("{name}_{seed}")).unwrap()
}

pub(super) fn portfolio(seed: u128, n: u32) -> PortfolioId {
    PortfolioId::new(format!("p{seed}-{n}")).unwrap()
}

pub(super) fn cause(seed: u128, name: &str) -> Fingerprint {
    Fingerprint::new(&ContentHash::of(format!("{name} {seed}").as_bytes()).as_str()[..16]).unwrap()
}

pub(super) fn key(seed: u128, run: &Run, n: u32) -> ItemKey {
    ItemKey { run: run.batch_run_id, portfolio: portfolio(seed, n) }
}

/// A plan of the jobs `first` and `second`, with names of this seed's own.
pub(super) fn plan_of(seed: u128, epoch: u32, portfolios: u32) -> SealedPlan {
    let mut plan = plan(epoch, portfolios);
    for spec in &mut plan.jobs {
        spec.name = job(seed, spec.name.as_str());
        spec.needs = spec.needs.iter().map(|name| job(seed, name.as_str())).collect();
    }
    plan
}

pub(super) fn seal(seed: u128, epoch: u32, portfolios: u32) -> RunEvent {
    RunEvent::Seal { plan: Box::new(plan_of(seed, epoch, portfolios)) }
}

pub(super) async fn create(store: &dyn RunStore, run: &Run) {
    assert_eq!(store.create_run(run).await.unwrap(), Creation::Created, "the run was there before");
}

pub(super) async fn step(store: &dyn RunStore, run: RunId, event: &RunEvent) -> Run {
    match store.apply_run(run, event).await.unwrap() {
        Change::Applied(run) => run,
        Change::Refused(_, refusal) => panic!("{event:?} was refused: {refusal}"),
    }
}

pub(super) async fn refused(store: &dyn RunStore, run: RunId, event: &RunEvent) -> RunRefusal {
    let before = store.run(run).await.unwrap();
    match store.apply_run(run, event).await.unwrap() {
        Change::Applied(run) => panic!("{event:?} was applied: {run:?}"),
        Change::Refused(told, refusal) => {
            let after = store.run(run).await.unwrap();
            assert_eq!(before, after, "a refusal changed the run");
            assert_eq!(after.map(|stored| stored.run), Some(told), "a refusal tells another state");
            refusal
        }
    }
}

/// Creates and seals a run.
pub(super) async fn begin(store: &dyn RunStore, seed: u128, run: &Run, portfolios: u32) -> Run {
    create(store, run).await;
    step(store, run.batch_run_id, &seal(seed, 1, portfolios)).await
}

pub(super) fn claim(worker: u128, now: i64) -> ItemEvent {
    ItemEvent::Claim { owner: owner(worker), now: at(now), lease_until: at(now + 60) }
}

pub(super) fn finish(worker: u128, attempt: u32, records: Vec<JobRecord>) -> ItemEvent {
    ItemEvent::Finish {
        owner: owner(worker),
        attempt,
        now: at(90),
        records,
        results: Some(ContentHash::of(b"results")),
    }
}

/// One record of the run's jobs for each status. A failure has the cause `broken`.
pub(super) fn records(seed: u128, run: &Run, n: u32, statuses: &[JobStatus]) -> Vec<JobRecord> {
    let jobs = plan_of(seed, 1, 1).jobs;
    let one = |(spec, status): (&crate::job::JobSpec, &JobStatus)| {
        let mut record = JobRecord::blank(run.batch_run_id, &portfolio(seed, n), "A portfolio", spec, *status);
        record.attempt = 1;
        record.started_at = Some(at(10));
        record.completed_at = Some(at(12));
        record.duration_seconds = Some(2.25);
        record.error = (*status == JobStatus::Failed).then(|| RecordedError {
            category: ErrorCategory::Permanent,
            message: format!("it broke for portfolio {n}"),
            chain: vec!["because".into()],
            fingerprint: cause(seed, "broken"),
            masked: None,
        });
        record
    };
    jobs.iter().zip(statuses).map(one).collect()
}

pub(super) async fn touch(store: &dyn RunStore, key: &ItemKey, place: Place, event: &ItemEvent) -> WorkItem {
    match store.apply_item(key, "A portfolio", place, event).await.unwrap() {
        Change::Applied(item) => item,
        Change::Refused(_, refusal) => panic!("{event:?} was refused: {refusal}"),
    }
}

pub(super) async fn not_touched(store: &dyn RunStore, key: &ItemKey, place: Place, event: &ItemEvent) -> ItemRefusal {
    let before = store.item(key).await.unwrap();
    match store.apply_item(key, "A portfolio", place, event).await.unwrap() {
        Change::Applied(item) => panic!("{event:?} was applied: {item:?}"),
        Change::Refused(told, refusal) => {
            let after = store.item(key).await.unwrap();
            assert_eq!(before, after, "a refusal changed the item");
            if let Some(after) = after {
                assert_eq!(after, told, "a refusal tells another state");
            }
            refusal
        }
    }
}

pub(super) const fn place(n: u32) -> Place {
    Place { bucket: n / crate::run::BUCKET_SIZE, index: n % crate::run::BUCKET_SIZE }
}

/// Claims and finishes portfolio `n` of a run with these statuses.
pub(super) async fn work(store: &dyn RunStore, seed: u128, run: &Run, n: u32, statuses: &[JobStatus]) -> WorkItem {
    let key = key(seed, run, n);
    touch(store, &key, place(n), &claim(1, 0)).await;
    touch(store, &key, place(n), &finish(1, 1, records(seed, run, n, statuses))).await
}

/// Closes a run on what is stored of it.
pub(super) async fn close(store: &dyn RunStore, run: &Run) -> RunSummary {
    let claim = RunEvent::ClaimClose { owner: owner(1), now: at(100), lease_until: at(160) };
    let closing = step(store, run.batch_run_id, &claim).await;
    let summary = summary_of(store, &closing).await;
    assert_eq!(store.put_summary(&summary).await.unwrap(), Creation::Created, "the summary was there before");
    let mut items = Vec::new();
    for bucket in 0..closing.plan.as_ref().map_or(0, SealedPlan::buckets) {
        items.extend(store.items(run.batch_run_id, bucket).await.unwrap());
    }
    append_run(store, at(100), &closing, &summary, &items).await.unwrap();
    step(store, run.batch_run_id, &RunEvent::Close { epoch: closing.close_epoch }).await;
    summary
}

pub(super) async fn summary_of(store: &dyn RunStore, run: &Run) -> RunSummary {
    let items = store.items(run.batch_run_id, 0).await.unwrap();
    summarise(run, &items, &std::collections::BTreeMap::new())
}

pub(super) const GOOD: [JobStatus; 2] = [JobStatus::Success, JobStatus::Success];

pub(super) const BAD: [JobStatus; 2] = [JobStatus::Success, JobStatus::Failed];

pub(super) fn month(seed: u128, later: u32) -> String {
    month_of(new_year(seed) + Months::new(later))
}

pub(super) fn ids<'a>(runs: impl IntoIterator<Item = &'a RunId>) -> Vec<u128> {
    runs.into_iter().map(|id| id.0.as_u128()).collect()
}

pub(super) async fn success(store: &dyn RunStore, seed: u128, n: Option<u32>) -> Option<(u128, PortfolioId)> {
    let portfolio = n.map(|n| portfolio(seed, n));
    let record = store.last_success(&job(seed, "second"), portfolio.as_ref()).await.unwrap()?;
    assert_eq!((record.job_name, record.status), (job(seed, "second"), JobStatus::Success));
    Some((record.batch_run_id.0.as_u128(), record.portfolio_id))
}
