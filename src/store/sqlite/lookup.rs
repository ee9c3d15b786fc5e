//! Reads orders: short queries inside one transaction, hence one snapshot of rows and positions.
//!
//! Rows that other programs wrote may hold NULL in every column but the key, and may lack their
//! delivery or payment row: such values are read as "" and 0, and a malformed date as no date.

use rusqlite::{Connection, Error as SqliteError, OptionalExtension, Row};

use super::SqliteStore;
use crate::order::{Delivery, Item, Order, Payment, Timestamp};
use crate::pipeline::{PartitionOffset, Source};
use crate::store::{LatestOrders, LookupResult, LookupResults, Position, StoreError, StoredOrder};

/// The columns of one order without its items; its source at the end.
macro_rules! order_columns {
    () => {
        "o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''),
        COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''),
        COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0),
        o.date_created, COALESCE(o.oof_shard, ''),
        COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''),
        COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''),
        COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''),
        COALESCE(p.provider, ''), COALESCE(p.amount, 0), COALESCE(p.payment_dt, 0),
        COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0), COALESCE(p.goods_total, 0),
        COALESCE(p.custom_fee, 0),
        o.source_position, o.source_epoch, o.source_offset, o.accepted_at
        FROM orders o
        LEFT JOIN delivery d ON d.order_uid = o.order_uid
        LEFT JOIN payment p ON p.order_uid = o.order_uid"
    };
}

const ONE: &str = concat!("SELECT ", order_columns!(), " WHERE o.order_uid = ?1");

const LATEST: &str = concat!(
    "SELECT ",
    order_columns!(),
    " WHERE o.date_created IS NOT NULL ORDER BY o.date_created DESC, o.order_uid LIMIT ?1"
);

pub(super) const ALL: &str = concat!("SELECT ", order_columns!(), " ORDER BY o.order_uid");

const ITEMS: &str = "
    SELECT COALESCE(chrt_id, 0), COALESCE(track_number, ''), COALESCE(price, 0), COALESCE(rid, ''),
        COALESCE(name, ''), COALESCE(sale, 0), COALESCE(size, ''), COALESCE(total_price, 0),
        COALESCE(nm_id, 0), COALESCE(brand, ''), COALESCE(status, 0)
    FROM items WHERE order_uid = ?1 ORDER BY id";

const DEAD_LETTER: &str = r#"
    SELECT topic || '/' || partition || '/' || "offset" FROM dead_letters
    WHERE order_uid = ?1 ORDER BY id DESC LIMIT 1"#;

const POSITIONS: &str = "
    SELECT id, topic_id, partition, epoch, next_offset FROM log_positions WHERE log_id = ?1";

impl SqliteStore {
    pub(super) fn read_uids(
        &mut self,
        log_id: &str,
        uids: &[&str],
    ) -> Result<LookupResults, StoreError> {
        self.reading(|transaction| {
            let positions = positions(transaction, log_id)?;
            let mut results = Vec::with_capacity(uids.len());
            for uid in uids {
                results.push(lookup(transaction, uid, &positions)?);
            }
            Ok(LookupResults { results, positions })
        })
    }

    pub(super) fn read_latest(
        &mut self,
        log_id: &str,
        limit: usize,
    ) -> Result<LatestOrders, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.reading(|transaction| {
            let positions = positions(transaction, log_id)?;
            let mut statement = transaction.prepare_cached(LATEST)?;
            let mut rows = statement.query([limit])?;
            let mut orders = Vec::new();
            while let Some(row) = rows.next()? {
                orders.push(stored(transaction, row, &positions)?);
            }
            Ok(LatestOrders { orders, positions })
        })
    }
}

fn lookup(
    connection: &Connection,
    uid: &str,
    positions: &[Position],
) -> Result<LookupResult, SqliteError> {
    let mut statement = connection.prepare_cached(ONE)?;
    let mut rows = statement.query([uid])?;
    if let Some(row) = rows.next()? {
        let stored = stored(connection, row, positions)?;
        return Ok(LookupResult::Stored(Box::new(stored)));
    }
    let dead = connection
        .prepare_cached(DEAD_LETTER)?
        .query_row([uid], |row| row.get(0))
        .optional()?;
    Ok(match dead {
        Some(location) => LookupResult::DeadLettered { location },
        None => LookupResult::Absent,
    })
}

