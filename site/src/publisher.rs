//! Publishing: which pages a run changed, in which order they are written.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use domain::guards::{self, Guard};
use domain::ids::{ContentHash, JobName, PortfolioId, RunId};
use domain::note::{Note, RunNotes};
use domain::ports::{
    AlertBooks, Clock, PublishError, Publisher, RunQuery, RunStore, SiteFile, SiteStore, StoreError, WriteIf, Written,
};
use domain::run::{BUCKET_SIZE, PagesThere, Publication, Run, RunEvent};
use futures::StreamExt as _;
use rayon::prelude::*;

use crate::days::days;
use crate::gather::{AT_ONCE, EndedItems, JobData, Past, PortfolioData, Reader, RunData, RunHead, age_key, before_of};
use crate::mask::Mask;
use crate::options::SiteOptions;
use crate::pages;
use crate::views;
use crate::views::alerts::{AlertsShown, AlertsView, alerts_shown};
use crate::views::index::IndexInput;
use crate::views::machine::{Badge, JobsFile, MonthsFile, PortfolioFile, StatusFile, summary_file};
use crate::views::run::RunInput;

/// Runs that the index looks back on.
const LOOK_BACK: usize = 90;
/// Portfolios whose pages are made one after the other: for fewer than these, more threads are not worth it.
const FEW: usize = 8;
/// Tries to write the index before somebody else does.
const MOST_TRIES: u32 = 5;
/// Pages that no single run owns, without the index.
const SHARED: [&str; 7] =
    ["quality/index.html", "jobs/index.html", "history/index.html", "feed.xml", "badge.svg", "badge.json", "404.html"];
/// A file that every site of this form has, and that is never changed.
const MARK: &str = "schemas/status.v1.json";
/// The months that have a page. A publication reads this one file; without it, it would ask for each month on record.
const MONTHS: &str = "history/months.json";
/// Months without a run after which history is taken to begin.
const MONTHS_OF_SILENCE: u32 = 14;

/// Writes the site from the records.
///
/// It can be stopped and repeated at any moment: every write is whole, and the index is written last.
pub struct SitePublisher {
    store: Arc<dyn RunStore>,
    site: Arc<dyn SiteStore>,
    clock: Arc<dyn Clock>,
    options: SiteOptions,
    ended: Arc<EndedItems>,
    alerts: Option<Arc<dyn AlertBooks>>,
    notes: Option<Arc<dyn RunNotes>>,
    spread_from: Option<u32>,
}

impl std::fmt::Debug for SitePublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SitePublisher").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What becomes of a page between reading and writing it: its hash as it was read, none where there was none.
type Tag = Option<ContentHash>;

impl SitePublisher {
    /// A publisher from this store to this site.
    #[must_use]
    pub fn new(
        store: Arc<dyn RunStore>,
        site: Arc<dyn SiteStore>,
        clock: Arc<dyn Clock>,
        options: SiteOptions,
    ) -> Self {
        Self { store, site, clock, options, ended: Arc::default(), alerts: None, notes: None, spread_from: None }
    }

    /// As this, with what of the alerts could not be delivered or is muted on the index.
    #[must_use]
    pub fn with_alerts(self, books: Arc<dyn AlertBooks>) -> Self {
        Self { alerts: Some(books), ..self }
    }

    /// As this, with what people have to say of a run on its page.
    #[must_use]
    pub fn with_notes(self, notes: Arc<dyn RunNotes>) -> Self {
        Self { notes: Some(notes), ..self }
    }

