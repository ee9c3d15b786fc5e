//! Who was promised what: a poster that keeps a durable record of every answer, and the audit that
//! holds log and store against it.
//!
//! The poster is a process of its own, so that it survives what a test kills. It writes each answer
//! to its record with fsync before it sends the next request, and sends the same version again
//! until it is accepted. It is this test binary, started for the one test `poster_process`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::http::{self, Connection};
use super::orders::{items_of, order_version, track_number};
use super::{Env, PATIENCE, Process, eventually};

const TASK: &str = "ORDERS_TEST_POSTER";

/// What a poster is to do.
#[derive(Clone, Debug)]
pub struct Task {
    /// `host:port` of the API, which must keep it over restarts.
    pub authority: String,
    /// Begins every uid, so that several posters do not meet.
    pub prefix: String,
    /// How many orders to get accepted; about a quarter are newer versions of earlier ones.
    pub orders: u32,
    /// One request in this many is an order that must be refused; 0 for none.
    pub poison_every: u32,
}

/// A running poster.
pub struct Poster {
    child: Child,
    path: PathBuf,
}

impl Poster {
    pub fn start(env: &Env, task: &Task) -> Poster {
        let path = env.path().join(format!("{}.record", task.prefix));
        let line = format!(
            "{} {} {} {} {}",
            task.authority,
            task.prefix,
            task.orders,
            task.poison_every,
            path.display()
        );
        let child = Command::new(std::env::current_exe().expect("a program knows itself"))
            .args(["env::auditor::poster_process", "--exact", "--nocapture"])
            .env(TASK, line)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the test binary can be started");
        Poster { child, path }
    }

