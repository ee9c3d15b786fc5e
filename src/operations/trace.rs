//! Where one order is: its records in the log, its row, its dead letters, its erasure, and what the
//! cache of an API holds.
//!
//! Log, database and API are asked at once, each with a deadline of its own; what does not answer is a
//! part of the result. Only then the log is read, from the position of the key's partition on, so
//! that each record's fate is known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::deadline::{self, NoAnswer, Pending, ask, ask_within};
use super::reading::{Left, read_all};
use crate::client::cached::Cached;
use crate::client::{Client, ClientError};
use crate::event_log::{EventLog, LogError, TopicState};
use crate::migrations::{self, SchemaState};
use crate::order::Order;
use crate::pipeline::{PartitionOffset, Record, TopicId, partition_of};
use crate::store::{Position, StoreEngine, StoreError, StoreTrace};

pub use self::fate::{Fate, State, TracedRecord};

mod fate;

/// How long the database waits for the id of the log.
const LOG_ID_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the log is read, unless the whole topic is.
const READ_TIMEOUT: Duration = Duration::from_millis(700);

/// How many records are kept, the newest ones.
const MAX_RECORDS: usize = 1_000;

/// The parts to ask.
pub struct Parts {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn StoreEngine>,
    pub api: Client,
}

/// Which order, and where to look.
pub struct Question<'a> {
    pub order_uid: &'a str,
    pub topic: &'a str,
    /// Read the whole topic, under any key.
    pub scan: bool,
}

/// Why a part has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Api(#[from] ClientError),
    #[error("the database lacks tables, or columns of them: run `orders migrate`")]
    NotMigrated,
}

/// What was read of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// By partition: from where, up to where, and where to.
    pub partitions: BTreeMap<i32, (i64, i64, i64)>,
}

impl Reading {
    /// Whether everything was read.
    pub fn is_complete(&self) -> bool {
        self.partitions
            .values()
            .all(|(_, read_to, end)| read_to >= end)
    }
}

/// The result.
#[derive(Debug)]
pub struct Trace {
    pub state: State,
    /// By accept time; at most a thousand, the newest ones.
    pub records: Vec<TracedRecord>,
    pub log: Result<Reading, PartError>,
    pub store: Result<StoreTrace, PartError>,
    pub cache: Result<Cached, PartError>,
}

/// Traces an order. Blocks for at most two seconds, unless the whole topic is read.
pub fn trace(parts: Parts, question: &Question<'_>) -> Trace {
    let (log_id, await_log_id) = mpsc::channel();
    let topic = ask_topic(&parts.log, question.topic, log_id);
    let store = ask_store(parts.store, question.order_uid, await_log_id);
    let order_uid = question.order_uid.to_owned();
    let cache = ask(move || parts.api.get_cached(&order_uid, deadline::SOURCE_TIMEOUT));
    let topic = answer(topic);
    let store = answer(store);
    let known = store.as_ref().ok();
    let mut found = Vec::new();
    let mut topic_id = TopicId::default();
    let log = topic.and_then(|topic| {
        let read = read(&parts.log, question, &topic, known)?;
        found = read.records;
        topic_id = topic.topic_id;
        Ok(read.reading)
    });
    let records = fate::decide(found, known, &topic_id, question.topic);
    let is_confirmed = store.is_ok() && log.as_ref().is_ok_and(Reading::is_complete);
    Trace {
        state: fate::state(&records, known, is_confirmed),
        records,
        log,
        store,
        cache: answer(cache),
    }
}

fn answer<T, E>(pending: Pending<Result<T, E>>) -> Result<T, PartError>
where
    PartError: From<E>,
{
    Ok(pending.wait()??)
}

fn ask_topic(
    log: &Arc<dyn EventLog>,
    topic: &str,
    log_id: mpsc::Sender<String>,
) -> Pending<Result<TopicState, LogError>> {
    let (log, topic) = (log.clone(), topic.to_owned());
    ask(move || {
        let state = log.topic(&topic)?;
        // The database may have been given up.
        let _ = log_id.send(state.log_id.clone());
        Ok(state)
    })
}

