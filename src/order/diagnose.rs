//! The diagnosing pass: reads a whole document and reports every field of a wrong type.
//!
//! Runs only where [`decode`](super::decode) refused the document. Holds it as a tree that borrows
//! its texts and keeps repeated keys, which `serde_json::Value` would merge. serde_json reads every
//! value of the tree in full, unknown fields too: nesting beyond 128, lone surrogates and numbers
//! beyond a double are malformed JSON in any field.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::faults::{Faults, items_message};
use super::{HoldsText, MAX_ITEMS, OrderOf, Refusal, Text, Timestamp};

/// Builds an order and reports each field of a wrong type; such a field is "" or 0 in it.
///
/// # Errors
///
/// A [`Refusal`] where the text is not one JSON document.
pub(super) fn diagnose<'d, T: HoldsText<'d>>(
    text: &'d str,
) -> Result<(OrderOf<T>, Faults), Refusal> {
    // The messages of syntax errors name a line and a column, never a part of the text.
    let root: Node<'d> = serde_json::from_str(text)
        .map_err(|error| Refusal::not_json(format!("cannot be read: {error}")))?;
    let mut faults = Faults::default();
    let Node::Object(members) = &root else {
        faults.add("", "must be an object");
        return Ok((OrderOf::default(), faults));
    };
    let order = OrderOf::diagnose(&mut Object {
        members,
        path: String::new(),
        faults: &mut faults,
    });
    Ok((order, faults))
}

/// A struct that is built from any JSON object.
pub(super) trait Diagnose<'d>: Default {
    fn diagnose(json: &mut Object<'_, 'd>) -> Self;
}

/// A JSON value, in as much detail as an order needs.
enum Node<'d> {
    Null,
    Bool,
    Integer(i64),
    /// A number that is not whole or does not fit an `i64`.
    OtherNumber,
    Text(Text<'d>),
    Array(Vec<Node<'d>>),
    Object(Members<'d>),
}

/// The members of an object, in their order, repeated keys included.
type Members<'d> = Vec<(Text<'d>, Node<'d>)>;

/// One object of the document, read field by field. Its methods have the names of the kinds.
pub(super) struct Object<'r, 'd> {
    members: &'r [(Text<'d>, Node<'d>)],
    /// The JSON pointer of the object.
    path: String,
    faults: &'r mut Faults,
}

impl<'r, 'd> Object<'r, 'd> {
    /// The value of a field; `None` when it is absent or null. A field that occurs twice is a
    /// fault.
    fn find(&mut self, name: &str) -> Option<&'r Node<'d>> {
        let members = self.members;
        let mut named = members
            .iter()
            .filter(|(key, _)| **key == *name)
            .map(|(_, value)| value);
        let value = named.next()?;
        if named.next().is_some() {
            self.faults.add_duplicate(self.pointer(name));
        }
        match value {
            Node::Null => None,
            value => Some(value),
        }
    }

    pub(super) fn uid<T: HoldsText<'d>>(&mut self, name: &str) -> T {
        self.text(name)
    }

    pub(super) fn text<T: HoldsText<'d>>(&mut self, name: &str) -> T {
        match self.find(name) {
            None => T::default(),
            Some(Node::Text(text)) => T::from(text.clone().into()),
            Some(_) => self.fault(name, "must be a text"),
        }
    }

    pub(super) fn int(&mut self, name: &str) -> i32 {
        self.integer(name, i32::MIN, i32::MAX)
    }

    pub(super) fn bigint(&mut self, name: &str) -> i64 {
        self.integer(name, i64::MIN, i64::MAX)
    }

    fn integer<N>(&mut self, name: &str, lowest: N, highest: N) -> N
    where
        N: TryFrom<i64> + Default + fmt::Display,
    {
        let number = match self.find(name) {
            None => return N::default(),
            Some(Node::Integer(number)) => N::try_from(*number).ok(),
            Some(_) => None,
        };
        number.unwrap_or_else(|| {
            self.fault(
                name,
                format!("must be a whole number between {lowest} and {highest}"),
            )
        })
    }

    pub(super) fn timestamp(&mut self, name: &str) -> Timestamp {
        let text: Text<'d> = self.text(name);
        if text.is_empty() {
            return Timestamp::default();
        }
        Timestamp::parse(&text).unwrap_or_else(|error| self.fault(name, error.to_string()))
    }

    pub(super) fn object<O: Diagnose<'d>>(&mut self, name: &str) -> O {
        match self.find(name) {
            None => O::default(),
            Some(node) => self.nested(self.pointer(name), node),
        }
    }

    pub(super) fn objects<O: Diagnose<'d>>(&mut self, name: &str) -> Vec<O> {
        let nodes = match self.find(name) {
            None => return Vec::new(),
            Some(Node::Array(nodes)) => nodes,
            Some(_) => return self.fault(name, "must be an array"),
        };
        if nodes.len() > MAX_ITEMS {
            return self.fault(name, items_message());
        }
        let array = self.pointer(name);
        let nested = |(index, node)| self.nested(format!("{array}/{index}"), node);
        nodes.iter().enumerate().map(nested).collect()
    }

    fn nested<O: Diagnose<'d>>(&mut self, path: String, node: &Node<'d>) -> O {
        match node {
            Node::Null => O::default(),
            Node::Object(members) => O::diagnose(&mut Object {
                members,
                path,
                faults: self.faults,
            }),
            _ => {
                self.faults.add(path, "must be an object");
                O::default()
            }
        }
    }

    /// Adds a fault of a field and returns the value that replaces it.
    fn fault<T: Default>(&mut self, name: &str, message: impl Into<String>) -> T {
        self.faults.add(self.pointer(name), message);
        T::default()
    }

    fn pointer(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(i64::try_from(number).map_or(Node::OtherNumber, Node::Integer))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node<'de>, E> {
        // serde_json reads `-0` as a double, because no integer has that sign; it is the integer 0.
        let is_minus_zero = number == 0.0 && number.is_sign_negative();
        Ok(if is_minus_zero {
            Node::Integer(0)
        } else {
            Node::OtherNumber
        })
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Text::from(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Text::from(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node<'de>, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = sequence.next_element()? {
            nodes.push(node);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((key, node)) = map.next_entry()? {
            members.push((key, node));
        }
        Ok(Node::Object(members))
    }
}
