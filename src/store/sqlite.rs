//! The store in a SQLite file: the embedded engine. No other software is required.
//!
//! Owns opening the file and what its errors mean for the consumer. In `sqlite/`: `transaction`
//! provides the steps of a write, `positions`, `dead_letters`, `erasures`, `gaps` and `rows` their
//! statements, `lookup` and `snapshot` read, `operator` does what operators ask, `schema` migrates.
//!
//! # Invariants
//!
//! Only `orders migrate` creates a file: a consumer with a wrong path must not create a second
//! store. Connecting to a missing file succeeds and the calls fail with a hint at `orders migrate`,
//! as with a server whose database has no tables.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Error as SqliteError, Transaction};

use super::apply::{self, WriteConnection, WriteTransaction};
use super::{
    Applied, AppliedMigration, Batch, Claim, Holder, LookupResults, OperatorStore, OrderStore,
    Position, RejectionWindow, Schema, Snapshot, StartDecision, StoreEngine, StoreError,
    StoredOrder,
};
use crate::order::Timestamp;
use crate::sqlite_file::{Access, FileError, FileErrorKind, GuardedFile, OpenFile, Warning};

mod dead_letters;
mod erasures;
mod gaps;
mod lookup;
mod operator;
mod positions;
mod rows;
mod schema;
mod snapshot;
mod transaction;

/// Settings of a connection. A commit of a thousand orders writes some thousand pages: a checkpoint
/// after each (the default is at 1000 pages) would write every page of an index once a batch.
const SETTINGS: &str = "PRAGMA cache_size = -24576; PRAGMA wal_autocheckpoint = 8000;";

/// What to do about a path that cannot be used.
const HINT: &str = "it must be a file on a local disk, in a folder that can be written; DB_URL \
    names another, as in sqlite:/var/lib/orders/store.db";

/// The capacity of the cache of prepared statements; larger than their number.
const STATEMENTS: usize = 48;

/// A SQLite file that connections can be opened to.
pub struct SqliteEngine {
    file: Arc<GuardedFile>,
}

impl SqliteEngine {
    /// Stores the path; opens nothing.
    pub fn new(file: &Path) -> SqliteEngine {
        SqliteEngine {
            file: Arc::new(GuardedFile::new(file.to_owned(), HINT)),
        }
    }
}

impl SqliteEngine {
    fn store(&self) -> Result<SqliteStore, StoreError> {
        let open = if self.file.is_missing() {
            None
        } else {
            Some(self.file.open(Access::Write, configure(&self.file))?)
        };
        Ok(SqliteStore {
            open,
            file: self.file.clone(),
            data_version: None,
        })
    }
}

impl StoreEngine for SqliteEngine {
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError> {
        Ok(Box::new(self.store()?))
    }

    fn schema(&self) -> Result<Box<dyn Schema>, StoreError> {
        Ok(Box::new(schema::SqliteSchema::open(&self.file)?))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(snapshot::SqliteSnapshot::create(&self.file)?))
    }

    fn operator(&self) -> Result<Box<dyn OperatorStore>, StoreError> {
        Ok(Box::new(self.store()?))
    }

    fn describe(&self) -> String {
        self.file.path().display().to_string()
    }

    fn warning(&self) -> Option<String> {
        self.file.warnings.first()
    }
}

fn missing(file: &GuardedFile) -> StoreError {
    let file = file.path().display();
    StoreError::Misconfigured(format!("there is no file `{file}`: run `orders migrate`"))
}

