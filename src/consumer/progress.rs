//! How far this process knows each partition to be applied.
//!
//! The lanes write it, with atomics alone; `lag` compares it with the ends of the log. It is never where
//! reading starts: that is the position in the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::pipeline::{Record, TopicId};
use crate::store::Position;
use crate::sync::lock;

/// An offset or a time that is not known.
const UNKNOWN: i64 = -1;

/// One partition. It outlives the assignment, so that the last known position can be compared with the
/// log while the database is away.
pub struct PartitionProgress {
    next_offset: AtomicI64,
    batch_start: AtomicI64,
    batch_timestamp_ms: AtomicI64,
    topic_id: Mutex<TopicId>,
    /// The position as the last acquisition found it, until [`PartitionProgress::take_acquired`].
    acquired: AtomicI64,
}

/// A partition's position at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPosition {
    pub topic_id: TopicId,
    /// Everything below is applied.
    pub next_offset: i64,
    /// The first record of the batch that was stored last, or is being stored: where the position was
    /// before it, and the record's timestamp in milliseconds since the epoch.
    pub batch: Option<(i64, i64)>,
}

impl Default for PartitionProgress {
    fn default() -> PartitionProgress {
        PartitionProgress {
            next_offset: AtomicI64::new(UNKNOWN),
            batch_start: AtomicI64::new(UNKNOWN),
            batch_timestamp_ms: AtomicI64::new(UNKNOWN),
            topic_id: Mutex::default(),
            acquired: AtomicI64::new(UNKNOWN),
        }
    }
}

impl PartitionProgress {
    /// The position was read from the store.
    pub fn set_position(&self, position: &Position) {
        *lock(&self.topic_id) = position.topic_id.clone();
        self.next_offset
            .store(position.next_offset, Ordering::Release);
    }

    /// The position was acquired as this.
    pub fn set_acquired(&self, position: &Position) {
        self.acquired.store(position.next_offset, Ordering::Release);
        self.set_position(position);
    }

    /// The position as it was acquired; `None` when nothing was acquired since the last call.
    pub fn take_acquired(&self) -> Option<i64> {
        known(self.acquired.swap(UNKNOWN, Ordering::AcqRel))
    }

    /// A batch that begins with this record is about to be stored at the position.
    pub fn set_storing(&self, next_offset: i64, first: &Record) {
        self.batch_timestamp_ms
            .store(first.timestamp_ms, Ordering::Relaxed);
        self.batch_start.store(next_offset, Ordering::Release);
    }

    /// Everything below was committed.
    pub fn set_committed(&self, next_offset: i64) {
        self.next_offset.store(next_offset, Ordering::Release);
    }

    /// What is known now; `None` before the position was first read.
    pub fn known(&self) -> Option<KnownPosition> {
        let topic_id = lock(&self.topic_id).clone();
        let next_offset = known(self.next_offset.load(Ordering::Acquire))?;
        let start = known(self.batch_start.load(Ordering::Acquire));
        let timestamp_ms = known(self.batch_timestamp_ms.load(Ordering::Relaxed));
        Some(KnownPosition {
            topic_id,
            next_offset,
            batch: start.zip(timestamp_ms),
        })
    }
}

fn known(number: i64) -> Option<i64> {
    (number >= 0).then_some(number)
}

/// All partitions that this process has had, and which of them it is assigned.
#[derive(Default)]
pub struct Progress(Mutex<Partitions>);

#[derive(Default)]
struct Partitions {
    known: BTreeMap<i32, Arc<PartitionProgress>>,
    assigned: Vec<i32>,
    /// Counts the assignments.
    assignment: u64,
}

impl Progress {
    /// One partition, for the lane that has it.
    pub fn of(&self, partition: i32) -> Arc<PartitionProgress> {
        lock(&self.0).known.entry(partition).or_default().clone()
    }

    /// The group assigned these partitions.
    pub fn assign(&self, partitions: &[i32]) {
        let mut all = lock(&self.0);
        all.assigned = partitions.to_vec();
        all.assignment += 1;
        for partition in partitions {
            let progress = all.known.entry(*partition).or_default();
            progress.take_acquired();
        }
    }

    /// The number of the assignment, and its partitions.
    pub fn assigned(&self) -> (u64, Vec<(i32, Arc<PartitionProgress>)>) {
        let all = lock(&self.0);
        let of = |partition: &i32| Some((*partition, all.known.get(partition)?.clone()));
        let assigned = all.assigned.iter().filter_map(of).collect();
        (all.assignment, assigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_unknown_until_it_was_read_and_survives_the_assignment() {
        let progress = Progress::default();
        progress.assign(&[3]);
        assert_eq!(progress.of(3).known(), None);
        progress.of(3).set_acquired(&Position {
            topic_id: "t".into(),
            next_offset: 7,
            ..Position::default()
        });
        progress.of(3).set_committed(9);
        progress.assign(&[]);
        let (assignment, assigned) = progress.assigned();
        assert_eq!((assignment, assigned.len()), (2, 0));
        progress.assign(&[3]);
        let known = progress.of(3).known().map(|known| known.next_offset);
        assert_eq!(known, Some(9));
        // What an earlier assignment acquired says nothing about this one.
        assert_eq!(progress.of(3).take_acquired(), None);
    }
}
