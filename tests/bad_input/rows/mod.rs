//! Unusual and invalid orders as data: a description, the bytes, and the expected result.
//!
//! API and consumer apply the same rules, so one table serves the tests of both: `not_json` has what is
//! not one JSON document, `invalid` what is JSON and not an order, `accepted` what is only unusual. Every
//! document contains [`MARK`], which must not appear in any log or refusal.

mod accepted;
mod invalid;
mod not_json;

use serde_json::{Value, json};

/// A text of every document, in place of a customer's data.
pub const MARK: &str = "for-no-log";

/// What must become of a document.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// 400 at the API; a dead letter without a uid.
    NotJson,
    /// 422 at the API, with faults in exactly this place; a dead letter.
    Invalid { pointer: String },
    /// 202 at the API; stored, and returned like this.
    Accepted(Box<Value>),
}

/// One document.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// The uid that the document has, unless its uid is what is wrong with it.
    pub uid: String,
    pub bytes: Vec<u8>,
    pub verdict: Verdict,
}

impl Case {
    pub fn is_accepted(&self) -> bool {
        matches!(self.verdict, Verdict::Accepted(_))
    }

    /// The uid under which a dead letter of it can be found.
    pub fn readable_uid(&self) -> Option<&str> {
        let Verdict::Invalid { pointer } = &self.verdict else {
            return None;
        };
        let is_readable = !pointer.is_empty() && pointer != "/order_uid";
        is_readable.then_some(self.uid.as_str())
    }
}

/// All documents; each has a uid of its own, which begins with `prefix`.
pub fn cases(prefix: &'static str) -> Vec<Case> {
    let mut table = Table {
        prefix,
        cases: Vec::new(),
    };
    not_json::fill(&mut table);
    invalid::fill(&mut table);
    accepted::fill(&mut table);
    table.cases
}

struct Table {
    prefix: &'static str,
    cases: Vec<Case>,
}

impl Table {
    /// Adds a case; `bytes` creates its document for a uid.
    fn add(
        &mut self,
        name: impl Into<String>,
        verdict: Verdict,
        bytes: impl FnOnce(&str) -> Vec<u8>,
    ) {
        let uid = format!("{}-{}", self.prefix, self.cases.len());
        self.cases.push(Case {
            name: name.into(),
            bytes: bytes(&uid),
            uid,
            verdict,
        });
    }
}

/// The smallest accepted document with more members in front.
fn document(uid: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    let mark = if members.contains("\"locale\"") {
        String::new()
    } else {
        format!(r#""locale":"{MARK}","#)
    };
    format!(
        r#"{{{members}{comma}{mark}"order_uid":"{uid}","date_created":"2021-11-26T06:22:19Z"}}"#
    )
}

/// The order that [`document`] without members becomes.
fn zero(uid: &str) -> Value {
    json!({
        "order_uid": uid, "track_number": "", "entry": "",
        "delivery": {
            "name": "", "phone": "", "zip": "", "city": "", "address": "", "region": "", "email": ""
        },
        "payment": {
            "transaction": "", "request_id": "", "currency": "", "provider": "", "amount": 0,
            "payment_dt": 0, "bank": "", "delivery_cost": 0, "goods_total": 0, "custom_fee": 0
        },
        "items": [],
        "locale": MARK, "internal_signature": "", "customer_id": "", "delivery_service": "",
        "shardkey": "", "sm_id": 0, "date_created": "2021-11-26T06:22:19Z", "oof_shard": ""
    })
}

/// The item that one without members becomes.
fn zero_item() -> Value {
    json!({
        "chrt_id": 0, "track_number": "", "price": 0, "rid": "", "name": "", "sale": 0, "size": "",
        "total_price": 0, "nm_id": 0, "brand": "", "status": 0
    })
}
