//! A topic's file and the connections to it: whether what is open is what is at the path.
//!
//! Owns opening, and the comparison of what was opened with what is there now. The surprising
//! thing: SQLite goes on writing to a file that was deleted, replaced or cut short, and reports
//! success. So every use of a connection begins with a look at the path, and nothing is
//! acknowledged without another one. The look is a `stat`: to open and close the file by other
//! means than SQLite would give up SQLite's locks on it.

use std::fs;

use super::*;
use crate::data_folder::REMEDY;
use crate::sqlite::Identity;

/// What is at the path of a topic: the file, and what was written and is not in it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    file: Identity,
    wal: Option<Identity>,
    length: u64,
    wal_length: u64,
}

/// Where a topic is, and what was last seen there.
pub(super) struct TopicFile {
    pub(super) path: PathBuf,
    pub(super) wal: PathBuf,
    last: Mutex<Option<Seen>>,
}

/// A connection, and what it is connected to.
pub(super) struct Open {
    pub(super) connection: Connection,
    path: PathBuf,
    file: Identity,
    wal: Identity,
}

impl Open {
    pub(super) fn trouble(&self, error: &SqlError) -> Trouble {
        Trouble::of(&self.path, error)
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> Trouble {
        Trouble::new(Kind::Damaged, &self.path, reason)
    }

    /// The number that other connections' commits change.
    pub(super) fn version(&self) -> SqlResult<i64> {
        let mut asked = self.connection.prepare_cached("PRAGMA data_version")?;
        asked.query_row([], |row| row.get(0))
    }
}

impl TopicFile {
    pub(super) fn new(folder: &Path, topic: &str) -> TopicFile {
        TopicFile {
            path: folder.join(format!("{topic}.db")),
            wal: folder.join(format!("{topic}.db-wal")),
            last: Mutex::default(),
        }
    }

    /// Whether there is nothing at the path.
    pub(super) fn is_missing(&self) -> bool {
        fs::metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// How long the file is that holds what was written last; 0 when there is none.
    pub(super) fn wal_length(&self) -> u64 {
        fs::metadata(&self.wal).map_or(0, |metadata| metadata.len())
    }

    fn look(&self) -> Result<Seen, Trouble> {
        let failed = |error: io::Error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => format!("not found: {error}"),
                _ => format!("{error} ({REMEDY})"),
            };
            Trouble::new(Kind::Missing, &self.path, reason)
        };
        // In this order: a checkpoint moves pages out of the second into the first.
        let wal = fs::metadata(&self.wal).ok();
        let file = fs::metadata(&self.path).map_err(failed)?;
        Ok(Seen {
            file: Identity::of(&file),
            wal: wal.as_ref().map(Identity::of),
            length: file.len(),
            wal_length: wal.map_or(0, |wal| wal.len()),
        })
    }

    fn last(&self) -> MutexGuard<'_, Option<Seen>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what is at the path. What is cut short, or lies beside the remains of another file, is
    /// not opened.
    pub(super) fn open(&self, access: Access) -> Result<Open, Trouble> {
        let before = self.look()?;
        if let Some(last) = *self.last()
            && last.file != before.file
            && last.wal.is_some()
            && last.wal == before.wal
        {
            return Err(Trouble::replaced(&self.path, &self.wal));
        }
        let connection = crate::sqlite::open(&self.path, access)?;
        let failed = |error: SqlError| Trouble::of(&self.path, &error);
        // The writer checkpoints, after a look at the path; done by whoever closes last, it would
        // fill up a file that was cut short and so hide it.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .and_then(|_| connection.execute_batch("PRAGMA wal_autocheckpoint = 0"))
            .map_err(failed)?;
        self.examine(&connection)?;
        // A backup made by `VACUUM INTO` is a file of SQLite's usual mode.
        connection
            .execute_batch("PRAGMA journal_mode = WAL")
            .map_err(failed)?;
        // Only now the second file is sure to be there, and to stay while this is open.
        let seen = self.look()?;
        let Some(wal) = seen.wal.filter(|_| seen.file == before.file) else {
            let reason = "it was replaced while it was opened";
            return Err(Trouble::new(Kind::Busy, &self.path, reason));
        };
        *self.last() = Some(seen);
        Ok(Open {
            connection,
            path: self.path.clone(),
            file: seen.file,
            wal,
        })
    }

    /// Whether the file is a topic, and as long as it says.
    fn examine(&self, connection: &Connection) -> Result<(), Trouble> {
        let number = |pragma: &str| -> SqlResult<i64> {
            connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
        };
        let asked = || -> SqlResult<[i64; 3]> {
            let layout = number("user_version")?;
            Ok([layout, number("page_count")?, number("page_size")?])
        };
        let [layout, pages, page_size] =
            asked().map_err(|error| Trouble::of(&self.path, &error))?;
        if layout != tables::LAYOUT {
            let reason = format!("it is no topic of this program (layout {layout})");
            return Err(Trouble::new(Kind::Damaged, &self.path, reason));
        }
        let (pages, page_size) = (pages.unsigned_abs(), page_size.unsigned_abs());
        let seen = self.look()?;
        // What is not in the file must be in the other one, a page and its head each; and a file
        // that was that long once may be shorter only when it says so itself.
        let waiting = seen.wal_length / (page_size + 24);
        let whole = pages * page_size;
        let once = self.last().filter(|last| last.file == seen.file);
        let least = once.map_or(0, |last| last.length.min(whole));
        if seen.length < least || seen.length / page_size + waiting < pages {
            let reason = format!("it is cut short: {} bytes of {whole}", seen.length);
            return Err(Trouble::new(Kind::Damaged, &self.path, reason));
        }
        Ok(())
    }

    /// Whether what is open is what is at the path, and was not cut short. A file that an operator
    /// made smaller (VACUUM) counts as changed once, and is examined when it is opened again.
    pub(super) fn is_current(&self, open: &Open) -> bool {
        let Ok(seen) = self.look() else {
            return false;
        };
        if seen.file != open.file || seen.wal != Some(open.wal) {
            return false;
        }
        let mut last = self.last();
        match &mut *last {
            Some(last) if last.file == seen.file => {
                let was = last.length;
                last.length = was.max(seen.length);
                seen.length >= was
            }
            _ => true,
        }
    }

    /// Whether the file is the one that is open, and only the other one was taken away.
    pub(super) fn lost_its_wal(&self, open: &Open) -> bool {
        self.look()
            .is_ok_and(|seen| seen.file == open.file && seen.wal != Some(open.wal))
    }
}
