//! Who was promised what: a poster that keeps a durable record of every answer, and the audit that
//! holds log and store against it.
//!
//! The poster is a process of its own, so that it survives what a test kills. It writes each answer
//! to its record with fsync before it sends the next request, and sends the same version again
//! until it is accepted.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::http::Connection;
use super::kafka::Stored;
use super::orders::{items_of, order_version, track_number};
use super::{Env, PATIENCE, eventually};

pub mod poster;

pub use poster::{Poster, Task};

/// What was answered to each version of each order.
#[derive(Debug, Default)]
pub struct Record {
    answers: BTreeMap<(String, u32), Answers>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    accepted: usize,
    /// Answers that leave it open, broken connections included.
    unknown: usize,
}

impl Record {
    fn read(path: &Path) -> Record {
        let mut record = Record::default();
        for line in fs::read_to_string(path)
            .expect("the poster wrote its record")
            .lines()
        {
            let words: Vec<&str> = line.split(' ').collect();
            let [answer, uid, version] = words[..] else {
                panic!("not a line of a record: {line}")
            };
            let version = version.parse().expect("a version is a number");
            let answers = record.answers.entry((uid.to_owned(), version)).or_default();
            match answer {
                "accepted" => answers.accepted += 1,
                "unknown" => answers.unknown += 1,
                _ => {}
            }
        }
        record
    }

    /// Puts the records of several posters together.
    pub fn merge(mut self, other: Record) -> Record {
        self.answers.extend(other.answers);
        self
    }

    /// The newest accepted version of each order.
    pub fn accepted(&self) -> BTreeMap<&str, u32> {
        let accepted = self
            .answers
            .iter()
            .filter(|(_, answers)| answers.accepted > 0);
        // In order of versions: the newest comes last and stays.
        accepted
            .map(|((uid, version), _)| (uid.as_str(), *version))
            .collect()
    }
}

/// Checks, when all is applied, that log and store hold what was promised: every accepted order is
/// stored in its newest accepted version or a later one, whole; the log has one record for each 202
/// and none for an order that was not accepted, an order's versions in their order; and every offset
/// below the positions is a row, was replaced by a newer row, is a dead letter or a gap.
pub fn audit(env: &Env, record: &Record) {
    let log = env.log().read_all(&env.topic());
    audit_log(&log, record);
    audit_rows(env, record);
    audit_positions(env, &log);
}

/// Checks, when all is applied, that GET answers what the database has: an even sample of it.
pub fn audit_answers(env: &Env, api_url: &str) {
    const SAMPLE: usize = 200;
    let rows = env.db().text(
        "SELECT amount, order_uid FROM orders JOIN payment USING (order_uid) ORDER BY order_uid",
    );
    let rows: Vec<&str> = rows.lines().collect();
    let mut connection = Connection::open(api_url).expect("the API takes connections");
    for row in rows.iter().step_by(rows.len().div_ceil(SAMPLE).max(1)) {
        let (version, uid) = row.split_once('|').expect("a row has two columns");
        let version = version.parse().expect("a version is a number");
        // What is in no cache is looked up, which may take longer than one GET waits.
        let body = eventually(format!("a sure answer about `{uid}`"), PATIENCE, || {
            let answer = connection.get(&format!("/api/order/{uid}"));
            let answer = answer.expect("the API answers");
            let status = answer.header("cache-status").unwrap_or_default();
            let is_sure = answer.header("order-behind").is_none() && !status.contains("unverified");
            assert_ne!(answer.status, 404, "`{uid}` is stored");
            (answer.status == 200 && is_sure).then(|| answer.json())
        });
        assert_eq!(body, order_version(uid, version), "GET is what is stored");
    }
}

fn audit_log(log: &[Stored], record: &Record) {
    let mut in_log: HashMap<(String, u32), usize> = HashMap::new();
    let mut newest: HashMap<String, u32> = HashMap::new();
    for stored in log {
        let Some(version) = stored.value.as_deref().and_then(version_of) else {
            continue;
        };
        let order = (stored.key_text(), version);
        if record.answers.contains_key(&order) {
            let before = newest.insert(order.0.clone(), version).unwrap_or_default();
            assert!(
                before <= version,
                "{order:?} stands at offset {} behind version {before}",
                stored.offset
            );
        }
        *in_log.entry(order).or_default() += 1;
    }
    for (order, answers) in &record.answers {
        let found = in_log.get(order).copied().unwrap_or_default();
        let promised = answers.accepted..=answers.accepted + answers.unknown;
        assert!(
            promised.contains(&found),
            "{order:?} is {found} times in the log after {answers:?}"
        );
    }
}

