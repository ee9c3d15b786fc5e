//! Applies the records of single orders again, each as the version that it is.
//!
//! # Invariants
//!
//! - Of the records in one partition only the newest is written: those before it would be overwritten at
//!   once, and no reader sees an older version meanwhile.
//! - A record at or after the position is the consumer's, one that is a dead letter the operator's.
//! - Memory does not grow with the topic: one order for each uid and partition, and a hundred records.

use std::collections::{BTreeMap, VecDeque};

use super::reading::{Left, read_all};
use crate::event_log::{EventLog, LogError, TopicState};
use crate::order::{Order, Timestamp};
use crate::pipeline::{PartitionOffset, Record, partition_of};
use crate::store::operator::dead_letters::Mode;
use crate::store::operator::reapply::{DecodedRecord, Reapplied};
use crate::store::{Change, OperatorStore, StoreError, StoreTrace};

/// How many records of an order are kept, the newest ones.
const MAX_RECORDS: usize = 100;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// A newer version is stored, or applied.
    OlderVersion,
    Erased,
    /// The position is not past it.
    Waiting,
    /// It is a dead letter, or no order.
    DeadLetter,
    /// The database refuses it.
    Refused,
}

/// A record of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    pub at: PartitionOffset,
    pub accepted_at: Timestamp,
    pub outcome: Outcome,
    pub reason: Option<String>,
}

/// An order, and what was found of it in the log.
pub struct FoundOrder {
    pub order_uid: String,
    /// By partition and offset.
    pub records: VecDeque<FoundRecord>,
    /// How many older records are not kept.
    pub left_out: u64,
    trace: StoreTrace,
    /// The newest record of each partition that can be applied.
    newest: BTreeMap<i32, Candidate>,
}

struct Candidate {
    record: FoundRecord,
    accepted_at_us: i64,
    order: Order,
}

impl FoundOrder {
    /// Whether there is a record to apply.
    pub fn is_applicable(&self) -> bool {
        !self.newest.is_empty()
    }
}

/// The topic of the orders.
pub struct Topic<'a> {
    pub name: &'a str,
    pub state: &'a TopicState,
}

/// Finds the records of these uids: in the partitions of their keys, or in the whole topic under any key.
/// Blocks for about a second for each 100,000 records of a partition.
pub fn find(
    log: &dyn EventLog,
    store: &mut dyn OperatorStore,
    topic: &Topic<'_>,
    uids: &[String],
    whole_topic: bool,
) -> Result<Vec<FoundOrder>, FindError> {
    let mut found = BTreeMap::new();
    let count = u32::try_from(topic.state.highs.len()).unwrap_or(u32::MAX);
    let mut partitions = Vec::new();
    for order_uid in uids {
        let trace = store.trace(&topic.state.log_id, order_uid)?;
        partitions.push(partition_of(order_uid.as_bytes(), count.max(1)).cast_signed());
        let order = FoundOrder {
            order_uid: order_uid.clone(),
            records: VecDeque::new(),
            left_out: 0,
            trace,
            newest: BTreeMap::new(),
        };
        found.insert(order_uid.clone(), order);
    }
    let mut left = Left::new();
    for (partition, high) in (0..).zip(&topic.state.highs) {
        if whole_topic || partitions.contains(&partition) {
            let low = log.range(topic.name, partition)?.low;
            left.insert(partition, (low, *high));
        }
    }
    read_all(log, topic.name, left, None, |record, _| {
        add(&mut found, &record, topic);
    })?;
    let mut found: Vec<FoundOrder> = found.into_values().collect();
    for order in &mut found {
        let records = order.records.make_contiguous();
        records.sort_by_key(|record| record.at);
    }
    Ok(found)
}

/// Why the records were not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn add(found: &mut BTreeMap<String, FoundOrder>, record: &Record, topic: &Topic<'_>) {
    let key = || std::str::from_utf8(record.key.as_deref()?).ok();
    let decoded = record.value.as_deref().map(Order::decode);
    let (uid, decoded) = match decoded {
        Some(Ok(order)) => (Some(order.order_uid.clone()), Ok(order)),
        Some(Err(refusal)) => (refusal.order_uid.clone(), Err(refusal.to_string())),
        None => (None, Err("it has no value (a tombstone)".into())),
    };
    let uid = match (uid, &decoded) {
        (Some(uid), Ok(_)) => uid,
        (Some(uid), Err(_)) if found.contains_key(&uid) => uid,
        (_, _) => key().unwrap_or_default().to_owned(),
    };
    if let Some(order) = found.get_mut(&uid) {
        order.add(record, decoded, topic);
    }
}

