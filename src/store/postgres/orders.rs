//! Reads whole orders.
//!
//! Many orders take two queries: one row for each order, with its delivery and payment, and one row
//! for each item. A join of all would repeat an order for each of its items.
//!
//! Rows that other programs wrote may hold NULL in every column but the key, and may lack their
//! delivery or payment row: such values are read as "" and 0.

use std::convert::Infallible;

use ::postgres::Row;
use ::postgres::types::FromSql;

use super::columns::sql_type;
use super::micros::Micros;
use crate::order::{
    ColumnReader, Delivery, FromColumns, Item, Kind, Order, Payment, TableRow, Timestamp,
};
use crate::store::order_sql::{select_item, select_order};
use crate::store::source::current_source;
use crate::store::{Position, StoredOrder};

/// The columns of [`stored`], from tables named `o`, `d` and `p`.
pub(super) fn order_columns() -> String {
    format!(
        "{}, o.source_position, o.source_epoch, o.source_offset, o.accepted_at",
        select_order(cast)
    )
}

/// How many columns [`order_columns`] has.
pub(super) const ORDER_COLUMNS: usize = SOURCE + 4;

const SOURCE: usize = Order::COLUMNS.len() + Delivery::COLUMNS.len() + Payment::COLUMNS.len();

/// The columns of [`item`], from a table named `i`.
pub(super) fn item_columns() -> String {
    select_item(cast)
}

fn cast(kind: Kind) -> String {
    format!("::{}", sql_type(kind))
}

/// Selects the orders of a subquery, with the columns of [`stored`]. `range` is a condition that every
/// one of them meets, on tables that have their uids.
pub(super) fn select_orders(rows: &str, range: &str, order_by: &str) -> String {
    format!(
        "SELECT {}
    FROM ({rows}) o
    LEFT JOIN (SELECT * FROM delivery {range}) d ON d.order_uid = o.order_uid
    LEFT JOIN (SELECT * FROM payment {range}) p ON p.order_uid = o.order_uid
    ORDER BY o.{order_by}",
        order_columns()
    )
}

/// Selects the items of the orders whose uids are `$1`, in the sequence of the uids: the number of
/// the order, from 1, then the columns of [`item`]. `range` is as in [`select_orders`].
pub(super) fn select_items(range: &str) -> String {
    format!(
        "SELECT q.number, {}
    FROM unnest($1::text[]) WITH ORDINALITY AS q(uid, number)
    JOIN (SELECT * FROM items {range}) i ON i.order_uid = q.uid
    ORDER BY q.number, i.id",
        item_columns()
    )
}

/// Reads an order without its items.
pub(super) fn stored(row: &Row, positions: &[Position]) -> StoredOrder {
    let Ok(order) = Order::from_columns(&mut Columns { row, next: 0 });
    StoredOrder {
        order,
        source: current_source(
            positions,
            row.get(SOURCE),
            row.get(SOURCE + 1),
            row.get(SOURCE + 2),
        ),
        accepted_at_us: row
            .get::<_, Option<Micros>>(SOURCE + 3)
            .map(|micros| micros.0),
    }
}

/// Reads an item whose columns begin with the `first`.
pub(super) fn item(row: &Row, first: usize) -> Item {
    let Ok(item) = Item::from_columns(&mut Columns { row, next: first });
    item
}

/// Reads columns that the select lists have given the types that are expected.
struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    fn get<V: FromSql<'r>>(&mut self) -> V {
        self.next += 1;
        self.row.get(self.next - 1)
    }
}

impl ColumnReader for Columns<'_> {
    type Error = Infallible;

    fn text(&mut self) -> Result<String, Infallible> {
        Ok(self.get())
    }

    fn int(&mut self) -> Result<i32, Infallible> {
        Ok(self.get())
    }

    fn bigint(&mut self) -> Result<i64, Infallible> {
        Ok(self.get())
    }

    fn timestamp(&mut self) -> Result<Timestamp, Infallible> {
        let micros: Option<Micros> = self.get();
        Ok(micros.map_or(Timestamp(None), |micros| Timestamp::from_micros(micros.0)))
    }
}
