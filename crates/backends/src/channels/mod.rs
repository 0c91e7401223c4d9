//! Ways to people: what `[[alerts.channel]]` describes, as implementations of [`AlertChannel`].
//!
//! What they have in common: time is limited, what a receiver answers is not kept beyond its beginning, a redirect is
//! not followed, and no secret stands in an error. Secrets come from the environment, by the names in the settings.

mod command;
mod email;
mod http;

use std::sync::Arc;

use async_trait::async_trait;
use domain::alert_message::AlertMessage;
use domain::alert_rules::{Address, ChannelKind, ChannelSpec, Severity};
use domain::ids::ChannelName;
use domain::ports::{AlertChannel, ChannelError, Clock};

pub use http::sign;

/// The channel that these settings describe.
///
/// One that cannot be used here is a channel too, whose deliveries fail and say why: what is wrong with it shows where
/// failed deliveries show, and keeps no other from delivering.
///
/// `environment` gives the value of an environment variable.
#[must_use]
pub fn channel(
    spec: &ChannelSpec,
    environment: &dyn Fn(&str) -> Option<String>,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn AlertChannel> {
    let (name, least) = (spec.name.clone(), spec.min_severity);
    let transport = transport(&spec.kind, environment, clock);
    Arc::new(Channel { name, least, transport })
}

fn transport(
    kind: &ChannelKind,
    environment: &dyn Fn(&str) -> Option<String>,
    clock: &Arc<dyn Clock>,
) -> Result<Box<dyn Transport>, String> {
    let secret = |name: &str| {
        environment(name)
            .filter(|value| !value.trim().is_empty())
            .ok_or_else(|| format!("the environment variable {name} is not set, and [[alerts.channel]] names it"))
    };
    let address = |address: &Address| match address {
        Address::Url(url) => Ok(url.clone()),
        Address::UrlEnv(name) => {
            let url = secret(name)?;
            let url = url.trim();
            if url.starts_with("https://") || (url.starts_with("http://") && http::is_this_machine(url)) {
                Ok(url.to_owned())
            } else {
                Err(format!("the environment variable {name} holds no web address that begins with https://"))
            }
        }
    };
    Ok(match kind {
        ChannelKind::Command { command, timeout_seconds, env } => {
            Box::new(command::Command { words: command.clone(), env: env.clone(), limit_seconds: *timeout_seconds })
        }
        ChannelKind::Slack { address: place } => Box::new(http::Slack(http::Post::to(address(place)?, clock))),
        ChannelKind::Webhook { address: place, secret_env } => Box::new(http::Webhook {
            post: http::Post::to(address(place)?, clock),
            key: secret_env.as_deref().map(|name| http::key_of(&secret(name)?)).transpose()?,
        }),
        ChannelKind::Email { host, port, tls, username, password_env, from, to } => {
            let password = password_env.as_deref().map(secret).transpose()?;
            Box::new(email::Email::new((host, *port), *tls, username.as_deref(), password, from, to)?)
        }
        ChannelKind::Sns { .. } | ChannelKind::EventBridge { .. } => {
            return Err(format!("channels of the type {} are there in the cloud only", kind.as_str()));
        }
    })
}

/// How a message is carried.
#[async_trait]
trait Transport: Send + Sync {
    async fn carry(&self, message: &AlertMessage) -> Result<(), ChannelError>;
}

struct Channel {
    name: ChannelName,
    least: Severity,
    transport: Result<Box<dyn Transport>, String>,
}

#[async_trait]
impl AlertChannel for Channel {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    fn min_severity(&self) -> Severity {
        self.least
    }

    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        match &self.transport {
            Ok(transport) => transport.carry(message).await,
            Err(why) => Err(failed(why.clone())),
        }
    }
}

/// A failure that may go away.
fn failed(message: String) -> ChannelError {
    ChannelError { message, retry_after: None, is_final: false }
}

/// The message as its receivers read it.
fn json(message: &AlertMessage) -> Result<Vec<u8>, ChannelError> {
    serde_json::to_vec(message).map_err(|error| failed(format!("the message could not be written as JSON: {error}")))
}

/// Does blocking work on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChannelError> + Send + 'static,
) -> Result<T, ChannelError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(failed(format!("the delivery ended badly: {error}"))),
    }
}
