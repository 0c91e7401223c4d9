//! A night of 1,000 portfolios through the use cases, counted and weighed: what it writes and reads, and what it leaves.

use std::sync::Mutex;

use async_trait::async_trait;
use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use domain::close_run::{Closed, close_run};
use domain::ids::JobName;
use domain::job_context::JobContext;
use domain::night::{
    Earlier, Failure, HeadFacts, JobResult, Member, Night, NightBasis, NightBefore, NightHead, NightJob, NightMembers,
    NightPlan, NightRun, NightRunState, PinnedNight, PortfolioRun as NightItem,
};
use domain::ports::{
    JobRunner, Keep, NightQuery, Nights as _, Notifier, PinnedInputs, PortfolioJobs, Ports, PublishError, Publisher,
    RunInputs, WorkMessage, WorkQueue,
};
use domain::process_portfolio::{Handled, process_portfolio};
use domain::record::{JobError, JobOutput};
use domain::start_run::{StartRun, Started, start_run};
use domain::summary::RunSummary;
use domain::words::ErrorCategory;
use futures::StreamExt as _;

use super::*;

const PORTFOLIOS: u32 = 1_000;

/// Workers at the same time.
const WORKERS: usize = 16;

/// Write units of a portfolio at most.
const OF_A_PORTFOLIO: f64 = 5.0;

/// Write units of a run beside those of its portfolios at most.
const OF_A_RUN: f64 = 20.0 + 6.0 * (PORTFOLIOS / 100) as f64;

/// Write units of the head of a night and of its documents for each portfolio at most, over the whole night.
const OF_A_NIGHT: f64 = 0.1;

/// What a plan of so many portfolios seals for its night.
fn members(portfolios: u32) -> NightMembers {
    let before = |value| Some(Earlier { as_of: at(0).date_naive(), value });
    let member = |n: u32| Member {
        inputs: Some(ContentHash::of(format!("inputs of {n}").as_bytes())),
        rows: 75,
        has_unusable_rows: false,
        equity: Some(1e6 + f64::from(n)),
        equity_on: None,
        rows_before: Some(Earlier { as_of: at(0).date_naive(), value: 75 }),
        equity_before: before(1e6 - f64::from(n)),
    };
    let open: BTreeMap<PortfolioId, Member> = (0..portfolios).map(|n| (portfolio(n).id, member(n))).collect();
    NightMembers { expected_before: open.keys().cloned().collect(), open, ..NightMembers::default() }
}

/// A night of so many portfolios, of which one in ten has a job that failed, as its document and its head. With
/// [`Keep::AsRecords`] its run is open.
pub(super) fn a_night(portfolios: u32, keep: Keep) -> (Vec<u8>, NightHead) {
    let run = a_run(1);
    let plan = a_plan(portfolios);
    let sealed = members(portfolios);
    let result = |n: u32, at: usize, job: &JobName| {
        let failed = n.is_multiple_of(10) && at == 0;
        let message = format!("no close of {} is in the book", portfolio(n).id);
        let failure = Failure { category: ErrorCategory::Permanent, masked: "no close is in the book".into(), message };
        JobResult {
            job: job.clone(),
            status: if failed { JobStatus::Failed } else { JobStatus::Success },
            failure: failed.then_some(failure),
            skipped_because: None,
        }
    };
    let ended = |n: u32| NightItem {
        ended_on_its_own: true,
        jobs: plan.jobs.iter().enumerate().map(|(at, job)| result(n, at, &job.name)).collect(),
        figures: Default::default(),
    };
    let is_open = keep == Keep::AsRecords;
    let night_run = NightRun {
        id: run.batch_run_id,
        started_at: run.started_at,
        trigger: run.trigger,
        rerun_of: None,
        filter: Vec::new(),
        state: if is_open { NightRunState::Open } else { NightRunState::Ended { at: at(100), canceled: false } },
        plan: Some(NightPlan {
            open: sealed.open.keys().cloned().collect(),
            closures: BTreeMap::new(),
            expected_before: sealed.expected_before,
            jobs: plan.jobs.iter().map(|job| NightJob { name: job.name.clone(), job_type: job.job_type }).collect(),
            inputs: ContentHash::of(b"inputs"),
            newest_close: Some(run.as_of),
            nightbook_version: "1.0.0".into(),
            restatement_tolerance: 1e-9,
        }),
        portfolios: if is_open {
            BTreeMap::new()
        } else {
            (0..portfolios).map(|n| (portfolio(n).id, ended(n))).collect()
        },
        controls: Vec::new(),
    };
    let night = Night::of(&run.schedule, run.as_of, &[night_run], &[]).unwrap();
    let document = serde_json::to_vec(&night).unwrap();
    let facts = HeadFacts {
        version: 0,
        schedule: run.schedule,
        full_run: Some(run.batch_run_id),
        acceptances: Vec::new(),
        basis: NightBasis::Plans,
        document: ContentHash::of(&document),
        folded_at: at(100),
    };
    (document, NightHead::of(&night, facts))
}

