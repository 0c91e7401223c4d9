//! `watch`: a schedule calls it every few minutes; what the payload says does not matter.

use functions::cloud::Cloud;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use wiring::of_request;

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let watcher =
        Cloud::connect().await.and_then(|cloud| cloud.watcher()).map_err(|error| functions::cannot_begin(&error))?;
    run(service_fn(move |event: LambdaEvent<Value>| {
        let watcher = watcher.clone();
        of_request(
            event.context.request_id,
            async move { watcher.sweep().await.map_err(|error| functions::fault(&error)) },
        )
    }))
    .await
}