    /// As this, with runs of so many portfolios and more published by messages, bucket by bucket.
    #[must_use]
    pub fn spreading(self, from: u32) -> Self {
        Self { spread_from: Some(from), ..self }
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>, PublishError> {
        match &self.notes {
            Some(notes) if !self.options.redacted => Ok(notes.notes(run).await?),
            _ => Ok(Vec::new()),
        }
    }

    async fn alerts(&self) -> Result<AlertsView, PublishError> {
        let now = self.clock.now();
        let shown = match &self.alerts {
            Some(books) => alerts_shown(books.as_ref(), now).await?,
            None => AlertsShown::default(),
        };
        Ok(AlertsView::of(&shown, &self.options.mutes, &self.mask(), now))
    }

    /// A reader that knows nothing yet: what it reads is at least as new as any page that was read before.
    fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.store), self.mask(), Arc::clone(&self.ended)).with_cards(&self.options.cards)
    }

    fn mask(&self) -> Mask {
        Mask { redacted: self.options.redacted, key: self.options.redaction_key.as_str().into() }
    }

    /// Writes every page anew, from the records alone: all runs, portfolios, jobs and months. Says how many files
    /// were written.
    ///
    /// # Errors
    /// [`PublishError`] if the records cannot be read or a page cannot be written.
    pub async fn rebuild(&self) -> Result<u64, PublishError> {
        self.write_schemas().await?;
        // Not what the site says, which may be damaged.
        let months = MonthsFile { schema: 1, months: self.months_on_record().await? };
        let listed = self.write_always(&pages::json(MONTHS.into(), &months)?).await?;
        Ok(listed + self.publish_runs(&self.ended_runs().await?, true).await?)
    }

    /// Writes `index.html` and `status.json` as the records are now, for a run under way. Says how many files were
    /// written: none where pages are missing that older runs are said to have, which the next publication writes.
    ///
    /// # Errors
    /// [`PublishError`] if the records cannot be read or a page cannot be written.
    pub async fn refresh_index(&self) -> Result<u64, PublishError> {
        if !self.is_whole().await? && !self.ended_runs().await?.is_empty() {
            tracing::debug!("the index is not refreshed: the pages that it would lead to are not written yet");
            return Ok(0);
        }
        self.write_index(false).await
    }

    /// Whether everything was written once that the records speak of: the index comes last. What is not whole is empty,
    /// of an older form, or was never finished.
    async fn is_whole(&self) -> Result<bool, PublishError> {
        Ok(self.tag(MARK).await?.is_some() && self.tag("index.html").await?.is_some())
    }

    async fn write_schemas(&self) -> Result<u64, PublishError> {
        let mut written = 0;
        for schema in pages::schemas() {
            written += self.write_always(&schema).await?;
        }
        Ok(written)
    }

    /// The run that is to be published, and all others where the site is not whole.
    async fn with_missing(&self, run: RunId) -> Result<Vec<RunId>, PublishError> {
        let mut runs = vec![run];
        if !self.is_whole().await? {
            runs.extend(self.ended_runs().await?.into_iter().filter(|ended| *ended != run));
        }
        Ok(runs)
    }

    /// Runs that have pages, or should have.
    async fn ended_runs(&self) -> Result<Vec<RunId>, PublishError> {
        let heads = self.reader().heads(&RunQuery::default(), 0).await?;
        let ended = heads.iter().filter(|head| head.run.has_outcome() && (head.run.is_closed() || head.linkable));
        Ok(ended.map(|head| head.run.batch_run_id).collect())
    }

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
    async fn publish_runs(&self, runs: &[RunId], anew: bool) -> Result<u64, PublishError> {
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
    async fn complete(
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
            let (mut jobs, mut months) = (BTreeSet::new(), BTreeSet::new());
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
                if ended.contains(&run) {
                    self.mark(run, PagesThere::Portfolios).await?;
                    written += self.write_run(&mut data).await?;
                }
                known = (runs.len() == 1 && ended.contains(&run)).then_some(data);
            }
            for job in &jobs {
                written += self.write_job(job).await?;
            }
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
    async fn waiting_for(&self, run: RunId) -> Result<Vec<RunId>, PublishError> {
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
            // Allowed in every phase.
            self.store.apply_run(run, &RunEvent::PagesWritten { pages, now: self.clock.now() }).await?;
        }
        Ok(())
    }

    /// Step 1 of a publication, for a run that nothing leads to yet.
    async fn introduce(&self, data: &mut RunData) -> Result<u64, PublishError> {
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
        written += self.write_run(data).await?;
        self.mark(data.head.run.batch_run_id, PagesThere::Run).await?;
        Ok(written)
    }

    /// Writes the page of a month that is not listed, then those before and after it, which now lead to it, and last
    /// the list: whoever is stopped on the way does all of it again.
    async fn introduce_month(&self, month: String) -> Result<u64, PublishError> {
        let (mut months, tag) = self.listed_months().await?;
        let Err(at) = months.binary_search_by(|other| month.cmp(other)) else {
            return if tag.is_none() { self.list_months(&months).await } else { Ok(0) };
        };
        months.insert(at, month);
        let mut written = self.write_month(&months[at], &months).await?;
        for beside in [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| months.get(at)) {
            written += self.write_month(beside, &months).await?;
        }
        Ok(written + self.list_months(&months).await?)
    }
}

