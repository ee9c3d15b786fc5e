//! The columns of the four tables as this database has them.
//!
//! Tables that were adopted may have other types than the first migration gives them, and a database
//! may have row-level security: INSERT takes both, and COPY neither.

use std::sync::Once;

use ::postgres::types::Type;
use ::postgres::{Client, Error as PgError, GenericClient};

use crate::order::{Column, Delivery, Item, Kind, Order, Payment, TableRow};
use crate::store::StoreError;
use crate::store::order_sql::part_columns;

const COLUMNS: &str = "
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid,
           t.typtype = 'd' OR t.typcategory = 'S', row_security_active(c.oid)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = current_schema() AND c.relname = ANY($1)
    ORDER BY 1, a.attnum";

/// Whether a value of one type is assigned to a column of another without a cast.
const IS_ASSIGNED: &str = "
    SELECT EXISTS (SELECT FROM pg_cast WHERE castsource = $1 AND casttarget = $2
                   AND castcontext IN ('a', 'i'))";

/// A column of one of the four tables.
struct Found {
    table: String,
    name: String,
    type_name: String,
    type_id: u32,
    /// A string or a domain: the server converts every value, or says why not.
    is_lenient: bool,
    has_row_security: bool,
}

/// Why rows are inserted where COPY was meant; it is logged once.
static REPORTED: Once = Once::new();

/// What differs from the types that are written, a sentence for each column of a table that was
/// adopted. [`StoreError::Misconfigured`] when a column takes no value of the type that is written.
pub(super) fn differences(client: &mut Client) -> Result<Vec<String>, StoreError> {
    let mut differences = Vec::new();
    for (found, kind) in differing(&read(client)?) {
        let Found {
            table,
            name,
            type_name,
            ..
        } = found;
        let expected = type_name_of(kind);
        let source = sql_type(kind).oid();
        let is_assigned = client.query_one(IS_ASSIGNED, &[&source, &found.type_id])?;
        if !(found.is_lenient || is_assigned.get(0)) {
            return Err(StoreError::Misconfigured(format!(
                "the column `{table}.{name}` is `{type_name}`, which takes no `{expected}`: the \
                 table is not an order table, use a database or a schema of its own"
            )));
        }
        differences.push(format!(
            "the column `{table}.{name}` is `{type_name}` and not `{expected}`: an order with a \
             value that it does not take becomes a dead letter; to widen it: \
             ALTER TABLE {table} ALTER COLUMN {name} TYPE {expected}"
        ));
    }
    Ok(differences)
}

/// Whether the four tables take a binary COPY: its values must have the very types of the columns.
pub(super) fn take_copy(client: &mut impl GenericClient) -> Result<bool, PgError> {
    let columns = read(client)?;
    let secured = columns.iter().find(|column| column.has_row_security);
    let reason = match (secured, differing(&columns).next()) {
        (Some(column), _) => format!("`{}` has row-level security", column.table),
        (None, Some((column, _))) => {
            format!(
                "`{}.{}` is `{}`",
                column.table, column.name, column.type_name
            )
        }
        (None, None) => return Ok(true),
    };
    REPORTED.call_once(|| tracing::info!("large batches are inserted without COPY: {reason}"));
    Ok(false)
}

fn read(client: &mut impl GenericClient) -> Result<Vec<Found>, PgError> {
    let tables = [Order::TABLE, Delivery::TABLE, Payment::TABLE, Item::TABLE];
    let rows = client.query(COLUMNS, &[&tables.as_slice()])?;
    let found = rows.iter().map(|row| Found {
        table: row.get(0),
        name: row.get(1),
        type_name: row.get(2),
        type_id: row.get(3),
        is_lenient: row.get(4),
        has_row_security: row.get(5),
    });
    Ok(found.collect())
}

/// The columns whose type is another than the one that is written, with the latter.
fn differing(columns: &[Found]) -> impl Iterator<Item = (&Found, Kind)> {
    columns.iter().filter_map(|found| {
        let kind = kind_of(&found.table, &found.name)?;
        (sql_type(kind).oid() != found.type_id).then_some((found, kind))
    })
}

/// What an order has in this column; `None` for a column that is not the order's.
fn kind_of(table: &str, name: &str) -> Option<Kind> {
    let columns: Vec<Column> = match table {
        Order::TABLE => Order::COLUMNS.to_vec(),
        Delivery::TABLE => part_columns::<Delivery>(),
        Payment::TABLE => part_columns::<Payment>(),
        Item::TABLE => part_columns::<Item>(),
        _ => return None,
    };
    let column = columns.iter().find(|column| column.name == name)?;
    Some(column.kind)
}

/// The type of a column, as in the first migration.
pub(super) fn sql_type(kind: Kind) -> Type {
    match kind {
        Kind::Uid | Kind::Text => Type::TEXT,
        Kind::Int => Type::INT4,
        Kind::BigInt => Type::INT8,
        Kind::Timestamp => Type::TIMESTAMPTZ,
    }
}

/// The type's name as the server writes it.
fn type_name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Uid | Kind::Text => "text",
        Kind::Int => "integer",
        Kind::BigInt => "bigint",
        Kind::Timestamp => "timestamp with time zone",
    }
}
