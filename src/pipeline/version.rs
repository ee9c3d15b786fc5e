//! Which of two versions of an order is the newer one.

use std::cmp::Ordering;

use super::{Record, Source, TopicId};

/// Which record of the log an order came from, and when the order was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub source: Source,
    /// Microseconds since the epoch.
    pub accepted_at_us: i64,
}

impl Version {
    /// The version that a record of that incarnation of the topic holds.
    pub fn of(record: &Record, topic_id: &TopicId) -> Version {
        Version {
            source: Source {
                topic_id: topic_id.clone(),
                at: record.at(),
            },
            accepted_at_us: record.accepted_at_us(),
        }
    }

    /// `Greater` when `self` is newer than `held`, `Equal` when both are the same record. Inside one
    /// incarnation of a partition the offset decides; otherwise the accept time, a tie going to
    /// `self`.
    pub fn compare(&self, held: &Version) -> Ordering {
        let (new, old) = (&self.source, &held.source);
        if new.at.partition == old.at.partition && new.topic_id == old.topic_id {
            new.at.offset.cmp(&old.at.offset)
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

    fn version(source: &str, accepted_at_us: i64) -> Version {
        Version {
            source: source.parse().unwrap(),
            accepted_at_us,
        }
    }

    #[test]
    fn inside_one_partition_the_offset_decides_whatever_the_accept_times_are() {
        let (older, newer) = (version("t/0/7", 900), version("t/0/8", 100));
        assert_eq!(newer.compare(&older), Ordering::Greater);
        assert_eq!(older.compare(&newer), Ordering::Less);
        assert_eq!(older.compare(&older.clone()), Ordering::Equal);
    }

    #[test]
    fn across_partitions_and_incarnations_the_accept_time_decides_and_a_tie_goes_to_the_new_one() {
        let held = version("t/0/7", 500);
        for (other, expected) in [
            (version("t/1/0", 501), Ordering::Greater),
            (version("t/1/900", 499), Ordering::Less),
            (version("u/0/0", 501), Ordering::Greater),
            (version("u/0/900", 499), Ordering::Less),
            (version("u/0/7", 500), Ordering::Greater),
        ] {
            assert_eq!(other.compare(&held), expected, "{other:?}");
        }
    }
}
