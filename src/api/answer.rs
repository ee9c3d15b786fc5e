//! What a record of the topic of answers says.
//!
//! Owns the reading of `order-found` messages, ours and go-orders'; what counts is decided in
//! `knowledge`. The surprising thing: an answer without headers is an answer too. It only cannot say
//! "no such order", and nobody can tell which version it gives.

use bytes::Bytes;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::lookups::Absence;
use crate::pipeline::{ACCEPTED_AT, Record, Version};

/// Echoed by whoever answers, as it is.
pub const CORRELATION_ID: &str = "correlation-id";

/// Until when an answer is of use: microseconds since the epoch.
pub const DEADLINE: &str = "deadline";

const SOURCE: &str = "source";
const BEHIND: &str = "behind";
const DEAD_LETTERED: &str = "dead-lettered";

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub uid: String,
    /// `None` where the answerer does not echo it.
    pub correlation: Option<Uuid>,
    pub reply: Reply,
}

/// What the answer says of the order.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Order {
        body: Bytes,
        version: Option<Version>,
        behind: Option<u64>,
    },
    Absent(Absence),
}

impl Found {
    /// Reads a record; `None` for what is no answer to anything this API could have asked.
    pub fn parse(record: &Record) -> Option<Found> {
        let uid = String::from_utf8(record.key.as_ref()?.to_vec()).ok()?;
        let correlation = match record.header(CORRELATION_ID) {
            None => None,
            // An id that is not one of ours answers somebody else's question.
            Some(id) => Some(Uuid::try_parse_ascii(id).ok()?),
        };
        let reply = match &record.value {
            None => Reply::Absent(Absence {
                dead_lettered: place(record),
            }),
            Some(value) => order(record, value)?,
        };
        Some(Found {
            uid,
            correlation,
            reply,
        })
    }
}

fn order(record: &Record, value: &Bytes) -> Option<Reply> {
    // It is answered as it is, so it must at least be what GET promises: a JSON object.
    let is_object =
        value.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(value).is_ok();
    if !is_object {
        return None;
    }
    let behind = match record.header(BEHIND) {
        None => None,
        Some(_) => Some(
            record
                .number_header(BEHIND)
                .and_then(|it| u64::try_from(it).ok())?,
        ),
    };
    Some(Reply::Order {
        body: value.clone(),
        version: version(record),
        behind,
    })
}

/// `<topic id>/<partition>/<offset>` and the accept time; both or nothing.
fn version(record: &Record) -> Option<Version> {
    let source = std::str::from_utf8(record.header(SOURCE)?).ok()?;
    let accepted_at_us = record.number_header(ACCEPTED_AT)?;
    Some(Version::new(source.parse().ok()?, accepted_at_us))
}

fn place(record: &Record) -> Option<std::sync::Arc<str>> {
    Some(
        std::str::from_utf8(record.header(DEAD_LETTERED)?)
            .ok()?
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<&'static [u8]>, headers: &[(&str, &'static str)]) -> Record {
        let header = |(name, value): &(&str, &'static str)| ((*name).into(), Bytes::from(*value));
        Record {
            partition: 0,
            offset: 4,
            timestamp_ms: 1,
            key: Some(Bytes::from_static(b"a")),
            value: value.map(Bytes::from_static),
            headers: headers.iter().map(header).collect(),
        }
    }

    fn parsed(value: Option<&'static [u8]>, headers: &[(&str, &'static str)]) -> Option<Reply> {
        Found::parse(&record(value, headers)).map(|found| found.reply)
    }

    #[test]
    fn a_full_answer_gives_its_version_and_whom_it_answers() {
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let headers = [
            ("correlation-id", id),
            ("source", "T_/id-1/3/17"),
            ("accepted-at", "99"),
            ("behind", "2"),
        ];
        let found = Found::parse(&record(Some(b"{}"), &headers)).unwrap();
        let version = Version {
            topic_id: "T_/id-1".into(),
            partition: 3,
            offset: 17,
            accepted_at_us: 99,
        };
        let body = Bytes::from_static(b"{}");
        let reply = Reply::Order {
            body,
            version: Some(version),
            behind: Some(2),
        };
        let correlation = Uuid::try_parse(id).ok();
        assert_eq!(
            found,
            Found {
                uid: "a".into(),
                correlation,
                reply
            }
        );
    }

    #[test]
    fn an_answer_without_headers_is_one_whose_version_nobody_knows() {
        let body = Bytes::from_static(b"{}");
        let expected = Reply::Order {
            body,
            version: None,
            behind: None,
        };
        assert_eq!(parsed(Some(b"{}"), &[]), Some(expected));
    }

    #[test]
    fn a_source_that_cannot_be_read_is_none() {
        for source in ["", "t", "t/1", "t/1/x", "t/-1/2", "t/1/-2"] {
            let headers: [(&str, &'static str); 2] = [("source", source), ("accepted-at", "9")];
            let reply = parsed(Some(b"{}"), &headers);
            assert!(
                matches!(reply, Some(Reply::Order { version: None, .. })),
                "{source}"
            );
        }
    }

    #[test]
    fn a_null_says_that_there_is_no_such_order_and_where_it_is_a_dead_letter() {
        let absent = |place: Option<&str>| {
            Some(Reply::Absent(Absence {
                dead_lettered: place.map(Into::into),
            }))
        };
        assert_eq!(parsed(None, &[]), absent(None));
        assert_eq!(
            parsed(None, &[("dead-lettered", "orders/0/7")]),
            absent(Some("orders/0/7"))
        );
    }

    #[test]
    fn garbage_is_no_answer() {
        assert_eq!(parsed(Some(b"garbage"), &[]), None);
        assert_eq!(parsed(Some(b"[]"), &[]), None);
        assert_eq!(parsed(Some(b"{}"), &[("behind", "-1")]), None);
        assert_eq!(parsed(Some(b"{}"), &[("correlation-id", "not ours")]), None);
        let mut without_key = record(Some(b"{}"), &[]);
        without_key.key = None;
        assert_eq!(Found::parse(&without_key), None);
    }
}
