//! Who may ask, and who may change.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::problem::Problem;
use crate::refusals::Refusals;

/// Who may ask, and who may change.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever comes: something in front of the router has let them through, for example an authorizer of a gateway
    /// that keeps the scopes of reading and writing apart.
    Checked,
    /// This machine. Whoever can reach loopback under one of its names may ask; a change must not come from a page of
    /// another origin.
    Loopback,
    /// Whoever has a token.
    Tokens(Tokens),
}

/// The hashes of the tokens: comparing them tells nothing of the tokens, however long they are.
#[derive(Clone)]
pub struct Tokens {
    write: Option<[u8; 32]>,
    read: Option<[u8; 32]>,
    refusals: Arc<Refusals>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// A token that may read and write, and one that may only read; none where neither is there.
    #[must_use]
    pub fn new(write: Option<&str>, read: Option<&str>) -> Option<Self> {
        let hash = |token: &str| <[u8; 32]>::from(Sha256::digest(token));
        (write.is_some() || read.is_some()).then(|| Self {
            write: write.map(hash),
            read: read.map(hash),
            refusals: Arc::default(),
        })
    }

    /// Whether this token may write, and whether it may read. Takes the same time for every token of a length.
    fn may(&self, token: &[u8]) -> (bool, bool) {
        let given = <[u8; 32]>::from(Sha256::digest(token));
        let is = |known: &Option<[u8; 32]>| known.is_some_and(|known| bool::from(known.ct_eq(&given)));
        let (write, read) = (is(&self.write), is(&self.read));
        (write, write | read)
    }
}

const fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Lets a request through, or answers it.
pub(crate) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let refused = match &access {
        Access::Checked => None,
        Access::Loopback => from_elsewhere(request.headers(), request.uri().host(), changes(request.method())),
        Access::Tokens(tokens) => without_token(tokens, request.headers(), changes(request.method())),
    };
    match refused {
        Some(problem) => {
            if let Access::Tokens(tokens) = &access {
                tokens.refusals.note();
            }
            problem.into_response()
        }
        None => next.run(request).await,
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// A page of another origin can make a browser send a request here, also by a name that it lets point here: then it may
/// even read the answer.
fn from_elsewhere(headers: &HeaderMap, host: Option<&str>, changes: bool) -> Option<Problem> {
    let refused = |detail: String| Some(Problem::new(StatusCode::FORBIDDEN, "wrong-origin", detail));
    let host = text(headers, header::HOST).or(host);
    if !host.map_or(!changes, is_loopback) {
        let host = host.unwrap_or_default();
        return refused(format!(
            "without a token, questions and changes are taken under the names of loopback, and not under {host:?}; with NIGHTBOOK_TOKEN or NIGHTBOOK_READ_TOKEN set, under any"
        ));
    }
    if !changes {
        return None;
    }
    let host = host.unwrap_or_default();
    if let Some(origin) = text(headers, header::ORIGIN).filter(|origin| *origin != format!("http://{host}")) {
        return refused(format!("changes are not taken from pages of {origin:?}"));
    }
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
    if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return refused("changes are not taken from pages of another site".to_owned());
    }
    None
}

/// Whether a `Host`, with or without a port, is a name of this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_token(tokens: &Tokens, headers: &HeaderMap, write: bool) -> Option<Problem> {
    let header = text(headers, header::AUTHORIZATION).unwrap_or_default();
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    let token = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().as_bytes().to_vec()),
        // What a browser asks for: any name, and the token as password. A browser sends it along with what pages of
        // others ask for, so it may only read.
        "basic" if !write => STANDARD.decode(rest.trim()).ok().and_then(|pair| {
            let at = pair.iter().position(|byte| *byte == b':')?;
            Some(pair[at + 1..].to_vec())
        }),
        _ => None,
    };
    let unauthorized = |detail: &str, challenge| {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        let problem = problem.with(header::WWW_AUTHENTICATE, challenge);
        Some(if write { problem } else { problem.with(header::WWW_AUTHENTICATE, "Basic realm=\"nightbook\"") })
    };
    let Some(token) = token else {
        return unauthorized("a token is needed: Authorization: Bearer TOKEN", "Bearer realm=\"nightbook\"");
    };
    match tokens.may(&token) {
        (_, false) => unauthorized(
            "this token is not known: ask whoever runs the server",
            "Bearer realm=\"nightbook\", error=\"invalid_token\"",
        ),
        (false, true) if write => Some(
            Problem::new(StatusCode::FORBIDDEN, "read-only-token", "this token may read, and not change anything")
                .with(header::WWW_AUTHENTICATE, "Bearer realm=\"nightbook\", error=\"insufficient_scope\""),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:80", "10.0.0.1", "[::2]:1", "[", "127.0.0.1.nip.io"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn tokens_keep_reading_and_writing_apart() {
        let tokens = Tokens::new(Some("write-token"), Some("read-token")).unwrap();
        assert_eq!(tokens.may(b"write-token"), (true, true));
        assert_eq!(tokens.may(b"read-token"), (false, true));
        assert_eq!(tokens.may(b"read-toke"), (false, false));
        assert_eq!(tokens.may(b""), (false, false));
        assert!(Tokens::new(None, None).is_none());
        assert!(!format!("{tokens:?}").contains("token-"), "a token must not be shown");
    }
}
