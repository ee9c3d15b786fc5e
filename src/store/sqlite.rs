//! The store in a SQLite file: nothing to install, one machine.
//!
//! Owns opening the file, noticing that it is gone, and what SQLite's errors mean for the consumer;
//! the parts live in `sqlite/`: `take` (positions), `apply` and `rows` (batches), `answers` and
//! `snapshot` (reading), `beside` (the file beside the file) and `schema` (migrations). The
//! surprising thing: a file that is not there is no error of connecting. As with a server whose
//! database has no tables, the answer is `orders migrate`, and only that makes a file; a consumer
//! with a wrong path must not begin a second store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{
    Connection, Error as SqliteError, OptionalExtension, Row, Transaction, TransactionBehavior,
    ffi, params,
};

use self::beside::Beside;
use super::*;
use crate::sqlite::{Access, Identity, Kind, Trouble, open};

mod answers;
mod apply;
mod beside;
mod leftovers;
mod rows;
mod schema;
mod snapshot;
mod take;

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
    file: PathBuf,
    beside: Arc<Beside>,
}

impl SqliteEngine {
    /// Names a file; touches nothing.
    pub fn new(file: &Path) -> SqliteEngine {
        SqliteEngine {
            file: file.to_owned(),
            beside: Arc::new(Beside::of(file)),
        }
    }
}

