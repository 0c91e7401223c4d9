//! Calling the function that starts runs, without waiting for what it says.

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use domain::ports::StoreError;
use serde_json::Value;

use super::unavailable;

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
}
