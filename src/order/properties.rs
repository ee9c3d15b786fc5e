//! Properties of any order and any bytes: nothing is lost in a round trip, nothing panics.

use std::convert::Infallible;
use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
}

fn uid() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:-]{1,128}".prop_filter("no path can hold it", |uid| is_uid(uid))
}

fn micros() -> impl Strategy<Value = i64> {
    Timestamp::MICROS
}

/// The inside of a JSON text, every character escaped.
fn escaped(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect()
}

/// A value of each kind for one column.
type Cell = (String, i32, i64, i64);

/// Random cells, read as a row.
struct Cells(std::vec::IntoIter<Cell>);

impl Cells {
    fn next(&mut self) -> Cell {
        self.0.next().expect("there are as many cells as columns")
    }
}

impl ColumnReader for Cells {
    type Error = Infallible;

    fn text(&mut self) -> Result<String, Infallible> {
        Ok(self.next().0)
    }

    fn int(&mut self) -> Result<i32, Infallible> {
        Ok(self.next().1)
    }

    fn bigint(&mut self) -> Result<i64, Infallible> {
        Ok(self.next().2)
    }

    fn timestamp(&mut self) -> Result<Timestamp, Infallible> {
        Ok(Timestamp(Some(self.next().3)))
    }
}

fn row<O: FromColumns + fmt::Debug>(columns: usize) -> impl Strategy<Value = O> {
    vec((text(), any::<i32>(), any::<i64>(), micros()), columns).prop_map(|cells| {
        let Ok(row) = O::from_columns(&mut Cells(cells.into_iter()));
        row
    })
}

pub(crate) fn order() -> impl Strategy<Value = Order> {
    let columns = Order::COLUMNS.len() + Delivery::COLUMNS.len() + Payment::COLUMNS.len();
    let items = vec(row::<Item>(Item::COLUMNS.len()), 0..4);
    (row::<Order>(columns), uid(), items).prop_map(|(order, order_uid, items)| Order {
        order_uid,
        items,
        ..order
    })
}

