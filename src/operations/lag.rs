//! Lag: how many records of each partition wait, since when, and who owns the partition.
//!
//! # Invariants
//!
//! - Only the ends of the log and the stored positions count, never what a service says of itself.
//! - Nothing is guessed: what is not known is `None`, never 0. While the database is away the offsets
//!   that the group has committed stand in for the positions.
//! - Two deadlines at most, whatever is away: one for the ends and the positions, one for the records
//!   that wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::event_log::{Committed, EventLog, LogError, TopicState, first_timestamp};
use crate::migrations::{self, SchemaState};
use crate::operations::deadline::{self, NoAnswer, SOURCE_TIMEOUT};
use crate::pipeline::{PartitionLag, PartitionOffset, lag, time};
use crate::store::{Holder, OwnedPosition, StoreEngine, StoreError};
use crate::sync::lock;

/// How many partitions are read at once. Each takes a client of its own.
const READERS: usize = 8;

/// Where the lag is measured.
#[derive(Clone)]
pub struct Sources {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn StoreEngine>,
    /// The topic of the orders.
    pub topic: String,
    pub group: String,
}

/// Why there is no lag: nothing is known of the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LagError {
    #[error("{0}")]
    NoAnswer(NoAnswer),
    #[error("{0}")]
    Log(LogError),
}

/// What a partition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing waits.
    Current,
    Behind,
    /// Records were deleted before they were read.
    Gap,
    /// No consumer has read it.
    Unread,
    /// The position belongs to a topic of the same name that was deleted.
    Recreated,
    /// The log is another one, or was cut short.
    PastEnd,
    /// The group's offset stands in for the position.
    Committed,
    /// There is neither a position nor an offset.
    Unknown,
}

impl State {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            State::Current => "current",
            State::Behind => "behind",
            State::Gap => "stopped at a gap",
            State::Unread => "not read yet",
            State::Recreated => "topic was recreated",
            State::PastEnd => "past the end of the log",
            State::Committed => "by the group's offset",
            State::Unknown => "unknown",
        }
    }
}

/// The lag of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub partition: i32,
    /// The next offset to apply.
    pub position: Option<i64>,
    pub end: i64,
    /// How many records wait.
    pub lag: Option<i64>,
    /// How long the first of them has waited; zero when none waits.
    pub oldest_waiting: Option<Duration>,
    pub owner: Option<Holder>,
    pub state: State,
}

/// The lag of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    pub topic: String,
    pub partitions: Vec<Partition>,
    /// Why the offsets of the group stand in for the positions; follows the database's name.
    pub no_positions: Option<String>,
    /// What the numbers lack, and why.
    pub warnings: Vec<String>,
}

impl Lag {
    /// How many records wait; `None` when that is not known of every partition.
    pub fn records(&self) -> Option<i64> {
        let mut lags = self.partitions.iter().map(|it| it.lag);
        lags.try_fold(0_i64, |sum, lag| Some(sum.saturating_add(lag?)))
    }

    /// How long the oldest record has waited; `None` when that is not known of every partition.
    pub fn oldest_waiting(&self) -> Option<Duration> {
        let mut waiting = self.partitions.iter().map(|it| it.oldest_waiting);
        waiting.try_fold(Duration::ZERO, |oldest, waiting| Some(oldest.max(waiting?)))
    }
}

/// Where the partitions are, as far as that is known.
enum Known {
    Stored(Vec<OwnedPosition>),
    Committed(BTreeMap<i32, Committed>),
}

/// What is read of a partition in which records wait.
#[derive(Clone, Copy)]
struct Read {
    low: i64,
    timestamp_ms: Option<i64>,
}

