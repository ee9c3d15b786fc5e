//! What the log has and the store has not: a pure comparison of a topic with positions.
//!
//! A position of another incarnation of the topic tells nothing of this one: all of it waits.

use crate::event_log::{TopicId, TopicState};
use crate::store::Position;

/// How many partitions are named; the others are counted.
const NAMED: usize = 8;

/// The partitions with records that are not stored, and how many those are.
pub(super) fn records(topic: &TopicState, positions: &[Position]) -> Vec<(i32, i64)> {
    let waiting = |(partition, range): (i32, &crate::event_log::OffsetRange)| {
        let is_it = |position: &&Position| {
            let same_topic =
                !TopicId(position.topic_id.as_str().into()).contradicts(&topic.topic_id);
            position.partition == partition && same_topic
        };
        let applied = positions.iter().find(is_it);
        let next = applied.map_or(range.low, |position| position.next_offset);
        let count = range.high - next.max(range.low);
        (count > 0).then_some((partition, count))
    };
    (0..).zip(&topic.ranges).filter_map(waiting).collect()
}

/// Such as ``12 record(s) of topic `orders`: 7 in partition 0, 5 in partition 3``.
pub(super) fn text(topic: &str, waiting: &[(i32, i64)]) -> String {
    let sum: i64 = waiting.iter().map(|(_, count)| count).sum();
    let named = waiting.iter().take(NAMED);
    let mut places: Vec<String> = named
        .map(|(partition, count)| format!("{count} in partition {partition}"))
        .collect();
    if waiting.len() > NAMED {
        places.push(format!("and more in {} others", waiting.len() - NAMED));
    }
    format!("{sum} record(s) of topic `{topic}`: {}", places.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::OffsetRange;

    fn position(partition: i32, topic_id: &str, next_offset: i64) -> Position {
        Position {
            id: 1,
            topic_id: topic_id.into(),
            partition,
            epoch: 1,
            next_offset,
            tail: None,
        }
    }

    fn topic(ranges: &[(i64, i64)]) -> TopicState {
        let range = |&(low, high): &(i64, i64)| OffsetRange { low, high };
        TopicState {
            log_id: "log".into(),
            topic_id: TopicId("t".into()),
            ranges: ranges.iter().map(range).collect(),
        }
    }

    #[test]
    fn records_wait_between_the_position_and_the_end() {
        let topic = topic(&[(0, 10), (5, 10), (0, 10), (3, 3), (0, 10)]);
        let positions = [
            position(0, "t", 10),
            position(1, "t", 7),
            position(2, "another", 10),
            position(4, "t", 12),
        ];
        assert_eq!(records(&topic, &positions), [(1, 3), (2, 10)]);
        assert_eq!(records(&topic, &[])[1], (1, 5));
    }

    #[test]
    fn what_waits_is_said_with_its_partitions() {
        let said = "12 record(s) of topic `orders`: 7 in partition 0, 5 in partition 3";
        assert_eq!(text("orders", &[(0, 7), (3, 5)]), said);
        let many: Vec<(i32, i64)> = (0..10).map(|partition| (partition, 1)).collect();
        assert!(text("orders", &many).ends_with("1 in partition 7, and more in 2 others"));
    }
}
