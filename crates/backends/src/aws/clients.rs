//! The clients of the services: made once, one TLS stack, bounded tries and times.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// Tries of one request, the first included.
const TRIES: u32 = 5;
const CONNECT: Duration = Duration::from_secs(3);
const ONE_TRY: Duration = Duration::from_secs(20);
const ALL_TRIES: Duration = Duration::from_secs(60);

/// One client for each service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    pub(super) dynamodb: aws_sdk_dynamodb::Client,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) sns: aws_sdk_sns::Client,
    pub(super) events: aws_sdk_eventbridge::Client,
    pub(super) lambda: aws_sdk_lambda::Client,
}

impl Clients {
    /// With region, credentials and endpoint (`AWS_ENDPOINT_URL`) as the SDK finds them in the environment.
    pub async fn from_environment() -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ONE_TRY)
            .operation_timeout(ALL_TRIES)
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
            .timeout_config(timeouts)
            .load()
            .await;
        Self::new(&config)
    }

    /// With this configuration. With an endpoint of its own S3 is asked by path: other servers have no names by bucket.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let by_path = config.endpoint_url().is_some();
        let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(by_path).build();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sqs: aws_sdk_sqs::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            events: aws_sdk_eventbridge::Client::new(config),
            lambda: aws_sdk_lambda::Client::new(config),
        }
    }
}
