//! Runs the jobs of portfolios: the port of the use cases, on threads for blocking work.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use book::AddedJob;
use domain::ids::{ContentHash, JobName, PortfolioId, RunId};
use domain::job_context::JobContext;
use domain::job_program::JobPrograms;
use domain::ports::{Documents, JobRunner, PortfolioJobs, StoreError};
use domain::record::{JobError, JobOutput};
use domain::run::Run;
use domain::words::ErrorCategory;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::program::{Answer, AnswerError, question};
use crate::registry::{Entry, Input, Outputs};
use crate::shared::Shared;
use crate::snapshot::{PinnedPortfolio, Snapshot, SnapshotError};

/// Runs whose shared part is kept.
const RUNS_KEPT: usize = 2;

/// Why a portfolio cannot be opened, or a job not be run.
#[derive(Debug, thiserror::Error)]
enum RunnerError {
    #[error("the run is not sealed, so it has no inputs yet: wait until it is")]
    NotSealed,
    #[error("portfolio {0} is not in the pinned inputs of the run")]
    NoPortfolio(PortfolioId),
    #[error("{0} is a program of your own, and this process cannot call any")]
    NoPrograms(JobName),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(
        "there is no job {0} in this release: take it out of the job list in [run], or use the release that has it"
    )]
    NoJob(JobName),
    #[error("portfolio {portfolio} has an unusable row: {first}{}; correct it and run again", and_more(*.more))]
    Rows { portfolio: PortfolioId, first: String, more: usize },
    #[error("the pinned inputs of the run cannot be used")]
    Snapshot(#[from] SnapshotError),
    #[error("the results cannot be written as a document")]
    Document(#[from] serde_json::Error),
    #[error("the job panicked: {0}")]
    Panic(String),
    #[error("the worker was told to stop")]
    Stopped,
}

impl RunnerError {
    fn category(&self) -> ErrorCategory {
        match self {
            Self::NotSealed | Self::Stopped => ErrorCategory::Transient,
            Self::NoPortfolio(_)
            | Self::NoJob(_)
            | Self::NoPrograms(_)
            | Self::Answer(_)
            | Self::Rows { .. }
            | Self::Snapshot(_) => ErrorCategory::Permanent,
            Self::Panic(_) | Self::Document(_) => ErrorCategory::Internal,
        }
    }
}

impl From<RunnerError> for JobError {
    fn from(error: RunnerError) -> Self {
        Self::from_error(error.category(), &error)
    }
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more)") }
}

/// An error of the store as an error of a job: what cannot be reached may come back, what is damaged will not.
pub(crate) fn store_error(error: &StoreError) -> JobError {
    let category = match error {
        StoreError::Unavailable { .. } => ErrorCategory::Transient,
        StoreError::Damaged { .. } | StoreError::NotFound { .. } | StoreError::TooNew(_) => ErrorCategory::Permanent,
    };
    JobError::from_error(category, error)
}

type Prepared = Arc<OnceCell<Arc<Shared>>>;

/// Runs jobs on the pinned inputs of runs.
pub struct Runner {
    documents: Arc<dyn Documents>,
    programs: Option<Arc<dyn JobPrograms>>,
    /// How many jobs may work at once, and their permits.
    permits: Mutex<(usize, Arc<Semaphore>)>,
    recent: Mutex<VecDeque<(ContentHash, Prepared)>>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("permits", &self.permits().available_permits()).finish_non_exhaustive()
    }
}

impl Runner {
    /// A runner that reads pinned inputs from here and works on at most `cpu` jobs at once. It needs a tokio runtime.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>, cpu: usize) -> Self {
        let permits = Mutex::new((cpu.max(1), Arc::new(Semaphore::new(cpu.max(1)))));
        Self { documents, programs: None, permits, recent: Mutex::default() }
    }

    /// Changes how many jobs may work at once (at least 1), for portfolios that are opened from now on.
    pub fn limit(&self, cpu: usize) {
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        if permits.0 != cpu.max(1) {
            *permits = (cpu.max(1), Arc::new(Semaphore::new(cpu.max(1))));
        }
    }

    fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits.lock().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// As this, and it calls programs of the user's own so.
    #[must_use]
    pub fn with_programs(self, programs: Arc<dyn JobPrograms>) -> Self {
        Self { programs: Some(programs), ..self }
    }

    fn prepared(&self, hash: &ContentHash) -> Prepared {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = recent.iter().find(|(known, _)| known == hash) {
            return Arc::clone(found);
        }
        let cell = Prepared::default();
        recent.push_back((hash.clone(), Arc::clone(&cell)));
        if recent.len() > RUNS_KEPT {
            recent.pop_front();
        }
        cell
    }

    async fn shared(&self, hash: &ContentHash) -> Result<Arc<Shared>, JobError> {
        let cell = self.prepared(hash);
        let prepare = || async {
            let bytes = self.documents.snapshot(hash).await.map_err(|error| store_error(&error))?;
            let shared = blocking(&self.permits(), move || Snapshot::decode(&bytes).map(Shared::new)).await?;
            Ok::<_, JobError>(Arc::new(shared.map_err(RunnerError::Snapshot)?))
        };
        cell.get_or_try_init(prepare).await.map(Arc::clone)
    }
}

