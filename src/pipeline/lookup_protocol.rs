//! The lookup protocol: an API requests an order on one topic, a consumer replies on another.
//!
//! Owns every header of both messages and how much of them is kept. A lost message costs only time:
//! an API sends its request again while a GET waits. All times are decimal microseconds since the
//! epoch.
//!
//! # Invariants
//!
//! What describes the order in a reply comes from the consumer: headers with those names are never
//! sent back from the request.

use std::borrow::Cow;
use std::str::from_utf8;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::{ACCEPTED_AT, Record, Source, Version};

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
/// The headers by which a reply describes the order.
const OF_REPLIES: [&str; 4] = [SOURCE, ACCEPTED_AT, BEHIND, DEAD_LETTERED];

const MAX_UID_BYTES: usize = 512;
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
    /// The headers to send back.
    echoed: Vec<(Box<str>, Bytes)>,
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
        let mut echoed = record.headers;
        echoed.retain(|(name, _)| !OF_REPLIES.contains(&&**name));
        Some(LookupRequest {
            order_uid,
            // Whatever the API's clock shows.
            deadline_us: deadline_us.min(now_us.saturating_add(LOOKUP_TTL_US)),
            echoed,
        })
    }

    /// Whether both request the same order for the same lookup.
    pub fn repeats(&self, other: &LookupRequest) -> bool {
        self.order_uid == other.order_uid && self.correlation_id() == other.correlation_id()
    }

    fn correlation_id(&self) -> Option<&Bytes> {
        let mut headers = self.echoed.iter();
        headers
            .find(|(name, _)| &**name == CORRELATION_ID)
            .map(|(_, id)| id)
    }
}

/// A reply as an API reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct LookupReply {
    pub order_uid: String,
    /// `None` when the consumer does not send it back (go-orders' does not).
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
    /// Where it is a dead letter, if it is: topic/partition/offset.
    pub dead_lettered: Option<Arc<str>>,
}

impl LookupReply {
    pub fn encode<'a>(request: &'a LookupRequest, outcome: &'a LookupOutcome) -> Message<'a> {
        let echoed = request.echoed.iter();
        let mut headers: Vec<(&str, Cow<'_, [u8]>)> = echoed
            .map(|(name, value)| (&**name, Cow::Borrowed(value.as_ref())))
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
                push(DEAD_LETTERED, dead_lettered.as_deref().map(str::to_owned));
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
        let order_uid = from_utf8(record.key.as_ref()?).ok()?.to_owned();
        let correlation_id = match record.header(CORRELATION_ID) {
            None => None,
            // An id that is not one of ours belongs to another program's request.
            Some(id) => Some(Uuid::try_parse_ascii(id).ok()?),
        };
        let outcome = match &record.value {
            Some(body) => LookupOutcome::found(record, body)?,
            None => LookupOutcome::NotFound(NotFound {
                dead_lettered: text_header(record, DEAD_LETTERED).map(Arc::from),
            }),
        };
        Some(LookupReply {
            order_uid,
            correlation_id,
            outcome,
        })
    }
}

impl LookupOutcome {
    fn found(record: &Record, body: &Bytes) -> Option<LookupOutcome> {
        // It is served as it is, so it must at least be what GET promises: a JSON object.
        let is_object =
            body.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(body).is_ok();
        if !is_object {
            return None;
        }
        let behind = match record.header(BEHIND) {
            None => None,
            Some(_) => Some(u64::try_from(record.number_header(BEHIND)?).ok()?),
        };
        Some(LookupOutcome::Found {
            body: body.clone(),
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

fn text_header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    from_utf8(record.header(name)?).ok()
}

#[cfg(test)]
mod tests;
