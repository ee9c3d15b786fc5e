//! What accounts for the records of a log, in one transaction.

use std::ops::ControlFlow;

use crate::pipeline::PartitionOffset;
use crate::store::operator::sql;
use crate::store::postgres::micros::Micros;
use crate::store::postgres::schema::NO_TIMEOUTS;
use crate::store::postgres::{PostgresStore, positions};
use crate::store::rejections::PRUNED;
use crate::store::{Accounted, Accounting, Erasure, OrderSource, SourcedRow, StoreError};

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Accounting for PostgresStore {
    fn account(
        &mut self,
        log_id: &str,
        visit: &mut dyn FnMut(Accounted<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // The scan of a large table takes longer than a statement of the consumer may.
        self.client.execute(NO_TIMEOUTS, &[])?;
        self.client.batch_execute(BEGIN)?;
        self.visit_all(log_id, visit)?;
        self.client.batch_execute("COMMIT")?;
        Ok(())
    }
}

impl PostgresStore {
    fn visit_all(
        &mut self,
        log_id: &str,
        visit: &mut dyn FnMut(Accounted<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let PostgresStore {
            client, statements, ..
        } = self;
        let mut go_on = ControlFlow::Continue(());
        statements.query_each(client, &positions::SQL.of_log, &[&log_id], |row| {
            go_on = visit(Accounted::Position(positions::position(&row)));
            go_on
        })?;
        if go_on.is_continue() {
            statements.query_each(client, sql::GAPS, &[&log_id, &PRUNED], |row| {
                go_on = visit(Accounted::Gap {
                    partition: row.get(0),
                    from: row.get(1),
                    to: row.get(2),
                });
                go_on
            })?;
        }
        if go_on.is_continue() {
            statements.query_each(client, sql::DEAD_LETTERS, &[&log_id, &PRUNED], |row| {
                let at = PartitionOffset::new(row.get(0), row.get(1));
                go_on = visit(Accounted::DeadLetter(at));
                go_on
            })?;
        }
        if go_on.is_continue() {
            statements.query_each(client, sql::ERASURES, &[], |row| {
                // A digest of another length is no uid's.
                if let Ok(uid_sha256) = row.get::<_, &[u8]>(0).try_into() {
                    go_on = visit(Accounted::Erasure(Erasure {
                        uid_sha256,
                        erased_until_us: row.get::<_, Micros>(1).0,
                    }));
                }
                go_on
            })?;
        }
        if go_on.is_continue() {
            statements.query_each(client, sql::ORDERS, &[], |row| {
                let source = || {
                    Some(OrderSource {
                        position_id: row.get::<_, Option<i64>>(1)?,
                        epoch: row.get::<_, Option<i32>>(2)?,
                        offset: row.get::<_, Option<i64>>(3)?,
                    })
                };
                visit(Accounted::Order(SourcedRow {
                    order_uid: row.get(0),
                    source: source(),
                    accepted_at_us: row.get::<_, Option<Micros>>(4).map(|micros| micros.0),
                }))
            })?;
        }
        Ok(())
    }
}
