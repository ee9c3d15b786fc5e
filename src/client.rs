//! The HTTP client of `send` and `get`: one request, one typed outcome.
//!
//! Owns what the API's statuses mean to a caller, and the rule that a POST without a definite answer is
//! sent again. Blocks; connections are kept alive between orders.
//!
//! # Invariants
//!
//! - A POST whose response was lost has neither succeeded nor failed: it is
//!   [`SendOutcome::Unknown`] until a later response is definite.

use std::cell::Cell;
use std::time::{Duration, Instant};

use percent_encoding::utf8_percent_encode;
use ureq::http::Response;
use ureq::http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body, RequestBuilder};

use crate::order::{Fault, Order, is_uid};

use self::connection::{Forwarding, Sent};
use self::wire::{Problem, Receipt};

pub mod cached;
mod connection;
pub mod documents;
mod probe;
mod wire;

/// Limit of one connection attempt, name resolution included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of one POST; the API responds within 7 s, even when Kafka is unavailable.
const POST_TIMEOUT: Duration = Duration::from_secs(15);
/// Limit of one GET; the API waits for a lookup up to LOOKUP_WAIT_MS, at most 30 s.
const GET_TIMEOUT: Duration = Duration::from_secs(40);
/// The first pause between two attempts; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The API did not process the request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection; nothing was sent.
    #[error("no connection to the API at `{url}`: {reason}")]
    Unreachable { url: String, reason: String },
    /// Another server responds at this URL.
    #[error("the server at `{url}` is not the orders API (status {status})")]
    NotTheApi { url: String, status: u16 },
    /// The request needs a token, another token, or another host name; nothing was done.
    #[error("the API at `{url}` refused the request ({status}): {detail}")]
    Denied {
        url: String,
        status: u16,
        detail: String,
    },
}

/// The outcome of one POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The log has the order; it will be stored.
    Accepted { order_uid: String },
    /// The API will never accept it as it is.
    Refused {
        status: u16,
        detail: String,
        faults: Vec<Fault>,
        more_faults: u64,
    },
    /// Definitely not in the log; may be accepted later.
    NotAccepted(RetryableError),
    /// May or may not be in the log; sending it again is safe.
    Unknown(RetryableError),
}

/// The outcome of one GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetOutcome {
    Found(Box<FoundOrder>),
    /// There is no such order; the detail may name the position of a dead letter.
    NotFound {
        detail: String,
    },
    /// Not known yet: the lookup is in progress, or the API cannot look it up now.
    Pending(RetryableError),
    /// The API does not look up such a uid.
    Refused {
        status: u16,
        detail: String,
    },
}

/// An order, and whether the API has verified that it is the newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOrder {
    pub order: Order,
    /// How many records were not yet applied when the store was read.
    pub behind: Option<String>,
    /// The log was unavailable, so there may be a newer version.
    pub is_unverified: bool,
}

/// A failure that a retry may resolve, and the pause before it that the API requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryableError {
    pub reason: String,
    pub retry_after: Option<Duration>,
}

