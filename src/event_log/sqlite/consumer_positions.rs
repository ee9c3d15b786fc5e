//! How far consumers have stored each topic: what retention may delete.
//!
//! Owns the file `taken.sqlite` of the folder, which the consumer writes and the writers of topics
//! read; no topic's file can have that name. It is a hint that may be lost or late: an older position
//! only deletes less. Where reading begins is decided by the store alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Result as SqlResult};

use crate::pipeline::{PartitionOffset, TopicId};
use crate::sqlite_file::{Access, FileError, FileErrorKind, LockTimeout, open};

const FILE: &str = "taken.sqlite";

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS taken (
    topic_id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)
) WITHOUT ROWID";

const SELECT: &str = "SELECT partition, next_offset FROM taken WHERE topic_id = ?1";

const UPSERT: &str = "INSERT INTO taken (topic_id, partition, next_offset) VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset";

/// The last positions of a topic, by partition; empty where there are none or they cannot be read.
pub(super) fn read(folder: &Path, topic_id: &TopicId) -> BTreeMap<i32, i64> {
    match try_read(&folder.join(FILE), topic_id) {
        Ok(positions) => positions,
        Err(error) if error.kind == FileErrorKind::Missing => BTreeMap::new(),
        Err(error) => {
            tracing::warn!(
                "retention deletes nothing: cannot read the consumer's positions: {error}"
            );
            BTreeMap::new()
        }
    }
}

fn try_read(path: &Path, topic_id: &TopicId) -> Result<BTreeMap<i32, i64>, FileError> {
    let connection = open(path, Access::Read)?;
    let select = || -> SqlResult<_> {
        let mut statement = connection.prepare(SELECT)?;
        let rows = statement.query_map([topic_id.as_str()], |row| row.try_into())?;
        rows.collect()
    };
    select().map_err(|error| FileError::of(path, &error))
}

/// Writes positions; opens the file for the first ones.
pub(super) struct PositionWriter {
    path: PathBuf,
    connection: Option<Connection>,
}

impl PositionWriter {
    pub(super) fn new(folder: &Path) -> PositionWriter {
        PositionWriter {
            path: folder.join(FILE),
            connection: None,
        }
    }

    /// Writes the positions. Waits for no lock: the next ones come within a second.
    pub(super) fn write(
        &mut self,
        topic_id: &TopicId,
        positions: &[PartitionOffset],
    ) -> Result<(), FileError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        upsert(&connection, topic_id, positions)
            .map_err(|error| FileError::of(&self.path, &error))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn open(&self) -> Result<Connection, FileError> {
        let connection = open(&self.path, Access::Create)?;
        let configured = LockTimeout::None.set(&connection).and_then(|()| {
            // The consumer's thread must not wait for the disk.
            connection.execute_batch("PRAGMA synchronous = NORMAL")?;
            connection.execute_batch(SCHEMA)
        });
        configured.map_err(|error| FileError::of(&self.path, &error))?;
        Ok(connection)
    }
}

fn upsert(
    connection: &Connection,
    topic_id: &TopicId,
    positions: &[PartitionOffset],
) -> SqlResult<()> {
    let transaction = connection.unchecked_transaction()?;
    for next in positions {
        transaction.prepare_cached(UPSERT)?.execute((
            topic_id.as_str(),
            next.partition,
            next.offset,
        ))?;
    }
    transaction.commit()
}