/// Pages, each written over the version that was there before its records were read.
impl SitePublisher {
    async fn tag(&self, path: &str) -> Result<Tag, PublishError> {
        let there = self.site.read(path).await.map_err(|error| page_error(path, error))?;
        Ok(there.as_deref().map(ContentHash::of))
    }

    async fn write_over(&self, file: &SiteFile, tag: Tag) -> Result<Written, PublishError> {
        let condition = if guards::on(Guard::IndexVersion) { WriteIf::Unchanged(tag) } else { WriteIf::Always };
        self.site.write(file, &condition).await.map_err(|error| page_error(&file.path, error))
    }

    async fn write_always(&self, file: &SiteFile) -> Result<u64, PublishError> {
        let one = self.site.write(file, &WriteIf::Always).await;
        Ok(count(one.map_err(|error| page_error(&file.path, error))?))
    }

    /// Writes the page of a run and its files: first what its page leads to.
    async fn write_run(&self, data: &mut RunData) -> Result<u64, PublishError> {
        let folder = format!("runs/{}", data.head.run.batch_run_id);
        for _ in 0..MOST_TRIES {
            let tag = self.tag(&format!("{folder}/index.html")).await?;
            let mut list_tags = Vec::new();
            for path in views::run::list_paths(data) {
                list_tags.push(self.tag(&path).await?);
            }
            let reader = self.reader();
            reader.again(data).await?;
            let mut mentioned: Vec<RunId> =
                data.head.summary.failures.iter().map(|cluster| cluster.first_seen_run).collect();
            mentioned.extend(data.head.run.rerun_of);
            let (facts, past, cards) =
                (reader.facts(&mentioned).await?, reader.past(&data.head).await?, reader.cards());
            let notes = self.notes(data.head.run.batch_run_id).await?;
            let input = RunInput { data, others: &facts, past: &past, cards: &cards, notes: &notes };
            // These are of the run alone, and so the same whoever writes them.
            let path = format!("{folder}/summary.json");
            let summary = summary_file(&data.head.summary)
                .map_err(|error| PublishError::Page { path: path.clone(), source: Box::new(error) })?;
            let mut files = vec![pages::json(path, &summary)?];
            files.push(pages::json(format!("{folder}/jobs.json"), &JobsFile::of(data))?);
            if data.head.summary.successful_jobs < data.head.summary.total_jobs {
                files.push(pages::text(format!("{folder}/retry-failed.txt"), views::run::retry_list(data)));
            }
            let mut written = 0;
            for file in files {
                written += self.write_always(&file).await?;
            }
            let mut refused = false;
            for (list, tag) in views::run::lists(&input).zip(list_tags) {
                let one = self.write_over(&pages::run_list(&list, &self.options)?, tag).await?;
                written += count(one);
                refused |= one == Written::Refused;
            }
            if refused {
                continue;
            }
            let page = pages::run(&views::run::build(&input), &self.options)?;
            match self.write_over(&page, tag).await? {
                Written::Refused => {}
                one => return Ok(written + count(one)),
            }
        }
        Err(busy(&format!("{folder}/index.html")))
    }

    /// Writes pages of portfolios, bucket by bucket.
    async fn write_portfolios(&self, ids: &[PortfolioId], data: Option<&RunData>) -> Result<u64, PublishError> {
        let mut written = 0;
        for bucket in ids.chunks(BUCKET_SIZE as usize) {
            let mut left: Vec<PortfolioId> = bucket.to_vec();
            for _ in 0..MOST_TRIES {
                let (count, refused) = self.write_bucket(&left, data).await?;
                written += count;
                left = refused;
                if left.is_empty() {
                    break;
                }
            }
            if let Some(id) = left.first() {
                return Err(busy(&pages::portfolio_folder(id.as_str())));
            }
        }
        Ok(written)
    }

