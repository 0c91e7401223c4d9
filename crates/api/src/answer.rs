//! Answers: JSON, its entity tag and its compression.
//!
//! A page of ten thousand records is several megabytes. Writing it as JSON, hashing and compressing it takes tens of
//! milliseconds each, so all three run on threads that may block and never on the workers that other requests need.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, response};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// From this size in bytes on, an answer is hashed and compressed on a thread that may block.
const LARGE: usize = 64 * 1024;

/// Large answers at work at once; others wait.
const LARGE_ANSWERS: usize = 4;

/// The permits of answers that may be large.
#[derive(Debug, Clone)]
pub(crate) struct LargeAnswers(Arc<Semaphore>);

impl Default for LargeAnswers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_ANSWERS)))
    }
}

impl LargeAnswers {
    /// Waits until a large answer may be read from the store and written.
    pub(crate) async fn permit(&self) -> LargeAnswer {
        // The semaphore is never closed; a request that waits too long ends with its time limit.
        LargeAnswer { _permit: Arc::clone(&self.0).acquire_owned().await.ok().map(Arc::new) }
    }
}

/// The permit of one large answer: it goes with the response until the last byte is compressed, so that no more than
/// [`LARGE_ANSWERS`] are in memory at once.
#[derive(Debug, Clone)]
pub(crate) struct LargeAnswer {
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl LargeAnswer {
    /// The answer as JSON, written on a thread that may block.
    pub(crate) async fn json<T: Serialize + Send + 'static>(self, value: T) -> Result<Response, Problem> {
        let written = tokio::task::spawn_blocking(move || json(&value)).await;
        let mut response = written.unwrap_or_else(|error| Err(interrupted(&error)))?;
        response.extensions_mut().insert(self);
        Ok(response)
    }
}

/// An answer of a bounded size as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(error = %error, event = "api.failed", "an answer of the history API could not be written as JSON");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer could not be written as JSON")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A thread that wrote an answer panicked, or the server stops.
fn interrupted(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(error = %error, event = "api.failed", "an answer of the history API could not be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer could not be written")
}

/// Gives each answer an entity tag of its content; to a client that has it already, the answer is 304 without a body.
/// Compresses large answers; the others are compressed by the layer around this one.
pub(crate) async fn tagged(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let preferences = Preferences::of(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    if !reads || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let permit = parts.extensions.remove::<LargeAnswer>();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::unavailable("the answer was interrupted; try again in a moment").into_response();
    };
    if bytes.len() < LARGE {
        return preferences.answer(parts, bytes, false);
    }
    let finished = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        preferences.answer(parts, bytes, true)
    });
    finished.await.unwrap_or_else(|error| interrupted(&error).into_response())
}

/// What a client accepts as the form of an answer.
struct Preferences {
    /// Lists of the entity tags that the client has.
    known: Vec<String>,
    /// Whether it reads gzip.
    gzip: bool,
}

impl Preferences {
    fn of(headers: &HeaderMap) -> Self {
        let texts = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        Self {
            known: texts(header::IF_NONE_MATCH).map(str::to_owned).collect(),
            gzip: texts(header::ACCEPT_ENCODING).any(takes_gzip),
        }
    }

    /// The response with its tag; compressed here where it is large.
    fn answer(&self, mut parts: response::Parts, bytes: Bytes, large: bool) -> Response {
        let digest: String = Sha256::digest(&bytes)[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        // Weak: the same content may be sent compressed.
        let tag = format!("W/\"{digest}\"");
        if let Ok(value) = HeaderValue::from_str(&tag) {
            parts.headers.insert(header::ETAG, value);
        }
        if self.known.iter().any(|list| matches(list, &tag)) {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_LENGTH);
            return Response::from_parts(parts, Body::empty());
        }
        if large
            && self.gzip
            && let Ok(packed) = gzip(&bytes)
        {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
            return Response::from_parts(parts, Body::from(packed));
        }
        Response::from_parts(parts, Body::from(bytes))
    }
}

/// At the fastest level: of records it saves nearly as much as the default one, in a third of the time.
fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Whether a list of content codings (`Accept-Encoding`) allows gzip.
fn takes_gzip(list: &str) -> bool {
    list.split(',').any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f64>().is_ok_and(|q| q <= 0.0));
        matches!(coding.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip") && !refused
    })
}

/// Whether a list of entity tags holds this one, by the weak comparison.
fn matches(list: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*" || list.split(',').any(|one| opaque(one) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::ThreadId;

    use axum::http::Request;
    use axum::routing::get;
    use axum::{Router, middleware};
    use serde::Serializer;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn entity_tags_are_found_in_lists() {
        let tag = "W/\"abc\"";
        for list in ["W/\"abc\"", "\"abc\"", "\"x\", W/\"abc\"", "*", " * "] {
            assert!(matches(list, tag), "{list}");
        }
        for list in ["", "abc", "\"abcd\"", "W/\"x\",\"y\""] {
            assert!(!matches(list, tag), "{list}");
        }
    }

    #[test]
    fn codings_are_found_in_lists() {
        for list in ["gzip", "GZIP", "br, gzip;q=0.5", "deflate,gzip ; q=1"] {
            assert!(takes_gzip(list), "{list}");
        }
        for list in ["", "br", "gzip;q=0", "gzip; q=0.0, br", "identity", "*;q=0"] {
            assert!(!takes_gzip(list), "{list}");
        }
    }

    /// A value that says which thread writes it as JSON.
    struct Watched(Sender<ThreadId>);

    impl Serialize for Watched {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.send(std::thread::current().id()).unwrap();
            serializer.serialize_str("written")
        }
    }

    #[tokio::test]
    async fn large_answers_are_written_on_another_thread() {
        let (sender, written) = channel();
        let permit = LargeAnswers::default().permit().await;
        let response = permit.json(Watched(sender)).await.unwrap();
        assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "\"written\"".as_bytes());
        assert_ne!(written.recv().unwrap(), std::thread::current().id());
    }

    /// The permit of a large answer is free again once the answer is compressed, and not before.
    #[tokio::test]
    async fn a_large_answer_is_compressed_and_tagged_under_its_permit() {
        let large = LargeAnswers::default();
        let text = "record ".repeat(LARGE);
        let (permits, body) = (large.clone(), text.clone());
        let handler = move || async move {
            let response = permits.permit().await.json(body).await.unwrap();
            assert_eq!(permits.0.available_permits(), LARGE_ANSWERS - 1);
            response
        };
        let router = Router::new().route("/", get(handler)).layer(middleware::from_fn(tagged));
        let request = |headers: &[(&str, &str)]| {
            let request =
                headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
            request.body(Body::empty()).unwrap()
        };
        let packed = router.clone().oneshot(request(&[("accept-encoding", "gzip, br")])).await.unwrap();
        assert_eq!(large.0.available_permits(), LARGE_ANSWERS);
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        assert_eq!(packed.headers()["vary"], "accept-encoding");
        let tag = packed.headers()["etag"].to_str().unwrap().to_owned();
        let bytes = to_bytes(packed.into_body(), usize::MAX).await.unwrap();
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, format!("\"{text}\""));

        let plain = router.clone().oneshot(request(&[])).await.unwrap();
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_eq!(plain.headers()["etag"], tag.as_str(), "the tag is of the content");
        let known = router.oneshot(request(&[("if-none-match", &tag)])).await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(large.0.available_permits(), LARGE_ANSWERS);
    }
}
