//! Reading: what the pages need of the store, already masked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::job::JobSpec;
use domain::ports::{PortfolioRun, RunQuery, RunStore, StoreError, StoredRun};
use domain::record::JobRecord;
use domain::run::{PagesThere, Run};
use domain::summary::{RunSummary, complete_records, summarise};
use domain::work_item::{ItemKey, ItemState, Place, WorkItem};
use futures::StreamExt as _;

use crate::mask::Mask;

/// Reads in flight at once.
pub(crate) const AT_ONCE: usize = 8;

/// What pages need to know of a run that they only mention.
#[derive(Debug, Clone)]
pub(crate) struct RunFact {
    /// Whether its pages are there, so that others may link to them.
    pub(crate) linkable: bool,
    /// Whether it is closed: a job without a record is then missing.
    pub(crate) closed: bool,
    /// Its job list.
    pub(crate) jobs: Arc<[JobSpec]>,
}

/// Facts by run.
pub(crate) type Facts = BTreeMap<RunId, RunFact>;

/// A run with its summary, masked.
#[derive(Debug, Clone)]
pub(crate) struct RunHead {
    /// The run.
    pub(crate) run: Run,
    /// Its summary: the stored one, or of the state as it is.
    pub(crate) summary: RunSummary,
    /// Whether its page is there, and those of its jobs and its month.
    pub(crate) linkable: bool,
    /// Whether each of its portfolios has a page.
    pub(crate) portfolio_pages: bool,
}

/// A run with everything, masked.
#[derive(Debug, Clone)]
pub(crate) struct RunData {
    /// The run and its summary.
    pub(crate) head: RunHead,
    /// One item for each expected portfolio, by place.
    pub(crate) items: Vec<WorkItem>,
    /// The ids of the items before masking, for questions to the store.
    pub(crate) ids: Vec<PortfolioId>,
}

impl RunData {
    /// The job list.
    pub(crate) fn jobs(&self) -> &[JobSpec] {
        self.head.run.plan.as_ref().map_or(&[], |plan| &plan.jobs)
    }

    /// One record a job, in order.
    pub(crate) fn records(&self, item: &WorkItem) -> Vec<JobRecord> {
        complete_records(item, self.jobs())
    }

    /// Whether the records are still there: they are kept for a shorter time than the summary.
    pub(crate) fn records_kept(&self) -> bool {
        !self.items.is_empty() || self.head.summary.portfolios_expected == 0
    }
}

/// What one portfolio page needs.
#[derive(Debug, Clone)]
pub(crate) struct PortfolioData {
    /// The masked id.
    pub(crate) id: PortfolioId,
    /// Its newest runs, newest first.
    pub(crate) runs: Vec<PortfolioRun>,
    /// Facts of these runs.
    pub(crate) facts: Facts,
    /// The records of the newest.
    pub(crate) newest: Option<WorkItem>,
    /// Last successes that lie further back than `runs`.
    pub(crate) older_successes: BTreeMap<JobName, JobRecord>,
}

