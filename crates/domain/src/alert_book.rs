//! What is known of the alerts of one schedule: open incidents, mutes, and messages on their way.
//!
//! One document for each schedule, changed as a whole on the condition that nobody else changed it in between. All
//! decisions are here and pure: [`decide`] says what a run comes to, [`Delivery::next`] how a message gets through a
//! channel.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::alert::{AlertAbout, TOP_CAUSES};
use crate::alert_message::{
    AlertKind, AlertMessage, CauseLine, NAMED_PORTFOLIOS, RecoveredLine, SCHEMA, dedup_key, lasted, plural, severity_of,
};
use crate::alert_rules::{AlertRules, DeliveryMode, Mute, Severity, muted_until};
use crate::baseline::{Band, Pace};
use crate::ids::{CauseId, ChannelName, JobName, Owner, PortfolioId, RunId, ScheduleName};
use crate::incident::{Incident, IncidentEvent, IncidentState, MOST_PORTFOLIOS, RunAge};
use crate::run::{AbandonReason, Run};
use crate::summary::RunSummary;
use crate::words::{ErrorCategory, RunStatus};

/// Decisions that are remembered, so that none is made twice.
const MOST_DECIDED: usize = 1_000;

/// Messages that are remembered after they were delivered.
const MOST_DELIVERED: usize = 20;

/// How long a message that could not be delivered is tried.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(72);

/// How long a message that was given up is shown.
const SHOW_GIVEN_UP: TimeDelta = TimeDelta::days(7);

/// The pause after the first failure of a channel. It doubles with each further one.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(60);

/// The longest pause: what a receiver missed reaches it so long after it is well again, at the latest.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(15);

/// Why a message that is delivered at most once is given up when its sender dies.
const SENDER_DIED: &str = "whoever delivered it ended meanwhile, and delivery is at_most_once";

/// The longest pause that a receiver may ask for.
const LONGEST_RETRY_AFTER: TimeDelta = TimeDelta::hours(24);

/// Where one message is on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be delivered.
    Waiting,
    /// Somebody delivers it.
    Sending {
        /// Who.
        owner: Owner,
        /// Until when nobody else may.
        lease_until: DateTime<Utc>,
    },
    /// It was delivered.
    Delivered {
        /// When.
        at: DateTime<Utc>,
    },
    /// It was not, and is not tried any more.
    GivenUp {
        /// When.
        at: DateTime<Utc>,
        /// Why, without secrets.
        error: String,
    },
}

/// One message on its way through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Deliveries begun.
    pub attempts: u32,
    /// Where it is.
    #[serde(flatten)]
    pub state: DeliveryState,
}

/// What can happen to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// Somebody takes it.
    Claim {
        /// Who.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The lease.
        lease_until: DateTime<Utc>,
        /// What becomes of one whose sender died.
        mode: DeliveryMode,
    },
    /// It was delivered.
    Delivered {
        /// By whom.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// It could not be delivered.
    Failed {
        /// By whom.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// Why, without secrets.
        error: String,
        /// Whether it is not tried any more.
        give_up: bool,
    },
}

/// Why an event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryRefusal {
    /// It came to an end.
    #[error("the message was delivered or given up already")]
    Ended,
    /// Somebody else has it in hand.
    #[error("another owner is delivering the message")]
    LeaseHeld,
    /// The caller does not have it in hand.
    #[error("the message is not in the hands of this owner")]
    NotHeld,
}

impl Delivery {
    const fn waiting() -> Self {
        Self { attempts: 0, state: DeliveryState::Waiting }
    }

