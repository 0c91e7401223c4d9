//! The event itself, in the form and with the names of the specification.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::facets::{self, PRODUCER, facet};

/// What happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    /// It began.
    Start,
    /// It ended well.
    Complete,
    /// It ended before it could do its work.
    Abort,
    /// It failed.
    Fail,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// What happened.
    pub event_type: EventType,
    /// When.
    #[serde(serialize_with = "stamp")]
    pub event_time: DateTime<Utc>,
    /// To which run.
    pub run: Run,
    /// Of which job.
    pub job: Job,
    /// What it read.
    pub inputs: Vec<Dataset>,
    /// What it wrote.
    pub outputs: Vec<Dataset>,
    pub(crate) producer: &'static str,
    #[serde(rename = "schemaURL")]
    pub(crate) schema_url: &'static str,
}

impl RunEvent {
    /// What is the same in every event.
    pub(crate) fn blank() -> Self {
        Self {
            event_type: EventType::Start,
            event_time: DateTime::UNIX_EPOCH,
            run: Run { run_id: Uuid::nil(), facets: Map::new() },
            job: Job { namespace: String::new(), name: String::new(), facets: Map::new() },
            inputs: Vec::new(),
            outputs: Vec::new(),
            producer: PRODUCER,
            schema_url: "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }
    }
}

fn stamp<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id.
    pub run_id: Uuid,
    /// What is known of it.
    pub facets: Map<String, Value>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// Where its name is unique.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub facets: Map<String, Value>,
}

impl Job {
    pub(crate) fn new(namespace: &str, name: String, kind: &str) -> Self {
        let kind =
            facet(facets::JOB_TYPE, json!({"processingType": "BATCH", "integration": "NIGHTBOOK", "jobType": kind}));
        Self { namespace: namespace.to_owned(), name, facets: Map::from_iter([("jobType".to_owned(), kind)]) }
    }
}

/// Something that was read or written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dataset {
    /// Where its name is unique.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is known of it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub facets: Map<String, Value>,
    /// What is known of it as an input.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub input_facets: Map<String, Value>,
    /// What is known of it as an output.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub output_facets: Map<String, Value>,
}

impl Dataset {
    pub(crate) fn new(namespace: &str, name: String) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name,
            facets: Map::new(),
            input_facets: Map::new(),
            output_facets: Map::new(),
        }
    }

    /// As this, in the version of a content hash.
    pub(crate) fn version(mut self, hash: &str) -> Self {
        self.facets.insert("version".to_owned(), facet(facets::VERSION, json!({"datasetVersion": hash})));
        self
    }

    pub(crate) fn input_facet(mut self, name: &str, schema: &str, value: Value) -> Self {
        self.input_facets.insert(name.to_owned(), facet(schema, value));
        self
    }

    pub(crate) fn output_facet(mut self, name: &str, schema: &str, value: Value) -> Self {
        self.output_facets.insert(name.to_owned(), facet(schema, value));
        self
    }
}
