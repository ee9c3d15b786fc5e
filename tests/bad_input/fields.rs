//! The fields of an order by kind, known without the program.

pub const ORDER_TEXTS: [&str; 8] = [
    "track_number",
    "entry",
    "locale",
    "internal_signature",
    "customer_id",
    "delivery_service",
    "shardkey",
    "oof_shard",
];
pub const DELIVERY: [&str; 7] = ["name", "phone", "zip", "city", "address", "region", "email"];
pub const PAYMENT_TEXTS: [&str; 5] = ["transaction", "request_id", "currency", "provider", "bank"];
pub const PAYMENT_NUMBERS: [&str; 5] = [
    "amount",
    "payment_dt",
    "delivery_cost",
    "goods_total",
    "custom_fee",
];
pub const ITEM_TEXTS: [&str; 5] = ["track_number", "rid", "name", "size", "brand"];
pub const ITEM_NUMBERS: [&str; 4] = ["chrt_id", "price", "total_price", "nm_id"];
pub const ITEM_SMALL_NUMBERS: [&str; 2] = ["sale", "status"];
