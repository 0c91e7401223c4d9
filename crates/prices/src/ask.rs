//! One request to the source: the address from its template, tries with pauses, and no key in anything that is said.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use book::{AnswerForm, HttpPriceSettings};
use domain::words::ErrorCategory;

use crate::answer::{Rows, read_csv, read_json};
use crate::bucket::Bucket;
use crate::plan::Request;

/// Tries of one request.
const TRIES: u32 = 4;
/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, whatever the source asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What an answer may take, in bytes.
const MOST_BYTES: u64 = 16 << 20;
/// How often somebody who waits looks whether to go on.
const POLL: Duration = Duration::from_millis(50);

/// Why a source did not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It may the next time.
    #[error("the price source {host} {what}")]
    Transient {
        /// The host.
        host: String,
        /// What it did.
        what: String,
    },
    /// It will not the next time either.
    #[error("the price source {host} {what}")]
    Permanent {
        /// The host.
        host: String,
        /// What it did.
        what: String,
    },
    /// Nobody waits for the answer any more.
    #[error("the worker was told to stop")]
    Stopped,
}

impl AskError {
    /// Whether to ask again another time.
    #[must_use]
    pub const fn category(&self) -> ErrorCategory {
        match self {
            Self::Transient { .. } | Self::Stopped => ErrorCategory::Transient,
            Self::Permanent { .. } => ErrorCategory::Permanent,
        }
    }
}

/// Asks a source.
pub struct Ask<'a> {
    settings: &'a HttpPriceSettings,
    key: Option<String>,
    agent: ureq::Agent,
    bucket: Bucket,
    until: Instant,
    stop: &'a AtomicBool,
    jitter: &'a (dyn Fn() -> f64 + Sync),
    /// Requests that were sent.
    pub calls: u64,
}

impl std::fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What one try came to.
enum Tried {
    Rows(Rows),
    /// The source knows nothing of these symbols.
    Unknown,
    Again(String, Option<Duration>),
    Refused(String),
}

