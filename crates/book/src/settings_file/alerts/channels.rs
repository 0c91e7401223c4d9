//! `[[alerts.channel]]`: a way to people, each kind with keys of its own.

use std::ops::Range;

use domain::alert_rules::{Address, ChannelKind, ChannelSpec, MailTls, Severity};
use domain::ids::ChannelName;
use toml::de::DeValue;

use crate::portfolios::is_web_address;
use crate::settings::{COMMAND_CHANNEL, COMMAND_SECONDS};
use crate::settings_file::walk::{Entry, Key, Walk, entries, key, names_of};
use crate::settings_file::{Table, Value};
use crate::value;

/// Keys that people look for, and that would hold a secret.
const SECRET_KEYS: [&str; 6] = ["password", "secret", "token", "key", "api_key", "signing_secret"];

/// What is read of a channel, before it is known whether it makes one.
#[derive(Default)]
struct ChannelDraft {
    name: Option<ChannelName>,
    min_severity: Option<Severity>,
    command: Option<Vec<String>>,
    timeout_seconds: Option<u32>,
    env: Vec<String>,
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

/// A kind of channel.
struct Kind {
    /// What `type` says.
    name: &'static str,
    /// The keys beside those of every channel.
    keys: &'static [Key<ChannelDraft>],
    /// Those of them without which there is no channel.
    needs: &'static [&'static str],
    /// The channel, where everything is there that it needs; reports what does not fit together.
    make: fn(&mut Walk<'_>, &Range<usize>, &Table<'_>, ChannelDraft) -> Option<ChannelKind>,
}

/// All kinds, in the order of [`ChannelKind::NAMES`].
const KINDS: [Kind; 6] = [
    Kind {
        name: "sns",
        keys: &[key("topic_arn", |walk, entry, draft| {
            let Some((text, span)) = walk.channel_text(entry) else { return };
            if text.starts_with("arn:") && text.contains(":sns:") {
                draft.topic_arn = Some(text);
            } else {
                walk.error(&span, "`topic_arn` must be the ARN of a topic, as  arn:aws:sns:REGION:ACCOUNT:NAME");
            }
        })],
        needs: &["topic_arn"],
        make: |_, _, _, draft| Some(ChannelKind::Sns { topic_arn: draft.topic_arn? }),
    },
    Kind {
        name: "eventbridge",
        keys: &[key("bus", |walk, entry, draft| draft.bus = walk.channel_text(entry).map(|(text, _)| text))],
        needs: &["bus"],
        make: |_, _, _, draft| Some(ChannelKind::EventBridge { bus: draft.bus? }),
    },
    Kind {
        name: "slack",
        keys: &[key("url_env", |walk, entry, draft| draft.url_env = walk.secret_variable(entry))],
        needs: &["url_env"],
        make: |_, _, _, draft| Some(ChannelKind::Slack { address: Address::UrlEnv(draft.url_env?) }),
    },
    Kind {
        name: "webhook",
        keys: &[
            key("url", |walk, entry, draft| draft.url = walk.hook_url(entry)),
            key("url_env", |walk, entry, draft| draft.url_env = walk.secret_variable(entry)),
            key("secret_env", |walk, entry, draft| draft.secret_env = walk.secret_variable(entry)),
        ],
        needs: &[],
        make: |walk, span, table, draft| {
            if table.get("url").is_some() == table.get("url_env").is_some() {
                walk.error(span, "a channel of the type webhook needs either a `url` or a `url_env`");
            }
            let address = draft.url.map(Address::Url).or(draft.url_env.map(Address::UrlEnv))?;
            Some(ChannelKind::Webhook { address, secret_env: draft.secret_env })
        },
    },
    Kind { name: "email", keys: EMAIL, needs: &["host", "from", "to"], make: email },
    Kind {
        name: "command",
        keys: &[
            key("command", |walk, entry, draft| draft.command = walk.alert_command(entry.value)),
            key("timeout_seconds", |walk, entry, draft| {
                draft.timeout_seconds = walk.whole_number(entry.key, entry.value, &(1..=110));
            }),
            key("env", |walk, entry, draft| draft.env = walk.env_names(entry.value)),
        ],
        needs: &["command"],
        make: |_, _, _, draft| {
            let timeout_seconds = draft.timeout_seconds.unwrap_or(COMMAND_SECONDS);
            Some(ChannelKind::Command { command: draft.command?, timeout_seconds, env: draft.env })
        },
    },
];

