//! What an order is: decode, validate, normalise. No I/O.
//!
//! One set of rules serves the API and the consumer, so that what one accepts the other stores:
//! [`Order::decode`] is the only way in for bytes from outside. It is quick where the input is good
//! (`decode`), and where it is not it reads the whole document again leniently to name every fault
//! at once (`lenient`, `faults`). The surprising thing: what an order lacks reads as "" or 0, as
//! go-orders has it; only `order_uid` and `date_created` must be there.

use serde::{Deserialize, Serialize};

mod decode;
mod faults;
mod lenient;
mod timestamp;

pub use faults::{Fault, Refusal, RefusalKind, is_uid};
pub use timestamp::{Timestamp, TimestampError};

/// The longest document that is read as an order. The API takes less (512 KiB), and what it makes of
/// that is never longer than this; a broker takes 1,000,012 bytes unless told otherwise.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// The longest text in one field, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 << 10;

/// The most items of one order.
pub const MAX_ITEMS: usize = 1_000;

/// An order, normalised: what the API accepts, the log carries and the store gives back. Serialises
/// to go-orders' JSON, field for field and in its order.
///
/// `Deserialize` is the quick half of [`Order::decode`]: it refuses more than the rules do (unknown
/// fields, nulls) and checks no values. Bytes go through `decode` or [`Order::decode_stored`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    pub order_uid: String,
    pub track_number: String,
    pub entry: String,
    #[serde(deserialize_with = "decode::object")]
    pub delivery: Delivery,
    #[serde(deserialize_with = "decode::object")]
    pub payment: Payment,
    #[serde(deserialize_with = "decode::items")]
    pub items: Vec<Item>,
    pub locale: String,
    pub internal_signature: String,
    pub customer_id: String,
    pub delivery_service: String,
    pub shardkey: String,
    pub sm_id: i32,
    pub date_created: Timestamp,
    pub oof_shard: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    pub name: String,
    pub phone: String,
    pub zip: String,
    pub city: String,
    pub address: String,
    pub region: String,
    pub email: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payment {
    pub transaction: String,
    pub request_id: String,
    pub currency: String,
    pub provider: String,
    pub amount: i64,
    pub payment_dt: i64,
    pub bank: String,
    pub delivery_cost: i64,
    pub goods_total: i64,
    pub custom_fee: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Item {
    pub chrt_id: i64,
    pub track_number: String,
    pub price: i64,
    pub rid: String,
    pub name: String,
    pub sale: i32,
    pub size: String,
    pub total_price: i64,
    pub nm_id: i64,
    pub brand: String,
    pub status: i32,
}

#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
