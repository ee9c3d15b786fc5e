//! What a record of the topic of lookups asks.
//!
//! Owns what one lookup may take while it waits for its answer: anybody may write to that topic, and
//! ten thousand lookups are kept. When it is answered is decided in `lookup`.

use crate::pipeline::{Record, time};

/// A lookup without a deadline is worth answering for this long.
const DEFAULT_PATIENCE_US: i64 = 30_000_000;
const MAX_UID_BYTES: usize = 512;
/// What the headers of one lookup may take, each with its place in memory: they are kept as long as
/// it is, and echoed. An API's take about an eighth of it.
const MAX_HEADER_BYTES: usize = 2048;
const HEADER_PLACE_BYTES: usize = 64;

const DEADLINE: &str = "deadline";
const CORRELATION_ID: &str = "correlation-id";

/// One lookup that waits for its answer.
pub(super) struct Lookup {
    pub uid: String,
    /// Echoed as they came.
    pub headers: Vec<(Box<str>, bytes::Bytes)>,
    /// Microseconds since the epoch.
    pub deadline_us: i64,
    /// The log has its line.
    pub told: bool,
}

impl Lookup {
    /// Whether both ask for the same waiter.
    pub fn headers_match(&self, other: &Lookup) -> bool {
        let of_waiter = |lookup: &Lookup| {
            let mut headers = lookup.headers.iter();
            let found = headers.find(|(name, _)| &**name == CORRELATION_ID);
            found.map(|(_, id)| id.clone())
        };
        of_waiter(self) == of_waiter(other)
    }
}

/// Reads a lookup; `None` for what cannot be one, or what would be too much to keep.
pub(super) fn parse(record: Record) -> Option<Lookup> {
    let asked = record.value.as_ref().or(record.key.as_ref())?;
    let uid = std::str::from_utf8(asked).ok()?;
    let header_bytes =
        |(name, value): &(Box<str>, bytes::Bytes)| HEADER_PLACE_BYTES + name.len() + value.len();
    let sound = !uid.is_empty()
        && uid.len() <= MAX_UID_BYTES
        && !uid.chars().any(char::is_control)
        && record.headers.iter().map(header_bytes).sum::<usize>() <= MAX_HEADER_BYTES;
    // No deadline is worth more than the longest that an API sets, whatever its clock says.
    let latest_us = time::now_us().saturating_add(DEFAULT_PATIENCE_US);
    let deadline_us = record.number_header(DEADLINE).unwrap_or_else(|| {
        record
            .timestamp_ms
            .saturating_mul(1_000)
            .saturating_add(DEFAULT_PATIENCE_US)
    });
    let uid = uid.to_string();
    sound.then(|| Lookup {
        uid,
        headers: record.headers,
        deadline_us: deadline_us.min(latest_us),
        told: false,
    })
}
