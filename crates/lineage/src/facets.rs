//! Facets: what is known of a run, a job or a dataset beside its name.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::RunId;
use serde_json::{Map, Value, json};

/// Who makes the events.
pub(crate) const PRODUCER: &str = concat!("https://nightbook.invalid/producer/", env!("CARGO_PKG_VERSION"));

pub(crate) const JOB_TYPE: &str = "2-0-4/JobTypeJobFacet";
pub(crate) const VERSION: &str = "1-0-1/DatasetVersionDatasetFacet";
pub(crate) const OUTPUT_STATISTICS: &str = "1-0-2/OutputStatisticsOutputDatasetFacet";
pub(crate) const QUALITY_METRICS: &str = "1-0-3/DataQualityMetricsInputDatasetFacet";
pub(crate) const QUALITY_ASSERTIONS: &str = "1-1-0/DataQualityAssertionsDatasetFacet";
const NOMINAL_TIME: &str = "1-0-1/NominalTimeRunFacet";
const PARENT: &str = "1-2-0/ParentRunFacet";
const ENGINE: &str = "1-1-1/ProcessingEngineRunFacet";
const ERROR: &str = "1-0-1/ErrorMessageRunFacet";

/// A facet of a published schema, for example `1-0-1/NominalTimeRunFacet`.
pub(crate) fn facet(schema: &str, mut value: Value) -> Value {
    let name = schema.rsplit('/').next().unwrap_or(schema);
    value["_producer"] = PRODUCER.into();
    value["_schemaURL"] = format!("https://openlineage.io/spec/facets/{schema}.json#/$defs/{name}").into();
    value
}

/// The facets of a run.
#[derive(Default)]
pub(crate) struct Facets(Map<String, Value>);

impl Facets {
    fn with(mut self, name: &str, schema: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), facet(schema, value));
        self
    }

    /// The slot that it stands for.
    pub(crate) fn nominal_time(self, at: DateTime<Utc>) -> Self {
        let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        self.with("nominalTime", NOMINAL_TIME, json!({ "nominalStartTime": at }))
    }

    pub(crate) fn engine(self) -> Self {
        self.with("processing_engine", ENGINE, json!({"name": "nightbook", "version": env!("CARGO_PKG_VERSION")}))
    }

    /// The run that it is a part of.
    pub(crate) fn parent(self, run: RunId, namespace: &str, job: &str) -> Self {
        self.with("parent", PARENT, json!({"run": {"runId": run.0}, "job": {"namespace": namespace, "name": job}}))
    }

    /// What went wrong, and its causes.
    pub(crate) fn error(self, message: &str, chain: &[String]) -> Self {
        let mut value = json!({"message": message, "programmingLanguage": "Rust"});
        if !chain.is_empty() {
            value["stackTrace"] = chain.join("\n").into();
        }
        self.with("errorMessage", ERROR, value)
    }

    pub(crate) fn done(self) -> Map<String, Value> {
        self.0
    }
}