impl StoreEngine for SqliteEngine {
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError> {
        self.beside.belongs_to(&self.file)?;
        let opened = Opened::open(&self.file)?;
        if let Some(opened) = &opened {
            // A backup made by `VACUUM INTO` is a file of SQLite's usual mode.
            let settled = opened.connection.execute_batch("PRAGMA journal_mode = WAL");
            settled.map_err(|error| classify(&self.file, &error))?;
            self.beside.note(opened.identity)?;
        }
        Ok(Box::new(SqliteStore {
            opened,
            file: self.file.clone(),
            beside: self.beside.clone(),
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
        self.file.display().to_string()
    }

    fn complaint(&self) -> Option<String> {
        self.beside.complaint()
    }
}

fn not_there(file: &Path) -> StoreError {
    let file = file.display();
    StoreError::Misconfigured(format!("there is no file `{file}`: run `orders migrate`"))
}

/// What is at `file` now; `None` when nothing is. Never opens it: closing a file that SQLite has
/// open too would drop SQLite's locks.
fn identity(file: &Path) -> Result<Option<Identity>, StoreError> {
    match fs::metadata(file) {
        Ok(found) if found.is_dir() => Err(StoreError::Misconfigured(format!(
            "`{}` is a folder ({ELSEWHERE})",
            file.display()
        ))),
        Ok(found) => Ok(Some(Identity::of(&found))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Waiting does not make a folder of a file that is in its place.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(
            StoreError::Misconfigured(format!("`{}`: {error} ({ELSEWHERE})", file.display())),
        ),
        Err(error) => Err(StoreError::Unavailable(format!(
            "`{}`: {error}",
            file.display()
        ))),
    }
}

/// A file while it is open.
struct Opened {
    connection: Connection,
    identity: Identity,
}

impl Opened {
    /// `None` when the file is not there.
    fn open(file: &Path) -> Result<Option<Opened>, StoreError> {
        match identity(file)? {
            Some(identity) => Opened::open_as(file, Access::Write, identity).map(Some),
            None => Ok(None),
        }
    }

    fn open_as(file: &Path, access: Access, identity: Identity) -> Result<Opened, StoreError> {
        let connection = open(file, access).map_err(judged)?;
        connection
            .execute_batch(SETTINGS)
            .map_err(|error| classify(file, &error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Opened {
            connection,
            identity,
        })
    }

    /// Writes would go on into a file that has no name any more, and be lost with the process.
    fn check(&self, file: &Path) -> Result<(), StoreError> {
        if identity(file)? == Some(self.identity) {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!(
            "`{}` was deleted or replaced while it was in use",
            file.display()
        )))
    }
}

/// One connection with its prepared statements.
struct SqliteStore {
    file: PathBuf,
    /// `None` when there was no file.
    opened: Option<Opened>,
    beside: Arc<Beside>,
    /// The number that others' commits change, as the last ping saw it.
    version: Option<i64>,
}

impl SqliteStore {
    /// The connection, if the file is still the one that was opened.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        let Some(opened) = &mut self.opened else {
            return Err(not_there(&self.file));
        };
        opened.check(&self.file)?;
        Ok(&mut opened.connection)
    }

    /// Runs `work` in a transaction that writes; it is rolled back unless `work` commits it.
    fn writing<T>(
        &mut self,
        work: impl FnOnce(Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.within(TransactionBehavior::Immediate, work)
    }

    /// Runs `work` on one snapshot. It must be short: the log of changes cannot be emptied meanwhile.
    fn reading<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
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
        work: impl FnOnce(Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let connection = self.connection()?;
        let outcome = connection
            .transaction_with_behavior(behavior)
            .map_err(Failure::Sqlite)
            .and_then(work);
        outcome.map_err(|failure| match failure {
            Failure::Sqlite(error) => classify(&self.file, &error),
            Failure::Store(error) => error,
        })
    }
}

/// What ends a transaction without its COMMIT.
enum Failure {
    Sqlite(SqliteError),
    Store(StoreError),
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Failure {
        Failure::Sqlite(error)
    }
}

/// What a failed statement means. What is in no list is [`StoreError::Misconfigured`], because
/// stopping is harmless and losing is not.
fn classify(file: &Path, error: &SqliteError) -> StoreError {
    let trouble = Trouble::of(file, error);
    if is_refusal(error) {
        return StoreError::Rejected(trouble.to_string());
    }
    judged(trouble)
}

fn judged(trouble: Trouble) -> StoreError {
    let reason = trouble.to_string();
    match trouble.kind {
        Kind::Busy => StoreError::Contended(reason),
        // A failed COMMIT may be on the disk or not: on the next connection the position tells.
        Kind::Full | Kind::ReadOnly | Kind::Missing | Kind::Disk => StoreError::Unavailable(reason),
        // A broken NOT NULL or UNIQUE is a schema that is not ours, as in PostgreSQL.
        Kind::Damaged | Kind::Misused | Kind::Refused => StoreError::Misconfigured(reason),
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
    fn take(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError> {
        self.take_position(claim)
    }

    fn settle(&mut self, claim: &Claim, decided: &Settlement) -> Result<Position, StoreError> {
        self.settle_position(claim, decided)
    }

    fn apply(&mut self, batch: &Batch, window: &mut RefusalWindow) -> Result<Applied, StoreError> {
        self.apply_batch(batch, window)
    }

    fn answers(&mut self, log_id: &str, uids: &[&str]) -> Result<Answers, StoreError> {
        self.read_answers(log_id, uids)
    }

    fn latest(&mut self, log_id: &str, limit: usize) -> Result<Latest, StoreError> {
        self.read_latest(log_id, limit)
    }

    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError> {
        self.read_position(log_id, partition)
    }

    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        self.read_holder(claim)
    }

    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        if self.opened.is_none() {
            return Ok(Vec::new());
        }
        self.reading(|transaction| Ok(schema::history(transaction)?))
    }

    fn ping(&mut self) -> Result<(), StoreError> {
        self.reading(|transaction| {
            // Reads the file's first page, which a bare `SELECT 1` would not.
            transaction
                .prepare_cached("SELECT count(*) FROM sqlite_schema")?
                .query_row([], |_| Ok(()))?;
            Ok(())
        })?;
        self.tidy();
        Ok(())
    }
}

/// A moment as its column has it. What lies outside the years 0001-9999 is put at their edge: no
/// record has such an accept time, and an order's date lies inside.
fn moment(micros: i64) -> String {
    const FIRST_US: i64 = -62_135_596_800_000_000;
    const LAST_US: i64 = 253_402_300_799_999_999;
    Timestamp(Some(micros.clamp(FIRST_US, LAST_US)))
        .sortable()
        .expect("the years 0001 to 9999 can be written")
}

#[cfg(test)]
mod tests;
