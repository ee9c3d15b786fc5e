//! `GET /api/order/{uid}`: the newest version that is known.
//!
//! Owns the steps of a GET: cache, remembered miss, lookup, wait. What may enter the cache is decided
//! in `read_model`. A lookup that takes too long is answered with 202: the log has the request, and
//! the reply will be in the cache when it comes.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderName, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use uuid::Uuid;

use super::lookups::{Completion, Joined, LookupHandle, RESEND_INTERVAL};
use super::metrics::LookupResult;
use super::problem::Problem;
use super::response::{JSON, response};
use super::{App, uid};
use crate::cache::Entry;
use crate::event_log::{Ack, AppendError, Appended, Durability, NewRecord};
use crate::pipeline::lookup_protocol::{LOOKUP_TTL, LookupRequest, NotFound};
use crate::pipeline::time;

/// The path before the uid.
pub const PATH: &str = "/api/order/";

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const ORDER_BEHIND: HeaderName = HeaderName::from_static("order-behind");
const ORDER_SOURCE: HeaderName = HeaderName::from_static("order-source");

/// Where an order came from (RFC 9211).
#[derive(Clone, Copy, Debug)]
enum Origin {
    Cache,
    /// From the cache, while it is not known whether the log has a newer version.
    UnverifiedCache,
    Lookup,
    /// From a reply that does not show which request it belongs to.
    UnverifiedLookup,
}

/// Looks up one order.
pub async fn get_order(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let segment = request.uri().path().strip_prefix(PATH).unwrap_or_default();
    let order_uid = uid::decode(segment).map_err(Problem::BadUid)?;
    if is_only_if_cached(request.headers()) {
        return cached(&app, &order_uid, request.headers());
    }
    Ok(match find(&app, &order_uid).await? {
        Some((entry, origin)) => found(&entry, origin, request.headers()),
        None => queued(&order_uid),
    })
}

/// Whether the client wants what is in the cache, or nothing (RFC 9111).
fn is_only_if_cached(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    directives.any(|directive| {
        directive
            .trim_ascii()
            .eq_ignore_ascii_case(b"only-if-cached")
    })
}

/// The order as the cache holds it, and which record that is. Looks nothing up, and joins no lookup.
fn cached(app: &App, order_uid: &str, request: &HeaderMap) -> Result<Response<Body>, Problem> {
    let entry = app
        .read_model
        .cache
        .get(order_uid)
        .ok_or(Problem::NotCached)?;
    let origin = match app.read_model.is_live(Instant::now()) {
        true => Origin::Cache,
        false => Origin::UnverifiedCache,
    };
    let mut response = found(&entry, origin, request);
    let source = entry
        .version
        .as_ref()
        .map(|version| version.source.to_string());
    if let Some(Ok(source)) = source.map(HeaderValue::try_from) {
        response.headers_mut().insert(ORDER_SOURCE, source);
    }
    Ok(response)
}

/// The order, or `None` when its lookup is queued and takes longer than a client should wait.
async fn find(app: &App, order_uid: &str) -> Result<Option<(Arc<Entry>, Origin)>, Problem> {
    let now = Instant::now();
    let from_cache = |entry| {
        app.metrics.cache_hits.inc();
        let origin = match app.read_model.is_live(now) {
            true => Origin::Cache,
            false => Origin::UnverifiedCache,
        };
        Ok(Some((entry, origin)))
    };
    if let Some(entry) = app.read_model.cache.get(order_uid) {
        return from_cache(entry);
    }
    // Before joining: a lookup whose first GET does not wait would never be sent.
    let Ok(_permit) = app.waiting_gets.try_acquire() else {
        app.metrics.cache_misses.inc();
        app.metrics.looked_up(LookupResult::Refused);
        return Err(Problem::Busy { outcome: None });
    };
    let completion = match app.read_model.join(order_uid, now) {
        Joined::Found(entry) => return from_cache(entry),
        Joined::Full => {
            app.metrics.cache_misses.inc();
            app.metrics.looked_up(LookupResult::Refused);
            return Err(Problem::Busy { outcome: None });
        }
        Joined::NotFound(not_found) => Some(Completion::NotFound(not_found)),
        Joined::Waiting(handle) => {
            app.metrics.cache_misses.inc();
            let waited = wait(app, order_uid, handle).await;
            app.metrics.looked_up(match &waited {
                Ok(Some(Completion::Found(_))) => LookupResult::Found,
                Ok(Some(Completion::Unverified(_))) => LookupResult::Unverified,
                Ok(Some(Completion::NotFound(_))) => LookupResult::NotFound,
                Ok(None) => LookupResult::Queued,
                Err(_) => LookupResult::NotSent,
            });
            waited?
        }
    };
    match completion {
        Some(Completion::Found(entry)) => Ok(Some((entry, Origin::Lookup))),
        Some(Completion::Unverified(entry)) => Ok(Some((entry, Origin::UnverifiedLookup))),
        Some(Completion::NotFound(NotFound { dead_lettered })) => Err(Problem::NoSuchOrder {
            order_uid: order_uid.into(),
            dead_lettered,
        }),
        None => Ok(None),
    }
}

