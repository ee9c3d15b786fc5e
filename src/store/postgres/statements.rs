//! The prepared statements of a connection.

use std::collections::HashMap;
use std::ops::ControlFlow;

use ::postgres::fallible_iterator::FallibleIterator as _;
use ::postgres::types::ToSql;
use ::postgres::{Error as PgError, GenericClient, Portal, Row, Statement, Transaction};

/// Statements prepared once a connection, by their text.
#[derive(Default)]
pub(super) struct Statements(HashMap<&'static str, Statement>);

impl Statements {
    pub(super) fn query(
        &mut self,
        client: &mut impl GenericClient,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PgError> {
        let statement = self.prepared(client, sql)?;
        client.query(&statement, parameters)
    }

    /// Passes on one row after the other as they come, until `each` breaks.
    pub(super) fn query_each(
        &mut self,
        client: &mut impl GenericClient,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
        mut each: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), PgError> {
        let statement = self.prepared(client, sql)?;
        let mut rows = client.query_raw(&statement, parameters.iter().copied())?;
        while let Some(row) = rows.next()? {
            if each(row).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// A query whose rows are then read in pages.
    pub(super) fn bind(
        &mut self,
        transaction: &mut Transaction<'_>,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Portal, PgError> {
        let statement = self.prepared(transaction, sql)?;
        transaction.bind(&statement, parameters)
    }

    /// Returns how many rows were written.
    pub(super) fn execute(
        &mut self,
        client: &mut impl GenericClient,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, PgError> {
        let statement = self.prepared(client, sql)?;
        client.execute(&statement, parameters)
    }

    pub(super) fn contains(&self, sql: &'static str) -> bool {
        self.0.contains_key(sql)
    }

    fn prepared(
        &mut self,
        client: &mut impl GenericClient,
        sql: &'static str,
    ) -> Result<Statement, PgError> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = client.prepare(sql)?;
        self.0.insert(sql, statement.clone());
        Ok(statement)
    }
}
