//! One topic as this process uses it: connections to read by, notifications, the writer.
//!
//! Owns the snapshots that are read. Each is short and its connection returns to the pool: a snapshot
//! that stays open would keep the writer from moving pages into the file, and the WAL would grow
//! without bound.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::config::DbConfig;

use super::notify::Notify;
use super::queue::Queue;
use super::tables::{self, Counters};
use super::writer::Writer;
use crate::data_folder::HINT;
use crate::event_log::{LogError, LogFault};
use crate::pipeline::{PartitionOffset, Record, TopicId};
use crate::sqlite_file::{Access, FileError, FileErrorKind, GuardedFile, OpenFile};
use crate::sync::lock;

/// How many idle connections are kept.
const MAX_IDLE: usize = 4;

/// The reset of readers whose topic has another id now.
pub(super) const RECREATED: &str = "the topic was deleted and created again";

pub(super) struct Topic {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) file: Arc<GuardedFile>,
    pub(super) notify: Notify,
    idle: Mutex<Vec<OpenFile>>,
    writer: Mutex<Option<Writer>>,
}

/// Why a topic cannot be read at an offset.
pub(super) enum ReadError {
    File(FileError),
    /// The offset, its partition or this incarnation of the topic is gone for good.
    Gone(String),
}

impl From<FileError> for ReadError {
    fn from(error: FileError) -> ReadError {
        ReadError::File(error)
    }
}

