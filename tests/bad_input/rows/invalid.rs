//! JSON that is not an order: 422 at the API with a pointer to the fault, a dead letter from the topic.

use super::super::fields::{DELIVERY, ITEM_TEXTS, ORDER_TEXTS, PAYMENT_TEXTS};
use super::{MARK, Table, Verdict, document};

/// Members with one fault each, and its pointer.
const MEMBERS: &[(&str, &str, &str)] = &[
    (
        "a text for a number",
        r#""payment":{"amount":"12"}"#,
        "/payment/amount",
    ),
    ("a text for a small number", r#""sm_id":"12""#, "/sm_id"),
    ("true for a number", r#""sm_id":true"#, "/sm_id"),
    (
        "an array for a number",
        r#""items":[{"price":[1]}]"#,
        "/items/0/price",
    ),
    ("a number for a text", r#""entry":12"#, "/entry"),
    ("true for a text", r#""entry":true"#, "/entry"),
    (
        "an object for a text",
        r#""delivery":{"name":{}}"#,
        "/delivery/name",
    ),
    ("a text for the delivery", r#""delivery":"x""#, "/delivery"),
    (
        "an array for the delivery",
        r#""delivery":["n","p","z"]"#,
        "/delivery",
    ),
    (
        "an array for the payment",
        r#""payment":["t","r","USD"]"#,
        "/payment",
    ),
    ("false for the payment", r#""payment":false"#, "/payment"),
    ("an object for the items", r#""items":{}"#, "/items"),
    ("an array for an item", r#""items":[{},[]]"#, "/items/1"),
    ("a number for an item", r#""items":[7]"#, "/items/0"),
    (
        "one more than 64 bits hold",
        r#""payment":{"amount":9223372036854775808}"#,
        "/payment/amount",
    ),
    (
        "one less than 64 bits hold",
        r#""payment":{"amount":-9223372036854775809}"#,
        "/payment/amount",
    ),
    (
        "more than 64 bits without a sign hold",
        r#""items":[{"price":18446744073709551616}]"#,
        "/items/0/price",
    ),
    (
        "one more than 32 bits hold",
        r#""sm_id":2147483648"#,
        "/sm_id",
    ),
    (
        "one less than 32 bits hold",
        r#""sm_id":-2147483649"#,
        "/sm_id",
    ),
    (
        "a sale beyond 32 bits",
        r#""items":[{"sale":2147483648}]"#,
        "/items/0/sale",
    ),
    (
        "a status beyond 32 bits",
        r#""items":[{},{"status":-2147483649}]"#,
        "/items/1/status",
    ),
    ("a whole number with a point", r#""sm_id":1.0"#, "/sm_id"),
    (
        "a whole number with an exponent",
        r#""payment":{"amount":1e3}"#,
        "/payment/amount",
    ),
    (
        "half a unit",
        r#""items":[{"price":1.5}]"#,
        "/items/0/price",
    ),
    ("a number that is nearly 0", r#""sm_id":1e-400"#, "/sm_id"),
];

/// The text fields of an order, by the object that has them.
const TEXTS: [(&str, &[&str]); 4] = [
    ("", &ORDER_TEXTS),
    ("delivery", &DELIVERY),
    ("payment", &PAYMENT_TEXTS),
    ("items/0", &ITEM_TEXTS),
];

/// The inside of a uid's quotes.
const UIDS: &[(&str, &str)] = &[
    ("an empty uid", ""),
    ("a blank uid", " "),
    ("a uid with a blank after it", "a "),
    ("a uid with a blank before it", " a"),
    ("a uid with a slash", "a/b"),
    ("a uid of one dot", "."),
    ("a uid of two dots", ".."),
    ("a uid that is a relative path", "../../etc/passwd"),
    ("a uid with a percent sign", "a%2fb"),
    ("a uid with a question mark", "a?b"),
    ("a uid with a hash", "a#b"),
    ("a uid with a backslash", r"a\\b"),
    ("a uid with line ends", r"a\r\nLocation: http://else"),
    ("a uid with an escape sequence", r"\u001b[31mred"),
    ("a uid with a NUL", r"a\u0000b"),
    ("a uid with markup", "<script>alert(1)</script>"),
    ("a uid with a quote", r#"a\"b"#),
    ("a uid with a semicolon", "a;DROP TABLE orders"),
    ("a uid with an accent", "caf\u{e9}"),
    ("a uid with an accent of its own", "cafe\u{301}"),
    ("a uid with a space of no width", "a\u{200b}b"),
    ("a uid that runs backwards", "a\u{202e}b"),
    ("a uid in Cyrillic", "\u{437}\u{430}\u{43a}\u{430}\u{437}"),
];

/// Invalid dates of an order.
const DATES: &[(&str, &str)] = &[
    ("an empty date", r#""""#),
    ("a date that is null", "null"),
    ("a date that is a number", "1637907739"),
    ("infinity as the date", r#""infinity""#),
    ("now as the date", r#""now""#),
    ("epoch as the date", r#""epoch""#),
    ("a date without a zone", r#""2021-11-26T06:22:19""#),
    ("a day alone", r#""2021-11-26""#),
    ("a date with a blank for its T", r#""2021-11-26 06:22:19Z""#),
    ("a zone without a colon", r#""2021-11-26T06:22:19+0300""#),
    (
        "a zone by its name",
        r#""2021-11-26T06:22:19[Europe/Paris]""#,
    ),
    ("a week date", r#""2021-W47-5T06:22:19Z""#),
    ("the 30th of February", r#""2021-02-30T00:00:00Z""#),
    (
        "the 29th of February in a common year",
        r#""2023-02-29T00:00:00Z""#,
    ),
    ("hour 24", r#""2021-11-26T24:00:00Z""#),
    ("second 60", r#""2016-12-31T23:59:60Z""#),
    ("the year 0", r#""0000-01-01T00:00:00Z""#),
    ("the year 10000", r#""10000-01-01T00:00:00Z""#),
    ("a negative year", r#""-0044-03-15T12:00:00Z""#),
    ("a year that is 0 in UTC", r#""0001-01-01T00:00:00+00:01""#),
    (
        "a year that is 10000 in UTC",
        r#""9999-12-31T23:59:59-00:01""#,
    ),
    (
        "digits that are not ASCII",
        "\"\u{662}\u{660}\u{662}\u{661}-11-26T06:22:19Z\"",
    ),
];

pub fn fill(table: &mut Table) {
    for (name, members, pointer) in MEMBERS {
        table.add(*name, at(*pointer), |uid| document(uid, members).into());
    }
    for (object, fields) in TEXTS {
        for field in fields {
            add_nul(table, object, field);
        }
    }
    for (name, text) in [
        ("an array", format!(r#"["{MARK}"]"#)),
        (
            "an order in an array",
            format!("[{}]", document("inside", "")),
        ),
        ("a text", format!("\"{MARK}\"")),
        ("null", "null".into()),
        ("a number", "7".into()),
        ("true", "true".into()),
    ] {
        let name = format!("{name} for the whole document");
        table.add(name, at(""), |_| text.into());
    }
    add_uids(table);
    for (name, date) in DATES {
        table.add(*name, at("/date_created"), |uid| {
            with_date(uid, date).into()
        });
    }
    table.add("no date", at("/date_created"), |uid| {
        format!(r#"{{"locale":"{MARK}","order_uid":"{uid}"}}"#).into()
    });
    add_large(table);
}

fn at(pointer: impl Into<String>) -> Verdict {
    Verdict::Invalid {
        pointer: pointer.into(),
    }
}

fn add_nul(table: &mut Table, object: &str, field: &str) {
    let text = format!(r#""{field}":"{MARK}\u0000""#);
    let (member, pointer) = match object {
        "" => (text, format!("/{field}")),
        "items/0" => (
            format!(r#""items":[{{{text}}}]"#),
            format!("/items/0/{field}"),
        ),
        object => (
            format!(r#""{object}":{{{text}}}"#),
            format!("/{object}/{field}"),
        ),
    };
    table.add(format!("a NUL in {pointer}"), at(pointer), |uid| {
        document(uid, &member).into()
    });
}

fn add_uids(table: &mut Table) {
    for (name, uid) in UIDS {
        table.add(*name, at("/order_uid"), |_| document(uid, "").into());
    }
    for length in [129, 3_000] {
        let name = format!("a uid of {length} bytes");
        table.add(name, at("/order_uid"), |_| {
            document(&"a".repeat(length), "").into()
        });
    }
    for (name, member) in [
        ("no uid", ""),
        ("a uid that is null", r#""order_uid":null,"#),
        ("a uid that is a number", r#""order_uid":7,"#),
        ("the uid's key in capitals", r#""ORDER_UID":"a","#),
        ("the uid's key in camel case", r#""orderUid":"a","#),
    ] {
        table.add(name, at("/order_uid"), |_| {
            format!(r#"{{{member}"locale":"{MARK}","date_created":"2021-11-26T06:22:19Z"}}"#).into()
        });
    }
}

fn add_large(table: &mut Table) {
    let items = "{},".repeat(1_000);
    table.add("1001 items", at("/items"), |uid| {
        document(uid, &format!(r#""items":[{items}{{}}]"#)).into()
    });
    for (name, length) in [
        ("a text of one byte too many", 4_097),
        ("a text of 400 kB", 400_000),
    ] {
        table.add(name, at("/entry"), |uid| {
            document(uid, &format!(r#""entry":"{}""#, "x".repeat(length))).into()
        });
    }
    table.add(
        "a text that is too long in UTF-8 alone",
        at("/items/0/brand"),
        |uid| {
            let long = "\u{10348}".repeat(1_025);
            document(uid, &format!(r#""items":[{{"brand":"{long}"}}]"#)).into()
        },
    );
}

fn with_date(uid: &str, date: &str) -> String {
    format!(r#"{{"locale":"{MARK}","order_uid":"{uid}","date_created":{date}}}"#)
}