/// Measures the lag. Blocks for at most twice [`SOURCE_TIMEOUT`].
pub fn measure(sources: &Sources) -> Result<Lag, LagError> {
    let Sources {
        log,
        store,
        topic,
        group,
    } = sources;
    let ends = || {
        let (log, topic) = (log.clone(), topic.clone());
        move || log.topic(&topic)
    };
    let (send_log_id, log_id) = mpsc::channel();
    let first_ends = ends();
    let asked_ends = deadline::ask(move || {
        let state = first_ends()?;
        // Nobody wants it when the database has failed already.
        let _ = send_log_id.send(state.log_id.clone());
        Ok(state)
    });
    let engine = store.clone();
    let asked_positions = deadline::ask(move || positions(&*engine, &log_id));
    let asked_committed = {
        let (log, topic, group) = (log.clone(), topic.clone(), group.clone());
        deadline::ask(move || log.committed(&group, &topic))
    };
    let mut state = answered(asked_ends.wait())?;

    let mut warnings = Vec::new();
    let mut no_positions = None;
    let known = match deadline::flatten(asked_positions.wait()) {
        Ok((positions, schema)) => {
            if schema != SchemaState::Current {
                warnings.push(format!("the database: {schema}"));
            }
            Known::Stored(positions)
        }
        Err(why) => {
            let database = store.describe();
            let committed = deadline::flatten(asked_committed.wait());
            let instead = match &committed {
                Ok(_) => format!("these are the offsets that group `{group}` has committed"),
                Err(why) => format!("the log, asked for the offsets of group `{group}`, {why}"),
            };
            warnings.push(format!("the database `{database}` {why}; {instead}"));
            no_positions = Some(why);
            Known::Committed(committed.unwrap_or_default())
        }
    };

    let deadline = Instant::now() + SOURCE_TIMEOUT;
    // The ends after the positions: none is past its end only because it moved meanwhile. Those of
    // before, when the log is away since.
    if let Ok(later) = answered(deadline::ask(ends()).wait())
        && !later.topic_id.contradicts(&state.topic_id)
    {
        state = later;
    }
    let read = read(log, topic, waiting(&state, &known), deadline);
    let now_ms = time::now_us() / 1_000;
    Ok(Lag {
        topic: topic.clone(),
        partitions: partitions(&state, &known, &read, now_ms),
        no_positions,
        warnings,
    })
}

/// The positions of the log whose id is received, and the state of the schema: with migrations pending
/// the positions are right all the same. A database without any migration has none.
fn positions(
    engine: &dyn StoreEngine,
    log_id: &mpsc::Receiver<String>,
) -> Result<(Vec<OwnedPosition>, SchemaState), StoreError> {
    let mut store = engine.operator()?;
    let applied = store.applied_migrations()?;
    let schema = migrations::state(&applied);
    let positions = match log_id.recv() {
        Ok(log_id) if !applied.is_empty() => store.positions(&log_id)?,
        // Or the log has no such topic: then nobody waits for this answer.
        _ => Vec::new(),
    };
    Ok((positions, schema))
}

fn answered<T>(answer: Result<Result<T, LogError>, NoAnswer>) -> Result<T, LagError> {
    answer.map_err(LagError::NoAnswer)?.map_err(LagError::Log)
}

/// The first offset that waits, of each partition that is not at its end.
fn waiting(state: &TopicState, known: &Known) -> Vec<PartitionOffset> {
    let next = |partition: i32| match known {
        Known::Committed(committed) => committed.get(&partition).map(|it| it.offset),
        Known::Stored(positions) => {
            let position = positions.iter().map(|owned| &owned.position);
            let mut its = position.filter(|it| {
                it.partition == partition && !it.topic_id.contradicts(&state.topic_id)
            });
            // Without a position a consumer begins with the first record.
            Some(its.next().map_or(0, |position| position.next_offset))
        }
    };
    let partitions = (0..).zip(&state.highs);
    let waits = partitions.filter_map(|(partition, end)| {
        let next = next(partition).filter(|next| next < end)?;
        Some(PartitionOffset::new(partition, next))
    });
    waits.collect()
}

