//! Documents that are accepted and documents that are refused.

use super::RefusalKind::{Invalid, NotJson};
use super::*;

const EXAMPLE: &str = include_str!("../../examples/test_order.json");
const I32: &str = "must be a whole number between -2147483648 and 2147483647";
const I64: &str = "must be a whole number between -9223372036854775808 and 9223372036854775807";

/// The smallest accepted order with more members in front, as JSON text.
fn order_with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{{members}{comma}"order_uid":"a","date_created":"2021-11-26T06:22:19Z"}}"#)
}

fn refusal(bytes: impl AsRef<[u8]>) -> Refusal {
    Order::decode(bytes.as_ref()).expect_err("the document must be refused")
}

/// Asserts that a document is refused for one fault.
fn assert_fault(document: &str, pointer: &str, message: &str) {
    let faults = refusal(document).faults;
    let [fault] = &faults[..] else {
        panic!("{document:.80}: {faults:?}")
    };
    let found = (fault.pointer.as_str(), fault.message.as_str());
    assert_eq!(found, (pointer, message), "{document:.80}");
}

#[test]
fn the_example_is_decoded_and_encoded_unchanged() {
    let order = Order::decode(EXAMPLE.as_bytes()).expect("the example is valid");
    assert_eq!(order.items.len(), 1);
    assert_eq!(order.payment.amount, 1817);
    let compact: String = EXAMPLE
        .lines()
        .map(|line| line.trim().replacen("\": ", "\":", 1))
        .collect();
    assert_eq!(order.encode(), compact.as_bytes());
}

