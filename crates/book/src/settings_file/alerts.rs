//! `[alerts]`: when people are told, and through which channels.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use domain::alert_rules::{Address, ChannelKind, ChannelSpec, DeliveryMode, MailTls, Mute, QuietHours, Severity};
use domain::ids::{CauseId, ChannelName, PortfolioId};
use domain::zone::Zone;
use toml::de::{DeTable, DeValue};

use super::{Value, Walk, entries, kind};
use crate::portfolios::is_web_address;
use crate::settings::{COMMAND_CHANNEL, COMMAND_SECONDS, Settings};
use crate::value;

const MUTE_KEYS: [&str; 4] = ["fingerprint", "portfolio", "until", "reason"];
const QUIET_KEYS: [&str; 3] = ["from", "to", "timezone"];

/// Keys that people look for, and that would hold a secret.
const SECRET_KEYS: [&str; 6] = ["password", "secret", "token", "key", "api_key", "signing_secret"];

/// The keys of a channel beside `name`, `type` and `min_severity`.
fn keys_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "command" => &["command", "timeout_seconds"],
        "slack" => &["url_env"],
        "webhook" => &["url", "url_env", "secret_env"],
        "email" => &["host", "port", "tls", "username", "password_env", "from", "to"],
        "sns" => &["topic_arn"],
        "eventbridge" => &["bus"],
        _ => &[],
    }
}

/// What is written of a channel, before it is known whether it makes one.
#[derive(Default)]
struct Written {
    command: Option<Vec<String>>,
    timeout_seconds: Option<u32>,
    url: Option<String>,
    url_env: Option<String>,
    secret_env: Option<String>,
    host: Option<String>,
    port: Option<u32>,
    tls: MailTls,
    username: Option<String>,
    password_env: Option<String>,
    from: Option<String>,
    to: Vec<String>,
    topic_arn: Option<String>,
    bus: Option<String>,
}

/// What the table says that has to wait for the time zone of the schedule.
type Quiet = (NaiveTime, NaiveTime, Option<Zone>);

