//! The ports on S3, SQS, SNS and the event bus, against a server that speaks their protocols (`tests/aws/run`).

#![allow(
    clippy::disallowed_methods,
    reason = "the script that starts the server names it in a variable, and each test needs a name of its own"
)]
#![allow(clippy::unwrap_used, reason = "a failed setup is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::primitives::ByteStream;
use backends::aws::{Aws, Clients, Event, Settings};
use domain::alert_message::AlertMessage;
use domain::ids::{ContentHash, PortfolioId, RunId, ScheduleName};
use domain::ports::{SiteFile, StoreError, WorkMessage, WriteIf, Written};
use domain::work_item::{ItemKey, Place};
use domain::{conformance, document_rules, site_rules};
use uuid::Uuid;

/// A cloud of one test's own: buckets, queues and a topic that nobody else uses.
struct Cloud {
    config: SdkConfig,
    aws: Aws,
    name: String,
    queues: BTreeMap<&'static str, String>,
    topic: String,
}

async fn configuration() -> SdkConfig {
    let endpoint = std::env::var("NIGHTBOOK_TEST_ENDPOINT").expect("run these tests by tests/aws/run");
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(aws_sdk_s3::config::Credentials::new("test", "test", None, None, "tests"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await
}

fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(config).force_path_style(true).build())
}

async fn cloud() -> Cloud {
    let config = configuration().await;
    let name = format!("t{}", Uuid::new_v4().simple());
    s3(&config).create_bucket().bucket(&name).send().await.unwrap();
    let mut queues = BTreeMap::new();
    for queue in ["work", "close", "told"] {
        let made = aws_sdk_sqs::Client::new(&config).create_queue().queue_name(format!("{name}-{queue}")).send().await;
        queues.insert(queue, made.unwrap().queue_url.unwrap());
    }
    let topic = aws_sdk_sns::Client::new(&config).create_topic().name(&name).send().await.unwrap().topic_arn.unwrap();
    let settings = Settings::from_variables(|variable| {
        Some(match variable {
            "NIGHTBOOK_WORK_QUEUE_URL" => queues["work"].clone(),
            "NIGHTBOOK_CLOSE_QUEUE_URL" => queues["close"].clone(),
            "NIGHTBOOK_ALERT_TOPIC_ARN" => topic.clone(),
            "NIGHTBOOK_EVENT_BUS" => "default".into(),
            "NIGHTBOOK_BOOK_PREFIX" => "/book/".into(),
            _ => name.clone(),
        })
    });
    let aws = Aws::with_clients(settings, Clients::new(&config));
    Cloud { config, aws, name, queues, topic }
}

impl Cloud {
    /// Everything that waits in a queue.
    async fn received(&self, queue: &str) -> Vec<serde_json::Value> {
        let sqs = aws_sdk_sqs::Client::new(&self.config);
        let mut bodies = Vec::new();
        loop {
            let request = sqs.receive_message().queue_url(&self.queues[queue]).max_number_of_messages(10);
            let reply = request.send().await.unwrap();
            if reply.messages().is_empty() {
                return bodies;
            }
            bodies
                .extend(reply.messages().iter().map(|message| serde_json::from_str(message.body().unwrap()).unwrap()));
        }
    }
}

macro_rules! documents {
    ($($rule:ident)*) => {
        mod documents {
            use super::*;
            $(#[tokio::test] async fn $rule() {
                conformance::$rule(&*cloud().await.aws.documents().unwrap(), 1).await;
            })*
        }
    };
}
document_rules!(documents);

macro_rules! site {
    ($($rule:ident)*) => {
        mod site {
            use super::*;
            $(#[tokio::test] async fn $rule() { conformance::$rule(&*cloud().await.aws.site().unwrap(), 1).await; })*
        }
    };
}
site_rules!(site);

fn page(path: &str, body: &str) -> SiteFile {
    SiteFile { path: path.into(), content_type: "text/html; charset=utf-8", body: body.into() }
}

fn key(portfolio: u32) -> ItemKey {
    ItemKey { run: RunId(Uuid::from_u128(7)), portfolio: PortfolioId::new(format!("p{portfolio}")).unwrap() }
}

/// A browser is told what it gets, how it is packed, and how long it may keep it.
#[tokio::test]
async fn pages_carry_their_headers() {
    let cloud = cloud().await;
    let site = cloud.aws.site().unwrap();
    let picture = SiteFile { path: "a.png".into(), content_type: "image/png", body: vec![1, 2, 3] };
    for file in [page("index.html", "hello"), page("runs/1/index.html", "hello"), picture] {
        site.write(&file, &WriteIf::Always).await.unwrap();
        let head = s3(&cloud.config).head_object().bucket(&cloud.name).key(&file.path).send().await.unwrap();
        assert_eq!(head.content_type(), Some(file.content_type));
        assert_eq!(head.cache_control(), Some(file.cache_control()));
        assert_eq!(head.content_encoding(), file.is_text().then_some("gzip"), "{}", file.path);
    }
}

/// Of many who change the same version of the index, one writes and the others are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_writers_of_the_index_wins() {
    let site = cloud().await.aws.site().unwrap();
    for round in 0..5 {
        let before = site.read("index.json").await.unwrap().map(|body| ContentHash::of(&body));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (site, before) = (Arc::clone(&site), before.clone());
                let file = page("index.json", &format!("{round} {writer}"));
                tokio::spawn(async move { site.write(&file, &WriteIf::Unchanged(before)).await.unwrap() })
            })
            .collect();
        let mut written = Vec::new();
        for (writer, task) in writers.into_iter().enumerate() {
            if task.await.unwrap() == Written::Written {
                written.push(writer);
            }
        }
        assert_eq!(written.len(), 1, "round {round}: {written:?}");
        assert_eq!(site.read("index.json").await.unwrap(), Some(format!("{round} {}", written[0]).into_bytes()));
    }
}

