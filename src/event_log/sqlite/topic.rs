//! One topic as this process uses it: connections to read by, its bells, its writer.
//!
//! Owns the snapshots that all questions are answered from. Each is short and its connection goes
//! back to the pool: a snapshot that stays open would keep the writer from moving records into the
//! file, and the one beside it would grow without end.

use super::*;

/// How many idle connections are kept.
const KEPT: usize = 4;

pub(super) struct Topic {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) file: TopicFile,
    pub(super) bells: Bells,
    pub(super) health: Health,
    idle: Mutex<Vec<Open>>,
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
            file: TopicFile::new(folder, name),
            bells: Bells::default(),
            health: Health::default(),
            idle: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    /// Answers from one snapshot. A connection that failed is not used again.
    pub(super) fn read<T>(
        &self,
        question: impl FnOnce(&Open) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let open = self.take_connection()?;
        let answer = {
            let snapshot = open.connection.unchecked_transaction();
            let snapshot = snapshot.map_err(|error| open.trouble(&error))?;
            let answer = question(&open)?;
            snapshot.commit().map_err(|error| open.trouble(&error))?;
            answer
        };
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(open);
        }
        Ok(answer)
    }

    fn take_connection(&self) -> Result<Open, Trouble> {
        loop {
            // The lock is not held while files are looked at.
            let kept = self.idle().pop();
            match kept {
                Some(open) if self.file.is_current(&open) => return Ok(open),
                Some(_) => {}
                None => return self.file.open(Access::Read),
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identity(&self) -> Result<TopicId, Trouble> {
        self.read(|open| tables::topic_id(&open.connection).map_err(|error| open.trouble(&error)))
    }

    /// Identity and counters of one moment. A snapshot holds every commit that came before it, so
    /// whatever was acknowledged by then is below these ends.
    pub(super) fn counters(&self) -> Result<(TopicId, Vec<Counters>), Trouble> {
        self.read(|open| {
            let asked = || -> SqlResult<_> {
                let topic_id = tables::topic_id(&open.connection)?;
                Ok((topic_id, tables::counters(&open.connection)?))
            };
            asked().map_err(|error| open.trouble(&error))
        })
    }

    /// Records of one partition from `offset` on, as long as this is the topic that is meant.
    pub(super) fn records(
        &self,
        meant: &TopicId,
        from: PartitionOffset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Found, Trouble> {
        let PartitionOffset { partition, offset } = from;
        self.read(|open| {
            let counters = match open.counters_of(meant, partition)? {
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
    pub(super) fn error(&self, attempt: &str, trouble: &Trouble) -> LogError {
        if trouble.kind == Kind::Missing && self.file.is_missing() {
            return LogError {
                message: self.is_missing(),
                unavailable: false,
                missing: true,
            };
        }
        LogError {
            message: format!("could not {attempt} topic `{}`: {trouble}", self.name),
            unavailable: is_outage(trouble.kind),
            missing: false,
        }
    }

    /// The same for whoever reads on; `None` where the topic is not there.
    pub(super) fn fault(&self, trouble: &Trouble) -> LogFault {
        let error = self.error("read", trouble);
        match trouble.kind {
            Kind::Damaged => LogFault::Corrupt(error.message),
            _ if error.missing => LogFault::Reset(error.message),
            _ => LogFault::Transient(error.message),
        }
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

impl Open {
    /// The counters of a partition of the topic that is meant; the inner error says why not.
    pub(super) fn counters_of(
        &self,
        meant: &TopicId,
        partition: i32,
    ) -> Result<Result<Counters, String>, Trouble> {
        let asked = || -> SqlResult<_> {
            if tables::topic_id(&self.connection)? != *meant {
                return Ok(Err(RECREATED.to_owned()));
            }
            let mut asked = self.connection.prepare_cached(
                "SELECT low, next_offset, bytes FROM partitions WHERE partition = ?1",
            )?;
            let found = asked.query_row([partition], |row| {
                Ok(Counters {
                    low: row.get(0)?,
                    next: row.get(1)?,
                    bytes: row.get(2)?,
                })
            });
            Ok(found
                .optional()?
                .ok_or_else(|| format!("there is no partition {partition}")))
        };
        asked().map_err(|error| self.trouble(&error))
    }
}

/// Why nothing can be read at that offset; `None` where something can, or will be.
pub(super) fn out_of_range(partition: i32, offset: i64, counters: Counters) -> Option<String> {
    let Counters { low, next, .. } = counters;
    let is_there = (low..=next).contains(&offset);
    (!is_there).then(|| format!("offset {offset} of partition {partition} is not in {low}..{next}"))
}

/// Whether that passes, by itself or by what its remedy says, without harm to what is there.
fn is_outage(kind: Kind) -> bool {
    match kind {
        Kind::Busy | Kind::Full | Kind::ReadOnly | Kind::Missing | Kind::Disk => true,
        Kind::Damaged | Kind::Refused | Kind::Misused => false,
    }
}
