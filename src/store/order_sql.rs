//! The SQL that both engines derive from the columns of an order.
//!
//! The columns of an order are described in [`order`](crate::order); this module adds its source
//! and the rule by which a stored version is overwritten.

use crate::order::{Column, Delivery, Item, Kind, Order, Payment, TableRow, Timestamp, Value};

use super::{Batch, SourcedOrder};

/// The key in the tables of the parts of an order.
const KEY: Column = Column {
    field: "order_uid",
    name: "order_uid",
    kind: Kind::Uid,
};

/// The source of an order; its columns follow those of the order.
const SOURCE: [Column; 4] = [
    source("source_position", Kind::BigInt),
    source("source_epoch", Kind::Int),
    source("source_offset", Kind::BigInt),
    source("accepted_at", Kind::Timestamp),
];

const fn source(name: &'static str, kind: Kind) -> Column {
    Column {
        field: name,
        name,
        kind,
    }
}

/// Overwrites older versions only: within one incarnation of a partition the offset decides,
/// otherwise the accept time, a tie going to the record being applied; a row without a source is
/// older than any record. A replay can therefore only repeat or renew an order.
const GUARD: &str = "
    WHERE orders.source_position IS NULL
       OR CASE WHEN orders.source_position = EXCLUDED.source_position
                AND orders.source_epoch = EXCLUDED.source_epoch
               THEN EXCLUDED.source_offset >= orders.source_offset
               ELSE EXCLUDED.accepted_at >= orders.accepted_at END";

/// The columns that are written into `orders`.
pub(super) fn order_columns() -> Vec<Column> {
    [Order::COLUMNS, &SOURCE].concat()
}

/// The values of [`order_columns`].
pub(super) fn order_values<'o>(
    batch: &Batch,
    sourced: &'o SourcedOrder,
) -> impl Iterator<Item = Value<'o>> + use<'o> {
    sourced.order.values().chain([
        Value::BigInt(batch.position_id),
        Value::Int(batch.epoch),
        Value::BigInt(sourced.offset),
        Value::Timestamp(Timestamp(Some(sourced.accepted_at_us))),
    ])
}

/// The columns that are written into the table of a part of an order.
pub(super) fn part_columns<P: TableRow>() -> Vec<Column> {
    [&[KEY], P::COLUMNS].concat()
}

/// The values of [`part_columns`].
pub(super) fn part_values<'o>(
    order: &'o Order,
    part: &'o impl TableRow,
) -> impl Iterator<Item = Value<'o>> {
    std::iter::once(Value::Text(&order.order_uid)).chain(part.values())
}

/// The names of columns, for a list in SQL.
pub(super) fn names(columns: &[Column]) -> String {
    list(columns, |column| column.name.to_owned())
}

fn list(columns: &[Column], text: impl FnMut(&Column) -> String) -> String {
    let texts: Vec<String> = columns.iter().map(text).collect();
    texts.join(", ")
}

/// The end of an `INSERT INTO orders` that overwrites an older version.
pub(super) fn overwriting_older(mut columns: Vec<Column>) -> String {
    columns.retain(|column| column.kind != Kind::Uid);
    let new = list(&columns, |column| {
        format!("{0} = EXCLUDED.{0}", column.name)
    });
    format!("\nON CONFLICT (order_uid) DO UPDATE SET {new}{GUARD}")
}

/// The select list of an order without its items, from tables named `o`, `d` and `p`; `cast` is
/// appended to the expression of a column.
pub(super) fn select_order(cast: impl Fn(Kind) -> String) -> String {
    let tables = [
        ("o", Order::COLUMNS),
        ("d", Delivery::COLUMNS),
        ("p", Payment::COLUMNS),
    ];
    tables
        .map(|(table, columns)| select(table, columns, &cast))
        .join(", ")
}

/// The select list of an item, from a table named `i`.
pub(super) fn select_item(cast: impl Fn(Kind) -> String) -> String {
    select("i", Item::COLUMNS, &cast)
}

/// Rows that other programs wrote may hold NULL in every column but the key, and may lack their
/// delivery or payment row: such values read as "" and 0.
fn select(table: &str, columns: &[Column], cast: &impl Fn(Kind) -> String) -> String {
    list(columns, |&Column { name, kind, .. }| match kind {
        Kind::Uid => format!("{table}.{name}"),
        Kind::Text => format!("COALESCE({table}.{name}, '')"),
        Kind::Int | Kind::BigInt => format!("COALESCE({table}.{name}, 0){}", cast(kind)),
        Kind::Timestamp => format!("{table}.{name}{}", cast(kind)),
    })
}

/// A column of each kind, for tests.
#[cfg(test)]
pub(super) const SAMPLE: [Column; 5] = [
    KEY,
    Column {
        field: "size",
        name: "size_name",
        kind: Kind::Text,
    },
    source("sale", Kind::Int),
    source("amount", Kind::BigInt),
    source("at", Kind::Timestamp),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_read_as_zero_where_the_kind_has_one() {
        let cast = |kind| format!("::{kind:?}");
        assert_eq!(
            select("t", &SAMPLE, &cast),
            "t.order_uid, COALESCE(t.size_name, ''), COALESCE(t.sale, 0)::Int, \
             COALESCE(t.amount, 0)::BigInt, t.at::Timestamp"
        );
    }

    #[test]
    fn every_column_but_the_key_is_overwritten() {
        let overwriting = overwriting_older(SAMPLE.to_vec());
        assert!(
            overwriting.starts_with(
                "
ON CONFLICT (order_uid) DO UPDATE SET size_name = EXCLUDED.size_name, sale = EXCLUDED.sale, \
                 amount = EXCLUDED.amount, at = EXCLUDED.at
    WHERE orders.source_position IS NULL"
            ),
            "{overwriting}"
        );
    }
}
