//! A path, and the connections to the file that was there when they were opened.

use std::cell::Cell;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Error as SqlError, Result as SqlResult};

use super::disk_space::mebibytes;
use super::{
    Access, DiskSpace, FileError, FileErrorKind, LockTimeout, Warning, Warnings, open, with_suffix,
};
use crate::data_folder::folder_of;
use crate::sync::lock;

/// From here on a WAL that cannot be emptied is a warning.
const LARGE_WAL: u64 = 256 << 20;

/// Device and inode, which identify a file whatever it is called.
type Identity = (u64, u64);

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// What is at a path: the file and its WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    file: Identity,
    wal: Option<Identity>,
    length: u64,
    wal_length: u64,
}

/// A path of a SQLite file, what was last seen there, and its warnings. Shared by the connections to
/// it.
pub struct GuardedFile {
    path: PathBuf,
    /// What to do about a path that cannot be used.
    hint: &'static str,
    last: Mutex<Option<Seen>>,
    pub warnings: Warnings,
}

impl GuardedFile {
    /// Names a path; touches nothing.
    pub fn new(path: PathBuf, hint: &'static str) -> GuardedFile {
        GuardedFile {
            path,
            hint,
            last: Mutex::default(),
            warnings: Warnings::default(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is nothing at the path.
    pub fn is_missing(&self) -> bool {
        fs::metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Classifies an error of SQLite.
    pub fn classify(&self, error: &SqlError) -> FileError {
        FileError::of(&self.path, error)
    }

    fn error(&self, kind: FileErrorKind, reason: impl Into<String>) -> FileError {
        FileError::new(kind, &self.path, reason)
    }

    /// Reads what is at the path, and the WAL.
    fn look(&self, wal: &Path) -> Result<Seen, FileError> {
        // In this order: a checkpoint moves pages out of the WAL into the file.
        let wal = fs::metadata(wal).ok();
        let file = fs::metadata(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                self.error(FileErrorKind::Missing, format!("not found: {error}"))
            }
            io::ErrorKind::NotADirectory => {
                let reason = format!("{error} ({})", self.hint);
                self.error(FileErrorKind::NotAFile, reason)
            }
            _ => self.error(FileErrorKind::Missing, format!("{error} ({})", self.hint)),
        })?;
        if file.is_dir() {
            let reason = format!("it is a folder ({})", self.hint);
            return Err(self.error(FileErrorKind::NotAFile, reason));
        }
        Ok(Seen {
            file: identity(&file),
            wal: wal.as_ref().map(identity),
            length: file.len(),
            wal_length: wal.map_or(0, |wal| wal.len()),
        })
    }

    /// Opens the file at the path, in WAL mode unless it is inspected, after `prepare` has configured
    /// the connection. A file that `prepare` refuses, that was truncated or that lies beside the WAL
    /// of another is left as it is.
    pub fn open(
        self: &Arc<Self>,
        access: Access,
        prepare: impl FnOnce(&Connection) -> Result<(), FileError>,
    ) -> Result<OpenFile, FileError> {
        let in_wal_mode = access != Access::Inspect;
        // SQLite keeps the WAL beside the file that a link leads to.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let wal_path = with_suffix(&target, "-wal");
        let before = self.look(&wal_path)?;
        if let Some(last) = *lock(&self.last)
            && last.file != before.file
            && last.wal.is_some()
            && last.wal == before.wal
        {
            // SQLite would write the pages of that WAL into the new file.
            let reason = format!(
                "the file was replaced, and `{}` beside it belongs to the one before: remove it, \
                 and its -shm",
                wal_path.display()
            );
            return Err(self.error(FileErrorKind::ForeignWal, reason));
        }
        let connection = open(&self.path, access)?;
        prepare(&connection)?;
        self.check_length(&connection, &wal_path)?;
        if in_wal_mode {
            // A backup made by `VACUUM INTO` is a file of SQLite's usual mode.
            let mode: String = connection
                .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
                .map_err(|error| self.classify(&error))?;
            if mode != "wal" {
                let reason = format!("its file system does not support WAL ({})", self.hint);
                return Err(self.error(FileErrorKind::Misused, reason));
            }
        }
        // From here on the WAL exists, as long as this connection is open.
        let seen = self.look(&wal_path)?;
        if seen.file != before.file || (in_wal_mode && seen.wal.is_none()) {
            return Err(self.error(FileErrorKind::Busy, "it was replaced while it was opened"));
        }
        *lock(&self.last) = Some(seen);
        Ok(OpenFile {
            connection,
            file: self.clone(),
            identity: seen.file,
            wal: seen.wal,
            wal_path,
            is_writer: matches!(access, Access::Create | Access::Write),
            lock_timeout: Cell::new(LockTimeout::Default),
        })
    }

    /// Refuses a file that is shorter than its header says, or than it once was.
    fn check_length(&self, connection: &Connection, wal: &Path) -> Result<(), FileError> {
        let header = || -> SqlResult<[u64; 2]> {
            Ok([
                number(connection, "page_count")?,
                number(connection, "page_size")?,
            ])
        };
        let [pages, page_size] = header().map_err(|error| self.classify(&error))?;
        let seen = self.look(wal)?;
        // A page that is not in the file must be in the WAL, where each has a header of 24 bytes. A
        // file that was longer once may be shorter only when its header says so.
        let in_wal = seen.wal_length / (page_size + 24);
        let whole = pages * page_size;
        let last = lock(&self.last).filter(|last| last.file == seen.file);
        let least = last.map_or(0, |last| last.length.min(whole));
        if seen.length < least || seen.length / page_size + in_wal < pages {
            let reason = format!("it was truncated to {} of {whole} bytes", seen.length);
            return Err(self.error(FileErrorKind::Damaged, reason));
        }
        Ok(())
    }

    /// The free space of the file's disk.
    pub fn disk_space(&self) -> Result<DiskSpace, FileError> {
        DiskSpace::of(folder_of(&self.path)).map_err(|error| {
            let reason = format!("could not read the free space of its disk: {error}");
            self.error(FileErrorKind::Disk, reason)
        })
    }
}

/// How much of the WAL a checkpoint moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// The pages that no connection is reading or writing.
    Passive,
    /// All pages, after a wait for other connections; the WAL is empty then.
    Truncate,
}

/// A connection, and which file it is connected to.
pub struct OpenFile {
    pub connection: Connection,
    file: Arc<GuardedFile>,
    identity: Identity,
    /// `None` in another journal mode.
    wal: Option<Identity>,
    wal_path: PathBuf,
    is_writer: bool,
    lock_timeout: Cell<LockTimeout>,
}

impl OpenFile {
    /// Runs statements; an error of SQLite becomes one of this file.
    pub fn run<'c, T>(
        &'c self,
        statements: impl FnOnce(&'c Connection) -> SqlResult<T>,
    ) -> Result<T, FileError> {
        statements(&self.connection).map_err(|error| self.error(&error))
    }

