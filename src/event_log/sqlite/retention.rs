//! Deletes records that are over a topic's limits, and never one that no consumer has stored.
//!
//! Owns the rule and one step of at most a thousand records, so that appends are not kept waiting;
//! the topic's writer takes the steps. In a topic that ever held an order only records below the
//! consumer's position (`consumer_positions`) are deleted, and without one none. `low` moves,
//! `next_offset` never does, however much is deleted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Result as SqlResult};

use super::tables::{self, Counters, Head};
use crate::sqlite_file::{FileError, OpenFile};

const STEP_RECORDS: i64 = 1_000;
const INTERVAL: Duration = Duration::from_secs(60);
const PAUSE_BETWEEN_STEPS: Duration = Duration::from_millis(20);

/// When the next step is due.
#[derive(Default)]
pub(super) struct Retention {
    next: Option<Instant>,
}

impl Retention {
    pub(super) fn due_in(&self, now: Instant) -> Duration {
        self.next
            .map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due_in(now).is_zero()
    }

    /// Records that a step was taken and deleted so many records.
    pub(super) fn stepped(&mut self, now: Instant, deleted: usize) {
        self.next = Some(
            now + if deleted > 0 {
                PAUSE_BETWEEN_STEPS
            } else {
                INTERVAL
            },
        );
    }
}

/// What a topic keeps at most.
struct Limits {
    /// Records with an earlier timestamp are too old.
    since_ms: i64,
    bytes: i64,
}

/// Deletes up to a thousand records that are over the topic's limits; returns how many.
pub(super) fn step(
    open: &OpenFile,
    head: &Head,
    stored: &BTreeMap<i32, i64>,
    now_ms: i64,
) -> Result<usize, FileError> {
    let (ms, bytes) = (head.limit("retention.ms"), head.limit("retention.bytes"));
    if ms.is_none() && bytes.is_none() {
        return Ok(0);
    }
    let limits = Limits {
        since_ms: ms.map_or(i64::MIN, |ms| now_ms.saturating_sub(ms)),
        bytes: bytes.unwrap_or(i64::MAX),
    };
    open.run(|connection| {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let deleted = delete_expired(connection, head.holds_durable, &limits, stored);
        match deleted {
            Ok(deleted) if deleted > 0 => connection.execute_batch("COMMIT")?,
            _ => connection.execute_batch("ROLLBACK")?,
        }
        deleted
    })
}

fn delete_expired(
    connection: &Connection,
    holds_durable: bool,
    limits: &Limits,
    stored: &BTreeMap<i32, i64>,
) -> SqlResult<usize> {
    let mut deleted = 0;
    for (partition, counters) in (0..).zip(tables::counters(connection)?) {
        // What no consumer has stored is kept, however old: a 202 was given for it.
        let end = if holds_durable {
            stored.get(&partition).copied().unwrap_or(0)
        } else {
            counters.next
        };
        let end = end
            .min(counters.next)
            .min(counters.low + STEP_RECORDS - deleted);
        let (records, bytes) = expired(connection, partition, counters, end, limits)?;
        if records > 0 {
            let low = counters.low + records;
            connection.execute(
                "DELETE FROM records WHERE id >= ?1 AND id < ?2",
                [
                    tables::id(partition, counters.low),
                    tables::id(partition, low),
                ],
            )?;
            connection.execute(
                "UPDATE partitions SET low = ?2, bytes = bytes - ?3 WHERE partition = ?1",
                (partition, low, bytes),
            )?;
            deleted += records;
        }
    }
    Ok(deleted as usize)
}

/// How many records from low on, and of how many bytes, are too old or too many: up to `end` and to
/// the first that is neither.
fn expired(
    connection: &Connection,
    partition: i32,
    counters: Counters,
    end: i64,
    limits: &Limits,
) -> SqlResult<(i64, i64)> {
    let (mut records, mut bytes) = (0, 0);
    if end <= counters.low {
        return Ok((records, bytes));
    }
    let mut statement = connection.prepare_cached(
        "SELECT timestamp_ms, ifnull(length(key), 0) + ifnull(length(value), 0)
            + ifnull(length(headers), 0)
         FROM records WHERE id >= ?1 AND id < ?2 ORDER BY id",
    )?;
    let range = [
        tables::id(partition, counters.low),
        tables::id(partition, end),
    ];
    for row in statement.query_map(range, |row| row.try_into())? {
        let (timestamp_ms, size): (i64, i64) = row?;
        if timestamp_ms >= limits.since_ms && counters.bytes - bytes <= limits.bytes {
            break;
        }
        records += 1;
        bytes += size;
    }
    Ok((records, bytes))
}

