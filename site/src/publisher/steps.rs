//! The order in which a publication writes: nothing leads to a page that is not there.

use std::collections::BTreeSet;

use domain::ids::{PortfolioId, RunId};
use domain::ports::{PublishError, RunQuery};
use domain::run::{PagesThere, Publication, RunEvent};

use super::months::month_of;
use super::nights::night_of;
use super::writer::{MOST_TRIES, busy, page_error};
use super::{LOOK_BACK, SitePublisher};
use crate::gather::{RunData, RunHead, age_key, before_of};
use crate::pages;

impl SitePublisher {
    /// Publishes runs, in steps of which each leads only to pages that are there already, whoever else publishes at
    /// the same time:
    ///
    /// 1. the pages of new jobs and months, then the page of each run without its portfolios; from then on others may
    ///    lead to the run, and the store says so;
    /// 2. the pages of the portfolios, which lead to the run; the store says that they are there;
    /// 3. the page of the run as a whole, jobs, months, and what all runs share; last the index.
    ///
    /// Where another publication came in between, steps 2 and 3 are done again: of two that run at once, the last page
    /// written knows of both.
    pub(super) async fn publish_runs(&self, runs: &[RunId], anew: bool) -> Result<u64, PublishError> {
        let mut written = 0;
        let mut known: Option<RunData> = None;
        for &run in runs {
            let mut data = self.reader().run(run).await?;
            written += self.introduce(&mut data).await?;
            // The items of an ended run stay, so that of a single run is read once.
            known = (runs.len() == 1 && data.has_ended()).then_some(data);
        }
        let mut runs = runs.to_vec();
        if let [run] = &*runs {
            let waiting = self.waiting_for(*run).await?;
            runs.extend(waiting);
        }
        Ok(written + self.complete(&runs, known, None, anew).await?)
    }

    /// Steps 2 and 3 of a publication; `known` is the run that is published, where it was read before and is the only
    /// one. The portfolios of the run `spread` have their pages already.
    pub(super) async fn complete(
        &self,
        runs: &[RunId],
        known: Option<RunData>,
        spread: Option<RunId>,
        anew: bool,
    ) -> Result<u64, PublishError> {
        let mut written = 0;
        let mut known = known.filter(|_| runs.len() == 1);
        for _ in 0..MOST_TRIES {
            let marks = self.marks().await?;
            let (mut jobs, mut months, mut nights) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            // Looked at once: a slot that was missed may be run late meanwhile, and then has pages in the next round.
            let mut ended: BTreeSet<RunId> = BTreeSet::new();
            if let (Some(data), None) = (&known, spread) {
                ended.insert(data.head.run.batch_run_id);
                written += self.write_portfolios(&data.ids, Some(data)).await?;
            } else {
                let mut portfolios: BTreeSet<PortfolioId> = BTreeSet::new();
                for &run in runs {
                    let mut data = self.reader().run(run).await?;
                    if data.has_ended() {
                        ended.insert(run);
                        written += self.introduce(&mut data).await?;
                        portfolios.extend(data.ids.iter().filter(|_| spread != Some(run)).cloned());
                    }
                }
                written += self.write_portfolios(&portfolios.into_iter().collect::<Vec<_>>(), None).await?;
            }
            for &run in runs {
                let mut data = match known.take() {
                    Some(data) => data,
                    None => self.reader().run(run).await?,
                };
                jobs.extend(data.jobs().iter().map(|job| job.name.clone()));
                months.insert(month_of(data.head.run.as_of));
                nights.insert(night_of(&data.head));
                if ended.contains(&run) {
                    self.mark(run, PagesThere::Portfolios).await?;
                    written += self.write_run(&mut data).await?;
                }
                known = (runs.len() == 1 && ended.contains(&run)).then_some(data);
            }
            for job in &jobs {
                written += self.write_job(job).await?;
            }
            written += self.write_portfolios(&self.absent_with_page(&nights).await?, None).await?;
            for night in &nights {
                written += self.write_night(night).await?;
            }
            written += self.write_newest_nights(&nights).await?;
            let there = if anew { self.months_on_record().await? } else { self.listed_months().await?.0 };
            for month in there.iter().filter(|month| anew || months.contains(*month)) {
                written += self.write_month(month, &there).await?;
            }
            written += self.list_months(&there).await?;
            written += self.write_shared().await?;
            written += self.write_index(anew).await?;
            if self.marks().await? == marks {
                return Ok(written);
            }
            tracing::debug!("another publication came in between, the pages that both write are written again");
        }
        Err(busy("index.html"))
    }

    /// Newer runs whose pages speak of this one and could not lead to it, since its pages come only now: they are
    /// published with it. As a rule there are none, for runs are published as they end. To be asked once this run may
    /// be led to: a page that is written later knows of it.
    pub(super) async fn waiting_for(&self, run: RunId) -> Result<Vec<RunId>, PublishError> {
        let reader = self.reader();
        let late = match self.store.run(run).await? {
            Some(stored) if !matches!(stored.run.publication, Publication::Published { .. }) => stored.run,
            _ => return Ok(Vec::new()),
        };
        let mut heads = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
        heads.sort_by_key(|head| std::cmp::Reverse(age_key(&head.run)));
        let is_late = |id: RunId| id == late.batch_run_id;
        let speaks = |head: &&RunHead| {
            head.linkable
                && !is_late(head.run.batch_run_id)
                && (head.summary.failures.iter().any(|cluster| is_late(cluster.first_seen_run))
                    || head.run.rerun_of.is_some_and(is_late)
                    || before_of(&heads, head).is_some_and(|before| is_late(before.run.batch_run_id)))
        };
        Ok(heads.iter().filter(speaks).map(|head| head.run.batch_run_id).collect())
    }

    /// Which pages the store says are there, and which runs have ended: what pages depend on beyond their own records.
    async fn marks(&self) -> Result<Vec<(RunId, PagesThere, bool)>, PublishError> {
        let query = RunQuery { limit: LOOK_BACK, ..RunQuery::default() };
        let page = self.store.runs(&query).await?;
        Ok(page
            .runs
            .into_iter()
            // A run's own step from its page to its portfolios changes no page of another run.
            .map(|stored| (stored.run.batch_run_id, stored.run.pages.min(PagesThere::Run), stored.summary.is_some()))
            .collect())
    }

    async fn mark(&self, run: RunId, pages: PagesThere) -> Result<(), PublishError> {
        let there = self.store.run(run).await?.is_some_and(|stored| stored.run.pages >= pages);
        if !there {
            // The store is durable at once, and so must be the pages that it speaks of.
            self.site.flush().await.map_err(|error| page_error("index.html", error))?;
            // Allowed in every phase.
            self.store.apply_run(run, &RunEvent::PagesWritten { pages, now: self.clock.now() }).await?;
        }
        Ok(())
    }

    /// Step 1 of a publication, for a run that nothing leads to yet.
    pub(super) async fn introduce(&self, data: &mut RunData) -> Result<u64, PublishError> {
        if !data.has_ended() || data.head.linkable {
            return Ok(0);
        }
        let mut written = 0;
        for job in data.jobs() {
            if self.tag(&pages::job_path(job.name.as_str())).await?.is_none() {
                written += self.write_job(&job.name).await?;
            }
        }
        written += self.introduce_month(month_of(data.head.run.as_of)).await?;
        // Its page leads to the night; the night leads to it from the next step on.
        written += self.write_night(&night_of(&data.head)).await?;
        written += self.write_run(data).await?;
        self.mark(data.head.run.batch_run_id, PagesThere::Run).await?;
        Ok(written)
    }
}
