//! What became of each record of an order, and so of the order. Pure.

use std::collections::BTreeMap;

use super::{Found, position};
use crate::order::Timestamp;
use crate::pipeline::{PartitionOffset, TopicId};
use crate::store::{StoreTrace, TracedLetter, TracedRow};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stored,
    /// The store has a newer version.
    OlderVersion,
    /// A dead letter that is open.
    Dead,
    /// A dead letter that was resolved.
    Resolved,
    Erased,
    /// The position is before it.
    Waiting,
    /// The position is past it, and it is nowhere.
    Missing,
    /// The database did not answer.
    NotKnown,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In its newest version.
    Stored,
    /// A record of it is not applied yet.
    Waiting,
    /// Its newest record is a dead letter.
    Dead,
    Erased,
    /// The position is past a record of it that is neither stored nor a dead letter.
    Missing,
    /// Nothing is known of it.
    Unknown,
    /// What did not answer could know more.
    Unconfirmed,
}

/// A record of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedRecord {
    pub at: PartitionOffset,
    pub accepted_at: Timestamp,
    pub fate: Fate,
    pub reason: Option<String>,
}

/// The fates of the records that were read, of the stored version's, and of the dead letters, by accept
/// time.
pub(super) fn decide(
    found: Vec<Found>,
    store: Option<&StoreTrace>,
    topic_id: &TopicId,
    topic: &str,
) -> Vec<TracedRecord> {
    let mut records: BTreeMap<PartitionOffset, TracedRecord> = BTreeMap::new();
    for found in found {
        let (fate, reason) = match store {
            Some(store) => fate(&found, store, topic_id),
            None => (Fate::NotKnown, found.refusal.clone()),
        };
        let record = TracedRecord {
            at: found.at,
            accepted_at: Timestamp::from_micros(found.accepted_at_us),
            fate,
            reason,
        };
        records.insert(found.at, record);
    }
    if let Some(store) = store {
        let row = store.row.as_ref();
        if let Some((row, at)) = row.and_then(|row| Some((row, source(row, topic_id)?))) {
            records.insert(
                at,
                TracedRecord {
                    at,
                    accepted_at: row.accepted_at,
                    fate: Fate::Stored,
                    reason: None,
                },
            );
        }
        for letter in store.dead_letters.iter().filter(|it| it.topic == topic) {
            let record = records.entry(letter.at);
            record.or_insert_with(|| of_letter(letter));
        }
    }
    let mut records: Vec<_> = records.into_values().collect();
    records.sort_by_key(|record| (record.accepted_at.0, record.at));
    records
}

/// The record that the row is from, in this incarnation of the topic.
fn source(row: &TracedRow, topic_id: &TopicId) -> Option<PartitionOffset> {
    let source = row.source.as_ref()?;
    let incarnation = source.topic_id.as_ref()?;
    (!incarnation.contradicts(topic_id)).then_some(source.at)
}

fn of_letter(letter: &TracedLetter) -> TracedRecord {
    let (fate, reason) = match &letter.resolution {
        None => (Fate::Dead, letter.reason.clone()),
        Some(resolution) => (Fate::Resolved, format!("{resolution}: {}", letter.reason)),
    };
    TracedRecord {
        at: letter.at,
        accepted_at: letter.accepted_at,
        fate,
        reason: Some(reason),
    }
}

fn fate(found: &Found, store: &StoreTrace, topic_id: &TopicId) -> (Fate, Option<String>) {
    let PartitionOffset { partition, offset } = found.at;
    let next = position(store, partition, topic_id).map(|position| position.next_offset);
    if next.is_none_or(|next| offset >= next) {
        return (Fate::Waiting, Some(waits_for(found, next)));
    }
    if let Some(letter) = store.dead_letters.iter().find(|it| it.at == found.at) {
        let letter = of_letter(letter);
        return (letter.fate, letter.reason);
    }
    let accepted_at_us = Some(found.accepted_at_us);
    let is_erased = store.erasure.is_some_and(|it| accepted_at_us <= it.until.0);
    let (is_stored, is_older) = match &store.row {
        None => (false, false),
        // The rule of the consumer: the offset decides in one incarnation of a partition, else the
        // accept time.
        Some(row) => match source(row, topic_id) {
            Some(at) if at.partition == partition => (at.offset == offset, offset < at.offset),
            _ => (false, accepted_at_us <= row.accepted_at.0),
        },
    };
    let fate = if is_stored {
        Fate::Stored
    } else if is_erased {
        Fate::Erased
    } else if is_older && found.refusal.is_none() {
        Fate::OlderVersion
    } else {
        return (Fate::Missing, found.refusal.clone());
    };
    (fate, None)
}