impl RetryableError {
    fn new(reason: impl Into<String>) -> RetryableError {
        RetryableError {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

/// The API at one URL.
pub struct Client {
    agent: Agent,
    base_url: String,
    /// The value of `Authorization`.
    authorization: Option<String>,
    sent: Sent,
    forwarding: Option<Forwarding>,
    /// Whether it ever responded: only an API that did is waited for.
    has_responded: Cell<bool>,
}

impl Client {
    /// A client of the API at `base_url` (without a trailing slash), with the token that it sends.
    /// Does not connect.
    pub fn new(base_url: String, token: Option<String>) -> Client {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let proxy = connection::proxy(&base_url);
        let forwarding = proxy.as_ref().and_then(|it| Forwarding::new(&base_url, it));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(GET_TIMEOUT))
            .user_agent(concat!("orders/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .proxy(proxy.filter(|_| forwarding.is_none()))
            .build();
        let sent = Sent::default();
        Client {
            agent: connection::agent(config, &sent, forwarding.as_ref()),
            base_url,
            authorization: token.map(|token| format!("Bearer {token}")),
            sent,
            forwarding,
            has_responded: Cell::new(false),
        }
    }

    /// Sends one order until the API accepts or refuses it, for at most `within`.
    ///
    /// Retrying is always safe: when the order is in the log already, the same version follows again,
    /// and the store overwrites the order with itself. So a 503 and a lost response are handled alike.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`] at once when the API never responded to this client, otherwise
    /// when it is still unreachable after `within`.
    pub fn send(&self, document: &[u8], within: Duration) -> Result<SendOutcome, ClientError> {
        let deadline = Instant::now() + within;
        let mut pause = FIRST_PAUSE;
        // A later attempt that is not accepted does not undo an earlier one that may have been.
        let mut may_be_in_log = false;
        loop {
            let attempt = self.post(document, left(deadline).max(FIRST_PAUSE));
            let requested = match &attempt {
                Ok(SendOutcome::Accepted { .. } | SendOutcome::Refused { .. }) => return attempt,
                Ok(SendOutcome::NotAccepted(error)) => error.retry_after,
                Ok(SendOutcome::Unknown(error)) => {
                    may_be_in_log = true;
                    error.retry_after
                }
                Err(ClientError::Unreachable { .. }) if self.has_responded.get() => None,
                Err(_) => return attempt,
            };
            let wait = requested.unwrap_or(pause);
            if wait >= left(deadline) {
                return match attempt {
                    Ok(SendOutcome::NotAccepted(error)) if may_be_in_log => {
                        Ok(SendOutcome::Unknown(error))
                    }
                    Err(error) if may_be_in_log => {
                        Ok(SendOutcome::Unknown(RetryableError::new(error.to_string())))
                    }
                    attempt => attempt,
                };
            }
            std::thread::sleep(wait);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Looks up one order until the API knows, for at most `within` (zero: one request, which takes
    /// as long as the API waits).
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the API does not process the request.
    pub fn get(&self, order_uid: &str, within: Duration) -> Result<GetOutcome, ClientError> {
        if within.is_zero() {
            return self.get_once(order_uid, GET_TIMEOUT);
        }
        let deadline = Instant::now() + within;
        let mut earlier = None;
        loop {
            let got = match self.get_once(order_uid, GET_TIMEOUT.min(left(deadline))) {
                Ok(GetOutcome::Pending(error)) => error,
                // The deadline may end an attempt before it is sent.
                Err(ClientError::Unreachable { .. }) if left(deadline).is_zero() => {
                    RetryableError::new("no response in time")
                }
                definite => return definite,
            };
            // The API has waited for the lookup already: a short pause is enough.
            let wait = got.retry_after.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
            if wait >= left(deadline) {
                // An attempt that the deadline ended tells less than the one before it.
                return Ok(GetOutcome::Pending(earlier.unwrap_or(got)));
            }
            std::thread::sleep(wait);
            earlier = Some(got);
        }
    }

    fn post(&self, document: &[u8], within: Duration) -> Result<SendOutcome, ClientError> {
        let request = self
            .agent
            .post(format!("{}/orders", self.base_url))
            .config()
            .timeout_global(Some(within.min(POST_TIMEOUT)))
            .build()
            .content_type("application/json");
        let request = self.begin(request);
        match self.read(request.send(document))? {
            Ok(response) => self.outcome(&response),
            Err(error) => Ok(SendOutcome::Unknown(error)),
        }
    }

    /// A request that begins now, with its credentials.
    fn begin<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        self.sent.reset();
        let request = match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        let forwarding = self.forwarding.as_ref();
        match forwarding.and_then(|it| it.authorization.as_ref()) {
            Some(value) => request.header(PROXY_AUTHORIZATION, value),
            None => request,
        }
    }

    /// The whole response; the inner error when the request may have had an effect.
    fn read(
        &self,
        sent: Result<Response<Body>, ureq::Error>,
    ) -> Result<Result<Response<Vec<u8>>, RetryableError>, ClientError> {
        let response = match sent {
            Ok(response) => response,
            Err(error) if !self.sent.any() => {
                return Err(ClientError::Unreachable {
                    url: self.base_url.clone(),
                    reason: wire::reason(&error),
                });
            }
            Err(error) => return Ok(Err(self.no_response(&error))),
        };
        self.has_responded.set(true);
        // A status without a body may be that of a proxy that lost its connection.
        Ok(wire::read(response).map_err(|error| self.no_response(&error)))
    }

    /// What the response to a POST means.
    fn outcome(&self, response: &Response<Vec<u8>>) -> Result<SendOutcome, ClientError> {
        let status = response.status().as_u16();
        let problem = Problem::read(response);
        let is_not_accepted = problem.is_not_accepted();
        let retryable = |problem: Problem| RetryableError {
            reason: problem.into_detail(),
            retry_after: wire::retry_after(response),
        };
        Ok(match status {
            202 => match serde_json::from_slice::<Receipt>(response.body()) {
                Ok(Receipt { order_uid }) if is_uid(&order_uid) => {
                    SendOutcome::Accepted { order_uid }
                }
                _ => return Err(self.not_the_api(status)),
            },
            400 | 413 | 415 | 422 | 431 => SendOutcome::Refused {
                status,
                faults: problem.errors.clone(),
                more_faults: problem.more_errors,
                detail: problem.into_detail(),
            },
            408 | 429 | 507 => SendOutcome::NotAccepted(retryable(problem)),
            503 if is_not_accepted => SendOutcome::NotAccepted(retryable(problem)),
            500..=599 => SendOutcome::Unknown(retryable(problem)),
            401 | 403 | 421 => return Err(self.denied(status, problem.into_detail())),
            _ => return Err(self.not_the_api(status)),
        })
    }

    fn get_once(&self, order_uid: &str, timeout: Duration) -> Result<GetOutcome, ClientError> {
        let segment = utf8_percent_encode(order_uid, wire::SEGMENT);
        let url = format!("{}/api/order/{segment}", self.base_url);
        let request = self.agent.get(url).config();
        let request = self.begin(request.timeout_global(Some(timeout)).build());
        let response = match self.read(request.call())? {
            Ok(response) => response,
            Err(error) => return Ok(GetOutcome::Pending(error)),
        };
        let status = response.status().as_u16();
        if status == 200 {
            let order = Order::decode_stored(response.body());
            return Ok(GetOutcome::Found(Box::new(FoundOrder {
                order: order.map_err(|_| self.not_the_api(status))?,
                behind: wire::header(&response, "order-behind").map(str::to_owned),
                is_unverified: wire::header(&response, "cache-status")
                    .is_some_and(|it| it.contains("detail=unverified")),
            })));
        }
        let problem = Problem::read(&response);
        let is_of_the_api = problem.is_of_the_api;
        let detail = problem.into_detail();
        let pending = |reason| {
            GetOutcome::Pending(RetryableError {
                reason,
                retry_after: wire::retry_after(&response),
            })
        };
        Ok(match status {
            202 => pending("the lookup is in progress".into()),
            404 if is_of_the_api => GetOutcome::NotFound { detail },
            400 | 414 | 431 => GetOutcome::Refused { status, detail },
            408 | 429 | 500..=599 => pending(detail),
            401 | 403 | 421 => return Err(self.denied(status, detail)),
            _ => return Err(self.not_the_api(status)),
        })
    }

    fn not_the_api(&self, status: u16) -> ClientError {
        ClientError::NotTheApi {
            url: self.base_url.clone(),
            status,
        }
    }

    fn denied(&self, status: u16, detail: String) -> ClientError {
        ClientError::Denied {
            url: self.base_url.clone(),
            status,
            detail,
        }
    }

    fn no_response(&self, error: &ureq::Error) -> RetryableError {
        RetryableError::new(format!(
            "no response from the API at `{}`: {}",
            self.base_url,
            wire::reason(error)
        ))
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests;
