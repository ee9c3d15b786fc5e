//! What must hold for any order and any bytes: nothing is lost on the way, nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn uid() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:-]{1,128}".prop_filter("no path can hold it", |uid| is_uid(uid))
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
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
    fn order()(
        order_uid in uid(),
        texts in vec(text(), 20),
        numbers in any::<[i64; 5]>(),
        sm_id in any::<i32>(),
        micros in -62_135_596_800_000_000..=253_402_300_799_999_999_i64,
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

proptest! {
    #[test]
    fn what_is_written_is_read_back(order in order()) {
        prop_assert_eq!(Order::decode(&order.encode()), Ok(order));
    }

    #[test]
    fn both_ways_of_reading_give_the_same_order(order in order()) {
        // An unknown field sends the document down the lenient way.
        let mut document = order.encode();
        document.pop();
        document.extend_from_slice(br#","unknown":{}}"#);
        prop_assert_eq!(Order::decode(&document), Ok(order));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(bytes in vec(any::<u8>(), 0..64)) {
        let _ = Order::decode(&bytes);
    }

    #[test]
    fn any_member_of_a_wrong_shape_is_refused_or_read_without_a_panic(member in "[\\[\\]{}\":,0-9a-e.\\\\-]{0,24}") {
        let _ = Order::decode(format!(r#"{{"items":{member},"order_uid":"a"}}"#).as_bytes());
    }
}
