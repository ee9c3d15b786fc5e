//! A snapshot of everything stored: a copy of the file.
//!
//! A long read of the file itself would prevent its WAL from being truncated. The copy is unlinked
//! as soon as it is complete, so it ends with this process, however that ends. Only a process that
//! is killed while it copies leaves a file; the next one removes it, because its lock, which is the
//! kernel's, is free.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, Error as SqliteError, Row};

use super::lookup::{ALL_ORDERS, stored, timestamp};
use super::{SETTINGS, inspect, missing, positions};
use crate::data_folder::{folder_of, try_lock};
use crate::order::Order;
use crate::sqlite_file::{Access, FileError, GuardedFile, open, with_suffix};
use crate::store::{Position, Snapshot, StoreError, StoredDeadLetter};

/// Follows the name of the file in the name of a copy.
const SUFFIX: &str = ".export-";

const COUNTS: &str = "
    SELECT (SELECT count(*) FROM orders),
           (SELECT count(*) FROM dead_letters WHERE resolution IS NULL)";

const LETTERS: &str = r#"
    SELECT topic, partition, "offset", key, payload, payload_bytes, payload_sha256, order_uid,
           accepted_at, reason, dead_at
    FROM dead_letters WHERE resolution IS NULL ORDER BY id"#;

/// A connection to a copy.
pub(super) struct SqliteSnapshot {
    connection: Connection,
    /// For errors.
    file: Arc<GuardedFile>,
    _copy: Copy,
}

impl SqliteSnapshot {
    pub(super) fn create(file: &Arc<GuardedFile>) -> Result<SqliteSnapshot, StoreError> {
        let Some(original) = inspect(file)? else {
            return Err(missing(file));
        };
        let path = file.path();
        let failed = |error: &io::Error| {
            let path = path.display();
            StoreError::Unavailable(format!("could not create a copy beside `{path}`: {error}"))
        };
        remove_stale(path).map_err(|error| failed(&error))?;
        let copy = Copy::create(path).map_err(|error| failed(&error))?;
        let failed = |error: SqliteError| FileError::of(&copy.path, &error);
        let name = copy.path.to_string_lossy();
        original
            .connection
            .execute("VACUUM INTO ?1", [&name])
            .map_err(failed)?;
        let connection = open(&copy.path, Access::Read)?;
        // Rows in order of uid are all over the tables: without a cache that holds the inner pages
        // of all, reading takes twice as long.
        connection.execute_batch(SETTINGS).map_err(failed)?;
        // One transaction; reading also opens the copy before it is unlinked.
        connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
            .map_err(failed)?;
        copy.unlink();
        Ok(SqliteSnapshot {
            connection,
            file: file.clone(),
            _copy: copy,
        })
    }

    fn query<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, SqliteError>,
    ) -> Result<T, StoreError> {
        query(&self.connection).map_err(|error| self.file.classify(&error).into())
    }

    fn for_each<T>(
        &self,
        sql: &str,
        read: impl Fn(&Connection, &Row<'_>) -> Result<T, SqliteError>,
        visit: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.query(|connection| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if visit(read(connection, row)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl Snapshot for SqliteSnapshot {
    fn positions(&mut self, log_id: &str) -> Result<Vec<Position>, StoreError> {
        self.query(|connection| positions::of_log(connection, log_id))
    }

    fn counts(&mut self) -> Result<(u64, u64), StoreError> {
        self.query(|connection| {
            connection.query_row(COUNTS, [], |row| {
                let count = |column| row.get(column).map(i64::unsigned_abs);
                Ok((count(0)?, count(1)?))
            })
        })
    }

    fn for_each_order(
        &mut self,
        visit: &mut dyn FnMut(Order) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let read = |connection: &Connection, row: &Row<'_>| {
            stored(connection, row, &[]).map(|stored| stored.order)
        };
        self.for_each(&ALL_ORDERS, read, visit)
    }

    fn for_each_dead_letter(
        &mut self,
        visit: &mut dyn FnMut(StoredDeadLetter) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.for_each(LETTERS, |_, row| letter(row), visit)
    }
}

/// Reads the columns of [`LETTERS`].
pub(super) fn letter(row: &Row<'_>) -> Result<StoredDeadLetter, SqliteError> {
    Ok(StoredDeadLetter {
        topic: row.get(0)?,
        partition: row.get(1)?,
        offset: row.get(2)?,
        key: row.get(3)?,
        payload: row.get(4)?,
        payload_bytes: row.get(5)?,
        payload_sha256: row.get(6)?,
        order_uid: row.get(7)?,
        accepted_at: timestamp(row, 8)?,
        reason: row.get(9)?,
        dead_at: timestamp(row, 10)?,
    })
}

/// The file of a copy, locked; unlinked when dropped.
struct Copy {
    path: PathBuf,
    _lock: File,
}

impl Copy {
    /// Creates an empty file for SQLite to write the copy to; readable by this user alone.
    fn create(file: &Path) -> io::Result<Copy> {
        let number = uuid::Uuid::new_v4().simple();
        let path = with_suffix(file, &format!("{SUFFIX}{number}"));
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let copy = Copy { path, _lock: lock };
        try_lock(&copy._lock)?;
        Ok(copy)
    }

    /// Unlinks it, and the journal that an interrupted copy may have.
    fn unlink(&self) {
        // The next snapshot removes what cannot be removed now.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(with_suffix(&self.path, "-journal"));
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// Removes the copies of processes that were killed.
fn remove_stale(file: &Path) -> io::Result<()> {
    let mut prefix = file.file_name().unwrap_or_default().to_os_string();
    prefix.push(SUFFIX);
    for entry in fs::read_dir(folder_of(file))? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        let is_copy = |number: &[u8]| number.len() == 32 && number.is_ascii();
        if !number.is_some_and(is_copy) {
            continue;
        }
        // Another process removes its own.
        let Ok(lock) = File::open(entry.path()) else {
            continue;
        };
        if try_lock(&lock).is_ok_and(|is_locked| is_locked) {
            // Dropping it unlinks it.
            let path = entry.path();
            drop(Copy { path, _lock: lock });
        }
    }
    Ok(())
}
