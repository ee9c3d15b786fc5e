//! The transaction that appends, on which a 202 relies.
//!
//! Owns the writer's connection, the counters, and when a record is acknowledged.
//!
//! # Invariants
//!
//! - A record is acknowledged after a COMMIT that synced, in the file that is at the path.
//! - After an error of the disk nothing in the WAL is trusted. The kernel may have dropped what it had
//!   not written by then, and a later sync that succeeds does not cover it. So all of it is moved into
//!   the topic's file, and synced there, before the next record is appended.

use std::time::{Duration, Instant};

use rusqlite::{Error as SqlError, Result as SqlResult};

use super::append_failure::AppendFailure;
use super::queue::QueuedRecord;
use super::retention::{self, Retention};
use super::tables::{self, Counters, Head};
use super::topic::Topic;
use super::{consumer_positions, now_ms};
use crate::event_log::{AppendError, Appended, Durability};
use crate::pipeline::partition_of;
use crate::sqlite_file::{
    Access, Checkpoint, DiskSpace, FileError, FileErrorKind, LockTimeout, OpenFile, Warning,
};

const INSERT: &str = "INSERT INTO records (id, timestamp_ms, key, value, headers, sum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const UPDATE_COUNTERS: &str =
    "UPDATE partitions SET next_offset = ?2, bytes = ?3 WHERE partition = ?1";

/// How much is written before a checkpoint.
const CHECKPOINT_BYTES: u64 = 4 << 20;

/// What a commit writes beside its records: a few pages.
const OVERHEAD_BYTES: u64 = 16 << 10;

/// How long nothing must have been appended before the WAL is emptied.
const IDLE: Duration = Duration::from_secs(1);

/// A topic's file while it is written.
pub(super) struct Appender {
    pub(super) open: OpenFile,
    head: Head,
    counters: Vec<Counters>,
    /// Counters and head are those of this version; commits of others change it.
    data_version: i64,
    synchronous: Durability,
    disk_space: DiskSpace,
    pub(super) retention: Retention,
    written_since_checkpoint: u64,
    wal_is_empty: bool,
    last_commit: Instant,
}

impl Appender {
    /// Opens the file for writing. `is_retry`: it could not be written a moment ago.
    /// `must_checkpoint`: what lies in its WAL may not be on the disk.
    pub(super) fn open(
        topic: &Topic,
        is_retry: bool,
        must_checkpoint: bool,
    ) -> Result<Appender, FileError> {
        let open = topic.open(Access::Write)?;
        let read = || -> SqlResult<_> {
            if is_retry {
                open.set_lock_timeout(LockTimeout::Retry)?;
                // A lock that others hold shows only here.
                open.connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
            } else {
                open.set_lock_timeout(LockTimeout::Append)?;
            }
            let data_version = open.data_version()?;
            let head = tables::head(&open.connection)?;
            Ok((data_version, head, tables::counters(&open.connection)?))
        };
        let (data_version, head, counters) = read().map_err(|error| open.error(&error))?;
        let mut appender = Appender {
            disk_space: topic.file.disk_space()?,
            open,
            head,
            counters,
            data_version,
            synchronous: Durability::Durable,
            retention: Retention::default(),
            written_since_checkpoint: 0,
            wal_is_empty: false,
            last_commit: Instant::now(),
        };
        if must_checkpoint && !appender.checkpoint(Checkpoint::Truncate)? {
            let reason = "what was written last cannot be synced while others read it";
            return Err(FileError::new(
                FileErrorKind::Busy,
                topic.file.path(),
                reason,
            ));
        }
        Ok(appender)
    }

