//! A table on the emulator, and a client that records, weighs and spoils what goes over the line.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use backends::aws::{Aws, Clients, DynamoStore, Settings};
use chrono::{DateTime, Utc};
use domain::ports::Clock;
use serde_json::Value;
use uuid::Uuid;

/// The address of the emulator that `tests/aws/run` started: one for all tests, each with a table of its own.
pub(crate) fn endpoint() -> String {
    std::env::var("NIGHTBOOK_TEST_DYNAMODB").expect("run these tests by tests/aws/run")
}

/// Requests that are spoilt at most before the line is good again: an outage ends.
pub(crate) const MOST_FAULTS: u64 = 2_000;

/// A request as it went out, with the units that it was charged.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) body: Value,
    pub(crate) units: f64,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    /// Of a thousand requests so many are spoilt.
    spoilt: u64,
    /// Requests that may be spoilt from now on.
    faults_left: u64,
    chance: u64,
    faults: u64,
    /// Of the keys of a batch only half are answered.
    halved: bool,
    /// Whether replies to writes are lost, each other one.
    loses_replies: bool,
    lost_one: bool,
    /// Writes as they went out, each with the line that it went by.
    writes: Vec<(SharedHttpConnector, HttpRequest)>,
}

impl State {
    fn next(&mut self) -> u64 {
        // xorshift64*: the same seed, the same faults.
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        self.chance.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    }
}

/// Stands between the SDK and the line.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    inner: SharedHttpClient,
    state: Arc<Mutex<State>>,
}

impl Tap {
    fn new() -> Self {
        Self { inner: aws_smithy_http_client::Builder::new().build_http(), state: Arc::default() }
    }

    /// From now on so many of a thousand requests are spoilt, until there were [`MOST_FAULTS`] of them.
    pub(crate) fn spoil(&self, per_mille: u64, seed: u64) {
        let mut state = self.state.lock().unwrap();
        state.spoilt = per_mille;
        state.faults_left = MOST_FAULTS;
        state.chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    }

    /// From now on half of the keys of a batch are put off, as the service may do with any.
    pub(crate) fn halve(&self) {
        self.state.lock().unwrap().halved = true;
    }

    /// From now on the first reply to each write is lost, and that to its repetition is not.
    pub(crate) fn lose_replies(&self) {
        self.state.lock().unwrap().loses_replies = true;
    }

    /// Sends every write again, the newest first: requests that land long after their sender died.
    pub(crate) async fn repeat_writes(&self) -> usize {
        let writes = std::mem::take(&mut self.state.lock().unwrap().writes);
        let count = writes.len();
        for (line, request) in writes.into_iter().rev() {
            line.call(request).await.unwrap();
        }
        count
    }

    /// What went out since the last time.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// Faults so far.
    pub(crate) fn faults(&self) -> u64 {
        self.state.lock().unwrap().faults
    }
}

impl HttpClient for Tap {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(TapConnector {
            inner: self.inner.http_connector(settings, components),
            state: Arc::clone(&self.state),
        })
    }
}

#[derive(Debug)]
struct TapConnector {
    inner: SharedHttpConnector,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    ResetBefore,
    ResetAfter,
    Delay,
    Throttled,
    Unavailable,
}

/// Takes every second key out of a batch; gives what the answer says of them.
fn put_off_half(body: &mut Value) -> Option<Value> {
    let mut rest = serde_json::Map::new();
    for (table, asked) in body.get_mut("RequestItems")?.as_object_mut()? {
        let keys = asked["Keys"].as_array()?.clone();
        let later: Vec<&Value> = keys.iter().skip(1).step_by(2).collect();
        if !later.is_empty() {
            rest.insert(table.clone(), serde_json::json!({ "Keys": later, "ConsistentRead": true }));
            asked["Keys"] = keys.iter().step_by(2).cloned().collect();
        }
    }
    (!rest.is_empty()).then_some(Value::Object(rest))
}

fn reset() -> ConnectorError {
    ConnectorError::io(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
}

fn answer(status: u16, kind: &str) -> HttpResponse {
    let body = format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{kind}\",\"message\":\"slow down\"}}");
    HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
}