/// What a record waits for. `next` is the position of its partition.
fn waits_for(found: &Found, next: Option<i64>) -> String {
    let waits = match next.map(|next| found.at.offset - next) {
        None => "no consumer has read its partition".into(),
        Some(0) => "it is the next one to be applied".into(),
        Some(before) => format!("{before} offsets before it are to be applied first"),
    };
    match &found.refusal {
        Some(refusal) => format!("{waits}; it is no order: {refusal}"),
        None => waits,
    }
}

/// What the order is.
pub(super) fn state(
    records: &[TracedRecord],
    store: Option<&StoreTrace>,
    is_confirmed: bool,
) -> State {
    let has = |fate: Fate| records.iter().any(|record| record.fate == fate);
    if has(Fate::Waiting) {
        return State::Waiting;
    }
    if has(Fate::Missing) {
        return State::Missing;
    }
    let Some(store) = store.filter(|_| is_confirmed) else {
        return State::Unconfirmed;
    };
    let counts = |it: &&TracedRecord| matches!(it.fate, Fate::Dead | Fate::Stored);
    let newest = records.iter().rfind(counts).map(|newest| newest.fate);
    match (&store.row, newest) {
        (_, Some(Fate::Dead)) => State::Dead,
        (Some(_), _) => State::Stored,
        (None, _) if store.erasure.is_some() => State::Erased,
        (None, _) if has(Fate::Resolved) => State::Dead,
        (None, _) => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Position, TracedErasure, TracedSource};

    fn found(offset: i64) -> Found {
        Found {
            at: PartitionOffset::new(0, offset),
            accepted_at_us: offset,
            refusal: None,
        }
    }

    fn store(next_offset: i64, row_offset: Option<i64>) -> StoreTrace {
        let position = Position {
            topic_id: "t".into(),
            epoch: 1,
            next_offset,
            ..Position::default()
        };
        let row = row_offset.map(|offset| TracedRow {
            source: Some(TracedSource {
                at: PartitionOffset::new(0, offset),
                topic_id: Some("t".into()),
            }),
            accepted_at: Timestamp(Some(offset)),
        });
        StoreTrace {
            positions: vec![position],
            row,
            ..StoreTrace::default()
        }
    }

    fn fates(offsets: &[i64], store: &StoreTrace) -> (Vec<Fate>, State) {
        let found = offsets.iter().map(|offset| found(*offset)).collect();
        let records = decide(found, Some(store), &"t".into(), "orders");
        let state = state(&records, Some(store), true);
        (records.iter().map(|record| record.fate).collect(), state)
    }

    #[test]
    fn each_record_has_a_fate_and_one_that_waits_or_is_missing_decides() {
        use Fate::{Missing, OlderVersion, Stored, Waiting};

        for (next, row, expected, state) in [
            (
                9,
                Some(5),
                [OlderVersion, OlderVersion, Stored],
                State::Stored,
            ),
            (5, Some(3), [OlderVersion, Stored, Waiting], State::Waiting),
            (9, Some(3), [OlderVersion, Stored, Missing], State::Missing),
            (9, None, [Missing, Missing, Missing], State::Missing),
        ] {
            let fates = fates(&[1, 3, 5], &store(next, row));
            assert_eq!(fates, (expected.to_vec(), state), "{next} {row:?}");
        }
        assert_eq!(fates(&[], &store(9, None)), (vec![], State::Unknown));
    }

    #[test]
    fn an_erased_order_stays_erased_until_it_is_sent_again() {
        let mut erased = store(9, None);
        erased.erasure = Some(TracedErasure {
            until: Timestamp(Some(4)),
            erased_at: Timestamp(Some(4)),
        });
        assert_eq!(fates(&[3], &erased), (vec![Fate::Erased], State::Erased));
        erased.row = store(9, Some(5)).row;
        let again = (vec![Fate::Erased, Fate::Stored], State::Stored);
        assert_eq!(fates(&[3, 5], &erased), again);
    }

    #[test]
    fn a_dead_letter_after_the_stored_version_is_what_counts() {
        let mut dead = store(9, Some(3));
        dead.dead_letters = vec![TracedLetter {
            topic: "orders".into(),
            at: PartitionOffset::new(0, 5),
            accepted_at: Timestamp(Some(5)),
            reason: "no".into(),
            resolution: None,
        }];
        let expected = (vec![Fate::Stored, Fate::Dead], State::Dead);
        assert_eq!(fates(&[], &dead), expected);
        dead.dead_letters[0].resolution = Some("discarded".into());
        let expected = (vec![Fate::Stored, Fate::Resolved], State::Stored);
        assert_eq!(fates(&[], &dead), expected);
    }

    #[test]
    fn nothing_is_confirmed_while_a_part_is_away() {
        let records = decide(vec![found(3)], None, &"t".into(), "orders");
        assert_eq!(records[0].fate, Fate::NotKnown);
        assert_eq!(state(&records, None, false), State::Unconfirmed);
    }
}
