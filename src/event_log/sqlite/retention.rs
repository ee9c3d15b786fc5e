//! Deleting what is old, or too much, and never what has not been taken.
//!
//! Owns the rule and one step of at most a thousand records, so that appends are not kept waiting;
//! the topic's writer takes the steps. A topic that ever held an order is protected: only records
//! below the position that the consumer told (`taken`) go, and without one none. The surprising
//! thing: `low` moves, and `next_offset` does not, however much is deleted.

use super::*;

const STEP: i64 = 1_000;
const EVERY: Duration = Duration::from_secs(60);
const BETWEEN_STEPS: Duration = Duration::from_millis(20);

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

    /// A step was taken, and deleted so many.
    pub(super) fn stepped(&mut self, now: Instant, deleted: usize) {
        self.next = Some(now + if deleted > 0 { BETWEEN_STEPS } else { EVERY });
    }
}

/// What is to go from one partition.
struct Expired {
    records: i64,
    bytes: i64,
}

/// Deletes up to a thousand records that are over the topic's limits; says how many.
pub(super) fn step(
    open: &OpenFile,
    head: &Head,
    taken: &BTreeMap<i32, i64>,
    now_ms: i64,
) -> Result<usize, FileError> {
    let limits = (head.limit("retention.ms"), head.limit("retention.bytes"));
    if limits == (None, None) {
        return Ok(0);
    }
    let failed = |error: SqlError| open.error(&error);
    let connection = &open.connection;
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(failed)?;
    let mut deleted = 0;
    let mut work = || -> Result<(), FileError> {
        let counters = tables::counters(connection).map_err(failed)?;
        for (partition, counters) in (0..).zip(counters) {
            // What no consumer has stored stays, however old: a 202 was given for it.
            let end = if head.holds_durable {
                taken.get(&partition).copied().unwrap_or(0)
            } else {
                counters.next
            };
            let most = STEP - deleted as i64;
            let end = end.min(counters.next).min(counters.low + most);
            let expired = expired(open, partition, counters, end, limits, now_ms)?;
            if expired.records > 0 {
                delete(connection, partition, counters, &expired).map_err(failed)?;
                deleted += expired.records as usize;
            }
        }
        Ok(())
    };
    let ending = match work() {
        Ok(()) if deleted > 0 => connection.execute_batch("COMMIT").map_err(failed),
        nothing => {
            connection.execute_batch("ROLLBACK").map_err(failed)?;
            nothing
        }
    };
    ending.map(|()| deleted)
}

/// The records from low on that are too old or too many, up to `end` and to the first that is not.
fn expired(
    open: &OpenFile,
    partition: i32,
    counters: Counters,
    end: i64,
    (retention_ms, retention_bytes): (Option<i64>, Option<i64>),
    now_ms: i64,
) -> Result<Expired, FileError> {
    let mut expired = Expired {
        records: 0,
        bytes: 0,
    };
    if end <= counters.low {
        return Ok(expired);
    }
    let mut asked = open
        .connection
        .prepare_cached(
            "SELECT timestamp_ms, ifnull(length(key), 0) + ifnull(length(value), 0)
                + ifnull(length(headers), 0)
             FROM records WHERE id >= ?1 AND id < ?2 ORDER BY id",
        )
        .map_err(|error| open.error(&error))?;
    let range = [
        tables::id(partition, counters.low),
        tables::id(partition, end),
    ];
    let rows = asked.query_map(range, |row| Ok((row.get(0)?, row.get(1)?)));
    for row in rows.map_err(|error| open.error(&error))? {
        let (timestamp_ms, bytes): (i64, i64) = row.map_err(|error| open.error(&error))?;
        let is_old = retention_ms.is_some_and(|limit| timestamp_ms < now_ms.saturating_sub(limit));
        let are_many = retention_bytes.is_some_and(|limit| counters.bytes - expired.bytes > limit);
        if !is_old && !are_many {
            break;
        }
        expired.records += 1;
        expired.bytes += bytes;
    }
    Ok(expired)
}

fn delete(
    connection: &Connection,
    partition: i32,
    counters: Counters,
    expired: &Expired,
) -> SqlResult<()> {
    let low = counters.low + expired.records;
    connection
        .prepare_cached("DELETE FROM records WHERE id >= ?1 AND id < ?2")?
        .execute([
            tables::id(partition, counters.low),
            tables::id(partition, low),
        ])?;
    connection
        .prepare_cached("UPDATE partitions SET low = ?2, bytes = bytes - ?3 WHERE partition = ?1")?
        .execute((partition, low, expired.bytes))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// The offsets that are left when so much time has passed and so much was taken.
    fn left(open: &OpenFile, taken: &[(i32, i64)], later_ms: i64) -> (i64, i64) {
        let head = tables::head(&open.connection).unwrap();
        let taken = taken.iter().copied().collect();
        step(open, &head, &taken, now_ms() + later_ms).unwrap();
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
    fn an_order_stays_until_it_is_old_and_taken() {
        let (_folder, open) = topic(Durability::Durable, [("retention.ms", "3600000")]);
        assert_eq!(left(&open, &[(0, 10)], HOUR_MS / 2), (0, 10), "not old");
        assert_eq!(left(&open, &[], 1_000 * HOUR_MS), (0, 10), "not taken");
        assert_eq!(
            left(&open, &[(0, 0)], 1_000 * HOUR_MS),
            (0, 10),
            "not taken"
        );
        assert_eq!(left(&open, &[(0, 7)], 2 * HOUR_MS), (7, 10));
        assert_eq!(left(&open, &[(0, 3)], 2 * HOUR_MS), (7, 10), "a replay");
        assert_eq!(left(&open, &[(0, 99)], 2 * HOUR_MS), (10, 10));
    }

    #[test]
    fn a_lookup_goes_when_it_is_old() {
        let (_folder, open) = topic(Durability::BestEffort, [("retention.ms", "3600000")]);
        assert_eq!(left(&open, &[], HOUR_MS / 2), (0, 10));
        assert_eq!(left(&open, &[], 2 * HOUR_MS), (10, 10));
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many_bytes() {
        let (_folder, open) = topic(Durability::Durable, [("retention.bytes", "10")]);
        assert_eq!(left(&open, &[(0, 2)], 0), (2, 10), "only what was taken");
        assert_eq!(left(&open, &[(0, 10)], 0), (7, 10));
    }

    #[test]
    fn nothing_goes_where_there_is_no_limit() {
        let (_folder, open) = topic(Durability::BestEffort, [("retention.ms", "-1")]);
        assert_eq!(left(&open, &[(0, 10)], 1_000 * HOUR_MS), (0, 10));
    }
}
