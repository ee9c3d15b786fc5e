//! What must survive: killed, frozen and stopped processes and servers, one rule a test.
//!
//! Most need only the consumer: records are written straight to the topic. A fault is never timed
//! by a sleep; a test waits until it can see that the fault has struck (a session that waits for a
//! lock, a line, a condition of /readyz) and goes on from there. What both services must survive
//! together stands in `services`.

mod bad_connections;
mod contention;
mod damaged_batches;
mod deleted_records;
mod disk_full;
mod failpoints;
mod kafka_away;
mod killed_consumers;
mod postgres_away;
mod postgres_refusing;
mod postgres_restored;
mod postgres_silent;
mod recreated_topics;
mod refusals;
mod rewritten_logs;
mod services_stopped;
mod silent_kafka;
mod stopping;
mod transactions;
mod zombies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::auditor::{Poster, Record, Task};
use support::kafka::Outgoing;
use support::orders::{items_of, order_version, track_number};
use support::{Db, Env, Kafka, PATIENCE, Process, auditor, eventually};

/// Which version of which order must be stored.
type Expected = BTreeMap<String, u32>;

/// Orders `PREFIX-0`, `PREFIX-1`… in one version, spread over the partitions.
fn orders(prefix: &str, count: usize, version: u32, partitions: usize) -> Vec<Outgoing> {
    (0..count)
        .map(|number| {
            let uid = format!("{prefix}-{number}");
            let partition = i32::try_from(number % partitions).expect("partitions are few");
            Outgoing::new(uid.as_str(), order_version(&uid, version).to_string()).to(partition)
        })
        .collect()
}

/// The same with the header of the API, so many seconds ago.
fn accepted_ago(records: Vec<Outgoing>, seconds: u64) -> Vec<Outgoing> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970");
    let at = (now - Duration::from_secs(seconds)).as_micros().to_string();
    let with_header = |record: Outgoing| record.header("accepted-at", at.as_str());
    records.into_iter().map(with_header).collect()
}

/// What is stored after `orders` and nothing newer.
fn expect(expected: &mut Expected, prefix: &str, count: usize, version: u32) {
    for number in 0..count {
        expected.insert(format!("{prefix}-{number}"), version);
    }
}

/// Orders that keep coming until the test has seen enough: each round brings new ones, and a newer
/// version of the same hundred.
struct Stream {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: JoinHandle<Expected>,
}

impl Stream {
    fn start(env: &Env, partitions: usize) -> Stream {
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let (stopped, counted) = (stop.clone(), rounds.clone());
        let (brokers, topic) = (env.brokers.clone(), env.topic());
        let thread = std::thread::spawn(move || {
            let (kafka, mut expected) = (Kafka::new(&brokers), Expected::new());
            while !stopped.load(Ordering::Relaxed) {
                let round = counted.load(Ordering::Relaxed) + 1;
                let fresh = format!("round{round}");
                kafka.produce(&topic, &orders(&fresh, 100, 1, partitions));
                kafka.produce(&topic, &orders("again", 100, round, partitions));
                expect(&mut expected, &fresh, 100, 1);
                expect(&mut expected, "again", 100, round);
                counted.store(round, Ordering::Relaxed);
            }
            expected
        });
        Stream {
            stop,
            rounds,
            thread,
        }
    }