    /// Writes pages of portfolios; gives how many files, and the portfolios whose page somebody else wrote meanwhile.
    async fn write_bucket(
        &self,
        ids: &[PortfolioId],
        data: Option<&RunData>,
    ) -> Result<(u64, Vec<PortfolioId>), PublishError> {
        let mask = &self.mask();
        let reads = ids.iter().map(|id| async move {
            let folder = pages::portfolio_folder(mask.id(id).as_str());
            let page = self.tag(&format!("{folder}/index.html")).await?;
            Ok::<_, PublishError>((id, page, self.tag(&format!("{folder}.json")).await?))
        });
        let reads: Vec<_> = reads.collect();
        let tags: Vec<_> = futures::stream::iter(reads).buffered(AT_ONCE).collect().await;
        let reader = &self.reader();
        let reads = tags.into_iter().map(|tag| async move {
            let (id, page, json) = tag?;
            Ok::<_, PublishError>((id, reader.portfolio(id, data).await?, [json, page]))
        });
        let reads: Vec<_> = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
        let read: Vec<_> = reads.into_iter().collect::<Result<_, _>>()?;
        let made: Vec<_> = if read.len() < FEW {
            read.iter().map(|(_, data, _)| self.portfolio_files(data)).collect()
        } else {
            read.par_iter().map(|(_, data, _)| self.portfolio_files(data)).collect()
        };
        let mut writes = Vec::with_capacity(ids.len());
        for ((id, _, tags), files) in read.into_iter().zip(made) {
            writes.push(self.write_portfolio(id, files?, tags));
        }
        let (mut written, mut refused) = (0, Vec::new());
        let mut pages = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
        while let Some(one) = pages.next().await {
            match one? {
                (count, None) => written += count,
                (count, Some(id)) => {
                    written += count;
                    refused.push(id);
                }
            }
        }
        refused.sort();
        Ok((written, refused))
    }

    /// The file for machines and the page of a portfolio, then its badges where they are wanted.
    fn portfolio_files(&self, read: &PortfolioData) -> Result<Vec<SiteFile>, PublishError> {
        let view = views::portfolio::build(read);
        let machine = pages::json(format!("portfolios/{}.json", view.id), &PortfolioFile::of(read, &view))?;
        let mut files = vec![machine, pages::portfolio(&view, &self.options)?];
        if self.options.portfolio_badges {
            files.extend(badges(&pages::portfolio_folder(view.id.as_str()), &Badge::of_portfolio(&view))?);
        }
        Ok(files)
    }

    async fn write_portfolio(
        &self,
        id: &PortfolioId,
        files: Vec<SiteFile>,
        tags: [Tag; 2],
    ) -> Result<(u64, Option<PortfolioId>), PublishError> {
        let (mut written, mut refused) = (0, false);
        for (file, tag) in files.iter().zip(tags) {
            let one = self.write_over(file, tag).await?;
            written += count(one);
            refused |= one == Written::Refused;
        }
        // Whoever came in between writes the badges too, of what stands on the page.
        for badge in files.iter().skip(2).filter(|_| !refused) {
            written += self.write_always(badge).await?;
        }
        Ok((written, refused.then(|| id.clone())))
    }

    async fn write_job(&self, job: &JobName) -> Result<u64, PublishError> {
        let path = pages::job_path(job.as_str());
        let folder = format!("jobs/{job}");
        for _ in 0..MOST_TRIES {
            // The badges first: the page leads to them.
            let mut tags = Vec::new();
            for file in [&format!("{folder}/badge.svg"), &format!("{folder}/badge.json"), &path] {
                tags.push(self.tag(file).await?);
            }
            let data = self.reader().job(job).await?;
            let [drawn, told] = badges(&folder, &Badge::of_job(&data))?;
            let page = pages::job(&views::job::build(&data), &self.options)?;
            let (mut written, mut refused) = (0, false);
            for (file, tag) in [drawn, told, page].iter().zip(tags) {
                let one = self.write_over(file, tag).await?;
                written += count(one);
                refused |= one == Written::Refused;
            }
            if !refused {
                return Ok(written);
            }
        }
        Err(busy(&path))
    }

