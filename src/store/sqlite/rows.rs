//! Writes orders into the four tables, row by row.

use std::sync::LazyLock;

use rusqlite::types::{Null, ToSqlOutput};
use rusqlite::{
    Connection, Error as SqliteError, OptionalExtension, ToSql, params, params_from_iter,
};

use super::timestamp_text;
use crate::order::{Column, Delivery, Item, Order, Payment, TableRow, Timestamp, Value};
use crate::store::order_sql::{
    names, order_columns, order_values, overwriting_older, part_columns, part_values,
};
use crate::store::{Batch, Outranked, SourcedOrder};

static SQL: LazyLock<Sql> = LazyLock::new(Sql::new);

const OUTRANKED: &str = "
    SELECT p.log_id, p.partition, o.source_offset
    FROM orders o JOIN log_positions p ON p.id = o.source_position
    WHERE o.order_uid = ?1 AND o.source_position <> ?2";

const DELETE_DELIVERY: &str = "DELETE FROM delivery WHERE order_uid = ?1";
const DELETE_PAYMENT: &str = "DELETE FROM payment WHERE order_uid = ?1";
const DELETE_ITEMS: &str = "DELETE FROM items WHERE order_uid = ?1";

/// The statements that follow from the columns of an order.
struct Sql {
    insert_order: String,
    upsert_order: String,
    insert_delivery: String,
    insert_payment: String,
    /// Ids grow from row to row, so that `ORDER BY id` gives an order's items back in their order.
    insert_item: String,
}

impl Sql {
    fn new() -> Sql {
        let insert_order = insert(Order::TABLE, &order_columns());
        Sql {
            upsert_order: format!("{insert_order}{}", overwriting_older(order_columns())),
            insert_order: format!("{insert_order}\nON CONFLICT (order_uid) DO NOTHING"),
            insert_delivery: insert(Delivery::TABLE, &part_columns::<Delivery>()),
            insert_payment: insert(Payment::TABLE, &part_columns::<Payment>()),
            insert_item: insert(Item::TABLE, &part_columns::<Item>()),
        }
    }
}

fn insert(table: &str, columns: &[Column]) -> String {
    let values: Vec<String> = (1..=columns.len())
        .map(|number| format!("?{number}"))
        .collect();
    let (names, values) = (names(columns), values.join(", "));
    format!("INSERT INTO {table} ({names})\nVALUES ({values})")
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Text(text) => ToSqlOutput::from(*text),
            Value::Int(number) => ToSqlOutput::from(*number),
            Value::BigInt(number) => ToSqlOutput::from(*number),
            Value::Timestamp(Timestamp(Some(micros))) => ToSqlOutput::from(timestamp_text(*micros)),
            Value::Timestamp(Timestamp(None)) => ToSqlOutput::from(Null),
        })
    }
}

/// Inserts an order unless its uid is stored; whether it did.
pub(super) fn insert_order(
    connection: &Connection,
    batch: &Batch,
    sourced: &SourcedOrder,
) -> Result<bool, SqliteError> {
    execute(connection, &SQL.insert_order, order_values(batch, sourced))
}

/// Inserts an order, or overwrites an older version; whether it did.
pub(super) fn upsert_order(
    connection: &Connection,
    batch: &Batch,
    sourced: &SourcedOrder,
) -> Result<bool, SqliteError> {
    execute(connection, &SQL.upsert_order, order_values(batch, sourced))
}

/// Finds the stored version of an outdated order, if it is of another partition.
pub(super) fn outranked(
    connection: &Connection,
    batch: &Batch,
    outdated: &SourcedOrder,
) -> Result<Option<Outranked>, SqliteError> {
    let mut statement = connection.prepare_cached(OUTRANKED)?;
    let key = params![outdated.order.order_uid, batch.position_id];
    let found = statement.query_row(key, |row| {
        let log_id: String = row.get(0)?;
        let (partition, stored) = (row.get(1)?, row.get(2)?);
        Ok(Outranked::by(outdated.offset, &log_id, partition, stored))
    });
    found.optional()
}

/// Deletes delivery, payment and items.
pub(super) fn delete_parts(connection: &Connection, uid: &str) -> Result<(), SqliteError> {
    for delete in [DELETE_DELIVERY, DELETE_PAYMENT, DELETE_ITEMS] {
        connection.prepare_cached(delete)?.execute([uid])?;
    }
    Ok(())
}

/// Inserts delivery, payment and items of an order that has none.
pub(super) fn insert_parts(connection: &Connection, order: &Order) -> Result<(), SqliteError> {
    let delivery = part_values(order, &order.delivery);
    execute(connection, &SQL.insert_delivery, delivery)?;
    let payment = part_values(order, &order.payment);
    execute(connection, &SQL.insert_payment, payment)?;
    for item in &order.items {
        execute(connection, &SQL.insert_item, part_values(order, item))?;
    }
    Ok(())
}

/// Writes at most one row; whether it did.
fn execute<'v>(
    connection: &Connection,
    sql: &str,
    values: impl Iterator<Item = Value<'v>>,
) -> Result<bool, SqliteError> {
    let changed = connection
        .prepare_cached(sql)?
        .execute(params_from_iter(values))?;
    Ok(changed == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::order_sql::SAMPLE;

    #[test]
    fn an_insert_takes_a_value_for_each_column() {
        assert_eq!(
            insert("sample", &SAMPLE),
            "INSERT INTO sample (order_uid, size_name, sale, amount, at)
VALUES (?1, ?2, ?3, ?4, ?5)"
        );
    }
}
