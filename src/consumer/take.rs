//! Taking a partition: where reading starts, decided from what the store and the log say.
//!
//! `decide` is pure. When in doubt it replays: a replay is harmless, because the guard in the store
//! lets nothing older win, and a skip is not.

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
            let (place, range) = text.rsplit_once(':')?;
            let (topic, partition) = place.rsplit_once('/')?;
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

/// What the record at the position's tail looks like in the log today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailCheck {
    Same,
    /// Retention took it, or none was ever applied.
    Gone,
    Different,
}

/// What is known when a partition is taken.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub position: Option<&'a Position>,
    pub topic_id: &'a TopicId,
    pub range: OffsetRange,
    pub tail: TailCheck,
    /// Whether the position has been past the end of the log for so long that the log counts as
    /// truncated.
    pub is_truncated: bool,
    pub accepted: &'a [AcceptedGap],
}

/// What to do with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Read on from the position as it is.
    Continue { next: i64 },
    /// Write this first, then read from its `next_offset`.
    Settle {
        settlement: StartDecision,
        why: &'static str,
    },
    /// Unread records were deleted: stay away until an operator accepts the gap.
    Stop { gap: AcceptedGap },
    /// The position is past the end: the log may be catching up. Look again soon.
    Wait,
}

/// Whether the answer depends on what the log has below the position.
pub fn needs_tail_check(
    position: Option<&Position>,
    topic_id: &TopicId,
    range: OffsetRange,
) -> bool {
    position.is_some_and(|position| {
        !position.topic_id.contradicts(topic_id)
            && (range.low..=range.high).contains(&position.next_offset)
            && (position.next_offset > range.low
                || position
                    .last_applied
                    .as_ref()
                    .is_some_and(|last| last.offset >= range.low))
    })
}

/// Decides where a partition is read from, after design: "take a partition".
pub fn decide(facts: &Facts<'_>) -> Decision {
    let OffsetRange { low, high } = facts.range;
    let Some(position) = facts.position else {
        let settlement = settlement(facts, 1, low, None);
        return Decision::Settle {
            settlement,
            why: "it is taken for the first time",
        };
    };
    let next = position.next_offset;
    let renewed = |why: &'static str| {
        // Whether anything was lost between N and the old end cannot be known.
        let gap = Gap {
            from: next,
            to: None,
            reason: why.into(),
        };
        let settlement = settlement(facts, position.epoch + 1, low, Some(gap));
        Decision::Settle { settlement, why }
    };
    if position.topic_id.contradicts(facts.topic_id) {
        return renewed("the topic was deleted and created again");
    }
    if next < low {
        return deleted_unread(facts, position);
    }
    if next > high {
        return if facts.is_truncated {
            renewed("the log was truncated below the position")
        } else {
            Decision::Wait
        };
    }
    if facts.tail == TailCheck::Different {
        return renewed("the log was rewritten: the last record applied is another one now");
    }
    if !position.topic_id.is_known() && facts.topic_id.is_known() {
        let settlement = settlement(facts, position.epoch, next, None);
        return Decision::Settle {
            settlement,
            why: "its topic id is known now",
        };
    }
    Decision::Continue { next }
}

/// Records between the position and the log's low were deleted before they were read. Only an
/// operator may pass over them, and only over those that were named.
fn deleted_unread(facts: &Facts<'_>, position: &Position) -> Decision {
    let (next, low) = (position.next_offset, facts.range.low);
    let gap = AcceptedGap {
        topic: facts.topic.into(),
        partition: facts.partition,
        from: next,
        to: low - 1,
    };
    // What was deleted since the operator looked is another gap, for another decision.
    let accepted = facts.accepted.iter().find(|accepted| {
        accepted.topic == gap.topic
            && accepted.partition == gap.partition
            && accepted.from == gap.from
            && accepted.to <= gap.to
    });
    let Some(accepted) = accepted else {
        return Decision::Stop { gap };
    };
    let go_on = accepted.to + 1;
    let row = Gap {
        from: next,
        to: Some(go_on),
        reason: "deleted before it was read; accepted by an operator".into(),
    };
    let settlement = settlement(facts, position.epoch, go_on, Some(row));
    Decision::Settle {
        settlement,
        why: "an operator accepted the gap before it",
    }
}

