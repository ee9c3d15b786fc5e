//! Writes orders into the four tables, whole columns at a time.
//!
//! From a hundred orders on an insert is a binary COPY, which is about a tenth faster there and slower
//! below.

use std::collections::HashSet;

use ::postgres::binary_copy::BinaryCopyInWriter;
use ::postgres::types::Type;
use ::postgres::{Error as PgError, Row, Transaction};

use super::micros::Micros;
use super::statements::Statements;
use crate::order::{Item, Order};
use crate::store::{Batch, SourcedOrder};

const COPY_FROM: usize = 100;

const COPY_ORDERS: &str = "
    COPY orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
        delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch,
        source_offset, accepted_at) FROM STDIN BINARY";
const COPY_DELIVERY: &str = "
    COPY delivery (order_uid, name, phone, zip, city, address, region, email) FROM STDIN BINARY";
const COPY_PAYMENT: &str = "
    COPY payment (order_uid, transaction_id, request_id, currency, provider, amount, payment_dt,
        bank, delivery_cost, goods_total, custom_fee) FROM STDIN BINARY";
const COPY_ITEMS: &str = "
    COPY items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id,
        brand, status) FROM STDIN BINARY";

const INSERT_ORDERS: &str = "
    INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
        delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch,
        source_offset, accepted_at)
    SELECT uid, track, entry, locale, signature, customer, service, shard, sm, created, oof,
        $14, $15, source_offset, accepted
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::int4[], $10::timestamptz[], $11::text[], $12::int8[], $13::timestamptz[])
        AS o(uid, track, entry, locale, signature, customer, service, shard, sm, created, oof,
            source_offset, accepted)";

/// Overwrites older versions only: within one incarnation of a partition the offset decides,
/// otherwise the accept time, a tie going to the record being applied; a row without a source is
/// older than any record. A replay can therefore only repeat or renew an order.
const UPSERT_ORDERS: &str = "
    INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
        delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch,
        source_offset, accepted_at)
    SELECT uid, track, entry, locale, signature, customer, service, shard, sm, created, oof,
        $14, $15, source_offset, accepted
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::int4[], $10::timestamptz[], $11::text[], $12::int8[], $13::timestamptz[])
        AS o(uid, track, entry, locale, signature, customer, service, shard, sm, created, oof,
            source_offset, accepted)
    ON CONFLICT (order_uid) DO UPDATE SET
        track_number = EXCLUDED.track_number, entry = EXCLUDED.entry, locale = EXCLUDED.locale,
        internal_signature = EXCLUDED.internal_signature, customer_id = EXCLUDED.customer_id,
        delivery_service = EXCLUDED.delivery_service, shardkey = EXCLUDED.shardkey,
        sm_id = EXCLUDED.sm_id, date_created = EXCLUDED.date_created,
        oof_shard = EXCLUDED.oof_shard, source_position = EXCLUDED.source_position,
        source_epoch = EXCLUDED.source_epoch, source_offset = EXCLUDED.source_offset,
        accepted_at = EXCLUDED.accepted_at
    WHERE orders.source_position IS NULL
       OR CASE WHEN orders.source_position = EXCLUDED.source_position
                AND orders.source_epoch = EXCLUDED.source_epoch
               THEN EXCLUDED.source_offset >= orders.source_offset
               ELSE EXCLUDED.accepted_at >= orders.accepted_at END
    RETURNING order_uid";

const DELETE_PARTS: &str = "
    WITH d AS (DELETE FROM delivery WHERE order_uid = ANY($1)),
         p AS (DELETE FROM payment WHERE order_uid = ANY($1))
    DELETE FROM items WHERE order_uid = ANY($1)";

const INSERT_DELIVERY: &str = "
    INSERT INTO delivery (order_uid, name, phone, zip, city, address, region, email)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::text[])";

const INSERT_PAYMENT: &str = "
    INSERT INTO payment (order_uid, transaction_id, request_id, currency, provider, amount,
        payment_dt, bank, delivery_cost, goods_total, custom_fee)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int8[],
        $7::int8[], $8::text[], $9::int8[], $10::int8[], $11::int8[])";

/// One statement inserts an order's items in their order, so that `ORDER BY id` gives them back.
const INSERT_ITEMS: &str = "
    INSERT INTO items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price,
        nm_id, brand, status)
    SELECT uid, chrt, track, price, rid, name, sale, size, total, nm, brand, status
    FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::int4[],
        $8::text[], $9::int8[], $10::int8[], $11::text[], $12::int4[]) WITH ORDINALITY
        AS i(uid, chrt, track, price, rid, name, sale, size, total, nm, brand, status, place)
    ORDER BY place";

/// Writes rows inside one transaction, with the connection's prepared statements.
pub(super) struct RowWriter<'w, 't> {
    pub transaction: &'w mut Transaction<'t>,
    pub statements: &'w mut Statements,
}

