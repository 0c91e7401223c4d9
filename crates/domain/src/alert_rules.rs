//! The rules of `[alerts]`: when people are told, when not, and through which channels.

use chrono::{DateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{CauseId, ChannelName, PortfolioId};
use crate::zone::Zone;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know: a recovery, a digest.
    #[default]
    Info,
    /// Something did not go well: a partial or an overdue run.
    Warning,
    /// Nothing went well: a failed or a missed run.
    Critical,
}

impl Severity {
    /// All of them, by their words.
    pub const NAMES: [&'static str; 3] = ["info", "warning", "critical"];

    /// As settings, JSON and logs say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|severity| severity.as_str() == name)
    }
}

/// What happens to a delivery of which nobody knows whether it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// It is tried again, with the same `alert_id`.
    #[default]
    AtLeastOnce,
    /// It is not; nor is one that failed.
    AtMostOnce,
}

/// The hours in which only what is critical is told at once. The rest is told at their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// Their first minute, by the clock of `timezone`.
    pub from: NaiveTime,
    /// The minute after their last; earlier than `from` where they go over midnight.
    pub to: NaiveTime,
    /// The time zone.
    pub timezone: Zone,
}

impl QuietHours {
    /// When they end, if `now` lies in them.
    #[must_use]
    pub fn end(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = now.with_timezone(&self.timezone);
        let (date, time) = (local.date_naive(), local.time());
        let end_date = if self.from <= self.to {
            (self.from <= time && time < self.to).then_some(date)
        } else if time >= self.from {
            date.succ_opt()
        } else {
            (time < self.to).then_some(date)
        }?;
        let end = end_date.and_time(self.to);
        // An end that the clocks jump over comes an hour later.
        let end = self
            .timezone
            .from_local_datetime(&end)
            .latest()
            .or_else(|| self.timezone.from_local_datetime(&(end + TimeDelta::hours(1))).latest())?;
        Some(end.with_timezone(&Utc)).filter(|end| *end > now)
    }
}

/// What is not told for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// A cause, wherever it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<CauseId>,
    /// A portfolio, whatever it has: a cause is muted when all portfolios that it affects are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portfolio: Option<PortfolioId>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why, as the site shows it.
    pub reason: String,
}

/// Until when a cause that affects these portfolios is muted, if it is. `portfolios` must be all of them, or empty
/// where they are not known.
#[must_use]
pub fn muted_until(
    mutes: &[&Mute],
    cause: &CauseId,
    portfolios: &[PortfolioId],
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let latest = |fits: &dyn Fn(&Mute) -> bool| {
        mutes.iter().filter(|mute| mute.until > now && fits(mute)).map(|mute| mute.until).max()
    };
    if let Some(until) = latest(&|mute| mute.fingerprint.as_ref() == Some(cause)) {
        return Some(until);
    }
    let each = portfolios.iter().map(|portfolio| latest(&|mute| mute.portfolio.as_ref() == Some(portfolio)));
    each.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// `[alerts]`, without the channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertRules {
    /// Runs that must have a cause before people are told of it. Default 1.
    pub wait_runs: u32,
    /// Causes in fewer portfolios are not told; on record they are all the same. Default 1.
    pub min_portfolios: u32,
    /// Whether poor data quality and unusual durations are told, at the lowest severity. None is yes.
    pub digest: Option<bool>,
    /// The same note is told again after so many days at the earliest. Default 7.
    pub digest_days: u32,
    /// Share of the portfolios without full data above which a run's data quality is poor. Default 0.5.
    pub quality_share: f64,
    /// A job that is slower or faster than usual is told where it differs by more than this. Default 5.
    pub pace_seconds: f64,
    /// A run that goes on for longer is overdue; 0: none ever is. Default 90.
    pub overdue_minutes: u32,
    /// Hours in which only what is critical is told at once. Default: none.
    pub quiet_hours: Option<QuietHours>,
    /// What happens to a delivery of which nobody knows whether it arrived. Default `at_least_once`.
    pub delivery: DeliveryMode,
    /// What is not told for a while.
    pub mutes: Vec<Mute>,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self {
            wait_runs: 1,
            min_portfolios: 1,
            digest: None,
            digest_days: 7,
            quality_share: 0.5,
            pace_seconds: 5.0,
            overdue_minutes: 90,
            quiet_hours: None,
            delivery: DeliveryMode::AtLeastOnce,
            mutes: Vec::new(),
        }
    }
}

/// A channel, as the settings describe it. Secrets are the names of environment variables, never values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSpec {
    /// Its name.
    pub name: ChannelName,
    /// Messages that matter less do not come through it.
    #[serde(default)]
    pub min_severity: Severity,
    /// What it is.
    #[serde(flatten)]
    pub kind: ChannelKind,
}

/// Where the address of a webhook stands: in the settings, or, where it is itself a secret, in the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The address.
    Url(String),
    /// The environment variable that holds it.
    UrlEnv(String),
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// In the clear first, then encrypted, or not at all.
    #[default]
    Starttls,
    /// Encrypted from the first byte.
    Tls,
    /// In the clear; only on this machine.
    None,
}

