//! `history`: the HTTP API asks it. Who may read and who may change was checked at the gateway.

use functions::cloud::Cloud;
use lambda_http::{Error, Request, RequestExt as _, run, service_fn};
use tower::ServiceExt as _;
use wiring::of_request;

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let api = Cloud::connect().await.and_then(|cloud| cloud.api()).map_err(|error| functions::cannot_begin(&error))?;
    let router = api::router(api);
    run(service_fn(move |request: Request| {
        let (router, id) = (router.clone(), request.lambda_context().request_id);
        of_request(id, router.oneshot(request))
    }))
    .await
}
