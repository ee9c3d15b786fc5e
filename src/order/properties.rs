//! What must hold for any order and any bytes: nothing is lost on the way, nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
}

fn uid() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:-]{1,128}".prop_filter("no path can hold it", |uid| is_uid(uid))
}

/// The years 0001 to 9999.
fn micros() -> impl Strategy<Value = i64> {
    -62_135_596_800_000_000..=253_402_300_799_999_999_i64
}

/// The inside of a JSON text, every character escaped.
fn escaped(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect()
}

prop_compose! {
    fn item()(texts in vec(text(), 5), numbers in any::<[i64; 4]>(), small in any::<[i32; 2]>()) -> Item {
        Item {
            chrt_id: numbers[0], track_number: texts[0].clone(), price: numbers[1],
            rid: texts[1].clone(), name: texts[2].clone(), sale: small[0], size: texts[3].clone(),
            total_price: numbers[2], nm_id: numbers[3], brand: texts[4].clone(), status: small[1],
        }
    }
}

prop_compose! {
    pub(crate) fn order()(
        order_uid in uid(),
        texts in vec(text(), 20),
        numbers in any::<[i64; 5]>(),
        sm_id in any::<i32>(),
        micros in micros(),
        items in vec(item(), 0..4),
    ) -> Order {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().expect("there are as many texts as fields");
        Order {
            order_uid, track_number: next(), entry: next(),
            delivery: Delivery {
                name: next(), phone: next(), zip: next(), city: next(), address: next(),
                region: next(), email: next(),
            },
            payment: Payment {
                transaction: next(), request_id: next(), currency: next(), provider: next(),
                amount: numbers[0], payment_dt: numbers[1], bank: next(),
                delivery_cost: numbers[2], goods_total: numbers[3], custom_fee: numbers[4],
            },
            items, locale: next(), internal_signature: next(), customer_id: next(),
            delivery_service: next(), shardkey: next(), sm_id,
            date_created: Timestamp(Some(micros)), oof_shard: next(),
        }
    }
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
    fn what_is_written_is_read_back(order in order()) {
        prop_assert_eq!(Order::decode(&order.encode()), Ok(order));
    }

    #[test]
    fn what_is_written_by_hand_is_what_serde_writes(order in order()) {
        let written = String::from_utf8(order.encode()).expect("JSON is UTF-8");
        prop_assert_eq!(written, serde_json::to_string(&order).expect("it has only text keys"));
    }

    #[test]
    fn what_is_written_is_read_the_quick_way(order in order()) {
        let small = |number: i64| number.unsigned_abs() < 10_u64.pow(18);
        let numbers = |item: &Item| [item.chrt_id, item.price, item.total_price, item.nm_id];
        let paid = &order.payment;
        let paid = [paid.amount, paid.payment_dt, paid.delivery_cost, paid.goods_total, paid.custom_fee];
        let is_quick = order.items.iter().flat_map(numbers).chain(paid).all(small);
        let text = String::from_utf8(order.encode()).expect("JSON is UTF-8");
        prop_assert_eq!(quick::read(&text), is_quick.then_some(order));
    }

    #[test]
    fn what_the_quick_way_takes_the_lenient_way_takes_as_the_same(members in members()) {
        let text = format!("{{{members}}}");
        if let Some(order) = quick::read::<String>(&text) {
            let (same, faults) = lenient::read(&text).map_err(|refusal| {
                TestCaseError::fail(format!("{text}: {refusal}"))
            })?;
            prop_assert_eq!(faults.settle(same), Ok(order));
        }
    }

    #[test]
    fn both_ways_of_reading_give_the_same_order(order in order()) {
        // An unknown field sends the document down the lenient way.
        let mut document = order.encode();
        document.pop();
        document.extend_from_slice(br#","unknown":{}}"#);
        let borrowed = BorrowedOrder::decode(&document).map(|borrowed| borrowed.encode());
        prop_assert_eq!(borrowed, Ok(order.encode()));
        prop_assert_eq!(Order::decode(&document), Ok(order));
    }

    #[test]
    fn an_order_has_one_form_and_keeps_it(order in order()) {
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
    fn a_document_that_is_cut_anywhere_is_no_order(order in order(), at in any::<prop::sample::Index>()) {
        let document = order.encode();
        let cut = &document[..at.index(document.len())];
        prop_assert_eq!(Order::decode(cut).map_err(|refusal| refusal.kind), Err(RefusalKind::NotJson));
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
            r#"{{"payment":{{"amount":{number}}},"sm_id":{number},"order_uid":"a","date_created":"2021-11-26T06:22:19Z"}}"#
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
    fn a_moment_is_the_same_in_any_zone_and_is_cut_to_microseconds(
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
        let moment = Timestamp::parse(&written);
        prop_assert_eq!(moment, Ok(Timestamp(Some(micros))));
        prop_assert_eq!(Timestamp::parse(&Timestamp(Some(micros)).to_string()), moment);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(bytes in vec(any::<u8>(), 0..64)) {
        let refused = Order::decode(&bytes).err();
        prop_assert_eq!(BorrowedOrder::decode(&bytes).err(), refused);
    }

    #[test]
    fn any_member_of_a_wrong_shape_is_refused_or_read_without_a_panic(member in "[\\[\\]{}\":,0-9a-e.\\\\-]{0,24}") {
        let document = format!(r#"{{"items":{member},"order_uid":"a"}}"#);
        let refused = Order::decode(document.as_bytes()).err();
        prop_assert_eq!(BorrowedOrder::decode(document.as_bytes()).err(), refused);
    }
}
