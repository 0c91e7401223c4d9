//! Rendering and publishing: the pages of one run, and whether the next night costs more when many are on record.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use backends::local::{LocalQueue, LocalStore, Message};
use backends::memory::MemorySite;
use backends::system::{SystemRandomness, TokioSleeper};
use book::Settings;
use chrono::{DateTime, Duration, NaiveDate, TimeDelta, Utc};
use domain::close_run::{Closed, close_run};
use domain::ids::{ContentHash, JobName, PortfolioId, RunId, ScheduleName};
use domain::job::JobSpec;
use domain::job_context::JobContext;
use domain::night::NightBefore;
use domain::ports::{
    Clock, JobRunner, Notifier, PinnedInputs, PortfolioJobs, Ports, PublishError, Publisher, RunInputs, RunStore,
    SiteFile, SiteStore, StoreError, WriteIf, Written,
};
use domain::process_portfolio::process_portfolio;
use domain::record::{JobError, JobOutput, Quality};
use domain::retry::RetryPolicy;
use domain::run::{PagesThere, PlannedPortfolio, Run, RunEvent, RunLevelWork};
use domain::start_run::{StartRun, start_run};
use domain::summary::RunSummary;
use domain::words::{ErrorCategory, QualityFlag};
use futures::future::try_join_all;
use serde_json::{Map, Value, json};
use site::{NoAlerts, NoNotes, ScheduleView, SiteOptions, SiteParts, SitePublisher, Spread};

use crate::counted::Counted;
use crate::figure::{Figure, median};

/// Runs that are made at once, and work items in hand at once: the commits of the store serve many of them.
const AT_ONCE: usize = 32;
/// Nights that are measured at each end.
const NIGHTS: u32 = 15;
/// Portfolios of the book whose history grows.
const FEW: usize = 10;
/// What a night may cost more with a long history than with a short one.
const GROWTH: f64 = 1.05;

pub(crate) fn measure(quick: bool, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        for (portfolios, budget, index_budget) in [(100, 50.0, 15.0), (1_000, 300.0, 60.0)] {
            pages_of_a_run(portfolios, budget, index_budget, figures).await?;
        }
        growth(if quick { 1_000 } else { 10_000 }, figures).await
    })
}

/// The pages of a run of eight jobs a portfolio, from the records to the bytes, ten nights on record.
async fn pages_of_a_run(
    portfolios: usize,
    budget: f64,
    index_budget: f64,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let desk = Desk::new(folder.path(), portfolios)?;
    let mut last = None;
    for night in 0..10 {
        last = Some(desk.run_and_publish(night).await?);
    }
    let last = last.context("there is a last night")?;
    let mut times = Vec::new();
    for _ in 0..7 {
        let began = std::time::Instant::now();
        desk.publisher(9).publish(last).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    figures.push(Figure::new(format!("site.render_{}_jobs", portfolios * 8), median(times), "ms", budget));
    let index = desk.site.inner.files().remove("index.html").context("there is an index")?;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&index)?;
    let kib = packed.finish()?.len() as f64 / 1_024.0;
    figures.push(Figure::new(format!("site.index_{portfolios}_portfolios.gzip"), kib, "KiB", index_budget));
    Ok(())
}

/// What a night's publication costs with 10 runs on record, with 100, and with many.
///
/// Pages show the newest 60 or 90 runs, so what they hold grows until then: the budget is for what comes after.
async fn growth(many: u32, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let desk = Desk::new(folder.path(), FEW)?;
    for night in 0..10 {
        desk.run_and_publish(night).await?;
    }
    let few = desk.nights(10).await?;
    desk.pass(10 + NIGHTS..100).await?;
    let full = desk.nights(100).await?;
    desk.pass(100 + NIGHTS..many).await?;
    let lots = desk.nights(many).await?;
    for (what, of) in [
        ("time", (|cost| cost.seconds) as fn(&Cost) -> f64),
        ("requests", |cost| cost.requests),
        ("bytes", |cost| cost.bytes),
    ] {
        let name = format!("site.publish_{many}_runs.{what}");
        figures.push(Figure::new(&name, of(&lots) / of(&full), "of 100", GROWTH));
        figures.push(Figure::told(&name, of(&lots) / of(&few), "of 10"));
    }
    figures.push(Figure::told(format!("site.publish_{many}_runs.milliseconds"), lots.seconds * 1e3, "ms"));
    figures.push(Figure::told(format!("site.publish_{many}_runs.calls"), lots.requests, "calls"));
    Ok(())
}