/// Members of an order, right and nearly right, as JSON text.
fn members() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "order_uid",
        "entry",
        "sm_id",
        "date_created",
        "items",
        "delivery",
        "payment",
        "unknown",
        "",
    ]);
    let value = prop_oneof![
        r#""[a-z0-9 :TZ\\"/\t-]{0,9}""#,
        "-?[0-9]{1,20}([.eE][0-9]{0,2})?",
        Just(r#""2021-11-26T06:22:19.5+03:00""#.to_owned()),
        Just("null".to_owned()),
        Just(r#"[{"sale":1,"rid":"\u0041"},{}]"#.to_owned()),
        Just(r#"{"name":"a","bank":"b"}"#.to_owned()),
        "[\\[\\]{}:, 0-9a-z\"\\\\]{0,9}",
    ];
    let space = "[ \n\r\t]{0,1}";
    vec((space, name, space, value), 0..4).prop_map(|members| {
        let member =
            |(before, name, after, value)| format!("{before}\"{name}\"{after}:{value}{before}");
        members
            .into_iter()
            .map(member)
            .collect::<Vec<_>>()
            .join(",")
    })
}

proptest! {
    #[test]
    fn encode_writes_what_serde_serialises(order in order()) {
        let written = String::from_utf8(order.encode()).expect("JSON is UTF-8");
        prop_assert_eq!(written, serde_json::to_string(&order).expect("it has only text keys"));
    }

    #[test]
    fn what_is_encoded_is_decoded_again_without_a_diagnosis(order in order()) {
        let text = String::from_utf8(order.encode()).expect("JSON is UTF-8");
        prop_assert_eq!(decode::decode(&text), Some(order.clone()));
        prop_assert_eq!(Order::decode(text.as_bytes()), Ok(order));
    }

    #[test]
    fn what_is_decoded_is_diagnosed_as_the_same_order(members in members()) {
        let text = format!("{{{members}}}");
        if let Some(order) = decode::decode::<String>(&text) {
            let (same, faults) = diagnose::diagnose(&text).map_err(|refusal| {
                TestCaseError::fail(format!("{text}: {refusal}"))
            })?;
            prop_assert_eq!(faults.into_result(same), Ok(order));
        }
    }

    #[test]
    fn an_unknown_field_changes_nothing(order in order()) {
        // An unknown field makes the diagnosing pass read the document.
        let mut document = order.encode();
        document.pop();
        document.extend_from_slice(br#","unknown":{}}"#);
        let borrowed = BorrowedOrder::decode(&document).map(|borrowed| borrowed.encode());
        prop_assert_eq!(borrowed, Ok(order.encode()));
        prop_assert_eq!(Order::decode(&document), Ok(order));
    }

    #[test]
    fn encoding_is_canonical(order in order()) {
        let once = order.encode();
        let again = Order::decode(&once).map(|order| order.encode());
        prop_assert_eq!(again.as_deref(), Ok(once.as_slice()));
        let borrowed = BorrowedOrder::decode(&once).map(|order| order.encode());
        prop_assert_eq!(borrowed.as_deref(), Ok(once.as_slice()));
        // Any other reader sees the same: JSON without raw control characters, each field once.
        let text = String::from_utf8(once).expect("JSON is UTF-8");
        prop_assert!(!text.chars().any(|character| character < ' '));
        let seen: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        prop_assert_eq!(seen["delivery"]["name"].as_str(), Some(order.delivery.name.as_str()));
        prop_assert_eq!(seen["payment"]["amount"].as_i64(), Some(order.payment.amount));
        prop_assert_eq!(seen["items"].as_array().map(Vec::len), Some(order.items.len()));
    }

    #[test]
    fn a_truncated_document_is_no_order(order in order(), at in any::<prop::sample::Index>()) {
        let document = order.encode();
        let cut = &document[..at.index(document.len())];
        let refused = Order::decode(cut).map_err(|refusal| refusal.kind);
        prop_assert_eq!(refused, Err(RefusalKind::NotJson));
    }

    #[test]
    fn a_text_is_the_same_however_it_is_escaped(text in text()) {
        let inside = escaped(&text);
        let document = format!(
            r#"{{"entry":"{inside}","order_uid":"a","date_created":"2021-11-26T06:22:19Z"}}"#
        );
        let order = Order::decode(document.as_bytes());
        let borrowed = BorrowedOrder::decode(document.as_bytes());
        prop_assert_eq!(borrowed.map(|order| order.entry.to_string()), Ok(text.clone()));
        prop_assert_eq!(order.map(|order| order.entry), Ok(text));
    }

    #[test]
    fn a_number_is_kept_to_the_last_digit_or_refused(number in any::<i128>(), shift in 0..127) {
        let number = number >> shift;
        let document = format!(
            r#"{{"payment":{{"amount":{number}}},"sm_id":{number},
            "order_uid":"a","date_created":"2021-11-26T06:22:19Z"}}"#
        );
        let found = Order::decode(document.as_bytes());
        match (i32::try_from(number), i64::try_from(number)) {
            (Ok(small), Ok(large)) => {
                let found = found.map(|order| (order.sm_id, order.payment.amount));
                prop_assert_eq!(found, Ok((small, large)));
            }
            (_, large) => {
                let faults = found.expect_err("it is too large for one at least").faults;
                prop_assert_eq!(faults.len(), if large.is_ok() { 1 } else { 2 });
            }
        }
    }

    #[test]
    fn a_timestamp_is_the_same_in_any_zone_and_is_truncated_to_microseconds(
        micros in micros(),
        minutes in -1_439..=1_439_i64,
        beyond in "[0-9]{0,9}",
    ) {
        let local = Timestamp::from_micros(micros + minutes * 60_000_000);
        prop_assume!(local.0.is_some());
        let local = local.to_string();
        let fraction = micros.rem_euclid(1_000_000);
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
        let written = format!("{}.{fraction:06}{beyond}{sign}{hours:02}:{rest:02}", &local[..19]);
        let parsed = Timestamp::parse(&written);
        prop_assert_eq!(parsed, Ok(Timestamp(Some(micros))));
        prop_assert_eq!(Timestamp::parse(&Timestamp(Some(micros)).to_string()), parsed);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(bytes in vec(any::<u8>(), 0..64)) {
        let refused = Order::decode(&bytes).err();
        prop_assert_eq!(BorrowedOrder::decode(&bytes).err(), refused);
    }

    #[test]
    fn any_member_of_a_wrong_shape_is_refused_or_read_without_a_panic(
        member in "[\\[\\]{}\":,0-9a-e.\\\\-]{0,24}",
    ) {
        let document = format!(r#"{{"items":{member},"order_uid":"a"}}"#);
        let refused = Order::decode(document.as_bytes()).err();
        prop_assert_eq!(BorrowedOrder::decode(document.as_bytes()).err(), refused);
    }
}
