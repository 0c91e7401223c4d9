//! `close-run`: the close queue hands it runs that are complete, or whose pages are to be made up for.

use aws_lambda_events::event::sqs::SqsEvent;
use functions::cloud::Cloud;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use wiring::of_request;

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let closer =
        Cloud::connect().await.and_then(|cloud| cloud.closer()).map_err(|error| functions::cannot_begin(&error))?;
    run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let closer = closer.clone();
        of_request(event.context.request_id, async move { Ok::<_, Error>(closer.handle(event.payload).await) })
    }))
    .await
}
