//! The one description of an order's fields: the name in JSON, the column, the kind.
//!
//! JSON, validation messages, SQL, rows and the tables of `orders get` follow from the tables at
//! the end of this file. A new field of an order is a field of its struct, a line in one of these
//! tables, a migration for each engine, and the documents (`src/api/openapi.json`, README).

use std::fmt;

use super::diagnose::{Diagnose, Object};
use super::encode::{Encode, Writer};
use super::{DeliveryOf, HoldsText, ItemOf, OrderOf, PaymentOf, Timestamp};

/// One column of a table; also one field of a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name in JSON and in what is shown to people.
    pub field: &'static str,
    /// The name in the store.
    pub name: &'static str,
    pub kind: Kind,
}

/// What a column holds; decides how it is read, checked and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key of an order: a text that is required and has rules of its own
    /// ([`is_uid`](super::is_uid)).
    Uid,
    Text,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    BigInt,
    Timestamp,
}

/// The value of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    Int(i32),
    BigInt(i64),
    Timestamp(Timestamp),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => text.fmt(f),
            Value::Int(number) => number.fmt(f),
            Value::BigInt(number) => number.fmt(f),
            Value::Timestamp(timestamp) => timestamp.fmt(f),
        }
    }
}

/// A struct that is stored as one row of a table.
pub trait TableRow {
    const TABLE: &'static str;
    const COLUMNS: &'static [Column];
    /// Whether the columns say who the customer is, and where: they are shown only on request.
    const IS_PERSONAL: bool;

    /// The values of the row, in the order of [`COLUMNS`](Self::COLUMNS).
    fn values(&self) -> impl Iterator<Item = Value<'_>>;

    /// The columns with their values.
    fn columns(&self) -> impl Iterator<Item = (&'static Column, Value<'_>)> {
        Self::COLUMNS.iter().zip(self.values())
    }
}

/// A struct that is read from the columns of a row.
pub trait FromColumns: Sized {
    /// Reads the columns of the table, in their order, then those of the rows that belong to it.
    ///
    /// # Errors
    ///
    /// The first error of the reader.
    fn from_columns<R: ColumnReader>(row: &mut R) -> Result<Self, R::Error>;
}

/// A row of a result, read from left to right. Its methods have the names of the kinds.
pub trait ColumnReader: Sized {
    type Error;

    fn text(&mut self) -> Result<String, Self::Error>;
    fn int(&mut self) -> Result<i32, Self::Error>;
    fn bigint(&mut self) -> Result<i64, Self::Error>;
    fn timestamp(&mut self) -> Result<Timestamp, Self::Error>;

    fn uid(&mut self) -> Result<String, Self::Error> {
        self.text()
    }

    /// The one row of another table that belongs to this one.
    fn object<O: FromColumns>(&mut self) -> Result<O, Self::Error> {
        O::from_columns(self)
    }

    /// Empty: several rows of another table cannot be part of one row.
    fn objects<O>(&mut self) -> Result<Vec<O>, Self::Error> {
        Ok(Vec::new())
    }
}

/// Describes the fields of one struct, in the order of its JSON. Fields in brackets are objects
/// with tables of their own. A column is named like its field, or as `as` names it. `personal` marks a
/// table of personal data.
macro_rules! table {
    ($object:ident in $table:literal $($personal:ident)? {
        $($field:ident $(as $name:ident)?: $kind:ident,)+
        $([$($part:ident: $part_kind:ident,)+]
        $($later:ident $(as $later_name:ident)?: $later_kind:ident,)+)?
    }) => {
        impl<T: AsRef<str>> TableRow for $object<T> {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [Column] = &[
                $(column!($kind $field $($name)?),)+
                $($(column!($later_kind $later $($later_name)?),)+)?
            ];
            const IS_PERSONAL: bool = is_personal!($($personal)?);

            fn values(&self) -> impl Iterator<Item = Value<'_>> {
                let values = [
                    $(value!($kind self.$field),)+
                    $($(value!($later_kind self.$later),)+)?
                ];
                values.into_iter()
            }
        }

        impl FromColumns for $object<String> {
            fn from_columns<R: ColumnReader>(row: &mut R) -> Result<Self, R::Error> {
                Ok(Self {
                    $($field: row.$kind()?,)+
                    $($($later: row.$later_kind()?,)+
                    $($part: row.$part_kind()?,)+)?
                })
            }
        }

        impl<'d, T: HoldsText<'d>> Diagnose<'d> for $object<T> {
            fn diagnose(json: &mut Object<'_, 'd>) -> Self {
                Self {
                    $($field: json.$kind(stringify!($field)),)+
                    $($($part: json.$part_kind(stringify!($part)),)+
                    $($later: json.$later_kind(stringify!($later)),)+)?
                }
            }
        }

        impl<T: AsRef<str>> Encode for $object<T> {
            fn encode_members(&self, json: &mut Writer) {
                $(member!(json self.$field: $kind);)+
                $($(member!(json self.$part: $part_kind);)+
                $(member!(json self.$later: $later_kind);)+)?
            }
        }
    };
}

#[rustfmt::skip]
macro_rules! is_personal {
    () => { false };
    (personal) => { true };
}

macro_rules! column {
    ($kind:ident $field:ident) => { column!($kind $field $field) };
    ($kind:ident $field:ident $name:ident) => {
        Column {
            field: stringify!($field),
            name: stringify!($name),
            kind: kind!($kind),
        }
    };
}

#[rustfmt::skip]
macro_rules! kind {
    (uid) => { Kind::Uid };
    (text) => { Kind::Text };
    (int) => { Kind::Int };
    (bigint) => { Kind::BigInt };
    (timestamp) => { Kind::Timestamp };
}

#[rustfmt::skip]
macro_rules! value {
    (uid $value:expr) => { Value::Text($value.as_ref()) };
    (text $value:expr) => { Value::Text($value.as_ref()) };
    (int $value:expr) => { Value::Int($value) };
    (bigint $value:expr) => { Value::BigInt($value) };
    (timestamp $value:expr) => { Value::Timestamp($value) };
}

macro_rules! member {
    ($json:ident $self:ident.$field:ident: $kind:ident) => {
        $json.key(concat!(",\"", stringify!($field), "\":"));
        $json.$kind(&$self.$field);
    };
}

table!(OrderOf in "orders" {
    order_uid: uid,
    track_number: text,
    entry: text,
    [
        delivery: object,
        payment: object,
        items: objects,
    ]
    locale: text,
    internal_signature: text,
    customer_id: text,
    delivery_service: text,
    shardkey: text,
    sm_id: int,
    date_created: timestamp,
    oof_shard: text,
});

table!(DeliveryOf in "delivery" personal {
    name: text,
    phone: text,
    zip: text,
    city: text,
    address: text,
    region: text,
    email: text,
});

table!(PaymentOf in "payment" {
    transaction as transaction_id: text,
    request_id: text,
    currency: text,
    provider: text,
    amount: bigint,
    payment_dt: bigint,
    bank: text,
    delivery_cost: bigint,
    goods_total: bigint,
    custom_fee: bigint,
});

table!(ItemOf in "items" {
    chrt_id: bigint,
    track_number: text,
    price: bigint,
    rid: text,
    name: text,
    sale: int,
    size: text,
    total_price: bigint,
    nm_id: bigint,
    brand: text,
    status: int,
});
