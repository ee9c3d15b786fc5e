//! Unusual but valid documents: 202 at the API, stored from the topic, and returned in one form.

use serde_json::{Value, json};

use super::{MARK, Table, Verdict, document, zero, zero_item};

pub fn fill(table: &mut Table) {
    add(table, "the smallest order", "", &[]);
    add_unknown_fields(table);
    add_nulls(table);
    add_numbers(table);
    add_texts(table);
    add_dates(table);
    add_uids(table);
    add(table, "no items", r#""items":[]"#, &[("/items", json!([]))]);
    let thousand = vec!["{}"; 1_000].join(",");
    let items = Value::Array(vec![zero_item(); 1_000]);
    add(
        table,
        "1000 items",
        &format!(r#""items":[{thousand}]"#),
        &[("/items", items)],
    );
    table.add(
        "white space around everything",
        expected(table.next(), &[]),
        |uid| {
            let spaced = document(uid, "")
                .replace(',', " ,\r\n\t")
                .replace("\":", "\" : ");
            format!("\n {spaced}\r\n").into()
        },
    );
}

impl Table {
    /// The uid of the case that is added next.
    fn next(&self) -> String {
        format!("{}-{}", self.prefix, self.cases.len())
    }
}

/// An order whose fields at these pointers have these values; all others are empty.
fn expected(uid: String, changes: &[(&str, Value)]) -> Verdict {
    let mut order = zero(&uid);
    for (pointer, value) in changes {
        *order.pointer_mut(pointer).expect("an order has this field") = value.clone();
    }
    Verdict::Accepted(Box::new(order))
}

fn add(table: &mut Table, name: &str, members: &str, changes: &[(&str, Value)]) {
    let verdict = expected(table.next(), changes);
    table.add(name, verdict, |uid| document(uid, members).into());
}

fn add_unknown_fields(table: &mut Table) {
    for (name, members) in [
        (
            "an unknown field",
            r#""unknown":{"a":[1,{"b":null}],"c":1e300}"#,
        ),
        ("an unknown field twice", r#""unknown":1,"unknown":2"#),
        ("a NUL in an unknown field", r#""unknown":"\u0000""#),
        (
            "a known field in capitals",
            r#""Entry":"x","PAYMENT":{"amount":1}"#,
        ),
        (
            "unknown fields inside",
            r#""delivery":{"x":1},"payment":{"y":[]}"#,
        ),
        (
            "a second uid under another name",
            r#""ORDER_UID":"another""#,
        ),
    ] {
        add(table, name, members, &[]);
    }
}

fn add_nulls(table: &mut Table) {
    for (name, members) in [
        (
            "null texts",
            r#""entry":null,"delivery":{"name":null},"payment":{"bank":null}"#,
        ),
        ("null numbers", r#""sm_id":null,"payment":{"amount":null}"#),
        ("null parts", r#""delivery":null,"payment":null"#),
        ("null items", r#""items":null"#),
        ("empty parts", r#""delivery":{},"payment":{}"#),
    ] {
        add(table, name, members, &[]);
    }
    for (name, members) in [
        ("an item that is null", r#""items":[null]"#),
        ("an item without members", r#""items":[{}]"#),
        (
            "an item of nulls",
            r#""items":[{"price":null,"name":null,"sale":null}]"#,
        ),
    ] {
        add(table, name, members, &[("/items", json!([zero_item()]))]);
    }
}

fn add_numbers(table: &mut Table) {
    add(
        table,
        "minus zero",
        r#""sm_id":-0,"payment":{"amount":-0}"#,
        &[],
    );
    add(
        table,
        "negative money",
        r#""payment":{"amount":-5,"goods_total":-317}"#,
        &[
            ("/payment/amount", json!(-5)),
            ("/payment/goods_total", json!(-317)),
        ],
    );
    add(
        table,
        "the ends of 64 bits",
        r#""payment":{"amount":9223372036854775807,"custom_fee":-9223372036854775808}"#,
        &[
            ("/payment/amount", json!(i64::MAX)),
            ("/payment/custom_fee", json!(i64::MIN)),
        ],
    );
    add(
        table,
        "the upper end of 32 bits",
        r#""sm_id":2147483647"#,
        &[("/sm_id", json!(i32::MAX))],
    );
    add(
        table,
        "the lower end of 32 bits",
        r#""sm_id":-2147483648"#,
        &[("/sm_id", json!(i32::MIN))],
    );
    for (name, time) in [
        ("a time of payment in milliseconds", 1_637_907_727_000_i64),
        ("a time of payment before 1970", -1),
    ] {
        let members = format!(r#""payment":{{"payment_dt":{time}}}"#);
        add(
            table,
            name,
            &members,
            &[("/payment/payment_dt", json!(time))],
        );
    }
}

fn add_texts(table: &mut Table) {
    for (name, written, text) in [
        (
            "a text of several Unicode planes",
            "\u{7}\u{1F600}\u{10FFFF}".replace('\u{7}', r"\u0007"),
            "\u{7}\u{1F600}\u{10FFFF}",
        ),
        (
            "escapes of every kind",
            r#"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"#.into(),
            "\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1F600}",
        ),
        (
            "markup and line separators",
            "</script>&\u{2028}\u{2029}".into(),
            "</script>&\u{2028}\u{2029}",
        ),
        (
            "noncharacters",
            "\u{fffe}\u{ffff}\u{fdd0}".into(),
            "\u{fffe}\u{ffff}\u{fdd0}",
        ),
        (
            "a text with SQL in it",
            r"'; DROP TABLE orders; -- \\N".into(),
            r"'; DROP TABLE orders; -- \N",
        ),
        ("blanks at both ends", "  a  ".into(), "  a  "),
        (
            "an accent in two ways",
            "\u{e9}e\u{301}".into(),
            "\u{e9}e\u{301}",
        ),
    ] {
        let members = format!(r#""entry":"{written}","items":[{{"name":"{written}"}}]"#);
        let mut item = zero_item();
        item["name"] = text.into();
        add(
            table,
            name,
            &members,
            &[("/entry", text.into()), ("/items", json!([item]))],
        );
    }
    let long = "x".repeat(4_096);
    add(
        table,
        "a text of 4 KiB",
        &format!(r#""entry":"{long}""#),
        &[("/entry", long.into())],
    );
}

fn add_dates(table: &mut Table) {
    for (name, written, canonical) in [
        (
            "a date in another zone",
            "2021-11-26T06:22:19+03:00",
            "2021-11-26T03:22:19Z",
        ),
        (
            "a date in a zone that is behind",
            "2021-12-31T23:30:00-01:45",
            "2022-01-01T01:15:00Z",
        ),
        (
            "a date with nanoseconds",
            "2021-11-26T06:22:19.123456789Z",
            "2021-11-26T06:22:19.123456Z",
        ),
        (
            "a date with less than a microsecond",
            "2021-11-26T06:22:19.0000009Z",
            "2021-11-26T06:22:19Z",
        ),
        (
            "a date with tenths",
            "2021-11-26T06:22:19.500Z",
            "2021-11-26T06:22:19.5Z",
        ),
        (
            "a date in small letters",
            "2021-11-26t06:22:19z",
            "2021-11-26T06:22:19Z",
        ),
        ("a leap day", "2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
        (
            "the first valid date",
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
        ),
        (
            "the last valid date",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59.999999Z",
        ),
        (
            "a microsecond before 1970",
            "1969-12-31T23:59:59.9999999Z",
            "1969-12-31T23:59:59.999999Z",
        ),
    ] {
        let verdict = expected(table.next(), &[("/date_created", canonical.into())]);
        table.add(name, verdict, |uid| {
            format!(r#"{{"locale":"{MARK}","order_uid":"{uid}","date_created":"{written}"}}"#)
                .into()
        });
    }
}

/// Uids that are valid, each of them another order than all the others.
fn add_uids(table: &mut Table) {
    let prefix = table.prefix;
    let filled = format!("{prefix}-{}", "a".repeat(127 - prefix.len()));
    for (name, uid) in [
        ("a uid in small letters", format!("{prefix}-case")),
        ("the same uid in capitals", format!("{prefix}-CASE")),
        ("a uid of 128 bytes", filled),
        ("a uid with every other character", format!("{prefix}._:-")),
        ("a uid of three dots and more", format!("...{prefix}")),
    ] {
        let verdict = expected(uid.clone(), &[]);
        table.add(name, verdict, |_| document(&uid, "").into());
        table.cases.last_mut().expect("it was just added").uid = uid;
    }
}
