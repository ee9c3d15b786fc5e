//! The store in a SQLite file: nothing to install, one machine.
//!
//! Owns opening the file, noticing that it is gone, and what SQLite's errors mean for the consumer;
//! the parts live in `sqlite/`: `transaction` (the steps of a write), `lookup` and
//! `snapshot` (reading) and `schema` (migrations). The
//! surprising thing: a file that is not there is no error of connecting. As with a server whose
//! database has no tables, the answer is `orders migrate`, and only that makes a file; a consumer
//! with a wrong path must not begin a second store.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{
    Connection, Error as SqliteError, Row, Transaction, TransactionBehavior, ffi, params,
};

use super::*;
use crate::sqlite_file::{Access, FileError, FileErrorKind, GuardedFile, OpenFile};

mod dead_letters;
mod gaps;
mod lookup;
mod positions;
mod rows;
mod schema;
mod snapshot;
mod transaction;

/// Per connection. A commit of a thousand orders writes some thousand pages: a checkpoint after each
/// (the default is at 1000 pages) would write every page of an index once a batch.
const SETTINGS: &str = "PRAGMA cache_size = -24576; PRAGMA wal_autocheckpoint = 8000;";

/// What to do about a path that cannot be one.
const ELSEWHERE: &str = "it must be a file on a local disk, in a folder that can be written; DB_URL \
    names another, as in sqlite:/var/lib/orders/store.db";

/// More than there are statements.
const STATEMENTS: usize = 48;

/// A SQLite file that connections can be opened to.
pub struct SqliteEngine {
    file: Arc<GuardedFile>,
}

impl SqliteEngine {
    /// Names a file; touches nothing.
    pub fn new(file: &Path) -> SqliteEngine {
        SqliteEngine {
            file: Arc::new(GuardedFile::new(file.to_owned(), ELSEWHERE)),
        }
    }
}

impl StoreEngine for SqliteEngine {
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError> {
        let open = if self.file.is_missing() {
            None
        } else {
            Some(self.file.open(Access::Write, configure(&self.file))?)
        };
        Ok(Box::new(SqliteStore {
            open,
            file: self.file.clone(),
            version: None,
        }))
    }

    fn schema(&self) -> Result<Box<dyn Schema>, StoreError> {
        Ok(Box::new(schema::SqliteSchema::open(&self.file)?))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(snapshot::SqliteSnapshot::take(&self.file)?))
    }

    fn describe(&self) -> String {
        self.file.path().display().to_string()
    }

    fn warning(&self) -> Option<String> {
        self.file.warning()
    }
}

fn not_there(file: &Path) -> StoreError {
    let file = file.display();
    StoreError::Misconfigured(format!("there is no file `{file}`: run `orders migrate`"))
}