/// What a publication costs: medians over some nights.
struct Cost {
    seconds: f64,
    requests: f64,
    bytes: f64,
}

/// Everything that a run needs, with jobs that give figures without calculating them.
struct Desk {
    ports: Ports,
    store: Arc<Counted>,
    site: Arc<CountedSite>,
    work: Arc<Work>,
}

impl Desk {
    fn new(folder: &Path, portfolios: usize) -> anyhow::Result<Self> {
        let store = LocalStore::open(folder)?;
        let counted = Arc::new(Counted { inner: store.clone(), calls: AtomicU64::new(0) });
        let ports = Ports {
            comparer: Arc::new(domain::ports::NoComparison),
            store: Arc::new(store.clone()),
            documents: Arc::new(store),
            queue: Arc::new(LocalQueue::new()),
            clock: Arc::new(At(slot(0))),
            sleeper: Arc::new(TokioSleeper),
            randomness: Arc::new(SystemRandomness),
        };
        let mut settings = Settings::default();
        settings.run.jobs.retain(|job| job.as_str() != "greeks_calculation");
        let work = Arc::new(Work { jobs: jobs::job_list(&settings), portfolios });
        Ok(Self { ports, store: counted, site: Arc::default(), work })
    }

    fn publisher(&self, night: u32) -> SitePublisher {
        let parts = SiteParts {
            store: Arc::clone(&self.store) as Arc<dyn RunStore>,
            alerts: Arc::new(NoAlerts),
            notes: Arc::new(NoNotes),
            site: Arc::clone(&self.site) as Arc<dyn SiteStore>,
            clock: Arc::new(At(slot(night))),
            spread: Spread::Never,
        };
        SitePublisher::new(
            parts,
            SiteOptions {
                title: "Benchmark".into(),
                base_url: None,
                redacted: false,
                redaction_key: String::new(),
                replaces_redacted: false,
                schedule: Some(ScheduleView {
                    name: "nightly".into(),
                    series: String::new(),
                    cron: "30 18 * * 1-5".into(),
                    timezone: "America/New_York".into(),
                    next_due: Vec::new(),
                    grace_seconds: 3_600,
                }),
                retention_note: "Everything is kept.".into(),
                cards: BTreeMap::new(),
                mutes: Vec::new(),
                portfolio_badges: false,
                ..SiteOptions::default()
            },
        )
    }

    /// A run of this night, closed, without pages; whether the records say that they are there is another matter.
    async fn run_unpublished(&self, night: u32, marked: bool) -> anyhow::Result<RunId> {
        let run = self.run(night, &Nobody).await?;
        if marked {
            let written = RunEvent::PagesWritten { pages: PagesThere::Portfolios, now: slot(night) };
            self.ports.store.apply_run(run, &written).await?;
        }
        Ok(run)
    }

    async fn run_and_publish(&self, night: u32) -> anyhow::Result<RunId> {
        self.run(night, &self.publisher(night)).await
    }

