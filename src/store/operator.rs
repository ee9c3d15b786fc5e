//! What the operators' commands ask of a store, and do to it.
//!
//! One connection, owned by one thread; every call blocks, and is bounded by the limits of the
//! connection. What belongs together is a trait of its own, so that a command names what it needs.

use super::{AppliedMigration, OwnedPosition, StoreError};

/// Everything that operators ask of a store.
pub trait OperatorStore: Positions + Send {
    /// Lists the applied migrations in order of version; empty when there is no history table.
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError>;
}

/// How far each partition is applied, and by whom.
pub trait Positions {
    /// Reads the positions of a log and their owners, by partition.
    fn positions(&mut self, log_id: &str) -> Result<Vec<OwnedPosition>, StoreError>;
}
