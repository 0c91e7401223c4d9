//! Alerts: applies the night of each ended run to the alert book, and delivers the messages in it.
//!
//! The decision about a night is written before a message is delivered, so that a second caller finds the decision. Each
//! message is claimed for each channel separately: a channel that fails neither delays another one nor repeats a message.

mod closing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::future::{Either, join_all, select};

use crate::alert_book::{
    AlertBook, DeliveryEvent, DeliveryState, NightFacts, Note, decide, decide_overdue, decide_restated, notes,
};
use crate::alert_message::AlertMessage;
use crate::alert_rules::{AlertRules, DeliveryMode, Severity};
use crate::baseline::LOOK_BACK;
use crate::ids::{ChannelName, JobName, Owner, ScheduleName};
use crate::night::dates::{latest_possible, missed_around};
use crate::night::history::is_judged;
use crate::night::next_step::CommandTarget;
use crate::night::reading::night_of_head;
use crate::night::{Night, Verdict};
use crate::ports::{
    AlertBooks, AlertChannel, ChannelError, Clock, NightQuery, Notifier, Ports, Randomness, RunStore, Sleeper,
    StoreError,
};
use crate::record::JobError;
use crate::redact::redact;
use crate::summary::{RunSummary, summarise};
use crate::words::{ErrorCategory, RunStatus};

/// How long whoever delivers a message may keep it.
const LEASE: TimeDelta = TimeDelta::seconds(150);

/// How long a channel may take for a message.
const DELIVERY_LIMIT: Duration = Duration::from_secs(120);

/// Tries to write a book that others write too.
const MOST_TRIES: usize = 100;

/// Later nights that are read to see whether a cause of an older night is over.
const MOST_LATER: usize = 5;

/// Heads of nights that are read beside a night.
const MOST_HEADS: usize = 100;

/// How far back missed slots are searched that belong to the one that is reported.
const MISSED_DAYS: TimeDelta = TimeDelta::days(60);

/// Tells people about runs, by the rules.
#[derive(Clone)]
pub struct Alerting {
    /// The alert books.
    pub books: Arc<dyn AlertBooks>,
    /// The records.
    pub store: Arc<dyn RunStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Waiting.
    pub sleeper: Arc<dyn Sleeper>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
    /// When people are told.
    pub rules: AlertRules,
    /// How.
    pub channels: Vec<Arc<dyn AlertChannel>>,
    /// Address of the site.
    pub base: String,
    /// Where the commands in the messages point.
    pub target: CommandTarget,
    /// The night series of the settings in force: incidents of others are closed. `None` where the settings are not known;
    /// then none is.
    pub series: Option<ScheduleName>,
}

impl std::fmt::Debug for Alerting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alerting").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Changes a book, however many others do at the same time; `change` may be called more than once, and says whether it
/// changed anything.
///
/// # Errors
/// The store.
pub async fn change_book<T: Send>(
    books: &dyn AlertBooks,
    schedule: &ScheduleName,
    mut change: impl FnMut(&mut AlertBook) -> Option<T> + Send,
) -> Result<Option<T>, StoreError> {
    for _ in 0..MOST_TRIES {
        let mut book = books.alert_book(schedule).await?;
        let before = book.clone();
        let said = change(&mut book);
        if book == before || books.put_alert_book(&book).await? {
            return Ok(said);
        }
    }
    Err(StoreError::Unavailable {
        doing: format!("write the alert book of {schedule}"),
        source: "others wrote it again and again".into(),
    })
}

/// Takes over the deliveries of senders that are known to be dead.
///
/// # Errors
/// The store.
pub async fn take_over(books: &dyn AlertBooks, mode: DeliveryMode, now: DateTime<Utc>) -> Result<(), StoreError> {
    for schedule in books.alert_schedules().await? {
        change_book(books, &schedule, |book| {
            book.take_over(mode, now);
            Some(())
        })
        .await?;
    }
    Ok(())
}

fn told(error: &StoreError) -> JobError {
    JobError::from_error(ErrorCategory::Transient, error)
}

impl Alerting {
    /// The alerts over these ports.
    #[must_use]
    pub fn new(
        ports: &Ports,
        books: Arc<dyn AlertBooks>,
        rules: AlertRules,
        channels: Vec<Arc<dyn AlertChannel>>,
        base: String,
        target: CommandTarget,
        series: Option<ScheduleName>,
    ) -> Self {
        Self {
            books,
            store: Arc::clone(&ports.store),
            clock: Arc::clone(&ports.clock),
            sleeper: Arc::clone(&ports.sleeper),
            randomness: Arc::clone(&ports.randomness),
            rules,
            channels,
            base,
            target,
            series,
        }
    }

