//! Reads a whole topic without a group: every API instance must see every record.
//!
//! All partitions are read in one snapshot, at most once per `max_delay`: under load the
//! follower reads records in batches, and one that comes alone is returned at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Folder;
use super::membership::FaultLimit;
use super::notify::Subscription;
use super::tables;
use super::topic::{ReadError, counters_at};
use crate::event_log::{Followed, Follower, Knows, LogError};
use crate::pipeline::{PartitionOffset, TopicId};

/// How much of a partition is read at once.
const BATCH_RECORDS: i64 = 500;
const BATCH_BYTES: usize = 1 << 20;

pub(super) struct SqliteFollower {
    subscription: Subscription,
    topic_id: TopicId,
    max_delay: Duration,
    cursors: Vec<Cursor>,
    ready: VecDeque<Followed>,
    read_at: Option<Instant>,
    /// The number of the notification after which there was nothing more.
    at_end_since: Option<u64>,
    faults: FaultLimit,
}

/// How far one partition was read.
struct Cursor {
    partition: i32,
    next: i64,
    reported_end: bool,
}

impl SqliteFollower {
    pub(super) fn open(
        folder: &Arc<Folder>,
        topic: &str,
        starts: &[PartitionOffset],
        max_delay: Duration,
    ) -> Result<SqliteFollower, LogError> {
        let topic = folder.topic(topic);
        let topic_id = topic.topic_id();
        let mut follower = SqliteFollower {
            subscription: Subscription::new(folder, &topic)?,
            topic_id: topic_id.map_err(|error| topic.error("follow", &error))?,
            max_delay,
            cursors: Vec::new(),
            ready: VecDeque::new(),
            read_at: None,
            at_end_since: None,
            faults: FaultLimit::default(),
        };
        follower.assign(starts)?;
        Ok(follower)
    }

    /// Reads what there is of every partition.
    fn read(&mut self, knows: &Knows<'_>) -> Result<(), ReadError> {
        let (topic_id, cursors, ready) = (&self.topic_id, &mut self.cursors, &mut self.ready);
        self.subscription.topic.read(|open| {
            for cursor in cursors {
                let (partition, next) = (cursor.partition, cursor.next);
                let from = PartitionOffset::new(partition, next);
                let counters = counters_at(open, topic_id, from)?;
                let to = counters.next.min(next.saturating_add(BATCH_RECORDS));
                tables::records(open, partition, (next, to), BATCH_BYTES, |row| {
                    let at = PartitionOffset::new(partition, row.offset);
                    ready.push_back(if knows(at, row.key.unwrap_or_default()) {
                        Followed::Known(at)
                    } else {
                        Followed::Record(row.record(partition)?)
                    });
                    cursor.next = at.offset + 1;
                    cursor.reported_end = false;
                    Some(())
                })?;
                if cursor.next == counters.next
                    && !std::mem::replace(&mut cursor.reported_end, true)
                {
                    ready.push_back(Followed::End(partition));
                }
            }
            Ok(())
        })
    }

    /// Reads once it is time to; `true` when something may be ready now.
    fn fill(&mut self, until: Instant, knows: &Knows<'_>) -> bool {
        // Before reading: a commit that comes later notifies later.
        let sequence = self.subscription.topic.notify.sequence();
        if self.at_end_since == Some(sequence) {
            return self.subscription.topic.notify.wait(sequence, until);
        }
        let now = Instant::now();
        let due = self.read_at.map_or(now, |read_at| read_at + self.max_delay);
        if due > now {
            std::thread::sleep(due.min(until).saturating_duration_since(now));
            return due <= until;
        }
        self.read_at = Some(now);
        let fault = match self.read(knows) {
            Ok(()) => {
                if self.ready.is_empty() {
                    self.at_end_since = Some(sequence);
                }
                return true;
            }
            Err(error) => self.subscription.topic.fault(error),
        };
        match self.faults.admit(fault) {
            Some(fault) => {
                self.ready.push_back(Followed::Fault(fault));
                true
            }
            None => self.subscription.topic.notify.wait(sequence, until),
        }
    }
}

impl Follower for SqliteFollower {
    fn next(&mut self, wait: Duration, knows: &Knows<'_>) -> Option<Followed> {
        let until = Instant::now() + wait;
        loop {
            if let Some(followed) = self.ready.pop_front() {
                return Some(followed);
            }
            if !self.fill(until, knows) {
                return None;
            }
        }
    }

    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<(), LogError> {
        let cursors = starts.iter().map(|start| Cursor {
            partition: start.partition,
            next: start.offset,
            reported_end: false,
        });
        self.cursors = cursors.collect();
        self.ready.clear();
        self.at_end_since = None;
        Ok(())
    }
}
