//! From an order to its JSON: one form, whoever writes it.
//!
//! Owns how values are written; which fields there are, and in which order, is said once for both
//! directions in `fields`. Written by hand for the same reason as `quick`; what serde writes of the
//! same order is the same to the byte, and a test holds the two together.

use super::quick::first_special;
use super::{OrderOf, Timestamp};

/// Room for a usual order of a few items, so that the buffer does not grow step by step.
const USUAL_BYTES: usize = 1_024;

impl<T: AsRef<str>> OrderOf<T> {
    /// The order as JSON: normalised, go-orders' fields in go-orders' order, no white space.
    pub fn encode(&self) -> Vec<u8> {
        let mut json = Writer(Vec::with_capacity(USUAL_BYTES));
        json.object(self);
        json.0
    }
}

/// What is written as a JSON object.
pub(super) trait ToObject {
    /// Each member with a comma before it, the first one too.
    fn write_members(&self, json: &mut Writer);
}

/// The JSON written so far.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// `,"key":` as it stands.
    pub(super) fn key(&mut self, key: &'static str) {
        self.0.extend_from_slice(key.as_bytes());
    }

    pub(super) fn object(&mut self, object: &impl ToObject) {
        let start = self.0.len();
        object.write_members(self);
        // In the place of the first member's comma.
        self.0[start] = b'{';
        self.0.push(b'}');
    }

    pub(super) fn objects(&mut self, objects: &[impl ToObject]) {
        self.0.push(b'[');
        for (index, object) in objects.iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            self.object(object);
        }
        self.0.push(b']');
    }

    pub(super) fn text(&mut self, text: &impl AsRef<str>) {
        let text = text.as_ref();
        if first_special(text.as_bytes(), 0).is_some() {
            serde_json::to_writer(&mut self.0, text).expect("a Vec takes every write");
            return;
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    pub(super) fn number<N: Copy + Into<i64>>(&mut self, number: &N) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format((*number).into());
        self.0.extend_from_slice(digits.as_bytes());
    }

    pub(super) fn timestamp(&mut self, moment: &Timestamp) {
        self.0.push(b'"');
        moment.write_to(&mut self.0);
        self.0.push(b'"');
    }
}
