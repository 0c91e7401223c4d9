//! The Lambda runtime alone, with a handler that does nothing: what the start of the five functions is compared with
//! (`functions/startup`). An example, so that it is never among what is deployed.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: LambdaEvent<Value>| Ok::<_, Error>(Value::Null))).await
}