    const fn has_ended(&self) -> bool {
        matches!(self.state, DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. })
    }

    /// The delivery after this event. Total.
    ///
    /// # Errors
    /// [`DeliveryRefusal`] says why the event cannot happen.
    pub fn next(&self, event: &DeliveryEvent) -> Result<Self, DeliveryRefusal> {
        let held_by =
            |owner: Owner| matches!(self.state, DeliveryState::Sending { owner: holder, .. } if holder == owner);
        match (&self.state, event) {
            (DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. }, _) => Err(DeliveryRefusal::Ended),
            (DeliveryState::Sending { lease_until, .. }, DeliveryEvent::Claim { now, .. }) if lease_until >= now => {
                Err(DeliveryRefusal::LeaseHeld)
            }
            (DeliveryState::Sending { .. }, DeliveryEvent::Claim { now, mode: DeliveryMode::AtMostOnce, .. }) => {
                Ok(Self { state: DeliveryState::GivenUp { at: *now, error: SENDER_DIED.to_owned() }, ..self.clone() })
            }
            (_, DeliveryEvent::Claim { owner, lease_until, .. }) => Ok(Self {
                attempts: self.attempts.saturating_add(1),
                state: DeliveryState::Sending { owner: *owner, lease_until: *lease_until },
            }),
            (_, DeliveryEvent::Delivered { owner, now }) if held_by(*owner) => {
                Ok(Self { state: DeliveryState::Delivered { at: *now }, ..self.clone() })
            }
            (_, DeliveryEvent::Failed { owner, now, error, give_up }) if held_by(*owner) => {
                let state = if *give_up {
                    DeliveryState::GivenUp { at: *now, error: error.clone() }
                } else {
                    DeliveryState::Waiting
                };
                Ok(Self { state, ..self.clone() })
            }
            (_, DeliveryEvent::Delivered { .. } | DeliveryEvent::Failed { .. }) => Err(DeliveryRefusal::NotHeld),
        }
    }
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The message.
    pub message: AlertMessage,
    /// Not before this: the end of the quiet hours in which it was written.
    pub not_before: DateTime<Utc>,
    /// How far it is, channel by channel.
    pub deliveries: BTreeMap<ChannelName, Delivery>,
}

/// How a channel that fails stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Failures in a row.
    pub failures: u32,
    /// The first of them.
    pub since: DateTime<Utc>,
    /// When it is tried again.
    pub next_try: DateTime<Utc>,
    /// What the last one said, without secrets.
    pub error: String,
}

/// A channel through which something could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The channel.
    pub channel: ChannelName,
    /// Messages that wait for it.
    pub waiting: u64,
    /// Messages that were given up in the last days.
    pub given_up: u64,
    /// When it failed first.
    pub since: DateTime<Utc>,
    /// What it said last, without secrets.
    pub error: String,
}

/// Everything that is known of the alerts of one schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertBook {
    /// The schedule.
    pub schedule: ScheduleName,
    /// How often it was written.
    pub version: u32,
    /// Incidents that are not over, by their cause.
    #[serde(default)]
    pub incidents: BTreeMap<CauseId, Incident>,
    /// Mutes by command; those of the settings are in the rules.
    #[serde(default)]
    pub mutes: Vec<Mute>,
    /// What was decided already, the newest last: the ids of alerts.
    #[serde(default)]
    pub decided: Vec<String>,
    /// When each note of a digest was told last.
    #[serde(default)]
    pub notes_told: BTreeMap<String, DateTime<Utc>>,
    /// Messages on their way, the oldest first.
    #[serde(default)]
    pub outbox: Vec<Outgoing>,
    /// Channels that fail.
    #[serde(default)]
    pub troubles: BTreeMap<ChannelName, Trouble>,
}

impl AlertBook {
    /// The book of a schedule of which nothing is known.
    #[must_use]
    pub const fn empty(schedule: ScheduleName) -> Self {
        Self {
            schedule,
            version: 0,
            incidents: BTreeMap::new(),
            mutes: Vec::new(),
            decided: Vec::new(),
            notes_told: BTreeMap::new(),
            outbox: Vec::new(),
            troubles: BTreeMap::new(),
        }
    }

    /// Puts a message into the outbox, for these channels; one that no channel wants is not kept.
    pub fn enqueue(&mut self, message: AlertMessage, channels: &[(ChannelName, Severity)], rules: &AlertRules) {
        let deliveries: BTreeMap<ChannelName, Delivery> = channels
            .iter()
            .filter(|(_, least)| *least <= message.severity)
            .map(|(channel, _)| (channel.clone(), Delivery::waiting()))
            .collect();
        if deliveries.is_empty() {
            return;
        }
        let now = message.created_at;
        let not_before = match (message.severity, &rules.quiet_hours) {
            (Severity::Critical, _) | (_, None) => now,
            (_, Some(quiet)) => quiet.end(now).unwrap_or(now),
        };
        self.outbox.push(Outgoing { message, not_before, deliveries });
    }

