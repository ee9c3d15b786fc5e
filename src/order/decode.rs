//! The quick way from bytes to an [`Order`](super::Order), and when to leave it.
//!
//! The typed pass takes what nearly every document is: known fields of the right types. Whatever it
//! stumbles over (an unknown field, a null, `-0`, a wrong type, broken JSON) is decided by the
//! lenient pass alone, so the two cannot disagree on what is refused: this one only ever says yes,
//! and then the rules on values are checked as well. Derived visitors would read an array as a
//! struct, field by field; [`object`] keeps them to JSON objects.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::faults::{self, Faults};
use super::{HoldsText, ItemOf, MAX_DOCUMENT_BYTES, MAX_ITEMS, OrderOf, Refusal, lenient};

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
        let (order, mut found) = match typed(text) {
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
        match typed(text) {
            Some(order) => Ok(order),
            None => lenient::read(text).and_then(|(order, found)| found.settle(order)),
        }
    }
}

impl<T: Serialize> OrderOf<T> {
    /// The order as JSON: normalised, go-orders' fields in go-orders' order, no white space.
    pub fn encode(&self) -> Vec<u8> {
        // Room for a usual order of a few items, so that the buffer does not grow step by step.
        let mut json = Vec::with_capacity(1_024);
        serde_json::to_writer(&mut json, self)
            .expect("an order has only text keys and whole numbers, and a Vec takes every write");
        json
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

fn typed<'d, T: HoldsText<'d>>(text: &'d str) -> Option<OrderOf<T>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let order = json.deserialize_map(ObjectOnly(PhantomData)).ok()?;
    json.end().ok()?;
    Some(order)
}

/// Deserialises a struct from a JSON object, and from nothing else.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(ObjectOnly(PhantomData))
}

struct ObjectOnly<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOnly<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Deserialises at most [`MAX_ITEMS`] items; null is none (Go writes a nil slice so).
pub(super) fn items<'de, D, T>(deserializer: D) -> Result<Vec<ItemOf<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    deserializer.deserialize_any(Items(PhantomData))
}

struct Items<T>(PhantomData<T>);

impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for Items<T> {
    type Value = Vec<ItemOf<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of items")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<ItemOf<T>>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<ItemOf<T>>, A::Error> {
        let mut items = Vec::new();
        while let Some(ObjectItem(item)) = sequence.next_element()? {
            if items.len() == MAX_ITEMS {
                return Err(A::Error::custom("too many items"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Default + Deserialize<'de>"))]
struct ObjectItem<T>(#[serde(deserialize_with = "object")] ItemOf<T>);
