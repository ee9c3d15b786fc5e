//! The faults that the consumer survives: killed, frozen and stopped processes and servers; one rule per
//! test.
//!
//! Most tests need only the consumer and write records directly to the topic. No fault is timed by a
//! sleep: a test waits until it observes the fault (a session that waits for a lock, a log line, a check
//! of /readyz). `services` has the faults of both services together.

mod damaged_batches;
mod database_connections;
mod deadlocks;
mod deleted_records;
mod failpoints;
mod fencing;
mod kafka_unavailable;
mod lag;
mod pooler;
mod postgres_disk_full;
mod postgres_refusing;
mod postgres_restored;
mod postgres_silent;
mod postgres_unavailable;
mod recreated_topics;
mod refusals;
mod rewritten_logs;
mod stopping;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::audit::{audit, audit_answers, audit_offsets};
use support::kafka::RawRecord;
use support::load_client::{LoadClients, Workload};
use support::orders::{items_of, track_number};
use support::{Db, Env, Kafka, Process, TIMEOUT, wait_until};

/// The expected version of each order.
type Expected = BTreeMap<String, u32>;

/// Orders `PREFIX-0`, `PREFIX-1`… in one version, spread over the partitions.
fn orders(prefix: &str, count: usize, version: u32, partitions: usize) -> Vec<RawRecord> {
    (0..count)
        .map(|number| {
            let uid = format!("{prefix}-{number}");
            let partition = i32::try_from(number % partitions).expect("partitions are few");
            RawRecord::version(&uid, version).to(partition)
        })
        .collect()
}

/// The same records, all in this partition.
fn to(partition: i32, records: Vec<RawRecord>) -> Vec<RawRecord> {
    let moved = records.into_iter().map(|record| record.to(partition));
    moved.collect()
}

/// The same with the header `accepted-at` of the API, so many seconds ago.
fn accepted_ago(records: Vec<RawRecord>, seconds: u64) -> Vec<RawRecord> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970");
    let at = (now - Duration::from_secs(seconds)).as_micros().to_string();
    let with_header = |record: RawRecord| record.header("accepted-at", at.as_str());
    records.into_iter().map(with_header).collect()
}

/// What is stored after these `orders`: prefix, count and version, in the order in which they are applied.
fn versions(groups: &[(&str, usize, u32)]) -> Expected {
    let each = groups.iter().flat_map(|(prefix, count, version)| {
        (0..*count).map(move |number| (format!("{prefix}-{number}"), *version))
    });
    each.collect()
}

/// Orders written until the test stops it: each round has new ones, and a newer
/// version of the same hundred.
struct Stream {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    thread: JoinHandle<Expected>,
}

impl Stream {
    fn start(env: &Env, partitions: usize) -> Stream {
        let (stop, rounds): (Arc<AtomicBool>, Arc<AtomicU32>) = Default::default();
        let (stopped, counted) = (stop.clone(), rounds.clone());
        let (brokers, topic) = (env.brokers.clone(), env.topic());
        let thread = std::thread::spawn(move || {
            let (kafka, mut expected) = (Kafka::new(&brokers), Expected::new());
            while !stopped.load(Ordering::Relaxed) {
                let round = counted.load(Ordering::Relaxed) + 1;
                let fresh = format!("round{round}");
                kafka.produce(&topic, &orders(&fresh, 100, 1, partitions));
                kafka.produce(&topic, &orders("again", 100, round, partitions));
                expected.extend(versions(&[(fresh.as_str(), 100, 1), ("again", 100, round)]));
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
        wait_until("more orders in the log", TIMEOUT, || {
            self.rounds.load(Ordering::Relaxed) >= wanted
        });
    }

    fn finish(self) -> Expected {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the orders could be written")
    }
}

/// Two load clients that are frozen, except while the test waits for more orders.
struct PausedLoad(LoadClients);

impl PausedLoad {
    /// With so many orders for each client.
    fn start(env: &Env, authority: &str, orders: u32) -> PausedLoad {
        let clients = Workload::new(authority).orders(orders).start(env, 2);
        clients.freeze();
        PausedLoad(clients)
    }

    fn accepted(&self) -> usize {
        self.0.accepted()
    }

    /// Lets them post until `done`, at most so many orders: the next fault must find them at work, too.
    fn post_until(&self, what: &str, at_most: usize, mut done: impl FnMut() -> bool) {
        let limit = self.accepted() + at_most;
        self.0.thaw();
        wait_until(what, TIMEOUT, || {
            if self.accepted() >= limit {
                self.0.freeze();
            }
            done()
        });
        self.0.freeze();
    }

    /// Lets them post so many more.
    fn post(&self, orders: usize) {
        let goal = self.accepted() + orders;
        self.post_until("more accepted orders", orders, || self.accepted() >= goal);
    }

    /// Lets them post the rest. Then every accepted order is stored once and whole, no record is a dead
    /// letter or in a gap, and the API returns what is stored.
    fn finish_and_audit(self, env: &Env, api: &Process) {
        self.0.thaw();
        let answers = self.0.finish(TIMEOUT * 2);
        env.wait_until_applied_within(TIMEOUT * 2);
        audit(env, &answers);
        assert_eq!(env.db().text("SELECT * FROM dead_letters"), "");
        assert_eq!(env.db().text("SELECT * FROM log_gaps"), "");
        audit_answers(env, &api.url());
    }
}

/// Waits until the positions are at the ends. Then exactly these orders are stored, whole, and
/// there is no dead letter.
fn assert_all_stored(env: &Env, expected: &Expected) {
    env.wait_until_applied();
    assert_stored(env, expected);
    assert_eq!(env.db().text("SELECT * FROM dead_letters"), "");
    audit_offsets(env);
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
fn wait_until_blocked(db: &mut Db) {
    db.eventually(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'orders' AND wait_event_type = 'Lock'",
        "t",
    );
}