    /// The oldest message that is due for this channel now.
    #[must_use]
    pub fn due(&self, channel: &ChannelName, now: DateTime<Utc>) -> Option<AlertMessage> {
        if self.troubles.get(channel).is_some_and(|trouble| trouble.next_try > now) {
            return None;
        }
        let due = self.outbox.iter().find(|outgoing| {
            outgoing.not_before <= now
                && outgoing.deliveries.get(channel).is_some_and(|delivery| match delivery.state {
                    DeliveryState::Waiting => true,
                    DeliveryState::Sending { lease_until, .. } => lease_until < now,
                    DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. } => false,
                })
        })?;
        let attempts = due.deliveries.get(channel).map_or(0, |delivery| delivery.attempts);
        Some(AlertMessage { attempt: attempts.saturating_add(1), ..due.message.clone() })
    }

    /// Applies an event to the delivery of a message through a channel; nothing where there is no such delivery.
    ///
    /// # Errors
    /// [`DeliveryRefusal`].
    pub fn apply(
        &mut self,
        alert_id: &str,
        channel: &ChannelName,
        event: &DeliveryEvent,
        retry_after: Option<TimeDelta>,
    ) -> Result<Option<Delivery>, DeliveryRefusal> {
        let Some(delivery) = self
            .outbox
            .iter_mut()
            .find(|outgoing| outgoing.message.alert_id == alert_id)
            .and_then(|outgoing| outgoing.deliveries.get_mut(channel))
        else {
            return Ok(None);
        };
        let next = delivery.next(event)?;
        *delivery = next.clone();
        match event {
            DeliveryEvent::Claim { .. } => {}
            DeliveryEvent::Delivered { now, .. } => {
                self.troubles.remove(channel);
                self.tidy(*now);
            }
            DeliveryEvent::Failed { now, error, .. } => {
                let trouble = self.troubles.entry(channel.clone()).or_insert_with(|| Trouble {
                    failures: 0,
                    since: *now,
                    next_try: *now,
                    error: String::new(),
                });
                trouble.error.clone_from(error);
                trouble.failures = trouble.failures.saturating_add(1);
                let doubled = FIRST_PAUSE * 2i32.saturating_pow(trouble.failures.saturating_sub(1).min(10));
                let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
                trouble.next_try = *now + doubled.min(LONGEST_PAUSE).max(asked);
                self.tidy(*now);
            }
        }
        Ok(Some(next))
    }

    /// Whether a message that failed now is given up.
    #[must_use]
    pub fn gives_up(&self, alert_id: &str, now: DateTime<Utc>) -> bool {
        self.outbox
            .iter()
            .find(|outgoing| outgoing.message.alert_id == alert_id)
            .is_some_and(|outgoing| outgoing.not_before + GIVE_UP_AFTER <= now)
    }

    /// Gives up what waits for channels that there are not any more. Says whether there was any.
    pub fn drop_unknown(&mut self, channels: &[(ChannelName, Severity)], now: DateTime<Utc>) -> bool {
        let known = |name: &ChannelName| channels.iter().any(|(channel, _)| channel == name);
        let before = (self.outbox.clone(), self.troubles.len());
        for outgoing in &mut self.outbox {
            outgoing.deliveries.retain(|channel, delivery| known(channel) || delivery.has_ended());
        }
        self.troubles.retain(|channel, _| known(channel));
        self.tidy(now);
        before != (self.outbox.clone(), self.troubles.len())
    }

    /// Takes over from senders that are known to be dead: what they had in hand waits again, or is given up where
    /// delivery is at most once. Channels that fail are tried at once: whoever starts the program may have mended them.
    pub fn take_over(&mut self, mode: DeliveryMode, now: DateTime<Utc>) {
        for delivery in self.outbox.iter_mut().flat_map(|outgoing| outgoing.deliveries.values_mut()) {
            if matches!(delivery.state, DeliveryState::Sending { .. }) {
                delivery.state = match mode {
                    DeliveryMode::AtLeastOnce => DeliveryState::Waiting,
                    DeliveryMode::AtMostOnce => DeliveryState::GivenUp { at: now, error: SENDER_DIED.to_owned() },
                };
            }
        }
        for trouble in self.troubles.values_mut() {
            trouble.next_try = trouble.next_try.min(now);
        }
    }

    /// Forgets what is over.
    fn tidy(&mut self, now: DateTime<Utc>) {
        let mut delivered = self.outbox.iter().filter(|outgoing| all_delivered(outgoing)).count();
        self.outbox.retain(|outgoing| {
            if all_delivered(outgoing) {
                delivered -= 1;
                return delivered < MOST_DELIVERED;
            }
            let shown = |delivery: &Delivery| match &delivery.state {
                DeliveryState::GivenUp { at, .. } => *at + SHOW_GIVEN_UP > now,
                state => !matches!(state, DeliveryState::Delivered { .. }),
            };
            outgoing.deliveries.values().any(shown)
        });
        self.mutes.retain(|mute| mute.until > now);
        let forgotten = self.decided.len().saturating_sub(MOST_DECIDED);
        self.decided.drain(..forgotten);
        self.notes_told.retain(|_, at| *at + TimeDelta::days(400) > now);
    }

    /// Channels through which something could not be delivered, as the site shows them.
    #[must_use]
    pub fn undelivered(&self, now: DateTime<Utc>) -> Vec<Undelivered> {
        let mut found: BTreeMap<ChannelName, Undelivered> = BTreeMap::new();
        for (channel, trouble) in &self.troubles {
            found.insert(
                channel.clone(),
                Undelivered {
                    channel: channel.clone(),
                    waiting: 0,
                    given_up: 0,
                    since: trouble.since,
                    error: trouble.error.clone(),
                },
            );
        }
        for outgoing in &self.outbox {
            for (channel, delivery) in &outgoing.deliveries {
                match &delivery.state {
                    DeliveryState::GivenUp { at, error } if *at + SHOW_GIVEN_UP > now => {
                        let told = found.entry(channel.clone()).or_insert_with(|| Undelivered {
                            channel: channel.clone(),
                            waiting: 0,
                            given_up: 0,
                            since: *at,
                            error: error.clone(),
                        });
                        told.given_up += 1;
                    }
                    DeliveryState::Waiting | DeliveryState::Sending { .. } => {
                        if let Some(told) = found.get_mut(channel) {
                            told.waiting += 1;
                        }
                    }
                    DeliveryState::GivenUp { .. } | DeliveryState::Delivered { .. } => {}
                }
            }
        }
        found.into_values().filter(|told| told.waiting + told.given_up > 0).collect()
    }

    /// Mutes a cause or a portfolio, in place of what was said of it before.
    ///
    /// # Errors
    /// [`crate::incident::IncidentRefusal::MuteInThePast`]; an open incident of that cause is muted at once.
    pub fn mute(&mut self, mute: Mute, now: DateTime<Utc>) -> Result<(), crate::incident::IncidentRefusal> {
        let event = IncidentEvent::Mute { now, until: mute.until };
        IncidentState::NEW.next(&event)?;
        if let Some(incident) = mute.fingerprint.as_ref().and_then(|cause| self.incidents.get_mut(cause)) {
            incident.state = incident.state.next(&event)?;
        }
        self.mutes.retain(|other| (&other.fingerprint, &other.portfolio) != (&mute.fingerprint, &mute.portfolio));
        self.mutes.push(mute);
        Ok(())
    }
}