    /// What has to be known of the other nights of a series: the newest later ones, and the dates with a missed slot that
    /// no run separates from this one.
    async fn around(&self, night: &Night) -> Result<(Vec<Night>, Vec<NaiveDate>), StoreError> {
        let query = NightQuery {
            series: night.night_series.clone(),
            from: night.as_of.checked_sub_signed(MISSED_DAYS),
            to: Some(latest_possible(self.clock.now()).max(night.as_of)),
            limit: MOST_HEADS,
        };
        let heads = self.store.nights(&query).await?;
        let mut later = Vec::new();
        for head in heads.iter().filter(|head| head.as_of > night.as_of) {
            let judged = !matches!(head.verdict, Verdict::Running | Verdict::Missed);
            if !judged || later.len() == MOST_LATER {
                continue;
            }
            let view = night_of_head(self.store.as_ref(), head.clone(), self.clock.now()).await?;
            later.extend(view.map(|view| view.night).filter(is_judged));
        }
        Ok((later, missed_around(night, &heads)))
    }

    fn wanted(&self) -> Vec<(ChannelName, Severity)> {
        self.channels.iter().map(|channel| (channel.name().clone(), channel.min_severity())).collect()
    }

    /// What is worth knowing of a run beside its failures.
    async fn notes_of(&self, summary: &RunSummary) -> Result<Vec<Note>, StoreError> {
        if self.rules.digest == Some(false) || summary.status == RunStatus::Missed {
            return Ok(Vec::new());
        }
        let mut past: BTreeMap<JobName, Vec<f64>> = BTreeMap::new();
        for line in &summary.job_summary {
            let runs = self.store.job_runs(&line.job, LOOK_BACK + 1).await?;
            let earlier = runs
                .into_iter()
                .filter(|run| run.batch_run_id != summary.batch_run_id && run.scheduled_for <= summary.scheduled_for);
            past.insert(line.job.clone(), earlier.filter_map(|run| run.line.p95_seconds).collect());
        }
        Ok(notes(summary, &past, &self.rules))
    }

