//! How many records wait in each assigned partition, since when, and whether any progress is made.
//!
//! Measured outside the lanes: the end of the log, which the watching thread reads once a second, minus
//! the position as this process last knows it. So it is right while a lane waits for a locked table, a
//! partition is stopped at a gap, or the database is away.
//!
//! # Invariants
//!
//! - Nothing is guessed. A position that was never read is the one that the group has committed; where
//!   there is none either, or it is past the end of the log, the lag is not known: the partition has no
//!   series in the metrics and is not ready.
//! - A tick never waits: records and committed offsets are read by a thread of their own (`read_in_turn`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use jiff::Timestamp;

use super::context::Context;
use super::progress::KnownPosition;
use super::status::MeasuredLag;
use crate::event_log::{Committed, TopicState, first_timestamp};
use crate::pipeline::PartitionOffset;
use crate::sync::lock;
use waiting::{Moment, Waiting, WaitingAt};

mod waiting;

/// The positions at one moment, taken before the ends of the log are read, so that none is past its
/// end only because it moved meanwhile.
pub struct Positions {
    assignment: u64,
    partitions: BTreeMap<i32, Option<KnownPosition>>,
}

/// The positions of the assigned partitions.
pub fn positions(context: &Context) -> Positions {
    let (assignment, assigned) = context.progress.assigned();
    Positions {
        assignment,
        partitions: assigned
            .into_iter()
            .map(|(partition, progress)| (partition, progress.known()))
            .collect(),
    }
}

/// What is known of the assigned partitions.
#[derive(Default)]
pub struct Lag(Mutex<State>);

#[derive(Default)]
struct State {
    assignment: u64,
    partitions: BTreeMap<i32, Waiting>,
    /// What the group had committed when an assignment began; `None` before it was read.
    committed: Option<(u64, BTreeMap<i32, Committed>)>,
    /// Offsets of other programs that were reported, by partition.
    reported: BTreeMap<i32, i64>,
}

impl Lag {
    /// Compares positions with the ends of the log. `is_fresh` when the ends have just been read.
    pub fn tick(
        &self,
        positions: &Positions,
        ends: &TopicState,
        is_fresh: bool,
    ) -> BTreeMap<i32, MeasuredLag> {
        let now = Moment {
            instant: Instant::now(),
            time: Timestamp::now(),
        };
        let mut state = lock(&self.0);
        state.assign(positions);
        let State {
            assignment,
            partitions,
            committed,
            ..
        } = &mut *state;
        let committed = committed.as_ref().filter(|(of, _)| of == assignment);
        let measure = |(partition, waiting): (&i32, &mut Waiting)| {
            let end = *ends.highs.get(usize::try_from(*partition).ok()?)?;
            let read = positions.partitions.get(partition)?.as_ref();
            let read = read.filter(|known| !known.topic_id.contradicts(&ends.topic_id));
            let committed = committed.and_then(|(_, all)| all.get(partition));
            let at = match (read, committed) {
                // Past the end of the log is the position of another log.
                (Some(known), _) if known.next_offset <= end => {
                    WaitingAt::Position(known.next_offset)
                }
                (None, Some(committed)) if committed.offset <= end => {
                    WaitingAt::Committed(committed.offset)
                }
                _ => WaitingAt::Unknown,
            };
            let batch = read.and_then(|known| known.batch);
            Some((*partition, waiting.measure(at, end, batch, is_fresh, now)))
        };
        partitions.iter_mut().filter_map(measure).collect()
    }

    /// Reads what the last tick lacked: once an assignment what the group has committed, and once a
    /// position the record that waits there. Blocks up to 10 s a partition while the log is slow.
    pub fn read(&self, context: &Context) {
        self.read_committed(context);
        self.report_reset(context);
        let wanted: Vec<PartitionOffset> = {
            let state = lock(&self.0);
            let wanted = |(partition, waiting): (&i32, &Waiting)| {
                Some(PartitionOffset::new(*partition, waiting.wanted?))
            };
            state.partitions.iter().filter_map(wanted).collect()
        };
        for at in wanted {
            if context.shutdown.is_requested() {
                return;
            }
            let topic = &context.settings.topics.orders;
            let Ok(timestamp_ms) = first_timestamp(&*context.log, topic, at) else {
                // The log is away: the next tick wants it again when it is back.
                return;
            };
            if let Some(waiting) = lock(&self.0).partitions.get_mut(&at.partition) {
                waiting.oldest = Some((at.offset, timestamp_ms));
            }
        }
    }

    fn read_committed(&self, context: &Context) {
        let (assignment, assigned) = context.progress.assigned();
        let is_read = |(of, _): &(u64, _)| *of == assignment;
        if assigned.is_empty() || lock(&self.0).committed.as_ref().is_some_and(is_read) {
            return;
        }
        let settings = &context.settings;
        let read = context
            .log
            .committed(&settings.group, &settings.topics.orders);
        match read {
            Ok(committed) => lock(&self.0).committed = Some((assignment, committed)),
            Err(error) => tracing::debug!("offsets of the group are not known: {error}"),
        }
    }

    /// Warns of offsets that another program has committed for partitions acquired since: they move
    /// nothing.
    fn report_reset(&self, context: &Context) {
        let (assignment, assigned) = context.progress.assigned();
        let mut state = lock(&self.0);
        let State {
            committed: Some((of, committed)),
            reported,
            ..
        } = &mut *state
        else {
            return;
        };
        if *of != assignment {
            return;
        }
        for (partition, progress) in assigned {
            let Some(acquired) = progress.take_acquired() else {
                continue;
            };
            let other = committed.get(&partition).filter(|it| !it.is_reported);
            let Some(offset) = other.map(|it| it.offset).filter(|it| *it != acquired) else {
                continue;
            };
            if reported.insert(partition, offset) != Some(offset) {
                let (topic, group) = (&context.settings.topics.orders, &context.settings.group);
                tracing::warn!(
                    %topic, partition, %group,
                    "the group's offset was set to {offset}, and reading goes on at {acquired}: the \
                     position in the database decides; to read again from there run \
                     `orders replay --from {partition}@{offset}`"
                );
            }
        }
    }
}

impl State {
    /// Follows the assignment. A partition that is stalled stays so until it progresses, whoever has it.
    fn assign(&mut self, positions: &Positions) {
        if self.assignment == positions.assignment {
            return;
        }
        self.assignment = positions.assignment;
        self.partitions.retain(|partition, waiting| {
            waiting.is_stalled() || positions.partitions.contains_key(partition)
        });
        for partition in positions.partitions.keys() {
            self.partitions.entry(*partition).or_default().restart();
        }
    }
}
