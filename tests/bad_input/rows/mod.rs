//! Unusual and invalid orders as data: a description, the bytes, and the expected result.
//!
//! API and consumer apply the same rules, so one table serves the tests of both: `not_json` has what is
//! not one JSON document, `invalid` what is JSON and not an order, `accepted` what is only unusual. Every
//! document contains [`MARK`], which must not appear in any log or refusal.

mod accepted;
mod invalid;
mod not_json;

use serde_json::Value;

use super::fields::{
    DELIVERY, ITEM_NUMBERS, ITEM_SMALL_NUMBERS, ITEM_TEXTS, ORDER_TEXTS, PAYMENT_NUMBERS,
    PAYMENT_TEXTS,
};

/// A text of every document, in place of a customer's data.
pub const MARK: &str = "for-no-log";

/// The expected result of a document.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// 400 at the API; a dead letter without a uid.
    NotJson,
    /// 422 at the API, with this pointer alone; a dead letter.
    Invalid { pointer: String },
    /// 202 at the API; stored, and returned as this order.
    Accepted(Box<Value>),
}

/// One document.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// The uid of the document, unless the fault is in its uid.
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
    let mut order = empty(&ORDER_TEXTS, &["sm_id"]);
    order["order_uid"] = uid.into();
    order["locale"] = MARK.into();
    order["date_created"] = "2021-11-26T06:22:19Z".into();
    order["delivery"] = empty(&DELIVERY, &[]);
    order["payment"] = empty(&PAYMENT_TEXTS, &PAYMENT_NUMBERS);
    order["items"] = Value::Array(Vec::new());
    order
}

/// The item that one without members becomes.
fn zero_item() -> Value {
    let numbers = [&ITEM_NUMBERS[..], &ITEM_SMALL_NUMBERS].concat();
    empty(&ITEM_TEXTS, &numbers)
}

/// An object whose texts are empty and whose numbers are 0.
fn empty(texts: &[&str], numbers: &[&str]) -> Value {
    let texts = texts.iter().map(|name| (name.to_string(), Value::from("")));
    let numbers = numbers
        .iter()
        .map(|name| (name.to_string(), Value::from(0)));
    texts.chain(numbers).collect()
}