/// The head and the documents of a night cost as much a portfolio with 10,000 portfolios as with 1,000, and the head is
/// small.
#[tokio::test]
async fn a_night_costs_the_same_for_each_portfolio() {
    let mut costs = Vec::new();
    for portfolios in [1_000, 10_000] {
        let records = Records::new().await;
        let store = records.store();
        let sealed = serde_json::to_vec(&members(portfolios)).unwrap();
        store.put_night_document(sealed, Keep::AsRecords).await.unwrap();
        for (version, keep) in [(0, Keep::AsRecords), (1, Keep::UntilReplaced)] {
            let (document, head) = a_night(portfolios, keep);
            assert_eq!(store.put_night_document(document, keep).await.unwrap(), head.document);
            assert!(store.put_night(&NightHead { version, ..head }).await.unwrap());
        }
        let (written, read): (Vec<Call>, Vec<Call>) = records.tap.calls().into_iter().partition(is_write);
        let (written, read) = (units(&written), units(&read));
        let series = a_run(1).schedule;
        let head = store.nights(&NightQuery { series, from: None, to: None, limit: 0 }).await.unwrap().remove(0);
        let head_bytes = serde_json::to_vec(&head).unwrap().len();
        let listing = units(&records.tap.calls());
        store.night_document(&head.document).await.unwrap().unwrap();
        let reading = units(&records.tap.calls());
        println!(
            "night of {portfolios}: {written} units written, {read} read, {listing} for the head, {reading} for the \
             document; head of {head_bytes} bytes"
        );
        assert!(head_bytes <= domain::night::head::MOST_BYTES, "{head_bytes} bytes");
        assert!(listing <= 5.0, "{listing} read units for a head");
        assert!(written / f64::from(portfolios) <= OF_A_NIGHT, "{written} write units for {portfolios} portfolios");
        costs.push((written + read + reading) / f64::from(portfolios));
    }
    assert!(costs[1] <= 1.1 * costs[0], "units a portfolio: {costs:?}");
}

struct Inputs;

#[async_trait]
impl RunInputs for Inputs {
    async fn pin(&self, _: chrono::NaiveDate, _: &[PortfolioId], _: &NightBefore) -> Result<PinnedInputs, JobError> {
        let SealedPlan { jobs, retry, book, market_data, .. } = a_plan(PORTFOLIOS);
        let portfolios = (0..PORTFOLIOS).map(portfolio).collect();
        let snapshot = b"snapshot".to_vec();
        let night = Some(PinnedNight {
            members: members(PORTFOLIOS),
            inputs: ContentHash::of(b"inputs"),
            newest_close: None,
            restatement_tolerance: 1e-9,
        });
        Ok(PinnedInputs { night, book, portfolios, jobs, retry, deadline_minutes: 120, snapshot, market_data })
    }
}

/// Jobs whose outputs are those of the sample book.
struct Jobs(Vec<JobRecord>);