impl Walk<'_> {
    pub(super) fn alert_setting(&mut self, key: &str, value: &Value<'_>, s: &mut Settings) {
        let rules = &mut s.alerts.rules;
        match key {
            "command" => s.alerts.command = self.alert_command(value).or(s.alerts.command.take()),
            "wait_runs" => self.whole(key, value, 1..=100, &mut rules.wait_runs),
            "min_portfolios" => self.whole(key, value, 1..=1_000_000, &mut rules.min_portfolios),
            "digest" => match value.get_ref() {
                DeValue::Boolean(digest) => rules.digest = Some(*digest),
                other => {
                    let found = kind(other);
                    self.error(&value.span(), format!("`digest` must be true or false, not {found}"));
                }
            },
            "digest_days" => self.whole(key, value, 0..=365, &mut rules.digest_days),
            "quality_share" => self.number(key, value, 0.0..=1.0, &mut rules.quality_share),
            "pace_seconds" => self.number(key, value, 0.0..=86_400.0, &mut rules.pace_seconds),
            "overdue_minutes" => self.whole(key, value, 0..=10_080, &mut rules.overdue_minutes),
            "quiet_hours" => {
                if let Some((from, to, zone)) = self.quiet_hours(value) {
                    // UTC stands for that of the schedule until all of the file is read.
                    rules.quiet_hours = Some(QuietHours { from, to, timezone: zone.unwrap_or(Zone::UTC) });
                    self.quiet_zone_open = zone.is_none();
                }
            }
            "delivery" => {
                if let Some(word) = self.choice(key, value, &["at_least_once", "at_most_once"]) {
                    rules.delivery =
                        if word == "at_most_once" { DeliveryMode::AtMostOnce } else { DeliveryMode::AtLeastOnce };
                }
            }
            "mute" => rules.mutes = self.each(key, value, |walk, table, span| walk.mute(table, span)),
            "channel" => {
                let mut channels: Vec<ChannelSpec> = Vec::new();
                for (channel, span) in
                    self.each(key, value, |walk, table, span| Some((walk.channel(table, span)?, span.clone())))
                {
                    if channels.iter().any(|other| other.name == channel.name) {
                        self.error(
                            &span,
                            format!("another channel is called `{}`; names must be unique", channel.name),
                        );
                    }
                    channels.push(channel);
                }
                s.alerts.channels = channels;
            }
            _ => {}
        }
    }

    /// What `[alerts]` must be to itself and the rest, once all is read.
    pub(super) fn alerts_together(&mut self, settings: &mut Settings) {
        if let Some(quiet) = settings.alerts.rules.quiet_hours.as_mut().filter(|_| self.quiet_zone_open) {
            quiet.timezone = settings.schedule.timezone;
        }
    }

    /// The tables below `[[alerts.key]]`.
    fn each<T>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        mut read: impl FnMut(&mut Self, &DeTable<'_>, &Range<usize>) -> Option<T>,
    ) -> Vec<T> {
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.error(&value.span(), format!("`{key}` is {found}; write each below [[alerts.{key}]]"));
            return Vec::new();
        };
        let mut all = Vec::new();
        for item in list {
            match item.get_ref() {
                DeValue::Table(table) => all.extend(read(self, table, &item.span())),
                other => {
                    let found = kind(other);
                    self.error(&item.span(), format!("it must be a table below [[alerts.{key}]], not {found}"));
                }
            }
        }
        all
    }

    fn alert_command(&mut self, value: &Value<'_>) -> Option<Vec<String>> {
        let wanted = "`command` must be a command line for the shell, or a list of a program and its arguments, each a text without NUL";
        let fits = |text: &str| !text.contains('\0') && text.len() <= 4_096;
        match value.get_ref() {
            DeValue::String(line) if !line.trim().is_empty() && fits(line) => {
                Some(["sh", "-c", line.trim()].map(str::to_owned).to_vec())
            }
            DeValue::Array(list) if !list.is_empty() => {
                let mut words = Vec::new();
                for item in list {
                    match item.get_ref() {
                        DeValue::String(word) if fits(word) && (!words.is_empty() || !word.is_empty()) => {
                            words.push(word.to_string());
                        }
                        _ => self.error(&item.span(), wanted),
                    }
                }
                Some(words)
            }
            _ => {
                self.error(&value.span(), wanted);
                None
            }
        }
    }

    fn quiet_hours(&mut self, value: &Value<'_>) -> Option<Quiet> {
        let wanted = "`quiet_hours` must be a table such as  { from = \"22:00\", to = \"07:00\" }, with `timezone` where it is not that of the schedule";
        let DeValue::Table(table) = value.get_ref() else {
            self.error(&value.span(), wanted);
            return None;
        };
        let (mut from, mut to, mut zone) = (None, None, None);
        for (key, key_span, value) in entries(table) {
            match key {
                "from" | "to" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    match NaiveTime::parse_from_str(&text, "%H:%M") {
                        Ok(time) if key == "from" => from = Some(time),
                        Ok(time) => to = Some(time),
                        Err(_) => self.error(&span, format!("`{key}` must be a time such as \"22:00\"")),
                    }
                }
                "timezone" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    match text.parse::<Zone>() {
                        Ok(found) => zone = Some(found),
                        Err(_) => {
                            self.error(&span, "`timezone` must be an IANA time zone such as America/New_York or UTC")
                        }
                    }
                }
                _ => self.unknown_key("alerts.quiet_hours", key, &key_span, &QUIET_KEYS),
            }
        }
        match (from, to) {
            (Some(from), Some(to)) if from == to => {
                self.error(&value.span(), "`from` and `to` are the same; quiet hours must end");
                None
            }
            (Some(from), Some(to)) => Some((from, to, zone)),
            _ => {
                if table.get("from").is_none() || table.get("to").is_none() {
                    self.error(&value.span(), wanted);
                }
                None
            }
        }
    }

    fn mute(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> Option<Mute> {
        let (mut fingerprint, mut portfolio, mut until, mut reason) = (None, None, None, None);
        for (key, key_span, value) in entries(table) {
            match key {
                "fingerprint" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    match CauseId::new(text) {
                        Ok(cause) => fingerprint = Some(cause),
                        Err(_) => self.error(&span, format!("`fingerprint` must be {}", CauseId::ALLOWED)),
                    }
                }
                "portfolio" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    match PortfolioId::new(text) {
                        Ok(id) => portfolio = Some(id),
                        Err(_) => self.error(&span, format!("`portfolio` may have {}", PortfolioId::ALLOWED)),
                    }
                }
                "until" => until = self.until(value),
                "reason" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
                        self.error(&span, "`reason` may have 1 to 200 characters, none of them a control character");
                    } else {
                        reason = Some(text);
                    }
                }
                _ => self.unknown_key("alerts.mute", key, &key_span, &MUTE_KEYS),
            }
        }
        if table.get("fingerprint").is_some() == table.get("portfolio").is_some() {
            self.error(span, "a mute has either a `fingerprint` or a `portfolio`");
            return None;
        }
        for key in ["until", "reason"] {
            if table.get(key).is_none() {
                self.error(span, format!("the mute has no `{key}`: what is muted comes back, and says why it was"));
            }
        }
        (fingerprint.is_some() || portfolio.is_some()).then_some(())?;
        Some(Mute { fingerprint, portfolio, until: until?, reason: reason? })
    }

    /// A day (until its end, in UTC) or an instant.
    fn until(&mut self, value: &Value<'_>) -> Option<DateTime<Utc>> {
        let text = match value.get_ref() {
            DeValue::Datetime(time) => time.to_string(),
            DeValue::String(text) => text.trim().to_owned(),
            _ => String::new(),
        };
        let day = || text.parse::<NaiveDate>().ok()?.succ_opt()?.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
        let instant = || DateTime::parse_from_rfc3339(&text).ok().map(|time| time.with_timezone(&Utc));
        let until = day().or_else(instant);
        if until.is_none() {
            self.error(
                &value.span(),
                "`until` must be a day, as 2026-12-31, or an instant with its offset, as 2026-12-31T18:00:00Z",
            );
        }
        until
    }

    /// The name of an environment variable. A wrong one is not repeated: it may be the secret itself.
    fn variable(&mut self, key: &str, key_span: &Range<usize>, value: &Value<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) if value::is_variable_name(text.trim()) => Some(text.trim().to_owned()),
            _ => {
                self.error(key_span, format!("`{key}` must be {}", value::VARIABLE_WANTED));
                None
            }
        }
    }

    fn channel(&mut self, table: &DeTable<'_>, span: &Range<usize>) -> Option<ChannelSpec> {
        let (mut name, mut min_severity) = (None, Severity::Info);
        let type_of = table.get("type").and_then(|value| self.choice("type", value, &ChannelKind::NAMES));
        if table.get("type").is_none() {
            self.error(span, format!("the channel has no `type`: one of {}", ChannelKind::NAMES.join(", ")));
        }
        if table.get("name").is_none() {
            self.error(span, "the channel has no `name`");
        }
        let own = type_of.map_or(&[][..], keys_of);
        let mut written = Written::default();
        for (key, key_span, value) in entries(table) {
            match key {
                "type" => {}
                "name" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    match ChannelName::new(text) {
                        Ok(found) if found.as_str() != COMMAND_CHANNEL => name = Some(found),
                        Ok(_) => self.error(&span, "`command` of [alerts] is the channel of this name; take another"),
                        Err(_) => self.error(&span, format!("`name` may have {}", ChannelName::ALLOWED)),
                    }
                }
                "min_severity" => {
                    let found = self.choice(key, value, &Severity::NAMES).and_then(Severity::from_name);
                    min_severity = found.unwrap_or(min_severity);
                }
                _ if own.contains(&key) => self.channel_setting(key, &key_span, value, &mut written),
                _ if type_of.is_none() => {}
                _ if SECRET_KEYS.contains(&key) || (key == "url" && type_of == Some("slack")) => {
                    let instead =
                        own.iter().find(|own| own.ends_with("_env")).copied().unwrap_or("an environment variable");
                    self.error(
                        &key_span,
                        format!("secrets do not stand in this file; name an environment variable with `{instead}`"),
                    );
                }
                _ => {
                    let known: Vec<&str> = ["name", "type", "min_severity"].iter().chain(own).copied().collect();
                    self.unknown_key("alerts.channel", key, &key_span, &known);
                }
            }
        }
        let kind = self.channel_kind(type_of?, span, table, written)?;
        Some(ChannelSpec { name: name?, min_severity, kind })
    }

    fn channel_setting(&mut self, key: &str, key_span: &Range<usize>, value: &Value<'_>, written: &mut Written) {
        match key {
            "command" => written.command = self.alert_command(value),
            "timeout_seconds" => {
                let mut seconds = 0;
                self.whole(key, value, 1..=110, &mut seconds);
                written.timeout_seconds = (seconds > 0).then_some(seconds);
            }
            "url" => {
                let Some((text, span)) = self.text(key, value) else { return };
                if !is_web_address(&text) {
                    self.error(&span, "`url` must begin with https:// and have no spaces, user or password");
                } else if text.starts_with("http://") && !is_loopback(&text) {
                    self.error(&span, "`url` must begin with https://; http:// is for receivers on this machine");
                } else {
                    written.url = Some(text);
                }
            }
            "url_env" => written.url_env = self.variable(key, key_span, value),
            "secret_env" => written.secret_env = self.variable(key, key_span, value),
            "password_env" => written.password_env = self.variable(key, key_span, value),
            "port" => {
                let mut port = 0;
                self.whole(key, value, 1..=65_535, &mut port);
                written.port = (port > 0).then_some(port);
            }
            "tls" => {
                if let Some(word) = self.choice(key, value, &["starttls", "tls", "none"]) {
                    written.tls = match word {
                        "tls" => MailTls::Tls,
                        "none" => MailTls::None,
                        _ => MailTls::Starttls,
                    };
                }
            }
            "to" => written.to = self.addresses(value),
            _ => {
                let Some((text, span)) = self.text(key, value) else { return };
                if text.is_empty() || text.chars().count() > 300 || text.chars().any(char::is_control) {
                    self.error(
                        &span,
                        format!("`{key}` may have 1 to 300 characters, none of them a control character"),
                    );
                    return;
                }
                match key {
                    "host" => written.host = Some(text),
                    "username" => written.username = Some(text),
                    "from" if is_mail_address(&text) => written.from = Some(text),
                    "from" => self.error(&span, "`from` must be a mail address, as  Nightbook <night@example.com>"),
                    "topic_arn" if text.starts_with("arn:") && text.contains(":sns:") => {
                        written.topic_arn = Some(text);
                    }
                    "topic_arn" => {
                        self.error(&span, "`topic_arn` must be the ARN of a topic, as  arn:aws:sns:REGION:ACCOUNT:NAME")
                    }
                    "bus" => written.bus = Some(text),
                    _ => {}
                }
            }
        }
    }

    fn addresses(&mut self, value: &Value<'_>) -> Vec<String> {
        let wanted = "`to` must be a mail address, or a list of 1 to 50 of them";
        let mut to = Vec::new();
        let list: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        };
        for item in &list {
            match item.get_ref() {
                DeValue::String(text) if is_mail_address(text.trim()) => to.push(text.trim().to_owned()),
                _ => self.error(&item.span(), wanted),
            }
        }
        if list.is_empty() || list.len() > 50 {
            self.error(&value.span(), wanted);
        }
        to
    }

    /// The channel that is written, where all is there that it needs.
    fn channel_kind(
        &mut self,
        type_of: &str,
        span: &Range<usize>,
        table: &DeTable<'_>,
        written: Written,
    ) -> Option<ChannelKind> {
        let needs: &[&str] = match type_of {
            "command" => &["command"],
            "slack" => &["url_env"],
            "email" => &["host", "from", "to"],
            "sns" => &["topic_arn"],
            "eventbridge" => &["bus"],
            _ => &[],
        };
        for need in needs {
            if table.get(*need).is_none() {
                self.error(span, format!("a channel of the type {type_of} needs `{need}`"));
            }
        }
        match type_of {
            "command" => Some(ChannelKind::Command {
                command: written.command?,
                timeout_seconds: written.timeout_seconds.unwrap_or(COMMAND_SECONDS),
            }),
            "slack" => Some(ChannelKind::Slack { address: Address::UrlEnv(written.url_env?) }),
            "webhook" => {
                if table.get("url").is_some() == table.get("url_env").is_some() {
                    self.error(span, "a channel of the type webhook needs either a `url` or a `url_env`");
                }
                let address = written.url.map(Address::Url).or(written.url_env.map(Address::UrlEnv))?;
                Some(ChannelKind::Webhook { address, secret_env: written.secret_env })
            }
            "email" => {
                if table.get("username").is_some() != table.get("password_env").is_some() {
                    self.error(span, "`username` and `password_env` go together");
                }
                let host = written.host?;
                if written.tls == MailTls::None && !is_loopback(&format!("http://{host}")) {
                    self.error(
                        span,
                        "without `tls` a mail would go in the clear; that is for a mail server on this machine",
                    );
                }
                let usual = match written.tls {
                    MailTls::Starttls => 587,
                    MailTls::Tls => 465,
                    MailTls::None => 25,
                };
                Some(ChannelKind::Email {
                    host,
                    port: written.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual),
                    tls: written.tls,
                    username: written.username,
                    password_env: written.password_env,
                    from: written.from?,
                    to: written.to,
                })
            }
            "sns" => Some(ChannelKind::Sns { topic_arn: written.topic_arn? }),
            "eventbridge" => Some(ChannelKind::EventBridge { bus: written.bus? }),
            _ => None,
        }
    }
}

