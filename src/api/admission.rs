//! Whether a request is let in: the host that it names, the page that it comes from, its token.
//!
//! Checked before a body is read.

use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::http::header::EXPECT;
use tokio::time::timeout;

use super::body;
use super::problem::Problem;
use crate::access::{Access, Scope};
use crate::http_server;

/// How long the body of a refused request is read: closing a socket with unread bytes resets it, and
/// a reset may overtake the response.
const DISCARD_TIMEOUT: Duration = Duration::from_millis(500);

/// Checks a request that needs this scope, or none.
pub fn check(access: &Access, scope: Option<Scope>, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = access.host(request.version(), request.uri(), headers);
    let host = host.map_err(Problem::Host)?;
    let is_post = request.method() == Method::POST;
    if is_post && !access.is_own_origin(headers, &host) {
        return Err(Problem::ForeignOrigin);
    }
    match scope {
        Some(scope) => access.authorize(headers, scope).map_err(Problem::Denied),
        None => Ok(()),
    }
}

/// Reads the rest of a refused request, so that its client reads the response.
pub async fn refuse(request: Request, problem: Problem) -> Problem {
    // A client that sent `Expect` waits for the response before it sends its body.
    if !request.headers().contains_key(EXPECT) {
        let discarded = http_server::discard(request.into_body(), body::MAX_BYTES);
        let _ = timeout(DISCARD_TIMEOUT, discarded).await;
    }
    problem
}
