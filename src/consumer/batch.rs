//! Turns records into a batch: decoded, validated, deduplicated and sorted. Pure.
//!
//! Every record of the range becomes an order or a dead letter, none is skipped. Inside a batch the
//! highest offset of a uid wins: PostgreSQL refuses to upsert a row twice in one statement, and an
//! older version would be overwritten at once anyway.

use std::collections::HashMap;

use uuid::Uuid;

use crate::order::Order;
use crate::pipeline::{LastApplied, Record};
use crate::store::{Batch, DeadLetter, Gap, SourcedOrder};

/// The partition that a batch is for, and the claim it is applied under.
#[derive(Clone, Debug)]
pub struct Target {
    pub topic: String,
    pub partition: i32,
    pub position_id: i64,
    pub epoch: i32,
    pub owner: Uuid,
}

/// Turns records in offset order, all at or above `start`, into the batch `start..last + 1`. Holes
/// between them must be listed in `gaps`.
pub fn build(target: &Target, start: i64, records: &[Record], gaps: Vec<Gap>) -> Batch {
    let mut orders: Vec<SourcedOrder> = Vec::with_capacity(records.len());
    let mut newest: HashMap<String, usize> = HashMap::with_capacity(records.len());
    let mut dead_letters = Vec::new();
    for record in records {
        match decode(record) {
            Ok(order) => match newest.get(&order.order.order_uid) {
                Some(at) => {
                    orders[*at] = SourcedOrder {
                        supersedes: true,
                        ..order
                    };
                }
                None => {
                    newest.insert(order.order.order_uid.clone(), orders.len());
                    orders.push(order);
                }
            },
            Err(letter) => dead_letters.push(*letter),
        }
    }
    // All writers use the same order, so that two of them cannot deadlock.
    orders.sort_unstable_by(|one, other| one.order.order_uid.cmp(&other.order.order_uid));
    Batch {
        position_id: target.position_id,
        owner: target.owner,
        epoch: target.epoch,
        topic: target.topic.clone(),
        partition: target.partition,
        start,
        end: records.last().map_or(start, |record| record.offset + 1),
        last_applied: records.last().map(LastApplied::of),
        orders,
        dead_letters,
        gaps,
    }
}

/// A batch that moves the position over offsets without a readable record.
pub fn empty(target: &Target, start: i64, end: i64) -> Batch {
    let gaps = hole(start, end).into_iter().collect();
    Batch {
        end,
        ..build(target, start, &[], gaps)
    }
}

/// The row for offsets from `from` to `to` that hold no record. None for a single one: every transaction
/// ends with a marker, and a transactional producer would fill the table with them.
pub fn hole(from: i64, to: i64) -> Option<Gap> {
    (to - from > 1).then(|| Gap {
        from,
        to: Some(to),
        reason: "no record there: transaction markers, aborted records or compaction".into(),
    })
}

/// Whether an order of the batch supersedes another of its records, so that smaller batches could
/// separate them.
pub fn holds_superseded(batch: &Batch) -> bool {
    batch.orders.iter().any(|sourced| sourced.supersedes)
}

fn decode(record: &Record) -> Result<SourcedOrder, Box<DeadLetter>> {
    let accepted_at_us = record.accepted_at_us();
    let dead = |order_uid, reason| {
        Box::new(DeadLetter {
            offset: record.offset,
            key: record.key.clone(),
            payload: record.value.clone(),
            accepted_at_us,
            order_uid,
            reason,
        })
    };
    let Some(value) = &record.value else {
        return Err(dead(None, "the record has no value (a tombstone)".into()));
    };
    match Order::decode(value) {
        Ok(order) => Ok(SourcedOrder {
            order,
            offset: record.offset,
            accepted_at_us,
            supersedes: false,
        }),
        Err(refusal) => Err(dead(refusal.order_uid.clone(), refusal.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = include_str!("../../examples/test_order.json");

    fn target() -> Target {
        Target {
            topic: "orders".into(),
            partition: 2,
            position_id: 7,
            epoch: 1,
            owner: Uuid::nil(),
        }
    }

    fn record(offset: i64, value: Option<String>) -> Record {
        Record {
            offset,
            value: value.map(Into::into),
            ..Record::default()
        }
    }

    fn order(uid: &str) -> Option<String> {
        Some(ORDER.replacen("b563feb7b2b84b6test", uid, 1))
    }

    #[test]
    fn every_record_is_an_order_or_a_dead_letter_and_the_last_version_wins() {
        let records = [
            record(5, order("b")),
            record(6, Some("{".into())),
            record(7, order("a")),
            record(8, None),
            record(9, order("b")),
        ];
        let batch = build(&target(), 5, &records, Vec::new());
        let orders: Vec<_> = batch
            .orders
            .iter()
            .map(|sourced| (sourced.order.order_uid.as_str(), sourced.offset))
            .collect();
        assert_eq!(orders, [("a", 7), ("b", 9)]);
        let dead: Vec<_> = batch
            .dead_letters
            .iter()
            .map(|letter| letter.offset)
            .collect();
        assert_eq!(dead, [6, 8]);
        assert_eq!((batch.start, batch.end), (5, 10));
        assert_eq!(batch.last_applied, Some(LastApplied::of(&records[4])));
    }

    #[test]
    fn a_refused_batch_is_only_made_smaller_where_that_separates_two_versions() {
        // A hole before a single record makes a long range with nothing to separate: smaller batches
        // would be tried for ever, without a pause.
        let gap = Gap {
            from: 1,
            to: Some(9),
            reason: "markers".into(),
        };
        let holds = |records: &[Record], gaps| {
            let batch = build(&target(), 1, records, gaps);
            holds_superseded(&batch)
        };
        assert!(!holds(&[record(9, order("a"))], vec![gap]));
        let versions = [record(1, order("a")), record(2, order("a"))];
        assert!(holds(&versions, Vec::new()));
        let different = [record(1, order("a")), record(2, order("b"))];
        assert!(!holds(&different, Vec::new()));
    }
}
