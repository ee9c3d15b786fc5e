//! The consumer: reads `orders` as a member of a group and stores every record exactly once in
//! effect.
//!
//! The calling thread polls Kafka and sees rebalances; lanes (`lane`) read, decode and store; one
//! thread answers lookups (`lookup`); two watch the topic and the database (`watch`). The surprising
//! thing: partitions are taken in *rounds*. Whatever happens (a rebalance, a fault, a recreated
//! topic), all lanes end, new ones with a new owner uuid take the partitions from the positions in
//! the store, and reading starts there. There is no other way to start, so there is one to check.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::Topics;
use crate::event_log::EventLog;
use crate::shutdown::Shutdown;
use crate::store::StoreEngine;

mod batch;
mod bell;
mod clock;
mod connection;
mod generation;
mod lane;
mod lookup;
mod polling;
mod retry;
mod status;
mod take;
mod watch;

pub use status::Status;
pub use take::AcceptedGap;

use bell::Bell;

/// The largest batch; a thousand orders are as fast as more would be.
const MAX_RECORDS: usize = 1_000;

/// What `orders consume` was asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    pub topics: Topics,
    pub group: String,
    pub lookup_group: String,
    pub accepted_gaps: Vec<AcceptedGap>,
}

/// Consumes until a stop is requested, through every outage. The error is a reason to give up: a
/// wrong setting, another group that owns the log, or a client that cannot be revived.
pub fn run(
    settings: Settings,
    log: Arc<dyn EventLog>,
    store: Arc<dyn StoreEngine>,
    status: Arc<Status>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let context = Arc::new(Context {
        settings,
        log,
        store,
        status,
        shutdown,
        host: host_name(),
        watch: watch::Watch::default(),
        committed: Bell::default(),
        applied: Mutex::default(),
        beyond_end_since: Mutex::default(),
        delivering: AtomicBool::new(false),
        batch_limit: AtomicUsize::new(MAX_RECORDS),
        damaged: AtomicBool::new(false),
    });
    watch::start(&context);
    let lookups = {
        let context = context.clone();
        std::thread::spawn(move || serve_lookups(&context))
    };
    let outcome = polling::Polling::new(context.clone()).run();
    context.shutdown.request();
    context.committed.ring();
    // Answers under way are a courtesy: whoever asked asks again.
    let until = Instant::now() + Duration::from_secs(1);
    while !lookups.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    context.log.flush(Duration::from_secs(1));
    outcome
}

/// Lookups hold nothing that a panic could spoil, so they begin anew after one.
fn serve_lookups(context: &Arc<Context>) {
    while !context.shutdown.is_requested() {
        let served = catch_unwind(AssertUnwindSafe(|| lookup::run(context)));
        if served.is_err() {
            context
                .status
                .ill(status::LOOKUPS, "beginning anew after an internal error");
        }
    }
}

/// What all threads of the consumer share.
struct Context {
    settings: Settings,
    log: Arc<dyn EventLog>,
    store: Arc<dyn StoreEngine>,
    status: Arc<Status>,
    shutdown: Shutdown,
    host: String,
    watch: watch::Watch,
    /// Rung after each commit, for lookups that wait for one, and when lookups arrive.
    committed: Bell,
    /// The newest position of each partition, to be told to the group.
    applied: Mutex<BTreeMap<i32, i64>>,
    beyond_end_since: Mutex<HashMap<i32, Instant>>,
    /// Whether any record came since the client was built.
    delivering: AtomicBool,
    /// How many records a batch may hold: halved when a batch took the database too long.
    batch_limit: AtomicUsize,
    /// A damaged batch was met and nothing has been committed since.
    damaged: AtomicBool,
}

impl Context {
    fn applied(&self, partition: i32, next_offset: i64) {
        self.applied
            .lock()
            .expect("no thread panics while holding this lock")
            .insert(partition, next_offset);
        self.committed.ring();
    }

    fn damaged(&self, reason: &str) {
        self.damaged.store(true, Ordering::Relaxed);
        self.status.ill(
            status::RECORDS,
            format!("a batch is damaged, not reading past it: {reason}"),
        );
    }

    /// Orders were committed: whatever was damaged has been mended.
    fn mended(&self) {
        if self.damaged.swap(false, Ordering::Relaxed) {
            self.status.well(status::RECORDS, "reading on");
        }
    }

    fn batch_limit(&self) -> usize {
        self.batch_limit.load(Ordering::Relaxed)
    }

    /// A batch was not done in time: the next ones must be smaller, or nothing would ever move.
    fn shrink_batches(&self) {
        let smaller = (self.batch_limit() / 2).max(1);
        self.batch_limit.store(smaller, Ordering::Relaxed);
    }

    fn grow_batches(&self) {
        let limit = self.batch_limit();
        if limit < MAX_RECORDS {
            let larger = (limit * 2).min(MAX_RECORDS);
            self.batch_limit.store(larger, Ordering::Relaxed);
        }
    }

    /// The group gave us other partitions: how long their positions were past the end is unknown.
    fn forget_waits(&self) {
        self.beyond_end_since
            .lock()
            .expect("no thread panics while holding this lock")
            .clear();
    }

    fn delivered(&self) {
        self.delivering.store(true, Ordering::Relaxed);
    }

    /// For how long the partition's position has been past the log's end, across rounds.
    fn beyond_end_for(&self, partition: i32, beyond: bool) -> Duration {
        let mut since = self
            .beyond_end_since
            .lock()
            .expect("no thread panics while holding this lock");
        if beyond {
            clock::now() - *since.entry(partition).or_insert_with(clock::now)
        } else {
            since.remove(&partition);
            Duration::ZERO
        }
    }
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