#[async_trait]
impl JobRunner for Jobs {
    async fn open(&self, run: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError> {
        let n = portfolio.as_str().rsplit('-').next().unwrap().parse().unwrap();
        Ok(Arc::new(Self(records_of(run.batch_run_id, n))))
    }
}

#[async_trait]
impl PortfolioJobs for Jobs {
    async fn run(&self, job: &JobName, _: JobContext) -> Result<JobOutput, JobError> {
        let record = self.0.iter().find(|record| record.job_name == *job).unwrap();
        let (quality, metadata) = (record.quality.clone(), record.job_metadata.clone());
        Ok(JobOutput { records_processed: record.records_processed, quality, metadata })
    }

    fn results(&self) -> Result<Option<Vec<u8>>, JobError> {
        Ok(Some(b"{}".to_vec()))
    }

    fn known_ids(&self) -> Vec<String> {
        Vec::new()
    }
}

#[derive(Default)]
struct Waiting {
    work: Mutex<Vec<WorkMessage>>,
    closes: Mutex<Vec<RunId>>,
}

#[async_trait]
impl WorkQueue for Waiting {
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        self.work.lock().unwrap().extend(messages);
        Ok(())
    }

    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        self.closes.lock().unwrap().push(run);
        Ok(())
    }

    async fn send_pages(&self, _run: RunId, _buckets: Vec<u32>) -> Result<(), StoreError> {
        panic!("nobody spreads this run")
    }
}

/// Publishes nothing, and tells nobody.
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

fn is_write(call: &Call) -> bool {
    ["PutItem", "UpdateItem", "DeleteItem"].contains(&call.operation.as_str())
}

/// Whether a write is one of those that each portfolio costs: its work item, and its count.
fn is_of_a_portfolio(call: &Call) -> bool {
    let key = if call.operation == "PutItem" { &call.body["Item"] } else { &call.body["Key"] };
    key["pk"]["S"].as_str().unwrap().starts_with("PF#") || key["sk"]["S"] == "FOLD"
}

fn units<'a>(calls: impl IntoIterator<Item = &'a Call>) -> f64 {
    calls.into_iter().map(|call| call.units).sum()
}

/// Whether a write is one of the night: its head, its documents, its series.
fn is_of_the_night(call: &Call) -> bool {
    let key = if call.operation == "PutItem" { &call.body["Item"] } else { &call.body["Key"] };
    key["pk"]["S"].as_str().unwrap().starts_with("NIGHT")
}

