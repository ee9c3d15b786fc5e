//! The consumer: reads `orders` as a member of a group and stores every record exactly once in
//! effect.
//!
//! The calling thread polls Kafka and sees rebalances (`polling`); lanes read, decode and store
//! (`lane`); one thread replies to lookups (`lookup`); others observe the topic, the lag and the
//! database (`watch`, `lag`).
//!
//! # Invariants
//!
//! Partitions are acquired all together, in one way. Whatever happens (a rebalance, a fault, a
//! recreated topic), all lanes exit, new ones with a new owner uuid acquire the partitions at the
//! positions in the store, and reading starts there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::event_log::EventLog;
use crate::shutdown::Shutdown;
use crate::store::StoreEngine;

mod acquire;
mod batch;
mod clock;
mod context;
mod database_health;
mod generation;
mod lag;
mod lane;
mod lookup;
mod notify;
mod observed;
mod polling;
mod progress;
mod retry;
mod status;
mod watch;

pub use acquire::AcceptedGap;
pub use context::Settings;
pub use status::Status;

use context::Context;

/// How long the last replies to lookups, and what the log's client still holds, may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Consumes until a stop is requested, through every outage. The error is a reason to give up: a
/// wrong setting, another group that owns the log, or a client that cannot be revived.
pub fn run(
    settings: Settings,
    log: Arc<dyn EventLog>,
    store: Arc<dyn StoreEngine>,
    status: Arc<Status>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let context = Arc::new(Context::new(settings, log, store, status, shutdown));
    watch::start(&context);
    let lookups = {
        let context = context.clone();
        thread::spawn(move || serve_lookups(&context))
    };
    let outcome = polling::Polling::new(context.clone()).run();
    context.shutdown.request();
    context.lookups_ready.notify();
    // A reply that is lost costs only time: the API sends its request again.
    let until = Instant::now() + FLUSH_TIMEOUT;
    while !lookups.is_finished() && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    context.log.flush(FLUSH_TIMEOUT);
    outcome
}

/// Lookups hold nothing that a panic could spoil, so they are served again after one.
fn serve_lookups(context: &Arc<Context>) {
    while !context.shutdown.is_requested() {
        let served = catch_unwind(AssertUnwindSafe(|| lookup::run(context)));
        if served.is_err() {
            let reason = "restarting after an internal error";
            context.status.unhealthy(status::LOOKUPS, reason);
        }
    }
}
