//! Which of two versions of an order is the newer one.

use std::cmp::Ordering;

use super::{PartitionOffset, Record, Source, TopicId};

/// Which record of the log an order came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub topic_id: TopicId,
    pub partition: i32,
    pub offset: i64,
    /// Microseconds since the epoch.
    pub accepted_at_us: i64,
}

impl Version {
    pub fn new(source: Source, accepted_at_us: i64) -> Version {
        Version {
            topic_id: source.topic_id,
            partition: source.at.partition,
            offset: source.at.offset,
            accepted_at_us,
        }
    }

    /// The version that a record of that incarnation of the topic holds.
    pub fn of(record: &Record, topic_id: &TopicId) -> Version {
        Version {
            topic_id: topic_id.clone(),
            partition: record.partition,
            offset: record.offset,
            accepted_at_us: record.accepted_at_us(),
        }
    }

    /// Whether it came from the record at that offset of that incarnation of the topic.
    pub fn is_from(&self, topic_id: &TopicId, at: PartitionOffset) -> bool {
        self.partition == at.partition && self.offset == at.offset && self.topic_id == *topic_id
    }

    /// `Greater` when `self` is newer than `held`, `Equal` when both are the same record. Inside one
    /// incarnation of a partition the offset decides; otherwise the accept time, a tie going to
    /// `self`.
    pub fn compare(&self, held: &Version) -> Ordering {
        if self.partition == held.partition && self.topic_id == held.topic_id {
            self.offset.cmp(&held.offset)
        } else if self.accepted_at_us >= held.accepted_at_us {
            Ordering::Greater
        } else {
            Ordering::Less
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_a_partition_the_offset_decides_and_across_them_the_accept_time() {
        let version = |topic_id: &str, partition, offset, accepted_at_us| Version {
            topic_id: topic_id.into(),
            partition,
            offset,
            accepted_at_us,
        };
        let held = version("t", 0, 5, 100);
        let compared = |topic_id, partition, offset, accepted_at_us| {
            version(topic_id, partition, offset, accepted_at_us).compare(&held)
        };
        assert_eq!(compared("t", 0, 6, 1), Ordering::Greater);
        assert_eq!(compared("t", 0, 5, 100), Ordering::Equal);
        assert_eq!(compared("t", 0, 4, 999), Ordering::Less);
        assert_eq!(compared("t", 1, 0, 100), Ordering::Greater);
        assert_eq!(compared("u", 0, 9, 99), Ordering::Less);
    }
}