fn all_delivered(outgoing: &Outgoing) -> bool {
    outgoing.deliveries.values().all(|delivery| matches!(delivery.state, DeliveryState::Delivered { .. }))
}

/// Something worth knowing of a run that is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The same for the same thing in another run.
    pub key: String,
    /// What.
    pub text: String,
}

/// What is worth knowing of a run: `past` are the durations (95th percentile, in seconds) of earlier runs by job, the
/// newest first.
#[must_use]
pub fn notes(summary: &RunSummary, past: &BTreeMap<JobName, Vec<f64>>, rules: &AlertRules) -> Vec<Note> {
    let mut notes = Vec::new();
    let quality = &summary.data_quality;
    let poor = quality.limited + quality.failed;
    if summary.portfolios_expected > 0 && poor as f64 > rules.quality_share * summary.portfolios_expected as f64 {
        notes.push(Note {
            key: "quality".to_owned(),
            text: format!(
                "Data quality: {poor} of {} without full data, {} of them without any",
                plural(summary.portfolios_expected, "portfolio"),
                quality.failed
            ),
        });
    }
    for line in &summary.job_summary {
        let (Some(seconds), Some(past)) = (line.p95_seconds, past.get(&line.job)) else { continue };
        let Some(band) = Band::of(past.iter().copied()) else { continue };
        let pace = band.pace(seconds);
        if pace == Pace::Usual || (seconds - band.median).abs() <= rules.pace_seconds {
            continue;
        }
        notes.push(Note {
            key: format!("{}:{}", if pace == Pace::Slow { "slow" } else { "fast" }, line.job),
            text: format!(
                "{} is {}: 95 % of portfolios within {seconds:.1} s, usual are {:.1} s (median of {} runs)",
                line.job,
                pace.words(),
                band.median,
                band.of
            ),
        });
    }
    notes
}

