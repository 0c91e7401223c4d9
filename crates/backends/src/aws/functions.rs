//! Calling the function that starts runs.

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use domain::ports::StoreError;
use serde_json::Value;

use super::unavailable;

/// What a function says when it fails.
#[derive(Debug, thiserror::Error)]
#[error("it failed: {0}")]
struct Failed(String);

/// The function `start-run`.
#[derive(Debug, Clone)]
pub struct StartFunction {
    lambda: aws_sdk_lambda::Client,
    name: String,
}

impl StartFunction {
    pub(super) const fn new(lambda: aws_sdk_lambda::Client, name: String) -> Self {
        Self { lambda, name }
    }

    /// Hands it a payload. It is tried again by the service, and may come twice.
    ///
    /// # Errors
    /// [`StoreError`] if the service did not take the call.
    pub async fn call(&self, payload: &Value) -> Result<(), StoreError> {
        let request = self.lambda.invoke().function_name(&self.name).invocation_type(InvocationType::Event);
        let reply = request.payload(Blob::new(payload.to_string())).send().await;
        reply.map(|_| ()).map_err(|error| unavailable(format!("call the function {}", self.name), error))
    }

    /// Hands it a payload and waits for its answer. Tried again where the answer is lost, so it may come twice.
    ///
    /// # Errors
    /// [`StoreError`] if the service did not take the call, or the function failed: what it said is in the message.
    pub async fn ask(&self, payload: &Value) -> Result<Value, StoreError> {
        let doing = || format!("ask the function {}", self.name);
        let request = self.lambda.invoke().function_name(&self.name).invocation_type(InvocationType::RequestResponse);
        let reply = request.payload(Blob::new(payload.to_string())).send().await;
        let reply = reply.map_err(|error| unavailable(doing(), error))?;
        let said = reply.payload.map(Blob::into_inner).unwrap_or_default();
        let said: Value = serde_json::from_slice(&said).map_err(|error| unavailable(doing(), error))?;
        if reply.function_error.is_some() {
            let message = said["errorMessage"].as_str().unwrap_or("without a message");
            return Err(unavailable(doing(), Failed(message.to_owned())));
        }
        Ok(said)
    }
}