/// Reads the partitions, several at once; those that were not read in time are left out.
fn read(
    log: &Arc<dyn EventLog>,
    topic: &str,
    waiting: Vec<PartitionOffset>,
    deadline: Instant,
) -> BTreeMap<i32, Read> {
    let readers = waiting.len().min(READERS);
    let left = Arc::new(Mutex::new(waiting));
    let done = Arc::new(Mutex::new(BTreeMap::new()));
    let reader = || {
        let (log, topic) = (log.clone(), topic.to_owned());
        let (left, done) = (left.clone(), done.clone());
        move || {
            let next = || lock(&left).pop();
            while let Some(at) = next() {
                if let Ok(read) = read_one(&*log, &topic, at) {
                    lock(&done).insert(at.partition, read);
                }
            }
        }
    };
    let left_time = deadline.saturating_duration_since(Instant::now());
    let ask = |_| deadline::ask_within(left_time, reader());
    let asked: Vec<_> = (0..readers).map(ask).collect();
    for pending in asked {
        // What it has read by then counts.
        let _ = pending.wait();
    }
    // A reader that is late takes no more.
    lock(&left).clear();
    std::mem::take(&mut *lock(&done))
}

fn read_one(log: &dyn EventLog, topic: &str, at: PartitionOffset) -> Result<Read, LogError> {
    let low = log.range(topic, at.partition)?.low;
    let first = PartitionOffset::new(at.partition, at.offset.max(low));
    let timestamp_ms = first_timestamp(log, topic, first)?;
    Ok(Read { low, timestamp_ms })
}

fn partitions(
    state: &TopicState,
    known: &Known,
    read: &BTreeMap<i32, Read>,
    now_ms: i64,
) -> Vec<Partition> {
    let complete = |mut partition: Partition| {
        let timestamp_ms = read
            .get(&partition.partition)
            .and_then(|it| it.timestamp_ms);
        partition.oldest_waiting = match partition.lag {
            Some(0) => Some(Duration::ZERO),
            _ => timestamp_ms.map(|timestamp_ms| {
                Duration::from_millis(now_ms.saturating_sub(timestamp_ms).max(0).unsigned_abs())
            }),
        };
        partition
    };
    let found = match known {
        Known::Stored(positions) => by_positions(state, positions, read),
        Known::Committed(committed) => by_offsets(state, committed),
    };
    found.into_iter().map(complete).collect()
}

fn by_positions(
    state: &TopicState,
    positions: &[OwnedPosition],
    read: &BTreeMap<i32, Read>,
) -> Vec<Partition> {
    let next = positions.iter().map(|owned| owned.position.next());
    let lags = lag(&state.topic_id, state.highs.iter().copied(), next);
    let partitions = (0..).zip(&state.highs).zip(lags.partitions());
    partitions
        .map(|((partition, end), lag)| {
            let mut owned = positions
                .iter()
                .filter(|it| it.position.partition == partition);
            let owned = owned.next();
            let next = owned.map(|owned| owned.position.next_offset);
            let low = read.get(&partition).map(|read| read.low);
            // A consumer will begin with the first record.
            let all = match end {
                0 => Some(0),
                end => low.map(|low| end - low),
            };
            let (state, position, lag) = match *lag {
                PartitionLag::NoPosition => (State::Unread, None, all),
                PartitionLag::OtherTopic => (State::Recreated, None, all),
                PartitionLag::Records(..0) => (State::PastEnd, next, None),
                PartitionLag::Records(0) => (State::Current, next, Some(0)),
                PartitionLag::Records(records) => match low.zip(next) {
                    Some((low, next)) if next < low => (State::Gap, Some(next), Some(records)),
                    _ => (State::Behind, next, Some(records)),
                },
            };
            Partition {
                partition,
                position,
                end: *end,
                lag,
                oldest_waiting: None,
                owner: owned.map(|owned| owned.holder.clone()),
                state,
            }
        })
        .collect()
}

fn by_offsets(state: &TopicState, committed: &BTreeMap<i32, Committed>) -> Vec<Partition> {
    let partitions = (0..).zip(&state.highs);
    partitions
        .map(|(partition, end)| {
            let offset = committed.get(&partition).map(|it| it.offset);
            let (state, lag) = match offset {
                Some(offset) if offset > *end => (State::PastEnd, None),
                Some(offset) => (State::Committed, Some(end - offset)),
                // A partition that never had a record has none that waits.
                None if *end == 0 => (State::Unread, Some(0)),
                None => (State::Unknown, None),
            };
            Partition {
                partition,
                position: offset,
                end: *end,
                lag,
                oldest_waiting: None,
                owner: None,
                state,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
