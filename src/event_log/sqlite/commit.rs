//! The transaction that appends: what 202 rests on.
//!
//! Owns the writer's connection, the counters and the rule when a record is acknowledged: after a
//! COMMIT that synced, in the file that is at the path. The surprising thing: after an error of the
//! disk nothing that lies in the WAL is believed. What the system had not written by then it may
//! have forgotten, and a later sync that succeeds says nothing of it; so all of it is moved into the
//! topic's file, and synced there, before the next record is taken.

use super::failed::Failed;
use super::retention::Retention;
use super::*;

const APPEND: &str = "INSERT INTO records (id, timestamp_ms, key, value, headers, sum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const MOVE: &str = "UPDATE partitions SET next_offset = ?2, bytes = ?3 WHERE partition = ?1";

/// How much is written before it is moved into the topic's file.
const CHECKPOINT_BYTES: u64 = 4 << 20;

/// What a commit writes beside its records: a few pages.
const OVERHEAD_BYTES: u64 = 16 << 10;

/// How long there must have been nothing to append before the WAL is emptied.
const IDLE: Duration = Duration::from_secs(1);

/// The file while it is written.
pub(super) struct Writing {
    pub(super) open: OpenFile,
    head: Head,
    counters: Vec<Counters>,
    /// Counters and head are those of this version; others' commits change it.
    version: i64,
    synchronous: Durability,
    space: DiskSpace,
    pub(super) retention: Retention,
    written_since_checkpoint: u64,
    wal_is_empty: bool,
    last_commit: Instant,
}

impl Writing {
    pub(super) fn open(topic: &Topic, patient: bool, settle: bool) -> Result<Writing, Failed> {
        let surely = Failed::surely;
        let open = topic.open(Access::Write).map_err(surely)?;
        let asked = || -> SqlResult<_> {
            let timeout = if patient {
                LockTimeout::Append
            } else {
                LockTimeout::Retry
            };
            open.set_lock_timeout(timeout)?;
            if !patient {
                // It could not be written a moment ago; a lock that others hold shows only here.
                open.connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
            }
            let version = open.data_version()?;
            let head = tables::head(&open.connection)?;
            Ok((version, head, tables::counters(&open.connection)?))
        };
        let (version, head, counters) = asked().map_err(|error| surely(open.error(&error)))?;
        let mut writing = Writing {
            space: topic.file.disk_space().map_err(surely)?,
            open,
            head,
            counters,
            version,
            synchronous: Durability::Durable,
            retention: Retention::default(),
            written_since_checkpoint: 0,
            wal_is_empty: false,
            last_commit: Instant::now(),
        };
        if settle {
            let is_safe = writing.checkpoint(Checkpoint::Truncate).map_err(surely)?;
            if !is_safe {
                let reason = "what was written last cannot be made safe while others read it";
                let trouble = FileError::new(FileErrorKind::Busy, topic.file.path(), reason);
                return Err(surely(trouble));
            }
        }
        Ok(writing)
    }