    /// Classifies an error of this connection.
    pub fn error(&self, error: &SqlError) -> FileError {
        self.file.classify(error)
    }

    /// An error that SQLite did not notice.
    pub fn damaged(&self, reason: impl Into<String>) -> FileError {
        self.file.error(FileErrorKind::Damaged, reason)
    }

    /// Whether the file at the path is the one that is open, with its WAL, and was not truncated. If
    /// not, this connection must not be used any more.
    ///
    /// A file that an operator made smaller (VACUUM) counts as changed once, and is examined when it
    /// is opened again. A WAL that was removed under a writer is moved into the file: no other
    /// process still has what was written last.
    pub fn is_current(&self) -> bool {
        let Ok(seen) = self.file.look(&self.wal_path) else {
            return false;
        };
        if seen.file != self.identity {
            return false;
        }
        if self.wal.is_some() && seen.wal != self.wal {
            if self.is_writer {
                let wal = self.wal_path.display();
                let outcome = match self.run_checkpoint(Checkpoint::Truncate) {
                    Ok(true) => "the file has all of it".to_owned(),
                    Ok(false) => "another program prevented a checkpoint".to_owned(),
                    Err(error) => format!("the checkpoint failed: {error}"),
                };
                tracing::error!("`{wal}` was removed while in use: {outcome}");
            }
            return false;
        }
        match &mut *lock(&self.file.last) {
            Some(last) if last.file == seen.file => {
                let before = last.length;
                last.length = before.max(seen.length);
                seen.length >= before
            }
            _ => true,
        }
    }

