//! Orders for tests, as JSON in the form that the API writes, distinguished by uid and version.

use serde_json::{Value, json};

/// A complete order with two items.
pub fn order(uid: &str) -> Value {
    order_version(uid, 1)
}

/// The n-th version of an order. Every part contains the version, and the number of items depends on
/// it, so that a mixture of two versions is noticed.
pub fn order_version(uid: &str, version: u32) -> Value {
    let items: Vec<Value> = (0..items_of(version))
        .map(|number| item(uid, version, number))
        .collect();
    json!({
        "order_uid": uid,
        "track_number": track_number(version),
        "entry": "WBIL",
        "delivery": {
            "name": format!("Test Testov {version}"),
            "phone": "+9720000000",
            "zip": "2639809",
            "city": "Kiryat Mozkin",
            "address": "Ploshad Mira 15",
            "region": "Kraiot",
            "email": "test@gmail.com"
        },
        "payment": {
            "transaction": uid,
            "request_id": "",
            "currency": "USD",
            "provider": "wbpay",
            "amount": version,
            "payment_dt": 1637907727,
            "bank": "alpha",
            "delivery_cost": 1500,
            "goods_total": 317,
            "custom_fee": 0
        },
        "items": items,
        "locale": "en",
        "internal_signature": "",
        "customer_id": "test",
        "delivery_service": "meest",
        "shardkey": "9",
        "sm_id": 99,
        "date_created": "2021-11-26T06:22:19Z",
        "oof_shard": "1"
    })
}

/// The track number of that version.
pub fn track_number(version: u32) -> String {
    format!("TRACK-{version}")
}

/// The number of items of that version: 1 to 3.
pub fn items_of(version: u32) -> u32 {
    1 + version % 3
}

fn item(uid: &str, version: u32, number: u32) -> Value {
    json!({
        "chrt_id": 9934930 + i64::from(number),
        "track_number": track_number(version),
        "price": 453,
        "rid": format!("{uid}-{version}-{number}"),
        "name": "Mascaras",
        "sale": 30,
        "size": "0",
        "total_price": 317,
        "nm_id": 2389212,
        "brand": "Vivienne Sabo",
        "status": 202
    })
}
