//! Reading: what the pages need of the store, already masked.

mod data;
mod nights;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Datelike as _, Utc};
use domain::expected_items::with_untouched;
use domain::ids::{JobName, PortfolioId, RunId};
use domain::night::stored::night_of_run;
use domain::night::{Night, NightHead, NightKey};
use domain::ports::{FailureSighting, JobRun, RecordQuery, RunQuery, RunStore, StoreError, StoredRun};
use domain::run::{PagesThere, Publication, Run};
use domain::summary::{FailureCluster, RunSummary, summarise};
use domain::words::JobStatus;
use domain::work_item::{ItemKey, ItemState, WorkItem};
use futures::StreamExt as _;

use self::data::is_past_of;
pub(crate) use self::data::{
    Before, Cause, Facts, FailedCell, JobData, Past, PortfolioData, RunData, RunFact, RunHead, age_key, before_of,
};
pub(crate) use self::nights::{NightData, Nights};
use crate::mask::Mask;
use crate::options::Card;
use crate::views::machine::ChainEnd;

/// Runs that the pages of portfolios and jobs show.
pub(crate) const RING: usize = 60;
/// Reads in flight at once.
pub(crate) const AT_ONCE: usize = 8;

/// Causes since an instant, newest run first.
type Sightings = (DateTime<Utc>, Arc<Vec<FailureSighting>>);

/// Reads from the store through the mask, and remembers which pages are there.
pub(crate) struct Reader {
    store: Arc<dyn RunStore>,
    mask: Mask,
    /// What the book says of portfolios, by the id before masking.
    cards: BTreeMap<PortfolioId, Card>,
    facts: Mutex<Facts>,
    ended: Arc<EndedItems>,
    job_runs: Mutex<BTreeMap<JobName, Arc<Vec<JobRun>>>>,
    sightings: Mutex<Option<Sightings>>,
}

/// The items of runs that have ended and so never change, shared by the readers of a publication: of the run that is
/// published and of the newest one.
#[derive(Debug, Default)]
pub(crate) struct EndedItems {
    items: Mutex<VecDeque<(RunId, Items)>>,
    /// Folded nights: they change with the hash of their document.
    nights: Mutex<VecDeque<nights::KeptNight>>,
    /// Heads of nights that no release has stored, as they were folded.
    folded: Mutex<BTreeMap<NightKey, NightHead>>,
}

/// The items of a run, masked, the ids of their portfolios before that, and what the run alone left undone.
type Items = (Arc<Vec<WorkItem>>, Arc<Vec<PortfolioId>>, Arc<Option<Night>>);