#[cfg(test)]
mod tests {
    use super::super::topic::Topic;
    use super::super::{Reach, SqliteLog, now_ms};
    use super::*;
    use crate::event_log::{Durability, EventLog, NewRecord, TopicAdmin, TopicSpec};
    use crate::sqlite_file::Access;

    /// A topic of ten records of three bytes, appended just now.
    fn topic(durability: Durability, settings: [(&str, &str); 1]) -> (tempfile::TempDir, OpenFile) {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(folder.path(), Reach::ThisProcess);
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let spec = TopicSpec {
            name: "orders".into(),
            partitions: 1,
            replication_factor: 1,
            settings: settings.into(),
        };
        log.create_topics(&[spec]).unwrap();
        for _ in 0..10 {
            let record = NewRecord {
                topic: "orders",
                key: b"key",
                value: None,
                headers: &[],
            };
            log.append(durability, record).unwrap().wait().unwrap();
        }
        drop(log);
        let topic = Topic::new(folder.path(), "orders");
        let open = topic.open(Access::Write).unwrap();
        (folder, open)
    }

    /// The offsets that are left when so much time has passed and so much was stored.
    fn left(open: &OpenFile, stored: &[(i32, i64)], later_ms: i64) -> (i64, i64) {
        let head = tables::head(&open.connection).unwrap();
        let stored = stored.iter().copied().collect();
        step(open, &head, &stored, now_ms() + later_ms).unwrap();
        let counters = tables::counters(&open.connection).unwrap()[0];
        let rows: i64 = open
            .connection
            .query_row("SELECT count(*) FROM records", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, counters.next - counters.low);
        assert_eq!(counters.bytes, rows * 3);
        (counters.low, counters.next)
    }

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn an_order_is_kept_until_it_is_old_and_stored() {
        let (_folder, open) = topic(Durability::Durable, [("retention.ms", "3600000")]);
        assert_eq!(left(&open, &[(0, 10)], HOUR_MS / 2), (0, 10), "not old");
        assert_eq!(left(&open, &[], 1_000 * HOUR_MS), (0, 10), "not stored");
        assert_eq!(
            left(&open, &[(0, 0)], 1_000 * HOUR_MS),
            (0, 10),
            "not stored"
        );
        assert_eq!(left(&open, &[(0, 7)], 2 * HOUR_MS), (7, 10));
        assert_eq!(left(&open, &[(0, 3)], 2 * HOUR_MS), (7, 10), "a replay");
        assert_eq!(left(&open, &[(0, 99)], 2 * HOUR_MS), (10, 10));
    }

    #[test]
    fn a_lookup_is_deleted_when_it_is_old() {
        let (_folder, open) = topic(Durability::BestEffort, [("retention.ms", "3600000")]);
        assert_eq!(left(&open, &[], HOUR_MS / 2), (0, 10));
        assert_eq!(left(&open, &[], 2 * HOUR_MS), (10, 10));
    }

    #[test]
    fn the_oldest_are_deleted_where_there_are_too_many_bytes() {
        let (_folder, open) = topic(Durability::Durable, [("retention.bytes", "10")]);
        assert_eq!(left(&open, &[(0, 2)], 0), (2, 10), "only what was stored");
        assert_eq!(left(&open, &[(0, 10)], 0), (7, 10));
    }

    #[test]
    fn nothing_is_deleted_without_a_limit() {
        let (_folder, open) = topic(Durability::BestEffort, [("retention.ms", "-1")]);
        assert_eq!(left(&open, &[(0, 10)], 1_000 * HOUR_MS), (0, 10));
    }
}
