//! Webhooks: what Slack takes, and the message as JSON, signed by the rules of Standard Webhooks
//! (<https://www.standardwebhooks.com>).

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use domain::alert_message::AlertMessage;
use domain::ports::{ChannelError, Clock};
use domain::redact::redact;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use ureq::Agent;

use super::{Transport, blocking, failed};

/// How long a receiver may take for everything.
const LIMIT: Duration = Duration::from_secs(30);

/// How much of what a receiver answers is read.
const ANSWER_BYTES: u64 = 2 << 10;

/// How much of that a message carries, in characters.
const ANSWER_CHARS: usize = 200;

/// Longest text that goes into a chat, in characters.
const CHAT_CHARS: usize = 3_500;

/// Where something is posted to.
pub(super) struct Post {
    url: String,
    agent: Agent,
    clock: Arc<dyn Clock>,
}

impl Post {
    pub(super) fn to(url: String, clock: &Arc<dyn Clock>) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .timeout_connect(Some(Duration::from_secs(10)))
            // A redirect may lead the message anywhere: the address in the settings is the one that was meant.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("nightbook/", env!("CARGO_PKG_VERSION")));
        let config = if is_this_machine(&url) { config.proxy(None) } else { config };
        Self { agent: config.build().into(), url, clock: Arc::clone(clock) }
    }

    async fn post(&self, headers: Vec<(&'static str, String)>, body: Vec<u8>) -> Result<(), ChannelError> {
        let (agent, url, now) = (self.agent.clone(), self.url.clone(), self.clock.now());
        let sent = move || {
            let host = host_of(&url);
            let mut request = agent.post(&url).header("content-type", "application/json");
            for (name, value) in &headers {
                request = request.header(*name, value);
            }
            let mut answer = match request.send(&body[..]) {
                Ok(answer) => answer,
                Err(error) => return Err(failed(format!("{host} could not be reached: {}", masked(&error, &url)))),
            };
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
            let retry_after = header("retry-after").and_then(|text| retry_after(text, now));
            if status.is_redirection() {
                let to = header("location").map_or_else(|| "nowhere".to_owned(), host_of);
                return Err(failed(format!("{host} answers {status}: a redirect to {to} is not followed")));
            }
            let mut said = Vec::new();
            // What cannot be read is not said.
            let _ = answer.body_mut().as_reader().take(ANSWER_BYTES).read_to_end(&mut said);
            let said = masked(&String::from_utf8_lossy(&said), &url);
            let said: String = said.trim().chars().take(ANSWER_CHARS).collect();
            Err(ChannelError {
                message: format!("{host} answers {status}: {said}"),
                retry_after,
                // Of these the receiver says that the message itself is what it does not take.
                is_final: matches!(status.as_u16(), 400 | 406 | 413 | 415 | 422),
            })
        };
        blocking(sent).await
    }
}

/// The text of something that may repeat the address, whose path and query may be a secret.
fn masked(what: &impl ToString, url: &str) -> String {
    let mut text = what.to_string();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    if let Some(at) = rest.find(['/', '?']).filter(|at| rest.len() - at > 1) {
        text = text.replace(&rest[at..], "/***");
    }
    redact(&text)
}

/// The host of an address, with its port, and nothing that may be secret.
fn host_of(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://") else { return "the same host".to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    redact(authority.rsplit('@').next().unwrap_or_default())
}

/// Whether an address leads to this machine.
pub(super) fn is_this_machine(url: &str) -> bool {
    let host = host_of(url);
    let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => (DateTime::parse_from_rfc2822(text.trim()).ok()?.with_timezone(&Utc) - now).to_std().ok(),
    }
}

/// A webhook that takes what Slack takes: a text.
pub(super) struct Slack(pub(super) Post);

#[async_trait]
impl Transport for Slack {
    async fn carry(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        // The three signs that have a meaning there.
        let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let text = format!("*{}*\n{}", plain(&message.title), plain(&message.text()));
        let cut: String = text.chars().take(CHAT_CHARS).collect();
        let body = json!({ "text": cut }).to_string();
        self.0.post(Vec::new(), body.into_bytes()).await
    }
}

/// A webhook that takes the message as JSON.
pub(super) struct Webhook {
    pub(super) post: Post,
    pub(super) key: Option<Vec<u8>>,
}

#[async_trait]
impl Transport for Webhook {
    async fn carry(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        let body = super::json(message)?;
        let (id, at) = (message.alert_id.clone(), self.post.clock.now().timestamp());
        let mut headers = vec![("webhook-id", id.clone()), ("webhook-timestamp", at.to_string())];
        if let Some(key) = &self.key {
            headers.push(("webhook-signature", sign(key, &id, at, &body)));
        }
        self.post.post(headers, body).await
    }
}

/// The key in a secret: `whsec_` and base64, or the bytes of the text itself.
pub(super) fn key_of(secret: &str) -> Result<Vec<u8>, String> {
    match secret.trim().strip_prefix("whsec_") {
        Some(base64) => STANDARD
            .decode(base64)
            .map_err(|_| "the secret of the signature begins with whsec_, and is no base64 after it".to_owned()),
        None => Ok(secret.trim().as_bytes().to_vec()),
    }
}

/// The signature of a message as `webhook-signature` carries it: version 1 of Standard Webhooks. `at` is the time in
/// `webhook-timestamp`, in seconds since 1970.
#[must_use]
pub fn sign(key: &[u8], id: &str, at: i64, body: &[u8]) -> String {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("a key of any length is one for HMAC"),
    };
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // The example of the specification's own libraries.
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(key_of("whsec_?").is_err());
        assert_eq!(key_of("plain").unwrap(), b"plain");
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_repeated() {
        let url = "https://hooks.slack.example/services/T0/B0/Secret?x=1";
        assert_eq!(host_of(url), "hooks.slack.example");
        assert_eq!(masked(&format!("cannot reach {url}"), url), "cannot reach https://hooks.slack.example/***");
        assert!(!host_of("https://u:C4nary@h.example/x").contains("C4nary"));
        assert!(is_this_machine("http://127.0.0.1:8080/x") && is_this_machine("http://[::1]:80"));
        assert!(!is_this_machine("http://127.0.0.1.example/x"));
    }

    #[test]
    fn a_receiver_may_say_when_in_seconds_or_as_a_date() {
        let now = "2026-11-24T23:30:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 23:31:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Tue, 24 Nov 2026 23:29:00 GMT", now), None);
        assert_eq!(retry_after("soon", now), None);
    }
}
