//! Where reading of a partition starts, decided from its position in the store and from the log.
//!
//! `decide` is pure. In doubt it replays: a replay is harmless, because the store lets no older
//! version win; a skipped record is lost.

use std::fmt;
use std::str::FromStr;

use crate::event_log::OffsetRange;
use crate::pipeline::TopicId;
use crate::store::{Gap, Position, StartDecision};

/// A gap that an operator accepts: `TOPIC/PARTITION:FROM-TO`, both offsets inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedGap {
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    pub to: i64,
}

impl fmt::Display for AcceptedGap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}/{}:{}-{}",
            self.topic, self.partition, self.from, self.to
        )
    }
}

impl FromStr for AcceptedGap {
    type Err = String;

    fn from_str(text: &str) -> Result<AcceptedGap, String> {
        let parse = || {
            let (partition, range) = text.rsplit_once(':')?;
            let (topic, partition) = partition.rsplit_once('/')?;
            let (from, to) = range.split_once('-')?;
            Some(AcceptedGap {
                topic: topic.into(),
                partition: partition.parse().ok()?,
                from: from.parse().ok()?,
                to: to.parse().ok()?,
            })
        };
        parse()
            .filter(|gap| !gap.topic.is_empty() && gap.from <= gap.to)
            .ok_or_else(|| "must be TOPIC/PARTITION:FROM-TO, as `orders/0:100-199`".into())
    }
}

/// How the last record applied compares with the log's record at that offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAppliedCheck {
    Same,
    /// Retention deleted it, or none was ever applied.
    Gone,
    Different,
}

/// What is known when a partition is acquired.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub position: Option<&'a Position>,
    pub topic_id: &'a TopicId,
    pub range: OffsetRange,
    pub last_applied: LastAppliedCheck,
    /// Whether the position has been past the end of the log for so long that the log counts as
    /// truncated.
    pub is_truncated: bool,
    pub accepted: &'a [AcceptedGap],
}

/// Where a partition is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The position as it is.
    Continue,
    /// Commit this first, then read from its `next_offset`.
    Start {
        start: StartDecision,
        why: &'static str,
    },
}

/// Why a partition is not read now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Until an operator accepts the gap.
    #[error(
        "stopped: offsets {}-{} were deleted before they were read; to go on without them: \
         orders gaps accept {gap}", .gap.from, .gap.to
    )]
    Deleted { gap: AcceptedGap },
    /// Until the row is corrected: another program wrote it.
    #[error(
        "stopped: its row in log_positions has epoch {epoch} and next_offset {next_offset}, which no \
         consumer writes; next_offset 0 and tail_offset NULL read the partition again"
    )]
    Impossible { epoch: i32, next_offset: i64 },
    /// The log may be catching up: decide again soon.
    #[error("the position is past the end of the log; waiting a minute for the log")]
    PastEnd,
}

/// Whether the decision depends on what the log has below the position.
pub fn needs_last_applied_check(
    position: &Position,
    topic_id: &TopicId,
    range: OffsetRange,
) -> bool {
    let last_applied = position.last_applied.as_ref();
    is_possible(position)
        && !position.topic_id.contradicts(topic_id)
        && (range.low..=range.high).contains(&position.next_offset)
        && (position.next_offset > range.low
            || last_applied.is_some_and(|last| last.offset >= range.low))
}

/// Whether a consumer can have written the position: everything that is computed from it then stays
/// in range.
fn is_possible(position: &Position) -> bool {
    let mut offsets = position.last_applied.iter().map(|last| last.offset);
    (1..i32::MAX).contains(&position.epoch)
        && (0..i64::MAX).contains(&position.next_offset)
        && offsets.all(|offset| (0..i64::MAX).contains(&offset))
}

