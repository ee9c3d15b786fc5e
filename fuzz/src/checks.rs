//! What must be true of any bytes that a topic or a client may send.
//!
//! Used by the fuzz targets and, for the inputs that are kept, by a test of the program.

use super::order::{
    BorrowedOrder, MAX_DOCUMENT_BYTES, MAX_ITEMS, Order, Refusal, RefusalKind, Timestamp, is_uid,
};
use super::pipeline::Record;
use super::pipeline::lookup_protocol::{
    DeadLettered, LOOKUP_TTL, LookupOutcome, LookupReply, LookupRequest, Message, NotFound,
};

const NOW_US: i64 = 1_700_000_000_000_000;

/// Any document is an order or refused, alike on every path that reads it.
pub fn order(document: &[u8]) {
    let decoded = Order::decode(document);
    let borrowed = BorrowedOrder::decode(document).map(|order| order.encode());
    assert_eq!(borrowed, decoded.clone().map(|order| order.encode()));
    match &decoded {
        Ok(order) => accepted_order(order, document),
        Err(refusal) => refused_order(refusal),
    }
    diagnosed_order(&decoded, document);
}

fn accepted_order(order: &Order, document: &[u8]) {
    assert!(is_uid(&order.order_uid));
    assert!(order.date_created.0.is_some());
    assert!(order.items.len() <= MAX_ITEMS);
    assert_eq!(Order::decode_stored(document).as_ref(), Ok(order));
    let encoded = order.encode();
    assert_eq!(Order::decode(&encoded).as_ref(), Ok(order));
    let serialised = serde_json::to_vec(order).expect("it has only text keys");
    assert_eq!(encoded, serialised);
}

fn refused_order(refusal: &Refusal) {
    assert!(!refusal.faults.is_empty());
    assert!(!refusal.to_string().contains(char::is_control));
    for fault in &refusal.faults {
        assert!(!fault.pointer.contains(char::is_control));
        assert!(!fault.message.contains(char::is_control));
    }
    assert!(refusal.order_uid.as_deref().is_none_or(is_uid));
}

/// An unknown field makes the diagnosing pass read the document: that changes nothing.
fn diagnosed_order(decoded: &Result<Order, Refusal>, document: &[u8]) {
    const UNKNOWN: &[u8] = br#""~":0"#;
    let is_space = |byte: &u8| b" \t\r\n".contains(byte);
    let Some(start) = document.iter().position(|byte| !is_space(byte)) else {
        return;
    };
    if document[start] != b'{' || document.len() + UNKNOWN.len() >= MAX_DOCUMENT_BYTES {
        return;
    }
    let (before, after) = document.split_at(start + 1);
    let is_empty = after.iter().find(|byte| !is_space(byte)) == Some(&b'}');
    let comma: &[u8] = if is_empty { b"" } else { b"," };
    let diagnosed = Order::decode(&[before, UNKNOWN, comma, after].concat());
    match (decoded, &diagnosed) {
        (Err(one), Err(other)) if is_malformed(one) && is_malformed(other) => {}
        _ => assert_eq!(decoded, &diagnosed),
    }
}

/// Whether it names the place of an error of syntax, which an insertion moves.
fn is_malformed(refusal: &Refusal) -> bool {
    refusal.kind == RefusalKind::NotJson && refusal.faults[0].pointer.is_empty()
}

