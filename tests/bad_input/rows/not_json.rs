//! Bytes that are not one JSON document: 400 at the API, a dead letter without a uid from the topic.

use super::{Table, Verdict, document};

/// Members that make their document malformed.
const MEMBERS: &[(&str, &str)] = &[
    ("a lone surrogate", r#""entry":"\ud800""#),
    (
        "a lone surrogate in an unknown field",
        r#""unknown":"\udfff""#,
    ),
    ("surrogates in the wrong order", r#""entry":"\udc00\ud800""#),
    ("a field twice", r#""entry":"a","entry":"b""#),
    (
        "a field twice, the same both times",
        r#""entry":"a","entry":"a""#,
    ),
    (
        "a field first null and then given",
        r#""entry":null,"entry":"a""#,
    ),
    ("a second uid", r#""order_uid":"another""#),
    (
        "a field of the delivery twice",
        r#""delivery":{"zip":"1","zip":"2"}"#,
    ),
    (
        "a field of the payment twice",
        r#""payment":{"amount":1,"amount":2}"#,
    ),
    (
        "a field of an item twice",
        r#""items":[{},{"sale":1,"sale":2}]"#,
    ),
    ("items twice", r#""items":[],"items":[{}]"#),
    ("a number beyond a double", r#""sm_id":1e400"#),
    (
        "a number beyond a double in an unknown field",
        r#""unknown":-1e400"#,
    ),
    ("not a number", r#""sm_id":NaN"#),
    ("infinity", r#""sm_id":Infinity"#),
    ("minus infinity", r#""payment":{"amount":-Infinity}"#),
    ("a hexadecimal number", r#""sm_id":0x10"#),
    ("a plus sign", r#""sm_id":+1"#),
    ("a leading zero", r#""sm_id":01"#),
    ("a number that begins with its point", r#""sm_id":.5"#),
    ("a number that ends with its point", r#""sm_id":1."#),
    ("a lone minus", r#""sm_id":-"#),
    ("a comma too many", r#""sm_id":1,"#),
    ("a comma missing", r#""entry":"a" "sm_id":1"#),
    ("a raw line feed in a text", "\"entry\":\"a\nb\""),
    (
        "a raw escape character in a text",
        "\"entry\":\"\u{1b}[31m\"",
    ),
    ("an escape that JSON does not have", r#""entry":"\x41""#),
    ("half an escape", r#""entry":"\u00""#),
    ("single quotes", "'entry':'a'"),
    ("a key without quotes", r#"entry:"a""#),
    ("a comment", r#"/* why */ "entry":"a""#),
    ("Python's words", r#""unknown":True"#),
];

/// Bytes inside the quotes of a text or a key that are no UTF-8.
const NOT_UTF_8: &[(&str, &[u8])] = &[
    ("a stray byte", b"\xff"),
    ("half a character", b"\xc3"),
    ("a character in too many bytes", b"\xc0\xaf"),
    ("a surrogate in UTF-8", b"\xed\xa0\x80"),
    ("a character beyond Unicode", b"\xf4\x90\x80\x80"),
];

pub fn fill(table: &mut Table) {
    for (name, members) in MEMBERS {
        table.add(*name, Verdict::NotJson, |uid| document(uid, members).into());
    }
    add_numbers_and_depths(table);
    add_bytes(table);
    add_ends(table);
}

fn add_numbers_and_depths(table: &mut Table) {
    let digits = "9".repeat(400);
    let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
    let objects = ("{\"a\":".repeat(10_000), "}".repeat(10_000));
    for (name, members) in [
        ("a number of 400 digits", format!(r#""sm_id":{digits}"#)),
        (
            "nesting in an unknown field",
            format!(r#""unknown":{open}{close}"#),
        ),
        ("nesting in items", format!(r#""items":{open}{close}"#)),
        (
            "nested objects",
            format!(r#""delivery":{}1{}"#, objects.0, objects.1),
        ),
    ] {
        table.add(name, Verdict::NotJson, |uid| document(uid, &members).into());
    }
    for (name, text) in [
        ("nothing but nesting", format!("{open}{close}")),
        ("nesting without an end", open.clone()),
        ("nested objects without an end", objects.0.clone()),
    ] {
        table.add(name, Verdict::NotJson, |_| text.into());
    }
}

fn add_bytes(table: &mut Table) {
    for (name, bytes) in NOT_UTF_8 {
        for (place, before, after) in [
            ("a known field", "{\"entry\":\"", "\","),
            ("an unknown field", "{\"unknown\":\"", "\","),
            ("a key", "{\"", "\":1,"),
        ] {
            table.add(format!("{name} in {place}"), Verdict::NotJson, |uid| {
                let rest = document(uid, "");
                [
                    before.as_bytes(),
                    bytes,
                    after.as_bytes(),
                    &rest.as_bytes()[1..],
                ]
                .concat()
            });
        }
    }
    let utf_16 = |uid: &str| document(uid, "").encode_utf16().collect::<Vec<u16>>();
    table.add("UTF-16, little end first", Verdict::NotJson, |uid| {
        utf_16(uid).into_iter().flat_map(u16::to_le_bytes).collect()
    });
    table.add(
        "UTF-16, big end first, with its mark",
        Verdict::NotJson,
        |uid| {
            let units = [0xfeff].into_iter().chain(utf_16(uid));
            units.flat_map(u16::to_be_bytes).collect()
        },
    );
    table.add("a byte order mark", Verdict::NotJson, |uid| {
        format!("\u{feff}{}", document(uid, "")).into()
    });
}

fn add_ends(table: &mut Table) {
    for (name, text) in [
        ("an empty body", ""),
        ("white space alone", " \r\n\t"),
        ("no JSON at all", "hello"),
        (
            "a form",
            "order_uid=a&date_created=2021-11-26T06%3A22%3A19Z",
        ),
        ("XML", "<?xml version=\"1.0\"?><order/>"),
        ("a brace", "{"),
        ("NUL bytes", "\0\0\0\0"),
    ] {
        table.add(name, Verdict::NotJson, |_| text.into());
    }
    table.add("a document that was cut", Verdict::NotJson, |uid| {
        let whole = document(uid, "");
        whole.as_bytes()[..whole.len() - 1].to_vec()
    });
    for (name, after) in [
        ("a letter after the document", "x"),
        ("a closing brace after the document", "}"),
        ("a NUL after the document", "\0"),
        ("a second document", "{}"),
    ] {
        table.add(name, Verdict::NotJson, |uid| {
            format!("{}{after}", document(uid, "")).into()
        });
    }
    table.add("two orders, a line each", Verdict::NotJson, |uid| {
        [document(uid, ""), document(uid, "")].join("\n").into()
    });
}