/// Decides where a partition is read from.
pub fn decide(facts: &Facts<'_>) -> Result<Decision, Unread> {
    let OffsetRange { low, high } = facts.range;
    let Some(position) = facts.position else {
        return Ok(Decision::Start {
            start: start_at(facts, 1, low, None),
            why: "no consumer has read it before",
        });
    };
    if !is_possible(position) {
        return Err(Unread::Impossible {
            epoch: position.epoch,
            next_offset: position.next_offset,
        });
    }
    let next = position.next_offset;
    let new_epoch = |why: &'static str| {
        // Whether records between the position and the old end were lost cannot be known.
        let gap = Gap {
            from: next,
            to: None,
            reason: why.into(),
        };
        let start = start_at(facts, position.epoch + 1, low, Some(gap));
        Ok(Decision::Start { start, why })
    };
    if position.topic_id.contradicts(facts.topic_id) {
        return new_epoch("the topic was deleted and created again");
    }
    if next < low {
        return deleted_unread(facts, position);
    }
    if next > high {
        return if facts.is_truncated {
            new_epoch("the log was truncated below the position")
        } else {
            Err(Unread::PastEnd)
        };
    }
    if facts.last_applied == LastAppliedCheck::Different {
        return new_epoch("the log was rewritten: the last record applied is a different one now");
    }
    if !position.topic_id.is_known() && facts.topic_id.is_known() {
        return Ok(Decision::Start {
            start: start_at(facts, position.epoch, next, None),
            why: "its topic id is known now",
        });
    }
    Ok(Decision::Continue)
}

/// Records between the position and the log's low were deleted before they were read. Only an
/// operator may skip them, and only those that the operator named.
fn deleted_unread(facts: &Facts<'_>, position: &Position) -> Result<Decision, Unread> {
    let (next, low) = (position.next_offset, facts.range.low);
    let gap = AcceptedGap {
        topic: facts.topic.into(),
        partition: facts.partition,
        from: next,
        to: low - 1,
    };
    // Records deleted since the operator decided are another gap, for another decision.
    let accepted = facts.accepted.iter().find(|accepted| {
        accepted.topic == gap.topic
            && accepted.partition == gap.partition
            && accepted.from == gap.from
            && accepted.to <= gap.to
    });
    let Some(accepted) = accepted else {
        return Err(Unread::Deleted { gap });
    };
    let resume_at = accepted.to + 1;
    let row = Gap {
        from: next,
        to: Some(resume_at),
        reason: "deleted before it was read; accepted by an operator".into(),
    };
    Ok(Decision::Start {
        start: start_at(facts, position.epoch, resume_at, Some(row)),
        why: "an operator accepted the gap before it",
    })
}

