//! Messages on their way: what is due, what failed, what is given up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::AlertBook;
use super::delivery::{Delivery, DeliveryEvent, DeliveryRefusal, DeliveryState, SENDER_DIED};
use crate::alert_message::AlertMessage;
use crate::alert_rules::{AlertRules, DeliveryMode, Severity};
use crate::ids::ChannelName;

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

/// The longest pause that a receiver may ask for.
const LONGEST_RETRY_AFTER: TimeDelta = TimeDelta::hours(24);

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

impl AlertBook {
    /// Puts a message into the outbox, for these channels; one that no channel wants is not kept. A message that reports
    /// something as over goes to every channel that had a message about the open incidents, whatever its severity.
    pub fn enqueue(&mut self, message: AlertMessage, channels: &[(ChannelName, Severity)], rules: &AlertRules) {
        let told = if message.recovered.is_empty() { BTreeSet::new() } else { self.channels_told(&message.dedup_key) };
        let deliveries: BTreeMap<ChannelName, Delivery> = channels
            .iter()
            .filter(|(channel, least)| *least <= message.severity || told.contains(channel))
            .map(|(channel, _)| (channel.clone(), Delivery::waiting()))
            .collect();
        if message.kind.is_of_incidents() {
            self.told_channels.extend(deliveries.keys().cloned());
        }
        self.forget_told_channels();
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

    /// The channels that had a message with this key. A book of an earlier release has them in its outbox alone.
    fn channels_told(&self, dedup_key: &str) -> BTreeSet<ChannelName> {
        if !self.told_channels.is_empty() {
            return self.told_channels.clone();
        }
        let same_key = self.outbox.iter().filter(|outgoing| outgoing.message.dedup_key == dedup_key);
        same_key.flat_map(|outgoing| outgoing.deliveries.keys().cloned()).collect()
    }

    /// Forgets which channels had a message once no incident is open.
    pub(super) fn forget_told_channels(&mut self) {
        if self.open_key.is_none() {
            self.told_channels.clear();
        }
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

    /// Forgets messages that were delivered, all but the newest, and those that were given up long ago.
    pub(super) fn tidy_outbox(&mut self, now: DateTime<Utc>) {
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
}

fn all_delivered(outgoing: &Outgoing) -> bool {
    outgoing.deliveries.values().all(|delivery| matches!(delivery.state, DeliveryState::Delivered { .. }))
}