    /// Answers the records that there is no room for, and gives back the others.
    pub(super) fn admit(&mut self, topic: &Topic, batch: Vec<Queued>) -> Vec<Queued> {
        let bytes: u64 = batch.iter().map(|record| record.size() as u64).sum();
        let bytes = bytes + OVERHEAD_BYTES;
        // Asked each time: it costs a thousandth of what the commit does.
        self.space = topic.file.disk_space().unwrap_or(self.space);
        let takes_orders = self.takes_orders(topic, bytes);
        let takes_lookups = self.space.has_room_for_lookups(bytes);
        let largest = self.head.limit("max.message.bytes");
        let largest = largest.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(0));
        let mut admitted = Vec::with_capacity(batch.len());
        for record in batch {
            let fits = match record.durability {
                Durability::Durable => takes_orders,
                Durability::BestEffort => takes_lookups,
            };
            if record.size() > largest {
                let (size, name) = (record.size(), &topic.name);
                record.answer(Err(AppendError::TooLarge(format!(
                    "it has {size} bytes, and topic `{name}` has max.message.bytes={largest}"
                ))));
            } else if fits {
                admitted.push(record);
            } else {
                let lack = self.space.shortage(&topic.folder);
                record.answer(Err(AppendError::Full(lack)));
            }
        }
        admitted
    }

    fn takes_orders(&self, topic: &Topic, bytes: u64) -> bool {
        let space = self.space;
        let takes = space.has_room_for_orders(bytes, 0)
            || space.has_room_for_orders(bytes, self.open.free_bytes().unwrap_or(0));
        let shortage = || space.shortage(&topic.folder);
        topic.file.set_shortage((!takes).then(shortage));
        takes
    }

    /// Appends all or nothing. When this returns places, the records are in the file at the path;
    /// if one of them is durable, all of them are on the disk.
    pub(super) fn commit(&mut self, batch: &[Queued]) -> Result<Vec<Appended>, Failed> {
        let counters = self.counters.clone();
        let (places, counters) = match self.insert(batch, counters) {
            Ok(done) => done,
            Err(error) => {
                // Nothing was committed, so nothing is in the log; closing rolls back.
                return Err(Failed::surely(self.open.error(&error)));
            }
        };
        if let Err(error) = self.open.connection.execute_batch("COMMIT") {
            return Err(Failed::committing(self.open.error(&error), &error));
        }
        // COMMIT has returned after its sync, yet perhaps into a file that nobody will ever open
        // again. What is not at the path now is not acknowledged.
        if let Err(trouble) = self.open.ensure_current() {
            return Err(Failed {
                trouble,
                may_be_there: true,
            });
        }
        // Only here: an offset that failed to be given is given to the next record.
        self.counters = counters;
        let bytes: usize = batch.iter().map(Queued::size).sum();
        self.written_since_checkpoint += bytes as u64 + OVERHEAD_BYTES;
        self.wal_is_empty = false;
        self.last_commit = Instant::now();
        Ok(places)
    }

    fn insert(
        &mut self,
        batch: &[Queued],
        mut counters: Vec<Counters>,
    ) -> SqlResult<(Vec<Appended>, Vec<Counters>)> {
        let holds_durable = |record: &Queued| record.durability == Durability::Durable;
        let durable = batch.iter().any(holds_durable);
        self.synchronize(durable)?;
        // The lock first: to upgrade a snapshot would fail where another process wrote meanwhile.
        let connection = &self.open.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let version = self.open.data_version()?;
        if version != self.version {
            (self.version, self.head) = (version, tables::head(connection)?);
            counters = tables::counters(connection)?;
        }
        let partitions = u32::try_from(counters.len()).unwrap_or(u32::MAX);
        if partitions == 0 {
            return Err(SqlError::QueryReturnedNoRows);
        }
        let mut append = connection.prepare_cached(APPEND)?;
        let mut places = Vec::with_capacity(batch.len());
        let mut moved = vec![false; counters.len()];
        for record in batch {
            let partition = tables::partition_of(&record.key, partitions) as usize;
            let number = partition as i32;
            let place = &mut counters[partition];
            // The next offset is counted in the same transaction: two records never get one, and
            // none comes again when retention has emptied the partition.
            let offset = place.next;
            place.next += 1;
            place.bytes += record.size() as i64;
            moved[partition] = true;
            let id = tables::id(number, offset);
            let headers = (!record.headers.is_empty()).then_some(&*record.headers);
            let values = [Some(&*record.key), record.value.as_deref(), headers];
            let [key, value, _] = values;
            let summed = [key, value, Some(headers.unwrap_or_default())];
            let sum = tables::sum(id, record.timestamp_ms, summed);
            append.execute((id, record.timestamp_ms, key, value, headers, sum))?;
            places.push(Appended {
                partition: number,
                offset: Some(offset),
            });
        }
        let mut count = connection.prepare_cached(MOVE)?;
        for (number, counters) in counters.iter().enumerate().filter(|(at, _)| moved[*at]) {
            count.execute((number as i64, counters.next, counters.bytes))?;
        }
        if durable && !self.head.holds_durable {
            connection.execute("UPDATE topic SET holds_durable = 1", [])?;
            self.head.holds_durable = true;
        }
        Ok((places, counters))
    }

    /// A batch without an order need not be on the disk when it is acknowledged; it is before the
    /// next order is.
    fn synchronize(&mut self, durable: bool) -> SqlResult<()> {
        let (wanted, pragma) = if durable {
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

    /// What can wait, in steps that no append waits long for.
    pub(super) fn keep_house(&mut self, topic: &Topic, is_due: bool) -> Result<(), FileError> {
        if is_due {
            self.space = topic.file.disk_space()?;
            self.takes_orders(topic, OVERHEAD_BYTES);
        }
        self.retain(topic)?;
        if self.written_since_checkpoint >= CHECKPOINT_BYTES {
            self.checkpoint(Checkpoint::Passive)?;
        }
        if is_due && !self.wal_is_empty {
            let is_idle = self.last_commit.elapsed() >= IDLE;
            self.wal_is_empty = self.open.maintain_wal(is_idle)?;
        }
        Ok(())
    }

    fn retain(&mut self, topic: &Topic) -> Result<(), FileError> {
        let now = Instant::now();
        if !self.retention.is_due(now) {
            return Ok(());
        }
        let synchronized = self.synchronize(false);
        let failed = |error: SqlError| self.open.error(&error);
        synchronized.map_err(failed)?;
        let taken = taken::of(&topic.folder, &self.head.topic_id);
        let deleted = retention::step(&self.open, &self.head, &taken, now_ms())?;
        self.retention.stepped(now, deleted);
        if deleted > 0 {
            self.counters = tables::counters(&self.open.connection).map_err(failed)?;
            self.written_since_checkpoint += deleted as u64 * 1_000 + OVERHEAD_BYTES;
            self.wal_is_empty = false;
        }
        Ok(())
    }

    /// Moves what was written into the topic's file; says whether that was all of it. An error of
    /// the disk here is one of those after which nothing in the WAL is believed.
    fn checkpoint(&mut self, mode: Checkpoint) -> Result<bool, FileError> {
        let is_complete = self.open.checkpoint(mode)?;
        self.written_since_checkpoint = 0;
        Ok(is_complete)
    }
}
