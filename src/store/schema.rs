//! What `orders migrate` needs of a database, and the values that go with it.

use super::StoreError;
use super::existing_tables::{self, Relation};

/// The SQL dialect of a database: each has its own migration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

/// A migration that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    pub version: i32,
    pub name: String,
    /// SHA-256 of the file with CRLF read as LF, in hex.
    pub checksum: String,
    /// RFC 3339, UTC.
    pub applied_at: String,
    /// Whether programs that do not know it work beside it, as the program that applied it said.
    pub is_compatible: bool,
}

/// A migration to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The number its name begins with.
    pub version: i32,
    pub name: &'static str,
    /// As in [`AppliedMigration`].
    pub checksum: String,
    /// Whether programs that know only the migrations before it go on working.
    pub is_compatible: bool,
    /// Whether it is applied in one transaction. Otherwise each statement runs by itself, and a run
    /// that is interrupted is repeated from the first: every statement must bear that.
    pub in_transaction: bool,
    pub sql: &'static str,
}

/// What `orders migrate` needs of a database; one connection.
pub trait Schema {
    /// Returns which migration files apply.
    fn dialect(&self) -> Dialect;

    /// Refuses a database that cannot hold orders (PostgreSQL: its encoding is not UTF8).
    fn check(&mut self) -> Result<(), StoreError>;

    /// Lists the applied migrations in order of version; empty when there is no history table yet.
    /// Writes nothing.
    fn history(&mut self) -> Result<Vec<AppliedMigration>, StoreError>;

    /// What has this name, be it a table or not; `None` where nothing has.
    fn relation(&mut self, name: &str) -> Result<Option<Relation>, StoreError>;

    /// Lists where the types of adopted tables differ from those that are written, a sentence each.
    fn differences(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Looks for go-orders' tables that no migration of this program created, and returns how they
    /// differ. Refuses a table of another program that has the name of one of ours.
    fn existing_tables(&mut self) -> Result<Option<Vec<String>>, StoreError> {
        let history = self.history()?;
        Ok(
            match existing_tables::check(&history, |name| self.relation(name))? {
                true => Some(self.differences()?),
                false => None,
            },
        )
    }

    /// Applies migrations in a transaction that is rolled back, where the engine can.
    fn rehearse(&mut self, _migrations: &[&Migration]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Tries to lock out parallel runs; `false` when another run has the lock. Does not wait. The
    /// lock ends with the connection.
    fn try_lock(&mut self) -> Result<bool, StoreError>;

    /// Applies one migration and its history row, in one transaction unless the migration is to run
    /// without; then the history row comes last.
    fn apply(&mut self, migration: &Migration) -> Result<(), StoreError>;
}