/// Runs whose items are kept in memory.
const KEPT_RUNS: usize = 2;
/// Portfolios whose last success a job page looks up.
pub(crate) const MOST_LOOKED_UP: usize = 50;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn RunStore>, mask: Mask, ended: Arc<EndedItems>) -> Self {
        Self {
            store,
            mask,
            cards: BTreeMap::new(),
            facts: Mutex::default(),
            ended,
            job_runs: Mutex::default(),
            sightings: Mutex::default(),
        }
    }

    /// The newest link of the chain of closed runs.
    pub(crate) async fn newest_link(&self) -> Result<Option<ChainEnd>, StoreError> {
        let newest = self.store.newest_link().await?;
        Ok(newest.map(|link| ChainEnd { number: link.number, hash: link.hash() }))
    }

    /// With what the book says of portfolios.
    pub(crate) fn with_cards(self, cards: &BTreeMap<PortfolioId, Card>) -> Self {
        let masked = |(id, card): (&PortfolioId, &Card)| (id.clone(), self.mask.card(card));
        Self { cards: cards.iter().map(masked).collect(), ..self }
    }

    /// What the book says of each portfolio, by the id that pages show.
    pub(crate) fn cards(&self) -> BTreeMap<PortfolioId, Card> {
        self.cards.iter().map(|(id, card)| (self.mask.id(id), card.clone())).collect()
    }

    fn note(&self, run: &Run, summary: Option<&RunSummary>) -> bool {
        let linkable = run.has_outcome() && run.pages >= PagesThere::Run;
        let cause = |cluster: &FailureCluster| Cause {
            fingerprint: cluster.fingerprint.clone(),
            portfolios: cluster.portfolios.len() as u64,
            first_seen: cluster.first_seen_run,
        };
        let plan = run.plan.as_ref();
        let fact = RunFact {
            linkable,
            closed: run.is_closed() || run.closed_at.is_some(),
            as_of: run.as_of,
            portfolios: plan.map_or(0, |plan| plan.portfolios),
            jobs: plan.map_or_else(|| Arc::from([]), |plan| plan.jobs.clone().into()),
            retry: plan.map(|plan| plan.retry).unwrap_or_default(),
            causes: summary.map_or_else(|| Arc::from([]), |summary| summary.failures.iter().map(cause).collect()),
        };
        lock(&self.facts).insert(run.batch_run_id, fact);
        linkable
    }

    fn head(&self, stored: StoredRun, items: &[WorkItem]) -> RunHead {
        let linkable = self.note(&stored.run, stored.summary.as_ref());
        let portfolio_pages = linkable && stored.run.pages >= PagesThere::Portfolios;
        let is_published = matches!(stored.run.publication, Publication::Published { .. });
        let awaits_publication = stored.run.has_ended() && !is_published;
        let summary = stored.summary.unwrap_or_else(|| summarise(&stored.run, items, &BTreeMap::new()));
        let (summary, run) = (self.mask.summary(summary), self.mask.run(stored.run));
        RunHead { summary, run, linkable, portfolio_pages, awaits_publication }
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
        let ended = stored.summary.is_some();
        let kept = lock(&self.ended.items).iter().find(|(of, _)| *of == id).map(|(_, items)| items.clone());
        if let Some((items, ids, alone)) = kept.filter(|_| ended) {
            return Ok(RunData { head: self.head(stored, &items), items, ids, alone });
        }
        let data = self.data(stored).await?;
        if ended {
            let mut kept = lock(&self.ended.items);
            kept.push_back((id, (Arc::clone(&data.items), Arc::clone(&data.ids), Arc::clone(&data.alone))));
            if kept.len() > KEPT_RUNS {
                kept.pop_front();
            }
        }
        Ok(data)
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
        // Before masking: a cause is known by its whole message.
        let unwell = stored.summary.as_ref().is_some_and(|summary| !summary.is_good());
        let alone = unwell.then(|| night_of_run(&stored, &items)).flatten().map(|night| self.mask.night(night));
        let head = self.head(stored, &items);
        let items: Vec<WorkItem> = items.into_iter().map(|item| self.mask.item(item)).collect();
        Ok(RunData { head, items: Arc::new(items), ids: Arc::new(ids), alone: Arc::new(alone) })
    }

    /// The items of a bucket, those that nobody touched among them.
    async fn bucket(&self, run: RunId, epoch: u32, bucket: u32, ended: bool) -> Result<Vec<WorkItem>, StoreError> {
        let touched = self.store.items(run, bucket).await?;
        let planned = self.store.manifest(run, epoch, bucket).await?;
        let mut items = with_untouched(run, bucket, planned, touched);
        // A run that has ended waits for no portfolio.
        for item in items.iter_mut().filter(|item| ended && item.state == ItemState::Pending) {
            item.state = ItemState::Lost;
        }
        Ok(items)
    }

    /// The facts of these runs, read where they are not known yet.
    pub(crate) async fn facts(&self, runs: &[RunId]) -> Result<Facts, StoreError> {
        let mut facts = Facts::new();
        for &id in runs {
            let known = lock(&self.facts).get(&id).cloned();
            let fact = match known {
                Some(fact) => Some(fact),
                None => {
                    if let Some(stored) = self.store.run(id).await? {
                        self.note(&stored.run, stored.summary.as_ref());
                    }
                    lock(&self.facts).get(&id).cloned()
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
        night: Option<NightData>,
    ) -> Result<PortfolioData, StoreError> {
        let runs = self.store.portfolio_runs(id, RING).await?;
        let mentioned: Vec<RunId> = runs.iter().map(|run| run.batch_run_id).collect();
        let mut facts = self.facts(&mentioned).await?;
        let newest_fact = runs.first().and_then(|run| facts.get(&run.batch_run_id));
        let first_seen: Vec<RunId> =
            newest_fact.iter().flat_map(|fact| fact.causes.iter().map(|cause| cause.first_seen)).collect();
        facts.extend(self.facts(&first_seen).await?);
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
        if runs.len() >= RING {
            let jobs: BTreeSet<&JobName> =
                facts.values().flat_map(|fact| fact.jobs.iter().map(|job| &job.name)).collect();
            for job in jobs {
                let recent = runs
                    .iter()
                    .any(|run| run.cells.iter().any(|cell| &cell.job == job && cell.status == JobStatus::Success));
                if !recent && let Some(record) = self.store.last_success(job, Some(id)).await? {
                    older_successes.insert(job.clone(), self.mask.record(record));
                }
            }
        }
        let runs = runs.into_iter().map(|run| self.mask.portfolio_run(id, run)).collect();
        let card = self.cards.get(id).cloned().unwrap_or_default();
        Ok(PortfolioData { id: masked, runs, facts, newest, older_successes, card, night })
    }

    /// The newest closed runs of a job: twice as many as its page shows, so that the oldest shown have a past too.
    pub(crate) async fn job_runs(&self, job: &JobName) -> Result<Arc<Vec<JobRun>>, StoreError> {
        if let Some(runs) = lock(&self.job_runs).get(job) {
            return Ok(Arc::clone(runs));
        }
        let runs = Arc::new(self.store.job_runs(job, 2 * RING).await?);
        lock(&self.job_runs).insert(job.clone(), Arc::clone(&runs));
        Ok(runs)
    }

    /// Causes in closed runs that began at this instant or later.
    async fn sightings(&self, since: DateTime<Utc>) -> Result<Arc<Vec<FailureSighting>>, StoreError> {
        let known = lock(&self.sightings).clone();
        if let Some((_, found)) = known.filter(|(from, _)| *from <= since) {
            return Ok(found);
        }
        let found = self.store.failures(Some(since), None).await?;
        let found = Arc::new(found.into_iter().map(|sighting| self.mask.sighting(sighting)).collect());
        *lock(&self.sightings) = Some((since, Arc::clone(&found)));
        Ok(found)
    }

    /// What the page of a job needs.
    pub(crate) async fn job(&self, job: &JobName) -> Result<JobData, StoreError> {
        let JobData { runs, facts, last, .. } = self.job_in_brief(job).await?;
        let since = runs.iter().map(|run| run.started_at).min();
        let sightings = match since {
            Some(since) => self.sightings(since).await?,
            None => Arc::default(),
        };
        let mut newest = None;
        if let Some(run) = runs.first() {
            newest = Some(self.run(run.batch_run_id).await?).filter(|data| data.records_kept());
        }
        let mut last_of = BTreeMap::new();
        if let Some(data) = &newest {
            let unwell = data.items.iter().zip(data.ids.iter()).filter(|(item, _)| {
                !item.records.iter().any(|record| &record.job_name == job && record.status == JobStatus::Success)
            });
            for (item, id) in unwell.take(MOST_LOOKED_UP) {
                let record = self.store.last_success(job, Some(id)).await?.map(|record| self.mask.record(record));
                last_of.insert(item.key.portfolio.clone(), record);
            }
        }
        Ok(JobData { job: job.clone(), runs, facts, last, sightings, newest, last_of })
    }

    /// What a line about a job needs: its runs and its last success.
    pub(crate) async fn job_in_brief(&self, job: &JobName) -> Result<JobData, StoreError> {
        let all = self.job_runs(job).await?;
        let runs: Arc<Vec<JobRun>> = Arc::new(all.iter().take(RING).cloned().collect());
        let last = self.store.last_success(job, None).await?.map(|record| self.mask.record(record));
        let mut mentioned: Vec<RunId> = runs.iter().map(|run| run.batch_run_id).collect();
        mentioned.extend(last.as_ref().map(|record| record.batch_run_id));
        let facts = self.facts(&mentioned).await?;
        let (job, newest, last_of) = (job.clone(), None, BTreeMap::new());
        Ok(JobData { job, runs, facts, last, sightings: Arc::default(), newest, last_of })
    }

    /// What came before this run: of its month and the one before, so that it is the same whenever it is asked.
    pub(crate) async fn past(&self, head: &RunHead) -> Result<Past, StoreError> {
        let run = &head.run;
        let mut heads = Vec::new();
        let month_before = run.as_of.with_day(1).and_then(|first| first.pred_opt());
        for date in [Some(run.as_of), month_before].into_iter().flatten() {
            let month = Some(date.format("%Y-%m").to_string());
            heads.extend(self.heads(&RunQuery { month, ..RunQuery::default() }, 0).await?);
        }
        heads.sort_by_key(|head| std::cmp::Reverse(age_key(&head.run)));
        let mut jobs = BTreeMap::new();
        for job in run.plan.iter().flat_map(|plan| &plan.jobs) {
            let all = self.job_runs(&job.name).await?;
            let earlier = all.iter().filter(|other| other.started_at < run.started_at).take(RING);
            jobs.insert(job.name.clone(), earlier.cloned().collect());
        }
        let earlier: Vec<&RunHead> = heads.iter().filter(|other| is_past_of(other, head)).collect();
        let whole = |head: &RunHead| head.run.filter.is_empty();
        let wall = earlier
            .iter()
            .filter(|other| whole(other) == whole(head))
            .filter_map(|other| other.summary.wall_seconds)
            .take(domain::baseline::LOOK_BACK)
            .collect();
        let before = before_of(&heads, head);
        let before = match before {
            Some(before) => Some(self.before(before).await?),
            None => None,
        };
        Ok(Past { jobs, wall, before })
    }

    async fn before(&self, head: &RunHead) -> Result<Before, StoreError> {
        let id = head.run.batch_run_id;
        let query = RecordQuery { status: Some(JobStatus::Failed), ..RecordQuery::default() };
        let failed = self.store.records(id, &query).await?;
        let failed = failed
            .into_iter()
            .map(|record| FailedCell { portfolio: self.mask.id(&record.portfolio_id), job: record.job_name })
            .collect();
        let mut ids = BTreeSet::new();
        if let Some(plan) = &head.run.plan {
            for bucket in 0..plan.buckets() {
                let planned = self.store.manifest(id, plan.epoch, bucket).await?;
                ids.extend(planned.iter().map(|planned| self.mask.id(&planned.id)));
            }
        }
        Ok(Before { head: head.clone(), failed, ids })
    }

    /// The runs of a night with everything, newest first.
    pub(crate) async fn of_night(&self, key: &NightKey) -> Result<Vec<RunData>, StoreError> {
        let mut all = Vec::new();
        for head in self.runs_of(key).await?.iter().rev() {
            all.push(self.run(head.run.batch_run_id).await?);
        }
        Ok(all)
    }
}