/// A core to work on. The time until there is one does not count toward the limit of the job.
async fn turn<'a>(permits: &'a Semaphore, context: &JobContext) -> Result<SemaphorePermit<'a>, RunnerError> {
    if let Ok(permit) = permits.try_acquire() {
        return Ok(permit);
    }
    context.wait_begins();
    let since = Instant::now();
    let permit = permits.acquire().await.map_err(|_| RunnerError::Stopped)?;
    context.wait_ended(since.elapsed());
    Ok(permit)
}

/// As [`blocking`], for a job.
async fn blocking_job<T: Send + 'static>(
    permits: &Semaphore,
    context: &JobContext,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunnerError> {
    let _permit = turn(permits, context).await?;
    on_a_thread(work).await
}

/// Work on a thread of its own. The permit belongs to the future: who drops it lets others work, even if the thread
/// does not listen.
async fn blocking<T: Send + 'static>(
    permits: &Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunnerError> {
    let _permit = permits.acquire().await.map_err(|_| RunnerError::Stopped)?;
    on_a_thread(work).await
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RunnerError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => RunnerError::Panic(message_of(panic.as_ref())),
        Err(_) => RunnerError::Stopped,
    })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[async_trait]
impl JobRunner for Runner {
    async fn open(&self, run: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError> {
        let plan = run.plan.as_ref().ok_or(RunnerError::NotSealed)?;
        let shared = self.shared(&plan.snapshot).await?;
        let found = shared.snapshot.portfolios.binary_search_by(|known| known.id.cmp(portfolio));
        let place = found.map_err(|_| RunnerError::NoPortfolio(portfolio.clone()))?;
        let first = plan.jobs.first().map(|job| job.name.clone());
        let (permits, programs) = (self.permits(), self.programs.clone());
        let run = run.batch_run_id;
        Ok(Arc::new(Session { run, shared, place, first, permits, programs, outputs: Mutex::default() }))
    }
}

/// The jobs of one portfolio.
struct Session {
    run: RunId,
    shared: Arc<Shared>,
    place: usize,
    first: Option<JobName>,
    permits: Arc<Semaphore>,
    programs: Option<Arc<dyn JobPrograms>>,
    outputs: Mutex<Outputs>,
}

impl Session {
    fn portfolio(&self) -> &PinnedPortfolio {
        &self.shared.snapshot.portfolios[self.place]
    }

    fn outputs(&self) -> Outputs {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A portfolio with an unusable row fails at its first job: its figures would be those of another portfolio.
    fn check_rows(&self) -> Result<(), RunnerError> {
        let portfolio = self.portfolio();
        let Some((first, rest)) = portfolio.issues.split_first() else { return Ok(()) };
        Err(RunnerError::Rows { portfolio: portfolio.id.clone(), first: first.clone(), more: rest.len() })
    }

    async fn run_entry(&self, entry: &'static Entry, context: JobContext) -> Result<JobOutput, JobError> {
        let (shared, place, earlier) = (Arc::clone(&self.shared), self.place, self.outputs());
        let waits = context.clone();
        let work = move || {
            let portfolio = &shared.snapshot.portfolios[place];
            (entry.run)(&Input { portfolio, shared: &shared, earlier: &earlier, context: &context })
        };
        let (output, brief) = blocking_job(&self.permits, &waits, work).await??;
        // Only here, by the future that somebody still waits for: the output of a job that was given up goes nowhere.
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).add(output);
        Ok(brief)
    }
}

impl Session {
    /// Runs a job that is a program of the user's own.
    async fn run_program(&self, job: &AddedJob, context: JobContext) -> Result<JobOutput, JobError> {
        let programs = self.programs.as_ref().ok_or_else(|| RunnerError::NoPrograms(job.name.clone()))?;
        let (shared, place, run, earlier, asked) =
            (Arc::clone(&self.shared), self.place, self.run, self.outputs(), job.clone());
        let input = move || question(run, &asked, &shared.snapshot, &shared.snapshot.portfolios[place], &earlier);
        let input = blocking_job(&self.permits, &context, input).await?.map_err(RunnerError::Document)?;
        let answer = {
            let _permit = turn(&self.permits, &context).await?;
            programs.call(&job.program, input, &context).await?
        };
        let Answer { result, output } = Answer::read(&answer).map_err(RunnerError::Answer)??;
        if let Some(result) = result {
            let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
            outputs.add_result(job.name.clone(), result);
        }
        Ok(output)
    }
}

#[async_trait]
impl PortfolioJobs for Session {
    async fn run(&self, job: &JobName, context: JobContext) -> Result<JobOutput, JobError> {
        if self.first.as_ref() == Some(job) {
            self.check_rows()?;
        }
        if let Some(entry) = Entry::find(job.as_str()) {
            return self.run_entry(entry, context).await;
        }
        let added = self.shared.snapshot.settings.added_jobs.iter().find(|added| added.name == *job);
        let added = added.ok_or_else(|| RunnerError::NoJob(job.clone()))?;
        self.run_program(added, context).await
    }

