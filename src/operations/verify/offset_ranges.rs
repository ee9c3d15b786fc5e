//! Sets of offsets of the partitions of a topic.

use std::collections::HashMap;

/// Offsets as ranges: 16 bytes for each run of offsets that follow each other.
#[derive(Debug, Default)]
pub(super) struct OffsetRanges(HashMap<i32, Vec<(i64, i64)>>);

impl OffsetRanges {
    /// Adds `from..to`. The ranges of a partition must come in ascending order of `from`.
    pub(super) fn add(&mut self, partition: i32, from: i64, to: i64) {
        let ranges = self.0.entry(partition).or_default();
        match ranges.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => ranges.push((from, to)),
        }
    }

    pub(super) fn contains(&self, partition: i32, offset: i64) -> bool {
        let Some(ranges) = self.0.get(&partition) else {
            return false;
        };
        let after = ranges.partition_point(|(from, _)| *from <= offset);
        after > 0 && offset < ranges[after - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open_and_those_that_touch_are_one() {
        let mut ranges = OffsetRanges::default();
        for (from, to) in [(2, 3), (3, 4), (7, 10), (8, 9)] {
            ranges.add(1, from, to);
        }
        assert_eq!(ranges.0[&1], [(2, 4), (7, 10)]);
        let held: Vec<i64> = (0..12)
            .filter(|offset| ranges.contains(1, *offset))
            .collect();
        assert_eq!(held, [2, 3, 7, 8, 9]);
        assert!(!ranges.contains(0, 2));
    }
}
