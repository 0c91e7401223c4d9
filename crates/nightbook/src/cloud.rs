//! The commands on the records of a cloud: `--data dynamodb://TABLE`.
//!
//! The same use cases, over the ports of AWS. What a command starts is worked on by the functions of the stack.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use app::{
    AcceptRequest, BookOf, Decided, Detail, MostDetail, NightAction, NightReader, RerunRequest, RunControl,
    StoredSettings, settings_to_publish_by, store_settings, stored_settings, summary_now,
};
use backends::DoctorReport;
use backends::aws::{Aws, DynamoStore, MissingSetting, QueueKind, Settings, SettingsObject, connect};
use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use book::Book;
use chrono::NaiveDate;
use domain::ids::{ContentHash, RunId};
use domain::night::next_step::CommandTarget;
use domain::night::report::NightReport;
use domain::note::RunNotes;
use domain::ports::{
    AlertBooks, Clock as _, Documents, Ports, RunInputs, RunStore, Runs as _, StoreError, Tallies as _, WorkMessage,
    WorkQueue,
};
use domain::start_run::{StartError, StartRun, Started, start_run};
use domain::summary::RunSummary;
use domain::watch::mend;
use domain::work_item::ItemKey;
use jobs::{BookInputs, NoGate};
use serde_json::json;
use site::{Records, SiteOptions, SiteParts, SitePublisher, Spread};

use crate::commands::needed;
use crate::commands::night::print_after;
use crate::commands::rerun::{self, nothing_to_repeat};
use crate::commands::run::{Asked, exit_code, report};
use crate::commands::{cancel, publish};
use crate::environment;
use crate::exit::{BadInput, Interrupted, door, refused};
use crate::output::{Output, safe};
use crate::progress::Bars;
use crate::reading;
use crate::stop::Stop;

/// Time between two looks at a run that is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// A cloud, connected.
#[derive(Debug)]
pub(crate) struct Cloud {
    aws: Aws,
    store: Arc<DynamoStore>,
}

/// A name that is missing is a matter of settings.
fn named<T>(found: Result<T, MissingSetting>) -> anyhow::Result<T> {
    found.map_err(|missing| BadInput(format!("{missing} (infra/README.md, \"Looking at it\")")).into())
}

impl Cloud {
    /// Connects with the credentials and the names of the environment; nothing is sent yet.
    pub(crate) async fn connect(table: &str) -> anyhow::Result<Self> {
        let settings = Settings::from_variables(environment::named).with_table(table);
        let aws = connect(settings).await;
        let store = named(aws.store())?;
        Ok(Self { aws, store })
    }

    /// The ports. A bucket or a queue whose name is missing is told when it is needed.
    pub(crate) fn ports(&self) -> anyhow::Result<Ports> {
        let documents = self.aws.documents().unwrap_or_else(|missing| Arc::new(Unnamed(missing)));
        let queue = self.aws.queue().unwrap_or_else(|missing| Arc::new(Unnamed(missing)));
        Ok(Ports {
            store: Arc::clone(&self.store) as Arc<dyn RunStore>,
            comparer: Arc::new(jobs::SnapshotComparer::new(Arc::clone(&documents))),
            documents,
            queue,
            clock: Arc::new(SystemClock),
            sleeper: Arc::new(TokioSleeper),
            randomness: Arc::new(SystemRandomness),
        })
    }

    /// What people have to say of runs.
    pub(crate) fn notes(&self) -> Arc<dyn RunNotes> {
        Arc::clone(&self.store) as Arc<dyn RunNotes>
    }

    /// The control of a command: what it starts is worked on by the functions.
    fn control(&self, ports: &Ports, book: BookOf) -> RunControl {
        RunControl::of_caller(ports, self.notes(), Arc::clone(&self.store) as Arc<dyn AlertBooks>, book)
    }

    fn settings_file(&self) -> anyhow::Result<SettingsObject> {
        named(self.aws.settings_object())
    }

    /// The settings of the book that was run last.
    pub(crate) async fn kept(&self) -> anyhow::Result<StoredSettings> {
        Ok(settings_to_publish_by(&self.settings_file()?).await?)
    }

