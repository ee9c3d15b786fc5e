//! Tables that existed before the first migration: whether they are go-orders'.
//!
//! Owns the columns that identify each table; the engines list those that a database has. A table
//! of the right name and other columns belongs to another program, which altering it would break:
//! that is an error.

use super::StoreError;

/// go-orders' tables, and the columns that identify them.
const TABLES: [(&str, &str); 4] = [
    (
        "orders",
        "order_uid track_number sm_id date_created oof_shard created_at",
    ),
    (
        "delivery",
        "order_uid name phone zip city address region email",
    ),
    (
        "payment",
        "order_uid transaction_id amount payment_dt custom_fee",
    ),
    ("items", "id order_uid chrt_id rid total_price nm_id status"),
];

/// Whether go-orders' tables exist. `columns_of` lists the columns of a table, none when there is
/// no such table. [`StoreError::Misconfigured`] when a table of that name is another program's.
pub(super) fn has_order_tables(
    mut columns_of: impl FnMut(&str) -> Result<Vec<String>, StoreError>,
) -> Result<bool, StoreError> {
    let mut found = false;
    for (table, expected) in TABLES {
        let columns = columns_of(table)?;
        if columns.is_empty() {
            continue;
        }
        found = true;
        let is_missing = |expected: &&str| columns.iter().all(|column| column != expected);
        if let Some(column) = expected.split(' ').find(is_missing) {
            return Err(StoreError::Misconfigured(format!(
                "there is a table `{table}` that is not an order table, it has no column \
                 `{column}`: use a database of its own"
            )));
        }
    }
    Ok(found)
}