    fn results(&self) -> Result<Option<Vec<u8>>, JobError> {
        Ok(self.outputs().document().map_err(RunnerError::Document)?)
    }

    fn known_ids(&self) -> Vec<String> {
        let (portfolio, snapshot) = (self.portfolio(), &self.shared.snapshot);
        let mut known = vec![portfolio.id.to_string(), portfolio.name.clone()];
        for holding in &portfolio.holdings {
            let instrument = &snapshot.instruments[holding.instrument];
            known.push(instrument.symbol.clone());
            known.extend(instrument.option.as_ref().map(|terms| terms.underlying.clone()));
        }
        known.sort_unstable();
        known.dedup();
        known
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use book::{Book, Prices, Settings};
    use chrono::{DateTime, Utc};
    use domain::ports::Clock;
    use domain::words::JobType;

    use super::*;
    use crate::registry::{About, Job};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }
    }

    struct Panics;
    struct Deaf;

    static LET_GO: AtomicBool = AtomicBool::new(false);

    impl Job for Panics {
        const ABOUT: &'static About = &About {
            name: "panics",
            job_type: JobType::Valuation,
            critical: false,
            needs: &[],
            run_level: false,
            section: Some("panics"),
        };
        type Output = u8;
        fn run(_input: &Input<'_>) -> Result<(u8, JobOutput), JobError> {
            panic!("index {} out of {}", 7, 3)
        }
    }

    impl Job for Deaf {
        const ABOUT: &'static About = &About {
            name: "deaf",
            job_type: JobType::Valuation,
            critical: false,
            needs: &[],
            run_level: false,
            section: Some("deaf"),
        };
        type Output = u8;
        fn run(_input: &Input<'_>) -> Result<(u8, JobOutput), JobError> {
            while !LET_GO.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Ok((1, JobOutput::default()))
        }
    }

    fn session(permits: usize) -> Session {
        let portfolio = PortfolioId::new("p").unwrap();
        let pinned = PinnedPortfolio {
            id: portfolio,
            name: "P".into(),
            currency: "USD".into(),
            equity: Some(1.0),
            equity_on: None,
            flow: 0.0,
            holdings: Vec::new(),
            exited: Vec::new(),
            issues: Vec::new(),
            notes: Vec::new(),
        };
        let book = Book {
            settings: Settings::default(),
            portfolios: Vec::new(),
            prices: Prices::default(),
            content_hash: ContentHash::of(b""),
            files: book::FileFacts::default(),
        };
        let mut snapshot = Snapshot::of(&book, "2024-06-28".parse().unwrap(), &[]);
        snapshot.portfolios.push(pinned);
        Session {
            run: RunId(uuid::Uuid::nil()),
            programs: None,
            shared: Arc::new(Shared::new(snapshot)),
            place: 0,
            first: None,
            permits: Arc::new(Semaphore::new(permits)),
            outputs: Mutex::default(),
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        static ENTRY: Entry = Entry::of::<Panics>();
        let session = session(1);
        let error = session.run_entry(&ENTRY, JobContext::new(Arc::new(Still))).await.unwrap_err();
        assert_eq!(
            (error.category, &error.message[..]),
            (ErrorCategory::Internal, "the job panicked: index 7 out of 3")
        );
        assert_eq!(session.permits.available_permits(), 1);
        assert_eq!(session.results().unwrap(), None);
    }

    #[tokio::test]
    async fn who_gives_up_a_job_has_its_place_back_and_never_its_output() {
        static ENTRY: Entry = Entry::of::<Deaf>();
        let session = session(1);
        let given_up = session.run_entry(&ENTRY, JobContext::new(Arc::new(Still)));
        assert!(tokio::time::timeout(Duration::from_millis(20), given_up).await.is_err());
        assert_eq!(session.permits.available_permits(), 1, "the thread still runs, others may work");
        LET_GO.store(true, Ordering::SeqCst);
        assert_eq!(session.results().unwrap(), None);
        session.run_entry(&ENTRY, JobContext::new(Arc::new(Still))).await.unwrap();
        assert_eq!(session.results().unwrap().unwrap(), br#"{"deaf":1}"#);
    }
}
