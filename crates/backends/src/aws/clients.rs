//! The clients of the services: made where they are asked for, one TLS stack, bounded tries and times.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpClient as _, SharedHttpClient, http_client_fn};

/// Tries of one request, the first included.
const TRIES: u32 = 5;
const CONNECT: Duration = Duration::from_secs(3);
const ONE_TRY: Duration = Duration::from_secs(20);
const ALL_TRIES: Duration = Duration::from_secs(60);

/// What the clients of the services are made from. Cheap to clone.
///
/// A client is made where it is asked for, so that a program is linked with the services that it uses and no others. The
/// clients share credentials and connections.
#[derive(Debug, Clone)]
pub struct Clients {
    config: SdkConfig,
}

impl Clients {
    /// With region, credentials and endpoint (`AWS_ENDPOINT_URL`) as the SDK finds them in the environment.
    pub async fn from_environment() -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(tries())
            .timeout_config(timeouts())
            .http_client(http_client())
            .load()
            .await;
        Self::new(&config)
    }

    /// With region, credentials and endpoint from the variables that every function has, and from nowhere else: what reads
    /// profiles, assumes roles and asks machines and containers for credentials is not linked.
    pub fn of_function(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).map(Region::new))
            .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
            .identity_cache(IdentityCache::lazy().build())
            .use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"))
            .retry_config(tries())
            .timeout_config(timeouts())
            .http_client(http_client());
        config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
        Self::new(&config.build())
    }

    /// With this configuration, which has an HTTP client.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self { config: config.clone() }
    }

    pub(super) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// With an endpoint of its own S3 is asked by path: other servers have no names by bucket.
    pub(super) fn s3(&self) -> aws_sdk_s3::Client {
        let by_path = self.config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(by_path).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    pub(super) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    pub(super) fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.config)
    }

    pub(super) fn events(&self) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::new(&self.config)
    }

    pub(super) fn lambda(&self) -> aws_sdk_lambda::Client {
        aws_sdk_lambda::Client::new(&self.config)
    }
}

fn tries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(TRIES)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ONE_TRY)
        .operation_timeout(ALL_TRIES)
        .build()
}

/// What the SDK would take by itself, but with the TLS stack of the rest of the program, and without reading the
/// certificates of the system once for each client before anything is sent: the first request does.
fn http_client() -> SharedHttpClient {
    let inner = Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    });
    http_client_fn(move |settings, components| inner.http_connector(settings, components))
}