/// Reads from the store through the mask, and remembers which pages are there.
pub(crate) struct Reader {
    store: Arc<dyn RunStore>,
    mask: Mask,
    facts: Mutex<Facts>,
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn RunStore>, mask: Mask) -> Self {
        Self { store, mask, facts: Mutex::new(Facts::new()) }
    }

    fn note(&self, run: &Run) -> bool {
        let linkable = run.plan.is_some() && run.pages >= PagesThere::Run;
        let fact = RunFact {
            linkable,
            closed: run.is_closed() || run.closed_at.is_some(),
            jobs: run.plan.as_ref().map_or_else(|| Arc::from([]), |plan| plan.jobs.clone().into()),
        };
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).insert(run.batch_run_id, fact);
        linkable
    }

    fn head(&self, stored: StoredRun, items: &[WorkItem]) -> RunHead {
        let linkable = self.note(&stored.run);
        let portfolio_pages = linkable && stored.run.pages >= PagesThere::Portfolios;
        let summary = stored.summary.unwrap_or_else(|| summarise(&stored.run, items, &BTreeMap::new()));
        RunHead { summary: self.mask.summary(summary), run: self.mask.run(stored.run), linkable, portfolio_pages }
    }

    /// The newest runs of a query, all pages, at most so many (0: all).
    pub(crate) async fn heads(&self, query: &RunQuery, most: usize) -> Result<Vec<RunHead>, StoreError> {
        let mut query = RunQuery { limit: if most == 0 { 200 } else { most }, ..query.clone() };
        let mut heads = Vec::new();
        loop {
            let page = self.store.runs(&query).await?;
            heads.extend(page.runs.into_iter().map(|stored| self.head(stored, &[])));
            query.after = page.next;
            if query.after.is_none() || (most > 0 && heads.len() >= most) {
                break;
            }
        }
        if most > 0 {
            heads.truncate(most);
        }
        Ok(heads)
    }

    /// Runs that are not closed, with everything.
    pub(crate) async fn open_runs(&self) -> Result<Vec<RunData>, StoreError> {
        let mut open = Vec::new();
        for run in self.store.open_runs().await? {
            // One that has its summary is being closed: there is nothing left to watch.
            match self.store.run(run.batch_run_id).await? {
                Some(stored) if stored.summary.is_none() => open.push(self.data(stored).await?),
                _ => {}
            }
        }
        Ok(open)
    }

    /// A run with everything.
    pub(crate) async fn run(&self, id: RunId) -> Result<RunData, StoreError> {
        let stored = self.store.run(id).await?.ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })?;
        self.data(stored).await
    }

    /// A run that was read before, with what the store says of it by now. Its items must have ended: they stay.
    pub(crate) async fn again(&self, data: &mut RunData) -> Result<(), StoreError> {
        let id = data.head.run.batch_run_id;
        let stored = self.store.run(id).await?.ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })?;
        data.head = self.head(stored, &data.items);
        Ok(())
    }

    async fn data(&self, stored: StoredRun) -> Result<RunData, StoreError> {
        let run = &stored.run;
        let ended = run.closed_at.is_some();
        let (mut items, mut ids) = (Vec::new(), Vec::new());
        if let Some(plan) = &run.plan {
            let (id, epoch) = (run.batch_run_id, plan.epoch);
            let reads: Vec<_> = (0..plan.buckets()).map(|bucket| self.bucket(id, epoch, bucket, ended)).collect();
            let mut buckets = futures::stream::iter(reads).buffered(AT_ONCE);
            while let Some(bucket) = buckets.next().await {
                for item in bucket? {
                    ids.push(item.key.portfolio.clone());
                    items.push(item);
                }
            }
        }
        let head = self.head(stored, &items);
        let items = items.into_iter().map(|item| self.mask.item(item)).collect();
        Ok(RunData { head, items, ids })
    }

    /// The items of a bucket, those that nobody touched among them.
    async fn bucket(&self, run: RunId, epoch: u32, bucket: u32, ended: bool) -> Result<Vec<WorkItem>, StoreError> {
        let touched = self.store.items(run, bucket).await?;
        let planned = self.store.manifest(run, epoch, bucket).await?;
        if planned.is_empty() {
            return Ok(touched);
        }
        let mut by_id: BTreeMap<PortfolioId, WorkItem> =
            touched.into_iter().map(|item| (item.key.portfolio.clone(), item)).collect();
        Ok(planned
            .into_iter()
            .zip(0..)
            .map(|(planned, index)| {
                by_id.remove(&planned.id).unwrap_or_else(|| {
                    let key = ItemKey { run, portfolio: planned.id };
                    let mut item = WorkItem::untouched(key, planned.name, Place { bucket, index });
                    if ended {
                        item.state = ItemState::Lost;
                    }
                    item
                })
            })
            .collect())
    }

    /// The facts of these runs, read where they are not known yet.
    pub(crate) async fn facts(&self, runs: &[RunId]) -> Result<Facts, StoreError> {
        let mut facts = Facts::new();
        for &id in runs {
            let known = self.facts.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
            let fact = match known {
                Some(fact) => Some(fact),
                None => {
                    if let Some(stored) = self.store.run(id).await? {
                        self.note(&stored.run);
                    }
                    self.facts.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
                }
            };
            facts.extend(fact.map(|fact| (id, fact)));
        }
        Ok(facts)
    }

    /// What the page of a portfolio needs. `known` are items that have been read already.
    pub(crate) async fn portfolio(
        &self,
        id: &PortfolioId,
        known: Option<&RunData>,
    ) -> Result<PortfolioData, StoreError> {
        let runs = self.store.portfolio_runs(id, 60).await?;
        let mentioned: Vec<RunId> = runs.iter().map(|run| run.batch_run_id).collect();
        let facts = self.facts(&mentioned).await?;
        let masked = self.mask.id(id);
        let mut newest = None;
        if let Some(run) = runs.first() {
            let here = known
                .filter(|data| data.head.run.batch_run_id == run.batch_run_id)
                .and_then(|data| data.items.iter().find(|item| item.key.portfolio == masked));
            newest = match here {
                Some(item) => Some(item.clone()),
                None => {
                    let key = ItemKey { run: run.batch_run_id, portfolio: id.clone() };
                    self.store.item(&key).await?.map(|item| self.mask.item(item))
                }
            };
        }
        let mut older_successes = BTreeMap::new();
        if runs.len() >= 60 {
            let jobs: BTreeSet<&JobName> =
                facts.values().flat_map(|fact| fact.jobs.iter().map(|job| &job.name)).collect();
            for job in jobs {
                let recent = runs.iter().any(|run| {
                    run.cells.iter().any(|cell| &cell.job == job && cell.status == domain::words::JobStatus::Success)
                });
                if !recent && let Some(record) = self.store.last_success(job, Some(id)).await? {
                    older_successes.insert(job.clone(), self.mask.record(record));
                }
            }
        }
        let runs = runs.into_iter().map(|run| self.mask.portfolio_run(id, run)).collect();
        Ok(PortfolioData { id: masked, runs, facts, newest, older_successes })
    }

    /// Last success of each of these jobs.
    pub(crate) async fn last_successes(
        &self,
        jobs: &[JobName],
    ) -> Result<Vec<(JobName, Option<JobRecord>)>, StoreError> {
        let mut all = Vec::new();
        for job in jobs {
            let record = self.store.last_success(job, None).await?.map(|record| self.mask.record(record));
            all.push((job.clone(), record));
        }
        Ok(all)
    }

    /// The newest closed runs of a job.
    pub(crate) async fn job_runs(&self, job: &JobName) -> Result<Vec<domain::ports::JobRun>, StoreError> {
        self.store.job_runs(job, 60).await
    }

    /// The runs of a trading date with everything, newest first.
    pub(crate) async fn of_date(&self, as_of: NaiveDate) -> Result<Vec<RunData>, StoreError> {
        let query = RunQuery { as_of: Some(as_of), ..RunQuery::default() };
        let mut ids = Vec::new();
        for head in self.heads(&query, 0).await? {
            ids.push(head.run.batch_run_id);
        }
        let mut all = Vec::new();
        for id in ids {
            all.push(self.run(id).await?);
        }
        Ok(all)
    }
}

/// Which of two runs is newer: by slot, start, id.
pub(crate) fn age_key(run: &Run) -> (DateTime<Utc>, DateTime<Utc>, RunId) {
    (run.scheduled_for, run.started_at, run.batch_run_id)
}
