//! Tells of a run that has ended as OpenTelemetry traces, by OTLP over HTTP, where the environment names a collector.
//!
//! What cannot be told changes no run: it is logged.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use backends::local::LocalStore;
use domain::ids::RunId;
use domain::ports::Runs as _;
use domain::redact::redact_line;
use domain::trace::{otlp_body, portfolio_spans, run_spans};
use serde_json::Value;

use crate::environment;
use crate::lineage_sink::{REQUEST_LIMIT, post_one};
use crate::reading::items;

/// What all of a run may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Spans in one request, about.
const SPANS: usize = 1_000;

/// Where the traces of runs go.
#[derive(Clone)]
pub(crate) struct Traces {
    url: Option<String>,
    headers: Vec<(String, String)>,
    service: String,
}

impl Traces {
    /// As the environment says, by the names of OpenTelemetry.
    pub(crate) fn from_environment() -> Self {
        let disabled = environment::named("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let url = environment::named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| {
            let base = environment::named("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(format!("{}/v1/traces", base.trim_end_matches('/')))
        });
        let headers = environment::named("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
            .or_else(|| environment::named("OTEL_EXPORTER_OTLP_HEADERS"))
            .unwrap_or_default();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        Self {
            url: url.filter(|_| !disabled),
            headers: headers.split(',').filter_map(pair).collect(),
            service: environment::named("OTEL_SERVICE_NAME").unwrap_or_else(|| "nightbook".to_owned()),
        }
    }

    /// Tells of a run that has ended.
    pub(crate) async fn tell(&self, store: &LocalStore, run: RunId) {
        let Some(url) = &self.url else { return };
        match self.try_tell(url, store, run).await {
            Ok(spans) => tracing::info!(
                batch_run_id = %run, spans, event = "traces.told", "the traces of the run are told to the collector"
            ),
            Err(error) => {
                let error = redact_line(&format!("{error:#}"));
                tracing::warn!(
                    batch_run_id = %run, error, event = "traces.failed",
                    "not all traces of the run could be told to the collector; the run stands"
                );
            }
        }
    }

    async fn try_tell(&self, url: &str, store: &LocalStore, run: RunId) -> anyhow::Result<usize> {
        let stored = store.run(run).await?.context("the run is not on record")?;
        let summary = stored.summary.as_ref().context("the run has no summary")?;
        let mut spans = run_spans(&stored.run, summary);
        for item in items(store, &stored).await? {
            spans.extend(portfolio_spans(&stored.run, summary, &item));
        }
        let many = spans.len();
        let (told, url) = (self.clone(), url.to_owned());
        tokio::task::spawn_blocking(move || told.post(&url, &spans)).await??;
        Ok(many)
    }

    fn post(&self, url: &str, spans: &[Value]) -> anyhow::Result<()> {
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(REQUEST_LIMIT)).max_redirects(0).build().new_agent();
        let until = Instant::now() + LIMIT;
        for (sent, part) in spans.chunks(SPANS).enumerate() {
            let body = otlp_body(&self.service, env!("CARGO_PKG_VERSION"), part.to_vec());
            post_one(&agent, url, &self.headers, &serde_json::to_vec(&body)?, until)
                .with_context(|| format!("{} of {} spans were sent", sent * SPANS, spans.len()))?;
        }
        Ok(())
    }
}
