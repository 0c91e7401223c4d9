//! `process-portfolio`: the work queue hands it portfolios.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use functions::cloud::{Cloud, remaining};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use wiring::of_request;

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let worker = Cloud::connect().await.and_then(|cloud| cloud.worker());
    let worker = Arc::new(worker.map_err(|error| functions::cannot_begin(&error))?);
    run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let worker = Arc::clone(&worker);
        let left = remaining(&event.context);
        of_request(event.context.request_id, async move { Ok::<_, Error>(worker.work(event.payload, left).await) })
    }))
    .await
}
