//! What one side encodes, the other decodes; and what is tolerated of other programs.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use support::replayable;

use super::*;
use crate::order::Order;

/// An order of uid `a` as the API encodes it.
const ORDER: &str = r#"{"order_uid":"a","date_created":"2021-11-26T06:22:19Z"}"#;
const NOW_US: i64 = 1_700_000_000_000_000;
const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

/// The message as the log gives it back.
fn appended(message: &Message<'_>) -> Record {
    let header = |(name, value): &(&str, &[u8])| ((*name).into(), Bytes::copy_from_slice(value));
    Record {
        timestamp_ms: NOW_US / 1_000,
        key: Some(Bytes::copy_from_slice(message.key)),
        value: message.value.map(Bytes::copy_from_slice),
        headers: message.headers().iter().map(header).collect(),
        ..Record::default()
    }
}

fn record(value: Option<&'static str>, headers: &[(&str, &'static str)]) -> Record {
    let header = |(name, value): &(&str, &'static str)| ((*name).into(), Bytes::from(*value));
    Record {
        timestamp_ms: NOW_US / 1_000,
        key: Some(Bytes::from_static(b"a")),
        value: value.map(Bytes::from),
        headers: headers.iter().map(header).collect(),
        ..Record::default()
    }
}

fn order_uid() -> impl Strategy<Value = String> {
    r"\PC{1,40}"
}

fn source() -> impl Strategy<Value = Source> {
    (r"[!-~]{0,30}", 0..=i32::MAX, 0..=i64::MAX).prop_map(|(topic_id, partition, offset)| Source {
        topic_id: topic_id.into(),
        at: PartitionOffset { partition, offset },
    })
}

fn encoded_order(order_uid: &str, sm_id: i32) -> Bytes {
    let order = Order {
        order_uid: order_uid.to_owned(),
        sm_id,
        ..Order::default()
    };
    order.encode().into()
}

fn outcome(order_uid: String) -> impl Strategy<Value = LookupOutcome> {
    let found = (
        any::<i32>(),
        option::of(source()),
        option::of(any::<i64>()),
        option::of(0..=i64::MAX as u64),
    );
    let found =
        found.prop_map(
            move |(number, source, accepted_at_us, behind)| LookupOutcome::Found {
                body: encoded_order(&order_uid, number),
                source,
                accepted_at_us,
                behind,
            },
        );
    let place = r"[A-Za-z0-9._-]{1,30}/[0-9]{1,9}/[0-9]{1,18}";
    let not_found = option::of((place, option::of(any::<String>()))).prop_map(|dead| {
        let dead_lettered = dead.map(|(place, reason)| {
            DeadLettered::new(&place, reason.as_deref()).expect("it is a location")
        });
        LookupOutcome::NotFound(NotFound { dead_lettered })
    });
    prop_oneof![found, not_found]
}

/// Headers that another program may have put on a request.
fn foreign_headers() -> impl Strategy<Value = Vec<(Box<str>, Bytes)>> {
    let name = prop_oneof![
        prop::sample::select(OF_REPLIES[2..].to_vec()).prop_map(Box::from),
        r"[a-z]{1,8}".prop_map(Box::from),
    ];
    let value = prop_oneof![Just("1".to_owned()), r"[ -~]{0,20}"];
    vec((name, value.prop_map(Bytes::from)), 0..6)
}

#[test]
fn a_request_is_decoded_as_it_was_encoded() {
    let any = (order_uid(), any::<u128>(), 0..NOW_US + LOOKUP_TTL_US);
    replayable::check(256, any, |(order_uid, id, deadline_us)| {
        let id = Uuid::from_u128(id);
        let encode = || LookupRequest::encode(&order_uid, id, deadline_us);
        let decode = || LookupRequest::decode(appended(&encode()), NOW_US).expect("it is one");
        let request = decode();
        assert_eq!(request.order_uid, order_uid);
        assert_eq!(request.deadline_us, deadline_us);
        assert!(request.repeats(&decode()));
        let outcome = LookupOutcome::NotFound(NotFound::default());
        let reply = LookupReply::decode(&appended(&LookupReply::encode(&request, &outcome)));
        assert_eq!(reply.expect("it is one").correlation_id, Some(id));
    });
}

#[test]
fn a_reply_is_decoded_as_it_was_encoded_whatever_headers_the_request_had() {
    let any = order_uid().prop_flat_map(|order_uid| {
        let outcome = outcome(order_uid.clone());
        (Just(order_uid), any::<u128>(), outcome, foreign_headers())
    });
    replayable::check(1_000, any, |(order_uid, id, outcome, foreign)| {
        let id = Uuid::from_u128(id);
        let mut asked = appended(&LookupRequest::encode(&order_uid, id, NOW_US));
        asked.headers.splice(0..0, foreign);
        let request = LookupRequest::decode(asked, NOW_US).expect("it is one");
        let reply = LookupReply::decode(&appended(&LookupReply::encode(&request, &outcome)));
        let expected = LookupReply {
            order_uid,
            correlation_id: Some(id),
            outcome,
        };
        assert_eq!(reply, Some(expected));
    });
}

#[test]
fn a_request_without_headers_has_thirty_seconds_and_none_has_more() {
    let deadline_us = |headers: &[(&str, &'static str)]| {
        let request = LookupRequest::decode(record(Some("a"), headers), NOW_US);
        request.expect("it is one").deadline_us
    };
    assert_eq!(deadline_us(&[]), NOW_US + LOOKUP_TTL_US);
    assert_eq!(deadline_us(&[("deadline", "soon")]), NOW_US + LOOKUP_TTL_US);
    assert_eq!(deadline_us(&[("deadline", "5")]), 5);
    let far = [("deadline", "9223372036854775807")];
    assert_eq!(deadline_us(&far), NOW_US + LOOKUP_TTL_US);
}

#[test]
fn requests_are_the_same_when_order_and_correlation_id_are() {
    let request = |value, headers: &[(&str, &'static str)]| {
        LookupRequest::decode(record(Some(value), headers), NOW_US).expect("it is one")
    };
    let one = request("a", &[("correlation-id", "1"), ("x", "1")]);
    assert!(one.repeats(&request("a", &[("correlation-id", "1")])));
    assert!(!one.repeats(&request("b", &[("correlation-id", "1")])));
    assert!(!one.repeats(&request("a", &[("correlation-id", "2")])));
    assert!(!one.repeats(&request("a", &[])));
}

#[test]
fn nothing_of_a_request_is_sent_back_but_its_correlation_id_and_its_deadline() {
    let headers = [
        ("source", "T/0/1"),
        ("correlation-id", ID),
        ("x", "1"),
        ("correlation-id", "another"),
        ("accepted-at", "1"),
        ("behind", "1"),
        ("deadline", "7"),
        ("deadline", "9"),
        ("dead-lettered", "orders/0/1"),
        ("dead-letter-reason", "none"),
    ];
    let request = LookupRequest::decode(record(Some("a"), &headers), NOW_US).expect("it is one");
    let outcome = LookupOutcome::NotFound(NotFound::default());
    let reply = LookupReply::encode(&request, &outcome);
    let expected: [(&str, &[u8]); 2] = [("correlation-id", ID.as_bytes()), ("deadline", b"7")];
    assert_eq!(reply.headers(), expected);
}

fn decoded(value: Option<&'static str>, headers: &[(&str, &'static str)]) -> Option<LookupReply> {
    LookupReply::decode(&record(value, headers))
}

fn outcome_of(
    value: Option<&'static str>,
    headers: &[(&str, &'static str)],
) -> Option<LookupOutcome> {
    let headers = [&[("correlation-id", ID)], headers].concat();
    decoded(value, &headers).map(|reply| reply.outcome)
}

fn normalised() -> Bytes {
    let order = Order::decode(ORDER.as_bytes()).expect("it is valid");
    order.encode().into()
}

#[test]
fn a_full_reply_is_read_from_these_headers() {
    let headers = [
        ("correlation-id", ID),
        ("source", "T_/id-1/3/17"),
        ("accepted-at", "99"),
        ("behind", "2"),
    ];
    let reply = decoded(Some(ORDER), &headers).expect("it is one");
    assert_eq!(
        (&*reply.order_uid, reply.correlation_id),
        ("a", ID.parse().ok())
    );
    let version = Version {
        source: "T_/id-1/3/17".parse().unwrap(),
        accepted_at_us: 99,
    };
    assert_eq!(reply.outcome.version(), Some(version));
    let LookupOutcome::Found { body, behind, .. } = reply.outcome else {
        panic!("{reply:?}")
    };
    assert_eq!((body, behind), (normalised(), Some(2)));
}

#[test]
fn only_the_order_is_read_of_a_reply_without_correlation_id() {
    let headers = [
        ("source", "T/0/1"),
        ("accepted-at", "9223372036854775807"),
        ("behind", "1"),
    ];
    let expected = LookupReply {
        order_uid: "a".into(),
        correlation_id: None,
        outcome: LookupOutcome::Found {
            body: normalised(),
            source: None,
            accepted_at_us: None,
            behind: None,
        },
    };
    assert_eq!(decoded(Some(ORDER), &headers), Some(expected));
    // A row of another program may break the rules on values, but only our consumer reads such rows.
    let without_date = r#"{"order_uid":"a"}"#;
    assert_eq!(decoded(Some(without_date), &[]), None);
    assert!(outcome_of(Some(without_date), &[]).is_some());
}

#[test]
fn a_reply_with_the_order_of_another_uid_is_none() {
    let other = r#"{"order_uid":"b","date_created":"2021-11-26T06:22:19Z"}"#;
    assert_eq!(decoded(Some(other), &[]), None);
    assert_eq!(outcome_of(Some(other), &[]), None);
}

#[test]
fn a_reply_with_a_header_twice_is_none() {
    for (name, value) in [
        ("source", "T/0/1"),
        ("accepted-at", "9"),
        ("behind", "2"),
        ("deadline", "9"),
        ("correlation-id", ID),
    ] {
        let twice = [(name, value), (name, value)];
        assert_eq!(outcome_of(Some(ORDER), &twice), None, "{name}");
    }
    let foreign = [("x", "1"), ("x", "2")];
    assert!(outcome_of(Some(ORDER), &foreign).is_some());
}

#[test]
fn the_version_of_a_reply_without_its_headers_is_not_known() {
    let version = |headers: &[(&str, &'static str)]| {
        let outcome = outcome_of(Some(ORDER), headers);
        outcome.expect("it is a reply").version()
    };
    assert_eq!(version(&[]), None);
    assert_eq!(version(&[("source", "t/1"), ("accepted-at", "9")]), None);
}

#[test]
fn a_null_says_that_there_is_no_such_order_and_where_it_is_a_dead_letter() {
    let not_found = |place: Option<&str>| {
        Some(LookupOutcome::NotFound(NotFound {
            dead_lettered: place.and_then(|place| DeadLettered::new(place, None)),
        }))
    };
    assert_eq!(outcome_of(None, &[]), not_found(None));
    let headers = [("dead-lettered", "orders/0/7")];
    assert_eq!(outcome_of(None, &headers), not_found(Some("orders/0/7")));
    for malformed in [
        "\u{1b}[31m/0/0",
        "orders/-1/0",
        "orders/0/x",
        "/0/0",
        "orders",
    ] {
        let headers = [("dead-lettered", malformed)];
        assert_eq!(outcome_of(None, &headers), not_found(None), "{malformed}");
    }
}

#[test]
fn a_forget_record_is_decoded_as_it_was_encoded_and_is_no_reply_to_anybody() {
    replayable::check(256, (order_uid(), 0..i64::MAX), |(order_uid, now_us)| {
        let mut record = appended(&Forget::encode(&order_uid, now_us));
        let forget = Forget::decode(&record).expect("it is one");
        assert_eq!(forget.order_uid, order_uid);
        // As an API reads it that does not know such records.
        let reply = LookupReply::decode(&record).expect("it is one");
        assert_eq!(reply.correlation_id, None);
        let none = LookupOutcome::NotFound(NotFound::default());
        assert_eq!(reply.outcome, none);

        record.value = Some(encoded_order(&order_uid, 1));
        assert_eq!(Forget::decode(&record), None);
    });
    assert_eq!(Forget::decode(&record(None, &[("behind", "1")])), None);
}

#[test]
fn the_reason_of_a_dead_letter_is_bounded_and_escaped_whoever_wrote_it() {
    let shown = |reason: &'static str| {
        let place = ("dead-lettered", "orders/0/7");
        match outcome_of(None, &[place, ("dead-letter-reason", reason)]) {
            Some(LookupOutcome::NotFound(NotFound { dead_lettered })) => {
                dead_lettered.expect("it is one").to_string()
            }
            other => panic!("{other:?}"),
        }
    };
    let before = "the record at orders/0/7 has this uid and could not become an order: ";
    assert_eq!(
        shown("is\n\u{1b}[31m"),
        format!("{before}is\\n\\u{{1b}}[31m")
    );
    let long: &'static str = "é".repeat(2_000).leak();
    assert_eq!(shown(long).len(), before.len() + MAX_REASON_BYTES);
}

#[test]
fn garbage_is_no_reply() {
    for value in ["garbage", "[]", "{}", r#"{"a":1}"#] {
        assert_eq!(outcome_of(Some(value), &[]), None, "{value}");
    }
    assert_eq!(outcome_of(Some(ORDER), &[("behind", "-1")]), None);
    let not_ours = [("correlation-id", "not ours")];
    assert_eq!(decoded(Some(ORDER), &not_ours), None);
    let mut without_key = record(Some(ORDER), &[]);
    without_key.key = None;
    assert_eq!(LookupReply::decode(&without_key), None);
}
