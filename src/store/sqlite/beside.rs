//! The file beside the store's, where SQLite keeps what was written last: whose it is, and that it
//! does not grow without end.
//!
//! Owns refusing a file that was put in another's place (SQLite would write what is beside it into it),
//! and emptying it when nobody writes. The surprising thing: SQLite does so only while it commits.
//! What grew under a long reader would stay, and on a full disk no commit ever comes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;
use crate::sqlite::Patience;

/// From here on it is told of.
const LARGE: u64 = 256 << 20;

/// What the connections to one file know of the file beside it.
pub(super) struct Beside {
    wal: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The file opened last, and what was beside it then.
    last: Option<(Identity, Identity)>,
    complaint: Option<String>,
}

impl Beside {
    pub(super) fn of(file: &Path) -> Beside {
        Beside {
            wal: crate::sqlite::beside(file, "-wal"),
            known: Mutex::default(),
        }
    }

    /// Refuses a file beside which lies what belongs to the one before.
    pub(super) fn belongs_to(&self, file: &Path) -> Result<(), StoreError> {
        let (now, wal) = (identity(file)?, identity(&self.wal)?);
        let last = self.known().last;
        match (now.zip(wal), last) {
            (Some((now, wal)), Some(last)) if now != last.0 && wal == last.1 => {
                Err(judged(Trouble::replaced(file, &self.wal)))
            }
            _ => Ok(()),
        }
    }

    /// The file was opened, and has what is beside it now.
    pub(super) fn note(&self, file: Identity) -> Result<(), StoreError> {
        self.known().last = identity(&self.wal)?.map(|wal| (file, wal));
        Ok(())
    }

    pub(super) fn complaint(&self) -> Option<String> {
        self.known().complaint.clone()
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.wal).map_or(0, |metadata| metadata.len())
    }

    fn too_large(&self, length: u64) -> Option<String> {
        (length >= LARGE).then(|| {
            format!(
                "`{}` has grown to {} MiB and cannot be emptied: another program has been reading \
                 the orders for long, end that",
                self.wal.display(),
                length >> 20,
            )
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteStore {
    /// Empties the file beside, if nobody has written since the last time or it is large. What goes
    /// wrong is told, and no failure: orders can be stored all the same.
    pub(super) fn tidy(&mut self) {
        let complaint = self
            .emptied()
            .unwrap_or_else(|error| Some(error.to_string()));
        self.beside.known().complaint = complaint;
    }

    fn emptied(&mut self) -> Result<Option<String>, StoreError> {
        let length = self.beside.length();
        let file = self.file.clone();
        let failed = |error: SqliteError| classify(&file, &error);
        let connection = self.connection()?;
        let version = connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))
            .map_err(failed)?;
        // A commit that comes after this only puts it off.
        let is_idle = self.version.replace(version) == Some(version);
        if length == 0 || !is_idle && length < LARGE {
            return Ok(None);
        }
        let is_empty = empty(self.connection()?).map_err(failed)?;
        Ok(self.beside.too_large(length).filter(|_| !is_empty))
    }
}

/// Whether nothing is beside the file now; where others read on, not all can be moved.
fn empty(connection: &Connection) -> Result<bool, SqliteError> {
    // Writers need not wait for the long part.
    if !checkpoint(connection, "PASSIVE")? {
        return Ok(false);
    }
    Patience::None.set(connection)?;
    let emptied = checkpoint(connection, "TRUNCATE");
    Patience::Usual.set(connection)?;
    emptied
}

/// Moves what is beside the file into it; whether that was all.
fn checkpoint(connection: &Connection, how: &str) -> Result<bool, SqliteError> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| {
        let (busy, there, moved): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(busy == 0 && there == moved)
    })
}
