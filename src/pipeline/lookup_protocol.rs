//! The lookup protocol: an API requests an order on one topic, a consumer replies on another, where
//! operators' commands say which orders to forget.
//!
//! Owns every header of these messages and how much of them is kept. A lost message costs only time:
//! an API sends its request again while a GET waits. All times are decimal microseconds since the
//! epoch.
//!
//! # Invariants
//!
//! - Nothing of a request is sent back but its correlation id and its deadline.
//! - A reply with a header of the protocol twice is no reply.
//! - The order of a reply is decoded and encoded again: no API serves bytes that another program wrote.

use std::borrow::Cow;
use std::fmt;
use std::str::from_utf8;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{ACCEPTED_AT, PartitionOffset, Record, Source, Version};
use crate::escape::escape;
use crate::order::BorrowedOrder;

/// How long a lookup is worth a reply: the longest deadline there is, and the deadline of a request
/// that names none.
pub const LOOKUP_TTL: Duration = Duration::from_secs(30);
const LOOKUP_TTL_US: i64 = LOOKUP_TTL.as_micros() as i64;

/// Sent back unchanged; tells the API which of its requests a reply belongs to.
const CORRELATION_ID: &str = "correlation-id";
/// Until when a reply is of use.
const DEADLINE: &str = "deadline";

/// Which record the order came from: `<topic id>/<partition>/<offset>`.
const SOURCE: &str = "source";
/// How many records the store had not applied yet; absent when it had applied all.
const BEHIND: &str = "behind";
/// The record that could not become this order: `<topic>/<partition>/<offset>`.
const DEAD_LETTERED: &str = "dead-lettered";
/// Why it could not.
const DEAD_LETTER_REASON: &str = "dead-letter-reason";
/// What makes every API forget the order of the record's key.
const FORGET: &str = "forget";
/// The headers of a reply.
const OF_REPLIES: [&str; 7] = [
    CORRELATION_ID,
    DEADLINE,
    SOURCE,
    ACCEPTED_AT,
    BEHIND,
    DEAD_LETTERED,
    DEAD_LETTER_REASON,
];

const MAX_UID_BYTES: usize = 512;
/// How much of a dead letter's reason is sent and served, escaped.
const MAX_REASON_BYTES: usize = 1024;
/// The longest name of a topic.
const MAX_TOPIC_BYTES: usize = 249;
/// What the headers of one request may take, each with its overhead in memory: any client may write
/// to that topic, and a consumer keeps ten thousand requests. An API's take about an eighth of it.
const MAX_HEADER_BYTES: usize = 2048;
const HEADER_OVERHEAD_BYTES: usize = 64;

/// An encoded request or reply, ready to be appended to its topic.
#[derive(Debug)]
pub struct Message<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
    headers: Vec<(&'a str, Cow<'a, [u8]>)>,
}

impl Message<'_> {
    pub fn headers(&self) -> Vec<(&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (*name, value.as_ref()))
            .collect()
    }
}

/// A request as a consumer keeps it until it replies.
#[derive(Debug)]
pub struct LookupRequest {
    pub order_uid: String,
    /// At most [`LOOKUP_TTL`] from now.
    pub deadline_us: i64,
    /// The two headers to send back, as they are.
    correlation_id: Option<Bytes>,
    deadline: Option<Bytes>,
}

impl LookupRequest {
    pub fn encode(order_uid: &str, correlation_id: Uuid, deadline_us: i64) -> Message<'_> {
        let correlation_id = correlation_id.simple().to_string();
        Message {
            key: order_uid.as_bytes(),
            value: Some(order_uid.as_bytes()),
            headers: vec![
                (CORRELATION_ID, correlation_id.into_bytes().into()),
                (DEADLINE, deadline_us.to_string().into_bytes().into()),
            ],
        }
    }

    /// Reads a record of the lookup topic; `None` for what cannot be a request, or would be too much
    /// to keep. Headers are optional.
    pub fn decode(record: Record, now_us: i64) -> Option<LookupRequest> {
        let asked = record.value.as_ref().or(record.key.as_ref())?;
        let order_uid = from_utf8(asked).ok()?;
        let header_bytes =
            |(name, value): &(Box<str>, Bytes)| HEADER_OVERHEAD_BYTES + name.len() + value.len();
        let is_acceptable = !order_uid.is_empty()
            && order_uid.len() <= MAX_UID_BYTES
            && !order_uid.chars().any(char::is_control)
            && record.headers.iter().map(header_bytes).sum::<usize>() <= MAX_HEADER_BYTES;
        if !is_acceptable {
            return None;
        }
        let order_uid = order_uid.to_owned();
        let deadline_us = record.number_header(DEADLINE).unwrap_or_else(|| {
            let sent_at_us = record.timestamp_ms.saturating_mul(1_000);
            sent_at_us.saturating_add(LOOKUP_TTL_US)
        });
        let (mut correlation_id, mut deadline) = (None, None);
        for (name, value) in record.headers {
            match &*name {
                CORRELATION_ID => correlation_id.get_or_insert(value),
                DEADLINE => deadline.get_or_insert(value),
                _ => continue,
            };
        }
        Some(LookupRequest {
            order_uid,
            // Whatever the API's clock shows.
            deadline_us: deadline_us.min(now_us.saturating_add(LOOKUP_TTL_US)),
            correlation_id,
            deadline,
        })
    }

    /// Whether both request the same order for the same lookup.
    pub fn repeats(&self, other: &LookupRequest) -> bool {
        self.order_uid == other.order_uid && self.correlation_id == other.correlation_id
    }
}

