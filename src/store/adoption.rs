//! Tables that were there before the first migration of ours: whether they are go-orders'.
//!
//! Owns by which columns its tables are known; how a database tells the columns of a table is the
//! engine's business. The surprising thing: a table of the right name and other columns is an error,
//! since it belongs to another program, and altering it would harm that.

use super::StoreError;

/// go-orders' tables, and the columns by which they are known as such.
const FOREIGN: [(&str, &[&str]); 4] = [
    (
        "orders",
        &[
            "order_uid",
            "track_number",
            "sm_id",
            "date_created",
            "oof_shard",
            "created_at",
        ],
    ),
    (
        "delivery",
        &[
            "order_uid",
            "name",
            "phone",
            "zip",
            "city",
            "address",
            "region",
            "email",
        ],
    ),
    (
        "payment",
        &[
            "order_uid",
            "transaction_id",
            "amount",
            "payment_dt",
            "custom_fee",
        ],
    ),
    (
        "items",
        &[
            "id",
            "order_uid",
            "chrt_id",
            "rid",
            "total_price",
            "nm_id",
            "status",
        ],
    ),
];

/// Whether go-orders' tables are there, by `columns_of`, which gives no columns for a table that is
/// not. [`StoreError::Misconfigured`] when a table of that name is another program's.
pub(super) fn has_order_tables(
    mut columns_of: impl FnMut(&str) -> Result<Vec<String>, StoreError>,
) -> Result<bool, StoreError> {
    let mut found = false;
    for (table, expected) in FOREIGN {
        let columns = columns_of(table)?;
        if columns.is_empty() {
            continue;
        }
        found = true;
        // Another program's table of that name must not be altered.
        let is_missing = |column: &&&str| !columns.iter().any(|known| known == **column);
        if let Some(column) = expected.iter().find(is_missing) {
            return Err(StoreError::Misconfigured(format!(
                "there is a table `{table}` that is not an order table, it has no column \
                 `{column}`: use a database of its own"
            )));
        }
    }
    Ok(found)
}