/// Waits for the lookup, sending it where that is due; `None` when the wait is over and the log has
/// the request.
async fn wait(
    app: &App,
    order_uid: &str,
    mut handle: LookupHandle,
) -> Result<Option<Completion>, Problem> {
    let lookups = &app.read_model.lookups;
    let deadline = tokio::time::Instant::now() + app.settings.lookup_wait;
    let mut sent: Option<(Ack, Uuid)> = None;
    loop {
        if let Some(correlation_id) = handle.to_send.take() {
            let Ok(ack) = send(app, order_uid, correlation_id) else {
                lookups.not_sent(order_uid, correlation_id);
                return Err(Problem::LookupNotSent);
            };
            sent = Some((ack, correlation_id));
        }
        let wake_at = deadline.min(tokio::time::Instant::now() + RESEND_INTERVAL);
        tokio::select! {
            biased;
            changed = handle.completion.changed() => {
                let completion = handle.completion.borrow_and_update().clone();
                if completion.is_some() {
                    return Ok(completion);
                }
                // The lookup expired just before this GET joined.
                if changed.is_err() {
                    break;
                }
                handle.to_send = lookups.resend(order_uid, Instant::now());
            },
            (outcome, correlation_id) = acknowledgement(&mut sent) => {
                sent = None;
                if outcome.is_ok() {
                    lookups.acknowledged(order_uid, correlation_id);
                }
            }
            () = tokio::time::sleep_until(wake_at) => {
                if tokio::time::Instant::now() >= deadline {
                    break;
                }
                handle.to_send = lookups.resend(order_uid, Instant::now());
            }
        }
    }
    if lookups.is_queued(order_uid) {
        Ok(None)
    } else {
        Err(Problem::LookupNotSent)
    }
}

/// The outcome of the request that was sent as this correlation id; waits for ever without one.
async fn acknowledgement(sent: &mut Option<(Ack, Uuid)>) -> (Result<Appended, AppendError>, Uuid) {
    match sent {
        Some((ack, correlation_id)) => (ack.await, *correlation_id),
        None => std::future::pending().await,
    }
}

fn send(app: &App, order_uid: &str, correlation_id: Uuid) -> Result<Ack, AppendError> {
    app.metrics.lookups_sent.inc();
    let deadline_us = time::us_after(LOOKUP_TTL);
    let request = LookupRequest::encode(order_uid, correlation_id, deadline_us);
    let record = NewRecord {
        topic: &app.settings.topics.lookup,
        key: request.key,
        value: request.value,
        headers: &request.headers(),
    };
    app.log.append(Durability::BestEffort, record)
}

fn found(entry: &Entry, origin: Origin, request: &HeaderMap) -> Response<Body> {
    let etag = entry.etag();
    let mut response = match has_tag(request, &etag) {
        true => response(StatusCode::NOT_MODIFIED, JSON, Body::empty()),
        false => response(StatusCode::OK, JSON, entry.body.clone()),
    };
    let cache_status = HeaderValue::from_static(match origin {
        Origin::Cache => "orders; hit",
        Origin::UnverifiedCache => "orders; hit; detail=unverified",
        Origin::Lookup => "orders; fwd=miss",
        Origin::UnverifiedLookup => "orders; fwd=miss; detail=unverified",
    });
    let etag = HeaderValue::from_maybe_shared(etag).expect("a tag is visible ASCII");
    let headers = response.headers_mut();
    // Other caches may keep it but must validate it: only this one follows the log.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ETAG, etag);
    headers.insert(CACHE_STATUS, cache_status);
    if let Some(behind) = entry.behind {
        headers.insert(ORDER_BEHIND, HeaderValue::from(behind));
    }
    response
}

/// Whether the client has this very body already (RFC 9110: a weak comparison).
fn has_tag(request: &HeaderMap, etag: &[u8]) -> bool {
    let values = request.get_all(IF_NONE_MATCH).iter();
    let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tags.any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag
    })
}

#[derive(Serialize)]
struct Queued<'a> {
    status: &'static str,
    order_uid: &'a str,
}

fn queued(order_uid: &str) -> Response<Body> {
    let status = "lookup_queued";
    let body = serde_json::to_vec(&Queued { status, order_uid }).expect("it has only text");
    let mut response = response(StatusCode::ACCEPTED, JSON, body);
    let headers = response.headers_mut();
    headers.insert(CACHE_STATUS, HeaderValue::from_static("orders; fwd=miss"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_if_cached_is_one_directive_of_several() {
        let has = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
            is_only_if_cached(&headers)
        };
        assert!(has("only-if-cached") && has("max-age=0, Only-If-Cached"));
        assert!(!has("no-cache") && !has("not-only-if-cached") && !has(""));
    }

    #[test]
    fn a_client_that_has_the_body_is_recognised() {
        let has = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            has_tag(&headers, b"\"ab\"")
        };
        assert!(has("\"ab\"") && has("*") && has("W/\"ab\"") && has("\"x\", \"ab\""));
        assert!(!has("\"abc\"") && !has("ab") && !has(""));
    }
}