    async fn run(&self, night: u32, publisher: &dyn Publisher) -> anyhow::Result<RunId> {
        let slot = slot(night);
        let queue = Arc::new(LocalQueue::new());
        let ports = Ports {
            queue: Arc::clone(&queue) as Arc<dyn domain::ports::WorkQueue>,
            clock: Arc::new(At(slot)),
            ..self.ports.clone()
        };
        let schedule = ScheduleName::new("nightly").map_err(|error| anyhow::anyhow!("{error}"))?;
        let start = StartRun {
            id: domain::identity::scheduled(&schedule, slot),
            night_series: schedule.clone(),
            schedule,
            trigger: "schedule".into(),
            as_of: slot.date_naive(),
            scheduled_for: slot,
            rerun_of: None,
            repeat: 0,
            filter: Vec::new(),
            deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
        };
        start_run(&ports, &start, self.work.as_ref()).await?;
        let mut hands = Vec::new();
        loop {
            match queue.receive().await {
                Some(Message::Work(message)) => {
                    let (ports, work) = (ports.clone(), Arc::clone(&self.work));
                    hands.push(tokio::spawn(async move { process_portfolio(&ports, work.as_ref(), &message).await }));
                    if hands.len() == self.work.portfolios {
                        for hand in try_join_all(hands.drain(..)).await? {
                            hand?;
                        }
                    }
                }
                Some(Message::Close(run)) => {
                    if let Closed::Closed(summary) = close_run(&ports, publisher, &Nobody, run).await? {
                        return Ok(summary.batch_run_id);
                    }
                }
                None => bail!("the queue was closed"),
            }
        }
    }

    /// Nights without pages. They are said to be there: nobody looks at them here, and they would take minutes.
    async fn pass(&self, nights: std::ops::Range<u32>) -> anyhow::Result<()> {
        let nights: Vec<u32> = nights.collect();
        for chunk in nights.chunks(AT_ONCE) {
            try_join_all(chunk.iter().map(|night| self.run_unpublished(*night, true))).await?;
        }
        Ok(())
    }

    /// What some nights from this one on cost to publish.
    async fn nights(&self, from: u32) -> anyhow::Result<Cost> {
        let (mut seconds, mut requests, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for night in from..from + NIGHTS {
            let run = self.run_unpublished(night, false).await?;
            let before = (self.store.calls() + self.site.calls(), self.site.bytes());
            let began = std::time::Instant::now();
            self.publisher(night).publish(run).await?;
            seconds.push(began.elapsed().as_secs_f64());
            requests.push((self.store.calls() + self.site.calls() - before.0) as f64);
            bytes.push((self.site.bytes() - before.1) as f64);
        }
        Ok(Cost { seconds: median(seconds), requests: median(requests), bytes: median(bytes) })
    }
}

/// The slot of a night: one a day.
fn slot(night: u32) -> DateTime<Utc> {
    let first = NaiveDate::from_ymd_opt(1999, 1, 4).unwrap_or_default().and_hms_opt(23, 30, 0).unwrap_or_default();
    first.and_utc() + TimeDelta::days(i64::from(night))
}

/// A time that stands still.
struct At(DateTime<Utc>);

impl Clock for At {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// Publishes nothing and tells nobody.
struct Nobody;

#[async_trait]
impl Publisher for Nobody {
    async fn publish(&self, _: RunId) -> Result<u64, PublishError> {
        Ok(0)
    }

    fn spreads(&self, _: &Run) -> bool {
        false
    }

    async fn begin(&self, _: RunId) -> Result<u64, PublishError> {
        Ok(0)
    }

    async fn publish_bucket(&self, _: RunId, _: u32) -> Result<u64, PublishError> {
        Ok(0)
    }

    async fn finish(&self, _: RunId) -> Result<u64, PublishError> {
        Ok(0)
    }
}

#[async_trait]
impl Notifier for Nobody {
    async fn tell(&self, _: &RunSummary, _: &domain::night::Night) -> Result<(), JobError> {
        Ok(())
    }

