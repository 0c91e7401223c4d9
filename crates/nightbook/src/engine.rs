//! The use cases wired for one machine: one process, several workers, an embedded store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use backends::local::{FolderSite, LocalCloses, LocalQueue, LocalStore, Message};
use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use book::Book;
use chrono::{DateTime, Utc};
use domain::alerting::{Alerting, take_over};
use domain::close_run::{Closed, close_run, publish};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::job_context::JobContext;
use domain::ports::{Clock, JobRunner, Notifier as _, PortfolioJobs, Ports, Publisher as _, RunInputs, WorkMessage};
use domain::process_portfolio::{Handled, process_portfolio};
use domain::record::{JobError, JobOutput};
use domain::redact::redact;
use domain::run::Run;
use domain::start_run::{StartRun, Started, start_run};
use domain::summary::RunSummary;
use domain::watch::mend;
use jobs::{NoGate, PriceGate, Runner};
use prices::HttpPrices;
use site::{AlertsShown, SiteParts, SitePublisher, Spread};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::environment;
use crate::exit::Interrupted;
use crate::lineage_sink::Lineage;
use crate::place;
use crate::price_shelf::FolderShelf;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;
use crate::trace_sink::Traces;

/// Items in hand at once for each core: most of them wait for the store's next commit, which serves all of them.
const IN_HAND_PER_CORE: usize = 24;

/// How long after a signal the items in hand may take to end.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long the queue may be silent before a run is looked over for something that was left lying.
const SILENCE: Duration = Duration::from_secs(5);

/// Time between two refreshes of the index while a run is going on.
const REFRESH: Duration = Duration::from_secs(60);

/// Process deaths in a row with an item in hand, after which it is worked on alone.
const SUSPECT_DEATHS: u32 = 2;

/// How long a message that somebody else works on is put aside.
const GIVE_BACK_DELAY: Duration = Duration::from_secs(1);

/// Everything that a run on one machine needs.
pub(crate) struct Engine {
    /// The ports of the use cases.
    pub(crate) ports: Ports,
    /// The same store, for what only this backend can do.
    pub(crate) store: LocalStore,
    queue: Arc<LocalQueue>,
    runner: Arc<WatchedRunner>,
    site: Arc<FolderSite>,
    settings: SiteSettings,
    lineage: Lineage,
    traces: Traces,
    /// What the index shows of the alerts.
    alerts_shown: Mutex<AlertsShown>,
    cores: usize,
    stop: Stop,
    /// Somebody cancelled the run, or has something to be published.
    pub(crate) attention: Arc<Attention>,
}

/// What others have to tell the engine while it works.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    /// Wakes whoever works on a run.
    at_work: Notify,
    /// Wakes the scheduler while it waits.
    pub(crate) at_rest: Notify,
    /// Runs whose pages are to be written again.
    pages: Mutex<BTreeSet<RunId>>,
}

impl Attention {
    /// There is something to look at.
    pub(crate) fn call(&self) {
        self.at_work.notify_one();
        self.at_rest.notify_one();
    }

    /// The pages of this run are to be written again.
    pub(crate) fn publish(&self, run: RunId) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
        self.call();
    }
}

/// Tells what is due of the alerts; what cannot be told is logged, and tried again.
async fn catch_up(notifier: &Alerting) {
    if let Err(error) = notifier.catch_up().await {
        tracing::warn!(error = %redact(&error.message), event = "alert.failed", "what is due of the alerts could not be told, and is tried again");
    }
}

impl Engine {
    /// Opens the data folder for writing, as its only process, and voids the leases of processes that died.
    ///
    /// # Errors
    /// The folder is in use, cannot be written, or holds a newer schema.
    pub(crate) async fn open(
        data: &Path,
        settings: SiteSettings,
        cores: Option<usize>,
        stop: Stop,
    ) -> anyhow::Result<Self> {
        place::folder(data)?;
        let store = LocalStore::open(data)?;
        let settings = settings.with_redaction_key(data).context("cannot keep the key of the redacted site")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let taken_over = "cannot take over what a process that ended left in hand";
        store.void_leases(clock.now()).await.context(taken_over)?;
        take_over(&store, settings.rules().delivery, clock.now()).await.context(taken_over)?;
        let queue = Arc::new(LocalQueue::new());
        let cores =
            cores.or_else(|| std::thread::available_parallelism().ok().map(std::num::NonZero::get)).unwrap_or(1).max(1);
        let documents: Arc<dyn domain::ports::Documents> = Arc::new(store.clone());
        let ports = Ports {
            store: Arc::new(store.clone()),
            documents: Arc::clone(&documents),
            queue: Arc::clone(&queue) as Arc<dyn domain::ports::WorkQueue>,
            clock,
            sleeper: Arc::new(TokioSleeper),
            randomness: Arc::new(SystemRandomness),
        };
        let site = Arc::new(FolderSite::new(&data.join("site"))?);
        let runner = Arc::new(WatchedRunner {
            inner: Runner::new(documents, cores).with_programs(Arc::new(settings.programs())),
            in_hand: Arc::default(),
            next: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        });
        let lineage = Lineage::new(settings.lineage().clone(), data);
        let traces = Traces::from_environment();
        let alerts_shown = Mutex::new(site::alerts_shown(&store, ports.clock.now()).await?);
        let attention = Arc::default();
        Ok(Self { ports, store, queue, runner, site, settings, lineage, traces, alerts_shown, cores, stop, attention })
    }

