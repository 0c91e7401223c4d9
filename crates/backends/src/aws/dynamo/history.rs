//! The history of portfolios: what they were in their runs, and the last success of a job.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::ids::{JobName, PortfolioId, RunId};
use domain::ports::{Cell, PortfolioRun, StoreError, StoredRun};
use domain::record::JobRecord;
use domain::words::JobStatus;
use domain::work_item::WorkItem;

use super::document::{Item, text_of};
use super::items::item_of;
use super::keys::{self, SK};
use super::run_list::Row;
use super::table::{Pages, Range};
use super::{DynamoStore, Facts};

/// The slot of a record, as its sort key has it.
fn slot(item: &Item) -> &str {
    text_of(item, SK).and_then(|sk| sk.split('#').nth(1)).unwrap_or_default()
}

impl DynamoStore {
    fn history(portfolio: &PortfolioId) -> Pages {
        Pages::of(keys::portfolio_partition(portfolio), Range::Prefix(keys::RECORDS.to_owned()))
    }

    pub(super) async fn runs_of_portfolio(
        &self,
        portfolio: &PortfolioId,
        limit: usize,
    ) -> Result<Vec<PortfolioRun>, StoreError> {
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
                Some(PortfolioRun {
                    batch_run_id: item.key.run,
                    as_of: run.as_of,
                    scheduled_for: run.scheduled_for,
                    started_at: run.started_at,
                    cells: item.records.iter().map(Cell::of).collect(),
                    portfolio_name: item.portfolio_name,
                    place: item.place,
                })
            })
            .collect();
        found.sort_by_key(|run| std::cmp::Reverse((run.scheduled_for, run.started_at, run.batch_run_id)));
        found.truncate(limit);
        Ok(found)
    }

    pub(super) async fn newest_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        match portfolio {
            Some(portfolio) => self.newest_success_of(job, portfolio).await,
            None => self.newest_success_of_all(job).await,
        }
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
