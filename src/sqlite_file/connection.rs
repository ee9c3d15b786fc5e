//! Opening a connection with the settings that the promises rest on.

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{FileError, FileErrorKind};

/// Pause before a lock is requested again.
const BUSY_PAUSE: Duration = Duration::from_micros(200);

/// Before this version two processes could damage a WAL (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a connection waits for the locks of others.
///
/// `busy_timeout` is not used: its pauses grow to 100 ms, and of two processes that write hard one
/// would stand still for seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTimeout {
    /// Some six seconds: every connection, as it is opened.
    Default,
    /// Some four seconds: a client that waits for an append has about five.
    Append,
    /// Some three quarters of a second: a file that could not be written a moment ago.
    Retry,
    /// Not at all.
    None,
}

impl LockTimeout {
    /// Makes `connection` wait this long from now on.
    pub fn set(self, connection: &Connection) -> rusqlite::Result<()> {
        fn retry<const TRIES: c_int>(tries: c_int) -> bool {
            std::thread::sleep(BUSY_PAUSE);
            tries < TRIES
        }
        connection.busy_handler(match self {
            LockTimeout::Default => Some(retry::<25_000>),
            LockTimeout::Append => Some(retry::<15_000>),
            LockTimeout::Retry => Some(retry::<3_000>),
            LockTimeout::None => None,
        })
    }
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Writing; the file is created where it is missing.
    Create,
    /// Writing to a file that exists.
    Write,
    /// Writing to a file that exists and may have any journal mode, which is not changed.
    Inspect,
    /// Reading a file that exists; it must be writable all the same, as readers share its index.
    Read,
}

/// Opens `path` with the settings that the promises rest on. Blocks for some milliseconds, and for
/// seconds where others hold the file locked.
pub fn open(path: &Path, access: Access) -> Result<Connection, FileError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let reason = format!("SQLite {} can damage files", rusqlite::version());
        return Err(FileError::new(FileErrorKind::Misused, path, reason));
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if access == Access::Create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let failed = |error: rusqlite::Error| FileError::of(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // SQLite opens a file that is not writable all the same. What it then creates beside the file would
    // not be writable either, not even once the file is.
    let must_write = access != Access::Read || !with_suffix(path, "-wal").exists();
    if must_write && connection.is_readonly("main").unwrap_or(false) {
        let reason = "it is not writable";
        return Err(FileError::new(FileErrorKind::ReadOnly, path, reason));
    }
    configure(&connection, access).map_err(failed)?;
    Ok(connection)
}

/// The path with `suffix` appended to the file's name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn configure(connection: &Connection, access: Access) -> rusqlite::Result<()> {
    LockTimeout::Default.set(connection)?;
    // FULL: in WAL mode NORMAL would lose the last commits when the power fails.
    // The memory map is off: a failing disk would end the process with a signal.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
         PRAGMA mmap_size = 0; PRAGMA journal_size_limit = 67108864;",
    )?;
    match access {
        Access::Create => connection.execute_batch("PRAGMA journal_mode = WAL"),
        Access::Write | Access::Inspect => Ok(()),
        Access::Read => connection.execute_batch("PRAGMA query_only = ON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_created_only_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let missing = open(&file, Access::Write).unwrap_err();
        assert_eq!(missing.kind, FileErrorKind::Missing);
        assert!(missing.to_string().contains("a.db"), "{missing}");
        open(&file, Access::Create).unwrap();
        open(&file, Access::Write).unwrap();
    }

    #[test]
    fn a_file_that_is_no_database_is_damaged_and_the_error_names_file_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        std::fs::write(
            &file,
            "no database, by far not, but long enough to be read as one",
        )
        .unwrap();
        let damaged = open(&file, Access::Write)
            .and_then(|connection| {
                connection
                    .execute_batch("CREATE TABLE t (a)")
                    .map_err(|error| FileError::of(&file, &error))
            })
            .unwrap_err();
        assert_eq!(damaged.kind, FileErrorKind::Damaged);
        assert!(damaged.to_string().contains("a.db"), "{damaged}");
        assert!(
            damaged.to_string().contains("restore a backup"),
            "{damaged}"
        );
    }

    #[test]
    fn a_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        open(&file, Access::Create)
            .unwrap()
            .execute_batch("CREATE TABLE t (a)")
            .unwrap();
        let reader = open(&file, Access::Read).unwrap();
        let refused = reader
            .execute_batch("INSERT INTO t VALUES (1)")
            .unwrap_err();
        let refused = FileError::of(&file, &refused);
        assert_eq!(refused.kind, FileErrorKind::ReadOnly);
    }
}