    /// Delivers what is due, through each channel in the order it was written; a channel ends at its first failure.
    ///
    /// # Errors
    /// The first error of the store, after every channel was tried.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let mut first_error = None;
        for schedule in self.books.alert_schedules().await? {
            let (wanted, now) = (self.wanted(), self.clock.now());
            let tidied = change_book(self.books.as_ref(), &schedule, |book| {
                book.drop_unknown(&wanted, now);
                Some(())
            });
            tidied.await?;
            let all = self.channels.iter().map(|channel| self.flush_channel(&schedule, channel.as_ref()));
            for outcome in join_all(all).await {
                if let (Err(error), None) = (outcome, &first_error) {
                    first_error = Some(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn flush_channel(&self, schedule: &ScheduleName, channel: &dyn AlertChannel) -> Result<(), StoreError> {
        let owner = self.randomness.owner();
        loop {
            let now = self.clock.now();
            let mode = self.rules.delivery;
            let claim = DeliveryEvent::Claim { owner, now, lease_until: now + LEASE, mode };
            let claimed = change_book(self.books.as_ref(), schedule, |book| {
                let message = book.due(channel.name(), now)?;
                // Whoever is faster has it; then there may be another.
                let delivery = book.apply(&message.alert_id, channel.name(), &claim, None).ok().flatten()?;
                Some((message, matches!(delivery.state, DeliveryState::Sending { .. })))
            });
            let Some((message, taken)) = claimed.await? else { return Ok(()) };
            if !taken {
                continue;
            }
            let outcome = match select(channel.deliver(&message), self.sleeper.sleep(DELIVERY_LIMIT)).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => Err(ChannelError {
                    message: format!("it took longer than {} s", DELIVERY_LIMIT.as_secs()),
                    retry_after: None,
                    is_final: false,
                }),
            };
            if !self.record(schedule, channel.name(), &message, owner, outcome).await? {
                return Ok(());
            }
        }
    }

    /// Records how a delivery went; says whether it went well.
    async fn record(
        &self,
        schedule: &ScheduleName,
        channel: &ChannelName,
        message: &AlertMessage,
        owner: Owner,
        outcome: Result<(), ChannelError>,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let (id, run) = (&message.alert_id, message.batch_run_id);
        let (error, retry_after, is_final) = match outcome {
            Ok(()) => {
                let delivered = DeliveryEvent::Delivered { owner, now };
                let noted = change_book(self.books.as_ref(), schedule, |book| {
                    book.apply(id, channel, &delivered, None).ok().flatten()
                });
                noted.await?;
                tracing::info!(batch_run_id = %run, alert_id = %id, channel = %channel, attempt = message.attempt, event = "alert.delivered", "an alert was delivered");
                return Ok(true);
            }
            Err(error) => (redact(&error.message), error.retry_after, error.is_final),
        };
        let retry_after = retry_after.and_then(|time| TimeDelta::from_std(time).ok());
        let once = self.rules.delivery == DeliveryMode::AtMostOnce;
        let given_up = change_book(self.books.as_ref(), schedule, |book| {
            let give_up = is_final || once || book.gives_up(id, now);
            let failed = DeliveryEvent::Failed { owner, now, error: error.clone(), give_up };
            // A refusal: another took over after the lease had passed, and its outcome counts.
            let _ = book.apply(id, channel, &failed, retry_after);
            Some(give_up)
        });
        let given_up = given_up.await?.unwrap_or_default();
        tracing::error!(
            batch_run_id = %run, alert_id = %id, channel = %channel, attempt = message.attempt, error = %error, given_up,
            event = "alert.failed", "an alert could not be delivered{}",
            if given_up { " and is given up" } else { " and is tried again" }
        );
        Ok(false)
    }

    /// Tells of open runs that are overdue, once each.
    async fn overdue(&self) -> Result<(), StoreError> {
        let wanted = self.wanted();
        for run in self.store.open_runs().await? {
            let now = self.clock.now();
            let limit = TimeDelta::minutes(self.rules.overdue_minutes.into());
            if limit == TimeDelta::zero() || run.started_at + limit >= now {
                continue;
            }
            let summary = summarise(&run, &[], &BTreeMap::new());
            let message = change_book(self.books.as_ref(), run.night_series(), |book| {
                let message = decide_overdue(book, &run, &summary, &self.rules, &self.base, now)?;
                book.enqueue(message.clone(), &wanted, &self.rules);
                Some(message)
            });
            if let Some(message) = message.await? {
                log(&message);
            }
        }
        Ok(())
    }
}

/// One line for each message, so that the log alone tells the story.
fn log(message: &AlertMessage) {
    let causes: Vec<String> = message
        .top_causes
        .iter()
        .map(|cause| {
            let job = cause.job.as_ref().map_or_else(|| cause.fingerprint.to_string(), ToString::to_string);
            format!("{} x {job}: {}", cause.count, cause.message)
        })
        .collect();
    let (causes, rerun) = (causes.join(" | "), message.rerun.as_deref().unwrap_or_default());
    if message.severity == Severity::Info {
        tracing::info!(
            batch_run_id = %message.batch_run_id, alert_id = %message.alert_id, as_of = %message.as_of,
            status = %message.status, kind = message.kind.as_str(), page = %message.page,
            event = "run.alert", "a night has news: {}", message.title
        );
    } else {
        tracing::warn!(
            batch_run_id = %message.batch_run_id, alert_id = %message.alert_id, as_of = %message.as_of,
            status = %message.status, kind = message.kind.as_str(), verdict = %message.verdict, top_causes = %causes,
            page = %message.page, rerun = %rerun,
            event = "run.alert", "a night is not good: {}", message.title
        );
    }
}

#[async_trait]
impl Notifier for Alerting {
    async fn tell(&self, summary: &RunSummary, night: &Night) -> Result<(), JobError> {
        let decided = async {
            let (later, missed) = self.around(night).await?;
            let notes = self.notes_of(summary).await?;
            let facts = NightFacts { summary, night, later: &later, missed: &missed, notes, target: &self.target };
            let (wanted, now) = (self.wanted(), self.clock.now());
            change_book(self.books.as_ref(), &night.night_series, |book| {
                let (rules, base) = (&self.rules, &self.base);
                let of_incidents = decide(book, &facts, rules, base, now);
                of_incidents.iter().for_each(|message| book.enqueue(message.clone(), &wanted, rules));
                let restatement = decide_restated(book, &facts, rules, base, now);
                restatement.iter().for_each(|message| book.enqueue(message.clone(), &wanted, rules));
                Some([of_incidents, restatement])
            })
            .await
        };
        let messages = decided.await.map_err(|error| told(&error))?;
        messages.iter().flatten().flatten().for_each(log);
        self.close_without_run().await.map_err(|error| told(&error))?;
        if let Err(error) = self.flush().await {
            // It is on record, and the watch delivers it.
            tracing::error!(batch_run_id = %summary.batch_run_id, error = %error, event = "alert.failed", "what is due of the alerts could not be delivered; the watch tries again");
        }
        Ok(())
    }

    async fn catch_up(&self) -> Result<(), JobError> {
        self.overdue().await.map_err(|error| told(&error))?;
        self.close_without_run().await.map_err(|error| told(&error))?;
        self.flush().await.map_err(|error| told(&error))
    }
}