/// A reply as an API reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct LookupReply {
    pub order_uid: String,
    /// `None` when the consumer does not send it back (go-orders' does not). Then nothing shows that
    /// it is a reply to a request, and only its order is read.
    pub correlation_id: Option<Uuid>,
    pub outcome: LookupOutcome,
}

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    Found {
        /// The order as JSON.
        body: Bytes,
        source: Option<Source>,
        accepted_at_us: Option<i64>,
        /// How many records the store had not applied yet; `None` when it had applied all.
        behind: Option<u64>,
    },
    NotFound(NotFound),
}

/// There is no such order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotFound {
    /// The open dead letter of this uid, where there is one.
    pub dead_lettered: Option<DeadLettered>,
}

/// A record that could not become an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettered {
    /// `<topic>/<partition>/<offset>`.
    location: Arc<str>,
    reason: Option<Arc<str>>,
}

impl DeadLettered {
    /// Of the reason the first [`MAX_REASON_BYTES`] are kept, escaped. `None` when the location is not
    /// `<topic>/<partition>/<offset>`.
    pub fn new(location: &str, reason: Option<&str>) -> Option<DeadLettered> {
        is_location(location).then(|| DeadLettered {
            location: location.into(),
            reason: reason.map(|reason| {
                let escaped = escape(reason);
                let mut ends = (0..=escaped.len().min(MAX_REASON_BYTES)).rev();
                let end = ends.find(|end| escaped.is_char_boundary(*end));
                escaped[..end.unwrap_or_default()].into()
            }),
        })
    }
}

