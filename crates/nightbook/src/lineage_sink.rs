//! Tells of a run that has ended in the form of OpenLineage: into a file, and to an address.
//!
//! What cannot be told never changes a run: it is logged, and `nightbook export RUN --format openlineage` gives the same
//! events again, with the same ids.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use app::all_records;
use backends::local::LocalStore;
use backends::system::TokioSleeper;
use book::LineageSettings;
use domain::ids::RunId;
use domain::ports::{Runs as _, Sleeper as _};
use domain::redact::redact_line;
use lineage::RunEvent;

use crate::environment;

/// Tries of one event, and the pause before the second; it doubles.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// What one request may take, and all of a run.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(120);

/// Where the events of runs go.
#[derive(Debug, Clone)]
pub(crate) struct Lineage {
    settings: LineageSettings,
    data: PathBuf,
}

impl Lineage {
    /// As the settings say; a relative file lies in the data folder.
    pub(crate) fn new(settings: LineageSettings, data: &Path) -> Self {
        Self { settings, data: data.to_owned() }
    }

    /// Tells of a run that has ended.
    pub(crate) async fn tell(&self, store: &LocalStore, run: RunId) {
        if self.settings.file.is_none() && self.settings.url.is_none() {
            return;
        }
        if let Err(error) = self.try_tell(store, run).await {
            let error = redact_line(&format!("{error:#}"));
            tracing::error!(
                batch_run_id = %run, error, event = "lineage.failed",
                "not all OpenLineage events of the run could be told; `nightbook export {run} --format openlineage` gives them again"
            );
        }
    }

    async fn try_tell(&self, store: &LocalStore, run: RunId) -> anyhow::Result<()> {
        let stored = store.run(run).await?.context("the run is not on record")?;
        let records = all_records(store, &stored).await?;
        let events = lineage::events(&stored, &records, &self.settings.namespace);
        let count = events.len();
        let told = self.clone();
        tokio::task::spawn_blocking(move || {
            // Both, whatever becomes of the other.
            let (written, posted) = (told.write(&events), told.post(&events));
            written.and(posted)
        })
        .await??;
        tracing::info!(batch_run_id = %run, events = count, event = "lineage.told", "the OpenLineage events of the run are told");
        Ok(())
    }

    fn write(&self, events: &[RunEvent]) -> anyhow::Result<()> {
        let Some(file) = &self.settings.file else { return Ok(()) };
        let path = self.data.join(file);
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        // At once, so that two processes do not mix their lines.
        open.and_then(|mut file| file.write_all(&lines)).with_context(|| format!("cannot write {}", path.display()))
    }

    fn post(&self, events: &[RunEvent]) -> anyhow::Result<()> {
        let Some(url) = &self.settings.url else { return Ok(()) };
        let mut headers = Vec::new();
        if let Some(name) = &self.settings.key_env {
            let key =
                environment::named(name).with_context(|| format!("the environment variable {name} is not set"))?;
            headers.push(("authorization".to_owned(), format!("Bearer {key}")));
        }
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(REQUEST_LIMIT)).max_redirects(0).build().new_agent();
        let until = Instant::now() + LIMIT;
        for (sent, event) in events.iter().enumerate() {
            let body = serde_json::to_vec(event)?;
            post_one(&agent, url, &headers, &body, until)
                .with_context(|| format!("{sent} of {} events were sent", events.len()))?;
        }
        Ok(())
    }
}

/// Posts JSON to an address, and again where that may help.
///
/// # Errors
/// The address did not take it, or could not be reached.
pub(crate) fn post_one(
    agent: &ureq::Agent,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
    until: Instant,
) -> anyhow::Result<()> {
    let mut attempt = 1;
    loop {
        let mut request = agent.post(url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let error = match request.send(body) {
            // A redirect is not followed: the key would go along.
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => anyhow::anyhow!("the address answered {}", response.status()),
            Err(error) => anyhow::Error::new(error),
        };
        let refused = error.downcast_ref::<ureq::Error>().is_some_and(
            |error| matches!(error, ureq::Error::StatusCode(code) if (400..500).contains(code) && *code != 429),
        );
        let pause = PAUSE * 2u32.saturating_pow(attempt - 1);
        if refused || attempt == TRIES || Instant::now() + pause > until {
            return Err(error);
        }
        // On a thread for what blocks.
        tokio::runtime::Handle::current().block_on(TokioSleeper.sleep(pause));
        attempt += 1;
    }
}
