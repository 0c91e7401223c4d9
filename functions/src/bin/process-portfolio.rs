//! `process-portfolio`: the work queue hands it portfolios.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use functions::cloud::{Cloud, remaining};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let worker = Cloud::connect().await.and_then(|cloud| cloud.worker());
    let worker = Arc::new(worker.map_err(|error| functions::cannot_begin(&error))?);
    run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let worker = Arc::clone(&worker);
        async move { Ok::<_, Error>(worker.work(event.payload, remaining(&event.context)).await) }
    }))
    .await
}
