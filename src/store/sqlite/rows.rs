//! Orders as rows: how one is written into the four tables, by statements prepared once.
//!
//! An order is first inserted as a new one, which nearly all are; where its uid is there already, a
//! guarded update decides, and the parts of the old one go. The surprising thing: one statement a
//! row is as fast as any other way here, as no statement leaves the process.

use super::*;

const INSERT_ORDER: &str = "
    INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id,
        delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch,
        source_offset, accepted_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (order_uid) DO NOTHING";

/// The guard: within one incarnation of a partition the offset decides, otherwise the accept time,
/// a tie going to the record being applied; a row without a source is older than any record. So a
/// replay can only repeat or renew, never turn an order back.
const UPDATE_ORDER: &str = "
    UPDATE orders SET
        track_number = ?2, entry = ?3, locale = ?4, internal_signature = ?5, customer_id = ?6,
        delivery_service = ?7, shardkey = ?8, sm_id = ?9, date_created = ?10, oof_shard = ?11,
        source_position = ?12, source_epoch = ?13, source_offset = ?14, accepted_at = ?15
    WHERE order_uid = ?1 AND (source_position IS NULL
       OR CASE WHEN source_position = ?12 AND source_epoch = ?13
               THEN ?14 >= source_offset
               ELSE ?15 >= accepted_at END)";

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

/// Where the orders of a batch come from.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub position_id: i64,
    pub epoch: i32,
}

/// Writes an order unless what is stored is newer; whether it did. On an error some of its rows may
/// be written: whoever goes on rolls back to a savepoint.
pub(super) fn write(
    connection: &Connection,
    origin: Origin,
    sourced: &SourcedOrder,
) -> Result<bool, SqliteError> {
    if !write_order(connection, INSERT_ORDER, origin, sourced)? {
        if !write_order(connection, UPDATE_ORDER, origin, sourced)? {
            return Ok(false);
        }
        for delete in [DELETE_DELIVERY, DELETE_PAYMENT, DELETE_ITEMS] {
            connection
                .prepare_cached(delete)?
                .execute([&sourced.order.order_uid])?;
        }
    }
    write_parts(connection, &sourced.order)?;
    Ok(true)
}

fn write_order(
    connection: &Connection,
    sql: &str,
    origin: Origin,
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
        origin.position_id,
        origin.epoch,
        sourced.offset,
        moment(sourced.accepted_at_us),
    ])?;
    Ok(changed == 1)
}

fn write_parts(connection: &Connection, order: &Order) -> Result<(), SqliteError> {
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
