//! A dead letter as a line of JSON: the position of its record, its content, and the reason.
//!
//! Key and payload are strings when they are UTF-8, otherwise base64 under another name, so that the
//! two cannot be confused. Only the head of a payload longer than 16 MiB is stored: `payload_bytes`
//! and `payload_sha256` describe the whole.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::store::StoredDeadLetter;

/// The line, with a newline.
pub(super) fn line(letter: &StoredDeadLetter) -> Vec<u8> {
    let mut object = json!({
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "order_uid": letter.order_uid,
        "reason": letter.reason,
        "accepted_at": letter.accepted_at,
        "dead_at": letter.dead_at,
        "payload_bytes": letter.payload_bytes,
    });
    for (name, bytes) in [("key", &letter.key), ("payload", &letter.payload)] {
        let text = bytes.as_deref().map(std::str::from_utf8).transpose();
        match (text, bytes) {
            (Err(_), Some(bytes)) => {
                object[format!("{name}_base64")] = BASE64_STANDARD.encode(bytes).into();
            }
            (text, _) => object[name] = text.ok().flatten().into(),
        }
    }
    if let Some(digest) = &letter.payload_sha256 {
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        object["payload_sha256"] = hex.into();
    }
    format!("{object}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::order::Timestamp;

    fn read(letter: &StoredDeadLetter) -> Value {
        serde_json::from_slice(&line(letter)).unwrap()
    }

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
        assert_eq!(read(&letter), expected);
        let null = StoredDeadLetter {
            payload: None,
            key: None,
            ..letter
        };
        let null = read(&null);
        assert_eq!([&null["key"], &null["payload"]], [&Value::Null; 2]);
    }
}
