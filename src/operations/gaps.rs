//! Gaps: what waits for a decision, what was decided, and what was passed.

use crate::event_log::{EventLog, LogError, OffsetRange};
use crate::order::Timestamp;
use crate::pipeline::TopicId;
use crate::store::{OperatorStore, Position, StoreError};

/// What became of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapState {
    /// The partition is stopped until an operator decides.
    Waits,
    /// An operator has accepted it, and no consumer has gone on yet.
    Accepted,
    /// It is behind the position.
    Passed,
}

impl GapState {
    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            GapState::Waits => "waits",
            GapState::Accepted => "accepted",
            GapState::Passed => "passed",
        }
    }
}

/// Offsets `from..to` of a partition that were never applied; `to` is `None` when not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub partition: i32,
    pub from: i64,
    pub to: Option<i64>,
    pub state: GapState,
    pub reason: String,
    /// None for one that waits: nobody has noted it.
    pub noted_at: Timestamp,
}

/// What the log has of the topic.
#[derive(Clone, Debug)]
pub struct Topic {
    pub log_id: String,
    pub topic_id: TopicId,
    /// The partitions that were asked for, with their numbers.
    pub ranges: Vec<(i32, OffsetRange)>,
}

/// Reads what the log has of one partition. Blocks.
pub fn find(log: &dyn EventLog, topic: &str, partition: i32) -> Result<Topic, LogError> {
    read(log, topic, |partitions| match partition {
        partition if (0..partitions).contains(&partition) => vec![partition],
        _ => Vec::new(),
    })
}

/// Reads what the log has of all partitions. Blocks.
pub fn find_all(log: &dyn EventLog, topic: &str) -> Result<Topic, LogError> {
    read(log, topic, |partitions| (0..partitions).collect())
}

fn read(
    log: &dyn EventLog,
    topic: &str,
    select: impl FnOnce(i32) -> Vec<i32>,
) -> Result<Topic, LogError> {
    let state = log.topic(topic)?;
    let partitions = i32::try_from(state.highs.len()).unwrap_or(i32::MAX);
    let ranges = select(partitions)
        .into_iter()
        .map(|partition| Ok((partition, log.range(topic, partition)?)))
        .collect::<Result<_, LogError>>()?;
    Ok(Topic {
        log_id: state.log_id,
        topic_id: state.topic_id,
        ranges,
    })
}

/// The gap that a position waits before, half-open.
pub fn waiting(position: &Position, topic: &Topic) -> Option<(i64, i64)> {
    let is_its = |(partition, _): &&(i32, OffsetRange)| *partition == position.partition;
    let (_, range) = topic.ranges.iter().find(is_its)?;
    let is_gap = !position.topic_id.contradicts(&topic.topic_id)
        && (0..range.low).contains(&position.next_offset);
    is_gap.then_some((position.next_offset, range.low))
}

/// The position, if the offsets `from` to `to` (inclusive) are the begin of the gap that it waits
/// before: a consumer looks for no other.
pub fn acceptable<'p>(
    position: Option<&'p Position>,
    topic: &Topic,
    from: i64,
    to: i64,
) -> Option<&'p Position> {
    let position = position?;
    let (gap_from, gap_to) = waiting(position, topic)?;
    (from == gap_from && to < gap_to).then_some(position)
}

/// All gaps: first those that wait, then those that were accepted, then at most `recorded` that were
/// passed, the newest first.
pub fn list(
    store: &mut dyn OperatorStore,
    topic: &Topic,
    recorded: usize,
) -> Result<Vec<Gap>, StoreError> {
    let (mut waits, mut accepted) = (Vec::new(), Vec::new());
    let acceptances = store.gap_acceptances(&topic.log_id, recorded)?;
    for owned in store.positions(&topic.log_id)? {
        let position = &owned.position;
        let Some((mut from, to)) = waiting(position, topic) else {
            continue;
        };
        let its = acceptances.iter().find(|acceptance| {
            (acceptance.partition, acceptance.epoch) == (position.partition, position.epoch)
                && acceptance.from == from
                && acceptance.to <= to
        });
        if let Some(acceptance) = its {
            accepted.push(Gap {
                partition: position.partition,
                from,
                to: Some(acceptance.to),
                state: GapState::Accepted,
                reason: format!("by {} {}", acceptance.accepted_by, acceptance.why)
                    .trim_end()
                    .into(),
                noted_at: acceptance.accepted_at,
            });
            from = acceptance.to;
        }
        if from < to {
            waits.push(Gap {
                partition: position.partition,
                from,
                to: Some(to),
                state: GapState::Waits,
                reason: "deleted before it was read".into(),
                noted_at: Timestamp(None),
            });
        }
    }
    let recorded = store.recorded_gaps(&topic.log_id, recorded)?;
    let passed = recorded.into_iter().map(|recorded| Gap {
        partition: recorded.partition,
        from: recorded.gap.from,
        to: recorded.gap.to,
        state: GapState::Passed,
        reason: recorded.gap.reason,
        noted_at: recorded.noted_at,
    });
    Ok(waits.into_iter().chain(accepted).chain(passed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(low: i64) -> Topic {
        let range = OffsetRange { low, high: 20 };
        Topic {
            log_id: "log".into(),
            topic_id: "t".into(),
            ranges: vec![(3, range)],
        }
    }

    fn position(next_offset: i64) -> Position {
        Position {
            partition: 3,
            topic_id: "t".into(),
            next_offset,
            ..Position::default()
        }
    }

    #[test]
    fn a_gap_waits_where_the_position_is_below_what_can_be_read() {
        assert_eq!(waiting(&position(5), &topic(10)), Some((5, 10)));
        assert_eq!(waiting(&position(10), &topic(10)), None);
        let mut of_another = position(5);
        of_another.topic_id = "other".into();
        assert_eq!(waiting(&of_another, &topic(10)), None);
        of_another.partition = 4;
        assert_eq!(waiting(&of_another, &topic(10)), None);
    }

    #[test]
    fn only_the_begin_of_the_waiting_gap_can_be_accepted() {
        let (position, topic) = (position(5), topic(10));
        let is_acceptable = |from, to| acceptable(Some(&position), &topic, from, to).is_some();
        assert!(is_acceptable(5, 9) && is_acceptable(5, 7));
        assert!(!is_acceptable(5, 10) && !is_acceptable(6, 9) && !is_acceptable(4, 9));
    }
}
