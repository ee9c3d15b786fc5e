//! Which record a stored order came from, by the source columns of its row.

use super::Position;
use crate::pipeline::{PartitionOffset, Source};

/// Where a row came from; `None` when that incarnation of its partition is not the current one.
///
/// `None` too for an offset that its partition has not reached: the row and the position change in one
/// transaction, so another program wrote it, and it would outrank every record that follows.
pub(super) fn current_source(
    positions: &[Position],
    position_id: Option<i64>,
    epoch: Option<i32>,
    offset: Option<i64>,
) -> Option<Source> {
    let (incarnation, offset) = ((position_id?, epoch?), offset?);
    let position = positions
        .iter()
        .find(|position| (position.id, position.epoch) == incarnation)?;
    let is_applied = (0..position.next_offset).contains(&offset);
    is_applied.then(|| Source {
        topic_id: position.topic_id.clone(),
        at: PartitionOffset::new(position.partition, offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_source_only_below_the_position_of_the_current_incarnation() {
        let positions = [Position {
            id: 7,
            topic_id: "t".into(),
            partition: 2,
            epoch: 3,
            next_offset: 10,
            last_applied: None,
        }];
        let source = |id, epoch, offset| {
            current_source(&positions, id, epoch, offset).map(|source| source.to_string())
        };
        let (id, epoch) = (Some(7), Some(3));
        assert_eq!(source(id, epoch, Some(9)).as_deref(), Some("t/2/9"));
        for offset in [None, Some(10), Some(-1), Some(i64::MAX), Some(i64::MIN)] {
            assert_eq!(source(id, epoch, offset), None, "{offset:?}");
        }
        assert_eq!(source(Some(8), epoch, Some(9)), None);
        assert_eq!(source(id, Some(2), Some(9)), None);
        assert_eq!(source(None, epoch, Some(9)), None);
    }
}