    /// Fails with [`FileErrorKind::Changed`] unless [`OpenFile::is_current`].
    pub fn ensure_current(&self) -> Result<(), FileError> {
        if self.is_current() {
            return Ok(());
        }
        let reason = "it was deleted, replaced or truncated while it was in use";
        Err(self.file.error(FileErrorKind::Changed, reason))
    }

    /// The number that commits of other connections change.
    pub fn data_version(&self) -> SqlResult<i64> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version")?;
        statement.query_row([], |row| row.get(0))
    }

    /// How many bytes the file itself has free.
    pub fn free_bytes(&self) -> SqlResult<u64> {
        let pages = number(&self.connection, "freelist_count")?;
        Ok(pages * number(&self.connection, "page_size")?)
    }

    /// Makes this connection wait so long for the locks of others; returns the timeout before.
    pub fn set_lock_timeout(&self, timeout: LockTimeout) -> SqlResult<LockTimeout> {
        timeout.set(&self.connection)?;
        Ok(self.lock_timeout.replace(timeout))
    }

    /// Moves pages of the WAL into the file; returns whether that was all of them.
    pub fn checkpoint(&self, mode: Checkpoint) -> Result<bool, FileError> {
        // Nothing is written into a truncated file: that would hide the damage.
        self.ensure_current()?;
        let is_complete = self.run_checkpoint(mode);
        let is_complete = is_complete.map_err(|error| self.error(&error))?;
        self.set_wal_warning(self.wal_length(), is_complete);
        Ok(is_complete)
    }

    /// Empties the WAL if nobody writes or if it is large, unless another connection uses it right
    /// now; returns whether it is empty. SQLite itself moves pages only while it commits: a WAL that
    /// grew under a long reader would stay large, and on a full disk no commit ever comes.
    pub fn maintain_wal(&self, is_idle: bool) -> Result<bool, FileError> {
        let length = self.wal_length();
        if length == 0 || (!is_idle && length < LARGE_WAL) {
            self.set_wal_warning(length, true);
            return Ok(length == 0);
        }
        // Writers do not wait for this, which is the long part.
        if !self.checkpoint(Checkpoint::Passive)? {
            return Ok(false);
        }
        let failed = |error: SqlError| self.error(&error);
        let timeout = self.set_lock_timeout(LockTimeout::None).map_err(failed)?;
        let emptied = self.checkpoint(Checkpoint::Truncate);
        self.set_lock_timeout(timeout).map_err(failed)?;
        emptied
    }

    fn wal_length(&self) -> u64 {
        fs::metadata(&self.wal_path).map_or(0, |metadata| metadata.len())
    }

    fn set_wal_warning(&self, length: u64, is_complete: bool) {
        let warning = (!is_complete && length >= LARGE_WAL).then(|| {
            format!(
                "`{}` has grown to {} and cannot be emptied: another program has been reading the \
                 file for long, end that",
                self.wal_path.display(),
                mebibytes(length),
            )
        });
        self.file.warnings.set(Warning::LargeWal, warning);
    }

    fn run_checkpoint(&self, mode: Checkpoint) -> SqlResult<bool> {
        let sql = match mode {
            Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        self.connection.query_row(sql, [], |row| {
            let (busy, in_wal, moved): (i64, i64, i64) = row.try_into()?;
            Ok(busy == 0 && in_wal == moved)
        })
    }
}

/// A number that a PRAGMA returns.
fn number(connection: &Connection, pragma: &str) -> SqlResult<u64> {
    let found: i64 = connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))?;
    Ok(found.unsigned_abs())
}
