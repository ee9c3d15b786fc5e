//! How far one follower has come, and whether that is far enough to be believed.
//!
//! Owns the positions of one followed topic and the decisions that follow from comparing them with
//! the ends the log tells: live or not, new partitions, another log under the same name, a follower
//! that stands still. State behind a lock, which reads no clock but the accept times' when it begins;
//! the threads in `followers` act on it. The surprising thing: *live* means having reached the ends of
//! some question not older than three seconds, not of the last one, so that a busy log does not make
//! an instance doubt itself once a second.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::event_log::TopicState;
use crate::pipeline::{PartitionOffset, TopicId, time};

/// How old the newest question may be whose ends were reached.
const FRESH: Duration = Duration::from_secs(3);

/// How long a partition may stand below an asked end before somebody looks what is there.
const STANDS_STILL: Duration = Duration::from_secs(1);

/// What the following thread must do before it reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read these positions anew: partitions were added, or the client stands still.
    Reassign,
    /// Forget everything and begin at the ends: this is another log.
    BeginAnew,
}

/// Where the follower stood when the ends were asked for.
#[derive(Clone, Debug)]
pub struct Snapshot {
    generation: u64,
    positions: Vec<i64>,
}

struct Partition {
    /// Where this instance began to read: everything from here on was or will be followed.
    start: i64,
    position: i64,
    moved_at: Instant,
}

struct Inner {
    topic_id: TopicId,
    partitions: Vec<Partition>,
    /// Counts the beginnings; 0 before the first.
    generation: u64,
    /// The ends to reach, and when they were asked for.
    target: Option<(Vec<i64>, Instant)>,
    command: Option<Command>,
    condition: Condition,
}

impl Inner {
    fn partition_mut(&mut self, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// That partition, if its position still is this one.
    fn standing_at(&mut self, position: PartitionOffset) -> Option<&mut Partition> {
        let partition = self.partition_mut(position.partition)?;
        (partition.position == position.offset).then_some(partition)
    }
}

/// How following goes, as last reported.
enum Condition {
    NotBegun,
    Well,
    Troubled(String),
}

/// The state of one follower, shared by its thread, the watching thread and the handlers.
pub struct Tail {
    pub topic: String,
    origin: Instant,
    /// Milliseconds after `origin`, plus one, of the newest question whose ends were reached; 0 when
    /// there is none. Beside the lock, since every GET reads it.
    verified: AtomicU64,
    /// When it last began, in microseconds since the epoch.
    begun_at_us: AtomicI64,
    inner: Mutex<Inner>,
}

impl Tail {
    pub fn new(topic: &str) -> Tail {
        let inner = Inner {
            topic_id: TopicId::default(),
            partitions: Vec::new(),
            generation: 0,
            target: None,
            command: None,
            condition: Condition::NotBegun,
        };
        Tail {
            topic: topic.into(),
            origin: Instant::now(),
            verified: AtomicU64::new(0),
            begun_at_us: AtomicI64::new(0),
            inner: Mutex::new(inner),
        }
    }

    /// Begins at these ends, forgetting where it was. Call before anything that depends on having
    /// followed is cleared: what enters later is then known to lie beyond the start.
    pub fn begin(&self, ends: &TopicState, now: Instant) {
        let mut inner = self.lock();
        self.begun_at_us.store(time::now_us(), Ordering::Relaxed);
        let at = |high: &i64| Partition {
            start: *high,
            position: *high,
            moved_at: now,
        };
        inner.topic_id = ends.topic_id.clone();
        inner.partitions = ends.highs.iter().map(at).collect();
        inner.generation += 1;
        inner.target = None;
        inner.command = None;
        self.verified.store(0, Ordering::Relaxed);
    }

    /// When it last began, by the clock that accept times are read from.
    pub fn begun_at_us(&self) -> i64 {
        self.begun_at_us.load(Ordering::Relaxed)
    }

    /// The follower gave the record at this offset.
    pub fn moved(&self, record: PartitionOffset, now: Instant) {
        let mut inner = self.lock();
        if let Some(partition) = inner.partition_mut(record.partition) {
            partition.position = record.offset + 1;
            partition.moved_at = now;
        }
        self.check_target(&mut inner);
    }

    /// There is no record from `from` up to `to`: only marks that transactions left.
    pub fn passed(&self, from: PartitionOffset, to: i64, now: Instant) {
        let mut inner = self.lock();
        if let Some(partition) = inner.standing_at(from) {
            partition.position = to;
            partition.moved_at = now;
        }
        self.check_target(&mut inner);
    }

    /// The client stands still although there is a record at or after `from`.
    pub fn stalled(&self, from: PartitionOffset, now: Instant) -> bool {
        let mut inner = self.lock();
        let Some(partition) = inner.standing_at(from) else {
            return false;
        };
        partition.moved_at = now;
        inner.command.get_or_insert(Command::Reassign);
        true
    }

    /// Where it stands; `None` before it began. Take it before asking for ends: a position read
    /// later may rightly be beyond them.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let inner = self.lock();
        let positions = inner.partitions.iter().map(|it| it.position).collect();
        (inner.generation > 0).then_some(Snapshot {
            generation: inner.generation,
            positions,
        })
    }

