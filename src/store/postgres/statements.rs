//! The prepared statements of a connection.

use std::collections::HashMap;

use ::postgres::{Error as PgError, GenericClient, Statement};

/// Statements prepared once a connection, by their text.
#[derive(Default)]
pub(super) struct Statements(HashMap<&'static str, Statement>);

impl Statements {
    pub(super) fn get(
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

    pub(super) fn contains(&self, sql: &'static str) -> bool {
        self.0.contains_key(sql)
    }
}
