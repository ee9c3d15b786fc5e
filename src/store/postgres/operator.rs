//! What the operators' commands ask of PostgreSQL.

use super::{PostgresStore, positions, schema};
use crate::store::operator::{OperatorStore, Positions};
use crate::store::{AppliedMigration, OwnedPosition, StoreError};

impl OperatorStore for PostgresStore {
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        schema::history(&mut self.client)
    }
}

impl Positions for PostgresStore {
    fn positions(&mut self, log_id: &str) -> Result<Vec<OwnedPosition>, StoreError> {
        let rows = self
            .statements
            .query(&mut self.client, &positions::SQL.of_log, &[&log_id])?;
        let mut positions: Vec<_> = rows.iter().map(positions::owned_position).collect();
        positions.sort_by_key(|owned| owned.position.partition);
        Ok(positions)
    }
}