    async fn write_month(&self, month: &str, months: &[String]) -> Result<u64, PublishError> {
        let path = pages::month_path(month);
        for _ in 0..MOST_TRIES {
            let tag = self.tag(&path).await?;
            let query = RunQuery { month: Some(month.to_owned()), ..RunQuery::default() };
            let runs = self.reader().heads(&query, 0).await?;
            let page = pages::month(&views::history::month(month, &runs, months), &self.options)?;
            match self.write_over(&page, tag).await? {
                Written::Refused => {}
                one => return Ok(count(one)),
            }
        }
        Err(busy(&path))
    }

    /// Writes what no single run owns, without the index.
    async fn write_shared(&self) -> Result<u64, PublishError> {
        let mut written = 0;
        for _ in 0..MOST_TRIES {
            let mut tags = Vec::new();
            for path in SHARED {
                tags.push(self.tag(path).await?);
            }
            let reader = self.reader();
            let months = self.listed_months().await?.0;
            let Overview { runs, latest, jobs, with_page, .. } = self.overview(&reader).await?;
            let [drawn, told] = badges("", &Badge::of(&self.options.title, &days(&runs)))?;
            let feed = views::machine::feed(&runs, &self.options, runs.len() >= LOOK_BACK);
            let files = [
                pages::quality(&views::quality::build(&latest, &runs, &with_page), &self.options)?,
                pages::jobs(&views::jobs::build(&jobs), &self.options)?,
                pages::history(&views::history::index(&months, &runs), &self.options)?,
                pages::feed(&feed, &self.options)?,
                drawn,
                told,
                pages::lost(&self.options)?,
            ];
            let mut refused = false;
            for (file, tag) in files.iter().zip(tags) {
                let one = self.write_over(file, tag).await?;
                written += count(one);
                refused |= one == Written::Refused;
            }
            if !refused {
                return Ok(written);
            }
        }
        Err(busy(SHARED[0]))
    }
}

/// A badge as a drawing and as data, in this folder.
fn badges(folder: &str, badge: &Badge) -> Result<[SiteFile; 2], PublishError> {
    let at = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    Ok([pages::badge(at("badge.svg"), badge)?, pages::json(at("badge.json"), badge)?])
}

const fn count(written: Written) -> u64 {
    match written {
        Written::Written => 1,
        Written::Unchanged | Written::Refused => 0,
    }
}

fn page_error(path: &str, source: StoreError) -> PublishError {
    PublishError::Page { path: path.to_owned(), source: Box::new(source) }
}

fn busy(path: &str) -> PublishError {
    let source = std::io::Error::other(format!("somebody else wrote it each of {MOST_TRIES} times"));
    PublishError::Page { path: path.to_owned(), source: Box::new(source) }
}

/// The runs that say best which portfolios have a page: the newest, and the newest that was for all portfolios.
fn speakers(heads: &[RunHead]) -> BTreeSet<RunId> {
    let whole = heads.iter().find(|head| head.run.filter.is_empty() && head.run.rerun_of.is_none());
    heads.iter().take(1).chain(whole).map(|head| head.run.batch_run_id).collect()
}

fn month_of(date: NaiveDate) -> String {
    date.format("%Y-%m").to_string()
}

/// What the shared pages are made of.
struct Overview {
    runs: Vec<RunHead>,
    latest: Vec<RunData>,
    /// The jobs of the newest trading date.
    jobs: Vec<JobData>,
    open: Vec<RunData>,
    with_page: BTreeSet<PortfolioId>,
}

