//! Whether anything is lost: every record of the log below the positions of one snapshot of the store
//! is accounted for, and every row that names a record of the log has it.
//!
//! The snapshot is read first and let go, then the log up to its positions, so neither keeps the other
//! waiting, and records that come meanwhile do not count. Facts of one order are brought together by
//! `buckets`, judged by `story`. 100 MB are enough for ten million records; beside that each run of dead
//! letters takes 16 bytes, and each erasure 40.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::PathBuf;

use self::buckets::Buckets;
use self::facts::{Excuse, Fact, RecordFact, RowFact, RowSource};
use self::offset_ranges::OffsetRanges;
use self::story::{Fates, Story, Verdict};
use super::reading::read_all;
use crate::event_log::{EventLog, LogError, OffsetRange};
use crate::order::BorrowedOrder;
use crate::pipeline::{PartitionOffset, Record};
use crate::store::{
    Accounted, Accounting, OrderSource, Position, SourcedRow, StoreError, UidDigest, uid_digest,
};

pub use self::buckets::SpillError;
pub use self::report::{Findings, MAX_FINDINGS, Missing, PartitionFault, Report, WithoutRecord};
pub use self::story::Why;

mod buckets;
mod facts;
mod offset_ranges;
mod report;
mod story;

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("reading the database")]
    Store(#[from] StoreError),
    #[error("reading the log")]
    Log(#[from] LogError),
    #[error("keeping what was read")]
    Spill(#[from] SpillError),
}

/// What is verified.
pub struct Scope<'a> {
    pub log: &'a dyn EventLog,
    pub topic: &'a str,
    /// Records from the first one at or after this time on; milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// For a file without a name, where there are many orders.
    pub temporary_folder: PathBuf,
}

/// How much is done, in offsets of the log.
pub trait Watch {
    fn total(&mut self, offsets: u64);
    fn passed(&mut self, offsets: u64);
}

/// Verifies a topic. Blocks for about a second for each 100,000 records.
pub fn verify(
    scope: &Scope<'_>,
    store: &mut (impl Accounting + ?Sized),
    watch: &mut dyn Watch,
) -> Result<Report, VerifyError> {
    let before = scope.log.topic(scope.topic)?;
    let records: i64 = before.highs.iter().sum();
    let folder = scope.temporary_folder.clone();
    let mut held = Held::new(Buckets::new(folder, records.unsigned_abs() * 2));
    held.read(store, &before.log_id)?;
    // After the snapshot: every offset that it holds is below these ends.
    let topic = scope.log.topic(scope.topic)?;
    let mut report = Report::default();
    let mut partitions = BTreeMap::new();
    let starts = scope
        .since_ms
        .map(|since_ms| scope.log.offsets_since(scope.topic, since_ms))
        .transpose()?;
    for (partition, _) in (0..).zip(&topic.highs) {
        let range = scope.log.range(scope.topic, partition)?;
        let since = starts.as_ref().and_then(|it| it.get(partition as usize));
        let position = held.positions.iter().find(|it| it.partition == partition);
        let position = position.filter(|it| !it.topic_id.contradicts(&topic.topic_id));
        let (start, end) = span(range, position, partition, &mut report);
        let start = since.map_or(start, |since| start.max(*since)).min(end);
        partitions.insert(partition, Span { start, end, range });
    }
    let left = partitions
        .iter()
        .map(|(partition, span)| (*partition, (span.start, span.end)));
    let left: BTreeMap<_, _> = left.collect();
    let offsets = left
        .values()
        .map(|(start, end)| (end - start).unsigned_abs());
    watch.total(offsets.sum());
    let mut failed = None;
    read_all(scope.log, scope.topic, left, None, |record, passed| {
        watch.passed(passed);
        if failed.is_none() {
            failed = held.add_record(&record, &mut report).err();
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let after = scope.log.topic_id(scope.topic)?;
    if after.contradicts(&topic.topic_id) {
        let message = format!(
            "topic `{}` was recreated meanwhile: verify it again",
            scope.topic
        );
        return Err(LogError::Refused(message).into());
    }
    // Records deleted meanwhile: rows may name them.
    for (partition, span) in &mut partitions {
        span.start = span
            .start
            .max(scope.log.range(scope.topic, *partition)?.low);
    }
    held.judge(&partitions, &mut report)?;
    Ok(report)
}

/// The offsets of a partition that are verified, and those it holds.
struct Span {
    start: i64,
    end: i64,
    range: OffsetRange,
}

impl Span {
    /// Whether a row may not name this offset unless there is its record.
    fn needs_record(&self, offset: i64) -> bool {
        (self.start..self.end).contains(&offset) || offset >= self.range.high
    }
}

/// The offsets from the low to the position. Adds to the report what is wrong with the position, and
/// what waits.
fn span(
    range: OffsetRange,
    position: Option<&Position>,
    partition: i32,
    report: &mut Report,
) -> (i64, i64) {
    let OffsetRange { low, high } = range;
    let next = position.map_or(low, |position| position.next_offset);
    let fault = if next > high {
        Some(PartitionFault::PositionPastEnd {
            position: next,
            end: high,
        })
    } else if next < low {
        Some(PartitionFault::DeletedUnread {
            from: next,
            to: low,
        })
    } else {
        None
    };
    report
        .partitions
        .extend(fault.map(|fault| (partition, fault)));
    let end = next.clamp(low, high);
    report.waiting += (high - end).unsigned_abs();
    (low, end)
}

/// What one snapshot of the store says, and the facts of the orders.
struct Held {
    positions: Vec<Position>,
    /// The partition and the epoch of each position row.
    by_id: HashMap<i64, (i32, i32)>,
    gaps: OffsetRanges,
    dead_letters: OffsetRanges,
    erasures: HashMap<UidDigest, i64>,
    buckets: Buckets,
}

impl Held {
    fn new(buckets: Buckets) -> Held {
        Held {
            positions: Vec::new(),
            by_id: HashMap::new(),
            gaps: OffsetRanges::default(),
            dead_letters: OffsetRanges::default(),
            erasures: HashMap::new(),
            buckets,
        }
    }

    fn read(
        &mut self,
        store: &mut (impl Accounting + ?Sized),
        log_id: &str,
    ) -> Result<(), VerifyError> {
        let mut failed = None;
        store.account(log_id, &mut |accounted| match self.add(accounted) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn add(&mut self, accounted: Accounted<'_>) -> Result<(), SpillError> {
        match accounted {
            Accounted::Position(position) => {
                let incarnation = (position.partition, position.epoch);
                self.by_id.insert(position.id, incarnation);
                self.positions.push(position);
            }
            Accounted::Gap {
                partition,
                from,
                to,
            } => self.gaps.add(partition, from, to),
            Accounted::DeadLetter(PartitionOffset { partition, offset }) => {
                self.dead_letters.add(partition, offset, offset + 1);
            }
            Accounted::Erasure(erasure) => {
                let until_us = erasure.erased_until_us;
                self.erasures.insert(erasure.uid_sha256, until_us);
            }
            Accounted::Order(row) => {
                let fact = Fact::Row(self.row_fact(&row));
                self.buckets.add(row.order_uid.as_bytes(), fact)?;
            }
        }
        Ok(())
    }

    fn row_fact(&self, row: &SourcedRow<'_>) -> RowFact {
        let source = match row.source {
            None => RowSource::Unknown,
            Some(OrderSource {
                position_id,
                epoch,
                offset,
            }) => match self.by_id.get(&position_id) {
                Some((partition, current)) if *current == epoch => {
                    RowSource::Here(PartitionOffset::new(*partition, offset))
                }
                _ => RowSource::Elsewhere,
            },
        };
        RowFact {
            source,
            accepted_at_us: row.accepted_at_us,
        }
    }

    fn add_record(&mut self, record: &Record, report: &mut Report) -> Result<(), SpillError> {
        let at = record.at();
        report.records += 1;
        if self.dead_letters.contains(at.partition, at.offset) {
            report.dead_letters += 1;
            return Ok(());
        }
        let accepted_at_us = record.accepted_at_us();
        let in_gap = self.gaps.contains(at.partition, at.offset);
        let document = record.value.as_deref();
        let order_uid = match document.map(BorrowedOrder::decode) {
            Some(Ok(order)) => {
                let uid = order.order_uid.as_bytes();
                let excuse = if self.is_erased(uid, accepted_at_us) {
                    Some(Excuse::Erased)
                } else {
                    in_gap.then_some(Excuse::InGap)
                };
                let fact = RecordFact {
                    at,
                    accepted_at_us,
                    excuse,
                };
                return self.buckets.add(uid, Fact::Record(fact));
            }
            Some(Err(refusal)) => refusal.order_uid,
            None => None,
        };
        // No order: a dead letter, unless the order that it would be was erased.
        let key = record.key.as_deref();
        let mut uids = order_uid
            .as_deref()
            .map(str::as_bytes)
            .into_iter()
            .chain(key);
        if uids.any(|uid| self.is_erased(uid, accepted_at_us)) {
            report.erased += 1;
        } else if in_gap {
            report.in_gaps += 1;
        } else {
            report.missing.add(Missing {
                at,
                order_uid,
                why: Why::NoDeadLetter,
            });
        }
        Ok(())
    }

    fn is_erased(&self, uid: &[u8], accepted_at_us: i64) -> bool {
        !self.erasures.is_empty()
            && self
                .erasures
                .get(&uid_digest(uid))
                .is_some_and(|until_us| accepted_at_us <= *until_us)
    }

    fn judge(
        self,
        partitions: &BTreeMap<i32, Span>,
        report: &mut Report,
    ) -> Result<(), SpillError> {
        let letters = self.dead_letters;
        self.buckets.fold(Story::add, |uid, story: Story| {
            let Verdict {
                fates,
                missing,
                without_record,
            } = story.judge();
            let Fates {
                stored,
                older_versions,
                in_gaps,
                erased,
            } = fates;
            report.stored += stored;
            report.older_versions += older_versions;
            report.in_gaps += in_gaps;
            report.erased += erased;
            let order_uid = || String::from_utf8_lossy(uid).into_owned();
            for (at, why) in missing {
                report.missing.add(Missing {
                    at,
                    order_uid: Some(order_uid()),
                    why,
                });
            }
            // A dead letter that was retried is stored under its own offset.
            let without_record = without_record.filter(|at| {
                let span = partitions.get(&at.partition);
                span.is_some_and(|span| span.needs_record(at.offset))
                    && !letters.contains(at.partition, at.offset)
            });
            if let Some(names) = without_record {
                report.without_record.add(WithoutRecord {
                    order_uid: order_uid(),
                    names,
                });
            }
        })?;
        report.missing.listed.sort_by_key(|missing| missing.at);
        report.without_record.listed.sort_by_key(|row| row.names);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_verified_up_to_the_position_and_a_position_outside_the_log_is_a_fault() {
        let range = OffsetRange { low: 10, high: 20 };
        let past_end = PartitionFault::PositionPastEnd {
            position: 21,
            end: 20,
        };
        let deleted = PartitionFault::DeletedUnread { from: 7, to: 10 };
        for (next, span_of, waiting, fault) in [
            (Some(15), (10, 15), 5, None),
            (Some(20), (10, 20), 0, None),
            (None, (10, 10), 10, None),
            (Some(21), (10, 20), 0, Some(past_end)),
            (Some(7), (10, 10), 10, Some(deleted)),
        ] {
            let position = next.map(|next_offset| Position {
                next_offset,
                ..Position::default()
            });
            let mut report = Report::default();
            let found = span(range, position.as_ref(), 0, &mut report);
            assert_eq!((found, report.waiting), (span_of, waiting), "{next:?}");
            let faults: Vec<_> = report.partitions.iter().map(|(_, fault)| *fault).collect();
            assert_eq!(faults, Vec::from_iter(fault), "{next:?}");
        }
    }
}