/// Configures a connection to the store.
fn configure(file: &GuardedFile) -> impl FnOnce(&Connection) -> Result<(), FileError> {
    |connection| {
        connection
            .execute_batch(SETTINGS)
            .map_err(|error| file.classify(&error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(())
    }
}

/// Opens the file for reading; `None` when there is none.
fn inspect(file: &Arc<GuardedFile>) -> Result<Option<OpenFile>, StoreError> {
    if file.is_missing() {
        return Ok(None);
    }
    Ok(Some(file.open(Access::Inspect, configure(file))?))
}

/// One connection with its prepared statements.
struct SqliteStore {
    file: Arc<GuardedFile>,
    /// `None` when there was no file.
    open: Option<OpenFile>,
    /// The data version at the last ping.
    data_version: Option<i64>,
}

impl SqliteStore {
    /// Returns the open file, if it is still the one at the path. Writes to a file without a name
    /// would be lost at the end of the process.
    fn open(&mut self) -> Result<&mut OpenFile, StoreError> {
        let Some(open) = &mut self.open else {
            return Err(missing(&self.file));
        };
        open.ensure_current()?;
        Ok(open)
    }

    /// Runs `work` on one snapshot. It must be short: meanwhile the WAL cannot be truncated.
    fn reading<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        let transaction = self.open()?.connection.transaction();
        let read = transaction.and_then(|transaction| {
            let read = work(&transaction)?;
            transaction.commit()?;
            Ok(read)
        });
        read.map_err(|error| self.file.classify(&error).into())
    }

    /// Truncates the WAL if no connection has written since the last ping, or if it is large. A
    /// failure is only a warning, because orders can still be stored.
    fn maintain_wal(&mut self) {
        let Some(open) = &self.open else {
            return;
        };
        let version = open.data_version().map_err(|error| open.error(&error));
        let maintained = version.and_then(|version| {
            // A later commit only postpones it.
            let is_idle = self.data_version.replace(version) == Some(version);
            open.maintain_wal(is_idle)
        });
        let failure = maintained.err().map(|error| error.to_string());
        self.file.warnings.set(Warning::Failure, failure);
    }
}

/// What cannot be retried is [`StoreError::Misconfigured`]: stopping is harmless, losing data is
/// not.
impl From<FileError> for StoreError {
    fn from(error: FileError) -> StoreError {
        let reason = error.to_string();
        match error.kind {
            FileErrorKind::Busy => StoreError::Contended(reason),
            FileErrorKind::Refused => StoreError::Rejected(reason),
            // A failed COMMIT may be on the disk or not: the position shows it to the next
            // connection.
            FileErrorKind::Full
            | FileErrorKind::ReadOnly
            | FileErrorKind::Missing
            | FileErrorKind::Changed
            | FileErrorKind::Disk => StoreError::Unavailable(reason),
            FileErrorKind::NotAFile
            | FileErrorKind::ForeignWal
            | FileErrorKind::Damaged
            | FileErrorKind::Misused => StoreError::Misconfigured(reason),
        }
    }
}

impl OrderStore for SqliteStore {
    fn acquire(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError> {
        let transaction = self.begin()?;
        let acquired = transaction.run(|connection| positions::acquire(connection, claim))?;
        transaction.commit()?;
        Ok(acquired)
    }

    fn commit_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        apply::commit_start(self, claim, decision)
    }

    fn apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        apply::apply(self, batch, window)
    }

    fn lookup(&mut self, log_id: &str, uids: &[&str]) -> Result<LookupResults, StoreError> {
        self.read_uids(log_id, uids)
    }

    fn latest(
        &mut self,
        log_id: &str,
        limit: usize,
        visit: &mut dyn FnMut(StoredOrder) -> ControlFlow<()>,
    ) -> Result<Vec<Position>, StoreError> {
        self.read_latest(log_id, limit, visit)
    }

    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError> {
        let found = self.reading(|transaction| positions::find(transaction, log_id, partition))?;
        Ok(found.map(|found| found.position))
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        let (log_id, partition) = (&claim.log_id, claim.partition);
        let found = self.reading(|transaction| positions::find(transaction, log_id, partition))?;
        Ok(found.and_then(|found| found.other_than(claim.owner)))
    }

    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        if self.open.is_none() {
            return Ok(Vec::new());
        }
        self.reading(|transaction| schema::history(transaction))
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        self.reading(|transaction| {
            // Reads the file's first page, which a bare `SELECT 1` would not.
            transaction
                .prepare_cached("SELECT count(*) FROM sqlite_schema")?
                .query_row([], |_| Ok(()))?;
            Ok(())
        })?;
        self.maintain_wal();
        Ok(())
    }
}

/// A timestamp as it is stored. The years 0001 to 9999 are the limits: no accept time and no date
/// of an order lies outside.
fn timestamp_text(micros: i64) -> String {
    let (first, last) = Timestamp::MICROS.into_inner();
    Timestamp(Some(micros.clamp(first, last)))
        .sortable()
        .expect("the years 0001 to 9999 can be written")
}

#[cfg(test)]
mod tests;