/// Rows agree with the newest accepted version, and their parts agree with each other.
fn audit_rows(env: &Env, record: &Record) {
    let rows = env.db().text(
        "SELECT o.order_uid, o.track_number, p.amount, d.name, p.transaction_id,
                (SELECT count(*) FROM items i WHERE i.order_uid = o.order_uid),
                (SELECT count(DISTINCT i.rid) FROM items i
                 WHERE i.order_uid = o.order_uid AND i.track_number = o.track_number)
         FROM orders o LEFT JOIN delivery d USING (order_uid) LEFT JOIN payment p USING (order_uid)",
    );
    let mut stored = HashMap::new();
    for row in rows.lines() {
        let (uid, _) = row.split_once('|').expect("a row has columns");
        let amount = row.split('|').nth(2).expect("a row has an amount");
        let version: u32 = amount
            .parse()
            .unwrap_or_else(|_| panic!("no payment beside the order: {row}"));
        let (track, items) = (track_number(version), items_of(version));
        let whole = format!("{uid}|{track}|{version}|Test Testov {version}|{uid}|{items}|{items}");
        assert_eq!(row, whole, "an order is stored whole, in one version");
        stored.insert(uid.to_owned(), version);
    }
    for (uid, accepted) in record.accepted() {
        let found = stored.get(uid);
        assert!(
            found.is_some_and(|version| *version >= accepted),
            "`{uid}` was accepted in version {accepted}, the store has {found:?}"
        );
    }
}

/// Every offset below the positions is accounted for.
pub fn audit_offsets(env: &Env) {
    audit_positions(env, &env.log().read_all(&env.topic()));
}

fn audit_positions(env: &Env, log: &[Stored]) {
    let mut db = env.db();
    let positions = numbers(&db.text("SELECT partition, next_offset, epoch FROM log_positions"));
    let next: HashMap<i64, i64> = positions.iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(next.len(), positions.len(), "one position a partition");
    let dead = numbers(&db.text("SELECT partition, \"offset\" FROM dead_letters"));
    let gaps = numbers(&db.text(
        "SELECT p.partition, g.from_offset, coalesce(g.to_offset, 9223372036854775807)
         FROM log_gaps g JOIN log_positions p ON p.id = g.position_id",
    ));
    let rows = db.text(
        "SELECT o.order_uid, p.partition, o.source_offset FROM orders o
         JOIN log_positions p ON p.id = o.source_position",
    );
    let source: HashMap<&str, (i64, i64)> = rows.lines().map(source_of).collect();
    for stored in log {
        let (partition, offset) = (i64::from(stored.partition), stored.offset);
        if offset >= next.get(&partition).copied().unwrap_or_default() {
            continue;
        }
        let uid = stored.value.as_deref().and_then(uid_of).unwrap_or_default();
        // A record is in its row, or in that of a later record; a uid may be in several partitions
        // only where a test put it there.
        let in_row = source
            .get(uid.as_str())
            .is_some_and(|(of, at)| *of != partition || *at >= offset);
        let accounted = in_row
            || dead.iter().any(|letter| letter[..] == [partition, offset])
            || gaps
                .iter()
                .any(|gap| gap[0] == partition && (gap[1]..gap[2]).contains(&offset));
        assert!(
            accounted,
            "partition {partition}, offset {offset} (`{uid}`) is nowhere, and the position is past it"
        );
    }
}

fn source_of(row: &str) -> (&str, (i64, i64)) {
    let mut cells = row.rsplitn(3, '|');
    let mut number = || {
        cells
            .next()
            .and_then(|cell| cell.parse().ok())
            .expect("a number")
    };
    let (offset, partition) = (number(), number());
    (cells.next().expect("a uid"), (partition, offset))
}

fn numbers(rows: &str) -> Vec<Vec<i64>> {
    let row = |line: &str| {
        line.split('|')
            .map(|cell| cell.parse().expect("a number"))
            .collect()
    };
    rows.lines().map(row).collect()
}

fn uid_of(payload: &[u8]) -> Option<String> {
    let order: Value = serde_json::from_slice(payload).ok()?;
    Some(order["order_uid"].as_str()?.to_owned())
}

fn version_of(payload: &[u8]) -> Option<u32> {
    let order: Value = serde_json::from_slice(payload).ok()?;
    u32::try_from(order["payment"]["amount"].as_u64()?).ok()
}