    /// The publisher, with the time the next run is due as of now.
    pub(crate) fn publisher(&self) -> SitePublisher {
        let parts = SiteParts {
            store: Arc::clone(&self.ports.store),
            alerts: Arc::new(self.store.clone()),
            notes: Arc::new(self.store.clone()),
            site: Arc::clone(&self.site) as Arc<dyn domain::ports::SiteStore>,
            clock: Arc::clone(&self.ports.clock),
            spread: Spread::Never,
        };
        SitePublisher::new(parts, self.settings.options(self.ports.clock.now()))
    }

    /// Who tells people about runs.
    pub(crate) fn notifier(&self) -> Alerting {
        Alerting::new(
            &self.ports,
            Arc::new(self.store.clone()),
            self.settings.rules(),
            self.settings.channels(&self.ports.clock),
            self.settings.base(self.site_folder()),
        )
    }

    /// Writes the pages that somebody asked to be written again.
    pub(crate) async fn publish_asked(&self) {
        let runs = std::mem::take(&mut *self.attention.pages.lock().unwrap_or_else(PoisonError::into_inner));
        for run in runs {
            if let Err(error) = self.publisher().publish(run).await {
                tracing::warn!(
                    batch_run_id = %run, error = %error, event = "publication.failed",
                    "the pages of a run could not be written again after a note; `nightbook publish --rebuild` does"
                );
            }
        }
    }

    /// Tells what is due of the alerts: what was put off, what an earlier process left, or a receiver did not take then.
    async fn tell_due(&self) {
        catch_up(&self.notifier()).await;
        self.show_alerts().await;
    }

    /// Shows on the index what has changed of the alerts: pages are written before anybody is told.
    pub(crate) async fn show_alerts(&self) {
        let refreshed = async {
            let now = site::alerts_shown(&self.store, self.ports.clock.now()).await?;
            let before = self.alerts_shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if now != before {
                self.publisher().refresh_index().await?;
                *self.alerts_shown.lock().unwrap_or_else(PoisonError::into_inner) = now;
            }
            anyhow::Ok(())
        };
        if let Err(error) = refreshed.await {
            tracing::warn!(
                error = format!("{error:#}"),
                event = "publication.failed",
                "the index could not be refreshed with what became of the alerts"
            );
        }
    }

    /// Where the prices of a run come from: the files of the book, and what they lack from outside if the book says so.
    pub(crate) fn prices(&self, book: &Book) -> Arc<dyn PriceGate> {
        let Some(http) = &book.settings.http_prices else { return Arc::new(NoGate) };
        let shelf = Arc::new(FolderShelf(LocalCloses::new(self.store.folder())));
        let (clock, randomness) = (Arc::clone(&self.ports.clock), Arc::clone(&self.ports.randomness));
        let key = http.key_env.as_deref().and_then(environment::named);
        Arc::new(HttpPrices::new(http.clone(), key, shelf, clock, randomness))
    }

    /// The folder of the site.
    pub(crate) fn site_folder(&self) -> PathBuf {
        self.site.root().to_path_buf()
    }