/// The kinds of channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChannelKind {
    /// A program that gets the message as JSON on its input.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// How long it may take.
        timeout_seconds: u32,
        /// Names of environment variables that it sees, beside a few that every program sees.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        env: Vec<String>,
    },
    /// A webhook that takes what Slack takes.
    Slack {
        /// Where.
        address: Address,
    },
    /// A webhook that takes the message as JSON, signed by the rules of Standard Webhooks.
    Webhook {
        /// Where.
        address: Address,
        /// The environment variable that holds the secret of the signature (`whsec_...`, or any text).
        secret_env: Option<String>,
    },
    /// E-mail, through a mail server.
    Email {
        /// The mail server.
        host: String,
        /// Its port.
        port: u16,
        /// How it is spoken to.
        tls: MailTls,
        /// The name to log in with, if one is needed.
        username: Option<String>,
        /// The environment variable that holds the password.
        password_env: Option<String>,
        /// From whom.
        from: String,
        /// To whom.
        to: Vec<String>,
    },
    /// A topic of Amazon SNS.
    Sns {
        /// The topic.
        topic_arn: String,
    },
    /// An event bus of Amazon `EventBridge`.
    #[serde(rename = "eventbridge")]
    EventBridge {
        /// The bus.
        bus: String,
    },
}

impl ChannelKind {
    /// The `type` of each.
    pub const NAMES: [&'static str; 6] = ["sns", "eventbridge", "slack", "webhook", "email", "command"];

    /// As the settings spell it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Slack { .. } => "slack",
            Self::Webhook { .. } => "webhook",
            Self::Email { .. } => "email",
            Self::Sns { .. } => "sns",
            Self::EventBridge { .. } => "eventbridge",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quiet(from: u32, to: u32, timezone: Zone) -> QuietHours {
        let time = |minute: u32| NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).unwrap();
        QuietHours { from: time(from), to: time(to), timezone }
    }

    #[test]
    fn quiet_hours_over_midnight_end_in_the_morning() {
        let hours = quiet(22 * 60, 7 * 60, Zone::new_york());
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        // 23:30 and 06:59 in New York are quiet, 07:00 and 21:59 are not.
        assert_eq!(hours.end(at("2026-11-25T04:30:00Z")), Some(at("2026-11-25T12:00:00Z")));
        assert_eq!(hours.end(at("2026-11-25T11:59:00Z")), Some(at("2026-11-25T12:00:00Z")));
        assert_eq!(hours.end(at("2026-11-25T12:00:00Z")), None);
        assert_eq!(hours.end(at("2026-11-26T02:59:00Z")), None);
        // The clocks jump over 02:30 that night.
        let jump = quiet(22 * 60, 2 * 60 + 30, Zone::new_york());
        assert_eq!(jump.end(at("2026-03-08T06:00:00Z")), Some(at("2026-03-08T07:30:00Z")));
    }

    proptest! {
        /// Whatever the hours, the zone and the night: a message waits for a day and an hour at most, and not longer than
        /// the hours last.
        #[test]
        fn a_message_never_waits_for_long(
            from in 0u32..1440, to in 0u32..1440, minute in 0i64..(400 * 1440),
            zone in prop::sample::select(vec![Zone::UTC, "Europe/Berlin".parse().unwrap(), Zone::new_york(), "Australia/Lord_Howe".parse().unwrap()]),
        ) {
            prop_assume!(from != to);
            let now = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute);
            if let Some(end) = quiet(from, to, zone).end(now) {
                prop_assert!(end > now && end <= now + TimeDelta::hours(25));
                let last = i64::from((to + 1440 - from) % 1440) + 120;
                prop_assert!(end - now <= TimeDelta::minutes(last), "{} > {last}", (end - now).num_minutes());
            }
        }
    }

    #[test]
    fn a_cause_is_muted_by_itself_or_with_every_portfolio_it_has() {
        let at = |hour: u32| Utc.with_ymd_and_hms(2026, 11, 24, hour, 0, 0).unwrap();
        let portfolio = |name: &str| PortfolioId::new(name).unwrap();
        let mute = |cause: Option<&'static str>, name: Option<&str>, until| Mute {
            fingerprint: cause.map(CauseId::named),
            portfolio: name.map(portfolio),
            until: at(until),
            reason: "known".into(),
        };
        let (a, b) = (mute(None, Some("a"), 9), mute(None, Some("b"), 12));
        let missing = CauseId::named(CauseId::MISSING);
        let both = [portfolio("a"), portfolio("b")];
        assert_eq!(muted_until(&[&a], &missing, &both, at(1)), None);
        assert_eq!(muted_until(&[&a, &b], &missing, &both, at(1)), Some(at(9)));
        assert_eq!(muted_until(&[&a, &b], &missing, &both, at(9)), None, "one of them is over");
        assert_eq!(muted_until(&[&a, &b], &missing, &[], at(1)), None, "nobody knows which portfolios");
        let itself = mute(Some(CauseId::MISSING), None, 7);
        assert_eq!(muted_until(&[&itself], &missing, &both, at(1)), Some(at(7)));
    }
}