impl HttpConnector for TapConnector {
    #[expect(clippy::too_many_lines, reason = "one request from arrival to answer, with each fault at its place")]
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        let mut weighed = body.clone();
        weighed["ReturnConsumedCapacity"] = "TOTAL".into();
        let halved = self.state.lock().unwrap().halved;
        let rest = if halved { put_off_half(&mut weighed) } else { None };
        let text = weighed.to_string();
        request.headers_mut().insert("content-length", text.len().to_string());
        *request.body_mut() = SdkBody::from(text);
        let fault = {
            let mut state = self.state.lock().unwrap();
            let writes = ["PutItem", "UpdateItem", "DeleteItem"].contains(&operation.as_str());
            if writes && let Some(again) = request.try_clone() {
                state.writes.push((self.inner.clone(), again));
            }
            state.lost_one = writes && state.loses_replies && !state.lost_one;
            if state.lost_one {
                state.faults += 1;
                Fault::ResetAfter
            } else if state.next() % 1_000 < state.spoilt && state.faults_left > 0 {
                state.faults += 1;
                state.faults_left -= 1;
                [Fault::ResetBefore, Fault::ResetAfter, Fault::Delay, Fault::Throttled, Fault::Unavailable]
                    [(state.next() % 5) as usize]
            } else {
                Fault::None
            }
        };
        let (inner, state) = (self.inner.clone(), Arc::clone(&self.state));
        HttpConnectorFuture::new(async move {
            let record = |units| state.lock().unwrap().calls.push(Call { operation, body, units });
            match fault {
                Fault::ResetBefore => {
                    record(0.0);
                    return Err(reset());
                }
                Fault::Throttled => {
                    record(0.0);
                    return Ok(answer(400, "ProvisionedThroughputExceededException"));
                }
                Fault::Unavailable => {
                    record(0.0);
                    return Ok(answer(503, "ServiceUnavailable"));
                }
                Fault::Delay => tokio::time::sleep(Duration::from_millis(3)).await,
                Fault::None | Fault::ResetAfter => {}
            }
            let response = inner.call(request).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let bytes = ByteStream::new(response.into_body()).collect().await;
            let bytes = bytes.map_err(|error| ConnectorError::other(Box::new(error), None))?.into_bytes();
            let mut told: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let units = |one: &Value| one["CapacityUnits"].as_f64().unwrap_or_default();
            record(match &told["ConsumedCapacity"] {
                Value::Array(each) => each.iter().map(units).sum(),
                one => units(one),
            });
            if fault == Fault::ResetAfter {
                return Err(reset());
            }
            let body = match rest {
                Some(rest) => {
                    told["UnprocessedKeys"] = rest;
                    told.to_string().into_bytes()
                }
                None => bytes.to_vec(),
            };
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            for (name, value) in headers.iter().filter(|(name, _)| *name != "content-length") {
                response.headers_mut().insert(name.to_owned(), value.to_owned());
            }
            Ok(response)
        })
    }
}

/// A clock that stands until somebody sets it.
#[derive(Debug, Clone)]
pub(crate) struct Standing(Arc<Mutex<DateTime<Utc>>>);

impl Standing {
    pub(crate) fn at(time: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    pub(crate) fn set(&self, time: DateTime<Utc>) {
        *self.0.lock().unwrap() = time;
    }
}

impl Clock for Standing {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// A table of one test's own.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    pub(crate) aws: Aws,
    pub(crate) client: aws_sdk_dynamodb::Client,
    pub(crate) name: String,
    pub(crate) tap: Tap,
}

impl Records {
    pub(crate) async fn new() -> Self {
        let tap = Tap::new();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "tests"))
            .endpoint_url(endpoint())
            .http_client(tap.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(1)))
            .load()
            .await;
        let client = aws_sdk_dynamodb::Client::new(&config);
        let name = format!("t{}", Uuid::new_v4().simple());
        let mut request = client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
        for (key, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let defined = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
            let schema = KeySchemaElement::builder().attribute_name(key).key_type(kind);
            request = request.attribute_definitions(defined.build().unwrap()).key_schema(schema.build().unwrap());
        }
        request.send().await.unwrap();
        let settings = Settings::from_variables(|variable| (variable == "NIGHTBOOK_TABLE").then(|| name.clone()));
        let aws = Aws::with_clients(settings, Clients::new(&config));
        tap.calls();
        Self { aws, client, name, tap }
    }

    /// A store that remembers nothing yet.
    pub(crate) fn store(&self) -> Arc<DynamoStore> {
        self.aws.store().unwrap()
    }

    /// The same by a clock of the test's own.
    pub(crate) fn store_by(&self, clock: &Standing) -> DynamoStore {
        (*self.store()).clone().with_clock(Arc::new(clock.clone()))
    }

    /// Every item of the table.
    pub(crate) async fn items(&self) -> Vec<std::collections::HashMap<String, AttributeValue>> {
        let pages = self.client.scan().table_name(&self.name).into_paginator().items().send();
        pages.collect::<Result<Vec<_>, _>>().await.unwrap()
    }
}