    /// Forgets what is older than the settings say.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn retire(&self, settings: &book::Settings) -> anyhow::Result<()> {
        let retention = &settings.retention;
        self.store
            .retire(self.ports.clock.now(), retention.records_days, retention.results_days)
            .await
            .context("cannot retire what is old")
    }

    /// What is in hand now, for progress bars.
    pub(crate) fn watched(&self) -> Arc<WatchedRunner> {
        Arc::clone(&self.runner)
    }

    /// Starts a run or goes on with it, and works until it is closed.
    ///
    /// # Errors
    /// The inputs, the store, or an interruption.
    pub(crate) async fn run(&self, start: &StartRun, inputs: &dyn RunInputs) -> anyhow::Result<RunSummary> {
        let mut stop = self.stop.clone();
        let started = tokio::select! {
            biased;
            started = start_run(&self.ports, start, inputs) => started,
            // Prices from outside may take their time.
            () = stop.stopped() => {
                let text = format!("interrupted while run {} was being started: the same command starts it again", start.id);
                return Err(Interrupted(text).into());
            }
        };
        let started = started.map_err(|error| match error {
            domain::start_run::StartError::Inputs(inputs) => crate::exit::unusable_inputs(inputs),
            other => anyhow::Error::new(other),
        })?;
        if let Started::PlannedElsewhere(run) = &started {
            anyhow::bail!("run {} is being started by another process; try again in a moment", run.batch_run_id);
        }
        if let Started::Existing(run) = &started {
            if run.is_closed() {
                if run.wants_pages(self.ports.clock.now()) {
                    publish(&self.ports, &self.publisher(), run).await?;
                }
                self.tell_due().await;
                let stored = self.ports.store.run(run.batch_run_id).await?;
                return stored.and_then(|stored| stored.summary).context("the run is closed and has no summary");
            }
            tracing::info!(batch_run_id = %run.batch_run_id, event = "run.continued", "going on with a run that was not finished");
            mend(&self.ports, run).await?;
        }
        self.drive(started.run()).await
    }

    /// Works until this run is closed.
    ///
    /// # Errors
    /// The store, or an interruption.
    pub(crate) async fn drive(&self, run: &Run) -> anyhow::Result<RunSummary> {
        let id = run.batch_run_id;
        self.suspects_first(run).await?;
        let in_hand = self.cores * IN_HAND_PER_CORE;
        let mut tasks: JoinSet<anyhow::Result<Option<Message>>> = JoinSet::new();
        let mut telling: JoinSet<()> = JoinSet::new();
        let mut stop = self.stop.clone();
        let mut refresh = tokio::time::interval_at(tokio::time::Instant::now() + REFRESH, REFRESH);
        loop {
            while let Some(ended) = tasks.try_join_next() {
                self.after(ended).await?;
            }
            tokio::select! {
                biased;
                () = stop.stopped() => return Err(self.wind_down(id, tasks).await),
                _ = refresh.tick() => {
                    // Beside the work: a receiver may take its time.
                    while telling.try_join_next().is_some() {}
                    if telling.is_empty() {
                        let notifier = self.notifier();
                        telling.spawn(async move { catch_up(&notifier).await });
                    }
                    // The index then shows progress and signs of life; a failure is mended by the next refresh.
                    if let Err(error) = self.publisher().refresh_index().await {
                        tracing::warn!(batch_run_id = %id, error = %error, event = "publication.failed", "the index could not be refreshed while the run goes on");
                    }
                }
                () = self.attention.at_work.notified() => {
                    self.look_over(id, false).await?;
                    self.publish_asked().await;
                }
                Some(ended) = tasks.join_next(), if tasks.len() >= in_hand => self.after(ended).await?,
                message = tokio::time::timeout(SILENCE, self.queue.receive()), if tasks.len() < in_hand => match message {
                    Ok(Some(Message::Work(message))) => {
                        let (ports, runner) = (self.ports.clone(), Arc::clone(&self.runner));
                        tasks.spawn(async move {
                            let handled = process_portfolio(&ports, runner.as_ref(), &message).await?;
                            runner.ended.fetch_add(1, Ordering::Relaxed);
                            Ok((handled == Handled::GiveBack).then_some(Message::Work(message)))
                        });
                    }
                    Ok(Some(Message::Close(closing))) => {
                        let closed = close_run(&self.ports, &self.publisher(), &self.notifier(), closing).await?;
                        while telling.join_next().await.is_some() {}
                        self.tell_due().await;
                        if let Closed::Closed(summary) = closed
                            && summary.batch_run_id == id
                        {
                            self.lineage.tell(&self.store, id).await;
                            self.traces.tell(&self.store, id).await;
                            return Ok(*summary);
                        }
                    }
                    Ok(None) => anyhow::bail!("the queue was closed while run {id} was open"),
                    Err(_silence) => self.look_over(id, tasks.is_empty()).await?,
                },
            }
        }
    }

    /// Works on the items that were in hand at two process deaths in a row, one at a time: if one of them is what ends
    /// the process, the next death is counted against it alone, and not against everything that happened to be in hand.
    /// Those with the fewest deaths come first, so that the innocent are out of the way.
    async fn suspects_first(&self, run: &Run) -> anyhow::Result<()> {
        let id = run.batch_run_id;
        let mut suspects = Vec::new();
        for bucket in 0..run.plan.as_ref().map_or(0, domain::run::SealedPlan::buckets) {
            suspects.extend(self.ports.store.items(id, bucket).await?);
        }
        suspects.retain(|item| !item.state.is_terminal() && item.deaths_in_a_row >= SUSPECT_DEATHS);
        suspects.sort_by_key(|item| item.deaths_in_a_row);
        for item in suspects {
            let message = WorkMessage { key: item.key, name: item.portfolio_name, place: item.place };
            let (ports, runner, mut stop) = (self.ports.clone(), Arc::clone(&self.runner), self.stop.clone());
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                process_portfolio(&ports, runner.as_ref(), &message).await?;
                Ok(None)
            });
            tokio::select! {
                biased;
                () = stop.stopped() => return Err(self.wind_down(id, tasks).await),
                Some(ended) = tasks.join_next() => self.after(ended).await?,
            }
            self.runner.ended.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn look_over(&self, id: RunId, idle: bool) -> anyhow::Result<()> {
        let run = self.ports.store.run(id).await?.with_context(|| format!("there is no run {id}"))?.run;
        let late = run.gives_up_at().is_some_and(|at| at < self.ports.clock.now());
        if idle || late {
            mend(&self.ports, &run).await?;
        }
        Ok(())
    }

    async fn after(
        &self,
        ended: Result<anyhow::Result<Option<Message>>, tokio::task::JoinError>,
    ) -> anyhow::Result<()> {
        if let Some(message) = ended.context("a worker ended without a result")?? {
            self.queue.give_back(message, GIVE_BACK_DELAY);
        }
        Ok(())
    }

    /// After a signal: lets the items in hand end for a while, and says what remains.
    async fn wind_down(&self, id: RunId, mut tasks: JoinSet<anyhow::Result<Option<Message>>>) -> anyhow::Error {
        let in_hand = tasks.len();
        let ended = tokio::time::timeout(STOP_GRACE, async {
            let mut ended = 0;
            while let Some(task) = tasks.join_next().await {
                ended += usize::from(task.is_ok_and(|outcome| outcome.is_ok()));
            }
            ended
        })
        .await
        .map_or_else(|_| "some".to_owned(), |ended| ended.to_string());
        anyhow::Error::new(Interrupted(format!(
            "interrupted: {ended} of the {in_hand} portfolios in hand were finished; run {id} is open, and the same command goes on with it"
        )))
    }
}