type Orders<'o> = [&'o SourcedOrder];

impl RowWriter<'_, '_> {
    /// Inserts orders whose uids are not stored; 23505 when another session has inserted one.
    pub(super) fn insert_orders(
        &mut self,
        batch: &Batch,
        orders: &Orders<'_>,
    ) -> Result<(), PgError> {
        if orders.len() >= COPY_FROM {
            return self.copy_orders(batch, orders);
        }
        if !orders.is_empty() {
            self.write_orders(INSERT_ORDERS, batch, orders)?;
        }
        Ok(())
    }

    /// Inserts orders, or overwrites older versions; returns the uids of those that it wrote.
    pub(super) fn upsert_orders(
        &mut self,
        batch: &Batch,
        orders: &Orders<'_>,
    ) -> Result<HashSet<String>, PgError> {
        let rows = self.write_orders(UPSERT_ORDERS, batch, orders)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn write_orders(
        &mut self,
        sql: &'static str,
        batch: &Batch,
        orders: &Orders<'_>,
    ) -> Result<Vec<Row>, PgError> {
        let text = |read: fn(&Order) -> &str| -> Vec<&str> {
            orders.iter().map(|sourced| read(&sourced.order)).collect()
        };
        let sm: Vec<i32> = orders.iter().map(|sourced| sourced.order.sm_id).collect();
        let created: Vec<Option<Micros>> = orders
            .iter()
            .map(|sourced| sourced.order.date_created.0.map(Micros))
            .collect();
        let offsets: Vec<i64> = orders.iter().map(|sourced| sourced.offset).collect();
        let accepted: Vec<Micros> = orders
            .iter()
            .map(|sourced| Micros(sourced.accepted_at_us))
            .collect();
        let statement = self.statements.get(self.transaction, sql)?;
        self.transaction.query(
            &statement,
            &[
                &text(|order| &order.order_uid),
                &text(|order| &order.track_number),
                &text(|order| &order.entry),
                &text(|order| &order.locale),
                &text(|order| &order.internal_signature),
                &text(|order| &order.customer_id),
                &text(|order| &order.delivery_service),
                &text(|order| &order.shardkey),
                &sm,
                &created,
                &text(|order| &order.oof_shard),
                &offsets,
                &accepted,
                &batch.position_id,
                &batch.epoch,
            ],
        )
    }

    /// Deletes delivery, payment and items.
    pub(super) fn delete_parts(&mut self, uids: &[&str]) -> Result<(), PgError> {
        let statement = self.statements.get(self.transaction, DELETE_PARTS)?;
        self.transaction.execute(&statement, &[&uids]).map(|_| ())
    }

    /// Inserts delivery, payment and items of orders that have none.
    pub(super) fn insert_parts(&mut self, orders: &Orders<'_>) -> Result<(), PgError> {
        if orders.len() >= COPY_FROM {
            return self.copy_parts(orders);
        }
        self.insert_delivery(orders)?;
        self.insert_payment(orders)?;
        self.insert_items(orders)
    }

    fn insert_delivery(&mut self, orders: &Orders<'_>) -> Result<(), PgError> {
        let text = |read: fn(&Order) -> &str| -> Vec<&str> {
            orders.iter().map(|sourced| read(&sourced.order)).collect()
        };
        let statement = self.statements.get(self.transaction, INSERT_DELIVERY)?;
        self.transaction.execute(
            &statement,
            &[
                &text(|order| &order.order_uid),
                &text(|order| &order.delivery.name),
                &text(|order| &order.delivery.phone),
                &text(|order| &order.delivery.zip),
                &text(|order| &order.delivery.city),
                &text(|order| &order.delivery.address),
                &text(|order| &order.delivery.region),
                &text(|order| &order.delivery.email),
            ],
        )?;
        Ok(())
    }

    fn insert_payment(&mut self, orders: &Orders<'_>) -> Result<(), PgError> {
        let text = |read: fn(&Order) -> &str| -> Vec<&str> {
            orders.iter().map(|sourced| read(&sourced.order)).collect()
        };
        let number = |read: fn(&Order) -> i64| -> Vec<i64> {
            orders.iter().map(|sourced| read(&sourced.order)).collect()
        };
        let statement = self.statements.get(self.transaction, INSERT_PAYMENT)?;
        self.transaction.execute(
            &statement,
            &[
                &text(|order| &order.order_uid),
                &text(|order| &order.payment.transaction),
                &text(|order| &order.payment.request_id),
                &text(|order| &order.payment.currency),
                &text(|order| &order.payment.provider),
                &number(|order| order.payment.amount),
                &number(|order| order.payment.payment_dt),
                &text(|order| &order.payment.bank),
                &number(|order| order.payment.delivery_cost),
                &number(|order| order.payment.goods_total),
                &number(|order| order.payment.custom_fee),
            ],
        )?;
        Ok(())
    }

    fn insert_items(&mut self, orders: &Orders<'_>) -> Result<(), PgError> {
        let items: Vec<(&str, &Item)> = items_of(orders).collect();
        if items.is_empty() {
            return Ok(());
        }
        let uids: Vec<&str> = items.iter().map(|(uid, _)| *uid).collect();
        let text = |read: fn(&Item) -> &str| -> Vec<&str> {
            items.iter().map(|(_, item)| read(item)).collect()
        };
        let long = |read: fn(&Item) -> i64| -> Vec<i64> {
            items.iter().map(|(_, item)| read(item)).collect()
        };
        let short = |read: fn(&Item) -> i32| -> Vec<i32> {
            items.iter().map(|(_, item)| read(item)).collect()
        };
        let statement = self.statements.get(self.transaction, INSERT_ITEMS)?;
        self.transaction.execute(
            &statement,
            &[
                &uids,
                &long(|item| item.chrt_id),
                &text(|item| &item.track_number),
                &long(|item| item.price),
                &text(|item| &item.rid),
                &text(|item| &item.name),
                &short(|item| item.sale),
                &text(|item| &item.size),
                &long(|item| item.total_price),
                &long(|item| item.nm_id),
                &text(|item| &item.brand),
                &short(|item| item.status),
            ],
        )?;
        Ok(())
    }

    fn copy_orders(&mut self, batch: &Batch, orders: &Orders<'_>) -> Result<(), PgError> {
        const T: Type = Type::TEXT;
        let types = [
            [T, T, T, T, T, T, T, T].as_slice(),
            &[
                Type::INT4,
                Type::TIMESTAMPTZ,
                T,
                Type::INT8,
                Type::INT4,
                Type::INT8,
            ],
            &[Type::TIMESTAMPTZ],
        ]
        .concat();
        let mut copy = BinaryCopyInWriter::new(self.transaction.copy_in(COPY_ORDERS)?, &types);
        for sourced in orders {
            let order = &sourced.order;
            copy.write(&[
                &order.order_uid,
                &order.track_number,
                &order.entry,
                &order.locale,
                &order.internal_signature,
                &order.customer_id,
                &order.delivery_service,
                &order.shardkey,
                &order.sm_id,
                &order.date_created.0.map(Micros),
                &order.oof_shard,
                &batch.position_id,
                &batch.epoch,
                &sourced.offset,
                &Micros(sourced.accepted_at_us),
            ])?;
        }
        copy.finish().map(|_| ())
    }

    fn copy_parts(&mut self, orders: &Orders<'_>) -> Result<(), PgError> {
        const T: Type = Type::TEXT;
        const N: Type = Type::INT8;
        let types = [T, T, T, T, T, T, T, T];
        let mut copy = BinaryCopyInWriter::new(self.transaction.copy_in(COPY_DELIVERY)?, &types);
        for sourced in orders {
            let delivery = &sourced.order.delivery;
            copy.write(&[
                &sourced.order.order_uid,
                &delivery.name,
                &delivery.phone,
                &delivery.zip,
                &delivery.city,
                &delivery.address,
                &delivery.region,
                &delivery.email,
            ])?;
        }
        copy.finish()?;

        let types = [T, T, T, T, T, N, N, T, N, N, N];
        let mut copy = BinaryCopyInWriter::new(self.transaction.copy_in(COPY_PAYMENT)?, &types);
        for sourced in orders {
            let payment = &sourced.order.payment;
            copy.write(&[
                &sourced.order.order_uid,
                &payment.transaction,
                &payment.request_id,
                &payment.currency,
                &payment.provider,
                &payment.amount,
                &payment.payment_dt,
                &payment.bank,
                &payment.delivery_cost,
                &payment.goods_total,
                &payment.custom_fee,
            ])?;
        }
        copy.finish()?;

        let types = [T, N, T, N, T, T, Type::INT4, T, N, N, T, Type::INT4];
        let mut copy = BinaryCopyInWriter::new(self.transaction.copy_in(COPY_ITEMS)?, &types);
        for (uid, item) in items_of(orders) {
            copy.write(&[
                &uid,
                &item.chrt_id,
                &item.track_number,
                &item.price,
                &item.rid,
                &item.name,
                &item.sale,
                &item.size,
                &item.total_price,
                &item.nm_id,
                &item.brand,
                &item.status,
            ])?;
        }
        copy.finish().map(|_| ())
    }
}

fn items_of<'o>(orders: &'o Orders<'o>) -> impl Iterator<Item = (&'o str, &'o Item)> {
    orders.iter().flat_map(|sourced| {
        let order = &sourced.order;
        order
            .items
            .iter()
            .map(|item| (order.order_uid.as_str(), item))
    })
}
