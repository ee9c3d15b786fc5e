//! The records of the topic that are not stored yet.

use crate::event_log::{EventLog, LogError, OffsetRange};
use crate::pipeline::{PartitionLag, TopicId, lag};
use crate::store::Position;

/// How many partitions are listed; the rest is counted.
const MAX_LISTED: usize = 8;

/// How many records of a partition are not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) partition: i32,
    pub(super) records: i64,
}

/// The topic of the orders and its offsets at the start of the export.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) log_id: String,
    topic_id: TopicId,
    pub(super) ranges: Vec<OffsetRange>,
}

impl Topic {
    pub(super) fn read(log: &dyn EventLog, name: &str) -> Result<Topic, LogError> {
        let state = log.topic(name)?;
        let ranges = (0..)
            .take(state.highs.len())
            .map(|partition| log.range(name, partition))
            .collect::<Result<_, _>>()?;
        Ok(Topic {
            name: name.into(),
            log_id: state.log_id,
            topic_id: state.topic_id,
            ranges,
        })
    }

    /// The partitions with records that are not stored.
    pub(super) fn waiting(&self, positions: &[Position]) -> Vec<Waiting> {
        let ends = self.ranges.iter().map(|range| range.high);
        let lag = lag(&self.topic_id, ends, positions.iter().map(Position::next));
        let partitions = (0..).zip(self.ranges.iter().zip(lag.partitions()));
        let waiting = partitions.map(|(partition, (range, lag))| {
            let held = range.high - range.low;
            let records = match lag {
                PartitionLag::Records(records) => held.min(*records),
                PartitionLag::NoPosition | PartitionLag::OtherTopic => held,
            };
            Waiting { partition, records }
        });
        waiting.filter(|waiting| waiting.records > 0).collect()
    }
}

/// Such as ``12 record(s) of topic `orders`: 7 in partition 0, 5 in partition 3``.
pub(super) fn text(topic: &str, waiting: &[Waiting]) -> String {
    let sum: i64 = waiting.iter().map(|waiting| waiting.records).sum();
    let shown = waiting.iter().take(MAX_LISTED);
    let mut listed: Vec<String> = shown
        .map(|Waiting { partition, records }| format!("{records} in partition {partition}"))
        .collect();
    if waiting.len() > MAX_LISTED {
        listed.push(format!("and more in {} others", waiting.len() - MAX_LISTED));
    }
    format!("{sum} record(s) of topic `{topic}`: {}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(partition: i32, topic_id: &str, next_offset: i64) -> Position {
        Position {
            id: 1,
            topic_id: topic_id.into(),
            partition,
            epoch: 1,
            next_offset,
            last_applied: None,
        }
    }

    fn waiting(partition: i32, records: i64) -> Waiting {
        Waiting { partition, records }
    }

    #[test]
    fn records_between_position_and_end_are_waiting() {
        let ranges = [(0, 10), (5, 10), (0, 10), (3, 3), (0, 10)];
        let range = |(low, high)| OffsetRange { low, high };
        let topic = Topic {
            name: "orders".into(),
            log_id: "log".into(),
            topic_id: "t".into(),
            ranges: ranges.into_iter().map(range).collect(),
        };
        let positions = [
            position(0, "t", 10),
            position(1, "t", 7),
            position(2, "another", 10),
            position(4, "t", 12),
        ];
        assert_eq!(topic.waiting(&positions), [waiting(1, 3), waiting(2, 10)]);
        assert_eq!(topic.waiting(&[])[1], waiting(1, 5));
    }

    #[test]
    fn waiting_records_are_listed_by_partition() {
        let expected = "12 record(s) of topic `orders`: 7 in partition 0, 5 in partition 3";
        assert_eq!(text("orders", &[waiting(0, 7), waiting(3, 5)]), expected);
        let many: Vec<Waiting> = (0..10).map(|partition| waiting(partition, 1)).collect();
        assert!(text("orders", &many).ends_with("1 in partition 7, and more in 2 others"));
    }
}