/// A run, as the rules look at it.
#[derive(Debug, Clone)]
pub struct RunFacts<'a> {
    /// Its summary.
    pub summary: &'a RunSummary,
    /// The portfolios that it was for; empty: all.
    pub filter: &'a [PortfolioId],
    /// What is worth knowing beside.
    pub notes: Vec<Note>,
}

/// A cause in a run.
struct Seen {
    cause: CauseId,
    job: Option<JobName>,
    category: Option<ErrorCategory>,
    message: String,
    count: u64,
    skipped: u64,
    portfolios: Vec<PortfolioId>,
}

fn plain(cause: &'static str, message: String, count: u64) -> Seen {
    Seen { cause: CauseId::named(cause), job: None, category: None, message, count, skipped: 0, portfolios: Vec::new() }
}

/// Why a run did not go well, the largest cause first.
fn causes_of(summary: &RunSummary) -> Vec<Seen> {
    match summary.status {
        RunStatus::Success | RunStatus::Running => return Vec::new(),
        RunStatus::Missed => {
            return vec![plain(CauseId::MISSED, "the slot passed without a run".to_owned(), 1)];
        }
        RunStatus::Partial | RunStatus::Failed => {}
    }
    let mut seen: Vec<Seen> = summary
        .failures
        .iter()
        .map(|cause| Seen {
            cause: CauseId::from(&cause.fingerprint),
            job: Some(cause.job.clone()),
            category: Some(cause.category),
            message: cause.message.clone(),
            count: cause.count,
            skipped: cause.skipped,
            portfolios: cause.portfolios.clone(),
        })
        .collect();
    if summary.missing_jobs > 0 {
        let why = if summary.cancelled_at.is_some() { "the run was cancelled" } else { "lost, timed out or given up" };
        let message = format!("{} without a record: {why}", plural(summary.missing_jobs, "job"));
        seen.push(plain(CauseId::MISSING, message, summary.missing_jobs));
    }
    if summary.abandoned.as_ref().is_some_and(|abandoned| abandoned.reason == AbandonReason::Canceled) {
        seen.push(plain(CauseId::OTHER, "the run was canceled before it started".to_owned(), 1));
    } else if summary.portfolios_expected == 0 && summary.abandoned.is_none() {
        seen.push(plain(CauseId::NO_PORTFOLIOS, "there was no portfolio to process".to_owned(), 1));
    }
    if seen.is_empty() {
        seen.push(plain(CauseId::OTHER, "the run did not go well, and no error says why".to_owned(), 1));
    }
    seen.sort_by(|a, b| {
        (b.count + b.skipped).cmp(&(a.count + a.skipped)).then_with(|| a.cause.as_str().cmp(b.cause.as_str()))
    });
    seen
}