impl SitePublisher {
    async fn overview(&self, reader: &Reader) -> Result<Overview, PublishError> {
        let mut runs = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
        let open = reader.open_runs().await?;
        for data in &open {
            // The head of a run under way comes with what its items say so far.
            for head in runs.iter_mut().filter(|head| head.run.batch_run_id == data.head.run.batch_run_id) {
                *head = data.head.clone();
            }
        }
        let newest_date = runs.iter().filter(|head| head.run.plan.is_some()).map(|head| head.run.as_of).max();
        let latest = match newest_date {
            Some(date) => reader.of_date(date).await?,
            None => Vec::new(),
        };
        let mut jobs = Vec::new();
        for column in views::index::job_columns(&latest) {
            if let Ok(job) = JobName::new(&*column.name) {
                jobs.push(reader.job_in_brief(&job).await?);
            }
        }
        let mut with_page: BTreeSet<PortfolioId> = BTreeSet::new();
        let pages_of =
            |data: &RunData| -> Vec<PortfolioId> { data.items.iter().map(|item| item.key.portfolio.clone()).collect() };
        for data in latest.iter().filter(|data| data.head.portfolio_pages) {
            with_page.extend(pages_of(data));
        }
        if latest.iter().any(|data| !data.head.portfolio_pages) {
            // A run that has no pages yet: its portfolios have those of the last run that has.
            let older: Vec<RunHead> = runs
                .iter()
                .filter(|head| head.run.plan.is_some() && head.portfolio_pages && Some(head.run.as_of) != newest_date)
                .cloned()
                .collect();
            for id in speakers(&older) {
                with_page.extend(pages_of(&reader.run(id).await?));
            }
        }
        Ok(Overview { runs, latest, jobs, open, with_page })
    }

    /// Months that have a page, newest first, and the file that says so as it was read. A site without it is new, or of
    /// an older form: then as the records say.
    async fn listed_months(&self) -> Result<(Vec<String>, Tag), PublishError> {
        let there = self.site.read(MONTHS).await.map_err(|error| page_error(MONTHS, error))?;
        let listed = there.as_deref().and_then(|bytes| serde_json::from_slice::<MonthsFile>(bytes).ok());
        let months = match listed {
            Some(file) => file.months,
            None => self.months_on_record().await?,
        };
        Ok((months, there.as_deref().map(ContentHash::of)))
    }

    /// Adds months to the list.
    async fn list_months(&self, more: &[String]) -> Result<u64, PublishError> {
        for _ in 0..MOST_TRIES {
            let (listed, tag) = self.listed_months().await?;
            let all: BTreeSet<&String> = listed.iter().chain(more).collect();
            if tag.is_some() && all.len() == listed.len() {
                return Ok(0);
            }
            let file = MonthsFile { schema: 1, months: all.into_iter().rev().cloned().collect() };
            match self.write_over(&pages::json(MONTHS.into(), &file)?, tag).await? {
                Written::Refused => {}
                one => return Ok(count(one)),
            }
        }
        Err(busy(MONTHS))
    }

    /// Months with runs that have pages, newest first: one question a month, back to where history begins.
    async fn months_on_record(&self) -> Result<Vec<String>, PublishError> {
        let reader = self.reader();
        let newest = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
        let Some(mut date) = newest.iter().map(|head| head.run.as_of).max() else { return Ok(Vec::new()) };
        let (mut months, mut silent) = (Vec::new(), 0);
        while silent < MONTHS_OF_SILENCE {
            let month = month_of(date);
            let known = newest.iter().any(|head| head.linkable && month_of(head.run.as_of) == month);
            let has_page = known || {
                let query = RunQuery { month: Some(month.clone()), ..RunQuery::default() };
                reader.heads(&query, 0).await?.iter().any(|head| head.linkable)
            };
            silent = if has_page { 0 } else { silent + 1 };
            if has_page {
                months.push(month);
            }
            let Some(before) = date.with_day(1).and_then(|first| first.pred_opt()) else { break };
            date = before;
        }
        Ok(months)
    }

    /// The time that the index speaks of: now, while something is going on. Once nothing is, it stays what it was, so
    /// that the same records give the same bytes.
    fn as_of_now(&self, overview: &Overview) -> DateTime<Utc> {
        let stamps = overview.runs.iter().map(|head| head.run.pages_at.max(head.run.closed_at));
        match stamps.max().flatten() {
            Some(last) if overview.open.is_empty() => last,
            _ => self.clock.now(),
        }
    }