    /// Reads nights by the settings of the book that was run last; where these are not named, by the default schedule.
    pub(crate) async fn nights(&self, table: &str) -> anyhow::Result<NightReader> {
        let kept = match self.aws.settings_object() {
            Ok(object) => stored_settings(&object).await?.unwrap_or_default(),
            Err(_) => StoredSettings::default(),
        };
        let target = CommandTarget::Table { book: None, table: table.to_owned() };
        Ok(NightReader { schedule: kept.settings.schedule, target })
    }

    fn table(&self) -> anyhow::Result<&str> {
        named(self.aws.settings().table())
    }

    /// Stores the settings of a book, as `start-run` does.
    async fn keep(&self, book: &Book) -> anyhow::Result<()> {
        let (file, runs) = (self.settings_file()?, self.store.as_ref());
        Ok(store_settings(&file, book, runs, &SystemRandomness, SystemClock.now()).await?)
    }

    /// `nightbook run`.
    pub(crate) async fn run(
        &self,
        book: &Arc<Book>,
        asked: &Asked,
        dates: &[NaiveDate],
        output: &Output,
        bars: &Bars,
        mut stop: Stop,
    ) -> anyhow::Result<std::process::ExitCode> {
        if book.settings.http_prices.is_some() {
            let text =
                "the prices of this book come from outside: copy it into the bucket and let `start-run` fetch them";
            return Err(BadInput(text.to_owned()).into());
        }
        let ports = self.ports()?;
        named(self.aws.settings().work_queue_url())?;
        self.keep(book).await?;
        let control = self.control(&ports, BookOf::Loaded(Arc::clone(book)));
        let nights = needed::nights(ports.store.as_ref(), ports.documents.as_ref(), book, dates, asked).await?;
        let mut summaries = Vec::with_capacity(dates.len());
        for night in nights.iter().filter(|night| night.action != NightAction::LeaveOut) {
            let work = control.decide_start(&asked.request(night)).await;
            let work = work.map_err(|error| refused(error, &asked.door()))?;
            let (clock, sleeper) = (Arc::clone(&ports.clock), Arc::clone(&ports.sleeper));
            let inputs =
                BookInputs::new(Arc::clone(book), clock, Arc::new(NoGate), sleeper, Arc::clone(&ports.randomness));
            summaries.push(self.start(&ports, &work.start, &inputs, asked.wait, output, bars, &mut stop).await?);
        }
        let code = needed::conclude(ports.store.as_ref(), book, &nights, &summaries, asked, output).await;
        // A run that is not waited for says nothing about how it ended.
        if asked.wait { code } else { code.map(|_| std::process::ExitCode::SUCCESS) }
    }

    /// `nightbook rerun`.
    pub(crate) async fn rerun(
        &self,
        asked: &rerun::Asked,
        output: &Output,
        bars: &Bars,
        mut stop: Stop,
    ) -> anyhow::Result<std::process::ExitCode> {
        let rerun::Asked { data, run, failed_only, cause, wait, .. } = asked;
        let (failed_only, wait) = (*failed_only, *wait);
        let ports = self.ports()?;
        let nights = self.nights(self.table()?).await?;
        let original = reading::find(self.store.as_ref(), &nights, data, run, None).await?;
        let control = self.control(&ports, BookOf::Nowhere);
        let request = RerunRequest { run: original.run.batch_run_id, failed_only, cause: cause.clone() };
        let decided = control.decide_rerun(&request).await.map_err(|error| refused(error, &door(data, None)))?;
        let Decided::Run(work) = decided else {
            output.line(&nothing_to_repeat(request.run));
            return Ok(std::process::ExitCode::SUCCESS);
        };
        let inputs = work.pinned_inputs(Arc::clone(&ports.documents)).context("a rerun has pinned inputs")?;
        let summaries = [self.start(&ports, &work.start, inputs.as_ref(), wait, output, bars, &mut stop).await?];
        print_after(self.store.as_ref(), &nights, &summaries[0], output).await?;
        report(&summaries, false, data, output)?;
        self.code(&summaries, data, wait)
    }

