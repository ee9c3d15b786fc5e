//! A document as an operator sees it: line by line, with the faults beside them.
//!
//! Reads any JSON, in its order and with repeated keys. Personal data is masked, and so is every value
//! of a field that no order has: nobody knows what it holds.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::{Delivery, Fault, Item, Order, Payment, TableRow};

/// What stands for a value that is not shown.
const MASK: &str = "\"***\"";

/// A JSON document.
pub struct Document(Json);

/// A line of a document. It may hold any character that JSON can, control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// What is wrong with the value that begins on this line.
    pub faults: Vec<String>,
}

enum Json {
    Scalar(Value),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// What the tables of columns say about a value.
#[derive(Clone, Copy)]
enum Shape {
    Order,
    Items,
    /// An object of these fields.
    Part(fn(&str) -> bool),
    Shown,
    Masked,
}

impl Shape {
    /// The shape of a member of an object.
    fn member(self, field: &str) -> Shape {
        match (self, field) {
            (Shape::Order, "delivery") => part::<Delivery>(),
            (Shape::Order, "payment") => part::<Payment>(),
            (Shape::Order, "items") => Shape::Items,
            (Shape::Order, field) if has_field::<Order>(field) => Shape::Shown,
            (Shape::Part(is_shown), field) if is_shown(field) => Shape::Shown,
            _ => Shape::Masked,
        }
    }

    /// The shape of an element of an array.
    fn element(self) -> Shape {
        match self {
            Shape::Items => part::<Item>(),
            _ => Shape::Masked,
        }
    }
}

fn part<P: TableRow>() -> Shape {
    Shape::Part(has_field::<P>)
}

/// Whether it is a field of the table that is not personal.
fn has_field<T: TableRow>(field: &str) -> bool {
    !T::IS_PERSONAL && T::COLUMNS.iter().any(|column| column.field == field)
}

impl Document {
    /// Reads one document; `None` for bytes that are not JSON.
    pub fn read(bytes: &[u8]) -> Option<Document> {
        serde_json::from_slice(bytes).ok().map(Document)
    }

    /// The document in lines, with these faults beside their values. Personal data is masked unless
    /// `reveal`.
    pub fn lines(&self, faults: &[Fault], reveal: bool) -> Vec<Line> {
        let mut writer = Writer {
            faults,
            reveal,
            lines: Vec::new(),
        };
        writer.write(&self.0, Shape::Order, String::new(), Place::default());
        writer.lines
    }
}

struct Writer<'a> {
    faults: &'a [Fault],
    reveal: bool,
    lines: Vec<Line>,
}

/// Where a value is written.
#[derive(Clone, Default)]
struct Place {
    depth: usize,
    /// The key before it, with its colon.
    key: String,
    /// The comma after it.
    comma: &'static str,
}

impl Writer<'_> {
    fn write(&mut self, value: &Json, shape: Shape, pointer: String, place: Place) {
        match value {
            _ if !self.reveal && is_masked(value, shape) => self.line(&place, MASK, &pointer, true),
            Json::Scalar(scalar) => self.line(&place, &scalar.to_string(), &pointer, true),
            Json::Array(elements) => {
                self.line(&place, "[", &pointer, false);
                for (index, element) in elements.iter().enumerate() {
                    let pointer = format!("{pointer}/{index}");
                    let inner = place.inner(String::new(), index + 1 < elements.len());
                    self.write(element, shape.element(), pointer, inner);
                }
                self.end(&place, "]");
            }
            Json::Object(members) => {
                self.line(&place, "{", &pointer, false);
                for (index, (key, member)) in members.iter().enumerate() {
                    let pointer = format!("{pointer}/{key}");
                    let text = Value::from(key.as_str());
                    let inner = place.inner(format!("{text}: "), index + 1 < members.len());
                    self.write(member, shape.member(key), pointer, inner);
                }
                self.end(&place, "}");
            }
        }
    }

    fn line(&mut self, place: &Place, text: &str, pointer: &str, is_whole: bool) {
        let comma = if is_whole { place.comma } else { "" };
        let of_value = self.faults.iter().filter(|fault| fault.pointer == pointer);
        let faults = of_value.map(|fault| fault.message.clone()).collect();
        let indent = "  ".repeat(place.depth);
        self.lines.push(Line {
            text: format!("{indent}{}{text}{comma}", place.key),
            faults,
        });
    }

    fn end(&mut self, place: &Place, bracket: &str) {
        let indent = "  ".repeat(place.depth);
        self.lines.push(Line {
            text: format!("{indent}{bracket}{}", place.comma),
            faults: Vec::new(),
        });
    }
}