pub(super) fn positions(
    connection: &Connection,
    log_id: &str,
) -> Result<Vec<Position>, SqliteError> {
    let mut statement = connection.prepare_cached(POSITIONS)?;
    let positions = statement.query_map([log_id], |row| {
        Ok(Position {
            id: row.get(0)?,
            topic_id: row.get::<_, String>(1)?.into(),
            partition: row.get(2)?,
            epoch: row.get(3)?,
            next_offset: row.get(4)?,
            last_applied: None,
        })
    })?;
    positions.collect()
}

/// The first column of the source.
const SOURCE: usize = 28;

pub(super) fn stored(
    connection: &Connection,
    row: &Row<'_>,
    positions: &[Position],
) -> Result<StoredOrder, SqliteError> {
    let order = Order {
        order_uid: row.get(0)?,
        track_number: row.get(1)?,
        entry: row.get(2)?,
        delivery: Delivery {
            name: row.get(11)?,
            phone: row.get(12)?,
            zip: row.get(13)?,
            city: row.get(14)?,
            address: row.get(15)?,
            region: row.get(16)?,
            email: row.get(17)?,
        },
        payment: Payment {
            transaction: row.get(18)?,
            request_id: row.get(19)?,
            currency: row.get(20)?,
            provider: row.get(21)?,
            amount: row.get(22)?,
            payment_dt: row.get(23)?,
            bank: row.get(24)?,
            delivery_cost: row.get(25)?,
            goods_total: row.get(26)?,
            custom_fee: row.get(27)?,
        },
        items: items(connection, row.get_ref(0)?.as_str()?)?,
        locale: row.get(3)?,
        internal_signature: row.get(4)?,
        customer_id: row.get(5)?,
        delivery_service: row.get(6)?,
        shardkey: row.get(7)?,
        sm_id: row.get(8)?,
        date_created: timestamp(row, 9)?,
        oof_shard: row.get(10)?,
    };
    Ok(StoredOrder {
        order,
        source: source(row, positions)?,
        accepted_at_us: timestamp(row, SOURCE + 3)?.0,
    })
}

/// Reads a timestamp; none for NULL and for a text that is no timestamp.
pub(super) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp, SqliteError> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    let parsed = text.and_then(|text| Timestamp::parse(text).ok());
    Ok(parsed.unwrap_or_default())
}

/// The source of a row when its incarnation of the partition is the current one.
fn source(row: &Row<'_>, positions: &[Position]) -> Result<Option<Source>, SqliteError> {
    let position_id: Option<i64> = row.get(SOURCE)?;
    let epoch: Option<i32> = row.get(SOURCE + 1)?;
    let offset: Option<i64> = row.get(SOURCE + 2)?;
    let is_it =
        |position: &&Position| Some(position.id) == position_id && Some(position.epoch) == epoch;
    let position = positions.iter().find(is_it);
    Ok(position.zip(offset).map(|(position, offset)| Source {
        topic_id: position.topic_id.clone(),
        at: PartitionOffset::new(position.partition, offset),
    }))
}

fn items(connection: &Connection, uid: &str) -> Result<Vec<Item>, SqliteError> {
    let mut statement = connection.prepare_cached(ITEMS)?;
    let items = statement.query_map([uid], |row| {
        Ok(Item {
            chrt_id: row.get(0)?,
            track_number: row.get(1)?,
            price: row.get(2)?,
            rid: row.get(3)?,
            name: row.get(4)?,
            sale: row.get(5)?,
            size: row.get(6)?,
            total_price: row.get(7)?,
            nm_id: row.get(8)?,
            brand: row.get(9)?,
            status: row.get(10)?,
        })
    })?;
    items.collect()
}