/// Configures a connection to the store.
fn configure(file: &GuardedFile) -> impl FnOnce(&Connection) -> Result<(), FileError> {
    |connection| {
        connection
            .execute_batch(SETTINGS)
            .map_err(|error| FileError::of(file.path(), &error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(())
    }
}

/// Opens the file for questions; `None` when there is none.
fn inspect(file: &Arc<GuardedFile>) -> Result<Option<OpenFile>, StoreError> {
    if file.is_missing() {
        return Ok(None);
    }
    Ok(Some(file.inspect(configure(file))?))
}

/// One connection with its prepared statements.
struct SqliteStore {
    file: Arc<GuardedFile>,
    /// `None` when there was no file.
    open: Option<OpenFile>,
    /// The data version at the last ping.
    version: Option<i64>,
}

impl SqliteStore {
    /// The open file, if it is still the one at the path. Writes would go on into a file that has no
    /// name any more, and be lost with the process.
    fn open(&mut self) -> Result<&mut OpenFile, StoreError> {
        let Some(open) = &mut self.open else {
            return Err(not_there(self.file.path()));
        };
        open.ensure_current()?;
        Ok(open)
    }

    /// Runs `work` in a transaction that writes; it is rolled back unless `work` commits it.
    fn writing<T>(
        &mut self,
        work: impl FnOnce(Transaction<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        self.within(TransactionBehavior::Immediate, work)
    }

    /// Runs `work` on one snapshot. It must be short: the log of changes cannot be emptied meanwhile.
    fn reading<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        self.within(TransactionBehavior::Deferred, |transaction| {
            let read = work(&transaction)?;
            transaction.commit()?;
            Ok(read)
        })
    }

    fn within<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl FnOnce(Transaction<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        let open = self.open()?;
        open.connection
            .transaction_with_behavior(behavior)
            .and_then(work)
            .map_err(|error| classify(self.file.path(), &error))
    }
}

impl SqliteStore {
    /// Empties the WAL if nobody has written since the last ping, or if it is large. A failure is a
    /// warning alone, as orders can be stored all the same.
    fn maintain_wal(&mut self) {
        let Some(open) = &self.open else {
            return;
        };
        let version = open.data_version().map_err(|error| open.error(&error));
        let maintained = version.and_then(|version| {
            // A commit that comes after this only puts it off.
            let is_idle = self.version.replace(version) == Some(version);
            open.maintain_wal(is_idle)
        });
        let failure = maintained.err().map(|error| error.to_string());
        self.file.set_failure(failure);
    }
}

/// What a failed statement means. What is in no list is [`StoreError::Misconfigured`], because
/// stopping is harmless and losing is not.
fn classify(file: &Path, error: &SqliteError) -> StoreError {
    let error_of_file = FileError::of(file, error);
    if is_refusal(error) {
        return StoreError::Rejected(error_of_file.to_string());
    }
    error_of_file.into()
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> StoreError {
        let reason = error.to_string();
        match error.kind {
            FileErrorKind::Busy => StoreError::Contended(reason),
            // A failed COMMIT may be on the disk or not: on the next connection the position tells.
            FileErrorKind::Full
            | FileErrorKind::ReadOnly
            | FileErrorKind::Missing
            | FileErrorKind::Changed
            | FileErrorKind::Disk => StoreError::Unavailable(reason),
            // A broken NOT NULL or UNIQUE is a schema that is not ours, as in PostgreSQL.
            FileErrorKind::NotAFile
            | FileErrorKind::ForeignWal
            | FileErrorKind::Damaged
            | FileErrorKind::Misused
            | FileErrorKind::Refused => StoreError::Misconfigured(reason),
        }
    }
}

/// Whether it is this very data that the database refuses: a CHECK, a trigger, a type or a size.
fn is_refusal(error: &SqliteError) -> bool {
    matches!(
        error.sqlite_extended_error_code(),
        Some(
            ffi::SQLITE_CONSTRAINT_CHECK
                | ffi::SQLITE_CONSTRAINT_TRIGGER
                | ffi::SQLITE_CONSTRAINT_DATATYPE
                | ffi::SQLITE_TOOBIG
        )
    )
}

impl OrderStore for SqliteStore {
    fn acquire(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError> {
        self.writing(|transaction| {
            let acquired = positions::acquire(&transaction, claim)?;
            transaction.commit()?;
            Ok(acquired)
        })
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

    fn latest(&mut self, log_id: &str, limit: usize) -> Result<LatestOrders, StoreError> {
        self.read_latest(log_id, limit)
    }

    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError> {
        self.reading(|transaction| positions::find(transaction, log_id, partition))
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        self.reading(|transaction| positions::holder(transaction, claim))
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

/// A timestamp as its column has it. The years 0001 to 9999 are the limits: no accept time and no date
/// of an order lies outside.
fn timestamp_text(micros: i64) -> String {
    let (first, last) = Timestamp::MICROS.into_inner();
    Timestamp(Some(micros.clamp(first, last)))
        .sortable()
        .expect("the years 0001 to 9999 can be written")
}

#[cfg(test)]
mod tests;
