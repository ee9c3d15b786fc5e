//! Decodes an [`Order`](super::Order) from bytes of unknown origin.
//!
//! Serde's derived code decodes nearly every document. A document that it refuses (an unknown
//! field, a null, `-0`, a wrong type, malformed JSON) is read by the diagnosing pass, which alone
//! decides whether it is refused. The rules on values are checked after either.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::diagnose::diagnose;
use super::faults::{self, Faults};
use super::{HoldsText, MAX_DOCUMENT_BYTES, MAX_ITEMS, OrderOf, Refusal};

impl<'d, T: HoldsText<'d>> OrderOf<T> {
    /// Decodes, validates and normalises one order. Bounded in time and memory whatever the bytes
    /// are, and never panics.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names every fault at once and contains nothing of the document but a
    /// valid uid.
    pub fn decode(bytes: &'d [u8]) -> Result<OrderOf<T>, Refusal> {
        let (order, mut found) = read(bytes)?;
        faults::check(&order, &mut found);
        found.into_result(order)
    }

    /// Decodes an order that was read from a store. Rows that other programs wrote may break the
    /// rules on values, so only the types are checked.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] where the document is not JSON or has a field of a wrong type.
    pub fn decode_stored(bytes: &'d [u8]) -> Result<OrderOf<T>, Refusal> {
        let (order, found) = read(bytes)?;
        found.into_result(order)
    }
}

fn read<'d, T: HoldsText<'d>>(bytes: &'d [u8]) -> Result<(OrderOf<T>, Faults), Refusal> {
    let text = text_of(bytes)?;
    match decode(text) {
        Some(order) => Ok((order, Faults::default())),
        None => diagnose(text),
    }
}

/// Checks the whole document before any JSON is read: its length, and that it is UTF-8, because
/// serde_json skips the strings of unknown fields without validating them.
fn text_of(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Refusal::not_json(format!("is not valid UTF-8 at byte {at}"))
    })?;
    if text.is_empty() {
        return Err(Refusal::not_json("is empty"));
    }
    if text.starts_with('\u{feff}') {
        return Err(Refusal::not_json("must not start with a byte order mark"));
    }
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let order_uid = serde_json::from_str(text).map(|OnlyUid { order_uid }| order_uid);
        return Err(Refusal::too_long(order_uid.ok()));
    }
    Ok(text)
}

/// Finds the uid of a document that is too long to be read whole.
#[derive(Deserialize)]
struct OnlyUid {
    order_uid: String,
}

/// Reads one order of known fields of the right types; `None` for any other document.
pub(super) fn decode<'d, T: HoldsText<'d>>(text: &'d str) -> Option<OrderOf<T>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let order = object(&mut json).ok()?;
    json.end().ok()?;
    Some(order)
}

/// Deserialises a struct from a JSON object only: derived code would accept an array too.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    ObjectOnly(PhantomData).deserialize(deserializer)
}

struct ObjectOnly<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for ObjectOnly<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOnly<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Deserialises at most [`MAX_ITEMS`] objects; null, as Go encodes a nil slice, is none.
pub(super) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(Objects(PhantomData))
}

struct Objects<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut objects = Vec::new();
        while let Some(object) = sequence.next_element_seed(ObjectOnly(PhantomData))? {
            if objects.len() == MAX_ITEMS {
                return Err(A::Error::custom("too many objects"));
            }
            objects.push(object);
        }
        Ok(objects)
    }
}
