//! How far one follower has read, and whether that is far enough to trust the cache.
//!
//! Owns the positions of one followed topic and what follows from comparing them with the ends of the
//! log: live or not, new partitions, another log under the same name, a follower that stalls. State
//! behind a lock; the threads in `followers` act on it.
//!
//! # Invariants
//!
//! A follower is *live* when it has reached ends that were queried at most three seconds ago. They
//! need not be the newest, or a busy log would end that state once a second.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::event_log::TopicState;
use crate::pipeline::{PartitionOffset, Source, TopicId, time};
use crate::sync;

/// How long ago the newest ends that were reached may have been queried.
const MAX_ENDS_AGE: Duration = Duration::from_secs(3);

/// How long a partition may stay below an end before the record at its position is inspected.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// What the following thread must do before it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Assign the positions again: partitions were added, or the client stalls.
    Reassign,
    /// Forget everything and start at the ends: this is another log.
    Restart,
}

/// The positions before the ends were queried.
#[derive(Clone, Debug)]
pub struct Snapshot {
    generation: u64,
    positions: Vec<i64>,
}

struct Partition {
    /// Where this instance started to read: everything from here on was or will be followed.
    start: i64,
    position: i64,
    advanced_at: Instant,
}

#[derive(Default)]
struct Inner {
    topic_id: TopicId,
    partitions: Vec<Partition>,
    /// Counts the starts; 0 before the first.
    generation: u64,
    /// The ends to reach, and when they were queried.
    target: Option<(Vec<i64>, Instant)>,
    command: Option<Command>,
    condition: Condition,
}

impl Inner {
    fn partition_mut(&mut self, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// That partition, if its position is still this one.
    fn partition_at(&mut self, position: PartitionOffset) -> Option<&mut Partition> {
        let partition = self.partition_mut(position.partition)?;
        (partition.position == position.offset).then_some(partition)
    }
}

/// The state of the follower, as last reported.
#[derive(Default)]
enum Condition {
    #[default]
    NotStarted,
    Healthy,
    Failed(String),
}

/// The progress of one follower, shared by its thread, the watching thread and the handlers.
pub struct FollowerProgress {
    pub topic: String,
    origin: Instant,
    /// When the newest ends that were reached had been queried, in milliseconds after `origin` plus
    /// one; 0 when there are none. Outside the lock, since every GET reads it.
    verified: AtomicU64,
    /// When it last started, in microseconds since the epoch.
    started_at_us: AtomicI64,
    inner: Mutex<Inner>,
}

impl FollowerProgress {
    pub fn new(topic: &str) -> FollowerProgress {
        FollowerProgress {
            topic: topic.into(),
            origin: Instant::now(),
            verified: AtomicU64::new(0),
            started_at_us: AtomicI64::new(0),
            inner: Mutex::default(),
        }
    }

    /// Starts at these ends, forgetting the positions. Call before the cache is cleared: what enters
    /// later is then known to lie beyond the start.
    pub fn start(&self, ends: &TopicState, now: Instant) {
        let mut inner = self.lock();
        self.started_at_us.store(time::now_us(), Ordering::Relaxed);
        let at = |high: &i64| Partition {
            start: *high,
            position: *high,
            advanced_at: now,
        };
        inner.topic_id = ends.topic_id.clone();
        inner.partitions = ends.highs.iter().map(at).collect();
        inner.generation += 1;
        inner.target = None;
        inner.command = None;
        self.verified.store(0, Ordering::Relaxed);
    }

    /// When it last started, by the clock of accept times.
    pub fn started_at_us(&self) -> i64 {
        self.started_at_us.load(Ordering::Relaxed)
    }

    /// The follower has read the record at this offset.
    pub fn advanced(&self, record: PartitionOffset, now: Instant) {
        let mut inner = self.lock();
        if let Some(partition) = inner.partition_mut(record.partition) {
            partition.position = record.offset + 1;
            partition.advanced_at = now;
        }
        self.check_target(&mut inner);
    }

    /// There is no record from `from` up to `to`, only transaction markers.
    pub fn skipped(&self, from: PartitionOffset, to: i64, now: Instant) {
        let mut inner = self.lock();
        if let Some(partition) = inner.partition_at(from) {
            partition.position = to;
            partition.advanced_at = now;
        }
        self.check_target(&mut inner);
    }

    /// The client stalls although there is a record at or after `from`. Whether it still does.
    pub fn stalled(&self, from: PartitionOffset, now: Instant) -> bool {
        let mut inner = self.lock();
        let Some(partition) = inner.partition_at(from) else {
            return false;
        };
        partition.advanced_at = now;
        inner.command.get_or_insert(Command::Reassign);
        true
    }

    /// The positions; `None` before the start. Take it before querying the ends: a position that is
    /// read later may be beyond them.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let inner = self.lock();
        let positions = inner.partitions.iter().map(|it| it.position).collect();
        (inner.generation > 0).then_some(Snapshot {
            generation: inner.generation,
            positions,
        })
    }

    /// The log returned these ends to a query made at `queried_at`, after `before` was taken. Returns
    /// the positions that stall below an end.
    pub fn ends_received(
        &self,
        before: &Snapshot,
        ends: TopicState,
        queried_at: Instant,
        now: Instant,
    ) -> Vec<PartitionOffset> {
        let mut inner = self.lock();
        if inner.generation != before.generation {
            return Vec::new();
        }
        if is_another_log(&inner, before, &ends) {
            inner.command = Some(Command::Restart);
            return Vec::new();
        }
        if ends.topic_id.is_known() {
            inner.topic_id = ends.topic_id;
        }
        if ends.highs.len() > inner.partitions.len() {
            let added = || Partition {
                start: 0,
                position: 0,
                advanced_at: now,
            };
            inner.partitions.resize_with(ends.highs.len(), added);
            inner.command.get_or_insert(Command::Reassign);
        }
        let stalled = stalled_positions(&inner, now);
        inner.target.get_or_insert((ends.highs, queried_at));
        self.check_target(&mut inner);
        stalled
    }