fn start_at(facts: &Facts<'_>, epoch: i32, next_offset: i64, gap: Option<Gap>) -> StartDecision {
    let from = facts.position;
    StartDecision {
        from: from.map(|position| (position.epoch, position.next_offset)),
        topic_id: facts.topic_id.clone(),
        epoch,
        next_offset,
        gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::LastApplied;

    fn position(next_offset: i64) -> Position {
        Position {
            topic_id: "one".into(),
            epoch: 3,
            next_offset,
            last_applied: Some(LastApplied {
                offset: next_offset - 1,
                digest: [0; 32],
            }),
            ..Position::default()
        }
    }

    fn decided(
        position: Option<&Position>,
        topic_id: &str,
        (low, high): (i64, i64),
        change: impl FnOnce(&mut Facts<'_>),
    ) -> Result<Decision, Unread> {
        let topic_id = topic_id.into();
        let mut facts = Facts {
            topic: "orders",
            partition: 0,
            position,
            topic_id: &topic_id,
            range: OffsetRange { low, high },
            last_applied: LastAppliedCheck::Same,
            is_truncated: false,
            accepted: &[],
        };
        change(&mut facts);
        decide(&facts)
    }

    fn start(decision: Result<Decision, Unread>) -> (i32, i64, Option<(i64, Option<i64>)>) {
        let Ok(Decision::Start { start, .. }) = decision else {
            panic!("no start: {decision:?}");
        };
        let gap = start.gap.map(|gap| (gap.from, gap.to));
        (start.epoch, start.next_offset, gap)
    }

    #[test]
    fn a_partition_without_a_position_starts_at_its_low() {
        assert_eq!(start(decided(None, "one", (4, 9), |_| ())), (1, 4, None));
    }

    #[test]
    fn a_position_inside_the_log_is_continued() {
        for next in [4, 6, 9] {
            let decision = decided(Some(&position(next)), "one", (4, 9), |_| ());
            assert_eq!(decision, Ok(Decision::Continue));
        }
    }

    #[test]
    fn a_recreated_topic_is_read_from_its_low_whatever_its_offsets_are() {
        for range in [(0, 3), (0, 100), (50, 60)] {
            let decision = decided(Some(&position(9)), "two", range, |_| ());
            assert_eq!(start(decision), (4, range.0, Some((9, None))));
        }
    }

    #[test]
    fn an_unknown_topic_id_is_not_a_recreated_topic() {
        let decision = decided(Some(&position(6)), "", (4, 9), |_| ());
        assert_eq!(decision, Ok(Decision::Continue));
    }

    #[test]
    fn a_rewritten_log_is_replayed() {
        let rewritten = |facts: &mut Facts<'_>| facts.last_applied = LastAppliedCheck::Different;
        let decision = decided(Some(&position(6)), "one", (4, 9), rewritten);
        assert_eq!(start(decision), (4, 4, Some((6, None))));
    }

    #[test]
    fn deleted_unread_records_stop_the_partition_until_that_gap_is_accepted() {
        let gap: AcceptedGap = "orders/0:6-9".parse().unwrap();
        let stop = decided(Some(&position(6)), "one", (10, 20), |_| ());
        let deleted = Unread::Deleted { gap: gap.clone() };
        assert_eq!(stop, Err(deleted.clone()));

        let other = [
            "orders/0:6-10".parse().unwrap(),
            "orders/1:6-9".parse().unwrap(),
        ];
        let still = decided(Some(&position(6)), "one", (10, 20), |facts| {
            facts.accepted = Box::leak(Box::new(other));
        });
        assert_eq!(still, Err(deleted));

        let accepted = decided(Some(&position(6)), "one", (10, 20), |facts| {
            facts.accepted = Box::leak(Box::new([gap]));
        });
        assert_eq!(start(accepted), (3, 10, Some((6, Some(10)))));
    }

    #[test]
    fn a_position_past_the_end_waits_before_the_log_counts_as_truncated() {
        let early = decided(Some(&position(12)), "one", (4, 9), |_| ());
        assert_eq!(early, Err(Unread::PastEnd));
        let timed_out = decided(Some(&position(12)), "one", (4, 9), |facts| {
            facts.is_truncated = true;
        });
        assert_eq!(start(timed_out), (4, 4, Some((12, None))));
    }

    #[test]
    fn a_position_that_no_consumer_can_have_written_is_not_read_from() {
        let possible = position(6);
        let last_applied = |offset| LastApplied {
            offset,
            digest: [0; 32],
        };
        let epochs = [0, -1, i32::MAX].map(|epoch| Position {
            epoch,
            ..possible.clone()
        });
        let offsets = [-1, i64::MIN, i64::MAX].map(|next_offset| Position {
            next_offset,
            ..possible.clone()
        });
        let last_offsets = [-1, i64::MAX].map(|offset| Position {
            last_applied: Some(last_applied(offset)),
            ..possible.clone()
        });
        for position in epochs.into_iter().chain(offsets).chain(last_offsets) {
            let topic_id = "two".into();
            let range = OffsetRange { low: 0, high: 9 };
            assert!(!needs_last_applied_check(&position, &topic_id, range));
            let decision = decided(Some(&position), "two", (0, 9), |_| ());
            assert!(
                matches!(decision, Err(Unread::Impossible { .. })),
                "{position:?}: {decision:?}"
            );
        }
    }

    #[test]
    fn a_gap_is_written_as_it_is_parsed() {
        let text = "my/topic/3:100-199";
        let gap: AcceptedGap = text.parse().unwrap();
        assert_eq!((gap.topic.as_str(), gap.partition), ("my/topic", 3));
        assert_eq!(gap.to_string(), text);
        for wrong in [
            "orders/0",
            "orders:1-2",
            "orders/0:2-1",
            "/0:1-2",
            "orders/x:1-2",
        ] {
            assert!(wrong.parse::<AcceptedGap>().is_err(), "{wrong}");
        }
    }
}
