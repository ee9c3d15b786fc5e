//! `POST /orders`: 202 once the log has the order, and not before.
//!
//! Owns the steps of one order from bytes to its acknowledgement.
//!
//! # Invariants
//!
//! The log acknowledges, then the cache has the order, and only then the client gets its 202, so that
//! every later GET on this instance gives this version or a newer one.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::body_budget::Grant;
use super::problem::Problem;
use super::read_model::FollowerEpoch;
use super::response::{JSON, response};
use super::{App, body, get_order};
use crate::event_log::{AppendError, Appended, Durability, NewRecord};
use crate::failpoint;
use crate::order::BorrowedOrder;
use crate::pipeline::{ACCEPTED_AT, PartitionOffset, time};

/// How long an acknowledgement may take. More than the log's own delivery timeout (5 s, checked once
/// a second), so that normally the log reports the outcome and not this timeout.
const ACK_TIMEOUT: Duration = Duration::from_secs(7);

/// How often, and how far apart, to check whether the follower of orders has started.
const START_CHECKS: u32 = 40;
const START_CHECK_PAUSE: Duration = Duration::from_millis(20);

/// How long a body may take, and how long while nearly all connections or most of the body budget are
/// taken: slow clients must not keep the others out.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const NEARLY_FULL_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Accepts one order.
pub async fn post_order(
    app: &App,
    client: IpAddr,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (order_uid, encoded, _grant) = read(app, client, request).await?;
    append(app, &order_uid, encoded).await?;
    Ok(accepted(&order_uid))
}

/// Reads the order of a request: its uid, its normalised encoding for the log and the cache, and its
/// share of the body budget. The request is dropped here, so that hyper can use the connection's
/// buffer again while the log is waited for.
async fn read(
    app: &App,
    client: IpAddr,
    request: Request,
) -> Result<(String, Bytes, Grant), Problem> {
    let (head, body) = request.into_parts();
    check_type(&head.headers)?;
    let deadline = if app.connections.is_nearly_full() || app.body_budget.is_nearly_full() {
        NEARLY_FULL_BODY_TIMEOUT
    } else {
        BODY_TIMEOUT
    };
    let (bytes, grant) =
        body::read(body, &head.headers, &app.body_budget, client, deadline).await?;
    let order = BorrowedOrder::decode(&bytes).map_err(Problem::Refused)?;
    let encoded = Bytes::from(order.encode().into_boxed_slice());
    Ok((order.order_uid.to_string(), encoded, grant))
}

async fn append(app: &App, order_uid: &str, encoded: Bytes) -> Result<(), Problem> {
    let before = epoch(app).await?;
    let accepted_at_us = time::now_us();
    let accepted_at = accepted_at_us.to_string();
    let record = NewRecord {
        topic: &app.settings.topics.orders,
        key: order_uid.as_bytes(),
        value: Some(&encoded),
        headers: &[(ACCEPTED_AT, accepted_at.as_bytes())],
    };
    let sent = Instant::now();
    let appended = match app.log.append(Durability::Durable, record) {
        Ok(ack) => timeout(ACK_TIMEOUT, ack)
            .await
            .unwrap_or_else(|_| Err(unacknowledged())),
        Err(error) => Err(error),
    };
    app.metrics.produced(&appended, sent.elapsed());
    report(app, order_uid, &appended);
    let Appended { partition, offset } = appended?;
    failpoint::reach(failpoint::Point::AfterAck);
    // The log has it, but its version is unknown: a later GET could give an older one.
    let offset = offset.ok_or(Problem::NotConfirmed)?;
    app.read_model.accepted(
        order_uid,
        encoded,
        PartitionOffset { partition, offset },
        accepted_at_us,
        before,
    );
    Ok(())
}

/// The follower's epoch. The follower starts milliseconds after Kafka first responds, so an order
/// posted before waits for it; until then nothing is appended that a GET here could not give.
async fn epoch(app: &App) -> Result<FollowerEpoch, Problem> {
    for _ in 0..START_CHECKS {
        if let Some(epoch) = app.read_model.epoch() {
            return Ok(epoch);
        }
        sleep(START_CHECK_PAUSE).await;
    }
    Err(Problem::NotAccepted)
}

fn unacknowledged() -> AppendError {
    AppendError::Unknown("no acknowledgement within 7 s".into())
}

/// Logs the first of several failures and the recovery; each order at debug level.
fn report(app: &App, order_uid: &str, appended: &Result<Appended, AppendError>) {
    match appended {
        Ok(Appended { partition, offset }) => {
            let offset = offset.unwrap_or(-1);
            debug!(order_uid, partition, offset, "order accepted");
            if app.appends_fail.load(Ordering::Relaxed)
                && app.appends_fail.swap(false, Ordering::Relaxed)
            {
                app.clock.accepted();
                info!("accepting orders again");
            }
        }
        // Concerns this order, not the log.
        Err(AppendError::TooLarge(_)) => {}
        Err(error) => {
            debug!(order_uid, "order not accepted: {error}");
            if let AppendError::Timestamp(_) = error {
                app.clock.refused(&error.to_string());
            }
            if !app.appends_fail.swap(true, Ordering::Relaxed) {
                warn!("cannot accept orders: {error}");
            }
        }
    }
}

/// Requires `application/json`, with any parameters, and no compression: nothing that a cross-site
/// form could send, and nothing that grows when it is decompressed.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    // Two readers could disagree about which of several counts.
    let only = types.next().filter(|_| types.next().is_none());
    let essence = only.and_then(|value| value.to_str().ok());
    let essence = essence
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::NotJsonType);
    }
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_identity) {
        return Err(Problem::Encoded);
    }
    Ok(())
}

fn accepted(order_uid: &str) -> Response<Body> {
    // A uid has no character that JSON, a path or a header would escape.
    let body = [r#"{"status":"accepted","order_uid":""#, order_uid, r#""}"#].concat();
    // Relative to `/orders`, so that it holds behind a proxy that adds a prefix to the path.
    let path = get_order::PATH.trim_start_matches('/');
    let location = HeaderValue::try_from([path, order_uid].concat());
    let location = location.expect("a valid uid is visible ASCII");
    let mut response = response(StatusCode::ACCEPTED, JSON, body);
    response.headers_mut().insert(LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: Option<&'static str>, encoding: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        let mut insert = |name, value: Option<&'static str>| {
            value.map(|value| headers.insert(name, HeaderValue::from_static(value)))
        };
        insert(CONTENT_TYPE, content_type);
        insert(CONTENT_ENCODING, encoding);
        check_type(&headers).is_ok()
    }

    #[test]
    fn a_second_content_type_is_not_overlooked() {
        let mut headers = HeaderMap::new();
        for (value, is_accepted) in [("application/json", true), ("text/plain", false)] {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(check_type(&headers).is_ok(), is_accepted, "{value}");
        }
    }

    #[test]
    fn only_plain_json_is_accepted() {
        assert!(check(Some("application/json"), None));
        assert!(check(
            Some("Application/JSON; charset=utf-8"),
            Some("identity")
        ));
        assert!(!check(None, None));
        assert!(!check(Some("text/plain"), None));
        assert!(!check(Some("application/x-www-form-urlencoded"), None));
        assert!(!check(Some("application/jsonx"), None));
        assert!(!check(Some("application/json"), Some("gzip")));
    }
}
