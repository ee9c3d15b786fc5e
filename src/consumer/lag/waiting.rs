//! The records of one partition that wait: how many, since when, and whether that is too long. Pure.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::consumer::status::MeasuredLag;

/// Records that wait this long without any progress make the partition unready: within ten seconds,
/// with the two ticks that it takes to see them wait and to see that they still do.
const STALL_TIMEOUT: Duration = Duration::from_secs(7);

/// The records of one partition that wait.
#[derive(Default)]
pub struct Waiting {
    position: WaitingAt,
    /// Since when records wait and nothing moves.
    since: Option<Moment>,
    is_stalled: bool,
    /// The timestamp of the record at an offset, in milliseconds since the epoch; `None` where it has
    /// none or cannot be read.
    pub oldest: Option<(i64, Option<i64>)>,
    /// The position for which that is to be read.
    pub wanted: Option<i64>,
}

/// The offset of the first record that waits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitingAt {
    #[default]
    Unknown,
    /// The group has committed it.
    Committed(i64),
    /// The position in the store.
    Position(i64),
}

/// The moment of a measurement, or of an earlier one.
#[derive(Clone, Copy)]
pub struct Moment {
    pub instant: Instant,
    pub time: Timestamp,
}

impl WaitingAt {
    fn offset(self) -> Option<i64> {
        match self {
            WaitingAt::Unknown => None,
            WaitingAt::Committed(offset) | WaitingAt::Position(offset) => Some(offset),
        }
    }
}

impl Waiting {
    /// The time that waiting may take begins again, unless it is over.
    pub fn restart(&mut self) {
        if !self.is_stalled {
            self.since = None;
        }
    }

    pub fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Compares the first offset that waits with the end of the log.
    pub fn measure(
        &mut self,
        at: WaitingAt,
        end: i64,
        batch: Option<(i64, i64)>,
        is_fresh: bool,
        now: Moment,
    ) -> MeasuredLag {
        let before = std::mem::replace(&mut self.position, at);
        // Only the position in the store makes progress. What is known instead of it may change.
        let both = [before, at].map(|it| matches!(it, WaitingAt::Position(_)));
        let has_moved = both == [true, true] && before != at;
        let records = at.offset().map(|offset| end - offset);
        // A partition that never had a record has none that waits.
        let records = records.or((end == 0).then_some(0));
        self.wanted = None;
        if has_moved || records == Some(0) {
            (self.since, self.is_stalled) = (None, false);
        }
        let mut measured = MeasuredLag {
            next_offset: match at {
                WaitingAt::Position(offset) => Some(offset),
                _ => None,
            },
            records,
            oldest_waiting: records.map(|_| Duration::ZERO),
            stalled: None,
        };
        if records == Some(0) {
            return measured;
        }
        let since = *self.since.get_or_insert(now);
        let waited = now.instant.duration_since(since.instant);
        self.is_stalled |= waited >= STALL_TIMEOUT;
        measured.oldest_waiting = at.offset().map(|offset| {
            let timestamp_ms = self.oldest_timestamp(offset, batch, has_moved, is_fresh);
            let by_timestamp = timestamp_ms.map(|timestamp_ms| {
                let waited_ms = now.time.as_millisecond().saturating_sub(timestamp_ms);
                Duration::from_millis(waited_ms.max(0).unsigned_abs())
            });
            by_timestamp.unwrap_or(waited)
        });
        measured.stalled = self.is_stalled.then(|| describe(records, end, since.time));
        measured
    }

    /// The timestamp of the record at the position. That of the last batch while the position moves:
    /// reading a record each second would cost more than it says.
    fn oldest_timestamp(
        &mut self,
        position: i64,
        batch: Option<(i64, i64)>,
        has_moved: bool,
        is_fresh: bool,
    ) -> Option<i64> {
        match (batch, self.oldest) {
            (Some((start, timestamp_ms)), _) if start == position || has_moved => {
                Some(timestamp_ms)
            }
            (_, Some((offset, timestamp_ms))) if offset == position => timestamp_ms,
            _ => {
                self.wanted = is_fresh.then_some(position);
                None
            }
        }
    }
}

