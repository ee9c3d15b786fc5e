//! The fields of an order in JSON: go-orders' names, in go-orders' order, each with its kind.
//!
//! One list a struct serves both directions, so that what is written is what is read. A kind is the
//! name of a method of [`Reader`](super::quick::Reader) and of [`Writer`](super::encode::Writer).

use super::encode::{ToObject, Writer};
use super::quick::{FromObject, Reader};
use super::{DeliveryOf, HoldsText, ItemOf, OrderOf, PaymentOf};

macro_rules! object {
    ($object:ident { $($field:ident: $kind:ident,)+ }) => {
        impl<'d, T: HoldsText<'d>> FromObject<'d> for $object<T> {
            fn read(json: &mut Reader<'d>) -> Option<Self> {
                $(let mut $field = None;)+
                json.members(|json, key| {
                    match key {
                        $(stringify!($field) if $field.is_none() => $field = Some(json.$kind()?),)+
                        _ => return None,
                    }
                    Some(())
                })?;
                Some($object { $($field: $field.unwrap_or_default(),)+ })
            }
        }

        impl<T: AsRef<str>> ToObject for $object<T> {
            fn write_members(&self, json: &mut Writer) {
                $(
                    json.key(concat!(",\"", stringify!($field), "\":"));
                    json.$kind(&self.$field);
                )+
            }
        }
    };
}

object!(OrderOf {
    order_uid: text,
    track_number: text,
    entry: text,
    delivery: object,
    payment: object,
    items: objects,
    locale: text,
    internal_signature: text,
    customer_id: text,
    delivery_service: text,
    shardkey: text,
    sm_id: number,
    date_created: timestamp,
    oof_shard: text,
});

object!(DeliveryOf {
    name: text,
    phone: text,
    zip: text,
    city: text,
    address: text,
    region: text,
    email: text,
});

object!(PaymentOf {
    transaction: text,
    request_id: text,
    currency: text,
    provider: text,
    amount: number,
    payment_dt: number,
    bank: text,
    delivery_cost: number,
    goods_total: number,
    custom_fee: number,
});

object!(ItemOf {
    chrt_id: number,
    track_number: text,
    price: number,
    rid: text,
    name: text,
    sale: number,
    size: text,
    total_price: number,
    nm_id: number,
    brand: text,
    status: number,
});
