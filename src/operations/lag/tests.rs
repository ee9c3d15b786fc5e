//! What is known of each partition, and what is not.

use uuid::Uuid;

use super::*;
use crate::store::Position;

fn state(highs: &[i64]) -> TopicState {
    TopicState {
        log_id: "log".into(),
        topic_id: "t".into(),
        highs: highs.into(),
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
            host: "a:1".into(),
            since: String::new(),
        },
    }
}

/// Lag, oldest waiting in seconds and state of each partition; those of `reads` were read.
fn measured(
    highs: &[i64],
    known: &Known,
    reads: &[(i32, i64)],
) -> Vec<(Option<i64>, Option<u64>, State)> {
    let reads = reads.iter().map(|(partition, low)| {
        let timestamp_ms = Some(1_000);
        let low = *low;
        (*partition, Read { low, timestamp_ms })
    });
    let found = partitions(&state(highs), known, &reads.collect(), 8_000);
    let found = found.into_iter();
    found
        .map(|it| (it.lag, it.oldest_waiting.map(|it| it.as_secs()), it.state))
        .collect()
}

#[test]
fn the_lag_is_from_the_position_to_the_end() {
    let positions = [owned(0, "t", 10), owned(1, "t", 4), owned(2, "t", 4)];
    let known = Known::Stored(positions.into());
    let expected = [
        (Some(0), Some(0), State::Current),
        (Some(6), Some(7), State::Behind),
        (Some(6), Some(7), State::Gap),
    ];
    assert_eq!(measured(&[10, 10, 10], &known, &[(1, 2), (2, 5)]), expected);
}

#[test]
fn without_a_position_in_this_topic_everything_that_the_log_has_waits() {
    let known = Known::Stored(vec![owned(1, "other", 4)]);
    let expected = [
        (Some(7), Some(7), State::Unread),
        (Some(10), Some(7), State::Recreated),
        (Some(0), Some(0), State::Unread),
    ];
    assert_eq!(measured(&[10, 10, 0], &known, &[(0, 3), (1, 0)]), expected);
}

#[test]
fn what_is_not_known_is_never_zero() {
    let known = Known::Stored(vec![owned(0, "t", 12), owned(1, "t", 4)]);
    let expected = [
        (None, None, State::PastEnd),
        (Some(6), None, State::Behind),
        (None, None, State::Unread),
    ];
    assert_eq!(measured(&[10, 10, 10], &known, &[]), expected);
}

#[test]
fn the_offsets_of_the_group_stand_in_for_positions() {
    let committed = |offset| Committed {
        offset,
        is_reported: true,
    };
    let offsets = [(0, committed(4)), (1, committed(12))];
    let known = Known::Committed(offsets.into());
    let expected = [
        (Some(6), Some(7), State::Committed),
        (None, None, State::PastEnd),
        (None, None, State::Unknown),
        (Some(0), Some(0), State::Unread),
    ];
    assert_eq!(measured(&[10, 10, 10, 0], &known, &[(0, 0)]), expected);
    let waiting = waiting(&state(&[10, 10, 10, 0]), &known);
    assert_eq!(waiting, [PartitionOffset::new(0, 4)]);
}

#[test]
fn the_lag_of_a_topic_is_known_when_that_of_every_partition_is() {
    let lag = |highs: &[i64]| Lag {
        topic: "orders".into(),
        partitions: partitions(
            &state(highs),
            &Known::Stored(vec![owned(0, "t", 4), owned(1, "t", 4)]),
            &BTreeMap::new(),
            0,
        ),
        no_positions: None,
        warnings: Vec::new(),
    };
    assert_eq!(lag(&[9, 5]).records(), Some(6));
    assert_eq!(lag(&[9, 3]).records(), None);
    assert_eq!(lag(&[4, 4]).oldest_waiting(), Some(Duration::ZERO));
    assert_eq!(lag(&[9, 4]).oldest_waiting(), None);
}
