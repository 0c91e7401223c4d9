//! The history of portfolios: what they were in their runs, and the last success of a job.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{Fingerprint, JobName, PortfolioId, RunId};
use domain::ports::{
    FailureSighting, History, JobRun, PortfolioRun, RecordCursor, RecordPage, RecordQuery, StoreError, StoredRun,
    WorkItems as _,
};
use domain::record::JobRecord;
use domain::run::{BUCKET_SIZE, Run};
use domain::words::JobStatus;
use domain::work_item::{ItemKey, WorkItem};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::document::{Item, open, text_of};
use super::keys::{self, SK, time_text};
use super::run_list::Row;
use super::table::{Pages, Range};
use super::work_items::item_of;
use super::{DynamoStore, Facts};

/// Buckets that are read, or causes that are looked up, at the same time.
const AT_ONCE: usize = 8;

/// The slot of a record, as its sort key has it.
fn slot(item: &Item) -> &str {
    text_of(item, SK).and_then(|sk| sk.split('#').nth(1)).unwrap_or_default()
}

/// Buckets to read at the same time for a page: no more than the page is likely to need.
fn buckets_at_once(run: &Run, query: &RecordQuery, limit: usize) -> usize {
    if limit == 0 {
        return AT_ONCE;
    }
    let jobs = if query.job.is_some() { 1 } else { run.plan.as_ref().map_or(1, |plan| plan.jobs.len().max(1)) };
    limit.div_ceil(jobs.saturating_mul(BUCKET_SIZE as usize)).clamp(1, AT_ONCE)
}