    /// Writes `status.json`, makes everything durable, and writes `index.html`, unless somebody else did in between:
    /// then once more, from what the store says by then. What the index shows never becomes older.
    async fn write_index(&self, anew: bool) -> Result<u64, PublishError> {
        for attempt in 1..=MOST_TRIES {
            let read = |path| async move { self.site.read(path).await.map_err(|error| page_error(path, error)) };
            let (old_index, old_status) = (read("index.html").await?, read("status.json").await?);
            // Only now: the records that are read after the index are at least as new as what it shows.
            let reader = self.reader();
            let overview = self.overview(&reader).await?;
            let compared = overview.latest.iter().find(|data| data.head.summary.closed_at.is_some());
            let past = match compared {
                Some(data) => reader.past(&data.head).await?,
                None => Past::default(),
            };
            let input = IndexInput {
                now: self.as_of_now(&overview),
                options: &self.options,
                runs: &overview.runs,
                latest: &overview.latest,
                open: &overview.open,
                with_page: &overview.with_page,
                jobs: &overview.jobs,
                past: &past,
                cards: &reader.cards(),
                alerts: self.alerts().await?,
            };
            let view = views::index::build(&input);
            let status = StatusFile::of(&input, &view);
            let shown = old_status.as_deref().and_then(|bytes| serde_json::from_slice::<StatusFile>(bytes).ok());
            let guarded = guards::on(Guard::IndexVersion);
            if !anew && guarded && shown.is_some_and(|old| old.shown > status.shown) {
                tracing::info!("the index shows a newer run than the records that were read; it is left as it is");
                return Ok(0);
            }
            let unchanged = |old: &Option<Vec<u8>>| {
                if guarded { WriteIf::Unchanged(old.as_deref().map(ContentHash::of)) } else { WriteIf::Always }
            };
            let status = pages::json("status.json".into(), &status)?;
            let first = self
                .site
                .write(&status, &unchanged(&old_status))
                .await
                .map_err(|error| page_error(&status.path, error))?;
            if first != Written::Refused {
                self.site.flush().await.map_err(|error| page_error("index.html", error))?;
                let index = pages::index(&view, &self.options)?;
                let second = self
                    .site
                    .write(&index, &unchanged(&old_index))
                    .await
                    .map_err(|error| page_error(&index.path, error))?;
                if second != Written::Refused {
                    return Ok([first, second].iter().map(|written| u64::from(*written == Written::Written)).sum());
                }
            }
            tracing::debug!(attempt, "somebody else wrote the index in between");
        }
        Err(busy("index.html"))
    }
}

#[async_trait]
impl Publisher for SitePublisher {
    async fn publish(&self, run: RunId) -> Result<u64, PublishError> {
        let runs = self.with_missing(run).await?;
        self.write_schemas().await?;
        let anew = runs.len() > 1;
        self.publish_runs(&runs, anew).await
    }

    fn spreads(&self, run: &Run) -> bool {
        let portfolios = run.plan.as_ref().map_or(0, |plan| plan.portfolios);
        self.spread_from.is_some_and(|from| portfolios >= from.max(1))
    }

    async fn begin(&self, run: RunId) -> Result<u64, PublishError> {
        let runs = self.with_missing(run).await?;
        self.write_schemas().await?;
        if runs.len() > 1 {
            return self.publish_runs(&runs, true).await;
        }
        self.introduce(&mut self.reader().run(run).await?).await
    }

    async fn publish_bucket(&self, run: RunId, bucket: u32) -> Result<u64, PublishError> {
        let stored = self.store.run(run).await?;
        let Some(plan) = stored.and_then(|stored| stored.run.plan) else { return Ok(0) };
        let planned = self.store.manifest(run, plan.epoch, bucket).await?;
        let ids: Vec<PortfolioId> = planned.into_iter().map(|planned| planned.id).collect();
        self.write_portfolios(&ids, None).await
    }

    async fn finish(&self, run: RunId) -> Result<u64, PublishError> {
        let mut runs = vec![run];
        runs.extend(self.waiting_for(run).await?);
        self.complete(&runs, None, Some(run), false).await
    }
}
