//! The jobs of a run, page by page: every job that the run should have, with or without a record.

use crate::expected_items::expected_items;
use crate::ids::JobName;
use crate::names::find_item;
use crate::ports::{RecordCursor, RecordQuery, RunStore, StoreError, StoredRun};
use crate::record::JobRecord;
use crate::run::SealedPlan;
use crate::summary::{RunSummary, complete_records};
use crate::words::JobStatus;
use crate::work_item::WorkItem;

/// A page of the jobs of a run, by portfolio and in the order of the job list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobsPage {
    /// Jobs that are selected, on all pages.
    pub total: u64,
    /// Their records; a job without one has a line that says `pending`, `running` or `missing`.
    pub jobs: Vec<JobRecord>,
    /// The last job of this page, to continue after; none on the last page.
    pub next: Option<RecordCursor>,
}

/// A page of the jobs of a run that the query selects, after this position, at most `limit` (0: all).
///
/// Of a closed run whose jobs all have records, it reads `limit` records and no more; of one portfolio, its work item.
/// Otherwise it reads buckets of portfolios until the page is full; of an open run all buckets, one at a time, where a
/// status is asked for, because only the items know how many jobs stand so.
///
/// # Errors
/// The store.
pub async fn jobs_page(
    store: &dyn RunStore,
    stored: &StoredRun,
    query: &RecordQuery,
    after: Option<RecordCursor>,
    limit: usize,
) -> Result<JobsPage, StoreError> {
    let Some(plan) = &stored.run.plan else { return Ok(JobsPage::default()) };
    let mut page = Collected::new(query, after, limit);
    if let Some(portfolio) = &query.portfolio {
        if let Some(item) = find_item(store, stored, portfolio).await? {
            page.add(&item, plan);
        }
        return Ok(page.done());
    }
    let summary = stored.summary.as_ref().filter(|_| stored.run.is_closed());
    let known_total = match summary {
        Some(summary) => Some(total_of(summary, plan, query)),
        None if query.status.is_none() => {
            let jobs = plan.jobs.iter().filter(|job| names(query, &job.name, plan)).count();
            Some(u64::from(plan.portfolios) * jobs as u64)
        }
        None => None,
    };
    if let (Some(summary), Some(total)) = (summary, known_total)
        && (summary.missing_jobs == 0 || query.status.is_some_and(has_record))
    {
        let found = store.records_page(stored.run.batch_run_id, query, after, limit).await?;
        return Ok(counted(JobsPage { total, jobs: found.records, next: found.next }, after));
    }
    // Where the total has to be counted, what stands before the page counts too.
    let first = if known_total.is_some() { after.map_or(0, |after| after.place.bucket) } else { 0 };
    for bucket in first..plan.buckets() {
        for item in expected_items(store, &stored.run, bucket).await? {
            page.add(&item, plan);
        }
        if page.is_full() && known_total.is_some() {
            break;
        }
    }
    let mut page = page.done();
    if let Some(total) = known_total {
        page = counted(JobsPage { total, ..page }, after);
    }
    Ok(page)
}

/// A page that is the only one has the whole total: the records of an old run may be retired, and its summary is not.
fn counted(page: JobsPage, after: Option<RecordCursor>) -> JobsPage {
    if after.is_none() && page.next.is_none() { JobsPage { total: page.jobs.len() as u64, ..page } } else { page }
}

/// Whether a job of a closed run that stands so has a record.
const fn has_record(status: JobStatus) -> bool {
    matches!(status, JobStatus::Success | JobStatus::Failed | JobStatus::Skipped)
}

/// Whether the query selects a job by its name and family.
fn names(query: &RecordQuery, name: &JobName, plan: &SealedPlan) -> bool {
    let family = || plan.jobs.iter().find(|job| job.name == *name).map(|job| job.job_type);
    query.job.as_ref().is_none_or(|job| job == name)
        && query.job_type.is_none_or(|wanted| family().is_some_and(|family| family == wanted))
}

/// How many jobs of a closed run the query selects, whatever the portfolio.
fn total_of(summary: &RunSummary, plan: &SealedPlan, query: &RecordQuery) -> u64 {
    let lines = summary.job_summary.iter().filter(|line| names(query, &line.job, plan));
    let number = lines.map(|line| match query.status {
        None => line.portfolios,
        Some(JobStatus::Success) => line.success,
        Some(JobStatus::Failed) => line.failed,
        Some(JobStatus::Skipped) => line.skipped,
        Some(JobStatus::Missing) => line.missing,
        Some(JobStatus::Pending | JobStatus::Running) => 0,
    });
    number.sum()
}

/// A page that is being filled.
struct Collected<'a> {
    query: &'a RecordQuery,
    after: Option<RecordCursor>,
    limit: usize,
    page: JobsPage,
    last: Option<RecordCursor>,
}

impl<'a> Collected<'a> {
    fn new(query: &'a RecordQuery, after: Option<RecordCursor>, limit: usize) -> Self {
        Self { query, after, limit, page: JobsPage::default(), last: None }
    }

    /// Counts the jobs of an item, and takes those that belong on the page.
    fn add(&mut self, item: &WorkItem, plan: &SealedPlan) {
        for (order, record) in (0..).zip(complete_records(item, &plan.jobs)) {
            let cursor = RecordCursor { place: item.place, order };
            if !self.query.selects(&record) {
                continue;
            }
            self.page.total += 1;
            if self.after.is_some_and(|after| cursor <= after) {
                continue;
            }
            if self.limit > 0 && self.page.jobs.len() == self.limit {
                self.page.next = self.last;
                continue;
            }
            self.page.jobs.push(record);
            self.last = Some(cursor);
        }
    }

    /// Whether another page follows, so that this one is complete.
    const fn is_full(&self) -> bool {
        self.page.next.is_some()
    }

    fn done(self) -> JobsPage {
        self.page
    }
}
