//! What became of the records of one order: the rule by which nothing is lost. Pure.
//!
//! # Invariants
//!
//! - The rule is the consumer's: inside one incarnation of a partition the offset decides between two
//!   versions, otherwise the accept time, a tie going to the record that is applied; a row without a
//!   source is older than any record.
//! - In each partition only the newest record of an order can be missing: it replaces the others.

use super::facts::{Excuse, Fact, RecordFact, RowFact, RowSource};
use crate::pipeline::PartitionOffset;

/// Everything that is known of one order. Its row must be added before its records.
#[derive(Debug, Default)]
pub(super) struct Story {
    row: Option<RowFact>,
    /// Whether the log has the record that the row names.
    row_has_record: bool,
    fates: Fates,
    /// The newest record of each partition that must be stored.
    newest: Vec<Newest>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    at: PartitionOffset,
    accepted_at_us: i64,
    /// Of all records of the partition.
    latest_accepted_at_us: i64,
}

/// How many records of an order are accounted for, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) stored: u64,
    pub(super) older_versions: u64,
    pub(super) in_gaps: u64,
    pub(super) erased: u64,
}

/// Why a record is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    NotStored,
    OlderVersionStored,
    /// The row names no record: another program wrote it.
    StoredByOther,
    /// It is no order, and there is no dead letter of it.
    NoDeadLetter,
}

/// What became of an order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) fates: Fates,
    pub(super) missing: Vec<(PartitionOffset, Why)>,
    /// The record that the row names, when that was not found.
    pub(super) without_record: Option<PartitionOffset>,
}