fn settlement(facts: &Facts<'_>, epoch: i32, next_offset: i64, gap: Option<Gap>) -> StartDecision {
    StartDecision {
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
            id: 1,
            topic_id: "one".into(),
            partition: 0,
            epoch: 3,
            next_offset,
            last_applied: Some(LastApplied {
                offset: next_offset - 1,
                digest: [0; 32],
            }),
        }
    }

    fn decided(
        position: Option<&Position>,
        topic_id: &str,
        (low, high): (i64, i64),
        change: impl FnOnce(&mut Facts<'_>),
    ) -> Decision {
        let topic_id = topic_id.into();
        let mut facts = Facts {
            topic: "orders",
            partition: 0,
            position,
            topic_id: &topic_id,
            range: OffsetRange { low, high },
            tail: TailCheck::Same,
            is_truncated: false,
            accepted: &[],
        };
        change(&mut facts);
        decide(&facts)
    }

    fn settled(decision: Decision) -> (i32, i64, Option<(i64, Option<i64>)>) {
        let Decision::Settle { settlement, .. } = decision else {
            panic!("not settled: {decision:?}");
        };
        let gap = settlement.gap.map(|gap| (gap.from, gap.to));
        (settlement.epoch, settlement.next_offset, gap)
    }

    #[test]
    fn a_partition_nobody_has_read_starts_at_its_low() {
        assert_eq!(settled(decided(None, "one", (4, 9), |_| ())), (1, 4, None));
    }

    #[test]
    fn a_position_inside_the_log_goes_on_where_it_stands() {
        for next in [4, 6, 9] {
            let decision = decided(Some(&position(next)), "one", (4, 9), |_| ());
            assert_eq!(decision, Decision::Continue { next });
        }
    }

    #[test]
    fn a_recreated_topic_is_read_from_its_low_whatever_the_offsets_say() {
        for range in [(0, 3), (0, 100), (50, 60)] {
            let decision = decided(Some(&position(9)), "two", range, |_| ());
            assert_eq!(settled(decision), (4, range.0, Some((9, None))));
        }
    }

    #[test]
    fn an_unknown_topic_id_is_not_a_recreated_topic() {
        let decision = decided(Some(&position(6)), "", (4, 9), |_| ());
        assert_eq!(decision, Decision::Continue { next: 6 });
    }

    #[test]
    fn a_rewritten_log_is_replayed() {
        let rewritten = |facts: &mut Facts<'_>| facts.tail = TailCheck::Different;
        let decision = decided(Some(&position(6)), "one", (4, 9), rewritten);
        assert_eq!(settled(decision), (4, 4, Some((6, None))));
    }

    #[test]
    fn deleted_unread_records_stop_the_partition_until_that_gap_is_accepted() {
        let gap: AcceptedGap = "orders/0:6-9".parse().unwrap();
        let stop = decided(Some(&position(6)), "one", (10, 20), |_| ());
        assert_eq!(stop, Decision::Stop { gap: gap.clone() });

        let other = [
            "orders/0:6-10".parse().unwrap(),
            "orders/1:6-9".parse().unwrap(),
        ];
        let still = decided(Some(&position(6)), "one", (10, 20), |facts| {
            facts.accepted = Box::leak(Box::new(other));
        });
        assert_eq!(still, Decision::Stop { gap: gap.clone() });

        let accepted = decided(Some(&position(6)), "one", (10, 20), |facts| {
            facts.accepted = Box::leak(Box::new([gap]));
        });
        assert_eq!(settled(accepted), (3, 10, Some((6, Some(10)))));
    }

    #[test]
    fn a_position_past_the_end_is_waited_for_before_the_log_counts_as_truncated() {
        let waiting = decided(Some(&position(12)), "one", (4, 9), |_| ());
        assert_eq!(waiting, Decision::Wait);
        let given_up = decided(Some(&position(12)), "one", (4, 9), |facts| {
            facts.is_truncated = true;
        });
        assert_eq!(settled(given_up), (4, 4, Some((12, None))));
    }

    #[test]
    fn a_gap_is_written_as_it_is_read() {
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
