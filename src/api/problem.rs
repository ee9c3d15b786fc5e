//! Errors as HTTP responses: status and body (RFC 9457) of everything that is not a success.
//!
//! Causes go to the log lines, not to the client. A refused POST has an `outcome`: the order may be in
//! the log (`unknown`: send it again) or definitely is not (`not_accepted`).

use axum::body::Body;
use axum::http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

use super::response::response;
use crate::access::{Denial, HostError};
use crate::event_log::AppendError;
use crate::order::{Fault, Refusal, RefusalKind};
use crate::pipeline::lookup_protocol::DeadLettered;

/// Why a request did not succeed.
#[derive(Debug)]
pub enum Problem {
    /// No such path.
    NoSuchPath,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// The host that the request names.
    Host(HostError),
    /// A page of another site sent a POST.
    ForeignOrigin,
    /// The request has no token that allows this.
    Denied(Denial),
    /// The uid in the path cannot be one.
    BadUid(&'static str),
    /// Known not to exist; with its dead letter, if there is one.
    NoSuchOrder {
        order_uid: String,
        dead_lettered: Option<DeadLettered>,
    },
    /// The body is not `application/json`.
    NotJsonType,
    /// The body is compressed.
    Encoded,
    /// The body is larger than the limit.
    TooLarge { limit: usize },
    /// The order is larger than the log accepts.
    TooLargeForLog,
    /// The body did not arrive in time.
    SlowBody,
    /// The body ended before it was whole.
    BrokenBody,
    /// Not an order; every fault at once, but for those beyond a hundred.
    Refused(Refusal),
    /// The log definitely does not have the order.
    NotAccepted,
    /// The log has no topic of orders, and definitely does not have the order.
    NoTopic,
    /// The log's disk is full, or nearly so: it definitely does not have the order.
    DiskFull,
    /// The log may have the order: it did not respond, or did not report its offset.
    NotConfirmed,
    /// Too many requests are in progress.
    Busy { outcome: Option<Outcome> },
    /// The log did not accept the lookup.
    LookupNotSent,
    /// The client wanted what is cached alone.
    NotCached,
}

/// What became of a posted order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may be in the log: send it again, that is harmless.
    Unknown,
    /// It definitely is not in the log.
    NotAccepted,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
    #[serde(skip_serializing_if = "is_zero")]
    more_errors: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Problem {
        match error {
            AppendError::NotAccepted(_) | AppendError::Timestamp(_) => Problem::NotAccepted,
            AppendError::NoTopic(_) => Problem::NoTopic,
            AppendError::TooLarge(_) => Problem::TooLargeForLog,
            AppendError::Full(_) => Problem::DiskFull,
            AppendError::Unknown(_) => Problem::NotConfirmed,
        }
    }
}