fn ask_store(
    engine: Arc<dyn StoreEngine>,
    order_uid: &str,
    log_id: mpsc::Receiver<String>,
) -> Pending<Result<StoreTrace, PartError>> {
    let order_uid = order_uid.to_owned();
    ask(move || {
        let mut store = engine.operator()?;
        let applied = store.applied_migrations()?;
        if !matches!(migrations::state(&applied), SchemaState::Current) {
            return Err(PartError::NotMigrated);
        }
        // Without it no position is known.
        let log_id = log_id.recv_timeout(LOG_ID_TIMEOUT).unwrap_or_default();
        Ok(store.trace(&log_id, &order_uid)?)
    })
}

struct Read {
    records: Vec<Found>,
    reading: Reading,
}

/// A record of the order, or one that cannot be decoded and has its uid as its key.
pub(super) struct Found {
    at: PartitionOffset,
    accepted_at_us: i64,
    /// Why it is no order.
    refusal: Option<String>,
}

fn read(
    log: &Arc<dyn EventLog>,
    question: &Question<'_>,
    topic: &TopicState,
    store: Option<&StoreTrace>,
) -> Result<Read, PartError> {
    let count = u32::try_from(topic.highs.len()).unwrap_or(u32::MAX).max(1);
    let key_partition = partition_of(question.order_uid.as_bytes(), count).cast_signed();
    let mut left = Left::new();
    for (partition, high) in (0..).zip(&topic.highs) {
        if question.scan || partition == key_partition {
            let low = log.range(question.topic, partition)?.low;
            let position = store.and_then(|store| position(store, partition, &topic.topic_id));
            let start = position.map_or(low, |position| position.next_offset.max(low));
            let start = if question.scan { low } else { start.min(*high) };
            left.insert(partition, (start, *high));
        }
    }
    let begun = left.clone();
    let order_uid = question.order_uid.to_owned();
    let mut found = VecDeque::new();
    let add = move |found: &mut VecDeque<Found>, record: &Record| {
        if let Some(record) = match_record(record, &order_uid) {
            if found.len() == MAX_RECORDS {
                found.pop_front();
            }
            found.push_back(record);
        }
    };
    let (found, unread) = if question.scan {
        let unread = read_all(&**log, question.topic, left, None, |record, _| {
            add(&mut found, &record);
        })?;
        (found, unread)
    } else {
        let (log, topic) = (log.clone(), question.topic.to_owned());
        // The client may take longer than its deadline to notice that its brokers are away.
        let read = ask_within(READ_TIMEOUT + Duration::from_millis(100), move || {
            let deadline = Instant::now() + READ_TIMEOUT;
            let unread = read_all(&*log, &topic, left, Some(deadline), |record, _| {
                add(&mut found, &record);
            })?;
            Ok::<_, LogError>((found, unread))
        });
        answer(read)?
    };
    let partitions = begun.into_iter().map(|(partition, (start, end))| {
        let read_to = unread.get(&partition).map_or(end, |(next, _)| *next);
        (partition, (start, read_to, end))
    });
    Ok(Read {
        records: found.into(),
        reading: Reading {
            partitions: partitions.collect(),
        },
    })
}

/// The position of a partition of this incarnation of the topic.
fn position<'s>(store: &'s StoreTrace, partition: i32, topic_id: &TopicId) -> Option<&'s Position> {
    store
        .positions
        .iter()
        .find(|it| it.partition == partition && !it.topic_id.contradicts(topic_id))
}

fn match_record(record: &Record, order_uid: &str) -> Option<Found> {
    let has_key = record.key.as_deref() == Some(order_uid.as_bytes());
    let refusal = match record.value.as_deref().map(Order::decode) {
        Some(Ok(order)) if order.order_uid == order_uid => None,
        Some(Ok(_)) => return None,
        Some(Err(refusal)) if has_key || refusal.order_uid.as_deref() == Some(order_uid) => {
            Some(refusal.to_string())
        }
        None if has_key => Some("it has no value (a tombstone)".into()),
        Some(Err(_)) | None => return None,
    };
    Some(Found {
        at: record.at(),
        accepted_at_us: record.accepted_at_us(),
        refusal,
    })
}
