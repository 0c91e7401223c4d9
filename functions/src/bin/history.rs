//! `history`: the HTTP API asks it.

use functions::cloud::Cloud;
use lambda_http::{Error, run};

#[tokio::main]
async fn main() -> Result<(), Error> {
    functions::logs::set_up()?;
    let api = Cloud::connect().await.and_then(|cloud| cloud.api());
    run(api::router(api.map_err(|error| functions::cannot_begin(&error))?)).await
}
