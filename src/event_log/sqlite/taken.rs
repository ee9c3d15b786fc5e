//! How far consumers have stored each topic: what retention may delete.
//!
//! Owns the file `taken.sqlite` of the folder, which is the consumer's to write and the writers' to
//! read; no topic's file can have that name. It is a hint that may be lost or late: an older
//! position only deletes less. Where reading begins is never taken from here, but from the store.

use super::*;

const FILE: &str = "taken.sqlite";

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS taken (
    topic_id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)
) WITHOUT ROWID";

/// The positions told last, by partition; empty where none were, or where they cannot be read.
pub(super) fn of(folder: &Path, topic_id: &TopicId) -> BTreeMap<i32, i64> {
    let path = folder.join(FILE);
    let asked = || -> Result<BTreeMap<i32, i64>, FileError> {
        let connection = crate::sqlite_file::open(&path, Access::Read)?;
        let asked = || -> SqlResult<_> {
            let mut asked = connection
                .prepare("SELECT partition, next_offset FROM taken WHERE topic_id = ?1")?;
            let rows = asked.query_map([&*topic_id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        asked().map_err(|error| FileError::of(&path, &error))
    };
    match asked() {
        Ok(taken) => taken,
        Err(trouble) if trouble.kind == FileErrorKind::Missing => BTreeMap::new(),
        Err(trouble) => {
            tracing::warn!(
                "nothing is deleted that was not taken, and what was is not known: {trouble}"
            );
            BTreeMap::new()
        }
    }
}

/// Tells positions; opened at the first.
pub(super) struct Teller {
    path: PathBuf,
    connection: Option<Connection>,
}

impl Teller {
    pub(super) fn new(folder: &Path) -> Teller {
        Teller {
            path: folder.join(FILE),
            connection: None,
        }
    }

    /// Writes the positions down. Waits for nobody: the next ones come in a second.
    pub(super) fn tell(
        &mut self,
        topic_id: &TopicId,
        positions: &[PartitionOffset],
    ) -> Result<(), FileError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        write(&connection, topic_id, positions)
            .map_err(|error| FileError::of(&self.path, &error))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn open(&self) -> Result<Connection, FileError> {
        let connection = crate::sqlite_file::open(&self.path, Access::Create)?;
        let settled = LockTimeout::None.set(&connection).and_then(|()| {
            // The thread that tells must not wait for the disk.
            connection.execute_batch("PRAGMA synchronous = NORMAL")?;
            connection.execute_batch(SCHEMA)
        });
        settled.map_err(|error| FileError::of(&self.path, &error))?;
        Ok(connection)
    }
}

fn write(
    connection: &Connection,
    topic_id: &TopicId,
    positions: &[PartitionOffset],
) -> SqlResult<()> {
    let transaction = connection.unchecked_transaction()?;
    {
        let mut tell = transaction.prepare_cached(
            "INSERT INTO taken (topic_id, partition, next_offset) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
        )?;
        for next in positions {
            tell.execute((topic_id.as_str(), next.partition, next.offset))?;
        }
    }
    transaction.commit()
}
