//! Encodes an order as JSON, in one canonical form.
//!
//! Owns how values are written; the fields and their order are in [`columns`](super::columns).
//! Hand-written, because serde's derived code takes more than twice as long (benches/README.md); a
//! test compares it with what serde serialises, byte for byte.

use super::{OrderOf, Timestamp};

/// Enough for an order of a few items, so that the buffer seldom grows.
const USUAL_BYTES: usize = 1_024;

impl<T: AsRef<str>> OrderOf<T> {
    /// The order as JSON: normalised, go-orders' fields in go-orders' order, no white space.
    pub fn encode(&self) -> Vec<u8> {
        let mut json = Writer(Vec::with_capacity(USUAL_BYTES));
        json.object(self);
        json.0
    }
}

/// A struct that is written as a JSON object.
pub(super) trait Encode {
    /// Writes each member with a comma before it, the first one too.
    fn encode_members(&self, json: &mut Writer);
}

/// The JSON written so far. Its methods have the names of the kinds.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Writes `,"key":` as it is given.
    pub(super) fn key(&mut self, key: &'static str) {
        self.0.extend_from_slice(key.as_bytes());
    }

    pub(super) fn object(&mut self, object: &impl Encode) {
        let start = self.0.len();
        object.encode_members(self);
        // Replaces the first member's comma.
        self.0[start] = b'{';
        self.0.push(b'}');
    }

    pub(super) fn objects(&mut self, objects: &[impl Encode]) {
        self.0.push(b'[');
        for (index, object) in objects.iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            self.object(object);
        }
        self.0.push(b']');
    }

    pub(super) fn uid(&mut self, uid: &impl AsRef<str>) {
        self.text(uid);
    }

    pub(super) fn text(&mut self, text: &impl AsRef<str>) {
        let text = text.as_ref();
        if needs_escapes(text) {
            serde_json::to_writer(&mut self.0, text).expect("writing to a Vec cannot fail");
            return;
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    pub(super) fn int(&mut self, number: &i32) {
        self.bigint(&i64::from(*number));
    }

    pub(super) fn bigint(&mut self, number: &i64) {
        let mut digits = itoa::Buffer::new();
        self.0.extend_from_slice(digits.format(*number).as_bytes());
    }

    pub(super) fn timestamp(&mut self, timestamp: &Timestamp) {
        self.0.push(b'"');
        timestamp.write_to(&mut self.0);
        self.0.push(b'"');
    }
}

/// Whether a text needs escapes in JSON. Checks every byte without an early return, so that the
/// compiler can use vector instructions.
fn needs_escapes(text: &str) -> bool {
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    text.bytes()
        .fold(false, |found, byte| found | is_special(byte))
}
