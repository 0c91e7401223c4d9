//! The ports of the cloud, put together from the environment. Each function asks for what its role may reach.

use std::sync::Arc;
use std::time::Duration;

use api::{Access, Api};
use app::MostDetail;
use backends::aws::{Aws, DynamoStore, Settings, connect_function};
use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use domain::ports::{AlertBooks, Clock, Ports, RunStore};
use jobs::Runner;
use lambda_runtime::Context;

use crate::close::Closer;
use crate::environment::variable;
use crate::metrics::Metrics;
use crate::run_control::{self, HistoryParts};
use crate::settings::StoredNights;
use crate::start::Starter;
use crate::watch::Watcher;
use crate::work::Worker;

/// The services, connected.
#[derive(Debug, Clone)]
pub struct Cloud {
    aws: Aws,
    store: Arc<DynamoStore>,
}

impl Cloud {
    /// Connects as the environment says; nothing is sent yet.
    ///
    /// # Errors
    /// The table of the records is not named.
    pub async fn connect() -> anyhow::Result<Self> {
        let aws = connect_function(Settings::from_variables(variable), variable);
        let store = aws.store()?;
        Ok(Self { aws, store })
    }

    /// The ports that all functions but `history` share.
    ///
    /// # Errors
    /// A variable that is missing; it is named.
    pub fn ports(&self) -> anyhow::Result<Ports> {
        let documents = self.aws.documents()?;
        Ok(Ports {
            store: Arc::clone(&self.store) as Arc<dyn RunStore>,
            comparer: Arc::new(jobs::SnapshotComparer::new(Arc::clone(&documents))),
            documents,
            queue: self.aws.queue()?,
            clock: Arc::new(SystemClock),
            sleeper: Arc::new(TokioSleeper),
            randomness: Arc::new(SystemRandomness),
        })
    }

    /// What `start-run` needs.
    ///
    /// # Errors
    /// A variable that is missing; it is named.
    pub fn starter(&self) -> anyhow::Result<Starter> {
        self.aws.settings().work_queue_url()?;
        Ok(Starter {
            ports: self.ports()?,
            source: Arc::new(self.aws.book()?),
            keeper: Arc::new(self.aws.settings_object()?),
        })
    }

    /// What `process-portfolio` needs.
    ///
    /// # Errors
    /// A variable that is missing; it is named.
    pub fn worker(&self) -> anyhow::Result<Worker> {
        self.aws.settings().close_queue_url()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Worker::new(self.ports()?, Arc::new(Runner::new(self.aws.documents()?, cores))))
    }

    /// What `close-run` needs.
    ///
    /// # Errors
    /// A variable that is missing; it is named.
    pub fn closer(&self) -> anyhow::Result<Closer> {
        let bucket = self.aws.settings().site_bucket()?;
        Ok(Closer {
            ports: self.ports()?,
            books: Arc::clone(&self.store) as Arc<dyn AlertBooks>,
            site: self.aws.site()?,
            keeper: Arc::new(self.aws.settings_object()?),
            channels: vec![self.aws.topic()?],
            events: Some(self.aws.events()?),
            most: MostDetail::of(variable("NIGHTBOOK_SITE_DETAIL").as_deref()),
            spread_from: spread_from()?,
            base: format!("s3://{bucket}"),
            records: site::Records::Table(self.aws.settings().table()?.to_owned()),
            notes: self.aws.notes()?,
            metrics: metrics(),
        })
    }

    /// What `watch` needs.
    ///
    /// # Errors
    /// A variable that is missing; it is named.
    pub fn watcher(&self) -> anyhow::Result<Watcher> {
        self.aws.settings().work_queue_url()?;
        Ok(Watcher {
            ports: self.ports()?,
            books: Arc::clone(&self.store) as Arc<dyn AlertBooks>,
            keeper: Arc::new(self.aws.settings_object()?),
            channels: vec![self.aws.topic()?],
            start: Arc::new(self.aws.start_function()?),
            metrics: metrics(),
        })
    }

    /// What `history` answers from.
    ///
    /// # Errors
    /// A variable that is missing; it is named.
    pub fn api(&self) -> anyhow::Result<Api> {
        let store = Arc::clone(&self.store) as Arc<dyn RunStore>;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let start = Arc::new(self.aws.start_function()?);
        let control = run_control::control(HistoryParts {
            store: Arc::clone(&store),
            notes: self.aws.notes()?,
            alerts: Arc::clone(&self.store) as Arc<dyn AlertBooks>,
            clock: Arc::clone(&clock),
            randomness: Arc::new(SystemRandomness),
            start,
        });
        let api = Api::new(store, clock, Access::Checked);
        let table = self.aws.settings().table()?.to_owned();
        let nights = StoredNights { file: Arc::new(self.aws.settings_object()?), table };
        Ok(api.with_notes(self.aws.notes()?).with_control(Arc::new(control)).with_nights(Arc::new(nights)))
    }
}

/// Portfolios of a run from which on its pages are written by messages.
const SPREAD_FROM: u32 = 10_000;

fn spread_from() -> anyhow::Result<u32> {
    let name = "NIGHTBOOK_SPREAD_FROM";
    let Some(text) = variable(name) else { return Ok(SPREAD_FROM) };
    text.parse().map_err(|_| anyhow::anyhow!("{name} is {text:?}: give it a number of portfolios, or leave it out"))
}

fn metrics() -> Metrics {
    Metrics::new(variable("NIGHTBOOK_SERVICE"))
}

/// What is left of an invocation.
#[must_use]
pub fn remaining(context: &Context) -> Duration {
    let now = u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or(0);
    Duration::from_millis(context.deadline.saturating_sub(now))
}
