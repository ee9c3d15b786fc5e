//! Replay: positions go back, and consumers apply the records again.
//!
//! # Invariants
//!
//! A replay loses and doubles nothing: the store lets no older version win, and a dead letter of the same
//! incarnation is written once. A position never moves forward here: that would skip records.

use crate::event_log::{EventLog, LogError, OffsetRange, ReadBack};
use crate::operations::gaps::Topic;
use crate::pipeline::{LastApplied, PartitionOffset};
use crate::store::{OwnedPosition, PositionMove};

/// One partition that is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub partition: i32,
    /// The first offset that is applied again.
    pub from: i64,
    /// The position before.
    pub to: i64,
    /// Whether earlier records were wanted that the log no longer has.
    pub is_shortened: bool,
}

/// Decides which positions go back. Partitions that no consumer has read, or that are not past the
/// wanted offset, or of another incarnation of the topic, are left as they are.
pub fn plan(topic: &Topic, positions: &[OwnedPosition], wanted: &[PartitionOffset]) -> Vec<Replay> {
    let replay = |wanted: &PartitionOffset| {
        let is_its = |(partition, _): &&(i32, OffsetRange)| *partition == wanted.partition;
        let (_, range) = topic.ranges.iter().find(is_its)?;
        let position = positions
            .iter()
            .map(|owned| &owned.position)
            .find(|position| position.partition == wanted.partition)?;
        let from = wanted.offset.max(range.low);
        let goes_back =
            from < position.next_offset && !position.topic_id.contradicts(&topic.topic_id);
        goes_back.then_some(Replay {
            partition: wanted.partition,
            from,
            to: position.next_offset,
            is_shortened: wanted.offset < range.low,
        })
    };
    let mut replays: Vec<Replay> = wanted.iter().filter_map(replay).collect();
    // The earliest of several offsets of a partition.
    replays.sort_by_key(|replay| (replay.partition, replay.from));
    replays.dedup_by_key(|replay| replay.partition);
    replays
}

/// What the store needs to know of a replay: the record before it, by which a consumer recognises the
/// log when it takes the position. Blocks.
pub fn position_move(
    log: &dyn EventLog,
    name: &str,
    topic: &Topic,
    replay: &Replay,
) -> Result<PositionMove, LogError> {
    let is_its = |(partition, _): &&(i32, OffsetRange)| *partition == replay.partition;
    let low = topic.ranges.iter().find(is_its).map_or(0, |(_, it)| it.low);
    let before = PartitionOffset::new(replay.partition, replay.from);
    Ok(PositionMove {
        log_id: topic.log_id.clone(),
        partition: replay.partition,
        topic_id: topic.topic_id.clone(),
        next_offset: replay.from,
        last_applied: last_before(log, name, before, low)?,
    })
}

/// The last record before an offset; between them there may be offsets without records.
fn last_before(
    log: &dyn EventLog,
    topic: &str,
    before: PartitionOffset,
    low: i64,
) -> Result<Option<LastApplied>, LogError> {
    let mut distance = 1;
    loop {
        let start = before.offset.saturating_sub(distance).max(low);
        let (mut next, mut last) = (start, None);
        while next < before.offset {
            let at = PartitionOffset::new(before.partition, next);
            match log.read_from(topic, at)? {
                ReadBack::Record(record) if record.offset < before.offset => {
                    next = record.offset + 1;
                    last = Some(LastApplied::of(&record));
                }
                ReadBack::Record(_) | ReadBack::End(_) => break,
            }
        }
        if last.is_some() || start <= low {
            return Ok(last);
        }
        distance *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Holder, Position};
    use uuid::Uuid;

    fn topic() -> Topic {
        let range = OffsetRange { low: 10, high: 90 };
        Topic {
            log_id: "log".into(),
            topic_id: "t".into(),
            ranges: vec![(0, range), (1, range), (2, range)],
        }
    }

    fn owned(partition: i32, topic_id: &str, next_offset: i64) -> OwnedPosition {
        OwnedPosition {
            position: Position {
                partition,
                topic_id: topic_id.into(),
                next_offset,
                ..Position::default()
            },
            owner: Uuid::nil(),
            holder: Holder {
                group: String::new(),
                host: String::new(),
                since: String::new(),
            },
        }
    }

    fn planned(wanted: &[(i32, i64)]) -> Vec<(i32, i64, i64, bool)> {
        let positions = [owned(0, "t", 50), owned(1, "other", 50)];
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(partition, offset)| PartitionOffset::new(*partition, *offset))
            .collect();
        plan(&topic(), &positions, &wanted)
            .into_iter()
            .map(|it| (it.partition, it.from, it.to, it.is_shortened))
            .collect()
    }

    #[test]
    fn a_position_goes_back_to_the_earliest_offset_that_the_log_still_has() {
        assert_eq!(planned(&[(0, 40)]), [(0, 40, 50, false)]);
        assert_eq!(planned(&[(0, 40), (0, 30)]), [(0, 30, 50, false)]);
        assert_eq!(planned(&[(0, 3)]), [(0, 10, 50, true)]);
    }

    #[test]
    fn a_position_never_goes_forward_nor_into_another_topic() {
        assert_eq!(planned(&[(0, 50), (0, 60)]), []);
        // Another incarnation, one that nobody has read, one that is not there.
        assert_eq!(planned(&[(1, 20), (2, 20), (9, 20)]), []);
    }
}