/// Whether an address leads to this machine.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `a@b`, or `Name <a@b>`.
fn is_mail_address(text: &str) -> bool {
    let address = match text.rsplit_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let plain = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;\"".contains(c))
    };
    text.len() <= 300
        && !text.chars().any(char::is_control)
        && address.split_once('@').is_some_and(|(user, host)| plain(user) && plain(host) && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;

    #[test]
    fn what_is_wrong_with_alerts_is_named_with_its_place() {
        let (settings, errors, _) = parse(
            "[alerts]\nwait_runs = 0\nquality_share = 2\ndelivery = \"twice\"\nquiet_hours = { from = \"25:00\", to = \"07:00\" }\n\
             [[alerts.mute]]\nuntil = 2026-12-24\nreason = \"x\"\n\
             [[alerts.mute]]\nportfolio = \"a\"\nuntil = \"soon\"\n\
             [[alerts.channel]]\nname = \"a b\"\ntype = \"pigeon\"\n\
             [[alerts.channel]]\nname = \"mail\"\ntype = \"email\"\nhost = \"mail.example\"\ntls = \"none\"\nfrom = \"x\"\nto = []\n\
             [[alerts.channel]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://hooks.example/x\"\n\
             [[alerts.channel]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9/x\"\n\
             [[alerts.channel]]\nname = \"command\"\ntype = \"command\"\ncommand = []\nport = 1\n",
        );
        let all = errors.join("\n");
        for wanted in [
            "2:13: 0: `wait_runs` must be a whole number from 1 to 100",
            "3:17: 2: `quality_share` must be a number from 0 to 1",
            "4:12: \"twice\": `delivery` must be one of at_least_once, at_most_once",
            "5:24: \"25:00\": `from` must be a time",
            "either a `fingerprint` or a `portfolio`",
            "11:9: \"soon\": `until` must be a day",
            "the mute has no `reason`",
            "13:8: \"a b\": `name` may have",
            "`type` must be one of sns, eventbridge",
            "20:8: \"x\": `from` must be a mail address",
            "21:6: []: `to` must be",
            "in the clear",
            "25:7: \"http://hooks.example/x\": `url` must begin with https://",
            "`command` of [alerts] is the channel of this name",
            "unknown key `alerts.channel.port`",
        ] {
            assert!(all.contains(wanted), "{wanted} is not in\n{all}");
        }
        assert_eq!(settings.alerts.rules.wait_runs, 1);
    }

    #[test]
    fn a_command_alone_gets_digests_only_where_they_are_asked_for() {
        let command = "[alerts]\ncommand = \"page\"\n";
        let channel = "[[alerts.channel]]\nname = \"a\"\ntype = \"command\"\ncommand = \"page\"\n";
        for (text, digest) in [
            (command.to_owned(), false),
            (format!("{command}digest = true\n"), true),
            (channel.to_owned(), true),
            (format!("[alerts]\ndigest = false\n{channel}"), false),
        ] {
            let (settings, errors, _) = parse(&text);
            assert_eq!((settings.alerts.rules_in_force().digest, errors), (Some(digest), vec![]), "{text}");
        }
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        let (_, errors, _) = parse(
            "[[alerts.channel]]\nname = \"a\"\ntype = \"slack\"\nurl = \"https://hooks.slack.example/T0/C4nary\"\n\
             [[alerts.channel]]\nname = \"b\"\ntype = \"webhook\"\nurl = \"https://h.example\"\nsecret_env = \"whsec-C4nary\"\n\
             [[alerts.channel]]\nname = \"c\"\ntype = \"email\"\npassword = \"C4nary\"\nhost = \"m\"\nfrom = \"a@b\"\nto = \"a@b\"\n",
        );
        let all = errors.join("\n");
        assert!(all.contains("name an environment variable with `url_env`"), "{all}");
        assert!(all.contains("`secret_env` must be the name of an environment variable"), "{all}");
        assert!(all.contains("name an environment variable with `password_env`"), "{all}");
        assert!(!all.contains("C4nary"), "{all}");
    }
}
