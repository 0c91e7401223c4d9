//! `[alerts]`: when people are notified, and through which channels.

mod channels;
mod mutes;

use std::ops::Range;

use chrono::NaiveTime;
use domain::alert_rules::{DeliveryMode, QuietHours};
use domain::zone::Zone;
use toml::de::DeValue;

use super::values::kind;
use super::walk::{Entry, Key, Walk, key};
use super::{Draft, Table, Value};
use crate::settings::Settings;

/// The keys of the section.
pub(super) const KEYS: &[Key<Draft>] = &[
    key("command", |walk, entry, draft| {
        if let Some(command) = walk.alert_command(entry.value) {
            draft.settings.alerts.command = Some(command);
        }
    }),
    key("wait_runs", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=100, &mut draft.settings.alerts.rules.wait_runs);
    }),
    key("min_portfolios", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=1_000_000, &mut draft.settings.alerts.rules.min_portfolios);
    }),
    key("digest", |walk, entry, draft| {
        if let Some(digest) = walk.flag(entry.key, entry.value) {
            draft.settings.alerts.rules.digest = Some(digest);
        }
    }),
    key("digest_days", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 0..=365, &mut draft.settings.alerts.rules.digest_days);
    }),
    key("quality_share", |walk, entry, draft| {
        walk.number(entry.key, entry.value, 0.0..=1.0, &mut draft.settings.alerts.rules.quality_share);
    }),
    key("pace_seconds", |walk, entry, draft| {
        walk.number(entry.key, entry.value, 0.0..=86_400.0, &mut draft.settings.alerts.rules.pace_seconds);
    }),
    key("overdue_minutes", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 0..=10_080, &mut draft.settings.alerts.rules.overdue_minutes);
    }),
    key("quiet_hours", |walk, entry, draft| {
        if let Some((from, to, zone)) = walk.quiet_hours(entry.value) {
            // UTC stands for that of the schedule until all of the file is read.
            let timezone = zone.unwrap_or(Zone::UTC);
            draft.settings.alerts.rules.quiet_hours = Some(QuietHours { from, to, timezone });
            walk.quiet_zone_open = zone.is_none();
        }
    }),
    key("delivery", |walk, entry, draft| {
        if let Some(word) = walk.choice(entry.key, entry.value, &["at_least_once", "at_most_once"]) {
            let at_most = word == "at_most_once";
            draft.settings.alerts.rules.delivery =
                if at_most { DeliveryMode::AtMostOnce } else { DeliveryMode::AtLeastOnce };
        }
    }),
    key("mute", |walk, entry, draft| draft.settings.alerts.rules.mutes = walk.mutes(entry)),
    key("channel", |walk, entry, draft| draft.settings.alerts.channels = walk.channels(entry)),
];

/// What the table of the quiet hours says; no time zone: that of the schedule.
type Quiet = (NaiveTime, NaiveTime, Option<Zone>);

/// What is read of the table of the quiet hours.
#[derive(Default)]
struct QuietDraft {
    from: Option<NaiveTime>,
    to: Option<NaiveTime>,
    zone: Option<Zone>,
}

/// The keys of the table of the quiet hours.
const QUIET_HOURS: &[Key<QuietDraft>] = &[
    key("from", |walk, entry, draft| {
        if let Some(time) = walk.time_of_day(entry) {
            draft.from = Some(time);
        }
    }),
    key("to", |walk, entry, draft| {
        if let Some(time) = walk.time_of_day(entry) {
            draft.to = Some(time);
        }
    }),
    key("timezone", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        match text.parse::<Zone>() {
            Ok(found) => draft.zone = Some(found),
            Err(_) => walk.error(&span, "`timezone` must be an IANA time zone such as America/New_York or UTC"),
        }
    }),
];

impl Walk<'_> {
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
        mut read: impl FnMut(&mut Self, &Table<'_>, &Range<usize>) -> Option<T>,
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
        let mut draft = QuietDraft::default();
        self.keys("alerts.quiet_hours", table, QUIET_HOURS, &mut draft);
        match (draft.from, draft.to) {
            (Some(from), Some(to)) if from == to => {
                self.error(&value.span(), "`from` and `to` are the same; quiet hours must end");
                None
            }
            (Some(from), Some(to)) => Some((from, to, draft.zone)),
            _ => {
                if table.get("from").is_none() || table.get("to").is_none() {
                    self.error(&value.span(), wanted);
                }
                None
            }
        }
    }

    pub(super) fn time_of_day(&mut self, entry: &Entry<'_, '_>) -> Option<NaiveTime> {
        let (text, span) = self.text(entry.key, entry.value)?;
        let time = NaiveTime::parse_from_str(&text, "%H:%M").ok();
        if time.is_none() {
            self.error(&span, format!("`{}` must be a time such as \"22:00\"", entry.key));
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use crate::settings_file::tests::parse;

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