/// What is in hand, as progress bars show it.
pub(crate) struct InHandNow {
    /// The portfolio.
    pub(crate) portfolio: PortfolioId,
    /// The job.
    pub(crate) job: JobName,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
    /// Its context, which knows how far it is.
    pub(crate) context: JobContext,
}

/// The job runner, watched: it knows what is in hand.
pub(crate) struct WatchedRunner {
    inner: Runner,
    /// What is in hand, by a number of its own.
    pub(crate) in_hand: Arc<Mutex<BTreeMap<u64, InHandNow>>>,
    next: AtomicU64,
    /// Items handled so far.
    pub(crate) ended: AtomicU64,
}

#[async_trait]
impl JobRunner for WatchedRunner {
    async fn open(&self, run: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError> {
        let inner = self.inner.open(run, portfolio).await?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(WatchedJobs { inner, portfolio: portfolio.clone(), number, in_hand: Arc::clone(&self.in_hand) }))
    }
}

struct WatchedJobs {
    inner: Arc<dyn PortfolioJobs>,
    portfolio: PortfolioId,
    number: u64,
    in_hand: Arc<Mutex<BTreeMap<u64, InHandNow>>>,
}

/// Takes an entry out when the job ends, or its future is dropped.
struct Entry<'a>(&'a WatchedJobs);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0.number);
    }
}

#[async_trait]
impl PortfolioJobs for WatchedJobs {
    async fn run(&self, job: &JobName, context: JobContext) -> Result<JobOutput, JobError> {
        let now = InHandNow {
            portfolio: self.portfolio.clone(),
            job: job.clone(),
            since: SystemClock.now(),
            context: context.clone(),
        };
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number, now);
        let _entry = Entry(self);
        self.inner.run(job, context).await
    }

    fn results(&self) -> Result<Option<Vec<u8>>, JobError> {
        self.inner.results()
    }

    fn known_ids(&self) -> Vec<String> {
        self.inner.known_ids()
    }
}

impl api::Live for WatchedRunner {
    fn in_hand(&self) -> Vec<api::Hand> {
        let in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hands: Vec<api::Hand> = in_hand
            .values()
            .map(|hand| api::Hand {
                portfolio: hand.portfolio.clone(),
                job: hand.job.clone(),
                since: hand.since,
                progress: hand.context.last_progress(),
            })
            .collect();
        hands.sort_by_key(|hand| hand.since);
        hands
    }
}