/// Any record of the lookup topic is a request of bounded size or none, and changes no reply.
pub fn lookup(bytes: &[u8]) {
    let Some(request) = LookupRequest::decode(record(bytes), NOW_US) else {
        return;
    };
    assert!((1..=512).contains(&request.order_uid.len()));
    assert!(!request.order_uid.contains(char::is_control));
    assert!(request.deadline_us <= NOW_US + LOOKUP_TTL.as_micros() as i64);
    assert!(request.repeats(&request));
    let order = Order {
        order_uid: request.order_uid.clone(),
        date_created: Timestamp::from_micros(NOW_US),
        ..Order::default()
    };
    let found = LookupOutcome::Found {
        body: order.encode().into(),
        source: "T/3/17".parse().ok(),
        accepted_at_us: Some(NOW_US),
        behind: None,
    };
    let not_found = LookupOutcome::NotFound(NotFound {
        dead_lettered: DeadLettered::new("orders/0/7", Some("is empty")),
    });
    for outcome in [found, not_found] {
        let message = LookupReply::encode(&request, &outcome);
        let headers = message.headers();
        let sizes = headers.iter().map(|(name, value)| name.len() + value.len());
        assert!(sizes.sum::<usize>() <= 4_096, "{headers:?}");
        // A correlation id that is not an API's is not read by one.
        let Some(reply) = LookupReply::decode(&appended(&message)) else {
            continue;
        };
        assert_eq!(reply.order_uid, request.order_uid);
        if reply.correlation_id.is_some() {
            assert_eq!(reply.outcome, outcome);
        }
    }
}

/// Any record of the reply topic is a reply about the order of its key, or none.
pub fn reply(bytes: &[u8]) {
    let record = record(bytes);
    let Some(reply) = LookupReply::decode(&record) else {
        return;
    };
    assert!(reply.order_uid.len() <= 512);
    match &reply.outcome {
        LookupOutcome::Found {
            body,
            source,
            behind,
            ..
        } => {
            let order = Order::decode_stored(body).expect("what is served is an order");
            assert_eq!(order.order_uid, reply.order_uid);
            assert_eq!(order.encode(), body[..]);
            let mut places = source.iter().map(|source| source.at);
            assert!(places.all(|at| at.partition >= 0 && at.offset >= 0));
            if reply.correlation_id.is_none() {
                assert_eq!((reply.outcome.version(), behind), (None, &None));
            }
        }
        LookupOutcome::NotFound(NotFound { dead_lettered }) => {
            let shown = dead_lettered.as_ref().map(ToString::to_string);
            let shown = shown.unwrap_or_default();
            assert!(!shown.contains(char::is_control) && shown.len() <= 2_048);
        }
    }
    repeated_reply(&record, &reply);
}

/// A consumer that replies in these words is understood alike.
fn repeated_reply(record: &Record, reply: &LookupReply) {
    let asked = Record {
        value: record.key.clone(),
        ..record.clone()
    };
    let Some(request) = LookupRequest::decode(asked, 0) else {
        return;
    };
    let message = LookupReply::encode(&request, &reply.outcome);
    assert_eq!(
        LookupReply::decode(&appended(&message)).as_ref(),
        Some(reply)
    );
}

/// A record as readable text: its key on the first line, a header on each further line, as
/// `name: value`, and after an empty line its value. `timestamp` is the time of the record. A key of
/// `-` is none.
fn record(bytes: &[u8]) -> Record {
    let split = |bytes: &[u8], end: &[u8]| {
        let at = bytes.windows(end.len()).position(|window| window == end)?;
        Some((bytes[..at].to_vec(), bytes[at + end.len()..].to_vec()))
    };
    let (head, value) = match split(bytes, b"\n\n") {
        Some((head, value)) => (head, Some(value)),
        None => (bytes.to_vec(), None),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let key = lines.next().filter(|key| *key != b"-");
    let mut record = Record {
        key: key.map(|key| key.to_vec().into()),
        value: value.map(Into::into),
        ..Record::default()
    };
    for line in lines {
        let (name, value) = split(line, b": ").unwrap_or_else(|| (line.to_vec(), Vec::new()));
        if name == b"timestamp" {
            let text = String::from_utf8(value).ok();
            record.timestamp_ms = text.and_then(|text| text.parse().ok()).unwrap_or(-1);
        } else {
            let name = String::from_utf8_lossy(&name).into();
            record.headers.push((name, value.into()));
        }
    }
    record
}

/// The record that a topic holds after a message was appended to it.
fn appended(message: &Message<'_>) -> Record {
    let headers = message.headers();
    let headers = headers.into_iter();
    Record {
        key: Some(message.key.to_vec().into()),
        value: message.value.map(|value| value.to_vec().into()),
        headers: headers
            .map(|(name, value)| (name.into(), value.to_vec().into()))
            .collect(),
        ..Record::default()
    }
}
