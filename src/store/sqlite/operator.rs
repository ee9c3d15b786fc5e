//! What the operators' commands ask of a SQLite file.

use super::{SqliteStore, positions};
use crate::store::operator::{OperatorStore, Positions};
use crate::store::{AppliedMigration, OrderStore, OwnedPosition, StoreError};

impl OperatorStore for SqliteStore {
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        OrderStore::applied_migrations(self)
    }
}

impl Positions for SqliteStore {
    fn positions(&mut self, log_id: &str) -> Result<Vec<OwnedPosition>, StoreError> {
        let mut positions =
            self.reading(|transaction| positions::owned_of_log(transaction, log_id))?;
        positions.sort_by_key(|owned| owned.position.partition);
        Ok(positions)
    }
}
