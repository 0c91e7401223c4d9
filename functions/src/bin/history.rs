//! `history`: the HTTP API asks it.

use functions::cloud::Cloud;
use functions::history::answer;
use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let ports =
        Cloud::connect().await.and_then(|cloud| cloud.ports()).map_err(|error| functions::cannot_begin(&error))?;
    run(service_fn(move |request: Request| {
        let ports = ports.clone();
        async move {
            let (status, body) = answer(ports.store.as_ref(), request.method().as_str(), request.uri().path()).await;
            let response = Response::builder().status(status).header("content-type", "application/json");
            Ok::<_, Error>(response.body(Body::from(body.to_string()))?)
        }
    }))
    .await
}
