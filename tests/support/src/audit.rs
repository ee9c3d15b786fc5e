//! The audit: what clients were promised is compared with log, store and GET.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::http::Connection;
use crate::kafka::StoredRecord;
use crate::orders::{items_of, order_version, track_number};
use crate::{Env, Process, TIMEOUT, eventually};

/// The answers to each version of each order.
#[derive(Debug, Default)]
pub struct AnswerLog {
    answers: BTreeMap<(String, u32), Answers>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    accepted: usize,
    /// Answers that do not say whether the order was accepted, and broken connections.
    unknown: usize,
}

impl AnswerLog {
    pub(crate) fn read(path: &Path) -> AnswerLog {
        let mut log = AnswerLog::default();
        for line in fs::read_to_string(path)
            .expect("the client wrote its answer log")
            .lines()
        {
            let words: Vec<&str> = line.split(' ').collect();
            let [answer, uid, version] = words[..] else {
                panic!("malformed answer: {line}")
            };
            let version = version.parse().expect("a version is a number");
            let answers = log.answers.entry((uid.to_owned(), version)).or_default();
            match answer {
                "accepted" => answers.accepted += 1,
                "unknown" => answers.unknown += 1,
                _ => {}
            }
        }
        log
    }

    /// Combines the logs of several clients.
    pub fn merge(mut self, other: AnswerLog) -> AnswerLog {
        self.answers.extend(other.answers);
        self
    }

    /// The newest accepted version of each order.
    pub fn accepted(&self) -> BTreeMap<&str, u32> {
        let accepted = self
            .answers
            .iter()
            .filter(|(_, answers)| answers.accepted > 0);
        // Sorted by version: the newest comes last and replaces the others.
        accepted
            .map(|((uid, version), _)| (uid.as_str(), *version))
            .collect()
    }
}

/// Checks, once everything is applied, that log and store hold what was promised.
///
/// - Every accepted order is stored whole, in its newest accepted version or a later one.
/// - The log has one record for each 202 and none for an order that was not accepted; the versions
///   of an order are in ascending order.
/// - Every offset below the positions is a row, was replaced by a newer row, is a dead letter or
///   lies in a gap.
pub fn audit(env: &Env, answers: &AnswerLog) {
    let log = env.log().read_all(&env.topic());
    audit_log(&log, answers);
    audit_rows(env, answers);
    audit_positions(env, &log);
    verify(env);
}

/// `orders verify` finds nothing missing either.
fn verify(env: &Env) {
    env.orders(&["verify", "--wait", "30s"]).run().succeeds();
}

/// Checks, once everything is applied, that GET returns what the database has, for an even sample.
pub fn audit_answers(env: &Env, api_url: &str) {
    const SAMPLE: usize = 200;
    let rows = env.db().text(
        "SELECT amount, order_uid FROM orders JOIN payment USING (order_uid) ORDER BY order_uid",
    );
    let rows: Vec<&str> = rows.lines().collect();
    let mut connection = Connection::open(api_url).expect("the API accepts connections");
    for row in rows.iter().step_by(rows.len().div_ceil(SAMPLE).max(1)) {
        let (version, uid) = row.split_once('|').expect("a row has two columns");
        let version = version.parse().expect("a version is a number");
        // An order that is not cached is looked up, which may take longer than one GET waits.
        let body = eventually(format!("a verified answer for `{uid}`"), TIMEOUT, || {
            let answer = connection.get(&format!("/api/order/{uid}"));
            let answer = answer.expect("the API answers");
            assert_ne!(answer.status, 404, "`{uid}` is stored");
            (answer.status == 200 && answer.is_verified()).then(|| answer.json())
        });
        assert_eq!(
            body,
            order_version(uid, version),
            "GET returns what is stored"
        );
    }
}

/// Waits until everything is applied, then does both audits.
pub fn audit_all(env: &Env, answers: &AnswerLog, api: &Process) {
    env.wait_until_applied_within(TIMEOUT * 2);
    audit(env, answers);
    audit_answers(env, &api.url());
}

fn audit_log(log: &[StoredRecord], answers: &AnswerLog) {
    let mut in_log: HashMap<(String, u32), usize> = HashMap::new();
    let mut newest: HashMap<String, u32> = HashMap::new();
    for stored in log {
        let Some(version) = version_of(stored.value.as_deref()) else {
            continue;
        };
        let order = (stored.key_text(), version);
        if answers.answers.contains_key(&order) {
            let before = newest.insert(order.0.clone(), version).unwrap_or_default();
            assert!(
                before <= version,
                "{order:?} is at offset {}, after version {before}",
                stored.offset
            );
        }
        *in_log.entry(order).or_default() += 1;
    }
    for (order, given) in &answers.answers {
        let found = in_log.get(order).copied().unwrap_or_default();
        let promised = given.accepted..=given.accepted + given.unknown;
        assert!(
            promised.contains(&found),
            "{order:?} is {found} times in the log after {given:?}"
        );
    }
}

/// Rows have the newest accepted version or a later one, and their parts are of one version.
fn audit_rows(env: &Env, answers: &AnswerLog) {
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
            .unwrap_or_else(|_| panic!("no payment for the order: {row}"));
        let (track, items) = (track_number(version), items_of(version));
        let whole = format!("{uid}|{track}|{version}|Test Testov {version}|{uid}|{items}|{items}");
        assert_eq!(row, whole, "an order is stored whole, in one version");
        stored.insert(uid.to_owned(), version);
    }
    for (uid, accepted) in answers.accepted() {
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
    verify(env);
}

fn audit_positions(env: &Env, log: &[StoredRecord]) {
    let mut db = env.db();
    let positions = numbers(&db.text("SELECT partition, next_offset, epoch FROM log_positions"));
    let next: HashMap<i64, i64> = positions.iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(
        next.len(),
        positions.len(),
        "there is one position per partition"
    );
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
        let uid = uid_of(stored.value.as_deref());
        // A record is in its row, or in that of a later record; a uid is in several partitions only
        // where a test wrote it there.
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
            "partition {partition}, offset {offset} (`{uid}`) is not accounted for, and the position is past it"
        );
    }
}

fn source_of(row: &str) -> (&str, (i64, i64)) {
    let (uid, numbers_of) = row.split_once('|').expect("a row has columns");
    let source = numbers(numbers_of).remove(0);
    (uid, (source[0], source[1]))
}

fn numbers(rows: &str) -> Vec<Vec<i64>> {
    let row = |line: &str| {
        line.split('|')
            .map(|cell| cell.parse().expect("a number"))
            .collect()
    };
    rows.lines().map(row).collect()
}

/// The uid of an order; empty where the payload is none.
fn uid_of(payload: Option<&[u8]>) -> String {
    let order: Value = serde_json::from_slice(payload.unwrap_or_default()).unwrap_or_default();
    order["order_uid"].as_str().unwrap_or_default().to_owned()
}

fn version_of(payload: Option<&[u8]>) -> Option<u32> {
    let order: Value = serde_json::from_slice(payload?).ok()?;
    u32::try_from(order["payment"]["amount"].as_u64()?).ok()
}