/// What a run comes to: takes it into the incidents, and gives the one message that it is worth, if any.
///
/// The same run again gives nothing and changes nothing. `base` is the address of the site.
pub fn decide(
    book: &mut AlertBook,
    facts: &RunFacts<'_>,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let summary = facts.summary;
    let about = AlertAbout::of(summary.status);
    let alert_id = format!("{}/{}", summary.batch_run_id, about.as_str());
    if book.decided.contains(&alert_id) {
        return None;
    }
    book.decided.push(alert_id.clone());
    book.tidy(now);

    let was_bad = book.incidents.values().any(|incident| is_told(incident.state));
    let seen = causes_of(summary);
    let (opened, repeated) = take_in(book, summary, &seen, rules, now);
    let recovered = if summary.status == RunStatus::Missed { Vec::new() } else { take_out(book, facts, &seen, now) };
    let left = book.incidents.values().filter(|incident| is_told(incident.state)).count();
    let due_notes: Vec<&Note> = facts
        .notes
        .iter()
        .filter(|note| {
            let told = book.notes_told.get(&note.key);
            rules.digest != Some(false) && told.is_none_or(|at| *at + TimeDelta::days(rules.digest_days.into()) <= now)
        })
        .collect();

    let kind = if about == AlertAbout::Missed && !(opened.is_empty() && repeated.is_empty()) {
        AlertKind::Missed
    } else if !opened.is_empty() {
        if was_bad { AlertKind::Update } else { AlertKind::Open }
    } else if !recovered.is_empty() {
        if left > 0 { AlertKind::PartialRecovery } else { AlertKind::Recovery }
    } else if !repeated.is_empty() {
        AlertKind::Reminder
    } else if !due_notes.is_empty() {
        AlertKind::Digest
    } else {
        return None;
    };
    let notes: Vec<String> = due_notes.iter().map(|note| note.text.clone()).collect();
    let keys: Vec<String> = due_notes.iter().map(|note| note.key.clone()).collect();
    book.notes_told.extend(keys.into_iter().map(|key| (key, now)));

    let told: Vec<&Seen> =
        seen.iter().filter(|seen| opened.contains(&seen.cause) || repeated.contains(&seen.cause)).collect();
    let lines: Vec<CauseLine> = told.iter().filter_map(|seen| line(book, seen, opened.contains(&seen.cause))).collect();
    let portfolios: BTreeSet<&PortfolioId> = told.iter().flat_map(|seen| &seen.portfolios).collect();
    let severity = match kind {
        AlertKind::Recovery | AlertKind::Digest => Severity::Info,
        AlertKind::PartialRecovery => severity_of(summary.status).min(Severity::Warning),
        _ => severity_of(summary.status),
    };
    let keyed: Vec<&CauseId> = lines.iter().map(|line| &line.fingerprint).collect();
    Some(AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id,
        attempt: 1,
        kind,
        severity,
        created_at: now,
        dedup_key: if keyed.is_empty() {
            dedup_key(&summary.schedule, recovered.iter().map(|gone| &gone.fingerprint))
        } else {
            dedup_key(&summary.schedule, keyed)
        },
        schedule: summary.schedule.clone(),
        batch_run_id: summary.batch_run_id,
        as_of: summary.as_of,
        status: summary.status,
        title: title(kind, summary, &lines, &recovered, if kind == AlertKind::Digest { notes.len() } else { left }),
        verdict: summary.verdict(),
        causes: lines.len() as u64,
        top_causes: lines.into_iter().take(TOP_CAUSES).collect(),
        portfolios_affected: portfolios.len() as u64,
        portfolios: portfolios.into_iter().take(NAMED_PORTFOLIOS).cloned().collect(),
        recovered,
        notes,
        page: page(base, summary.batch_run_id, summary.status),
        rerun: summary.remedy(),
    })
}

/// What an overdue run comes to: one message, once, where the rules call it overdue.
pub fn decide_overdue(
    book: &mut AlertBook,
    run: &Run,
    summary: &RunSummary,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let limit = TimeDelta::minutes(rules.overdue_minutes.into());
    let alert_id = format!("{}/overdue", run.batch_run_id);
    if limit == TimeDelta::zero() || run.started_at + limit >= now || book.decided.contains(&alert_id) {
        return None;
    }
    book.decided.push(alert_id.clone());
    let took = lasted((now - run.started_at).num_seconds());
    let seen = plain(CauseId::OVERDUE, format!("the run goes on since {took}"), 1);
    let (opened, repeated) = take_in(book, summary, std::slice::from_ref(&seen), rules, now);
    if opened.is_empty() && repeated.is_empty() {
        return None;
    }
    let lines: Vec<CauseLine> = line(book, &seen, !opened.is_empty()).into_iter().collect();
    Some(AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id,
        attempt: 1,
        kind: AlertKind::Overdue,
        severity: Severity::Warning,
        created_at: now,
        dedup_key: dedup_key(&run.schedule, [&seen.cause]),
        schedule: run.schedule.clone(),
        batch_run_id: run.batch_run_id,
        as_of: run.as_of,
        status: RunStatus::Running,
        title: format!("{} {} overdue: it goes on since {took}", run.schedule, run.as_of),
        verdict: format!("Overdue: the run of {} goes on since {took}", run.as_of),
        top_causes: lines,
        causes: 1,
        portfolios: Vec::new(),
        portfolios_affected: 0,
        recovered: Vec::new(),
        notes: Vec::new(),
        // Its own page comes when it is closed.
        page: page(base, run.batch_run_id, RunStatus::Missed),
        rerun: None,
    })
}