impl FoundOrder {
    fn add(&mut self, record: &Record, decoded: Result<Order, String>, topic: &Topic<'_>) {
        let at = record.at();
        let accepted_at_us = record.accepted_at_us();
        let (outcome, reason) = self.sort_out(at, accepted_at_us, &decoded, topic);
        let record = FoundRecord {
            at,
            accepted_at: Timestamp::from_micros(accepted_at_us),
            outcome,
            reason,
        };
        let replaced = match decoded {
            Ok(order) if outcome == Outcome::Applied => {
                let candidate = Candidate {
                    record,
                    accepted_at_us,
                    order,
                };
                let replaced = self.newest.insert(at.partition, candidate);
                replaced.map(|replaced| FoundRecord {
                    outcome: Outcome::OlderVersion,
                    ..replaced.record
                })
            }
            _ => Some(record),
        };
        if let Some(record) = replaced {
            if self.records.len() == MAX_RECORDS {
                self.records.pop_front();
                self.left_out += 1;
            }
            self.records.push_back(record);
        }
    }

    /// What the store says of a record; [`Outcome::Applied`] when it can be applied.
    fn sort_out(
        &self,
        at: PartitionOffset,
        accepted_at_us: i64,
        decoded: &Result<Order, String>,
        topic: &Topic<'_>,
    ) -> (Outcome, Option<String>) {
        let mut positions = self.trace.positions.iter();
        let is_applied = positions.any(|position| {
            position.partition == at.partition
                && !position.topic_id.contradicts(&topic.state.topic_id)
                && at.offset < position.next_offset
        });
        if !is_applied {
            let refusal = decoded.as_ref().err();
            let refusal = refusal.map(|refusal| format!("it is no order: {refusal}"));
            return (Outcome::Waiting, refusal);
        }
        let erasure = self.trace.erasure;
        if erasure.is_some_and(|erasure| Some(accepted_at_us) <= erasure.until.0) {
            return (Outcome::Erased, None);
        }
        let mut letters = self.trace.dead_letters.iter();
        // One of an earlier incarnation of the topic has another accept time.
        let letter = letters.find(|letter| {
            letter.topic == topic.name
                && letter.at == at
                && letter.accepted_at.0 == Some(accepted_at_us)
        });
        match (letter, decoded) {
            (Some(letter), _) => {
                let reason = match &letter.resolution {
                    None => letter.reason.clone(),
                    Some(resolution) => format!("{resolution}: {}", letter.reason),
                };
                (Outcome::DeadLetter, Some(reason))
            }
            (None, Err(refusal)) => (Outcome::DeadLetter, Some(refusal.clone())),
            (None, Ok(_)) => (Outcome::Applied, None),
        }
    }
}

/// Applies what can be applied of an order; whether anything was stored. An error is one of the database.
pub fn apply(
    store: &mut dyn OperatorStore,
    topic: &Topic<'_>,
    order: &mut FoundOrder,
    change: &Change<'_>,
    mode: Mode,
) -> Result<bool, StoreError> {
    let mut is_stored = false;
    for candidate in std::mem::take(&mut order.newest).into_values() {
        let Candidate {
            mut record,
            accepted_at_us,
            order: decoded,
        } = candidate;
        let again = DecodedRecord {
            log_id: &topic.state.log_id,
            topic_id: &topic.state.topic_id,
            topic: topic.name,
            at: record.at,
            accepted_at_us,
            order: &decoded,
        };
        record.outcome = match store.reapply(&again, change, mode) {
            Ok(Reapplied::Stored) => Outcome::Applied,
            Ok(Reapplied::Outdated) => Outcome::OlderVersion,
            Ok(Reapplied::Erased) => Outcome::Erased,
            Ok(Reapplied::Waiting) => Outcome::Waiting,
            Err(StoreError::Rejected(why)) => {
                record.reason = Some(format!("the database refuses it: {why}"));
                Outcome::Refused
            }
            Err(error) => return Err(error),
        };
        is_stored |= record.outcome == Outcome::Applied;
        order.records.push_back(record);
    }
    let records = order.records.make_contiguous();
    records.sort_by_key(|record| record.at);
    Ok(is_stored)
}