impl Place {
    fn inner(&self, key: String, has_next: bool) -> Place {
        Place {
            depth: self.depth + 1,
            key,
            comma: if has_next { "," } else { "" },
        }
    }
}

/// Only what has the place and the form of an order's value is shown.
fn is_masked(value: &Json, shape: Shape) -> bool {
    !matches!(
        (value, shape),
        (Json::Scalar(Value::Null), _)
            | (Json::Object(_), Shape::Order | Shape::Part(_))
            | (Json::Array(_), Shape::Items)
            | (Json::Scalar(_), Shape::Shown)
    )
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Scalar(value.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Scalar(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Scalar(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Scalar(
            Number::from_f64(number).map_or(Value::Null, Value::from),
        ))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Scalar(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"order_uid":"a","sm_id":"x","email":"a@b",
        "delivery":{"name":"Test","zip":null,"more":[1]},
        "items":[{"price":"much","size":{"x":1}},7],"sm_id":3,"payment":[],"locale":["en"]}"#;

    fn lines(reveal: bool) -> Vec<String> {
        let fault = |pointer: &str, message: &str| Fault {
            pointer: pointer.into(),
            message: message.into(),
        };
        let faults = [
            fault("/items/0/price", "must be a whole number"),
            fault("/delivery/name", "is too long"),
        ];
        let document = Document::read(DOCUMENT.as_bytes()).unwrap();
        let lines = document.lines(&faults, reveal);
        let line = |line: Line| format!("{} {}", line.text, line.faults.join("; "));
        lines.into_iter().map(line).collect()
    }

    #[test]
    fn personal_and_unknown_values_are_masked_and_faults_stand_beside_their_values() {
        let expected = [
            "{ ",
            "  \"order_uid\": \"a\", ",
            "  \"sm_id\": \"x\", ",
            "  \"email\": \"***\", ",
            "  \"delivery\": { ",
            "    \"name\": \"***\", is too long",
            "    \"zip\": null, ",
            "    \"more\": \"***\" ",
            "  }, ",
            "  \"items\": [ ",
            "    { ",
            "      \"price\": \"much\", must be a whole number",
            "      \"size\": \"***\" ",
            "    }, ",
            "    \"***\" ",
            "  ], ",
            "  \"sm_id\": 3, ",
            "  \"payment\": \"***\", ",
            "  \"locale\": \"***\" ",
            "} ",
        ];
        assert_eq!(lines(false), expected);
    }

    #[test]
    fn a_revealed_document_is_the_same_document() {
        let text = lines(true).join("\n").replace("must be a whole number", "");
        let read: Value = serde_json::from_str(&text.replace("is too long", "")).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(DOCUMENT).unwrap());
    }

    #[test]
    fn every_value_of_a_delivery_is_masked() {
        let document = include_bytes!("../../examples/test_order.json");
        let order = Order::decode(document).unwrap();
        let shown = Document::read(document).unwrap().lines(&[], false);
        let shown: String = shown.into_iter().map(|line| line.text).collect();
        for (column, value) in order.delivery.columns() {
            assert!(!shown.contains(&value.to_string()), "{}", column.field);
        }
    }
}
