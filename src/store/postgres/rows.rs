//! Writes orders into the four tables, whole columns at a time.
//!
//! An insert of a hundred orders or more is a binary COPY, which is about a tenth faster there and
//! slower below. Where the tables take no COPY, every insert is an INSERT.

use std::collections::HashSet;
use std::error::Error;
use std::sync::LazyLock;

use ::postgres::binary_copy::BinaryCopyInWriter;
use ::postgres::types::private::BytesMut;
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use ::postgres::{Error as PgError, Row};

use super::columns::{self, sql_type};
use super::micros::Micros;
use super::transaction::PostgresTransaction;
use crate::order::{Column, Delivery, Item, Order, Payment, TableRow, Value};
use crate::store::order_sql::{
    names, order_columns, order_values, overwriting_older, part_columns, part_values,
};
use crate::store::{Batch, SourcedOrder};

/// The number of orders from which on COPY is used.
const COPY_FROM: usize = 100;

static SQL: LazyLock<Sql> = LazyLock::new(Sql::new);

/// The statements that follow from the columns of an order.
struct Sql {
    orders: Insert,
    upsert_orders: String,
    delivery: Insert,
    payment: Insert,
    items: Insert,
}

impl Sql {
    fn new() -> Sql {
        let orders = Insert::new(Order::TABLE, &order_columns(), "");
        let upsert_orders = format!(
            "{}{}\nRETURNING order_uid",
            orders.statement,
            overwriting_older(order_columns())
        );
        let in_order = "\nORDER BY ordinal";
        Sql {
            orders,
            upsert_orders,
            delivery: Insert::new(Delivery::TABLE, &part_columns::<Delivery>(), ""),
            payment: Insert::new(Payment::TABLE, &part_columns::<Payment>(), ""),
            items: Insert::new(Item::TABLE, &part_columns::<Item>(), in_order),
        }
    }
}

/// The two ways of inserting rows into a table: a statement that takes an array for each column,
/// and COPY.
struct Insert {
    statement: String,
    copy: String,
    types: Vec<Type>,
}

impl Insert {
    fn new(table: &str, columns: &[Column], order: &str) -> Insert {
        let names = names(columns);
        let types: Vec<Type> = columns.iter().map(|column| sql_type(column.kind)).collect();
        let arrays: Vec<String> = (1..)
            .zip(&types)
            .map(|(number, array)| format!("${number}::{array}[]"))
            .collect();
        Insert {
            statement: format!(
                "INSERT INTO {table} ({names})\nSELECT {names}\nFROM unnest({})\n    \
                 WITH ORDINALITY AS given({names}, ordinal){order}",
                arrays.join(", ")
            ),
            copy: format!("COPY {table} ({names}) FROM STDIN BINARY"),
            types,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Value::Text(text) => text.to_sql(kind, out),
            Value::Int(number) => number.to_sql(kind, out),
            Value::BigInt(number) => number.to_sql(kind, out),
            Value::Timestamp(timestamp) => timestamp.0.map(Micros).to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::TEXT | Type::INT4 | Type::INT8 | Type::TIMESTAMPTZ
        )
    }

    to_sql_checked!();
}

type Orders<'o> = [&'o SourcedOrder];

impl PostgresTransaction<'_> {
    /// Inserts orders whose uids are not stored. Fails with SQLSTATE 23505 when another session has
    /// inserted one of them.
    pub(super) fn insert_orders(
        &mut self,
        batch: &Batch,
        orders: &Orders<'_>,
    ) -> Result<(), PgError> {
        let rows = orders.iter().map(|sourced| order_values(batch, sourced));
        self.insert(&SQL.orders, rows, orders.len())
    }

    /// Inserts orders, or overwrites older versions; returns the uids of those that it wrote.
    pub(super) fn upsert_orders(
        &mut self,
        batch: &Batch,
        orders: &Orders<'_>,
    ) -> Result<HashSet<String>, PgError> {
        let rows = orders.iter().map(|sourced| order_values(batch, sourced));
        let rows = self.query_arrays(&SQL.upsert_orders, &arrays(&SQL.orders, rows))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Inserts delivery, payment and items of orders that have none.
    pub(super) fn insert_order_parts(&mut self, orders: &Orders<'_>) -> Result<(), PgError> {
        let orders = || orders.iter().map(|sourced| &sourced.order);
        let delivery = orders().map(|order| part_values(order, &order.delivery));
        self.insert(&SQL.delivery, delivery, orders().len())?;
        let payment = orders().map(|order| part_values(order, &order.payment));
        self.insert(&SQL.payment, payment, orders().len())?;
        let items =
            orders().flat_map(|order| order.items.iter().map(move |item| part_values(order, item)));
        self.insert(&SQL.items, items, orders().len())
    }

    /// Inserts the rows of so many orders.
    fn insert<'v, V: Iterator<Item = Value<'v>>>(
        &mut self,
        insert: &'static Insert,
        rows: impl Iterator<Item = V>,
        orders: usize,
    ) -> Result<(), PgError> {
        if orders < COPY_FROM || !self.takes_copy()? {
            let arrays = arrays(insert, rows);
            if !arrays[0].is_empty() {
                self.query_arrays(&insert.statement, &arrays)?;
            }
            return Ok(());
        }
        let writer = self.transaction.copy_in(&insert.copy)?;
        let mut copy = BinaryCopyInWriter::new(writer, &insert.types);
        let mut values = Vec::with_capacity(insert.types.len());
        for row in rows {
            values.clear();
            values.extend(row);
            copy.write_raw(&values)?;
        }
        copy.finish().map(|_| ())
    }

    fn takes_copy(&mut self) -> Result<bool, PgError> {
        if let Some(known) = self.takes_copy {
            return Ok(*known);
        }
        let takes_copy = columns::take_copy(&mut self.transaction)?;
        *self.takes_copy = Some(takes_copy);
        Ok(takes_copy)
    }

    fn query_arrays(
        &mut self,
        sql: &'static str,
        arrays: &[Vec<Value<'_>>],
    ) -> Result<Vec<Row>, PgError> {
        let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
        self.statements
            .query(&mut self.transaction, sql, &parameters)
    }
}

/// Rows as one array for each column.
fn arrays<'v, V: Iterator<Item = Value<'v>>>(
    insert: &Insert,
    rows: impl Iterator<Item = V>,
) -> Vec<Vec<Value<'v>>> {
    let mut arrays = vec![Vec::new(); insert.types.len()];
    for row in rows {
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(value);
        }
    }
    arrays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::order_sql::SAMPLE;

    #[test]
    fn an_insert_takes_an_array_for_each_column() {
        let insert = Insert::new("sample", &SAMPLE, "\nORDER BY ordinal");
        assert_eq!(
            insert.statement,
            "INSERT INTO sample (order_uid, size_name, sale, amount, at)
SELECT order_uid, size_name, sale, amount, at
FROM unnest($1::text[], $2::text[], $3::int4[], $4::int8[], $5::timestamptz[])
    WITH ORDINALITY AS given(order_uid, size_name, sale, amount, at, ordinal)
ORDER BY ordinal"
        );
        assert_eq!(
            insert.copy,
            "COPY sample (order_uid, size_name, sale, amount, at) FROM STDIN BINARY"
        );
    }
}