    /// Whether everything that the log held three seconds ago, or later, has been followed.
    pub fn is_live(&self, now: Instant) -> bool {
        let verified = self.verified.load(Ordering::Relaxed);
        verified > 0 && self.millis(now) + 1 < verified + MAX_ENDS_AGE.as_millis() as u64
    }

    /// The log cannot be followed for now. True when it could before.
    pub fn failed(&self, reason: &str) -> bool {
        let mut inner = self.lock();
        self.verified.store(0, Ordering::Relaxed);
        inner.target = None;
        let before = std::mem::replace(&mut inner.condition, Condition::Failed(reason.into()));
        !matches!(before, Condition::Failed(_))
    }

    /// Why the log cannot be followed; `None` while it can.
    pub fn failure(&self) -> Option<String> {
        match &self.lock().condition {
            Condition::NotStarted => Some("the log has not responded yet".into()),
            Condition::Healthy => None,
            Condition::Failed(reason) => Some(reason.clone()),
        }
    }

    /// Healthy again if the ends were reached since the failure. True when it was not before.
    pub fn recovered(&self) -> bool {
        if self.verified.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let before = std::mem::replace(&mut self.lock().condition, Condition::Healthy);
        !matches!(before, Condition::Healthy)
    }

    /// What the following thread must do first, once.
    pub fn take_command(&self) -> Option<Command> {
        self.lock().command.take()
    }

    /// The next offset to read of each partition.
    pub fn positions(&self) -> Vec<PartitionOffset> {
        let inner = self.lock();
        let positions = (0..).zip(&inner.partitions);
        positions
            .map(|(partition, it)| PartitionOffset::new(partition, it.position))
            .collect()
    }

    /// The generation in which all records after this one are followed; `None` where newer versions
    /// may have been missed, so that this one must not be kept.
    pub fn covers(&self, record: PartitionOffset) -> Option<u64> {
        let inner = self.lock();
        let partition = usize::try_from(record.partition).ok()?;
        let start = inner.partitions.get(partition)?.start;
        (record.offset >= start).then_some(inner.generation)
    }

    /// Whether the follower is past this record: the topic has it, or had it.
    pub fn has_passed(&self, record: &Source) -> bool {
        let mut inner = self.lock();
        let is_past = |it: &mut Partition| record.at.offset < it.position;
        record.topic_id == inner.topic_id
            && inner
                .partition_mut(record.at.partition)
                .is_some_and(is_past)
    }

    /// Counts the starts; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The current generation, and the incarnation of the topic.
    pub fn epoch(&self) -> (u64, TopicId) {
        let inner = self.lock();
        (inner.generation, inner.topic_id.clone())
    }

    /// Where this instance started to read each partition, of which topic; empty before the start.
    pub fn starts(&self) -> (TopicId, Vec<i64>) {
        let inner = self.lock();
        (
            inner.topic_id.clone(),
            inner.partitions.iter().map(|it| it.start).collect(),
        )
    }

    /// The incarnation of the topic that is followed; unknown before the start.
    pub fn topic_id(&self) -> TopicId {
        self.lock().topic_id.clone()
    }

    /// How many records lie between the positions and the ends to reach.
    pub fn lag(&self) -> i64 {
        let inner = self.lock();
        let Some((ends, _)) = &inner.target else {
            return 0;
        };
        let behind = ends
            .iter()
            .zip(&inner.partitions)
            .map(|(end, it)| end - it.position);
        behind.filter(|records| *records > 0).sum()
    }

    fn check_target(&self, inner: &mut Inner) {
        let Some((ends, queried_at)) = &inner.target else {
            return;
        };
        let has_reached = |(end, it): (&i64, &Partition)| it.position >= *end;
        if ends.iter().zip(&inner.partitions).all(has_reached) {
            self.verified
                .store(self.millis(*queried_at) + 1, Ordering::Relaxed);
            inner.target = None;
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        sync::lock(&self.inner)
    }
}

/// Whether the topic has another id, fewer partitions, or an end below what was already read.
fn is_another_log(inner: &Inner, before: &Snapshot, ends: &TopicState) -> bool {
    inner.topic_id.contradicts(&ends.topic_id)
        || ends.highs.len() < inner.partitions.len()
        || before
            .positions
            .iter()
            .zip(&ends.highs)
            .any(|(position, high)| high < position)
}

/// The positions below a target of some age that have not advanced lately.
fn stalled_positions(inner: &Inner, now: Instant) -> Vec<PartitionOffset> {
    let Some((ends, queried_at)) = &inner.target else {
        return Vec::new();
    };
    let is_old = |at: Instant| now >= at + STALL_TIMEOUT;
    if !is_old(*queried_at) {
        return Vec::new();
    }
    let pairs = (0..).zip(inner.partitions.iter().zip(ends));
    let stalled = pairs.filter(|(_, (it, end))| it.position < **end && is_old(it.advanced_at));
    stalled
        .map(|(partition, (it, _))| PartitionOffset::new(partition, it.position))
        .collect()
}

#[cfg(test)]
mod tests;
