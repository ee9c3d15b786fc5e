//! Reads orders: short queries in one transaction, and therefore one snapshot of rows and
//! positions.
//!
//! Rows that other programs wrote may hold NULL in every column but the key, and may lack their
//! delivery or payment row: such values are read as "" and 0, and a malformed date as no date.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use rusqlite::types::FromSql;
use rusqlite::{Connection, Error as SqliteError, OptionalExtension, Row};

use super::{SqliteStore, positions};
use crate::order::{
    ColumnReader, Delivery, FromColumns, Item, Order, Payment, TableRow, Timestamp,
};
use crate::store::order_sql::{select_item, select_order};
use crate::store::source::current_source;
use crate::store::{LookupResult, LookupResults, Position, StoreError, StoredOrder};

/// Reads orders without their items; their source is at the end.
fn select(rest: &str) -> String {
    format!(
        "SELECT {}, o.source_position, o.source_epoch, o.source_offset, o.accepted_at
    FROM orders o
    LEFT JOIN delivery d ON d.order_uid = o.order_uid
    LEFT JOIN payment p ON p.order_uid = o.order_uid
    {rest}",
        select_order(|_| String::new())
    )
}

static BY_UID: LazyLock<String> = LazyLock::new(|| select("WHERE o.order_uid = ?1"));

static LATEST: LazyLock<String> = LazyLock::new(|| {
    select("WHERE o.date_created IS NOT NULL ORDER BY o.date_created DESC, o.order_uid LIMIT ?1")
});

pub(super) static ALL_ORDERS: LazyLock<String> = LazyLock::new(|| select("ORDER BY o.order_uid"));

static ITEMS: LazyLock<String> = LazyLock::new(|| {
    let columns = select_item(|_| String::new());
    format!("SELECT {columns} FROM items i WHERE i.order_uid = ?1 ORDER BY i.id")
});

const DEAD_LETTER: &str = r#"
    SELECT topic || '/' || partition || '/' || "offset", reason FROM (
        SELECT * FROM dead_letters WHERE order_uid = ?1 AND resolution IS NULL
        UNION ALL
        SELECT * FROM dead_letters WHERE key = CAST(?1 AS BLOB) AND resolution IS NULL)
    ORDER BY id DESC LIMIT 1"#;

impl SqliteStore {
    pub(super) fn read_uids(
        &mut self,
        log_id: &str,
        uids: &[&str],
    ) -> Result<LookupResults, StoreError> {
        self.reading(|transaction| {
            let positions = positions::of_log(transaction, log_id)?;
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
        visit: &mut dyn FnMut(StoredOrder) -> ControlFlow<()>,
    ) -> Result<Vec<Position>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.reading(|transaction| {
            let positions = positions::of_log(transaction, log_id)?;
            let mut statement = transaction.prepare_cached(&LATEST)?;
            let mut rows = statement.query([limit])?;
            while let Some(row) = rows.next()? {
                if visit(stored(transaction, row, &positions)?).is_break() {
                    break;
                }
            }
            drop(rows);
            Ok(positions)
        })
    }
}

fn lookup(
    connection: &Connection,
    uid: &str,
    positions: &[Position],
) -> Result<LookupResult, SqliteError> {
    let mut statement = connection.prepare_cached(&BY_UID)?;
    let mut rows = statement.query([uid])?;
    if let Some(row) = rows.next()? {
        let stored = stored(connection, row, positions)?;
        return Ok(LookupResult::Stored(Box::new(stored)));
    }
    let dead = connection
        .prepare_cached(DEAD_LETTER)?
        .query_row([uid], |row| {
            Ok(LookupResult::DeadLettered {
                location: row.get(0)?,
                reason: row.get(1)?,
            })
        })
        .optional()?;
    Ok(dead.unwrap_or(LookupResult::Absent))
}

/// The first column of the source.
const SOURCE: usize = Order::COLUMNS.len() + Delivery::COLUMNS.len() + Payment::COLUMNS.len();

pub(super) fn stored(
    connection: &Connection,
    row: &Row<'_>,
    positions: &[Position],
) -> Result<StoredOrder, SqliteError> {
    let mut order = Order::from_columns(&mut Columns { row, next: 0 })?;
    order.items = items(connection, &order.order_uid)?;
    Ok(StoredOrder {
        order,
        source: current_source(
            positions,
            row.get(SOURCE)?,
            row.get(SOURCE + 1)?,
            row.get(SOURCE + 2)?,
        ),
        accepted_at_us: timestamp(row, SOURCE + 3)?.0,
    })
}

/// Reads a timestamp; none for NULL and for a text that is not a timestamp.
pub(super) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp, SqliteError> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    let parsed = text.and_then(|text| Timestamp::parse(text).ok());
    Ok(parsed.unwrap_or_default())
}

fn items(connection: &Connection, uid: &str) -> Result<Vec<Item>, SqliteError> {
    let mut statement = connection.prepare_cached(&ITEMS)?;
    let items = statement.query_map([uid], |row| {
        Item::from_columns(&mut Columns { row, next: 0 })
    })?;
    items.collect()
}

/// Reads the columns of a row from left to right.
struct Columns<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl Columns<'_, '_> {
    fn get<V: FromSql>(&mut self) -> Result<V, SqliteError> {
        self.next += 1;
        self.row.get(self.next - 1)
    }
}

impl ColumnReader for Columns<'_, '_> {
    type Error = SqliteError;

    fn text(&mut self) -> Result<String, SqliteError> {
        self.get()
    }

    fn int(&mut self) -> Result<i32, SqliteError> {
        self.get()
    }

    fn bigint(&mut self) -> Result<i64, SqliteError> {
        self.get()
    }

    fn timestamp(&mut self) -> Result<Timestamp, SqliteError> {
        self.next += 1;
        timestamp(self.row, self.next - 1)
    }
}