/// The keys of a channel of the type `email`.
const EMAIL: &[Key<ChannelDraft>] = &[
    key("host", |walk, entry, draft| draft.host = walk.channel_text(entry).map(|(text, _)| text)),
    key("port", |walk, entry, draft| draft.port = walk.whole_number(entry.key, entry.value, &(1..=65_535))),
    key("tls", |walk, entry, draft| {
        if let Some(word) = walk.choice(entry.key, entry.value, &["starttls", "tls", "none"]) {
            draft.tls = match word {
                "tls" => MailTls::Tls,
                "none" => MailTls::None,
                _ => MailTls::Starttls,
            };
        }
    }),
    key("username", |walk, entry, draft| draft.username = walk.channel_text(entry).map(|(text, _)| text)),
    key("password_env", |walk, entry, draft| draft.password_env = walk.secret_variable(entry)),
    key("from", |walk, entry, draft| {
        let Some((text, span)) = walk.channel_text(entry) else { return };
        if is_mail_address(&text) {
            draft.from = Some(text);
        } else {
            walk.error(&span, "`from` must be a mail address, as  Nightbook <night@example.com>");
        }
    }),
    key("to", |walk, entry, draft| draft.to = walk.addresses(entry.value)),
];

fn email(walk: &mut Walk<'_>, span: &Range<usize>, table: &Table<'_>, draft: ChannelDraft) -> Option<ChannelKind> {
    if table.get("username").is_some() != table.get("password_env").is_some() {
        walk.error(span, "`username` and `password_env` go together");
    }
    let host = draft.host?;
    if draft.tls == MailTls::None && !is_loopback(&format!("http://{host}")) {
        walk.error(span, "without `tls` a mail would go in the clear; that is for a mail server on this machine");
    }
    let usual = match draft.tls {
        MailTls::Starttls => 587,
        MailTls::Tls => 465,
        MailTls::None => 25,
    };
    Some(ChannelKind::Email {
        host,
        port: draft.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual),
        tls: draft.tls,
        username: draft.username,
        password_env: draft.password_env,
        from: draft.from?,
        to: draft.to,
    })
}

/// The keys of every channel. Its type is read before them: it says which others there are.
const COMMON: &[Key<ChannelDraft>] = &[
    key("name", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        match ChannelName::new(text) {
            Ok(found) if found.as_str() != COMMAND_CHANNEL => draft.name = Some(found),
            Ok(_) => walk.error(&span, "`command` of [alerts] is the channel of this name; take another"),
            Err(_) => walk.error(&span, format!("`name` may have {}", ChannelName::ALLOWED)),
        }
    }),
    key("type", |_, _, _| ()),
    key("min_severity", |walk, entry, draft| {
        let found = walk.choice(entry.key, entry.value, &Severity::NAMES).and_then(Severity::from_name);
        draft.min_severity = found.or(draft.min_severity);
    }),
];

