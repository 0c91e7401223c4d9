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

    /// Hands it a payload and waits for what it says: its answer, or the message of its error.
    ///
    /// # Errors
    /// [`StoreError`] if the service did not take the call, or the answer is none.
    pub async fn ask(&self, payload: &Value) -> Result<Result<Value, String>, StoreError> {
        let doing = || format!("ask the function {}", self.name);
        let request = self.lambda.invoke().function_name(&self.name).payload(Blob::new(payload.to_string()));
        let reply = request.send().await.map_err(|error| unavailable(doing(), error))?;
        let bytes = reply.payload().map_or(&b"null"[..], |blob| blob.as_ref());
        let said: Value = serde_json::from_slice(bytes).map_err(|error| unavailable(doing(), error))?;
        if reply.function_error().is_none() {
            return Ok(Ok(said));
        }
        Ok(Err(said.get("errorMessage").and_then(Value::as_str).unwrap_or("it failed and said nothing").to_owned()))
    }
}
