//! Drives a run to its close: hands messages to workers, refreshes the index, winds down after a signal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use backends::local::Message;
use domain::close_run::{Closed, close_run, publish};
use domain::ids::RunId;
use domain::ports::{RunInputs, WorkMessage};
use domain::process_portfolio::{Handled, process_portfolio};
use domain::run::{Publication, Run};
use domain::start_run::{StartRun, Started, start_run};
use domain::summary::RunSummary;
use domain::watch::mend;
use tokio::task::JoinSet;

use super::Engine;
use super::shown::catch_up;
use crate::exit::{Interrupted, NotPublished};

/// Items worked on at once for each core: most of them wait for the store's next commit, which serves all of them.
const IN_HAND_PER_CORE: usize = 24;

/// How long after a signal the items that are worked on may take to end.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long the queue may be silent before a run is looked over for something that was left lying.
const SILENCE: Duration = Duration::from_secs(5);

/// Time between two refreshes of the index while a run is going on.
const REFRESH: Duration = Duration::from_secs(60);

/// Process deaths in a row while an item was worked on, after which it is worked on alone.
const SUSPECT_DEATHS: u32 = 2;

/// How long a message that somebody else works on is put aside.
const GIVE_BACK_DELAY: Duration = Duration::from_secs(1);

impl Engine {
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
            canceled = self.canceled(start.id) => {
                let run = canceled?;
                mend(&self.ports, &run).await?;
                return self.drive(&run).await;
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
                self.publish_missing(run).await?;
                self.tell_due().await;
                let stored = self.ports.store.run(run.batch_run_id).await?;
                return stored.and_then(|stored| stored.summary).context("the run is closed and has no summary");
            }
            tracing::info!(batch_run_id = %run.batch_run_id, event = "run.continued", "going on with a run that was not finished");
            mend(&self.ports, run).await?;
        }
        self.drive(started.run()).await
    }

    /// Publishes what a closed run lacks of its pages, and everything where the site has lost files.
    ///
    /// # Errors
    /// The store. A failed publication is recorded.
    pub(crate) async fn publish_missing(&self, run: &Run) -> anyhow::Result<()> {
        let publisher = self.publisher();
        // A site that cannot be read is published again too: that says why.
        if run.wants_pages(self.ports.clock.now()) || !publisher.is_whole().await.unwrap_or_default() {
            publish(&self.ports, &publisher, run).await?;
        }
        Ok(())
    }

    /// Publishes a run again that somebody's acceptance changed, if it is closed, and tells what is due.
    ///
    /// # Errors
    /// [`NotPublished`], or the store.
    pub(crate) async fn publish_accepted(&self, run: Option<RunId>) -> anyhow::Result<()> {
        let stored = match run {
            Some(run) => self.ports.store.run(run).await?.filter(|stored| stored.run.is_closed()),
            None => None,
        };
        let publication = match stored {
            Some(stored) => Some(publish(&self.ports, &self.publisher(), &stored.run).await?),
            None => None,
        };
        self.tell_due().await;
        match publication {
            Some(Publication::Failed { error, .. }) => Err(NotPublished(error).into()),
            _ => Ok(()),
        }
    }

    /// Returns the run once somebody has canceled it.
    async fn canceled(&self, id: RunId) -> anyhow::Result<Run> {
        loop {
            self.attention.at_work.notified().await;
            if let Some(stored) = self.ports.store.run(id).await?
                && stored.run.cancelled_at.is_some()
            {
                return Ok(stored.run);
            }
        }
    }

    /// Works until this run is closed.
    ///
    /// # Errors
    /// The store, or an interruption.
    pub(crate) async fn drive(&self, run: &Run) -> anyhow::Result<RunSummary> {
        let id = run.batch_run_id;
        self.suspects_first(run).await?;
        let cores = self.cores.load(Ordering::Relaxed);
        self.runner.limit(cores);
        let in_hand = cores * IN_HAND_PER_CORE;
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
                    let settings = self.settings.current();
                    match self.publisher_by(&settings).refresh_index().await {
                        Ok(_) => self.wrote_index_by(settings),
                        Err(error) => tracing::warn!(
                            batch_run_id = %id, error = %error, event = "publication.failed",
                            "the index could not be refreshed while the run goes on"
                        ),
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
                            runner.count_ended();
                            Ok((handled == Handled::GiveBack).then_some(Message::Work(message)))
                        });
                    }
                    Ok(Some(Message::Close(closing))) => {
                        let settings = self.settings.current();
                        let publisher = self.publisher_by(&settings);
                        let closed = close_run(&self.ports, &publisher, &self.notifier(), closing).await?;
                        self.wrote_index_by(settings);
                        while telling.join_next().await.is_some() {}
                        self.tell_due().await;
                        if let Closed::Closed(summary) = closed
                            && summary.batch_run_id == id
                        {
                            self.lineage().tell(&self.store, id).await;
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
            self.runner.count_ended();
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

    /// After a signal: lets the items that are worked on end for a while, and says what remains.
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