#[async_trait]
impl History for DynamoStore {
    async fn records_page(
        &self,
        run: RunId,
        query: &RecordQuery,
        after: Option<RecordCursor>,
        limit: usize,
    ) -> Result<RecordPage, StoreError> {
        let mut found = Vec::new();
        let mut take = |items: &[WorkItem]| {
            let ended = items.iter().filter(|item| item.state.is_terminal());
            let records = ended.flat_map(RecordCursor::each_of);
            let following =
                records.filter(|(cursor, record)| after.is_none_or(|after| *cursor > after) && query.selects(record));
            found.extend(following.map(|(cursor, record)| (cursor, record.clone())));
            limit > 0 && found.len() > limit
        };
        if let Some(portfolio) = &query.portfolio {
            let item = self.item(&ItemKey { run, portfolio: portfolio.clone() }).await?;
            take(item.as_slice());
        } else if let Some(meta) = self.meta(run).await? {
            let facts = Facts::of(&meta.run);
            let not_all_good = query.status.is_some_and(|status| status != JobStatus::Success);
            let first = after.map_or(0, |after| after.place.bucket);
            let buckets = self.buckets(&meta.run).await?.split_off(&first);
            let read = stream::iter(buckets).map(|bucket| self.bucket(run, facts, bucket, not_all_good));
            let mut read = read.buffered(buckets_at_once(&meta.run, query, limit));
            while let Some(items) = read.try_next().await? {
                if take(&items) {
                    break;
                }
            }
        }
        Ok(RecordPage::cut(found, limit))
    }

    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        let doing = || format!("read the runs of portfolio {portfolio}");
        let mut pages = Self::history(portfolio).newest_first(limit.saturating_add(1));
        let mut items: Vec<Item> = Vec::new();
        // Runs of one slot are sorted by their start, so all of the last one have to be there.
        let enough = |items: &[Item]| {
            limit == 0 || items.len() > limit && items.last().map(slot) != items.get(limit - 1).map(slot)
        };
        while !pages.ended() && !enough(&items) {
            items.extend(self.table.page(&mut pages, doing).await?);
        }
        let items = items.iter().map(item_of).collect::<Result<Vec<_>, _>>()?;
        let runs = self.load_runs(items.iter().map(|item| item.key.run)).await?;
        let mut found: Vec<PortfolioRun> = items
            .into_iter()
            .filter_map(|item| {
                let run = &runs.get(&item.key.run)?.0.run;
                Some(PortfolioRun::of(run, &item))
            })
            .collect();
        found.sort_by_key(|run| std::cmp::Reverse((run.scheduled_for, run.started_at, run.batch_run_id)));
        found.truncate(limit);
        Ok(found)
    }

    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let doing = || format!("read the runs of {job}");
        let mut pages = Pages::of(keys::job_partition(job), Range::All).newest_first(limit);
        let mut runs = Vec::new();
        while runs.len() < limit && !pages.ended() {
            for item in self.table.page(&mut pages, doing).await? {
                runs.push(open(&item, || format!("the line of {job} at {}", text_of(&item, SK).unwrap_or("?")))?);
            }
        }
        runs.truncate(limit);
        Ok(runs)
    }

    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        match portfolio {
            Some(portfolio) => self.newest_success_of(job, portfolio).await,
            None => self.newest_success_of_all(job).await,
        }
    }

    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        cause: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        let runs: Vec<StoredRun> = match cause {
            None => self.runs_since(since).await?,
            Some(cause) => {
                let range = since.map_or(Range::All, |since| Range::From(time_text(since)));
                let doing = || format!("read where the cause {cause} was seen");
                let rows = self.table.all(Pages::of(keys::cause_partition(cause), range), doing).await?;
                let ids: Vec<RunId> = rows.iter().filter_map(Row::of).map(|row| row.id).collect();
                self.load_runs(ids).await?.into_values().map(|(stored, _)| stored).collect()
            }
        };
        let summaries = runs.into_iter().filter_map(|stored| stored.summary);
        let mut found: Vec<FailureSighting> =
            summaries.flat_map(|summary| FailureSighting::all_of(&summary).collect::<Vec<_>>()).collect();
        found.retain(|seen| {
            since.is_none_or(|since| seen.started_at >= since) && cause.is_none_or(|cause| seen.fingerprint == *cause)
        });
        found.sort_by(FailureSighting::newest_first);
        Ok(found)
    }

    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        let first = async |cause: Fingerprint| -> Result<Option<(Fingerprint, RunId)>, StoreError> {
            let mut pages = Pages::of(keys::cause_partition(&cause), Range::All).one();
            let doing = || format!("read where the cause {cause} was first seen");
            let row = self.table.page(&mut pages, doing).await?;
            Ok(row.first().and_then(Row::of).map(|row| (cause, row.id)))
        };
        let asked = stream::iter(causes.iter().cloned()).map(first).buffered(AT_ONCE);
        let found: Vec<Option<(Fingerprint, RunId)>> = asked.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl DynamoStore {
    fn history(portfolio: &PortfolioId) -> Pages {
        Pages::of(keys::portfolio_partition(portfolio), Range::Prefix(keys::RECORDS.to_owned()))
    }

    async fn newest_success_of(&self, job: &JobName, portfolio: &PortfolioId) -> Result<Option<JobRecord>, StoreError> {
        let doing = || format!("read the runs of portfolio {portfolio}");
        let items = self.table.all(Self::history(portfolio), doing).await?;
        let items = items.iter().map(item_of).collect::<Result<Vec<WorkItem>, _>>()?;
        let runs = self.load_runs(items.iter().map(|item| item.key.run)).await?;
        let mut search = Search::new(job);
        let mut by_date: BTreeMap<NaiveDate, Vec<(&StoredRun, &WorkItem)>> = BTreeMap::new();
        for item in &items {
            if let Some((stored, _)) = runs.get(&item.key.run) {
                by_date.entry(stored.run.as_of).or_default().push((stored, item));
            }
        }
        for (_, mut of_date) in by_date.into_iter().rev() {
            of_date.sort_by_key(|(stored, _)| std::cmp::Reverse((stored.run.started_at, stored.run.batch_run_id)));
            search.another_date();
            for (stored, item) in of_date {
                search.another_run(&stored.run);
                if let Some(record) = search.look_at(item) {
                    return Ok(Some(record));
                }
            }
        }
        Ok(None)
    }

    async fn newest_success_of_all(&self, job: &JobName) -> Result<Option<JobRecord>, StoreError> {
        let mut by_date: BTreeMap<NaiveDate, BTreeSet<RunId>> = BTreeMap::new();
        for Row { id, as_of, .. } in self.all_rows().await? {
            by_date.entry(as_of.unwrap_or_default()).or_default().insert(id);
        }
        let mut search = Search::new(job);
        for (_, ids) in by_date.into_iter().rev() {
            let loaded = self.load_runs(ids).await?;
            let mut of_date: Vec<StoredRun> = loaded.into_values().map(|(stored, _)| stored).collect();
            of_date.sort_by_key(|stored| std::cmp::Reverse((stored.run.started_at, stored.run.batch_run_id)));
            search.another_date();
            let last = of_date.last().map(|stored| stored.run.batch_run_id);
            for stored in of_date {
                // What a closed run says of the job spares reading it, unless an older one of the date comes after.
                let line = stored.summary.as_ref().filter(|_| stored.run.is_closed());
                let none = line.is_some_and(|summary| {
                    summary.job_summary.iter().find(|line| line.job == *job).is_none_or(|line| line.success == 0)
                });
                if none && last == Some(stored.run.batch_run_id) {
                    continue;
                }
                search.another_run(&stored.run);
                let (id, facts) = (stored.run.batch_run_id, Facts::of(&stored.run));
                for bucket in self.buckets(&stored.run).await? {
                    for item in self.bucket(id, facts, bucket, false).await? {
                        if let Some(record) = search.look_at(&item) {
                            return Ok(Some(record));
                        }
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Looks for a success, the newest run of a trading date first.
struct Search<'a> {
    job: &'a JobName,
    started_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Portfolios of which a newer run of the date did not end well.
    taken_back: BTreeSet<PortfolioId>,
    /// Those of runs that began at the same instant: they take nothing back of one another.
    at_once: BTreeSet<PortfolioId>,
}

impl<'a> Search<'a> {
    const fn new(job: &'a JobName) -> Self {
        Self { job, started_at: None, taken_back: BTreeSet::new(), at_once: BTreeSet::new() }
    }

    fn another_date(&mut self) {
        *self = Self::new(self.job);
    }

    fn another_run(&mut self, run: &domain::run::Run) {
        if self.started_at != Some(run.started_at) {
            self.started_at = Some(run.started_at);
            self.taken_back.append(&mut self.at_once);
        }
    }

    /// The success of an item, if it counts.
    fn look_at(&mut self, item: &WorkItem) -> Option<JobRecord> {
        let portfolio = &item.key.portfolio;
        let record = item.records.iter().find(|record| record.job_name == *self.job)?;
        if !item.state.is_terminal() {
            return None;
        }
        if record.status != JobStatus::Success {
            self.at_once.insert(portfolio.clone());
            return None;
        }
        (!self.taken_back.contains(portfolio)).then(|| record.clone())
    }
}
