//! Store against log: how many records the log has that the store has not applied.

use super::{PartitionOffset, TopicId};

/// How far one partition's position in the store is from an end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionLag {
    /// The store has never read this partition.
    NoPosition,
    /// The position belongs to another incarnation of the topic.
    OtherTopic,
    /// The records between the position and the end; negative when the position is past the end
    /// (progress since the end was read, or a truncated log).
    Records(i64),
}

/// The lag of each partition, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag(Vec<PartitionLag>);

/// Compares the ends of a topic, one a partition, with positions in the store: the topic id that
/// each belongs to, and the next offset to apply.
pub fn lag<'a>(
    topic_id: &TopicId,
    ends: impl IntoIterator<Item = i64>,
    positions: impl Iterator<Item = (&'a TopicId, PartitionOffset)> + Clone,
) -> Lag {
    let partitions = (0_i32..).zip(ends).map(|(partition, end)| {
        let mut positions = positions.clone();
        match positions.find(|(_, next)| next.partition == partition) {
            None => PartitionLag::NoPosition,
            Some((known, _)) if known.contradicts(topic_id) => PartitionLag::OtherTopic,
            Some((_, next)) => PartitionLag::Records(end.saturating_sub(next.offset)),
        }
    });
    Lag(partitions.collect())
}

impl Lag {
    pub fn partitions(&self) -> &[PartitionLag] {
        &self.0
    }

    /// How many records the store is behind; `None` when that is not known of every partition.
    pub fn records_behind(&self) -> Option<i64> {
        let behind = |lag: &PartitionLag| match lag {
            PartitionLag::Records(records) => Some((*records).max(0)),
            PartitionLag::NoPosition | PartitionLag::OtherTopic => None,
        };
        let mut all = self.0.iter().map(behind);
        all.try_fold(0_i64, |sum, records| Some(sum.saturating_add(records?)))
    }

    /// Whether a position is past its end.
    pub fn is_past_end(&self) -> bool {
        let is_past = |lag: &PartitionLag| matches!(lag, PartitionLag::Records(..0));
        self.0.iter().any(is_past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag_of(ends: &[i64], positions: &[(&str, i32, i64)]) -> Lag {
        let positions: Vec<(TopicId, PartitionOffset)> = positions
            .iter()
            .map(|(topic, partition, next)| {
                ((*topic).into(), PartitionOffset::new(*partition, *next))
            })
            .collect();
        let positions = positions.iter().map(|(topic_id, next)| (topic_id, *next));
        lag(&"t".into(), ends.iter().copied(), positions)
    }

    #[test]
    fn the_store_is_behind_by_the_sum_over_all_partitions() {
        let lag = lag_of(&[10, 10, 3], &[("t", 2, 3), ("t", 0, 7), ("t", 1, 12)]);
        let expected = [3, -2, 0].map(PartitionLag::Records);
        assert_eq!(lag.partitions(), expected);
        assert_eq!(lag.records_behind(), Some(3));
        assert!(lag.is_past_end());
    }

    #[test]
    fn nothing_is_known_without_a_position_in_every_partition_of_this_topic() {
        for positions in [&[("t", 0, 5)][..], &[("t", 0, 5), ("u", 1, 9)]] {
            let lag = lag_of(&[5, 9], positions);
            assert_eq!(lag.records_behind(), None);
            assert!(!lag.is_past_end());
        }
        assert_eq!(lag_of(&[5], &[("", 0, 5)]).records_behind(), Some(0));
    }

    #[test]
    fn offsets_at_the_ends_of_their_range_do_not_overflow() {
        let lag = lag_of(
            &[i64::MAX, i64::MAX, 0],
            &[("t", 0, i64::MIN), ("t", 1, 0), ("t", 2, i64::MAX)],
        );
        assert_eq!(lag.records_behind(), Some(i64::MAX));
        assert!(lag.is_past_end());
        assert_eq!(
            lag_of(&[0], &[("t", 0, i64::MIN)]).records_behind(),
            Some(i64::MAX)
        );
    }
}