/// What somebody changed in the bucket is not taken for what was stored.
#[tokio::test]
async fn damaged_documents_are_told() {
    let cloud = cloud().await;
    let documents = cloud.aws.documents().unwrap();
    let hash = documents.put_results(&key(0), b"{\"a\":1}".to_vec()).await.unwrap();
    let other = documents.put_results(&key(0), b"{\"a\":2}".to_vec()).await.unwrap();
    let name = |hash: &ContentHash| format!("results/{}/p0/{hash}.json.gz", key(0).run);
    let copied = s3(&cloud.config).copy_object().bucket(&cloud.name).key(name(&hash));
    copied.copy_source(format!("{}/{}", cloud.name, name(&other))).send().await.unwrap();
    let told = documents.results(&key(0), &hash).await;
    assert!(matches!(told, Err(StoreError::Damaged { .. })), "{told:?}");
    let cut = s3(&cloud.config).put_object().bucket(&cloud.name).key(name(&other));
    cut.body(ByteStream::from_static(b"no gzip")).send().await.unwrap();
    let told = documents.results(&key(0), &other).await;
    assert!(matches!(told, Err(StoreError::Damaged { .. })), "{told:?}");
}

/// Every message arrives, as it was sent.
#[tokio::test]
async fn messages_arrive() {
    let cloud = cloud().await;
    let queue = cloud.aws.queue().unwrap();
    let messages: Vec<WorkMessage> = (0..25)
        .map(|n| WorkMessage {
            key: key(n), name: format!("Portfolio {n} — ä"), place: Place { bucket: 0, index: n }
        })
        .collect();
    queue.send_work(messages.clone()).await.unwrap();
    queue.send_work(Vec::new()).await.unwrap();
    assert_eq!(queue.waiting_work().await.unwrap(), Some(25), "what nobody has received waits");
    let received = cloud.received("work").await;
    assert_eq!(received.len(), messages.len());
    let mut received: Vec<WorkMessage> =
        received.into_iter().map(|body| serde_json::from_value(body).unwrap()).collect();
    received.sort_by_key(|message| message.place);
    assert_eq!(received, messages);
    queue.send_close(key(0).run).await.unwrap();
    assert_eq!(cloud.received("close").await, [serde_json::json!({ "batch_run_id": key(0).run })]);
    queue.send_pages(key(0).run, (0..12).collect()).await.unwrap();
    let mut buckets = cloud.received("close").await;
    buckets.sort_by_key(|body| body["bucket"].as_u64());
    let asked = (0..12).map(|bucket| serde_json::json!({ "batch_run_id": key(0).run, "bucket": bucket }));
    assert_eq!(buckets, asked.collect::<Vec<_>>(), "one message a bucket, more than one request takes");
}

/// A message of the alert rules reaches the subscribers of the topic, whole. A topic that is gone is an error.
#[tokio::test]
async fn alerts_arrive() {
    let cloud = cloud().await;
    let sns = aws_sdk_sns::Client::new(&cloud.config);
    let queue = format!("arn:aws:sqs:us-east-1:123456789012:{}-told", cloud.name);
    sns.subscribe().topic_arn(&cloud.topic).protocol("sqs").endpoint(queue).send().await.unwrap();
    let now = "2026-11-24T23:41:00Z".parse().unwrap();
    let message = AlertMessage {
        title: "3 of 8 jobs failed — look at it\nnow".into(),
        ..AlertMessage::test(ScheduleName::new("nightly").unwrap(), key(0).run, "https://example.com", now)
    };
    let topic = cloud.aws.topic().unwrap();
    topic.deliver(&message).await.unwrap();
    let received = cloud.received("told").await;
    assert_eq!(received.len(), 1);
    assert_eq!(serde_json::from_str::<AlertMessage>(received[0]["Message"].as_str().unwrap()).unwrap(), message);
    assert_eq!(received[0]["Subject"], "3 of 8 jobs failed ? look at it?now");
    sns.delete_topic().topic_arn(&cloud.topic).send().await.unwrap();
    assert!(topic.deliver(&message).await.is_err());
}

/// Events are taken, more than one request holds.
#[tokio::test]
async fn events_are_taken() {
    let events: Vec<Event> =
        (0..12).map(|n| Event { kind: "run.closed".into(), detail: serde_json::json!({ "n": n }) }).collect();
    cloud().await.aws.events().unwrap().put(&events).await.unwrap();
}

/// The book is what lies under its prefix, and nothing else.
#[tokio::test]
async fn a_book_is_read_from_its_prefix() {
    let cloud = cloud().await;
    let names =
        ["book/portfolios.csv", "book/prices/AAPL.csv", "book/old/a.csv", "book/.x", "portfolios.csv", "book2/a"];
    for name in names {
        let object = s3(&cloud.config).put_object().bucket(&cloud.name).key(name);
        object.body(ByteStream::from(name.as_bytes().to_vec())).send().await.unwrap();
    }
    let files = cloud.aws.book().unwrap().read().await.unwrap();
    assert_eq!(
        files.keys().collect::<BTreeSet<_>>(),
        ["portfolios.csv", "prices/AAPL.csv"].map(String::from).iter().collect()
    );
    assert_eq!(files["portfolios.csv"], b"book/portfolios.csv");
}
