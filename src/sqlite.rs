//! SQLite as both embedded engines use it: how a file is opened, and what its errors mean to people.
//!
//! Owns the settings that the promises rest on (a commit is on the disk, a waiting writer is not
//! starved) and the words for what can befall a file; knows nothing of logs, orders or tables. The
//! surprising thing: `busy_timeout` is not used. Its pauses grow to 100 ms, and of two processes
//! that write hard one would stand still for seconds.

use std::ffi::c_int;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long one waits before it asks again for a lock.
const BUSY_PAUSE: Duration = Duration::from_micros(200);

/// Before this version two processes could damage a WAL (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a connection waits for the locks of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Some six seconds: every connection, as it is opened.
    Usual,
    /// Some four seconds: whoever waits for the outcome has about five.
    Waited,
    /// Some three quarters of a second.
    Short,
    /// Not at all.
    None,
}

impl Patience {
    /// Has `connection` wait like this from now on.
    pub fn set(self, connection: &Connection) -> rusqlite::Result<()> {
        fn again<const TRIES: c_int>(tries: c_int) -> bool {
            std::thread::sleep(BUSY_PAUSE);
            tries < TRIES
        }
        connection.busy_handler(match self {
            Patience::Usual => Some(again::<25_000>),
            Patience::Waited => Some(again::<15_000>),
            Patience::Short => Some(again::<3_000>),
            Patience::None => None,
        })
    }
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Writing; the file is made where there is none.
    Create,
    /// Writing to a file that is there.
    Write,
    /// Reading a file that is there; it must be writable all the same, as readers share its index.
    Read,
}

/// Which file it is, however it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what was found. Never ask by opening: closing a file that SQLite has open too would drop
    /// SQLite's locks.
    pub fn of(found: &Metadata) -> Identity {
        Identity {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// What befell a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody else has it locked, for longer than one cares to wait.
    Busy,
    /// The disk is full. What failed has left nothing behind.
    Full,
    /// It, or its folder, may not be written.
    ReadOnly,
    /// It is not there, or may not be opened.
    Missing,
    /// It is not what was written there.
    Damaged,
    /// The disk reports an error. Whether what was written last is kept, is not known.
    Disk,
    /// The data itself is refused: a constraint, or a value that is too large.
    Refused,
    /// A mistake of the caller, or a table that is not as it must be.
    Misused,
}

/// A failed use of a file: which file, what befell it, and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Trouble {
    pub kind: Kind,
    pub file: PathBuf,
    reason: String,
}

impl Trouble {
    /// What `error` means for `file`.
    pub fn of(file: &Path, error: &rusqlite::Error) -> Trouble {
        let kind = match kind(error) {
            // It is there, so it is what lies beside it that may not be made or opened.
            Kind::Missing if file.is_file() => Kind::ReadOnly,
            kind => kind,
        };
        Trouble::new(kind, file, error.to_string())
    }

    /// A trouble that SQLite did not report itself.
    pub fn new(kind: Kind, file: &Path, reason: impl Into<String>) -> Trouble {
        Trouble {
            kind,
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    /// The file was put in another's place, and beside it lies what belongs to that.
    pub fn replaced(file: &Path, wal: &Path) -> Trouble {
        let reason = format!(
            "the file was replaced, and `{}` beside it belongs to the one before: remove it, and \
             its -shm",
            wal.display()
        );
        Trouble::new(Kind::Damaged, file, reason)
    }

    fn remedy(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Busy => Some("another program holds it locked: end that, or wait"),
            Kind::Full => Some("make room on its disk; work goes on by itself"),
            Kind::ReadOnly => Some("make the file and its folder writable; work goes on by itself"),
            Kind::Missing => None,
            // A disk that fails while it is read looks the same.
            Kind::Damaged => Some(
                "look whether its disk reports errors; if not, stop everything that uses it and \
                 put a backup in its place",
            ),
            Kind::Disk => Some("look after the disk; work goes on by itself when it is well"),
            Kind::Refused | Kind::Misused => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.file.display(), self.reason)?;
        match self.remedy() {
            Some(remedy) => write!(formatter, " ({remedy})"),
            None => Ok(()),
        }
    }
}

fn kind(error: &rusqlite::Error) -> Kind {
    if error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) {
        // The index beside the file could not be made as long as it must be.
        return Kind::Full;
    }
    let Some(code) = error.sqlite_error_code() else {
        return Kind::Misused;
    };
    match code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => Kind::Busy,
        ErrorCode::DiskFull => Kind::Full,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Kind::ReadOnly,
        ErrorCode::CannotOpen => Kind::Missing,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Kind::Damaged,
        ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::NoLargeFileSupport => {
            Kind::Disk
        }
        ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => {
            Kind::Refused
        }
        _ => Kind::Misused,
    }
}

/// Opens `file` with the settings that the promises rest on. Blocks for some milliseconds, and for
/// seconds where others hold the file locked.
pub fn open(file: &Path, access: Access) -> Result<Connection, Trouble> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let reason = format!("SQLite {} can damage files", rusqlite::version());
        return Err(Trouble::new(Kind::Misused, file, reason));
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if access == Access::Create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection =
        Connection::open_with_flags(file, flags).map_err(|error| Trouble::of(file, &error))?;
    // SQLite opens what may not be written all the same. Whatever it made beside the file then could
    // not be written either, not even when the file can.
    let wants_to_write = access != Access::Read || !beside(file, "-wal").exists();
    if wants_to_write && connection.is_readonly("main").unwrap_or(false) {
        return Err(Trouble::new(Kind::ReadOnly, file, "it may not be written"));
    }
    settle(&connection, access).map_err(|error| Trouble::of(file, &error))?;
    Ok(connection)
}

/// The file whose name is that of `file` with something behind it.
pub fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn settle(connection: &Connection, access: Access) -> rusqlite::Result<()> {
    Patience::Usual.set(connection)?;
    // FULL: in WAL mode NORMAL would lose the last commits when the power goes.
    // The memory map is off: a failing disk would end the process with a signal.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
         PRAGMA mmap_size = 0; PRAGMA journal_size_limit = 67108864;",
    )?;
    match access {
        Access::Create => {
            let mode: String =
                connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            debug_assert_eq!(mode, "wal");
        }
        Access::Write => {}
        Access::Read => connection.execute_batch("PRAGMA query_only = ON")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_made_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let missing = open(&file, Access::Write).unwrap_err();
        assert_eq!(missing.kind, Kind::Missing);
        assert!(missing.to_string().contains("a.db"), "{missing}");
        open(&file, Access::Create).unwrap();
        open(&file, Access::Write).unwrap();
    }

    #[test]
    fn a_file_of_something_else_is_damaged_and_the_error_names_file_and_remedy() {
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
                    .map_err(|error| Trouble::of(&file, &error))
            })
            .unwrap_err();
        assert_eq!(damaged.kind, Kind::Damaged);
        assert!(damaged.to_string().contains("a.db"), "{damaged}");
        assert!(damaged.to_string().contains("put a backup"), "{damaged}");
    }

    #[test]
    fn a_disk_too_full_for_the_index_beside_a_file_is_a_full_disk() {
        let code = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        assert_eq!(Trouble::of(Path::new("a.db"), &error).kind, Kind::Full);
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
        assert_eq!(Trouble::of(&file, &refused).kind, Kind::ReadOnly);
    }
}