    /// How many orders have been accepted so far.
    pub fn accepted(&self) -> usize {
        fs::read_to_string(&self.path)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.starts_with("accepted "))
            .count()
    }

    pub fn wait_for_accepted(&self, orders: usize, within: Duration) {
        eventually(format!("{orders} accepted orders"), within, || {
            (self.accepted() >= orders).then_some(())
        });
    }

    /// Stops it where it is, be it in the middle of a request, until `resume`.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // One that has posted everything may have ended.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits until everything is posted.
    pub fn finish(mut self, within: Duration) -> Record {
        let status = eventually("the poster to finish", within, || {
            self.child.try_wait().expect("it can be asked")
        });
        assert!(status.success(), "the poster ended with {status}");
        Record::read(&self.path)
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

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
/// and none for an order that was not accepted; and every offset below the positions is a row, was
/// replaced by a newer row, is a dead letter or a gap.
pub fn audit(env: &Env, record: &Record) {
    audit_log(env, record);
    audit_rows(env, record);
    audit_offsets(env);
}

fn audit_log(env: &Env, record: &Record) {
    let mut in_log: HashMap<(String, u32), usize> = HashMap::new();
    for stored in env.kafka().read_all(&env.topic()) {
        if let Some(version) = stored.value.as_deref().and_then(version_of) {
            *in_log.entry((stored.key_text(), version)).or_default() += 1;
        }
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

/// Checks that the API answers with what is stored; of many orders a hundred are asked for.
pub fn audit_answers(env: &Env, api: &Process) {
    let rows = env.db().text(
        "SELECT o.order_uid, p.amount FROM orders o JOIN payment p USING (order_uid)
         ORDER BY md5(o.order_uid) LIMIT 100",
    );
    for row in rows.lines() {
        let (uid, version) = row.split_once('|').expect("a row has two columns");
        let version = version.parse().expect("a version is a number");
        let url = format!("{}/api/order/{uid}", api.url());
        // While it is being looked up the answer is 202.
        let answer = eventually(format!("an answer to {url}"), PATIENCE, || {
            Some(http::get(&url)).filter(|answer| answer.status != 202)
        });
        assert_eq!(answer.status, 200, "`{uid}`: {}", answer.text());
        assert_eq!(answer.json(), order_version(uid, version));
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
    for stored in env.kafka().read_all(&env.topic()) {
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

/// Not a test: the poster's process. In a usual run there is no task, and nothing happens.
#[test]
fn poster_process() {
    let Ok(line) = std::env::var(TASK) else {
        return;
    };
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    let [authority, prefix, orders, poison_every, path] = words[..] else {
        panic!("not a task: {line}")
    };
    let task = Task {
        authority: authority.to_owned(),
        prefix: prefix.to_owned(),
        orders: orders.parse().expect("a number of orders"),
        poison_every: poison_every.parse().expect("a number of requests"),
    };
    Posting {
        record: File::create(path).expect("the record can be made"),
        connection: None,
        task,
    }
    .run();
}

struct Posting {
    task: Task,
    record: File,
    connection: Option<Connection>,
}

impl Posting {
    fn run(mut self) {
        // Three new orders, then a newer version of one of the earlier ones.
        let (mut versions, mut chosen) = (Vec::<u32>::new(), 7_usize);
        for number in 0..self.task.orders {
            let index = if number % 4 == 3 {
                chosen = chosen.wrapping_mul(1_103_515_245).wrapping_add(12_345) % 1_000_003;
                chosen % versions.len()
            } else {
                versions.push(0);
                versions.len() - 1
            };
            versions[index] += 1;
            if self.task.poison_every > 0 && number % self.task.poison_every == 0 {
                self.post_poison(number);
            }
            self.post_until_accepted(index, versions[index]);
        }
    }

    fn post_until_accepted(&mut self, index: usize, version: u32) {
        let uid = format!("{}-{index}", self.task.prefix);
        let body = order_version(&uid, version).to_string();
        let deadline = Instant::now() + PATIENCE * 4;
        loop {
            let answer = match self.post(body.as_bytes()) {
                Some((202, _)) => "accepted",
                Some((503, text)) if text.contains("not_accepted") => "refused",
                Some((503, _)) | None => "unknown",
                Some((status, text)) => panic!("`{uid}` was answered {status}: {text}"),
            };
            writeln!(self.record, "{answer} {uid} {version}").expect("the record can be written");
            self.record
                .sync_data()
                .expect("the record can be made durable");
            if answer == "accepted" {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "`{uid}` was not accepted in time"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn post_poison(&mut self, number: u32) {
        let body = format!(
            "{{\"order_uid\":\"{}-poison-{number}\",\"payment\":{{\"amount\":\"x\"}}}}",
            self.task.prefix
        );
        if let Some((status, text)) = self.post(body.as_bytes()) {
            assert!(
                matches!(status, 422 | 503),
                "poison was answered {status}: {text}"
            );
        }
    }

    /// Status and body; `None` when the connection broke before the answer.
    fn post(&mut self, body: &[u8]) -> Option<(u16, String)> {
        if self.connection.is_none() {
            self.connection = Connection::open(&self.task.authority).ok();
        }
        match self.connection.as_mut()?.post("/orders", body) {
            Ok(response) => {
                if response
                    .header("connection")
                    .is_some_and(|value| value.eq_ignore_ascii_case("close"))
                {
                    self.connection = None;
                }
                Some((response.status, response.text()))
            }
            Err(_) => {
                self.connection = None;
                None
            }
        }
    }
}

#[test]
fn the_audit_notices_what_is_missing_older_or_mixed() {
    let env = Env::ready();
    let (api, mut consumer) = (env.api(), env.consumer());
    let task = Task {
        authority: api.url(),
        prefix: "seen".into(),
        orders: 40,
        poison_every: 0,
    };
    let record = Poster::start(&env, &task).finish(PATIENCE);
    env.wait_until_applied();
    consumer.stop();
    audit(&env, &record);

    let mut db = env.db();
    let of = "WHERE order_uid = 'seen-0'";
    for (harm, cure) in [
        (
            format!("UPDATE payment SET amount = amount - 1 {of}"),
            format!("UPDATE payment SET amount = amount + 1 {of}"),
        ),
        (
            format!("UPDATE items SET track_number = track_number || 'x' {of}"),
            format!("UPDATE items SET track_number = rtrim(track_number, 'x') {of}"),
        ),
        (
            format!("UPDATE orders SET source_offset = source_offset - 1 {of}"),
            format!("UPDATE orders SET source_offset = source_offset + 1 {of}"),
        ),
        (format!("DELETE FROM orders {of}"), String::new()),
    ] {
        db.run(&harm);
        let audited = std::panic::catch_unwind(|| audit(&env, &record));
        assert!(audited.is_err(), "the audit is blind to {harm}");
        db.run(&cure);
    }
}