impl fmt::Display for DeadLettered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = &self.location;
        write!(
            out,
            "the record at {location} has this uid and could not become an order"
        )?;
        match &self.reason {
            Some(reason) => write!(out, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl LookupReply {
    pub fn encode<'a>(request: &'a LookupRequest, outcome: &'a LookupOutcome) -> Message<'a> {
        let echoed = [
            (CORRELATION_ID, &request.correlation_id),
            (DEADLINE, &request.deadline),
        ];
        let mut headers: Vec<(&str, Cow<'_, [u8]>)> = echoed
            .into_iter()
            .filter_map(|(name, value)| Some((name, Cow::Borrowed(value.as_deref()?))))
            .collect();
        let mut push = |name, value: Option<String>| {
            headers.extend(value.map(|value| (name, Cow::Owned(value.into_bytes()))));
        };
        let value = match outcome {
            LookupOutcome::Found {
                body,
                source,
                accepted_at_us,
                behind,
            } => {
                push(SOURCE, source.as_ref().map(Source::to_string));
                push(ACCEPTED_AT, accepted_at_us.map(|it| it.to_string()));
                push(BEHIND, behind.map(|it| it.to_string()));
                Some(body.as_ref())
            }
            LookupOutcome::NotFound(NotFound { dead_lettered }) => {
                let dead_lettered = dead_lettered.as_ref();
                push(
                    DEAD_LETTERED,
                    dead_lettered.map(|it| it.location.to_string()),
                );
                let reason = dead_lettered.and_then(|it| it.reason.as_ref());
                push(DEAD_LETTER_REASON, reason.map(ToString::to_string));
                None
            }
        };
        Message {
            key: request.order_uid.as_bytes(),
            value,
            headers,
        }
    }

    /// Reads a record of the reply topic; `None` for what cannot be a reply to a request of an
    /// API.
    pub fn decode(record: &Record) -> Option<LookupReply> {
        let order_uid = uid_of(record.key.as_ref()?)?;
        if OF_REPLIES.iter().any(|name| record.repeats_header(name)) {
            return None;
        }
        let correlation_id = match record.header(CORRELATION_ID) {
            None => None,
            // An id that is not one of ours belongs to another program's request.
            Some(id) => Some(Uuid::try_parse_ascii(id).ok()?),
        };
        let outcome = match (&record.value, correlation_id) {
            (Some(value), Some(_)) => LookupOutcome::found(record, order_uid, value)?,
            (Some(value), None) => LookupOutcome::Found {
                body: encoded(order_uid, BorrowedOrder::decode(value).ok()?)?,
                source: None,
                accepted_at_us: None,
                behind: None,
            },
            (None, _) => LookupOutcome::NotFound(NotFound {
                dead_lettered: text_header(record, DEAD_LETTERED).and_then(|location| {
                    DeadLettered::new(location, text_header(record, DEAD_LETTER_REASON))
                }),
            }),
        };
        Some(LookupReply {
            order_uid: order_uid.to_owned(),
            correlation_id,
            outcome,
        })
    }
}

/// A record of the reply topic that is no reply: an operator has changed or erased the order in the
/// store, and every API drops what it holds of it. A reader that does not know it takes it for a reply
/// to nobody.
#[derive(Debug, PartialEq, Eq)]
pub struct Forget {
    pub order_uid: String,
}

impl Forget {
    /// The header holds the time, for those who read the topic.
    pub fn encode(order_uid: &str, now_us: i64) -> Message<'_> {
        Message {
            key: order_uid.as_bytes(),
            value: None,
            headers: vec![(FORGET, now_us.to_string().into_bytes().into())],
        }
    }

    /// Reads a record of the reply topic; `None` for any other record.
    pub fn decode(record: &Record) -> Option<Forget> {
        let is_forget = record.value.is_none() && record.header(FORGET).is_some();
        let key = record.key.as_ref().filter(|_| is_forget)?;
        Some(Forget {
            order_uid: uid_of(key)?.to_owned(),
        })
    }
}

/// The uid in the key of a record of the reply topic.
fn uid_of(key: &[u8]) -> Option<&str> {
    from_utf8(key).ok().filter(|uid| uid.len() <= MAX_UID_BYTES)
}

impl LookupOutcome {
    fn found(record: &Record, order_uid: &str, value: &[u8]) -> Option<LookupOutcome> {
        let behind = match record.header(BEHIND) {
            None => None,
            Some(_) => Some(u64::try_from(record.number_header(BEHIND)?).ok()?),
        };
        Some(LookupOutcome::Found {
            // Rows that other programs wrote may break the rules on values.
            body: encoded(order_uid, BorrowedOrder::decode_stored(value).ok()?)?,
            source: text_header(record, SOURCE).and_then(|source| source.parse().ok()),
            accepted_at_us: record.number_header(ACCEPTED_AT),
            behind,
        })
    }

    /// Which version of the order it is; `None` when there is none, or not all of it is known.
    pub fn version(&self) -> Option<Version> {
        match self {
            LookupOutcome::Found {
                source,
                accepted_at_us,
                ..
            } => Some(Version {
                source: source.clone()?,
                accepted_at_us: (*accepted_at_us)?,
            }),
            LookupOutcome::NotFound(_) => None,
        }
    }
}

/// The order as it is served; `None` when it is another one than the reply's key names.
fn encoded(order_uid: &str, order: BorrowedOrder<'_>) -> Option<Bytes> {
    let is_this = &*order.order_uid == order_uid;
    is_this.then(|| order.encode().into_boxed_slice().into())
}

/// Whether the text is `<topic>/<partition>/<offset>`, which is served to clients.
fn is_location(text: &str) -> bool {
    let parts = text.rsplit_once('/').and_then(|(rest, offset)| {
        let (topic, partition) = rest.rsplit_once('/')?;
        let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
        Some((topic, PartitionOffset { partition, offset }))
    });
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    parts.is_some_and(|(topic, PartitionOffset { partition, offset })| {
        (1..=MAX_TOPIC_BYTES).contains(&topic.len())
            && topic.bytes().all(is_legal)
            && partition >= 0
            && offset >= 0
    })
}

fn text_header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    from_utf8(record.header(name)?).ok()
}

#[cfg(test)]
mod tests;
