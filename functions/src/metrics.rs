//! Metrics, as lines that `CloudWatch` finds in the logs: no call, no permission. What they are is `domain::metrics`.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use domain::metrics::{CloudMetric, emf_line};
use serde_json::Value;

/// Where metrics go: the one dimension is the stack, never a run or a portfolio.
#[derive(Clone)]
pub struct Metrics {
    service: Option<String>,
    lines: Arc<Mutex<dyn Write + Send>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics of this stack, to stdout; without a name they are left out.
    #[must_use]
    pub fn new(service: Option<String>) -> Self {
        Self { service, lines: Arc::new(Mutex::new(std::io::stdout())) }
    }

    /// These, written somewhere else.
    #[must_use]
    pub fn written_to(self, lines: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self { lines, ..self }
    }

    /// Writes the line of these values; `fields` stand beside them for those who search the log.
    pub fn put(&self, at: DateTime<Utc>, values: &[(CloudMetric, f64)], fields: &[(&'static str, Value)]) {
        let Some(service) = &self.service else { return };
        let line = emf_line(service, at, values, fields);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(lines, "{line}") {
            tracing::warn!(error = %error, event = "metrics.lost", "metrics could not be written");
        }
    }
}