    /// A run that is not waited for says nothing about how it ended.
    fn code(&self, summaries: &[RunSummary], data: &Path, wait: bool) -> anyhow::Result<std::process::ExitCode> {
        if wait {
            exit_code(summaries, summaries.iter().all(RunSummary::is_good), data)
        } else {
            Ok(std::process::ExitCode::SUCCESS)
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each is a thing of its own, and there are two callers")]
    async fn start(
        &self,
        ports: &Ports,
        start: &StartRun,
        inputs: &dyn RunInputs,
        wait: bool,
        output: &Output,
        bars: &Bars,
        stop: &mut Stop,
    ) -> anyhow::Result<RunSummary> {
        let started = start_run(ports, start, inputs).await.map_err(|error| match error {
            StartError::Inputs(inputs) => crate::exit::unusable_inputs(inputs),
            other => anyhow::Error::new(other),
        })?;
        if let Started::Existing(run) = &started
            && !run.is_closed()
        {
            mend(ports, run).await?;
        }
        let id = started.run().batch_run_id;
        let summary = if wait { self.wait(id, bars, stop).await? } else { self.summary(id).await? };
        if !output.is_json() {
            output.run_line(&summary);
        }
        Ok(summary)
    }

    async fn summary(&self, id: RunId) -> anyhow::Result<RunSummary> {
        let store = self.store.as_ref();
        let stored = store.run(id).await?.with_context(|| format!("there is no run {id}"))?;
        Ok(summary_now(store, &stored, Detail::Totals).await?)
    }

    /// Waits until a run is closed, and shows how far it is.
    async fn wait(&self, id: RunId, bars: &Bars, stop: &mut Stop) -> anyhow::Result<RunSummary> {
        let store = self.store.as_ref();
        let mut bar = None;
        loop {
            let stored = store.run(id).await?.with_context(|| format!("there is no run {id}"))?;
            if stored.run.is_closed() {
                return Ok(summary_now(store, &stored, Detail::Totals).await?);
            }
            if let Some(plan) = &stored.run.plan {
                let done: usize = store.folds(id).await?.iter().map(|fold| fold.done.len()).sum();
                let bar = bar.get_or_insert_with(|| bars.counted(stored.run.as_of, u64::from(plan.portfolios)));
                bar.set_position(done as u64);
            }
            tokio::select! {
                biased;
                () = stop.stopped() => {
                    let text = format!("interrupted: run {id} goes on in the cloud; `nightbook show {id}` says how it stands");
                    return Err(Interrupted(text).into());
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// `nightbook accept`. The watch has the pages of the night written again.
    pub(crate) async fn accept(&self, data: &Path, request: &AcceptRequest) -> anyhow::Result<NightReport> {
        let (ports, nights) = (self.ports()?, self.nights(self.table()?).await?);
        let control = self.control(&ports, BookOf::Nowhere);
        let accepted = control.accept(request, &nights).await.map_err(|error| refused(error, &door(data, None)))?;
        Ok(nights.report(self.store.as_ref(), &accepted.view, SystemClock.now()).await?)
    }

    /// `nightbook cancel`.
    pub(crate) async fn cancel(
        &self,
        data: &Path,
        run: &str,
        output: &Output,
        mut stop: Stop,
    ) -> anyhow::Result<std::process::ExitCode> {
        let ports = self.ports()?;
        let control = self.control(&ports, BookOf::Nowhere);
        let nights = self.nights(self.table()?).await?;
        let run = cancel::cancel(&control, &ports, &nights, data, run, &door(data, None)).await?;
        let summary = self.wait(run.batch_run_id, &Bars::new(false), &mut stop).await?;
        if output.is_json() {
            output.json(&summary)?;
        } else {
            output.run_line(&summary);
        }
        Ok(std::process::ExitCode::SUCCESS)
    }

    /// `nightbook publish`, with the settings of this book or those that are kept.
    pub(crate) async fn publish(
        &self,
        rebuild: bool,
        book: Option<&Book>,
        output: &Output,
    ) -> anyhow::Result<std::process::ExitCode> {
        if let Some(book) = book {
            self.keep(book).await?;
        }
        let most = MostDetail::of(environment::named("NIGHTBOOK_SITE_DETAIL").as_deref());
        let (ports, kept) = (self.ports()?, self.kept().await?.at_most(most));
        let site = named(self.aws.site())?;
        let table = named(self.aws.settings().table())?.to_owned();
        let replaces_redacted = most == MostDetail::Full;
        let options =
            SiteOptions { records: Records::Table(table), replaces_redacted, ..kept.options(ports.clock.now()) };
        let parts = SiteParts {
            store: Arc::clone(&ports.store),
            alerts: Arc::clone(&self.store) as Arc<dyn AlertBooks>,
            notes: self.notes(),
            site,
            clock: Arc::clone(&ports.clock),
            spread: Spread::Never,
        };
        let publisher = SitePublisher::new(parts, options);
        let index = format!("s3://{}/index.html", named(self.aws.settings().site_bucket())?);
        publish::write(&ports, &publisher, rebuild, &index, output).await
    }

    /// `nightbook doctor`.
    pub(crate) async fn doctor(&self) -> anyhow::Result<DoctorReport> {
        let documents = named(self.aws.documents())?;
        Ok(self.store.doctor(documents.as_ref(), self.aws.settings().results_days()).await?)
    }

    /// `nightbook deadletters list`.
    pub(crate) async fn dead_letters(&self, output: &Output) -> anyhow::Result<std::process::ExitCode> {
        let letters = named(self.aws.dead_letters())?.list().await?;
        if output.is_json() {
            output.json(&json!({ "dead_letters": letters }))?;
        } else if letters.is_empty() {
            output.line("There are no dead letters.");
        } else {
            let queue = |kind| if kind == QueueKind::Work { "work" } else { "close" };
            let rows: Vec<Vec<String>> = letters
                .iter()
                .map(|letter| {
                    let sent =
                        letter.sent_at.map_or_else(|| "-".into(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string());
                    let body: String = safe(&letter.body).chars().take(120).collect();
                    vec![queue(letter.queue).to_owned(), sent, letter.message_id.clone(), body]
                })
                .collect();
            output.table(&["queue", "sent first", "message", "what it says"], &rows);
        }
        Ok(std::process::ExitCode::SUCCESS)
    }

    /// `nightbook deadletters redrive`.
    pub(crate) async fn redrive(&self, output: &Output) -> anyhow::Result<std::process::ExitCode> {
        let sent = named(self.aws.dead_letters())?.redrive().await?;
        if output.is_json() {
            output.json(&json!({ "sent": sent }))?;
        } else {
            output.line(&format!("{} sent again.", crate::commands::run::count(sent, "message")));
        }
        Ok(std::process::ExitCode::SUCCESS)
    }
}

/// A bucket or a queue whose name is missing.
#[derive(Debug, Clone)]
struct Unnamed(MissingSetting);

impl Unnamed {
    fn told<T>(&self, doing: &str) -> Result<T, StoreError> {
        Err(StoreError::Unavailable { doing: doing.to_owned(), source: Box::new(self.0.clone()) })
    }
}

#[async_trait::async_trait]
impl Documents for Unnamed {
    async fn put_results(&self, _key: &ItemKey, _json: Vec<u8>) -> Result<ContentHash, StoreError> {
        self.told("write results")
    }

    async fn results(&self, _key: &ItemKey, _hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.told("read results")
    }

    async fn put_snapshot(&self, _bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        self.told("write pinned inputs")
    }

    async fn snapshot(&self, _hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        self.told("read pinned inputs")
    }
}

#[async_trait::async_trait]
impl WorkQueue for Unnamed {
    async fn send_work(&self, _messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        self.told("send messages")
    }

    async fn send_close(&self, _run: RunId) -> Result<(), StoreError> {
        self.told("ask for the close of a run")
    }

    async fn send_pages(&self, _run: RunId, _buckets: Vec<u32>) -> Result<(), StoreError> {
        self.told("ask for pages")
    }
}
