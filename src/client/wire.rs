//! Reads the API's responses and the HTTP library's errors.
//!
//! # Invariants
//!
//! Another server may respond: little is read of what is no order, and what is shown of it is short and
//! one line.

use std::io::Read;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde::Deserialize;
use ureq::http::{Response, StatusCode};
use ureq::{Body, Timeout};

use crate::escape::escape;
use crate::order::Fault;

use super::CONNECT_TIMEOUT;

/// Orders are read up to this size: a stored order can be longer than one that is accepted.
const MAX_ORDER_BYTES: u64 = 64 << 20;

/// How much is read of any other body; the API's largest has a hundred faults.
const MAX_OTHER_BYTES: u64 = 256 << 10;

/// How many characters of a text, and how many faults, are shown.
const MAX_SHOWN_CHARS: usize = 500;
const MAX_SHOWN_FAULTS: usize = 100;

/// The characters that are escaped in a path segment: all but the unreserved ones of RFC 3986.
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The body of a 202.
#[derive(Deserialize)]
pub(super) struct Receipt {
    pub(super) order_uid: String,
}

/// The body of an error (RFC 9457).
#[derive(Deserialize)]
pub(super) struct Problem {
    title: String,
    detail: Option<String>,
    outcome: Option<String>,
    #[serde(default)]
    pub(super) errors: Vec<Fault>,
    #[serde(default)]
    pub(super) more_errors: u64,
    /// False when another server, such as a proxy, sent the response.
    #[serde(skip, default = "yes")]
    pub(super) is_of_the_api: bool,
}

fn yes() -> bool {
    true
}

impl Problem {
    pub(super) fn read(response: &Response<Vec<u8>>) -> Problem {
        let mut problem = serde_json::from_slice(response.body()).unwrap_or_else(|_| Problem {
            title: format!("status {}", response.status().as_u16()),
            detail: None,
            outcome: None,
            errors: Vec::new(),
            more_errors: 0,
            is_of_the_api: false,
        });
        problem.shorten();
        problem
    }

    fn shorten(&mut self) {
        let left_out = self.errors.len().saturating_sub(MAX_SHOWN_FAULTS);
        self.errors.truncate(MAX_SHOWN_FAULTS);
        self.more_errors = self.more_errors.saturating_add(left_out as u64);
        let faults = self.errors.iter_mut();
        let faults = faults.flat_map(|fault| [&mut fault.pointer, &mut fault.message]);
        for text in faults.chain([&mut self.title]).chain(&mut self.detail) {
            *text = shown(text);
        }
    }

    pub(super) fn is_not_accepted(&self) -> bool {
        self.outcome.as_deref() == Some("not_accepted")
    }

    pub(super) fn into_detail(self) -> String {
        self.detail.unwrap_or(self.title)
    }
}

/// One line of a text, which is cut where it is long.
fn shown(text: &str) -> String {
    let end = text.char_indices().nth(MAX_SHOWN_CHARS);
    match end {
        None => escape(text).into_owned(),
        Some((end, _)) => format!("{}…", escape(&text[..end])),
    }
}

/// Reads the body: that of an order whole, the beginning of any other.
pub(super) fn read(response: Response<Body>) -> Result<Response<Vec<u8>>, ureq::Error> {
    let (head, body) = response.into_parts();
    let body = body.into_with_config();
    let body = if head.status == StatusCode::OK {
        body.limit(MAX_ORDER_BYTES).read_to_vec()?
    } else {
        let mut read = Vec::new();
        let mut reader = body.limit(u64::MAX).reader().take(MAX_OTHER_BYTES);
        reader.read_to_end(&mut read).map_err(ureq::Error::from)?;
        read
    };
    Ok(Response::from_parts(head, body))
}

pub(super) fn header<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The pause that the API requires, in whole seconds; it never sends a date.
pub(super) fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    header(response, "retry-after")?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// The cause, without the library's prefixes.
pub(super) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(io) => io.to_string(),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())
        }
        ureq::Error::Timeout(_) => "timed out".into(),
        error => error.to_string(),
    }
}