    /// The log answered with its ends to a question put at `asked_at`, after `before` was taken.
    /// Returns the positions that stand still below an end.
    pub fn asked(
        &self,
        before: &Snapshot,
        ends: TopicState,
        asked_at: Instant,
        now: Instant,
    ) -> Vec<PartitionOffset> {
        let mut inner = self.lock();
        if inner.generation != before.generation {
            return Vec::new();
        }
        if is_another_log(&inner, before, &ends) {
            inner.command = Some(Command::BeginAnew);
            return Vec::new();
        }
        if ends.topic_id.is_known() {
            inner.topic_id = ends.topic_id;
        }
        if ends.highs.len() > inner.partitions.len() {
            let added = || Partition {
                start: 0,
                position: 0,
                moved_at: now,
            };
            inner.partitions.resize_with(ends.highs.len(), added);
            inner.command.get_or_insert(Command::Reassign);
        }
        let behind = stand_still(&inner, now);
        inner.target.get_or_insert((ends.highs, asked_at));
        self.check_target(&mut inner);
        behind
    }

    /// Whether all that the log held three seconds ago, or later, has been followed.
    pub fn is_live(&self, now: Instant) -> bool {
        let verified = self.verified.load(Ordering::Relaxed);
        verified > 0 && self.millis(now) + 1 < verified + FRESH.as_millis() as u64
    }

    /// The log cannot be followed for now. True when that is news.
    pub fn troubled(&self, reason: &str) -> bool {
        let mut inner = self.lock();
        self.verified.store(0, Ordering::Relaxed);
        inner.target = None;
        let before = std::mem::replace(&mut inner.condition, Condition::Troubled(reason.into()));
        !matches!(before, Condition::Troubled(_))
    }

    /// Why the log cannot be followed; `None` while it can.
    pub fn trouble(&self) -> Option<String> {
        match &self.lock().condition {
            Condition::NotBegun => Some("the log has not answered yet".into()),
            Condition::Well => None,
            Condition::Troubled(reason) => Some(reason.clone()),
        }
    }

    /// All is well if the ends were reached since it was not. True when that is news.
    pub fn recovered(&self) -> bool {
        if self.verified.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let before = std::mem::replace(&mut self.lock().condition, Condition::Well);
        !matches!(before, Condition::Well)
    }

    /// What the following thread must do first.
    pub fn take_command(&self) -> Option<Command> {
        self.lock().command.take()
    }

    /// Where to read each partition on.
    pub fn positions(&self) -> Vec<PartitionOffset> {
        let inner = self.lock();
        let positions = (0..).zip(&inner.partitions);
        positions
            .map(|(partition, it)| PartitionOffset::new(partition, it.position))
            .collect()
    }

    /// The generation in which a record at that place is followed by all newer ones; `None` where
    /// newer ones may have been missed, so that it must not be kept.
    pub fn covers(&self, record: PartitionOffset) -> Option<u64> {
        let inner = self.lock();
        let partition = usize::try_from(record.partition).ok()?;
        let start = inner.partitions.get(partition)?.start;
        (record.offset >= start).then_some(inner.generation)
    }

    /// Counts the beginnings; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The current beginning, and of which incarnation of the topic.
    pub fn beginning(&self) -> (u64, TopicId) {
        let inner = self.lock();
        (inner.generation, inner.topic_id.clone())
    }

    /// Where this instance began to read each partition, of which log; empty before it began.
    pub fn starts(&self) -> (TopicId, Vec<i64>) {
        let inner = self.lock();
        (
            inner.topic_id.clone(),
            inner.partitions.iter().map(|it| it.start).collect(),
        )
    }

    /// Which incarnation of the topic is followed; unknown before it began.
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
        let Some((ends, asked_at)) = &inner.target else {
            return;
        };
        let has_reached = |(end, it): (&i64, &Partition)| it.position >= *end;
        if ends.iter().zip(&inner.partitions).all(has_reached) {
            self.verified
                .store(self.millis(*asked_at) + 1, Ordering::Relaxed);
            inner.target = None;
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another topic id, fewer partitions, or an end below what had already been read.
fn is_another_log(inner: &Inner, before: &Snapshot, ends: &TopicState) -> bool {
    inner.topic_id.contradicts(&ends.topic_id)
        || ends.highs.len() < inner.partitions.len()
        || before
            .positions
            .iter()
            .zip(&ends.highs)
            .any(|(position, high)| high < position)
}

/// The partitions that are below a target of some age and did not move lately, with their positions.
fn stand_still(inner: &Inner, now: Instant) -> Vec<PartitionOffset> {
    let Some((ends, asked_at)) = &inner.target else {
        return Vec::new();
    };
    let is_old = |at: Instant| now >= at + STANDS_STILL;
    if !is_old(*asked_at) {
        return Vec::new();
    }
    let pairs = (0..).zip(inner.partitions.iter().zip(ends));
    let still = pairs.filter(|(_, (it, end))| it.position < **end && is_old(it.moved_at));
    still
        .map(|(partition, (it, _))| PartitionOffset::new(partition, it.position))
        .collect()
}

#[cfg(test)]
mod tests;
