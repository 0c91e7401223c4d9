//! The use cases wired for one machine: one process, several workers, an embedded store.

mod drive;
mod shown;
mod watched;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use backends::local::{FolderSite, LocalCloses, LocalQueue, LocalStore, RetentionDays};
use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use book::Book;
use chrono::NaiveTime;
use domain::alerting::{Alerting, take_over};
use domain::close_run::publish;
use domain::ids::RunId;
use domain::night::next_step::CommandTarget;
use domain::night::retention_date;
use domain::ports::{Clock, Ports, Publisher as _};
use jobs::{NoGate, PriceGate, Runner};
use prices::HttpPrices;
use site::{AlertsShown, Records, SiteOptions, SiteParts, SitePublisher, Spread};
use tokio::sync::Notify;

pub(crate) use self::watched::WatchedRunner;
use crate::environment;
use crate::lineage_sink::Lineage;
use crate::live_settings::{InForce, LiveSettings};
use crate::place;
use crate::price_shelf::FolderShelf;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;
use crate::trace_sink::Traces;

/// Everything that a run on one machine needs.
pub(crate) struct Engine {
    /// The ports of the use cases.
    pub(crate) ports: Ports,
    /// The same store, for what only this backend can do.
    pub(crate) store: LocalStore,
    queue: Arc<LocalQueue>,
    runner: Arc<WatchedRunner>,
    site: Arc<FolderSite>,
    /// The settings in force.
    pub(crate) settings: Arc<LiveSettings>,
    traces: Traces,
    /// What the index shows beside the records.
    shown: Mutex<Shown>,
    /// Jobs worked on at once, for runs that begin from now on.
    cores: AtomicUsize,
    stop: Stop,
    /// Somebody cancelled the run, or has something to be published.
    pub(crate) attention: Arc<Attention>,
}

/// What the index shows that does not come from the records of runs, as it was last written.
#[derive(Debug)]
struct Shown {
    alerts: AlertsShown,
    /// `None`: not known which settings it was written by.
    settings: Option<Arc<InForce>>,
}

/// As many as wanted, else as many as the machine has cores.
fn jobs_at_once(wanted: Option<usize>) -> usize {
    wanted.or_else(|| std::thread::available_parallelism().ok().map(std::num::NonZero::get)).unwrap_or(1).max(1)
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
        let settings = settings.in_force(data, &store, SystemClock.now()).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let taken_over = "cannot take over what a process that ended left in hand";
        store.void_leases(clock.now()).await.context(taken_over)?;
        take_over(&store, settings.rules().delivery, clock.now()).await.context(taken_over)?;
        let queue = Arc::new(LocalQueue::new());
        let cores = jobs_at_once(cores);
        let documents: Arc<dyn domain::ports::Documents> = Arc::new(store.clone());
        let ports = Ports {
            store: Arc::new(store.clone()),
            documents: Arc::clone(&documents),
            comparer: Arc::new(jobs::SnapshotComparer::new(Arc::clone(&documents))),
            queue: Arc::clone(&queue) as Arc<dyn domain::ports::WorkQueue>,
            clock,
            sleeper: Arc::new(TokioSleeper),
            randomness: Arc::new(SystemRandomness),
        };
        let site = Arc::new(FolderSite::new(&data.join("site"))?);
        let runner =
            Arc::new(WatchedRunner::new(Runner::new(documents, cores).with_programs(Arc::new(settings.programs()))));
        let traces = Traces::from_environment();
        let alerts = site::alerts_shown(&store, ports.clock.now()).await?;
        let shown = Mutex::new(Shown { alerts, settings: None });
        let attention = Arc::default();
        let settings = Arc::new(LiveSettings::new(settings));
        let cores = AtomicUsize::new(cores);
        Ok(Self { ports, store, queue, runner, site, settings, traces, shown, cores, stop, attention })
    }

    /// The publisher by the settings in force, with the time the next run is due as of now.
    pub(crate) fn publisher(&self) -> SitePublisher {
        self.publisher_by(&self.settings.current())
    }

    fn publisher_by(&self, settings: &InForce) -> SitePublisher {
        let parts = SiteParts {
            store: Arc::clone(&self.ports.store),
            alerts: Arc::new(self.store.clone()),
            notes: Arc::new(self.store.clone()),
            site: Arc::clone(&self.site) as Arc<dyn domain::ports::SiteStore>,
            clock: Arc::clone(&self.ports.clock),
            spread: Spread::Never,
        };
        let data = self.store.folder();
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
        let records = Records::Folder(data.display().to_string());
        SitePublisher::new(parts, SiteOptions { records, ..settings.options(self.ports.clock.now()) })
    }

    /// Delivers alerts by the settings in force.
    pub(crate) fn notifier(&self) -> Alerting {
        let settings = &self.settings.current().settings;
        Alerting::new(
            &self.ports,
            Arc::new(self.store.clone()),
            settings.rules(),
            settings.channels(&self.ports.clock),
            settings.base(self.site_folder()),
            self.command_target(settings.book_dir()),
            settings.series(),
        )
    }

    /// Where the commands in alerts point.
    fn command_target(&self, book: Option<&Path>) -> CommandTarget {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        CommandTarget::Folder {
            book: book.map(|book| book.display().to_string()),
            data: absolute(self.store.folder()).display().to_string(),
        }
    }

    /// Writes the pages that somebody asked to be written again. Those of a run that has ended are recorded as pending, and
    /// the watch tries again what fails here; those of an open run are written when it closes, too.
    pub(crate) async fn publish_asked(&self) {
        let runs = std::mem::take(&mut *self.attention.pages.lock().unwrap_or_else(PoisonError::into_inner));
        for id in runs {
            if let Err(error) = self.publish_again(id).await {
                tracing::warn!(
                    batch_run_id = %id, error = format!("{error:#}"), event = "publication.failed",
                    "the pages of a run could not be written again; the watch tries again"
                );
            }
        }
    }

    async fn publish_again(&self, id: RunId) -> anyhow::Result<()> {
        match self.ports.store.run(id).await?.map(|stored| stored.run) {
            Some(run) if run.has_ended() => {
                publish(&self.ports, &self.publisher(), &run).await?;
            }
            Some(_) => {
                self.publisher().publish(id).await?;
            }
            None => {}
        }
        Ok(())
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

    /// Deletes what is older than the settings in force allow, counted back from the newest close of a night: a wrong clock
    /// makes nothing old.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn retire(&self) -> anyhow::Result<()> {
        let in_force = self.settings.current();
        let retention = in_force.settings.retention();
        let Some(newest) = retention_date(self.ports.store.as_ref()).await? else { return Ok(()) };
        let from = newest.and_time(NaiveTime::MIN).and_utc();
        let keep = RetentionDays {
            records: retention.records_days,
            results: retention.results_days,
            inputs: retention.inputs_days,
        };
        self.store.retire(from, keep).await.context("cannot retire what is old")?;
        self.store.give_back_space().await.context("cannot give back the space of what was retired")
    }

    /// Sends OpenLineage events as the settings in force say.
    fn lineage(&self) -> Lineage {
        Lineage::new(self.settings.current().settings.lineage().clone(), self.store.folder())
    }

    /// The jobs that run now, for progress bars.
    pub(crate) fn watched(&self) -> Arc<WatchedRunner> {
        Arc::clone(&self.runner)
    }
}