impl Problem {
    /// Status, type and title.
    fn kind(&self) -> (u16, &'static str, &'static str) {
        match self {
            Problem::NoSuchPath => (404, "no-such-path", "no such path"),
            Problem::MethodNotAllowed => (405, "method-not-allowed", "method not allowed"),
            Problem::Host(HostError::NotOurs) => (421, "misdirected", "another host was meant"),
            Problem::Host(_) => (400, "bad-host", "the host is missing or malformed"),
            Problem::ForeignOrigin => (403, "foreign-origin", "a page of another site sent this"),
            Problem::Denied(Denial::Scope(_)) => {
                (403, "forbidden", "the token does not allow this")
            }
            Problem::Denied(_) => (401, "unauthorized", "a valid token is required"),
            Problem::BadUid(_) => (400, "bad-order-uid", "not an order uid"),
            Problem::NoSuchOrder { dead_lettered, .. } => match dead_lettered {
                Some(_) => (404, "dead-lettered", "the order was refused"),
                None => (404, "no-such-order", "no such order"),
            },
            Problem::NotJsonType => (415, "not-json-type", "the body must be application/json"),
            Problem::Encoded => (415, "encoded-body", "the body must not be compressed"),
            Problem::TooLarge { .. } | Problem::TooLargeForLog => (413, "too-large", "too large"),
            Problem::SlowBody => (408, "slow-body", "the body did not arrive in time"),
            Problem::BrokenBody => (400, "broken-body", "the body is incomplete"),
            Problem::Refused(refusal) => match refusal.kind {
                RefusalKind::NotJson => (400, "not-json", "the body is not JSON"),
                RefusalKind::Invalid => (422, "invalid-order", "the order is not valid"),
            },
            Problem::NotAccepted => (503, "not-accepted", "the order was not accepted"),
            Problem::NoTopic => (503, "no-topic", "the order log has no topic for orders"),
            Problem::DiskFull => (507, "no-room", "the disk of the order log is full"),
            Problem::NotConfirmed => (503, "not-confirmed", "the order was not confirmed"),
            Problem::Busy { .. } => (503, "busy", "too many requests are in progress"),
            Problem::NotCached => (504, "not-cached", "the order is not in the cache"),
            Problem::LookupNotSent => (503, "log-unreachable", "the order log cannot be reached"),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        match self {
            Problem::NotConfirmed => Some(Outcome::Unknown),
            Problem::NotAccepted | Problem::NoTopic | Problem::DiskFull => {
                Some(Outcome::NotAccepted)
            }
            Problem::Busy { outcome } => *outcome,
            _ => None,
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::Host(error) => error.to_string(),
            Problem::ForeignOrigin => {
                "the Origin header names neither the host of the request nor one of ALLOWED_HOSTS"
                    .into()
            }
            Problem::Denied(denial) => denial.detail(),
            Problem::BadUid(why) => (*why).into(),
            Problem::NoSuchOrder {
                dead_lettered: Some(dead_lettered),
                ..
            } => dead_lettered.to_string(),
            Problem::TooLarge { limit } => format!("the body may have {limit} bytes"),
            Problem::TooLargeForLog => "the order is larger than the order log accepts".into(),
            Problem::NotAccepted => {
                "the order log cannot accept it now and does not have it: send it again later"
                    .into()
            }
            Problem::NoTopic => {
                "the topic for orders is missing, and the order is not in the log: run `orders \
                 create-topics`, then send it again"
                    .into()
            }
            Problem::DiskFull => {
                "the disk of the order log is nearly full, and it does not have the order: send it \
                 again when there is space"
                    .into()
            }
            Problem::NotConfirmed => {
                "the order log did not confirm it and may have it: send it again, that is harmless"
                    .into()
            }
            Problem::Busy { .. } => "try again later".into(),
            Problem::LookupNotSent => {
                "the order is not in the cache and cannot be looked up now: try again later".into()
            }
            _ => String::new(),
        }
    }

    /// Whether the connection must end with this response: part of the body was not read.
    fn ends_connection(&self) -> bool {
        matches!(
            self,
            Problem::TooLarge { .. }
                | Problem::SlowBody
                | Problem::BrokenBody
                | Problem::Host(HostError::Missing | HostError::Several | HostError::Malformed)
        )
    }

    fn document(&self) -> Vec<u8> {
        let (status, r#type, title) = self.kind();
        let (errors, more_errors): (&[Fault], usize) = match self {
            Problem::Refused(refusal) => (&refusal.faults, refusal.more_faults),
            _ => (&[], 0),
        };
        let order_uid = match self {
            Problem::NoSuchOrder { order_uid, .. } => Some(order_uid.as_str()),
            Problem::Refused(refusal) => refusal.order_uid.as_deref(),
            _ => None,
        };
        let document = Document {
            r#type,
            title,
            status,
            detail: &self.detail(),
            order_uid,
            outcome: self.outcome(),
            errors,
            more_errors,
        };
        serde_json::to_vec(&document).expect("a problem has only text keys")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let (status, ..) = self.kind();
        let retry_after = match status {
            503 => Some("1"),
            // Disk space is freed by an operator.
            507 => Some("30"),
            _ => None,
        };
        let status = StatusCode::from_u16(status).expect("it is one of the above");
        let mut response = response(status, "application/problem+json", self.document());
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if let Problem::Denied(denial) = &self {
            headers.insert(WWW_AUTHENTICATE, denial.challenge());
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::http::response::Parts;

    use super::*;

    fn answer(problem: Problem) -> (Parts, String) {
        let (head, body) = problem.into_response().into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let bytes = runtime
            .block_on(axum::body::to_bytes(body, 1 << 20))
            .unwrap();
        (head, String::from_utf8(bytes.into()).unwrap())
    }

    #[test]
    fn an_order_that_was_not_acknowledged_has_an_outcome_and_a_time_to_retry() {
        let cause = || String::from("the cause");
        for (error, status, retry_after, outcome) in [
            (AppendError::Unknown(cause()), 503, "1", "unknown"),
            (AppendError::NotAccepted(cause()), 503, "1", "not_accepted"),
            (AppendError::Timestamp(cause()), 503, "1", "not_accepted"),
            (AppendError::NoTopic(cause()), 503, "1", "not_accepted"),
            (AppendError::Full(cause()), 507, "30", "not_accepted"),
        ] {
            let (head, text) = answer(error.into());
            assert_eq!(head.status, status, "{text}");
            assert_eq!(head.headers[RETRY_AFTER], retry_after, "{text}");
            let outcome = format!(r#""outcome":"{outcome}""#);
            assert!(text.contains(&outcome) && !text.contains("cause"), "{text}");
        }
    }

    #[test]
    fn a_dead_letter_is_a_404_of_its_own_type_with_position_and_reason() {
        let (_, text) = answer(Problem::NoSuchOrder {
            order_uid: "a".into(),
            dead_lettered: DeadLettered::new("orders/2/17", Some("/sm_id must be a number")),
        });
        assert_eq!(
            text,
            r#"{"type":"dead-lettered","title":"the order was refused","status":404,"detail":"the record at orders/2/17 has this uid and could not become an order: /sm_id must be a number","order_uid":"a"}"#
        );
    }

    #[test]
    fn every_fault_of_an_order_has_its_pointer() {
        let fault = |pointer: &str, message: &str| Fault {
            pointer: pointer.into(),
            message: message.into(),
        };
        let (head, text) = answer(Problem::Refused(Refusal {
            kind: RefusalKind::Invalid,
            faults: vec![
                fault("/sm_id", "must be a whole number"),
                fault("/entry", "must be text"),
            ],
            more_faults: 0,
            order_uid: Some("a".into()),
        }));
        assert_eq!(head.status, 422);
        assert_eq!(
            text,
            r#"{"type":"invalid-order","title":"the order is not valid","status":422,"order_uid":"a","errors":[{"pointer":"/sm_id","message":"must be a whole number"},{"pointer":"/entry","message":"must be text"}]}"#
        );
    }
}