impl<'a> Ask<'a> {
    /// Asks as the settings say, with this key; `jitter` is uniform in [0, 1).
    #[must_use]
    pub fn new(
        settings: &'a HttpPriceSettings,
        key: Option<String>,
        stop: &'a AtomicBool,
        jitter: &'a (dyn Fn() -> f64 + Sync),
    ) -> Self {
        let now = Instant::now();
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(u64::from(settings.timeout_seconds))))
            // A redirect would take the key along.
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("nightbook/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self {
            settings,
            key,
            agent,
            bucket: Bucket::new(settings.requests_per_minute, now),
            until: now + Duration::from_secs(u64::from(settings.total_seconds)),
            stop,
            jitter,
            calls: 0,
        }
    }

    /// The rows that a request comes to; none where the source does not know the symbols.
    ///
    /// # Errors
    /// [`AskError`], after all tries.
    pub fn ask(&mut self, request: &Request) -> Result<Rows, AskError> {
        let host = self.host();
        let mut attempt = 1;
        loop {
            let wait = self.bucket.take(Instant::now());
            self.pause(wait, &host)?;
            self.calls += 1;
            let (what, wanted) = match self.try_once(request) {
                Tried::Rows(rows) => return Ok(rows),
                Tried::Unknown => return Ok((Vec::new(), Vec::new())),
                Tried::Refused(what) => return Err(AskError::Permanent { host, what }),
                Tried::Again(what, wanted) => (what, wanted),
            };
            if attempt == TRIES {
                return Err(AskError::Transient { host, what: format!("{what}, {TRIES} times in a row") });
            }
            let own = PAUSE.mul_f64(2f64.powi(attempt as i32 - 1) * (0.5 + (self.jitter)()));
            tracing::debug!(host, what, attempt, event = "prices.retried", "the price source is asked again");
            self.pause(wanted.unwrap_or(own).min(LONGEST_PAUSE), &host)?;
            attempt += 1;
        }
    }

    fn pause(&self, wait: Duration, host: &str) -> Result<(), AskError> {
        let end = Instant::now() + wait;
        if end > self.until {
            let what = format!("did not give all prices within {} s", self.settings.total_seconds);
            return Err(AskError::Transient { host: host.to_owned(), what });
        }
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(AskError::Stopped);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::park_timeout(left.min(POLL));
        }
    }

    /// The host of the template: what may be named, since it holds no key.
    fn host(&self) -> String {
        let after = self.settings.url.split("://").nth(1).unwrap_or_default();
        after.split(['/', '?', '{']).next().unwrap_or_default().to_owned()
    }

    fn url(&self, request: &Request) -> String {
        let symbols = request.symbols.iter().map(|symbol| encoded(symbol)).collect::<Vec<_>>().join(",");
        let compact = |date: chrono::NaiveDate| date.format("%Y%m%d").to_string();
        let mut url = self.settings.url.clone();
        for (name, value) in [
            ("{symbol}", &symbols),
            ("{symbols}", &symbols),
            ("{from}", &request.from.to_string()),
            ("{to}", &request.to.to_string()),
            ("{from_compact}", &compact(request.from)),
            ("{to_compact}", &compact(request.to)),
        ] {
            url = url.replace(name, value);
        }
        // Last: a key may hold anything.
        url.replace("{key}", &encoded(self.key.as_deref().unwrap_or_default()))
    }

    fn try_once(&self, request: &Request) -> Tried {
        let mut call = self.agent.get(self.url(request));
        if let Some((name, value)) = self.settings.header.as_ref().and_then(|header| header.split_once(':')) {
            call = call.header(name.trim(), value.trim().replace("{key}", self.key.as_deref().unwrap_or_default()));
        }
        let of = match &request.symbols[..] {
            [one] => one.clone(),
            all => format!("{} symbols", all.len()),
        };
        let mut response = match call.call() {
            Ok(response) => response,
            Err(error) => {
                return Tried::Again(
                    format!("could not be asked for {of} ({})", self.masked(&error.to_string())),
                    None,
                );
            }
        };
        let status = response.status();
        match status.as_u16() {
            200 => {}
            204 | 404 => return Tried::Unknown,
            401 | 403 => {
                return Tried::Refused(format!("answered {status} for {of}: check the key that `key_env` names"));
            }
            429 | 503 => {
                let wanted =
                    response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
                return Tried::Again(format!("answered {status} for {of}"), wanted.map(Duration::from_secs));
            }
            500.. | 408 | 425 => return Tried::Again(format!("answered {status} for {of}"), None),
            300..=399 => {
                return Tried::Refused(format!(
                    "answered {status} for {of}: it leads elsewhere, give the final address in `url`"
                ));
            }
            _ => return Tried::Refused(format!("answered {status} for {of}: check `url` in [prices]")),
        }
        let headers = response.headers();
        let framed = headers.contains_key("content-length") || headers.contains_key("transfer-encoding");
        let body = match response.body_mut().with_config().limit(MOST_BYTES).read_to_vec() {
            Ok(body) => body,
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                return Tried::Refused(format!(
                    "answered with more than {} MB for {of}: ask for fewer symbols or days",
                    MOST_BYTES >> 20
                ));
            }
            Err(error) => {
                return Tried::Again(
                    format!("broke off its answer for {of} ({})", self.masked(&error.to_string())),
                    None,
                );
            }
        };
        // Where nothing says how long the answer is, one that broke off looks like one that ended: half a number at its
        // end would be kept for good.
        if !framed && is_cut(&body, self.settings.form) {
            return Tried::Again(format!("broke off its answer for {of}"), None);
        }
        let s = self.settings;
        let symbol = s.symbol_field.as_deref();
        let read = match s.form {
            AnswerForm::Csv => read_csv(&body, &s.date_field, &s.close_field, symbol),
            AnswerForm::Json => read_json(&body, &s.rows_path, &s.date_field, &s.close_field, symbol),
        };
        match read {
            Ok(rows) => Tried::Rows(rows),
            // With status 200, as pages of maintenance come: the next try may find the source again.
            Err(what) => Tried::Again(format!("gave no prices for {of}: {}", self.masked(&what)), None),
        }
    }

    /// A text of others without the key, which they may repeat.
    fn masked(&self, text: &str) -> String {
        match self.key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => text.replace(key, "***").replace(&encoded(key), "***"),
            None => text.to_owned(),
        }
    }
}

/// Whether a table does not end with a line end. JSON that is cut off is no JSON, and is noticed as such.
fn is_cut(body: &[u8], form: AnswerForm) -> bool {
    form == AnswerForm::Csv && !body.ends_with(b"\n")
}

/// A text as a part of a path or a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
