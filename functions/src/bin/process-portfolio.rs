//! `process-portfolio`: the work queue hands it portfolios.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use functions::cloud::{Cloud, remaining};
use functions::work::work;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let cloud = Cloud::connect().await.map_err(|error| functions::cannot_begin(&error))?;
    let ports = cloud.ports().map_err(|error| functions::cannot_begin(&error))?;
    let runner = Arc::new(cloud.runner().map_err(|error| functions::cannot_begin(&error))?);
    run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let (ports, runner) = (ports.clone(), Arc::clone(&runner));
        async move { Ok::<_, Error>(work(&ports, runner.as_ref(), event.payload, remaining(&event.context)).await) }
    }))
    .await
}