#[test]
fn anything_but_one_json_document_is_refused_as_not_json() {
    let deep = "[".repeat(10_000);
    let closed_deep = format!("{deep}{}", "]".repeat(10_000));
    for document in [
        "".to_owned(),
        " \n".to_owned(),
        "{".to_owned(),
        "hello".to_owned(),
        EXAMPLE[..EXAMPLE.len() / 2].to_owned(),
        format!("{EXAMPLE}x"),
        format!("{EXAMPLE}{EXAMPLE}"),
        format!("\u{feff}{EXAMPLE}"),
        order_with(r#""entry":"\ud800""#),
        order_with(r#""unknown":"\ud800""#),
        order_with(r#""unknown":"\udc00\ud800""#),
        deep.clone(),
        closed_deep.clone(),
        order_with(&format!(r#""unknown":{closed_deep}"#)),
        order_with(&format!(r#""items":{closed_deep}"#)),
        "{\"a\":".repeat(10_000),
        order_with(r#""entry":"a","entry":"a""#),
        order_with(r#""entry":null,"entry":"a""#),
        order_with(r#""order_uid":"a""#),
        order_with(r#""payment":{"bank":"","bank":""}"#),
        order_with(r#""items":[{},{"sale":1,"sale":1}]"#),
        order_with(&format!(r#""sm_id":{}"#, "9".repeat(400))),
        order_with(r#""sm_id":1e400"#),
        order_with(r#""unknown":1e400"#),
        order_with(r#""sm_id":NaN"#),
        order_with(r#""sm_id":Infinity"#),
        order_with(r#""sm_id":0x10"#),
        order_with(r#""sm_id":+1"#),
        order_with(r#""sm_id":01"#),
        order_with(r#""sm_id":1,"#),
        order_with("\"entry\":\"a\nb\""),
    ] {
        let refusal = refusal(&document);
        assert_eq!(refusal.kind, NotJson, "{document:.80}: {refusal}");
        assert!(!refusal.faults.is_empty(), "{document:.80}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_in_any_position() {
    for member in [
        &b"\"entry\":\"\xff\""[..],
        b"\"unknown\":\"\xff\"",
        b"\"\xc3\x28\":1",
    ] {
        let document = [b"{", member, b",", &order_with("").as_bytes()[1..]].concat();
        assert_eq!(refusal(&document).kind, NotJson);
        assert!(refusal(&document).to_string().contains("UTF-8"));
    }
    let utf_16: Vec<u8> = EXAMPLE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(refusal(&utf_16).kind, NotJson);
    assert_eq!(refusal([b"\xff\xfe", &utf_16[..]].concat()).kind, NotJson);
}

#[test]
fn an_invalid_order_is_refused_with_pointer_and_rule() {
    let long_text = "x".repeat(MAX_TEXT_BYTES + 1);
    let too_many = format!(r#""items":[{}{{}}]"#, "{},".repeat(MAX_ITEMS));
    let text_too_long = "must be at most 4096 bytes of UTF-8";
    let nul = "must not contain the character U+0000";
    for (members, pointer, message) in [
        (r#""sm_id":"12""#, "/sm_id", I32),
        (r#""sm_id":true"#, "/sm_id", I32),
        (r#""sm_id":2147483648"#, "/sm_id", I32),
        (r#""sm_id":1.0"#, "/sm_id", I32),
        (r#""sm_id":1e3"#, "/sm_id", I32),
        (r#""sm_id":1.5"#, "/sm_id", I32),
        (r#""payment":{"amount":"12"}"#, "/payment/amount", I64),
        (
            r#""payment":{"amount":9223372036854775808}"#,
            "/payment/amount",
            I64,
        ),
        (
            r#""payment":{"amount":18446744073709551616}"#,
            "/payment/amount",
            I64,
        ),
        (r#""items":[{},{"sale":-2147483649}]"#, "/items/1/sale", I32),
        (r#""items":[{"status":2147483648}]"#, "/items/0/status", I32),
        (r#""entry":true"#, "/entry", "must be a text"),
        (r#""entry":12"#, "/entry", "must be a text"),
        (r#""entry":{}"#, "/entry", "must be a text"),
        (r#""delivery":[]"#, "/delivery", "must be an object"),
        (r#""delivery":"x""#, "/delivery", "must be an object"),
        (
            r#""payment":["t","r","USD"]"#,
            "/payment",
            "must be an object",
        ),
        (r#""items":{}"#, "/items", "must be an array"),
        (r#""items":[[]]"#, "/items/0", "must be an object"),
        (r#""items":[{},7]"#, "/items/1", "must be an object"),
        (&too_many, "/items", "must hold at most 1000 items"),
        (
            &format!(r#""entry":"{long_text}""#),
            "/entry",
            text_too_long,
        ),
        (r#""entry":"a\u0000b""#, "/entry", nul),
        (r#""delivery":{"name":"\u0000"}"#, "/delivery/name", nul),
        (r#""payment":{"bank":"\u0000"}"#, "/payment/bank", nul),
        (r#""items":[{},{"brand":"\u0000"}]"#, "/items/1/brand", nul),
    ] {
        let refusal = refusal(order_with(members));
        assert_eq!(refusal.kind, Invalid, "{members:.80}");
        assert_eq!(refusal.order_uid.as_deref(), Some("a"), "{members:.80}");
        assert_fault(&order_with(members), pointer, message);
    }
}

#[test]
fn a_document_that_is_no_object_is_refused_once() {
    for document in ["[]", "null", "\"x\"", "7", "true", &format!("[{EXAMPLE}]")] {
        assert_eq!(refusal(document).kind, Invalid);
        assert_fault(document, "", "must be an object");
    }
}

#[test]
fn a_uid_outside_its_charset_is_refused_and_never_repeated() {
    let charset = "must be 1 to 128 of the characters A-Z a-z 0-9 . _ : -";
    let long = "a".repeat(129);
    let bad = [
        " ",
        "a ",
        " a",
        "a/b",
        "..%2f",
        "a?b",
        "a#b",
        "a\\r\\nb",
        "\\u001b[31m",
        "<script>",
        "é",
        "e\u{301}",
        "a\u{200b}",
        "a\\u0000",
        &long,
    ];
    for uid in bad {
        let document = format!(r#"{{"order_uid":"{uid}","date_created":"2021-11-26T06:22:19Z"}}"#);
        let refusal = refusal(&document);
        assert_fault(&document, "/order_uid", charset);
        assert_eq!(refusal.order_uid, None, "{uid}");
        assert!(
            uid.trim().len() < 3 || !refusal.to_string().contains(uid),
            "{uid}"
        );
    }
    for members in [
        "",
        r#""order_uid":"","#,
        r#""order_uid":null,"#,
        r#""ORDER_UID":"a","#,
    ] {
        let document = format!(r#"{{{members}"date_created":"2021-11-26T06:22:19Z"}}"#);
        assert_fault(&document, "/order_uid", "is required");
    }
    let number = r#"{"order_uid":7,"date_created":"2021-11-26T06:22:19Z"}"#;
    assert_fault(number, "/order_uid", "must be a text");
    assert!(is_uid("A-z.0_9:-") && is_uid(&"a".repeat(128)) && is_uid("..."));
    for uid in [".", ".."] {
        let document = format!(r#"{{"order_uid":"{uid}","date_created":"2021-11-26T06:22:19Z"}}"#);
        let message = "must not be . or .., which no path can hold";
        assert_fault(&document, "/order_uid", message);
    }
}

#[test]
fn a_date_that_the_store_would_read_differently_is_refused() {
    let shape = "must be a date and time with a zone, as RFC 3339 writes it, for example \
                 2021-11-26T06:22:19Z";
    for (date, message) in [
        (r#""""#, "is required"),
        ("null", "is required"),
        ("7", "must be a text"),
        (r#""infinity""#, shape),
        (r#""2021-11-26""#, shape),
        (
            r#""2021-02-30T00:00:00Z""#,
            "must be a day and a time of day that exist, with seconds from 00 to 59",
        ),
        (
            r#""0000-01-01T00:00:00Z""#,
            "must lie between the years 0001 and 9999 in UTC",
        ),
    ] {
        let document = format!(r#"{{"order_uid":"a","date_created":{date}}}"#);
        assert_fault(&document, "/date_created", message);
    }
    assert_fault(r#"{"order_uid":"a"}"#, "/date_created", "is required");
}

#[test]
fn all_faults_are_reported_at_once() {
    let document = r#"{"order_uid":"a b","sm_id":"x","entry":7,"delivery":{"name":"\u0000"},
        "payment":7,"items":[{"price":1.5},null,"x"]}"#;
    let refusal = refusal(document);
    let pointers: Vec<&str> = refusal
        .faults
        .iter()
        .map(|it| it.pointer.as_str())
        .collect();
    let expected = "/entry /payment /items/0/price /items/2 /sm_id /order_uid /date_created \
                    /delivery/name";
    assert_eq!(pointers.join(" "), expected);
    let start = "not a valid order: /entry must be a text; ";
    assert!(refusal.to_string().starts_with(start));
}

#[test]
fn a_refusal_stays_on_one_line_however_many_faults_it_has() {
    let items = vec![r#"{"price":"x","name":7}"#; MAX_ITEMS].join(",");
    let refusal = refusal(order_with(&format!(r#""items":[{items}]"#)));
    let listed = refusal.faults.len();
    assert_eq!((listed, refusal.more_faults), (100, 2 * MAX_ITEMS - 100));
    let line = refusal.to_string();
    assert!(
        line.ends_with("; and 1980 more") && line.len() < 4_096,
        "{line}"
    );
}

#[test]
fn a_document_beyond_the_limit_is_refused_and_only_its_uid_is_read() {
    let padding = " ".repeat(MAX_DOCUMENT_BYTES);
    let refusal = refusal(order_with(&format!("{padding}\"x\":[]")));
    assert_eq!(refusal.kind, Invalid);
    assert_eq!(refusal.order_uid.as_deref(), Some("a"));
    assert_eq!(
        refusal.to_string(),
        "not a valid order: the document must be at most 1048576 bytes"
    );
}

#[test]
fn missing_and_null_fields_read_as_zero() {
    let smallest = Order::decode(order_with("").as_bytes()).expect("it is valid");
    assert_eq!(smallest.order_uid, "a");
    assert_eq!(smallest.items, []);
    let mut with_item = smallest.clone();
    with_item.items = vec![Item::default()];
    for (members, expected) in [
        (
            r#""entry":null,"sm_id":null,"delivery":null,"payment":null,"items":null"#,
            &smallest,
        ),
        (
            r#""delivery":{"name":null},"payment":{"amount":null}"#,
            &smallest,
        ),
        (r#""delivery":{},"payment":{},"items":[]"#, &smallest),
        (r#""unknown":{"a":[1,{"b":null}]},"Entry":"x""#, &smallest),
        (r#""unknown":1,"unknown":2,"delivery":{"x":1}"#, &smallest),
        (r#""unknown":"\u0000""#, &smallest),
        (r#""sm_id":-0,"payment":{"amount":-0}"#, &smallest),
        (r#""items":[{}]"#, &with_item),
        (r#""items":[null]"#, &with_item),
        (r#""items":[{"price":null,"name":null}]"#, &with_item),
    ] {
        let order = Order::decode(order_with(members).as_bytes());
        assert_eq!(order.as_ref(), Ok(expected), "{members}");
    }
}

#[test]
fn unusual_but_valid_values_are_kept_unchanged() {
    let order = Order::decode(
        order_with(r#""sm_id":-2147483648,"payment":{"amount":-5,"payment_dt":1637907727000}"#)
            .as_bytes(),
    )
    .expect("it is valid");
    assert_eq!((order.sm_id, order.payment.amount), (i32::MIN, -5));
    assert_eq!(order.payment.payment_dt, 1_637_907_727_000);
    let edge = format!(
        r#""items":[{}{{}}],"entry":"{}""#,
        "{},".repeat(MAX_ITEMS - 1),
        "x".repeat(MAX_TEXT_BYTES)
    );
    let order = Order::decode(order_with(&edge).as_bytes()).expect("it is valid");
    assert_eq!(
        (order.items.len(), order.entry.len()),
        (MAX_ITEMS, MAX_TEXT_BYTES)
    );
}

#[test]
fn a_date_is_encoded_in_utc() {
    let document = r#"{"order_uid":"a","date_created":"2021-11-26T06:22:19.120000789+03:00"}"#;
    let order = Order::decode(document.as_bytes()).expect("it is valid");
    let encoded = String::from_utf8(order.encode()).expect("JSON is UTF-8");
    assert!(
        encoded.contains(r#""date_created":"2021-11-26T03:22:19.12Z""#),
        "{encoded}"
    );
}

#[test]
fn a_stored_order_is_decoded_although_it_breaks_the_rules_on_values() {
    let adopted = Order {
        order_uid: "a/b é".into(),
        ..Order::default()
    };
    assert_eq!(Order::decode_stored(&adopted.encode()), Ok(adopted.clone()));
    let newer = br#"{"order_uid":"a/b \u00e9","date_created":"","added_later":1}"#;
    assert_eq!(Order::decode_stored(newer), Ok(adopted));
    assert!(Order::decode_stored(br#"{"sm_id":"x"}"#).is_err());
}
