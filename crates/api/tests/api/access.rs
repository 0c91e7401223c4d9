//! Who may ask, and who may change.

use api::{Access, Api, Tokens};
use axum::body::Body;
use axum::http::Request;

use crate::changes::control;
use crate::night::{Answer, api, get, send, three};

async fn ask(api: &Api, method: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri("/api/v1/batch/runs");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(api, request.body(Body::from("{}")).unwrap()).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let store = three();
    let (api, _) = api(&store, Access::Loopback);
    let (control, worker) = control(&store);
    let api = api.with_control(control);
    for headers in [
        vec![JSON, ("host", "evil.example:8080")],
        vec![JSON],
        vec![JSON, ("host", "127.0.0.1:8080"), ("origin", "http://evil.example")],
        vec![JSON, ("host", "127.0.0.1:8080"), ("origin", "null")],
        vec![JSON, ("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:9090")],
        vec![JSON, ("host", "127.0.0.1:8080"), ("sec-fetch-site", "cross-site")],
    ] {
        ask(&api, "POST", &headers).await.problem(403, "wrong-origin");
    }
    // A name that somebody else lets point here: a page of theirs could read the answer.
    ask(&api, "GET", &[("host", "evil.example:8080")]).await.problem(403, "wrong-origin");
    assert_eq!(ask(&api, "GET", &[("host", "[::1]:8080"), ("origin", "http://other.example")]).await.status, 200);
    // A form of another page cannot say that it is JSON without asking first.
    ask(&api, "POST", &[("host", "127.0.0.1:8080"), ("content-type", "text/plain")]).await.problem(415, "not-json");
    assert!(worker.called.lock().unwrap().is_empty());
    let own =
        [JSON, ("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")];
    assert_eq!(ask(&api, "POST", &own).await.status, 202);
}

#[tokio::test]
async fn a_token_is_needed_and_reading_and_writing_are_apart() {
    let tokens = Tokens::new(Some("a-token-that-writes"), Some("a-token-that-reads")).unwrap();
    let store = three();
    let (api, counting) = api(&store, Access::Tokens(tokens));
    let api = api.with_control(control(&store).0);
    for headers in [
        vec![],
        vec![("authorization", "Bearer")],
        vec![("authorization", "Bearer wrong-token")],
        vec![("authorization", "Bearer a-token-that-reads-")],
        vec![("authorization", "a-token-that-writes")],
        vec![("authorization", "Basic !!!")],
        vec![("authorization", "Digest a-token-that-writes")],
        vec![("authorization", "\u{fc}")],
    ] {
        for method in ["GET", "POST"] {
            let answer = ask(&api, method, &[headers.clone(), vec![JSON]].concat()).await;
            answer.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer realm="), "{answer:?}");
        }
    }
    assert!(counting.take().is_empty(), "a question without a token reached the store");
    let reads = ("authorization", "Bearer a-token-that-reads");
    let writes = ("authorization", "bearer a-token-that-writes");
    assert_eq!(ask(&api, "GET", &[reads]).await.status, 200);
    assert_eq!(ask(&api, "GET", &[writes]).await.status, 200);
    ask(&api, "POST", &[reads, JSON]).await.problem(403, "read-only-token");
    assert_eq!(ask(&api, "POST", &[writes, JSON]).await.status, 202);
    // A browser asks for the token as a password (`x:a-token-that-writes`), and may only read with it.
    let basic = ("authorization", "Basic eDphLXRva2VuLXRoYXQtd3JpdGVz");
    assert_eq!(ask(&api, "GET", &[basic]).await.status, 200);
    ask(&api, "POST", &[basic, JSON]).await.problem(401, "unauthorized");
    assert_eq!(get(&api, "/healthz").await.status, 200, "whether it lives needs no token");
    get(&api, "/api/v1/nothing").await.problem(401, "unauthorized");
}
