//! The HTTP client of `send` and `get`: one request, one typed answer.
//!
//! Owns what the API's statuses mean to a caller, and the rule that a POST without a clear answer is
//! simply sent again. Blocking, on plain threads; connections are kept alive between orders. The
//! surprising thing: a POST whose answer was lost is neither done nor failed, it is unknown
//! ([`Sent::Unknown`]), and only a later answer settles it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::order::{Fault, Order};

use self::wire::{Problem, Receipt};

pub mod documents;
mod wire;

/// One connection attempt, name resolution included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One POST with its answer; the API itself answers within 7 s, an outage of Kafka included.
const POST_TIMEOUT: Duration = Duration::from_secs(15);
/// One GET with its answer; the API waits for a lookup up to LOOKUP_WAIT_MS, which ends at 30 s.
const GET_TIMEOUT: Duration = Duration::from_secs(40);
/// How much longer than asked for one GET may take: the API's own wait may end a little later.
const GET_GRACE: Duration = Duration::from_secs(3);
/// The first pause between two attempts; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The API could not be asked at all.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection; nothing was sent.
    #[error("no connection to the API at `{url}`: {reason}")]
    Unreachable { url: String, reason: String },
    /// Something answers there, but not as the orders API would.
    #[error("what answers at `{url}` is not the orders API (status {status})")]
    NotTheApi { url: String, status: u16 },
}

/// What became of one POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The log has the order; it will be stored.
    Accepted { order_uid: String },
    /// It will never be accepted as it is.
    Refused {
        status: u16,
        detail: String,
        faults: Vec<Fault>,
    },
    /// Surely not in the log; may be accepted later.
    NotAccepted(Setback),
    /// May or may not be in the log; sending it again settles it.
    Unknown(Setback),
}

/// What became of one GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Found(Box<Found>),
    /// It is known that there is no such order; the detail says more (a dead letter's place).
    NotFound {
        detail: String,
    },
    /// Not known yet: the lookup is under way, or the API cannot ask for it now.
    Pending(Setback),
    /// The API does not look such a uid up.
    Refused {
        status: u16,
        detail: String,
    },
}

/// An order, and how sure the API is that it is the newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub order: Order,
    /// So many records were not yet applied when the store was asked.
    pub behind: Option<String>,
    /// The log could not be asked whether there is a newer version.
    pub is_unverified: bool,
}

/// Why an answer has to wait, and for how long the API asks to be left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setback {
    pub reason: String,
    pub retry_after: Option<Duration>,
}

