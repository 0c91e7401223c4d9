//! Metrics, as lines that `CloudWatch` finds in the logs (embedded metric format): no call, no permission.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// The namespace that the alarms of the template look into.
const NAMESPACE: &str = "Nightbook";

/// A value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name; the names are those of the alarms in the template.
    pub name: &'static str,
    /// `Count` or `Seconds`.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
}

/// Where metrics go: the one dimension is the stack, never a run or a portfolio.
#[derive(Debug, Clone)]
pub struct Metrics {
    service: Option<String>,
}

impl Metrics {
    /// Metrics of this stack; without a name they are left out.
    #[must_use]
    pub const fn new(service: Option<String>) -> Self {
        Self { service }
    }

    /// The line of these values; none without the name of the stack.
    #[must_use]
    pub fn line(&self, at: DateTime<Utc>, metrics: &[Metric]) -> Option<String> {
        let service = self.service.as_ref()?;
        let definitions: Vec<Value> =
            metrics.iter().map(|metric| json!({ "Name": metric.name, "Unit": metric.unit })).collect();
        let mut line = Map::new();
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": at.timestamp_millis(),
                "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [["Service"]], "Metrics": definitions }],
            }),
        );
        line.insert("Service".to_owned(), json!(service));
        line.extend(metrics.iter().map(|metric| (metric.name.to_owned(), json!(metric.value))));
        Some(Value::Object(line).to_string())
    }

    /// Writes the line of these values to stdout.
    pub fn put(&self, at: DateTime<Utc>, metrics: &[Metric]) {
        if let Some(line) = self.line(at, metrics)
            && let Err(error) = writeln!(std::io::stdout().lock(), "{line}")
        {
            tracing::warn!(error = %error, event = "metrics.lost", "metrics could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_metrics_and_one_dimension() {
        let metrics = Metrics::new(Some("nightbook".into()));
        let line = metrics.line(
            DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
            &[Metric { name: "RunsClosed", unit: "Count", value: 1.0 }],
        );
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let expected = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Nightbook", "Dimensions": [["Service"]],
                    "Metrics": [{ "Name": "RunsClosed", "Unit": "Count" }],
                }],
            },
            "Service": "nightbook",
            "RunsClosed": 1.0,
        });
        assert_eq!(value, expected);
        assert_eq!(Metrics::new(None).line(DateTime::UNIX_EPOCH, &[]), None);
    }
}
