//! What accounts for the records of a log, in one read transaction of the file itself: it reads the
//! table of orders alone, so it is short, unlike the copy of a whole store.

use std::ops::ControlFlow;

use rusqlite::{Connection, Error as SqliteError, Params, Row};

use crate::order::Timestamp;
use crate::pipeline::PartitionOffset;
use crate::store::operator::sql;
use crate::store::rejections::PRUNED;
use crate::store::sqlite::{SqliteStore, positions};
use crate::store::{Accounted, Accounting, Erasure, OrderSource, SourcedRow, StoreError};

type Visit<'v> = dyn FnMut(Accounted<'_>) -> ControlFlow<()> + 'v;

impl Accounting for SqliteStore {
    fn account(&mut self, log_id: &str, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.reading(|transaction| visit_all(transaction, log_id, visit))
    }
}

fn visit_all(
    connection: &Connection,
    log_id: &str,
    visit: &mut Visit<'_>,
) -> Result<(), SqliteError> {
    for position in positions::of_log(connection, log_id)? {
        if visit(Accounted::Position(position)).is_break() {
            return Ok(());
        }
    }
    let gaps = each(connection, sql::GAPS, [log_id, PRUNED], |row| {
        Ok(visit(Accounted::Gap {
            partition: row.get(0)?,
            from: row.get(1)?,
            to: row.get(2)?,
        }))
    })?;
    if gaps.is_break() {
        return Ok(());
    }
    let letters = each(connection, sql::DEAD_LETTERS, [log_id, PRUNED], |row| {
        let at = PartitionOffset::new(row.get(0)?, row.get(1)?);
        Ok(visit(Accounted::DeadLetter(at)))
    })?;
    if letters.is_break() {
        return Ok(());
    }
    let erasures = each(connection, sql::ERASURES, [], |row| {
        let until_us = micros(row, 1)?;
        // A digest of another length is no uid's.
        let digest = row.get_ref(0)?.as_blob()?.try_into().ok();
        let erasure = digest
            .zip(until_us)
            .map(|(uid_sha256, erased_until_us)| Erasure {
                uid_sha256,
                erased_until_us,
            });
        Ok(erasure.map_or(ControlFlow::Continue(()), |erasure| {
            visit(Accounted::Erasure(erasure))
        }))
    })?;
    if erasures.is_break() {
        return Ok(());
    }
    let orders = each(connection, sql::ORDERS, [], |row| {
        let columns: (Option<i64>, Option<i32>, Option<i64>) =
            (row.get(1)?, row.get(2)?, row.get(3)?);
        let source = match columns {
            (Some(position_id), Some(epoch), Some(offset)) => Some(OrderSource {
                position_id,
                epoch,
                offset,
            }),
            _ => None,
        };
        Ok(visit(Accounted::Order(SourcedRow {
            order_uid: row.get_ref(0)?.as_str()?,
            source,
            accepted_at_us: micros(row, 4)?,
        })))
    });
    orders.map(|_| ())
}

fn each(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    mut visit: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, SqliteError>,
) -> Result<ControlFlow<()>, SqliteError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        if visit(row)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn micros(row: &Row<'_>, column: usize) -> Result<Option<i64>, SqliteError> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    Ok(text.and_then(|text| Timestamp::parse(text).ok()?.0))
}