fn describe(records: Option<i64>, end: i64, since: Timestamp) -> String {
    match records {
        Some(records) => format!("{records} records wait, no progress since {since:.0}"),
        None => format!(
            "up to {end} records wait, how many is not known before the position is read; \
             no progress since {since:.0}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition that is measured once a second.
    struct Partition {
        waiting: Waiting,
        now: Moment,
    }

    impl Partition {
        fn new() -> Partition {
            Partition {
                waiting: Waiting::default(),
                now: Moment {
                    instant: Instant::now(),
                    time: Timestamp::UNIX_EPOCH,
                },
            }
        }

        fn tick(&mut self, at: WaitingAt, end: i64) -> MeasuredLag {
            let second = Duration::from_secs(1);
            self.now.instant += second;
            self.now.time += second;
            self.waiting.measure(at, end, None, true, self.now)
        }

        fn is_stalled(&mut self, position: i64, end: i64) -> bool {
            let measured = self.tick(WaitingAt::Position(position), end);
            measured.stalled.is_some()
        }
    }

    #[test]
    fn records_that_wait_without_progress_stall_the_partition_within_nine_seconds() {
        let mut partition = Partition::new();
        assert!(!partition.is_stalled(5, 5));
        let ready = (0..20).take_while(|_| !partition.is_stalled(5, 9)).count();
        assert_eq!(ready, 7);
        let measured = partition.tick(WaitingAt::Position(5), 12);
        assert_eq!(measured.records, Some(7));
        let expected = "7 records wait, no progress since 1970-01-01T00:00:02Z";
        assert_eq!(measured.stalled.as_deref(), Some(expected));
        assert!(!partition.is_stalled(6, 12));
    }

    #[test]
    fn a_partition_that_progresses_is_never_stalled_however_many_records_wait() {
        let mut partition = Partition::new();
        assert!((0..100).all(|position| !partition.is_stalled(position, 1_000_000)));
        // Once all are stored, the next ones have all the time again.
        assert!((0..100).all(|_| !partition.is_stalled(100, 100)));
        assert!(!partition.is_stalled(100, 200));
    }

    #[test]
    fn what_stands_in_for_the_position_is_no_progress() {
        let mut partition = Partition::new();
        for at in [WaitingAt::Unknown, WaitingAt::Committed(3)] {
            for _ in 0..4 {
                partition.tick(at, 9);
            }
        }
        let measured = partition.tick(WaitingAt::Position(4), 9);
        assert_eq!(
            (measured.records, measured.stalled.is_some()),
            (Some(5), true)
        );
    }

    #[test]
    fn an_unknown_lag_is_not_zero() {
        let measured = Partition::new().tick(WaitingAt::Unknown, 9);
        assert_eq!((measured.records, measured.oldest_waiting), (None, None));
        // Without any record there is nothing to know.
        let measured = Partition::new().tick(WaitingAt::Unknown, 0);
        assert_eq!(measured.records, Some(0));
    }

    #[test]
    fn the_oldest_record_is_read_once_for_each_position() {
        let mut partition = Partition::new();
        for _ in 0..2 {
            partition.tick(WaitingAt::Position(5), 9);
            assert_eq!(partition.waiting.wanted, Some(5));
        }
        partition.waiting.oldest = Some((5, Some(1_000)));
        let measured = partition.tick(WaitingAt::Position(5), 9);
        assert_eq!(measured.oldest_waiting, Some(Duration::from_secs(2)));
        assert_eq!(partition.waiting.wanted, None);
        partition.tick(WaitingAt::Position(6), 9);
        assert_eq!(partition.waiting.wanted, Some(6));
    }
}
