//! `watch`: a schedule calls it every few minutes; what the payload says does not matter.

use functions::cloud::Cloud;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let watcher =
        Cloud::connect().await.and_then(|cloud| cloud.watcher()).map_err(|error| functions::cannot_begin(&error))?;
    run(service_fn(move |_: LambdaEvent<Value>| {
        let watcher = watcher.clone();
        async move { watcher.sweep().await.map_err(|error| functions::fault(&error)) }
    }))
    .await
}