impl Walk<'_> {
    /// Reads `[[alerts.channel]]`.
    pub(super) fn channels(&mut self, entry: &Entry<'_, '_>) -> Vec<ChannelSpec> {
        let read =
            |walk: &mut Self, table: &Table<'_>, span: &Range<usize>| Some((walk.channel(table, span)?, span.clone()));
        let mut channels: Vec<ChannelSpec> = Vec::new();
        for (channel, span) in self.each(entry.key, entry.value, read) {
            if channels.iter().any(|other| other.name == channel.name) {
                self.error(&span, format!("another channel is called `{}`; names must be unique", channel.name));
            }
            channels.push(channel);
        }
        channels
    }

    fn channel(&mut self, table: &Table<'_>, span: &Range<usize>) -> Option<ChannelSpec> {
        let names = KINDS.map(|kind| kind.name);
        let chosen = table.get("type").and_then(|value| self.choice("type", value, &names));
        let kind = KINDS.into_iter().find(|kind| Some(kind.name) == chosen);
        for (key, message) in [
            ("type", format!("the channel has no `type`: one of {}", names.join(", "))),
            ("name", "the channel has no `name`".to_owned()),
        ] {
            if table.get(key).is_none() {
                self.error(span, message);
            }
        }
        let own = kind.as_ref().map_or(&[][..], |kind| kind.keys);
        let mut draft = ChannelDraft::default();
        for entry in entries(table) {
            match COMMON.iter().chain(own).find(|key| key.name == entry.key) {
                Some(key) => (key.read)(self, &entry, &mut draft),
                // Which keys it has is not known, and that there is no such type is an error already.
                None if kind.is_none() => {}
                None => self.not_of_the_channel(chosen, own, &entry),
            }
        }
        let kind = kind?;
        for need in kind.needs {
            if table.get(*need).is_none() {
                self.error(span, format!("a channel of the type {} needs `{need}`", kind.name));
            }
        }
        let (name, min_severity) = (draft.name.take(), draft.min_severity.unwrap_or(Severity::Info));
        let kind = (kind.make)(self, span, table, draft)?;
        Some(ChannelSpec { name: name?, min_severity, kind })
    }

    /// The error for a key that a channel of this kind does not have.
    fn not_of_the_channel(&mut self, kind: Option<&str>, own: &[Key<ChannelDraft>], entry: &Entry<'_, '_>) {
        if SECRET_KEYS.contains(&entry.key) || (entry.key == "url" && kind == Some("slack")) {
            let by_name = names_of(own).into_iter().find(|name| name.ends_with("_env"));
            let instead = by_name.unwrap_or("an environment variable");
            let message = format!("secrets do not stand in this file; name an environment variable with `{instead}`");
            self.error(&entry.key_span, message);
        } else {
            let known: Vec<&str> = ["name", "type", "min_severity"].into_iter().chain(names_of(own)).collect();
            self.unknown_key("alerts.channel", entry, &known);
        }
    }

    /// A text of a channel, and where it stands.
    fn channel_text(&mut self, entry: &Entry<'_, '_>) -> Option<(String, Range<usize>)> {
        Some((self.short_text(entry.key, entry.value, 300)?, entry.value.span()))
    }

    fn hook_url(&mut self, entry: &Entry<'_, '_>) -> Option<String> {
        let (text, span) = self.text(entry.key, entry.value)?;
        if !is_web_address(&text) {
            self.error(&span, "`url` must begin with https:// and have no spaces, user or password");
        } else if text.starts_with("http://") && !is_loopback(&text) {
            self.error(&span, "`url` must begin with https://; http:// is for receivers on this machine");
        } else {
            return Some(text);
        }
        None
    }

    /// The name of an environment variable. A wrong one is not repeated: it may be the secret itself.
    fn secret_variable(&mut self, entry: &Entry<'_, '_>) -> Option<String> {
        match entry.value.get_ref() {
            DeValue::String(text) if value::is_variable_name(text.trim()) => Some(text.trim().to_owned()),
            _ => {
                self.error(&entry.key_span, format!("`{}` must be {}", entry.key, value::VARIABLE_WANTED));
                None
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
    use super::*;

    #[test]
    fn every_kind_of_channel_can_be_read() {
        assert_eq!(KINDS.map(|kind| kind.name), ChannelKind::NAMES);
        for kind in KINDS {
            let known = names_of(kind.keys);
            assert!(kind.needs.iter().all(|need| known.contains(need)), "{}", kind.name);
        }
    }
}
