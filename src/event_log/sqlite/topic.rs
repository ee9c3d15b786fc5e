//! One topic as this process uses it: connections to read by, its bells, its writer.
//!
//! Owns the snapshots that all questions are answered from. Each is short and its connection goes
//! back to the pool: a snapshot that stays open would keep the writer from moving records into the
//! file, and the one beside it would grow without end.

use rusqlite::config::DbConfig;

use super::*;
use crate::data_folder::REMEDY;

/// How many idle connections are kept.
const KEPT: usize = 4;

pub(super) struct Topic {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) file: Arc<GuardedFile>,
    pub(super) bells: Bells,
    idle: Mutex<Vec<OpenFile>>,
    writer: Mutex<Option<Writer>>,
}

/// What a reader finds at an offset.
pub(super) enum Found {
    /// Records from the offset on, in order and without holes; empty at the end.
    Records(Vec<Record>),
    /// There is nothing to read there, and never will be.
    Elsewhere(String),
}

impl Topic {
    pub(super) fn new(folder: &Path, name: &str) -> Topic {
        Topic {
            name: name.into(),
            folder: folder.into(),
            file: Arc::new(GuardedFile::new(folder.join(format!("{name}.db")), REMEDY)),
            bells: Bells::default(),
            idle: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    /// Opens the topic's file.
    pub(super) fn open(&self, access: Access) -> Result<OpenFile, FileError> {
        self.file.open(access, |connection| {
            let failed = |error: SqlError| FileError::of(self.file.path(), &error);
            // The writer checkpoints, after a look at the path; done by the connection that closes
            // last, it would fill up a file that was cut short and so hide it.
            connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .and_then(|_| connection.execute_batch("PRAGMA wal_autocheckpoint = 0"))
                .map_err(failed)?;
            let layout: i64 = connection
                .query_row("PRAGMA user_version", [], |row| row.get(0))
                .map_err(failed)?;
            if layout != tables::LAYOUT {
                let reason = format!("it is not a topic of this program (layout {layout})");
                let damaged = FileErrorKind::Damaged;
                return Err(FileError::new(damaged, self.file.path(), reason));
            }
            Ok(())
        })
    }

    /// Answers from one snapshot. A connection that failed is not used again.
    pub(super) fn read<T>(
        &self,
        question: impl FnOnce(&OpenFile) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let open = self.take_connection()?;
        let answer = {
            let snapshot = open.connection.unchecked_transaction();
            let snapshot = snapshot.map_err(|error| open.error(&error))?;
            let answer = question(&open)?;
            snapshot.commit().map_err(|error| open.error(&error))?;
            answer
        };
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(open);
        }
        Ok(answer)
    }

    fn take_connection(&self) -> Result<OpenFile, FileError> {
        loop {
            // The lock is not held while files are looked at.
            let kept = self.idle().pop();
            match kept {
                Some(open) if open.is_current() => return Ok(open),
                Some(_) => {}
                None => return self.open(Access::Read),
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<OpenFile>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identity(&self) -> Result<TopicId, FileError> {
        self.read(|open| tables::topic_id(&open.connection).map_err(|error| open.error(&error)))
    }

    /// Identity and counters of one moment. A snapshot holds every commit that came before it, so
    /// whatever was acknowledged by then is below these ends.
    pub(super) fn counters(&self) -> Result<(TopicId, Vec<Counters>), FileError> {
        self.read(|open| {
            let asked = || -> SqlResult<_> {
                let topic_id = tables::topic_id(&open.connection)?;
                Ok((topic_id, tables::counters(&open.connection)?))
            };
            asked().map_err(|error| open.error(&error))
        })
    }

    /// Records of one partition from `offset` on, as long as this is the topic that is meant.
    pub(super) fn records(
        &self,
        meant: &TopicId,
        from: PartitionOffset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Found, FileError> {
        let PartitionOffset { partition, offset } = from;
        self.read(|open| {
            let counters = match counters_of(open, meant, partition)? {
                Ok(counters) => counters,
                Err(why) => return Ok(Found::Elsewhere(why)),
            };
            if let Some(why) = out_of_range(partition, offset, counters) {
                return Ok(Found::Elsewhere(why));
            }
            let (mut records, mut bytes) = (Vec::new(), 0);
            let to = counters
                .next
                .min(offset.saturating_add(i64::try_from(max_records).unwrap_or(i64::MAX)));
            tables::records(open, partition, (offset, to), |row| {
                bytes += row.size();
                records.push(row.record(partition)?);
                Some(if bytes < max_bytes {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
            Ok(Found::Records(records))
        })
    }

    /// What a failed use of this topic means to whoever asked.
    pub(super) fn error(&self, attempt: &str, trouble: &FileError) -> LogError {
        if trouble.kind == FileErrorKind::Missing && self.file.is_missing() {
            return LogError::NotFound(self.is_missing());
        }
        let message = format!("could not {attempt} topic `{}`: {trouble}", self.name);
        if is_outage(trouble.kind) {
            LogError::Unavailable(message)
        } else {
            LogError::Refused(message)
        }
    }

    /// The same for whoever reads on; `None` where the topic is not there.
    pub(super) fn fault(&self, trouble: &FileError) -> LogFault {
        let error = self.error("read", trouble);
        let is_corrupt = matches!(
            trouble.kind,
            FileErrorKind::Damaged | FileErrorKind::ForeignWal
        );
        match error {
            _ if is_corrupt => LogFault::Corrupt(error.to_string()),
            LogError::NotFound(reason) => LogFault::Reset(reason),
            LogError::Unavailable(reason) | LogError::Refused(reason) => {
                LogFault::Transient(reason)
            }
        }
    }

    pub(super) fn has_no(&self, partition: i32) -> LogError {
        let name = &self.name;
        LogError::NotFound(format!("topic `{name}` has no partition {partition}"))
    }

    pub(super) fn is_missing(&self) -> String {
        let name = &self.name;
        format!("there is no topic `{name}`: run `orders create-topics`")
    }

    /// The queue of this topic's writer, whose thread starts with the first record.
    pub(super) fn queue(self: &Arc<Topic>) -> io::Result<Arc<Queue>> {
        let mut writer = self.writer();
        match &*writer {
            Some(running) if running.is_alive() => Ok(running.queue.clone()),
            _ => Ok(writer.insert(Writer::start(self)?).queue.clone()),
        }
    }

    /// The queue if there is one.
    pub(super) fn queue_in_use(&self) -> Option<Arc<Queue>> {
        self.writer().as_ref().map(|writer| writer.queue.clone())
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters of a partition of the topic that is meant; the inner error says why not.
pub(super) fn counters_of(
    open: &OpenFile,
    meant: &TopicId,
    partition: i32,
) -> Result<Result<Counters, String>, FileError> {
    let asked = || -> SqlResult<_> {
        if tables::topic_id(&open.connection)? != *meant {
            return Ok(Err(RECREATED.to_owned()));
        }
        let found = tables::counters_of(&open.connection, partition)?;
        Ok(found.ok_or_else(|| format!("there is no partition {partition}")))
    };
    asked().map_err(|error| open.error(&error))
}

/// Why nothing can be read at that offset; `None` where something can, or will be.
pub(super) fn out_of_range(partition: i32, offset: i64, counters: Counters) -> Option<String> {
    let Counters { low, next, .. } = counters;
    let is_there = (low..=next).contains(&offset);
    (!is_there).then(|| format!("offset {offset} of partition {partition} is not in {low}..{next}"))
}

/// Whether that passes, by itself or by what its remedy says, without harm to what is there.
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
