//! The schema of a SQLite file, for `orders migrate`.
//!
//! Owns creating the file and its folder, the history table `orders_migrations` and the lock
//! against parallel runs; `migrations` plans. The lock is the kernel's, on the folder: a lock
//! inside the file would end with each migration's transaction, and a lock file would be left over.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use rusqlite::{Connection, Error as SqliteError, OptionalExtension, TransactionBehavior, params};

use super::{HINT, configure, inspect};
use crate::data_folder::{create_durably, folder_of, sync_folder, try_lock};
use crate::sqlite_file::{Access, GuardedFile, OpenFile};
use crate::store::{
    AppliedMigration, Dialect, Migration, Relation, Schema, StoreError, existing_tables,
};

const HAS_HISTORY: &str = "
    SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'orders_migrations'";

const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS orders_migrations (
        version    INTEGER PRIMARY KEY,
        name       TEXT NOT NULL,
        checksum   TEXT NOT NULL,
        applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
    ) STRICT";

/// A history that an older program wrote has no such column.
const HAS_COMPATIBLE: &str =
    "SELECT count(*) FROM pragma_table_info('orders_migrations') WHERE name = 'compatible'";

const ADD_COMPATIBLE: &str =
    "ALTER TABLE orders_migrations ADD COLUMN compatible INTEGER NOT NULL DEFAULT 0";

const RECORD: &str = "
    INSERT INTO orders_migrations (version, name, checksum, compatible) VALUES (?1, ?2, ?3, ?4)";

const KIND: &str = "SELECT type FROM sqlite_schema WHERE name = ?1";

const COLUMNS: &str = "SELECT name FROM pragma_table_info(?1)";

/// A file for `orders migrate`. Locking creates it, nothing else does: `--status` writes nothing.
pub(super) struct SqliteSchema {
    file: Arc<GuardedFile>,
    open: Option<OpenFile>,
    /// The folder, locked.
    lock: Option<File>,
}

impl SqliteSchema {
    pub(super) fn open(file: &Arc<GuardedFile>) -> Result<SqliteSchema, StoreError> {
        Ok(SqliteSchema {
            open: inspect(file)?,
            file: file.clone(),
            lock: None,
        })
    }

    fn failed(&self, attempt: &str, error: &io::Error) -> StoreError {
        let file = self.file.path().display();
        StoreError::Unavailable(format!(
            "could not {attempt} for `{file}`: {error} ({HINT})"
        ))
    }

    /// Creates the file where there is none, readable by this user alone, and syncs its folder.
    fn create(&mut self) -> Result<(), StoreError> {
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.file.path());
        match created {
            // Closed at once: SQLite has not opened it yet, so none of its locks is dropped.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.failed("create the file", &error)),
        }
        sync_folder(folder_of(self.file.path()))
            .map_err(|error| self.failed("sync the folder", &error))?;
        // Also where the file existed: this switches it to WAL mode.
        self.open = Some(self.file.open(Access::Create, configure(&self.file))?);
        Ok(())
    }

    /// Runs a query, where there is a file.
    fn query<T: Default>(
        &mut self,
        query: impl FnOnce(&Connection) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        let Some(open) = &self.open else {
            return Ok(T::default());
        };
        open.ensure_current()?;
        Ok(open.run(query)?)
    }
}

/// The history in order of version; empty when there is no history table. Writes nothing.
pub(super) fn history(connection: &Connection) -> Result<Vec<AppliedMigration>, SqliteError> {
    let tables: i64 = connection.query_row(HAS_HISTORY, [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    let compatible = if has_compatible(connection)? {
        "compatible"
    } else {
        "0"
    };
    let mut statement = connection.prepare(&format!(
        "SELECT version, name, checksum, substr(applied_at, 1, 19) || 'Z', {compatible}
        FROM orders_migrations ORDER BY version"
    ))?;
    let applied = statement.query_map([], |row| {
        Ok(AppliedMigration {
            version: row.get(0)?,
            name: row.get(1)?,
            checksum: row.get(2)?,
            applied_at: row.get(3)?,
            is_compatible: row.get(4)?,
        })
    })?;
    applied.collect()
}

fn has_compatible(connection: &Connection) -> Result<bool, SqliteError> {
    let columns: i64 = connection.query_row(HAS_COMPATIBLE, [], |row| row.get(0))?;
    Ok(columns > 0)
}

impl Schema for SqliteSchema {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn check(&mut self) -> Result<(), StoreError> {
        // Reads the file's header: a file that is not a database, or truncated, is an error here.
        self.query(|connection| {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        })
    }

    fn history(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        if let Some(found) = self.relation(existing_tables::HISTORY)? {
            existing_tables::check_history(&found)?;
        }
        self.query(history)
    }

    fn relation(&mut self, name: &str) -> Result<Option<Relation>, StoreError> {
        self.query(|connection| {
            let mut kinds = connection.prepare_cached(KIND)?;
            let Some(kind) = kinds.query_row([name], |row| row.get(0)).optional()? else {
                return Ok(None);
            };
            let mut columns = connection.prepare_cached(COLUMNS)?;
            let columns = columns.query_map([name], |row| row.get(0))?;
            let columns = columns.collect::<Result<_, _>>()?;
            Ok(Some(Relation { kind, columns }))
        })
    }

    fn try_lock(&mut self) -> Result<bool, StoreError> {
        create_durably(folder_of(self.file.path()))
            .map_err(|error| self.failed("create the folder", &error))?;
        let folder = File::open(folder_of(self.file.path()))
            .map_err(|error| self.failed("open the folder", &error))?;
        if !try_lock(&folder).map_err(|error| self.failed("lock the folder", &error))? {
            return Ok(false);
        }
        // If this fails the folder is closed, which unlocks it for the next attempt.
        self.create()?;
        self.lock = Some(folder);
        Ok(true)
    }

    fn apply(&mut self, migration: &Migration) -> Result<(), StoreError> {
        let Some(open) = &mut self.open else {
            return Err(StoreError::Misconfigured(
                "the database is not locked for migration".into(),
            ));
        };
        open.ensure_current()?;
        let applied = open
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                transaction.execute_batch(CREATE_HISTORY)?;
                if !has_compatible(&transaction)? {
                    transaction.execute_batch(ADD_COMPATIBLE)?;
                }
                transaction.execute_batch(migration.sql)?;
                transaction.execute(
                    RECORD,
                    params![
                        migration.version,
                        migration.name,
                        migration.checksum,
                        migration.is_compatible
                    ],
                )?;
                transaction.commit()
            });
        applied.map_err(|error| self.file.classify(&error).into())
    }
}