    /// Refuses records that are too large or do not fit on the disk, and returns the others.
    pub(super) fn admit(&mut self, topic: &Topic, batch: Vec<QueuedRecord>) -> Vec<QueuedRecord> {
        let bytes: u64 = batch.iter().map(|record| record.size() as u64).sum();
        let bytes = bytes + OVERHEAD_BYTES;
        // Read each time: it costs a thousandth of the commit.
        self.disk_space = topic.file.disk_space().unwrap_or(self.disk_space);
        let has_room_for_orders = self.has_room_for_orders(topic, bytes);
        // Lookups may use the reserve: orders can still be read.
        let has_room_for_lookups = self.disk_space.has_room_in_reserve(bytes);
        let largest = self.head.limit("max.message.bytes");
        let largest = largest.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(0));
        let mut admitted = Vec::with_capacity(batch.len());
        for record in batch {
            let has_room = match record.durability {
                Durability::Durable => has_room_for_orders,
                Durability::BestEffort => has_room_for_lookups,
            };
            if record.size() > largest {
                let (size, name) = (record.size(), &topic.name);
                record.complete(Err(AppendError::TooLarge(format!(
                    "it has {size} bytes, and topic `{name}` has max.message.bytes={largest}"
                ))));
            } else if has_room {
                admitted.push(record);
            } else {
                let shortage = self.disk_space.shortage(&topic.folder);
                record.complete(Err(AppendError::Full(shortage)));
            }
        }
        admitted
    }

    fn has_room_for_orders(&self, topic: &Topic, bytes: u64) -> bool {
        let space = self.disk_space;
        let has_room =
            space.has_room(bytes, 0) || space.has_room(bytes, self.open.free_bytes().unwrap_or(0));
        let shortage = (!has_room).then(|| space.shortage(&topic.folder));
        topic.file.warnings.set(Warning::Shortage, shortage);
        has_room
    }

    /// Appends all records or none. When this returns where they are, they are in the file at the
    /// path; if one of them is durable, all of them are on the disk.
    pub(super) fn commit(
        &mut self,
        batch: &[QueuedRecord],
    ) -> Result<Vec<Appended>, AppendFailure> {
        let counters = self.counters.clone();
        let (appended, counters) = match self.insert(batch, counters) {
            Ok(inserted) => inserted,
            // Nothing was committed, so nothing is in the log; closing rolls back.
            Err(error) => return Err(self.open.error(&error).into()),
        };
        if let Err(error) = self.open.connection.execute_batch("COMMIT") {
            return Err(AppendFailure::of_commit(self.open.error(&error), &error));
        }
        // COMMIT has returned after its sync, but perhaps in a file that was deleted or replaced. What
        // is not at the path now is not acknowledged.
        if let Err(error) = self.open.ensure_current() {
            return Err(AppendFailure {
                error,
                is_unknown: true,
            });
        }
        // Only here: after a failure the next record gets the same offset.
        self.counters = counters;
        let bytes: usize = batch.iter().map(QueuedRecord::size).sum();
        self.written_since_checkpoint += bytes as u64 + OVERHEAD_BYTES;
        self.wal_is_empty = false;
        self.last_commit = Instant::now();
        Ok(appended)
    }

    fn insert(
        &mut self,
        batch: &[QueuedRecord],
        mut counters: Vec<Counters>,
    ) -> SqlResult<(Vec<Appended>, Vec<Counters>)> {
        let is_durable = |record: &QueuedRecord| record.durability == Durability::Durable;
        let is_durable = batch.iter().any(is_durable);
        self.set_synchronous(is_durable)?;
        // The lock first: upgrading a snapshot fails where another process wrote meanwhile.
        let connection = &self.open.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let data_version = self.open.data_version()?;
        if data_version != self.data_version {
            (self.data_version, self.head) = (data_version, tables::head(connection)?);
            counters = tables::counters(connection)?;
        }
        let partitions = u32::try_from(counters.len()).unwrap_or(u32::MAX);
        if partitions == 0 {
            return Err(SqlError::QueryReturnedNoRows);
        }
        let mut insert = connection.prepare_cached(INSERT)?;
        let mut appended = Vec::with_capacity(batch.len());
        let mut is_changed = vec![false; counters.len()];
        for record in batch {
            let at = partition_of(&record.key, partitions) as usize;
            let partition = at as i32;
            // The next offset is counted in the same transaction: no offset is used twice, also not
            // when retention has emptied the partition.
            let offset = counters[at].next;
            counters[at].next += 1;
            counters[at].bytes += record.size() as i64;
            is_changed[at] = true;
            let id = tables::id(partition, offset);
            let key = Some(&*record.key);
            let value = record.value.as_deref();
            let headers = (!record.headers.is_empty()).then_some(&*record.headers);
            let summed = [key, value, Some(headers.unwrap_or_default())];
            let sum = tables::sum(id, record.timestamp_ms, summed);
            insert.execute((id, record.timestamp_ms, key, value, headers, sum))?;
            appended.push(Appended {
                partition,
                offset: Some(offset),
            });
        }
        let mut update = connection.prepare_cached(UPDATE_COUNTERS)?;
        for (at, counters) in counters
            .iter()
            .enumerate()
            .filter(|(at, _)| is_changed[*at])
        {
            update.execute((at as i64, counters.next, counters.bytes))?;
        }
        if is_durable && !self.head.holds_durable {
            connection.execute("UPDATE topic SET holds_durable = 1", [])?;
            self.head.holds_durable = true;
        }
        Ok((appended, counters))
    }

    /// A batch without an order need not be on the disk when it is acknowledged; it is before the
    /// next order is.
    fn set_synchronous(&mut self, is_durable: bool) -> SqlResult<()> {
        let (wanted, pragma) = if is_durable {
            (Durability::Durable, "PRAGMA synchronous = FULL")
        } else {
            (Durability::BestEffort, "PRAGMA synchronous = NORMAL")
        };
        if self.synchronous != wanted {
            self.open.connection.execute_batch(pragma)?;
            self.synchronous = wanted;
        }
        Ok(())
    }

    /// Deletes, checkpoints and reads the free space, in short steps between appends.
    pub(super) fn maintain(&mut self, topic: &Topic, is_due: bool) -> Result<(), FileError> {
        if is_due {
            self.disk_space = topic.file.disk_space()?;
            self.has_room_for_orders(topic, OVERHEAD_BYTES);
        }
        self.apply_retention(topic)?;
        if self.written_since_checkpoint >= CHECKPOINT_BYTES {
            self.checkpoint(Checkpoint::Passive)?;
        }
        if is_due && !self.wal_is_empty {
            let is_idle = self.last_commit.elapsed() >= IDLE;
            self.wal_is_empty = self.open.maintain_wal(is_idle)?;
        }
        Ok(())
    }

    fn apply_retention(&mut self, topic: &Topic) -> Result<(), FileError> {
        let now = Instant::now();
        if !self.retention.is_due(now) {
            return Ok(());
        }
        let synchronous = self.set_synchronous(false);
        let failed = |error: SqlError| self.open.error(&error);
        synchronous.map_err(failed)?;
        let stored = consumer_positions::read(&topic.folder, &self.head.topic_id);
        let deleted = retention::step(&self.open, &self.head, &stored, now_ms())?;
        self.retention.stepped(now, deleted);
        if deleted > 0 {
            self.counters = tables::counters(&self.open.connection).map_err(failed)?;
            self.written_since_checkpoint += deleted as u64 * 1_000 + OVERHEAD_BYTES;
            self.wal_is_empty = false;
        }
        Ok(())
    }

    /// Moves what was written into the topic's file; returns whether that was all of it.
    fn checkpoint(&mut self, mode: Checkpoint) -> Result<bool, FileError> {
        let is_complete = self.open.checkpoint(mode)?;
        self.written_since_checkpoint = 0;
        Ok(is_complete)
    }
}
