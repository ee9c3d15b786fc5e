//! Describes what is wrong with a document, and checks the rules on values.
//!
//! A fault has a JSON pointer (RFC 6901) and the rule that is broken there; it never contains a
//! value, so a refusal is safe to log, to store and to send back. The rules on types are in
//! `diagnose`; those on values are in [`check`], which allocates nothing for a valid order.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Kind, MAX_DOCUMENT_BYTES, MAX_ITEMS, MAX_TEXT_BYTES, OrderOf, TableRow, Timestamp, Value,
};

/// The longest `order_uid`, in bytes.
const MAX_UID_BYTES: usize = 128;
/// The most faults that are listed; the others are counted.
const MAX_FAULTS: usize = 100;
/// The most faults that are listed when a refusal is printed on one line.
const MAX_PRINTED: usize = 20;

/// The pointer of the only required field besides the uid.
const DATE_CREATED: &str = "/date_created";

/// One fault of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// A JSON pointer, "" for the whole document.
    pub pointer: String,
    /// The rule, without a full stop.
    pub message: String,
}

/// The kind of a refusal: the API answers 400 or 422.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Not one JSON document, or a document in which a field occurs twice.
    NotJson,
    /// JSON, but not a valid order.
    Invalid,
}

/// The reasons why a document is refused. Displays as one line that is safe to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub faults: Vec<Fault>,
    /// How many faults there are besides.
    pub more_faults: usize,
    /// The order's uid, if the document has a valid one.
    pub order_uid: Option<String>,
}

impl Refusal {
    /// One fault of the whole document.
    fn of_document(kind: RefusalKind, message: String) -> Refusal {
        let pointer = String::new();
        Refusal {
            kind,
            faults: vec![Fault { pointer, message }],
            more_faults: 0,
            order_uid: None,
        }
    }

    pub(super) fn not_json(message: impl Into<String>) -> Refusal {
        Refusal::of_document(RefusalKind::NotJson, message.into())
    }

    pub(super) fn too_long(order_uid: Option<String>) -> Refusal {
        let message = format!("must be at most {MAX_DOCUMENT_BYTES} bytes");
        Refusal {
            order_uid: order_uid.filter(|uid| is_uid(uid)),
            ..Refusal::of_document(RefusalKind::Invalid, message)
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RefusalKind::NotJson => "not one JSON document: ",
            RefusalKind::Invalid => "not a valid order: ",
        })?;
        for (index, fault) in self.faults.iter().take(MAX_PRINTED).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        match self.faults.len().saturating_sub(MAX_PRINTED) + self.more_faults {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => write!(f, "the document {}", self.message),
            pointer => write!(f, "{pointer} {}", self.message),
        }
    }
}

/// Whether an order with this uid is accepted: `[A-Za-z0-9._:-]{1,128}`, but not `.` or `..`. Rows
/// that other programs wrote may have other uids.
pub fn is_uid(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let has_only_allowed = text.bytes().all(is_allowed);
    (1..=MAX_UID_BYTES).contains(&text.len()) && has_only_allowed && !is_dot_segment(text)
}

/// Clients remove these from a path before they send it, escaped or not: an order of that uid could
/// never be requested, and the `Location` of its POST would be another path.
fn is_dot_segment(text: &str) -> bool {
    matches!(text, "." | "..")
}

/// The faults found so far, the first [`MAX_FAULTS`] in full: a document with a thousand items may have
/// as many faults in each of their fields.
#[derive(Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
    more: usize,
    /// `/date_created` has a fault, listed or not.
    has_date_fault: bool,
    /// A field occurs twice: which one was meant cannot be known, so the document is refused whole.
    ambiguous: bool,
}

impl Faults {
    pub(super) fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        let pointer = pointer.into();
        self.has_date_fault |= pointer == DATE_CREATED;
        if self.list.len() == MAX_FAULTS {
            self.more += 1;
            return;
        }
        self.list.push(Fault {
            pointer,
            message: message.into(),
        });
    }

    pub(super) fn add_duplicate(&mut self, pointer: String) {
        self.ambiguous = true;
        self.add(pointer, "must not be given twice");
    }

    fn has(&self, pointer: &str) -> bool {
        self.list.iter().any(|fault| fault.pointer == pointer)
    }

    /// The order if there are no faults, otherwise the refusal.
    pub(super) fn into_result<T: AsRef<str>>(
        self,
        order: OrderOf<T>,
    ) -> Result<OrderOf<T>, Refusal> {
        if self.list.is_empty() {
            return Ok(order);
        }
        let kind = if self.ambiguous {
            RefusalKind::NotJson
        } else {
            RefusalKind::Invalid
        };
        let order_uid = Some(order.order_uid.as_ref()).filter(|uid| !self.ambiguous && is_uid(uid));
        Err(Refusal {
            kind,
            faults: self.list,
            more_faults: self.more,
            order_uid: order_uid.map(str::to_owned),
        })
    }
}

/// Adds the faults of values whose types are right. A field that already has a fault gets no second
/// one.
pub(super) fn check<T: AsRef<str>>(order: &OrderOf<T>, faults: &mut Faults) {
    // A document that is not an object has no fields.
    if faults.has("") {
        return;
    }
    let uid = order.order_uid.as_ref();
    if !is_uid(uid) && !faults.has("/order_uid") {
        faults.add("/order_uid", uid_message(uid));
    }
    if order.date_created == Timestamp(None) && !faults.has_date_fault {
        faults.add(DATE_CREATED, "is required");
    }
    check_texts(order, "", faults);
    check_texts(&order.delivery, "/delivery", faults);
    check_texts(&order.payment, "/payment", faults);
    for (index, item) in order.items.iter().enumerate() {
        check_texts(item, format_args!("/items/{index}"), faults);
    }
}

fn uid_message(uid: &str) -> String {
    if uid.is_empty() {
        return "is required".into();
    }
    if is_dot_segment(uid) {
        return "must not be . or .., which no path can hold".into();
    }
    format!("must be 1 to {MAX_UID_BYTES} of the characters A-Z a-z 0-9 . _ : -")
}

/// Checks the texts of the object at `pointer`.
fn check_texts(row: &impl TableRow, pointer: impl fmt::Display, faults: &mut Faults) {
    for (column, value) in row.columns() {
        if column.kind == Kind::Text
            && let Value::Text(text) = value
            && let Some(message) = text_fault(text)
        {
            faults.add(format!("{pointer}/{}", column.field), message);
        }
    }
}

fn text_fault(text: &str) -> Option<String> {
    if text.len() > MAX_TEXT_BYTES {
        return Some(format!("must be at most {MAX_TEXT_BYTES} bytes of UTF-8"));
    }
    // PostgreSQL has no way to store it (22021).
    text.as_bytes()
        .contains(&0)
        .then(|| "must not contain the character U+0000".to_owned())
}

/// The rule on the number of items.
pub(super) fn items_message() -> String {
    format!("must hold at most {MAX_ITEMS} items")
}
