//! The order: its fields, and how it is decoded, validated, normalised and encoded. No I/O.
//!
//! One set of rules serves the API and the consumer, so that what one accepts the other stores:
//! [`Order::decode`] decodes all bytes from outside. A missing field reads as "" or 0, as in
//! go-orders; only `order_uid` and `date_created` are required. [`columns`] describes every field
//! once, for JSON and for the store.

use serde::{Deserialize, Serialize};

mod columns;
mod decode;
mod diagnose;
mod encode;
mod faults;
mod shown;
mod text;
mod timestamp;

pub use columns::{Column, ColumnReader, FromColumns, Kind, TableRow, Value};
pub use faults::{Fault, Refusal, RefusalKind, is_uid};
pub use shown::{Document, Line};
pub use text::{HoldsText, Text};
pub use timestamp::{Timestamp, TimestampError};

/// The longest document that is read as an order. The API accepts less (512 KiB), and what it
/// encodes from that is never longer than this; a broker accepts 1,000,012 bytes by default.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// The longest text in one field, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 << 10;

/// The most items of one order.
pub const MAX_ITEMS: usize = 1_000;

/// An order that owns its texts, to be kept or stored.
pub type Order = OrderOf<String>;

/// An order that borrows its texts from the document it was read from.
pub type BorrowedOrder<'d> = OrderOf<Text<'d>>;

pub type Delivery = DeliveryOf<String>;
pub type Payment = PaymentOf<String>;
pub type Item = ItemOf<String>;

/// An order, normalised, with texts of type `T`. [`Order::encode`] writes go-orders' JSON, field
/// for field and in its order; so does `Serialize`, for documents that contain an order.
/// `Deserialize` is a part of [`Order::decode`]: it refuses more than the rules do (unknown fields,
/// nulls) and checks no values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound(deserialize = "T: HoldsText<'de>"))]
pub struct OrderOf<T> {
    pub order_uid: T,
    pub track_number: T,
    pub entry: T,
    #[serde(deserialize_with = "decode::object")]
    pub delivery: DeliveryOf<T>,
    #[serde(deserialize_with = "decode::object")]
    pub payment: PaymentOf<T>,
    #[serde(deserialize_with = "decode::objects")]
    pub items: Vec<ItemOf<T>>,
    pub locale: T,
    pub internal_signature: T,
    pub customer_id: T,
    pub delivery_service: T,
    pub shardkey: T,
    pub sm_id: i32,
    pub date_created: Timestamp,
    pub oof_shard: T,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound(deserialize = "T: HoldsText<'de>"))]
pub struct DeliveryOf<T> {
    pub name: T,
    pub phone: T,
    pub zip: T,
    pub city: T,
    pub address: T,
    pub region: T,
    pub email: T,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound(deserialize = "T: HoldsText<'de>"))]
pub struct PaymentOf<T> {
    pub transaction: T,
    pub request_id: T,
    pub currency: T,
    pub provider: T,
    pub amount: i64,
    pub payment_dt: i64,
    pub bank: T,
    pub delivery_cost: i64,
    pub goods_total: i64,
    pub custom_fee: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound(deserialize = "T: HoldsText<'de>"))]
pub struct ItemOf<T> {
    pub chrt_id: i64,
    pub track_number: T,
    pub price: i64,
    pub rid: T,
    pub name: T,
    pub sale: i32,
    pub size: T,
    pub total_price: i64,
    pub nm_id: i64,
    pub brand: T,
    pub status: i32,
}

#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
