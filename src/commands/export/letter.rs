//! A dead letter as a line of JSON: the position of its record, its content, and the reason.
//!
//! Key and payload are strings when they are UTF-8, otherwise base64 under another name, so that the
//! two cannot be confused. Only the head of a payload longer than 16 MiB is stored: `payload_bytes`
//! and `payload_sha256` describe the whole.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::store::StoredDeadLetter;

/// The line, with a newline.
pub(super) fn line(letter: &StoredDeadLetter) -> Vec<u8> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("topic", json!(letter.topic));
    put("partition", json!(letter.partition));
    put("offset", json!(letter.offset));
    put("order_uid", json!(letter.order_uid));
    put("reason", json!(letter.reason));
    put("accepted_at", json!(letter.accepted_at));
    put("dead_at", json!(letter.dead_at));
    for (name, bytes) in [("key", &letter.key), ("payload", &letter.payload)] {
        match bytes.as_deref().map(std::str::from_utf8) {
            None => put(name, Value::Null),
            Some(Ok(text)) => put(name, json!(text)),
            Some(Err(_)) => {
                let bytes = bytes.as_deref().unwrap_or_default();
                put(
                    &format!("{name}_base64"),
                    json!(BASE64_STANDARD.encode(bytes)),
                )
            }
        };
    }
    put("payload_bytes", json!(letter.payload_bytes));
    if let Some(digest) = &letter.payload_sha256 {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        put("payload_sha256", json!(hex));
    }
    let mut line = Value::Object(object).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Timestamp;

    #[test]
    fn bytes_that_are_not_utf8_are_base64_under_another_name() {
        let letter = StoredDeadLetter {
            topic: "orders".into(),
            partition: 3,
            offset: 7,
            key: Some(b"key".to_vec()),
            payload: Some(b"\xff".to_vec()),
            payload_bytes: 1,
            payload_sha256: None,
            order_uid: None,
            accepted_at: Timestamp(Some(0)),
            reason: "it is not JSON".into(),
            dead_at: Timestamp(Some(1)),
        };
        let expected = json!({
            "topic": "orders", "partition": 3, "offset": 7, "key": "key", "payload_base64": "/w==",
            "payload_bytes": 1, "order_uid": null, "accepted_at": "1970-01-01T00:00:00Z",
            "reason": "it is not JSON", "dead_at": "1970-01-01T00:00:00.000001Z",
        });
        let read: Value = serde_json::from_slice(&line(&letter)).unwrap();
        assert_eq!(read, expected);
        let null = StoredDeadLetter {
            payload: None,
            key: None,
            ..letter
        };
        let read: Value = serde_json::from_slice(&line(&null)).unwrap();
        assert_eq!(
            (&read["key"], &read["payload"]),
            (&Value::Null, &Value::Null)
        );
    }
}