impl Story {
    pub(super) fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Row(row) => self.row = Some(row),
            Fact::Record(record) => self.add_record(record),
        }
    }

    fn row_source(&self) -> Option<PartitionOffset> {
        match self.row?.source {
            RowSource::Here(at) => Some(at),
            RowSource::Unknown | RowSource::Elsewhere => None,
        }
    }

    fn add_record(&mut self, record: RecordFact) {
        let RecordFact {
            at, accepted_at_us, ..
        } = record;
        let source = self.row_source();
        if source == Some(at) {
            self.row_has_record = true;
        }
        match record.excuse {
            Some(_) if source == Some(at) => self.fates.stored += 1,
            Some(Excuse::Erased) => self.fates.erased += 1,
            Some(Excuse::InGap) => self.fates.in_gaps += 1,
            None => {
                let mut newest = self.newest.iter_mut();
                let Some(newest) = newest.find(|newest| newest.at.partition == at.partition) else {
                    self.newest.push(Newest {
                        at,
                        accepted_at_us,
                        latest_accepted_at_us: accepted_at_us,
                    });
                    return;
                };
                // What it replaces.
                match source == Some(newest.at) {
                    true => self.fates.stored += 1,
                    false => self.fates.older_versions += 1,
                }
                *newest = Newest {
                    at,
                    accepted_at_us,
                    latest_accepted_at_us: newest.latest_accepted_at_us.max(accepted_at_us),
                };
            }
        }
    }

    pub(super) fn judge(self) -> Verdict {
        let mut verdict = Verdict {
            fates: self.fates,
            without_record: self.row_source().filter(|_| !self.row_has_record),
            missing: Vec::new(),
        };
        for newest in &self.newest {
            match self.why_missing(newest) {
                Some(why) => verdict.missing.push((newest.at, why)),
                None if self.row_source() == Some(newest.at) => verdict.fates.stored += 1,
                None => verdict.fates.older_versions += 1,
            }
        }
        verdict
    }

    fn why_missing(&self, newest: &Newest) -> Option<Why> {
        let Some(row) = self.row else {
            return Some(Why::NotStored);
        };
        let is_replaced = match row.source {
            RowSource::Unknown => return Some(Why::StoredByOther),
            RowSource::Here(at) if at.partition == newest.at.partition => {
                at.offset >= newest.at.offset
            }
            RowSource::Here(_) | RowSource::Elsewhere => {
                row.accepted_at_us.is_some_and(|stored| stored >= newest.accepted_at_us)
                    // The stored version may have replaced, by its offset, one that was newer than
                    // both.
                    || self.newest.iter().any(|other| {
                        other.at.partition != newest.at.partition
                            && other.latest_accepted_at_us >= newest.accepted_at_us
                    })
            }
        };
        (!is_replaced).then_some(Why::OlderVersionStored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source: RowSource, accepted_at_us: i64) -> Fact {
        Fact::Row(RowFact {
            source,
            accepted_at_us: Some(accepted_at_us),
        })
    }

    fn here(partition: i32, offset: i64) -> RowSource {
        RowSource::Here(PartitionOffset::new(partition, offset))
    }

    fn record(partition: i32, offset: i64, accepted_at_us: i64) -> Fact {
        excused(partition, offset, accepted_at_us, None)
    }

    fn excused(partition: i32, offset: i64, accepted_at_us: i64, excuse: Option<Excuse>) -> Fact {
        Fact::Record(RecordFact {
            at: PartitionOffset::new(partition, offset),
            accepted_at_us,
            excuse,
        })
    }

    fn judge(facts: &[Fact]) -> Verdict {
        let mut story = Story::default();
        facts.iter().for_each(|fact| story.add(*fact));
        story.judge()
    }

    /// Stored, older versions, in gaps, erased; and the offsets that are missing.
    fn counts(facts: &[Fact]) -> ([u64; 4], Vec<i64>) {
        let verdict = judge(facts);
        let Fates {
            stored,
            older_versions,
            in_gaps,
            erased,
        } = verdict.fates;
        let missing = verdict.missing.iter().map(|(at, _)| at.offset).collect();
        ([stored, older_versions, in_gaps, erased], missing)
    }

    #[test]
    fn the_newest_record_is_stored_and_the_others_are_older_versions() {
        let records = [record(0, 3, 30), record(0, 5, 20), record(0, 9, 10)];
        let of = |offset| [&[row(here(0, offset), 10)], &records[..]].concat();
        assert_eq!(counts(&of(9)), ([1, 2, 0, 0], vec![]));
        assert_eq!(counts(&of(5)), ([1, 1, 0, 0], vec![9]));
        assert_eq!(counts(&of(3)), ([1, 1, 0, 0], vec![9]));
        assert_eq!(counts(&records), ([0, 2, 0, 0], vec![9]));
        assert_eq!(judge(&of(5)).missing[0].1, Why::OlderVersionStored);
        assert_eq!(judge(&records).missing[0].1, Why::NotStored);
    }

    #[test]
    fn across_partitions_and_incarnations_the_accept_time_decides_and_a_tie_is_no_loss() {
        for (source, accepted_at_us, missing) in [
            (RowSource::Elsewhere, 100, vec![]),
            (RowSource::Elsewhere, 99, vec![7]),
            (here(1, 2), 100, vec![]),
            (here(1, 2), 99, vec![7]),
        ] {
            let facts = [row(source, accepted_at_us), record(0, 7, 100)];
            assert_eq!(counts(&facts).1, missing, "{source:?} {accepted_at_us}");
        }
        // 1@1 replaced 0@7 by its accept time, then 1@2 replaced it by its offset.
        let facts = [
            row(here(1, 2), 50),
            record(0, 7, 100),
            record(1, 1, 150),
            record(1, 2, 50),
        ];
        assert_eq!(counts(&facts), ([1, 2, 0, 0], vec![]));
    }

    #[test]
    fn a_row_of_another_program_is_older_than_any_record() {
        let facts = [row(RowSource::Unknown, 900), record(0, 7, 100)];
        assert_eq!(
            judge(&facts).missing,
            [(PartitionOffset::new(0, 7), Why::StoredByOther)]
        );
    }

    #[test]
    fn erased_records_and_those_in_gaps_are_not_missing() {
        let erased = excused(0, 3, 10, Some(Excuse::Erased));
        let in_gap = excused(0, 4, 20, Some(Excuse::InGap));
        assert_eq!(counts(&[erased, in_gap]), ([0, 0, 1, 1], vec![]));
        // An order that was sent again after it was erased.
        let facts = [row(here(0, 5), 30), erased, record(0, 5, 30)];
        assert_eq!(counts(&facts), ([1, 0, 0, 1], vec![]));
        let facts = [row(here(0, 3), 10), erased];
        assert_eq!(judge(&facts).without_record, None);
    }

    #[test]
    fn a_row_that_names_a_record_of_another_order_is_reported() {
        let facts = [row(here(0, 8), 10), record(0, 7, 10)];
        let verdict = judge(&facts);
        assert_eq!(verdict.without_record, Some(PartitionOffset::new(0, 8)));
        assert_eq!(verdict.missing, []);
        assert_eq!(judge(&[row(RowSource::Elsewhere, 10)]).without_record, None);
    }
}
