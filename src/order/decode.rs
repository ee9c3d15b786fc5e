//! The way in: from bytes of unknown origin to an [`Order`](super::Order).
//!
//! Nearly every document is taken by the quick pass. Whatever that stumbles over (an unknown field, a
//! null, `-0`, a wrong type, broken JSON) is decided by the lenient pass alone, so the two cannot
//! disagree on what is refused; then the rules on values are checked, whoever has read it.

use serde::Deserialize;

use super::faults::{self, Faults};
use super::{HoldsText, MAX_DOCUMENT_BYTES, OrderOf, Refusal, lenient, quick};

impl<'d, T: HoldsText<'d>> OrderOf<T> {
    /// Decodes, validates and normalises one order. Bounded in time and memory whatever the bytes
    /// are, and never panics.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names every fault at once and repeats nothing of the document but a valid
    /// uid.
    pub fn decode(bytes: &'d [u8]) -> Result<OrderOf<T>, Refusal> {
        let text = text_of(bytes)?;
        let (order, mut found) = match quick::read(text) {
            Some(order) => (order, Faults::default()),
            None => lenient::read(text)?,
        };
        faults::check(&order, &mut found);
        found.settle(order)
    }

    /// Reads an order that a store gave back. Rows that other programs wrote may break the rules on
    /// values, so only the types are checked.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] where the document is no JSON or has a field of a wrong type.
    pub fn decode_stored(bytes: &'d [u8]) -> Result<OrderOf<T>, Refusal> {
        let text = text_of(bytes)?;
        match quick::read(text) {
            Some(order) => Ok(order),
            None => lenient::read(text).and_then(|(order, found)| found.settle(order)),
        }
    }
}

/// Checks what must hold before any JSON is read. serde_json skips the strings of unknown fields
/// without looking at their bytes, so UTF-8 is checked first, once, for the whole document.
fn text_of(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Refusal::not_json(format!(
            "is not valid UTF-8 at byte {}",
            error.valid_up_to()
        ))
    })?;
    if text.is_empty() {
        return Err(Refusal::not_json("is empty"));
    }
    if text.starts_with('\u{feff}') {
        return Err(Refusal::not_json("must not start with a byte order mark"));
    }
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let order_uid = serde_json::from_str::<OnlyUid>(text)
            .ok()
            .map(|only| only.order_uid);
        return Err(Refusal::too_long(order_uid));
    }
    Ok(text)
}

/// Finds the uid of a document that is too long to be read whole.
#[derive(Deserialize)]
struct OnlyUid {
    order_uid: String,
}