impl Setback {
    fn new(reason: impl Into<String>) -> Setback {
        Setback {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

/// The API at one URL.
pub struct Client {
    agent: Agent,
    base_url: String,
    /// Whether it ever answered: an API that was there is waited for, one that never was is not.
    has_answered: Cell<bool>,
}

impl Client {
    /// A client of the API at `base_url` (no slash at its end). Connects nothing.
    pub fn new(base_url: String) -> Client {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(GET_TIMEOUT))
            .user_agent(concat!("orders/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls);
        if wire::is_loopback(&base_url) {
            // A proxy meant for the way out cannot reach this machine's own API.
            config = config.proxy(None);
        }
        Client {
            agent: config.build().into(),
            base_url,
            has_answered: Cell::new(false),
        }
    }

    /// Sends one order until the API accepts or refuses it, at most `within`; then the last setback
    /// is the answer.
    ///
    /// Repeating is safe whatever became of the attempts before: an order that the log did not take
    /// is simply sent, and one that it did take comes as the same order once more, which the store
    /// writes over itself. So both setbacks of a 503 and a lost answer are treated alike.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`] at once when the API never answered this client, otherwise when
    /// `within` is over and it is still away.
    pub fn send(&self, document: &[u8], within: Duration) -> Result<Sent, ClientError> {
        let deadline = Instant::now() + within;
        let mut pause = FIRST_PAUSE;
        // Once one attempt may have reached the log, a later one that did not changes nothing.
        let mut may_be_there = false;
        loop {
            let attempt = self.post(document, left(deadline).max(FIRST_PAUSE));
            let asked_for = match &attempt {
                Ok(Sent::Accepted { .. } | Sent::Refused { .. }) => return attempt,
                Ok(Sent::NotAccepted(setback)) => setback.retry_after,
                Ok(Sent::Unknown(setback)) => {
                    may_be_there = true;
                    setback.retry_after
                }
                Err(ClientError::Unreachable { .. }) if self.has_answered.get() => None,
                Err(_) => return attempt,
            };
            let wait = asked_for.unwrap_or(pause);
            if wait >= left(deadline) {
                return match attempt {
                    Ok(Sent::NotAccepted(setback)) if may_be_there => Ok(Sent::Unknown(setback)),
                    Err(error) if may_be_there => {
                        Ok(Sent::Unknown(Setback::new(error.to_string())))
                    }
                    attempt => attempt,
                };
            }
            std::thread::sleep(wait);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks for one order until the API knows, at most `within` and a few seconds (zero: one
    /// question, for which the API takes its own time).
    ///
    /// # Errors
    ///
    /// [`ClientError`] where the API cannot be asked.
    pub fn get(&self, order_uid: &str, within: Duration) -> Result<Got, ClientError> {
        let deadline = Instant::now() + within;
        loop {
            let timeout = if within.is_zero() {
                GET_TIMEOUT
            } else {
                GET_TIMEOUT.min(left(deadline) + GET_GRACE)
            };
            let got = self.get_once(order_uid, timeout)?;
            let Got::Pending(setback) = &got else {
                return Ok(got);
            };
            // The API waits for the lookup itself before it says so: a short pause is enough.
            let wait = setback
                .retry_after
                .unwrap_or(FIRST_PAUSE)
                .min(LONGEST_PAUSE);
            let left = left(deadline);
            if left.is_zero() {
                return Ok(got);
            }
            std::thread::sleep(wait.min(left));
        }
    }

    fn post(&self, document: &[u8], within: Duration) -> Result<Sent, ClientError> {
        let request = self
            .agent
            .post(format!("{}/orders", self.base_url))
            .config()
            .timeout_global(Some(within.min(POST_TIMEOUT)))
            .build()
            .content_type("application/json");
        let mut answer = match request.send(document) {
            Ok(answer) => answer,
            Err(error) if wire::nothing_was_sent(&error) => return Err(self.unreachable(&error)),
            Err(error) => return Ok(Sent::Unknown(self.no_answer(&error))),
        };
        self.has_answered.set(true);
        let status = answer.status().as_u16();
        let retry_after = wire::retry_after(&answer);
        let body = match wire::read(&mut answer) {
            Ok(body) => body,
            // The status alone is no promise: a proxy may have made it up and gone away.
            Err(error) => return Ok(Sent::Unknown(self.no_answer(&error))),
        };
        self.sent(status, retry_after, &body)
    }

    /// What a status and its body mean for a POST.
    fn sent(
        &self,
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Result<Sent, ClientError> {
        let problem = Problem::read(body);
        let setback = |problem: Option<Problem>| Setback {
            reason: Problem::detail_of(problem, status),
            retry_after,
        };
        Ok(match status {
            202 => match serde_json::from_slice::<Receipt>(body) {
                Ok(receipt) => Sent::Accepted {
                    order_uid: receipt.order_uid,
                },
                Err(_) => return Err(self.not_the_api(status)),
            },
            400 | 413 | 415 | 422 | 431 => {
                let faults = problem
                    .as_ref()
                    .map(|it| it.errors.clone())
                    .unwrap_or_default();
                Sent::Refused {
                    status,
                    detail: Problem::detail_of(problem, status),
                    faults,
                }
            }
            408 | 429 | 507 => Sent::NotAccepted(setback(problem)),
            503 if problem.as_ref().is_some_and(Problem::is_not_accepted) => {
                Sent::NotAccepted(setback(problem))
            }
            500..=599 => Sent::Unknown(setback(problem)),
            _ => return Err(self.not_the_api(status)),
        })
    }

    fn get_once(&self, order_uid: &str, timeout: Duration) -> Result<Got, ClientError> {
        let url = format!(
            "{}/api/order/{}",
            self.base_url,
            wire::percent_encoded(order_uid)
        );
        let request = self.agent.get(url).config();
        let request = request.timeout_global(Some(timeout)).build();
        let mut answer = match request.call() {
            Ok(answer) => answer,
            Err(error) if wire::nothing_was_sent(&error) => return Err(self.unreachable(&error)),
            Err(error) => return Ok(Got::Pending(self.no_answer(&error))),
        };
        self.has_answered.set(true);
        let status = answer.status().as_u16();
        let behind = wire::header(&answer, "order-behind").map(str::to_owned);
        let is_unverified = wire::header(&answer, "cache-status")
            .is_some_and(|it| it.contains("detail=unverified"));
        let retry_after = wire::retry_after(&answer);
        let body = match wire::read(&mut answer) {
            Ok(body) => body,
            Err(error) => return Ok(Got::Pending(self.no_answer(&error))),
        };
        if status == 200 {
            let order = Order::decode_stored(&body).map_err(|_| self.not_the_api(status))?;
            return Ok(Got::Found(Box::new(Found {
                order,
                behind,
                is_unverified,
            })));
        }
        let problem = Problem::read(&body);
        let is_ours = problem.is_some();
        let detail = Problem::detail_of(problem, status);
        Ok(match status {
            202 => Got::Pending(Setback {
                reason: "the lookup is under way".into(),
                retry_after,
            }),
            404 if is_ours => Got::NotFound { detail },
            400 | 414 | 431 => Got::Refused { status, detail },
            408 | 429 | 500..=599 => Got::Pending(Setback {
                reason: detail,
                retry_after,
            }),
            _ => return Err(self.not_the_api(status)),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.base_url.clone(),
            reason: wire::reason(error),
        }
    }

    fn not_the_api(&self, status: u16) -> ClientError {
        ClientError::NotTheApi {
            url: self.base_url.clone(),
            status,
        }
    }

    fn no_answer(&self, error: &ureq::Error) -> Setback {
        Setback::new(format!(
            "no answer from the API at `{}`: {}",
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
