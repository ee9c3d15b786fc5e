//! Errors as HTTP responses: status and body (RFC 9457) of everything that is not a success.
//!
//! Causes go to the log lines, not to the client. A refused POST has an `outcome`: the order may be in
//! the log (`unknown`: send it again) or definitely is not (`not_accepted`).

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::event_log::AppendError;
use crate::order::{Fault, Refusal, RefusalKind};
use crate::pipeline::lookup_protocol::NotFound;

/// Why a request did not succeed.
#[derive(Debug)]
pub enum Problem {
    /// No such path.
    NoSuchPath,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// The uid in the path cannot be one.
    BadUid(&'static str),
    /// Known not to exist.
    NoSuchOrder {
        order_uid: String,
        not_found: NotFound,
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
    /// Not an order; every fault at once.
    Refused(Refusal),
    /// The log definitely does not have the order.
    NotAccepted,
    /// The log's disk is full, or nearly so: it definitely does not have the order.
    DiskFull,
    /// The log may have the order: it did not respond, or did not report its offset.
    NotConfirmed,
    /// Too many requests are in progress.
    Busy { outcome: Option<Outcome> },
    /// The log did not accept the lookup.
    LookupNotSent,
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
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Problem {
        match error {
            AppendError::NotAccepted(_) => Problem::NotAccepted,
            AppendError::TooLarge(_) => Problem::TooLargeForLog,
            AppendError::Full(_) => Problem::DiskFull,
            AppendError::Unknown(_) => Problem::NotConfirmed,
        }
    }
}

impl Problem {
    /// The status alone, for metrics and tests.
    pub fn status(&self) -> StatusCode {
        match self {
            Problem::NoSuchPath | Problem::NoSuchOrder { .. } => StatusCode::NOT_FOUND,
            Problem::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Problem::BadUid(_) | Problem::BrokenBody => StatusCode::BAD_REQUEST,
            Problem::NotJsonType | Problem::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Problem::TooLarge { .. } | Problem::TooLargeForLog => StatusCode::PAYLOAD_TOO_LARGE,
            Problem::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Problem::Refused(Refusal {
                kind: RefusalKind::NotJson,
                ..
            }) => StatusCode::BAD_REQUEST,
            Problem::Refused(Refusal {
                kind: RefusalKind::Invalid,
                ..
            }) => StatusCode::UNPROCESSABLE_ENTITY,
            Problem::NotAccepted
            | Problem::NotConfirmed
            | Problem::Busy { .. }
            | Problem::LookupNotSent => StatusCode::SERVICE_UNAVAILABLE,
            Problem::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    fn kind_and_title(&self) -> (&'static str, &'static str) {
        match self {
            Problem::NoSuchPath => ("no-such-path", "no such path"),
            Problem::MethodNotAllowed => ("method-not-allowed", "method not allowed"),
            Problem::BadUid(_) => ("bad-order-uid", "not an order uid"),
            Problem::NoSuchOrder {
                not_found: NotFound {
                    dead_lettered: Some(_),
                },
                ..
            } => ("dead-lettered", "the order was refused"),
            Problem::NoSuchOrder { .. } => ("no-such-order", "no such order"),
            Problem::NotJsonType => ("not-json-type", "the body must be application/json"),
            Problem::Encoded => ("encoded-body", "the body must not be compressed"),
            Problem::TooLarge { .. } | Problem::TooLargeForLog => ("too-large", "too large"),
            Problem::SlowBody => ("slow-body", "the body did not arrive in time"),
            Problem::BrokenBody => ("broken-body", "the body is incomplete"),
            Problem::Refused(Refusal {
                kind: RefusalKind::NotJson,
                ..
            }) => ("not-json", "the body is not JSON"),
            Problem::Refused(Refusal {
                kind: RefusalKind::Invalid,
                ..
            }) => ("invalid-order", "the order is not valid"),
            Problem::NotAccepted => ("not-accepted", "the order was not accepted"),
            Problem::DiskFull => ("no-room", "the disk of the order log is full"),
            Problem::NotConfirmed => ("not-confirmed", "the order was not confirmed"),
            Problem::Busy { .. } => ("busy", "too many requests are in progress"),
            Problem::LookupNotSent => ("log-unreachable", "the order log cannot be reached"),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        match self {
            Problem::NotConfirmed => Some(Outcome::Unknown),
            Problem::NotAccepted | Problem::DiskFull => Some(Outcome::NotAccepted),
            Problem::Busy { outcome } => *outcome,
            _ => None,
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::BadUid(why) => (*why).into(),
            Problem::NoSuchOrder {
                not_found:
                    NotFound {
                        dead_lettered: Some(place),
                    },
                ..
            } => {
                format!("the record at {place} has this uid and could not become an order")
            }
            Problem::TooLarge { limit } => format!("the body may have {limit} bytes"),
            Problem::TooLargeForLog => "the order is larger than the order log accepts".into(),
            Problem::NotAccepted => {
                "the order log cannot accept it now and does not have it: send it again later"
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
            Problem::TooLarge { .. } | Problem::SlowBody | Problem::BrokenBody
        )
    }

    /// The whole response.
    pub fn respond(&self) -> Response<Body> {
        let (kind, title) = self.kind_and_title();
        let (status, detail) = (self.status(), self.detail());
        let errors: &[Fault] = match self {
            Problem::Refused(refusal) => &refusal.faults,
            _ => &[],
        };
        let order_uid = match self {
            Problem::NoSuchOrder { order_uid, .. } => Some(order_uid.as_str()),
            Problem::Refused(refusal) => refusal.order_uid.as_deref(),
            _ => None,
        };
        let document = Document {
            r#type: kind,
            title,
            status: status.as_u16(),
            detail: &detail,
            order_uid,
            outcome: self.outcome(),
            errors,
        };
        let body = serde_json::to_vec(&document).expect("a problem has only text keys");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // Disk space is freed by an operator.
            StatusCode::INSUFFICIENT_STORAGE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
            }
            _ => {}
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: &Problem) -> String {
        let body = problem.respond().into_body();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let bytes = runtime
            .block_on(axum::body::to_bytes(body, 1 << 20))
            .unwrap();
        String::from_utf8(bytes.into()).unwrap()
    }

    #[test]
    fn an_append_that_was_not_confirmed_has_an_outcome() {
        let unknown = Problem::from(AppendError::Unknown("timed out".into()));
        let not_accepted = Problem::from(AppendError::NotAccepted("queue full".into()));
        for (problem, outcome) in [(unknown, "unknown"), (not_accepted, "not_accepted")] {
            let answer = text(&problem);
            assert!(
                answer.contains(&format!(r#""outcome":"{outcome}""#)),
                "{answer}"
            );
            assert!(
                !answer.contains("timed out") && !answer.contains("queue full"),
                "{answer}"
            );
            let response = problem.respond();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()[RETRY_AFTER], "1");
        }
    }

    #[test]
    fn a_log_with_a_full_disk_answers_507_and_definitely_does_not_have_the_order() {
        let problem = Problem::from(AppendError::Full("2 MB are free".into()));
        assert_eq!(problem.status(), 507);
        assert_eq!(problem.respond().headers()[RETRY_AFTER], "30");
        assert!(text(&problem).contains(r#""outcome":"not_accepted""#));
    }

    #[test]
    fn a_dead_letter_is_a_404_of_its_own_type_with_the_position() {
        let not_found = NotFound {
            dead_lettered: Some("orders/2/17".into()),
        };
        let problem = Problem::NoSuchOrder {
            order_uid: "a".into(),
            not_found,
        };
        assert_eq!(
            text(&problem),
            r#"{"type":"dead-lettered","title":"the order was refused","status":404,"detail":"the record at orders/2/17 has this uid and could not become an order","order_uid":"a"}"#
        );
    }

    #[test]
    fn every_fault_of_an_order_has_its_pointer() {
        let fault = |pointer: &str, message: &str| Fault {
            pointer: pointer.into(),
            message: message.into(),
        };
        let refusal = Refusal {
            kind: RefusalKind::Invalid,
            faults: vec![
                fault("/sm_id", "must be a whole number"),
                fault("/entry", "must be text"),
            ],
            order_uid: Some("a".into()),
        };
        let problem = Problem::Refused(refusal);
        assert_eq!(problem.status(), 422);
        assert_eq!(
            text(&problem),
            r#"{"type":"invalid-order","title":"the order is not valid","status":422,"order_uid":"a","errors":[{"pointer":"/sm_id","message":"must be a whole number"},{"pointer":"/entry","message":"must be text"}]}"#
        );
    }
}