    async fn catch_up(&self) -> Result<(), JobError> {
        Ok(())
    }
}

/// Inputs and jobs that cost nothing: one portfolio in twenty fails in factor analysis.
struct Work {
    jobs: Vec<JobSpec>,
    portfolios: usize,
}

#[async_trait]
impl RunInputs for Work {
    async fn pin(&self, as_of: NaiveDate, _: &[PortfolioId], _: &NightBefore) -> Result<PinnedInputs, JobError> {
        let id = |p: usize| PortfolioId::new(format!("p{p:05}"));
        let bad = |_| JobError::new(ErrorCategory::Internal, "an id is not usable");
        let portfolios: Result<Vec<_>, JobError> = (0..self.portfolios)
            .map(|p| Ok(PlannedPortfolio { id: id(p).map_err(bad)?, name: format!("Portfolio {p}") }))
            .collect();
        let at = as_of.and_hms_opt(23, 30, 1).unwrap_or_default().and_utc();
        Ok(PinnedInputs {
            night: None,
            book: ContentHash::of(b"book"),
            portfolios: portfolios?,
            jobs: self.jobs.clone(),
            retry: RetryPolicy::default(),
            deadline_minutes: 120,
            snapshot: b"snapshot".to_vec(),
            market_data: RunLevelWork {
                attempts: 1,
                started_at: at,
                completed_at: at + Duration::seconds(1),
                error: None,
                metadata: Map::new(),
                quality: None,
            },
        })
    }
}

#[async_trait]
impl JobRunner for Work {
    async fn open(&self, _: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError> {
        Ok(Arc::new(Jobs(portfolio.clone())))
    }
}

struct Jobs(PortfolioId);

#[async_trait]
impl PortfolioJobs for Jobs {
    async fn run(&self, job: &JobName, _: JobContext) -> Result<JobOutput, JobError> {
        let number: usize = self.0.as_str().trim_start_matches('p').parse().unwrap_or(0);
        if job.as_str() == "factor_analysis" && number % 20 == 7 {
            return Err(JobError::new(ErrorCategory::Permanent, format!("no usable returns for {}", self.0)));
        }
        let value = 1e6 + 1e3 * number as f64;
        let brief: Value = match job.as_str() {
            "portfolio_aggregation" => json!({ "gross": value * 1.4, "net": value * 0.6, "leverage": 1.4 }),
            "factor_analysis" => json!({ "market_beta": 0.9 }),
            "stress_testing" => json!({ "worst_case_pnl": -value / 5.0 }),
            "portfolio_snapshot" => json!({
                "total_value": value, "daily_pnl": value / 300.0, "daily_return": 1.0 / 300.0, "volatility": 0.14,
                "var_95": -0.012, "var_99": -0.02, "es_95": -0.016, "es_99": -0.024, "max_drawdown": -0.1, "coverage": 1.0
            }),
            _ => json!({}),
        };
        Ok(JobOutput {
            records_processed: 75,
            quality: Some(Quality {
                flag: QualityFlag::Full,
                data_days: 252,
                required_days: 252,
                positions_processed: 75,
                positions_total: 75,
                symbols_missing: Vec::new(),
                notes: Vec::new(),
            }),
            metadata: brief.as_object().cloned().unwrap_or_default(),
        })
    }

    fn results(&self) -> Result<Option<Vec<u8>>, JobError> {
        Ok(None)
    }

    fn known_ids(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }
}

/// A site in memory whose calls and written bytes are counted.
#[derive(Default)]
struct CountedSite {
    inner: MemorySite,
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl CountedSite {
    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl SiteStore for CountedSite {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.read(path).await
    }

    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let written = self.inner.write(file, condition).await?;
        if written == Written::Written {
            self.bytes.fetch_add(file.body.len() as u64, Ordering::Relaxed);
        }
        Ok(written)
    }

    async fn list(&self) -> Result<Vec<String>, StoreError> {
        self.inner.list().await
    }

    async fn damaged(&self) -> Result<Vec<String>, StoreError> {
        self.inner.damaged().await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.inner.remove(path).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }
}
