//! Writes orders into the four tables, by statements prepared once.

use rusqlite::{Connection, Error as SqliteError, params};

use super::timestamp_text;
use crate::order::Order;
use crate::store::{Batch, SourcedOrder};

const INSERT_ORDER: &str = "
    INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
        delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch,
        source_offset, accepted_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (order_uid) DO NOTHING";

/// Overwrites an older version only: within one incarnation of a partition the offset decides,
/// otherwise the accept time, a tie going to the record being applied; a row without a source is
/// older than any record. A replay can therefore only repeat or renew an order.
const UPSERT_ORDER: &str = "
    INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
        delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch,
        source_offset, accepted_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (order_uid) DO UPDATE SET
        track_number = excluded.track_number, entry = excluded.entry, locale = excluded.locale,
        internal_signature = excluded.internal_signature, customer_id = excluded.customer_id,
        delivery_service = excluded.delivery_service, shardkey = excluded.shardkey,
        sm_id = excluded.sm_id, date_created = excluded.date_created,
        oof_shard = excluded.oof_shard, source_position = excluded.source_position,
        source_epoch = excluded.source_epoch, source_offset = excluded.source_offset,
        accepted_at = excluded.accepted_at
    WHERE orders.source_position IS NULL
       OR CASE WHEN orders.source_position = excluded.source_position
                AND orders.source_epoch = excluded.source_epoch
               THEN excluded.source_offset >= orders.source_offset
               ELSE excluded.accepted_at >= orders.accepted_at END";

const DELETE_DELIVERY: &str = "DELETE FROM delivery WHERE order_uid = ?1";
const DELETE_PAYMENT: &str = "DELETE FROM payment WHERE order_uid = ?1";
const DELETE_ITEMS: &str = "DELETE FROM items WHERE order_uid = ?1";

const INSERT_DELIVERY: &str = "
    INSERT INTO delivery (order_uid, name, phone, zip, city, address, region, email)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const INSERT_PAYMENT: &str = "
    INSERT INTO payment (order_uid, transaction_id, request_id, currency, provider, amount,
        payment_dt, bank, delivery_cost, goods_total, custom_fee)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Ids grow from row to row, so that `ORDER BY id` gives an order's items back in their order.
const INSERT_ITEM: &str = "
    INSERT INTO items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price,
        nm_id, brand, status)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

/// Inserts an order unless its uid is stored; whether it did.
pub(super) fn insert_order(
    connection: &Connection,
    batch: &Batch,
    sourced: &SourcedOrder,
) -> Result<bool, SqliteError> {
    write_order(connection, INSERT_ORDER, batch, sourced)
}

/// Inserts an order, or overwrites an older version; whether it did.
pub(super) fn upsert_order(
    connection: &Connection,
    batch: &Batch,
    sourced: &SourcedOrder,
) -> Result<bool, SqliteError> {
    write_order(connection, UPSERT_ORDER, batch, sourced)
}

/// Deletes delivery, payment and items.
pub(super) fn delete_parts(connection: &Connection, uid: &str) -> Result<(), SqliteError> {
    for delete in [DELETE_DELIVERY, DELETE_PAYMENT, DELETE_ITEMS] {
        connection.prepare_cached(delete)?.execute([uid])?;
    }
    Ok(())
}

fn write_order(
    connection: &Connection,
    sql: &str,
    batch: &Batch,
    sourced: &SourcedOrder,
) -> Result<bool, SqliteError> {
    let order = &sourced.order;
    let changed = connection.prepare_cached(sql)?.execute(params![
        order.order_uid,
        order.track_number,
        order.entry,
        order.locale,
        order.internal_signature,
        order.customer_id,
        order.delivery_service,
        order.shardkey,
        order.sm_id,
        order.date_created.sortable(),
        order.oof_shard,
        batch.position_id,
        batch.epoch,
        sourced.offset,
        timestamp_text(sourced.accepted_at_us),
    ])?;
    Ok(changed == 1)
}

/// Inserts delivery, payment and items of an order that has none.
pub(super) fn insert_parts(connection: &Connection, order: &Order) -> Result<(), SqliteError> {
    let delivery = &order.delivery;
    connection
        .prepare_cached(INSERT_DELIVERY)?
        .execute(params![
            order.order_uid,
            delivery.name,
            delivery.phone,
            delivery.zip,
            delivery.city,
            delivery.address,
            delivery.region,
            delivery.email,
        ])?;
    let payment = &order.payment;
    connection.prepare_cached(INSERT_PAYMENT)?.execute(params![
        order.order_uid,
        payment.transaction,
        payment.request_id,
        payment.currency,
        payment.provider,
        payment.amount,
        payment.payment_dt,
        payment.bank,
        payment.delivery_cost,
        payment.goods_total,
        payment.custom_fee,
    ])?;
    let mut insert = connection.prepare_cached(INSERT_ITEM)?;
    for item in &order.items {
        insert.execute(params![
            order.order_uid,
            item.chrt_id,
            item.track_number,
            item.price,
            item.rid,
            item.name,
            item.sale,
            item.size,
            item.total_price,
            item.nm_id,
            item.brand,
            item.status,
        ])?;
    }
    Ok(())
}
