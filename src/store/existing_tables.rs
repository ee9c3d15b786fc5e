//! Tables that existed before a migration: whether they are go-orders', or another program's.
//!
//! Owns the columns that identify each table; the engines say what a database has. A table of one of
//! our names that belongs to another program must not be altered or written: that is an error.

use super::{AppliedMigration, StoreError};

/// The table of the applied migrations.
pub(super) const HISTORY: &str = "orders_migrations";

/// Its columns.
const HISTORY_COLUMNS: &str = "version name checksum applied_at";

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

/// Tables that only migrations of this program create, each with the version that does.
const OWN_TABLES: [(&str, i32); 5] = [
    ("log_positions", 2),
    ("dead_letters", 2),
    ("log_gaps", 2),
    ("erasures", 3),
    ("accepted_gaps", 3),
];

const HINT: &str = "use a database of its own";

/// What a database has under some name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `table`, `view`, …
    pub kind: String,
    pub columns: Vec<String>,
}

/// Refuses a history that another program wrote.
pub(super) fn check_history(found: &Relation) -> Result<(), StoreError> {
    match mismatch(found, HISTORY_COLUMNS) {
        None => Ok(()),
        Some(reason) => Err(foreign(found, HISTORY, &reason)),
    }
}

/// Whether go-orders' tables exist although no migration created them. `relation` says what a
/// database has under a name. [`StoreError::Misconfigured`] when it is another program's.
pub(super) fn check(
    history: &[AppliedMigration],
    mut relation: impl FnMut(&str) -> Result<Option<Relation>, StoreError>,
) -> Result<bool, StoreError> {
    for (table, version) in OWN_TABLES {
        if history.iter().any(|applied| applied.version >= version) {
            continue;
        }
        if let Some(found) = relation(table)? {
            return Err(foreign(&found, table, "this program did not create it"));
        }
    }
    let mut exist = false;
    for (table, columns) in TABLES {
        if !history.is_empty() {
            break;
        }
        let Some(found) = relation(table)? else {
            continue;
        };
        exist = true;
        if let Some(reason) = mismatch(&found, columns) {
            return Err(foreign(&found, table, &reason));
        }
    }
    Ok(exist)
}

/// Why it is not the table with these columns.
fn mismatch(found: &Relation, expected: &str) -> Option<String> {
    if found.kind != "table" {
        return Some("it is not a table".into());
    }
    let is_missing = |expected: &&str| found.columns.iter().all(|column| column != expected);
    let column = expected.split(' ').find(is_missing)?;
    Some(format!("it has no column `{column}`"))
}

fn foreign(found: &Relation, name: &str, reason: &str) -> StoreError {
    let kind = &found.kind;
    let what = match TABLES.iter().any(|(table, _)| *table == name) {
        true => "that is not an order table",
        false => "of another program",
    };
    StoreError::Misconfigured(format!(
        "there is a {kind} `{name}` {what}, {reason}: {HINT}"
    ))
}
