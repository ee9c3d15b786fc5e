//! The patient way from JSON to an order: reads everything, notes every fault of type at once.
//!
//! Runs only where the typed pass gave up. It holds the document as a small tree that borrows its
//! texts and keeps repeated keys, which `serde_json::Value` would merge. serde_json reads every
//! value of the tree in full, unknown fields too: nesting beyond 128, lone surrogates and numbers
//! beyond a double are broken JSON wherever they stand.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::faults::{Faults, items_message};
use super::{
    DeliveryOf, HoldsText, ItemOf, MAX_ITEMS, OrderOf, PaymentOf, Refusal, Text, Timestamp,
};

/// Builds an order of what is there and notes what is of a wrong type; such a field is "" or 0.
///
/// # Errors
///
/// A [`Refusal`] where the text is not one JSON document.
pub(super) fn read<'d, T: HoldsText<'d>>(text: &'d str) -> Result<(OrderOf<T>, Faults), Refusal> {
    // The messages of syntax errors name a line and a column, never a part of the text.
    let root: Node<'d> = serde_json::from_str(text)
        .map_err(|error| Refusal::not_json(format!("cannot be read: {error}")))?;
    let mut faults = Faults::default();
    let Node::Object(fields) = &root else {
        faults.add("", "must be an object");
        return Ok((OrderOf::default(), faults));
    };
    let order = Reader {
        fields,
        path: String::new(),
        faults: &mut faults,
    }
    .order();
    Ok((order, faults))
}

/// A JSON value with what an order needs of it.
enum Node<'a> {
    Null,
    Bool,
    Integer(i64),
    /// A number that is not whole or does not fit an `i64`.
    OtherNumber,
    Text(Text<'a>),
    Array(Vec<Node<'a>>),
    Object(Fields<'a>),
}

/// The members of an object, in their order, repeated keys included.
type Fields<'a> = Vec<(Text<'a>, Node<'a>)>;

/// One object of the document, read field by field.
struct Reader<'r, 'a> {
    fields: &'r [(Text<'a>, Node<'a>)],
    /// The JSON pointer of the object.
    path: String,
    faults: &'r mut Faults,
}

impl<'r, 'a> Reader<'r, 'a> {
    fn order<T: HoldsText<'a>>(mut self) -> OrderOf<T> {
        OrderOf {
            order_uid: self.text("order_uid"),
            track_number: self.text("track_number"),
            entry: self.text("entry"),
            delivery: self
                .object("delivery")
                .map(Reader::delivery)
                .unwrap_or_default(),
            payment: self
                .object("payment")
                .map(Reader::payment)
                .unwrap_or_default(),
            items: self.items("items"),
            locale: self.text("locale"),
            internal_signature: self.text("internal_signature"),
            customer_id: self.text("customer_id"),
            delivery_service: self.text("delivery_service"),
            shardkey: self.text("shardkey"),
            sm_id: self.i32("sm_id"),
            date_created: self.timestamp("date_created"),
            oof_shard: self.text("oof_shard"),
        }
    }

    fn delivery<T: HoldsText<'a>>(mut self) -> DeliveryOf<T> {
        DeliveryOf {
            name: self.text("name"),
            phone: self.text("phone"),
            zip: self.text("zip"),
            city: self.text("city"),
            address: self.text("address"),
            region: self.text("region"),
            email: self.text("email"),
        }
    }

    fn payment<T: HoldsText<'a>>(mut self) -> PaymentOf<T> {
        PaymentOf {
            transaction: self.text("transaction"),
            request_id: self.text("request_id"),
            currency: self.text("currency"),
            provider: self.text("provider"),
            amount: self.i64("amount"),
            payment_dt: self.i64("payment_dt"),
            bank: self.text("bank"),
            delivery_cost: self.i64("delivery_cost"),
            goods_total: self.i64("goods_total"),
            custom_fee: self.i64("custom_fee"),
        }
    }

    fn item<T: HoldsText<'a>>(mut self) -> ItemOf<T> {
        ItemOf {
            chrt_id: self.i64("chrt_id"),
            track_number: self.text("track_number"),
            price: self.i64("price"),
            rid: self.text("rid"),
            name: self.text("name"),
            sale: self.i32("sale"),
            size: self.text("size"),
            total_price: self.i64("total_price"),
            nm_id: self.i64("nm_id"),
            brand: self.text("brand"),
            status: self.i32("status"),
        }
    }

    /// The value of a field; `None` when it is absent or null. One that is given twice is a fault.
    fn find(&mut self, name: &str) -> Option<&'r Node<'a>> {
        let fields = self.fields;
        let mut named = fields
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

    fn text<T: HoldsText<'a>>(&mut self, name: &str) -> T {
        match self.find(name) {
            None => T::default(),
            Some(Node::Text(text)) => T::from(text.clone().into()),
            Some(_) => self.fault(name, "must be a text"),
        }
    }

    fn i32(&mut self, name: &str) -> i32 {
        self.integer(name, i32::MIN, i32::MAX)
    }

    fn i64(&mut self, name: &str) -> i64 {
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

    fn timestamp(&mut self, name: &str) -> Timestamp {
        let text: Text<'a> = self.text(name);
        if text.is_empty() {
            return Timestamp::default();
        }
        Timestamp::parse(&text).unwrap_or_else(|error| self.fault(name, error.to_string()))
    }

    fn object<'s>(&'s mut self, name: &str) -> Option<Reader<'s, 'a>>
    where
        'r: 's,
    {
        match self.find(name)? {
            Node::Object(fields) => Some(Reader {
                fields,
                path: self.pointer(name),
                faults: self.faults,
            }),
            _ => {
                self.faults.add(self.pointer(name), "must be an object");
                None
            }
        }
    }

    fn items<T: HoldsText<'a>>(&mut self, name: &str) -> Vec<ItemOf<T>> {
        let nodes = match self.find(name) {
            None => return Vec::new(),
            Some(Node::Array(nodes)) => nodes,
            Some(_) => return self.fault(name, "must be an array"),
        };
        if nodes.len() > MAX_ITEMS {
            return self.fault(name, items_message());
        }
        let mut items = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let path = format!("{}/{index}", self.pointer(name));
            items.push(match node {
                Node::Null => ItemOf::default(),
                Node::Object(fields) => Reader {
                    fields,
                    path,
                    faults: self.faults,
                }
                .item(),
                _ => {
                    self.faults.add(path, "must be an object");
                    ItemOf::default()
                }
            });
        }
        items
    }

    /// Notes a fault of a field and gives the value that stands in for it.
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
        let mut fields = Vec::new();
        while let Some((key, node)) = map.next_entry()? {
            fields.push((key, node));
        }
        Ok(Node::Object(fields))
    }
}