impl Topic {
    pub(super) fn new(folder: &Path, name: &str) -> Topic {
        let path = folder.join(format!("{name}.db"));
        Topic {
            name: name.into(),
            folder: folder.into(),
            file: Arc::new(GuardedFile::new(path, HINT)),
            notify: Notify::default(),
            idle: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    /// Opens the topic's file.
    pub(super) fn open(&self, access: Access) -> Result<OpenFile, FileError> {
        let path = self.file.path();
        self.file.open(access, |connection| {
            // The writer checkpoints, after a look at the path; done by the connection that closes
            // last, it would fill up a file that was cut short and so hide it.
            let layout: i64 = connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .and_then(|_| connection.execute_batch("PRAGMA wal_autocheckpoint = 0"))
                .and_then(|()| connection.query_row("PRAGMA user_version", [], |row| row.get(0)))
                .map_err(|error| FileError::of(path, &error))?;
            if layout != tables::LAYOUT {
                let reason = format!("it is not a topic of this program (layout {layout})");
                return Err(FileError::new(FileErrorKind::Damaged, path, reason));
            }
            Ok(())
        })
    }

    /// Runs `query` on one snapshot. A connection that failed is not used again.
    pub(super) fn read<T, E: From<FileError>>(
        &self,
        query: impl FnOnce(&OpenFile) -> Result<T, E>,
    ) -> Result<T, E> {
        let open = self.connection()?;
        let snapshot = open.run(|connection| connection.unchecked_transaction())?;
        let found = query(&open)?;
        snapshot.commit().map_err(|error| open.error(&error))?;
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_IDLE {
            idle.push(open);
        }
        Ok(found)
    }

    fn connection(&self) -> Result<OpenFile, FileError> {
        loop {
            // The lock is not held while the path is examined.
            let idle = lock(&self.idle).pop();
            match idle {
                Some(open) if open.is_current() => return Ok(open),
                Some(_) => {}
                None => return self.open(Access::Read),
            }
        }
    }

    pub(super) fn topic_id(&self) -> Result<TopicId, FileError> {
        self.read(|open| open.run(tables::topic_id))
    }

    /// Identity and counters of one moment. A snapshot holds every commit that came before it, so
    /// every record acknowledged by then is below these ends.
    pub(super) fn counters(&self) -> Result<(TopicId, Vec<Counters>), FileError> {
        self.read(|open| {
            open.run(|connection| {
                let topic_id = tables::topic_id(connection)?;
                Ok((topic_id, tables::counters(connection)?))
            })
        })
    }

    /// As [`Topic::read`], of a partition that exists.
    pub(super) fn read_partition<T>(
        &self,
        partition: i32,
        query: impl FnOnce(&OpenFile, Counters) -> Result<T, FileError>,
    ) -> Result<T, LogError> {
        let read = self.read(|open| {
            let counters = open.run(|connection| tables::counters_of(connection, partition))?;
            counters.map(|counters| query(open, counters)).transpose()
        });
        let read = read.map_err(|error| self.error("read", &error))?;
        read.ok_or_else(|| {
            let name = &self.name;
            LogError::NotFound(format!("topic `{name}` has no partition {partition}"))
        })
    }

    /// Reads records of one partition, in order and without holes, as long as this is still the topic
    /// `topic_id`; none at the end.
    pub(super) fn records(
        &self,
        topic_id: &TopicId,
        from: PartitionOffset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.read(|open| {
            let counters = counters_at(open, topic_id, from)?;
            let mut records = Vec::new();
            let max_records = i64::try_from(max_records).unwrap_or(i64::MAX);
            let to = counters.next.min(from.offset.saturating_add(max_records));
            let range = (from.offset, to);
            tables::records(open, from.partition, range, max_bytes, |row| {
                records.push(row.record(from.partition)?);
                Some(())
            })?;
            Ok(records)
        })
    }

    /// What a failed use of this topic means to the caller.
    pub(super) fn error(&self, attempt: &str, error: &FileError) -> LogError {
        if error.kind == FileErrorKind::Missing && self.file.is_missing() {
            return self.not_found();
        }
        let message = format!("could not {attempt} topic `{}`: {error}", self.name);
        if is_outage(error.kind) {
            LogError::Unavailable(message)
        } else {
            LogError::Refused(message)
        }
    }

    /// The same for a reader.
    pub(super) fn fault(&self, error: ReadError) -> LogFault {
        let error = match error {
            ReadError::File(error) => error,
            ReadError::Gone(reason) => return LogFault::Reset(reason),
        };
        let is_corrupt = matches!(
            error.kind,
            FileErrorKind::Damaged | FileErrorKind::ForeignWal
        );
        match self.error("read", &error) {
            error if is_corrupt => LogFault::Corrupt(error.to_string()),
            LogError::NotFound(reason) => LogFault::Reset(reason),
            LogError::Unavailable(reason) | LogError::Refused(reason) => {
                LogFault::Transient(reason)
            }
        }
    }

    pub(super) fn not_found(&self) -> LogError {
        let name = &self.name;
        LogError::NotFound(format!(
            "there is no topic `{name}`: run `orders create-topics`"
        ))
    }

    /// The queue of this topic's writer, whose thread starts with the first record.
    pub(super) fn queue(self: &Arc<Topic>) -> io::Result<Arc<Queue>> {
        let mut writer = lock(&self.writer);
        match &*writer {
            Some(running) if running.is_alive() => Ok(running.queue.clone()),
            _ => Ok(writer.insert(Writer::start(self)?).queue.clone()),
        }
    }

    /// The queue if there is one.
    pub(super) fn queue_in_use(&self) -> Option<Arc<Queue>> {
        let writer = lock(&self.writer);
        writer.as_ref().map(|writer| writer.queue.clone())
    }
}

/// The counters of the partition that is read from `from`, as long as the file is still the topic
/// `topic_id`.
pub(super) fn counters_at(
    open: &OpenFile,
    topic_id: &TopicId,
    from: PartitionOffset,
) -> Result<Counters, ReadError> {
    let PartitionOffset { partition, offset } = from;
    if open.run(tables::topic_id)? != *topic_id {
        return Err(ReadError::Gone(RECREATED.to_owned()));
    }
    let counters = open.run(|connection| tables::counters_of(connection, partition))?;
    let Some(counters) = counters else {
        let reason = format!("there is no partition {partition}");
        return Err(ReadError::Gone(reason));
    };
    let Counters { low, next, .. } = counters;
    if !(low..=next).contains(&offset) {
        let reason = format!("offset {offset} of partition {partition} is not in {low}..{next}");
        return Err(ReadError::Gone(reason));
    }
    Ok(counters)
}

/// Whether the error is temporary: it ends by itself or by what its hint says, and no record is lost.
fn is_outage(kind: FileErrorKind) -> bool {
    match kind {
        FileErrorKind::Busy
        | FileErrorKind::Full
        | FileErrorKind::ReadOnly
        | FileErrorKind::Missing
        | FileErrorKind::NotAFile
        | FileErrorKind::Changed
        | FileErrorKind::Disk => true,
        FileErrorKind::ForeignWal
        | FileErrorKind::Damaged
        | FileErrorKind::Refused
        | FileErrorKind::Misused => false,
    }
}