    /// Waits until so many more rounds are in the log.
    fn wait_for(&self, rounds: u32) {
        let wanted = self.rounds.load(Ordering::Relaxed) + rounds;
        eventually("more orders in the log", PATIENCE, || {
            (self.rounds.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    fn finish(self) -> Expected {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the orders could be written")
    }
}

/// Orders that come through the API; each answer is on disk before the next order is posted.
struct Posting(Vec<Poster>);

impl Posting {
    /// Two posters with so many orders each, for the API at that address; at rest.
    fn start(env: &Env, authority: &str, orders: u32) -> Posting {
        let start = |number| {
            let task = Task {
                authority: authority.to_owned(),
                prefix: format!("poster{number}"),
                orders,
                poison_every: 0,
            };
            Poster::start(env, &task)
        };
        let posting = Posting((0..2).map(start).collect());
        posting.0.iter().for_each(Poster::pause);
        posting
    }

    fn accepted(&self) -> usize {
        self.0.iter().map(Poster::accepted).sum()
    }

    /// Lets them post until `done`, and then rest; so many orders at most, for the next fault is to
    /// find them at work too.
    fn post_until(&self, what: &str, at_most: usize, mut done: impl FnMut() -> bool) {
        let limit = self.accepted() + at_most;
        self.0.iter().for_each(Poster::resume);
        eventually(what, PATIENCE, || {
            if self.accepted() >= limit {
                self.0.iter().for_each(Poster::pause);
            }
            done().then_some(())
        });
        self.0.iter().for_each(Poster::pause);
    }

    /// Lets them post so many more.
    fn post(&self, orders: usize) {
        let goal = self.accepted() + orders;
        let what = format!("{goal} accepted orders");
        self.post_until(&what, orders, || self.accepted() >= goal);
    }

    /// Lets them post the rest; then all that was accepted is stored, once and whole, nothing else
    /// happened to any record, and the API answers with what is stored.
    fn finish_and_audit(self, env: &Env, api: &Process) {
        self.0.iter().for_each(Poster::resume);
        let records = self.0.into_iter().map(|poster| poster.finish(PATIENCE * 2));
        let record = records.reduce(Record::merge).expect("there are posters");
        env.wait_until_applied_within(PATIENCE * 2);
        auditor::audit(env, &record);
        assert_eq!(env.db().text("SELECT * FROM dead_letters"), "");
        assert_eq!(env.db().text("SELECT * FROM log_gaps"), "");
        auditor::audit_answers(env, &api.url());
    }
}

/// Waits until the positions are at the ends; then exactly these orders are stored, whole, and
/// nothing else happened to any record.
fn assert_all_stored(env: &Env, expected: &Expected) {
    env.wait_until_applied();
    assert_stored(env, expected);
    assert_eq!(
        env.db().text("SELECT * FROM dead_letters"),
        "",
        "no dead letters"
    );
    auditor::audit_offsets(env);
}

/// Exactly these orders are stored, each whole and in one version.
fn assert_stored(env: &Env, expected: &Expected) {
    let found = env.db().text(
        "SELECT o.order_uid, o.track_number, p.amount, d.name,
                (SELECT count(*) FROM items i WHERE i.order_uid = o.order_uid),
                (SELECT count(DISTINCT rid) FROM items i
                 WHERE i.order_uid = o.order_uid AND i.track_number = o.track_number)
         FROM orders o LEFT JOIN delivery d USING (order_uid) LEFT JOIN payment p USING (order_uid)",
    );
    let mut found: BTreeMap<&str, &str> = found
        .lines()
        .filter_map(|row| row.split_once('|'))
        .collect();
    let mut wrong = Vec::new();
    for (uid, version) in expected {
        let (track, items) = (track_number(*version), items_of(*version));
        let row = format!("{track}|{version}|Test Testov {version}|{items}|{items}");
        match found.remove(uid.as_str()) {
            Some(stored) if stored == row => {}
            stored => wrong.push(format!("{uid}: {stored:?} instead of {row}")),
        }
    }
    wrong.extend(found.keys().map(|uid| format!("{uid} was never written")));
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Waits until a session of the program waits for a lock in the test's database.
fn wait_until_locked_out(db: &mut Db) {
    db.eventually(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'orders' AND wait_event_type = 'Lock'",
        "t",
    );
}

/// Waits until /readyz is red and its verbose answer has this text.
fn wait_until_red(process: &Process, text: &str) {
    eventually(format!("/readyz is red with `{text}`"), PATIENCE, || {
        is_red(process, text).then_some(())
    });
}

fn is_red(process: &Process, text: &str) -> bool {
    let (status, answer) = process.readiness();
    status == 503 && answer.contains(text)
}
