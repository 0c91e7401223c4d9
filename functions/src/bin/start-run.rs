//! `start-run`: the schedule, `watch`, the history API or a person hands it what is to be started.

use std::sync::Arc;

use functions::cloud::Cloud;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;
use wiring::of_request;

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let starter = Arc::new(
        Cloud::connect().await.and_then(|cloud| cloud.starter()).map_err(|error| functions::cannot_begin(&error))?,
    );
    run(service_fn(move |event: LambdaEvent<Value>| {
        let starter = Arc::clone(&starter);
        of_request(event.context.request_id, async move {
            starter.start(event.payload).await.map_err(|error| functions::fault(&error))
        })
    }))
    .await
}