/// What an item is, by its key.
fn kind(item: &std::collections::HashMap<String, AttributeValue>) -> String {
    let (pk, sk) = (item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
    let first = |key: &str| key.split('#').next().unwrap_or_default().to_owned();
    match first(pk).as_str() {
        "PF" => "work item".to_owned(),
        "RUN" => first(sk),
        "RUNS" if pk.contains('#') => "RUNS#month".to_owned(),
        other => other.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one night, step by step, with what each step may cost")]
async fn a_night_of_a_thousand_portfolios_keeps_its_budget() {
    let records = Records::new().await;
    let queue = Arc::new(Waiting::default());
    let ports = Ports {
        comparer: Arc::new(domain::ports::NoComparison),
        store: records.store(),
        documents: Arc::new(backends::memory::MemoryStore::default()),
        queue: Arc::clone(&queue) as Arc<dyn WorkQueue>,
        clock: Arc::new(SystemClock),
        sleeper: Arc::new(TokioSleeper),
        randomness: Arc::new(SystemRandomness),
    };
    let run = a_run(1);
    let start = StartRun {
        id: run.batch_run_id,
        night_series: run.schedule.clone(),
        schedule: run.schedule,
        trigger: run.trigger,
        as_of: run.as_of,
        scheduled_for: run.scheduled_for,
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    assert!(matches!(start_run(&ports, &start, &Inputs).await.unwrap(), Started::Sealed(_)));
    let mut calls = records.tap.calls();
    let messages = std::mem::take(&mut *queue.work.lock().unwrap());
    assert_eq!(messages.len(), PORTFOLIOS as usize);
    // As the functions do, of which each has a store of its own.
    let workers: Vec<Ports> = (0..WORKERS).map(|_| Ports { store: records.store(), ..ports.clone() }).collect();
    let work = |(n, message): (usize, WorkMessage)| {
        let ports = &workers[n % WORKERS];
        async move { process_portfolio(ports, &Jobs(Vec::new()), &message).await.unwrap() }
    };
    let mut handled = futures::stream::iter(messages.into_iter().enumerate()).map(work).buffer_unordered(WORKERS);
    while let Some(handled) = handled.next().await {
        assert_eq!(handled, Handled::Acknowledge);
    }
    drop(handled);
    calls.extend(records.tap.calls());
    assert!(!queue.closes.lock().unwrap().is_empty(), "nobody asked for the close");
    let closer = Ports { store: records.store(), ..ports.clone() };
    let Closed::Closed(summary) = close_run(&closer, &Nobody, &Nobody, start.id).await.unwrap() else {
        panic!("it is not closed");
    };
    assert_eq!(summary.successful_jobs, u64::from(PORTFOLIOS) * JOBS as u64);
    let closing = records.tap.calls();
    let closing_reads = units(closing.iter().filter(|call| !is_write(call)));
    calls.extend(closing);

    let portfolios = f64::from(PORTFOLIOS);
    let (written, read): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|call| is_write(call));
    let (of_portfolios, of_run): (Vec<&Call>, Vec<&Call>) =
        written.into_iter().partition(|call| is_of_a_portfolio(call));
    let (of_night, of_run): (Vec<&Call>, Vec<&Call>) = of_run.into_iter().partition(|call| is_of_the_night(call));
    let (of_portfolios, of_night, of_run) =
        (units(of_portfolios) / portfolios, units(of_night) / portfolios, units(of_run));
    let items = records.items().await;
    let largest = items.iter().max_by_key(|item| size(item)).unwrap();
    let mut kinds: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for item in &items {
        kinds.entry(kind(item)).or_default().push(size(item));
    }
    let work_items = &kinds["work item"];
    let average = work_items.iter().sum::<usize>() as f64 / work_items.len() as f64;
    println!("write units a portfolio: {of_portfolios:.3} of {OF_A_PORTFOLIO}");
    println!("write units of the night a portfolio: {of_night:.3} of {OF_A_NIGHT}");
    println!("write units of the run beside them: {of_run} of {OF_A_RUN}");
    println!(
        "read units a portfolio: {:.3}, of which closing {:.3}",
        units(read) / portfolios,
        closing_reads / portfolios
    );
    println!("largest item: {} bytes, {}", size(largest), kind(largest));
    println!("a portfolio's item: {average:.0} bytes on average");
    for (kind, sizes) in &kinds {
        println!("{kind}: {} items, {} bytes", sizes.len(), sizes.iter().sum::<usize>());
    }
    assert!((2.9..=OF_A_PORTFOLIO).contains(&of_portfolios), "{of_portfolios} write units a portfolio");
    assert!(of_night > 0.0 && of_night <= OF_A_NIGHT, "{of_night} write units of the night a portfolio");
    let everything = of_portfolios + of_night + of_run / portfolios;
    assert!(everything <= OF_A_PORTFOLIO, "{everything} write units a portfolio for everything");
    assert!((20.0..=OF_A_RUN).contains(&of_run), "{of_run} write units of the run");
    assert!((1.0..=1.5).contains(&(closing_reads / portfolios)), "{closing_reads} read units for the close");
    assert!(work_items.len() == PORTFOLIOS as usize && work_items.iter().all(|bytes| *bytes <= 2_048));
    assert!(size(largest) < 64 << 10, "the {} takes {} bytes", kind(largest), size(largest));
    let of_each_bucket = kinds["FOLD"].len() + kinds["MAN"].len();
    assert_eq!(of_each_bucket, 2 * PORTFOLIOS as usize / 100);
    assert!(items.len() < PORTFOLIOS as usize + of_each_bucket + 30, "{} items", items.len());

    records.tap.calls();
    let began = std::time::Instant::now();
    let report = records.store().doctor(ports.documents.as_ref(), 30).await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let calls = records.tap.calls();
    println!("doctor: {} requests, {} read units, {seconds:.2} s", calls.len(), units(&calls));
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(calls.len() < 100, "doctor asks {} times", calls.len());
}