/// Whether people know of an incident as one that goes on.
const fn is_told(state: IncidentState) -> bool {
    matches!(state, IncidentState::Open { .. } | IncidentState::Reminded { .. })
}

/// Takes the causes of a run into the incidents: those that people are told of for the first time, and again.
fn take_in(
    book: &mut AlertBook,
    summary: &RunSummary,
    seen: &[Seen],
    rules: &AlertRules,
    now: DateTime<Utc>,
) -> (BTreeSet<CauseId>, BTreeSet<CauseId>) {
    let (mut opened, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    let age = RunAge::of(summary);
    let mutes: Vec<Mute> = rules.mutes.iter().chain(&book.mutes).cloned().collect();
    let mutes: Vec<&Mute> = mutes.iter().collect();
    for cause in seen {
        let few = (cause.portfolios.len() as u64) < u64::from(rules.min_portfolios);
        if few && !cause.portfolios.is_empty() {
            continue;
        }
        let fresh = || Incident {
            cause: cause.cause.clone(),
            state: IncidentState::NEW,
            job: cause.job.clone(),
            category: cause.category,
            message: String::new(),
            affected: 0,
            portfolios: Vec::new(),
            opened_run: summary.batch_run_id,
            opened_as_of: summary.as_of,
            opened: age,
            last_run: summary.batch_run_id,
            last: age,
        };
        let incident = book.incidents.entry(cause.cause.clone()).or_insert_with(fresh);
        let muted_until = muted_until(&mutes, &cause.cause, &cause.portfolios, now);
        let event = IncidentEvent::Failed { now, wait_runs: rules.wait_runs, muted_until };
        // An incident that is over is not in the book, and a mute that is over mutes nothing.
        let Ok(next) = incident.state.next(&event) else { continue };
        let told_before = incident.state.was_told();
        incident.state = next;
        incident.message.clone_from(&cause.message);
        let mut affected: BTreeSet<PortfolioId> = cause.portfolios.iter().cloned().collect();
        // A rerun of some portfolios says nothing of the others.
        affected.extend(incident.portfolios.iter().cloned());
        incident.affected = (affected.len() as u64).max(cause.portfolios.len() as u64);
        incident.portfolios = affected.into_iter().take(MOST_PORTFOLIOS).collect();
        if age >= incident.last {
            (incident.last, incident.last_run) = (age, summary.batch_run_id);
        }
        if is_told(next) {
            if told_before { &mut repeated } else { &mut opened }.insert(cause.cause.clone());
        }
    }
    (opened, repeated)
}

/// Takes out of the incidents what a run did not have any more; gives what people had been told of.
fn take_out(book: &mut AlertBook, facts: &RunFacts<'_>, seen: &[Seen], now: DateTime<Utc>) -> Vec<RecoveredLine> {
    let age = RunAge::of(facts.summary);
    let mut recovered = Vec::new();
    book.incidents.retain(|_, incident| {
        let here = seen.iter().find(|seen| seen.cause == incident.cause);
        if incident.last > age {
            return true;
        }
        // A run that has not started says nothing of other causes than its own.
        if facts.summary.abandoned.is_some() && incident.last_run != facts.summary.batch_run_id {
            return true;
        }
        if let Some(seen) = here {
            // Of a run of all portfolios, those it names are all there are.
            if facts.filter.is_empty() && !seen.portfolios.is_empty() {
                incident.affected = seen.portfolios.len() as u64;
                incident.portfolios = seen.portfolios.iter().take(MOST_PORTFOLIOS).cloned().collect();
            } else if !seen.portfolios.is_empty() {
                let well: Vec<PortfolioId> =
                    facts.filter.iter().filter(|id| !seen.portfolios.contains(id)).cloned().collect();
                if !well.is_empty() {
                    incident.clear(&well);
                }
            }
            return true;
        }
        // What is no matter of portfolios is over with a run of all of them, with a rerun of those that had it, or with
        // the run itself that was overdue.
        let covers = facts.filter.is_empty()
            || facts.summary.rerun_of.is_some()
            || incident.last_run == facts.summary.batch_run_id;
        let over = if incident.job.is_some() { incident.clear(facts.filter) } else { covers };
        if !over {
            return true;
        }
        if let Ok(IncidentState::Recovered { runs, told: true, .. }) =
            incident.state.next(&IncidentEvent::Recover { now })
        {
            recovered.push(RecoveredLine {
                fingerprint: incident.cause.clone(),
                job: incident.job.clone(),
                message: incident.message.clone(),
                runs,
                since: incident.opened_as_of,
                lasted_seconds: incident.opened.until(&age).num_seconds(),
            });
        }
        false
    });
    recovered
}

fn line(book: &AlertBook, seen: &Seen, new: bool) -> Option<CauseLine> {
    let incident = book.incidents.get(&seen.cause)?;
    Some(CauseLine {
        fingerprint: seen.cause.clone(),
        job: seen.job.clone(),
        category: seen.category,
        message: seen.message.clone(),
        count: seen.count,
        skipped: seen.skipped,
        portfolios_affected: seen.portfolios.len() as u64,
        portfolios: seen.portfolios.iter().take(NAMED_PORTFOLIOS).cloned().collect(),
        new,
        runs: incident.state.runs(),
        since: incident.opened_as_of,
    })
}

fn title(
    kind: AlertKind,
    summary: &RunSummary,
    lines: &[CauseLine],
    recovered: &[RecoveredLine],
    count: usize,
) -> String {
    let run = format!("{} {}", summary.schedule, summary.as_of);
    let what = |line: &CauseLine| {
        let name = line.job.as_ref().map_or_else(|| line.fingerprint.to_string(), ToString::to_string);
        match line.portfolios_affected {
            0 => name,
            n => format!("{name} in {}", plural(n, "portfolio")),
        }
    };
    let largest = lines.first().map(what).unwrap_or_default();
    let more = match lines.len() {
        0 | 1 => String::new(),
        n => format!(" and {}", plural(n as u64 - 1, "more cause")),
    };
    let runs = recovered.iter().map(|gone| gone.runs).max().unwrap_or(0);
    let after = lasted(recovered.iter().map(|gone| gone.lasted_seconds).max().unwrap_or(0));
    match kind {
        AlertKind::Open | AlertKind::Test => format!("{run} {}: {largest}{more}", summary.status),
        AlertKind::Reminder => format!("{run} {}, still: {largest}{more}", summary.status),
        AlertKind::Update => {
            let new = lines.iter().filter(|line| line.new).count() as u64;
            let first = lines.iter().find(|line| line.new).map(what).unwrap_or_default();
            format!("{run} {}, {}: {first}", summary.status, plural(new, "new cause"))
        }
        AlertKind::PartialRecovery => {
            format!(
                "{run} {}, partly recovered: {} gone, {} left",
                summary.status,
                plural(recovered.len() as u64, "cause"),
                count
            )
        }
        AlertKind::Recovery if summary.status == RunStatus::Success => {
            format!("{run} all well again, after {after} and {}", plural(runs.into(), "run"))
        }
        AlertKind::Recovery => format!("{run} recovered, after {after} and {}", plural(runs.into(), "run")),
        AlertKind::Missed => format!("{run} missed: the run did not take place"),
        AlertKind::Overdue => format!("{run} overdue"),
        AlertKind::Digest => format!("{run}: {} worth knowing", plural(count as u64, "thing")),
    }
}

/// A run that did not take place, or goes on, has no page of its own.
fn page(base: &str, run: RunId, status: RunStatus) -> String {
    let base = base.trim_end_matches('/');
    match status {
        RunStatus::Missed | RunStatus::Running => format!("{base}/index.html"),
        RunStatus::Success | RunStatus::Partial | RunStatus::Failed => format!("{base}/runs/{run}/index.html"),
    }
}
