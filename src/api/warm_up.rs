//! What the API does once at its start: open the producers' connections, and fill the cache.
//!
//! Owns the rule by which rows of the store enter the cache. Each runs on a plain thread, since the
//! PostgreSQL client must not be used on an async one.
//!
//! # Invariants
//!
//! Rows are kept all or none. Only when every partition is applied up to where the follower started is
//! it certain that no newer version lies between the snapshot and what is followed. No more rows are
//! read than the cache can hold.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use tracing::{info, warn};

use super::App;
use super::health::CheckState;
use super::read_model::CacheEpoch;
use crate::cache::bytes_of;
use crate::event_log::EventLog;
use crate::migrations::{self, SchemaState};
use crate::pipeline::{PartitionLag, TopicId, Version, lag};
use crate::shutdown::Shutdown;
use crate::store::{Position, StoreEngine, StoredOrder};

/// The pause before a retry, doubled up to the second one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often to check whether the follower has started, which takes a few milliseconds.
const FOLLOWER_PAUSE: Duration = Duration::from_millis(20);

/// How long the store may take to reach the follower's start.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the producers' connections, so that the first order does not pay for it; retries for ever.
pub fn warm_producers(log: &dyn EventLog, check: &CheckState, shutdown: &Shutdown) {
    let mut pause = FIRST_PAUSE;
    let mut failed = false;
    loop {
        match log.warm_up() {
            Ok(()) => return check.set(true, "connected"),
            Err(error) => {
                check.set(false, &error.to_string());
                if !std::mem::replace(&mut failed, true) {
                    warn!("cannot accept orders yet, retrying: {error}");
                }
            }
        }
        if shutdown.wait_timeout(pause) {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Loads the newest orders into the cache, once; retries while the database is unavailable.
pub fn warm_cache(app: &App, engine: &dyn StoreEngine, shutdown: &Shutdown) {
    let mut pause = FIRST_PAUSE;
    let mut failed = false;
    let mut behind_since: Option<Instant> = None;
    while !shutdown.is_requested() {
        // The followers' starts come first: without them newer versions and *forget* records of a row
        // may be missed.
        let followers = [&app.read_model.orders, &app.read_model.replies];
        if followers.iter().any(|follower| follower.generation() == 0) {
            shutdown.wait_timeout(FOLLOWER_PAUSE);
            continue;
        }
        let began = Instant::now();
        match attempt(app, engine) {
            Ok(Some(kept)) => {
                let took = began.elapsed().as_millis();
                let sentence = format!("the cache was warmed up with {kept} orders in {took} ms");
                info!("{sentence}");
                return app.warm_up.set(true, &sentence);
            }
            Ok(None) => {
                pause = FIRST_PAUSE;
                if behind_since.get_or_insert_with(Instant::now).elapsed() >= CATCH_UP_TIMEOUT {
                    let sentence = "nothing was warmed up: the store is behind the log";
                    info!("{sentence}");
                    return app.warm_up.set(true, sentence);
                }
            }
            Err(error) => {
                app.warm_up.set(true, &error.to_string());
                if !std::mem::replace(&mut failed, true) {
                    warn!("cannot warm up the cache, retrying: {error}");
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        shutdown.wait_timeout(pause);
    }
}

/// Loads the newest rows and returns how many of them were kept; `None` while the store has not
/// applied every record before the follower's start.
fn attempt(app: &App, engine: &dyn StoreEngine) -> anyhow::Result<Option<usize>> {
    let epoch = app.read_model.cache_epoch();
    let log_id = app.log.topic(&app.settings.topics.orders)?.log_id;
    let mut store = engine.connect()?;
    let schema = migrations::state(&store.applied_migrations()?);
    ensure!(schema == SchemaState::Current, "{schema}");
    let mut newest = Newest::new(app.settings.cache_max_bytes);
    let limit = app.settings.load_limit;
    let positions = store.latest(&log_id, limit, &mut |stored| newest.add(&stored))?;
    let (topic_id, starts) = app.read_model.orders.starts();
    let is_covered = is_covered(&positions, &topic_id, &starts);
    Ok(is_covered.then(|| keep(app, newest, epoch)))
}

/// The newest orders as they are served, as many as the cache can hold.
struct Newest {
    orders: Vec<(String, Bytes, Version)>,
    bytes_left: usize,
}

impl Newest {
    fn new(max_bytes: u64) -> Newest {
        Newest {
            orders: Vec::new(),
            bytes_left: usize::try_from(max_bytes).unwrap_or(usize::MAX),
        }
    }

    /// Breaks when the cache cannot hold the order besides those before.
    fn add(&mut self, stored: &StoredOrder) -> ControlFlow<()> {
        // A row whose record is unknown cannot be compared with the records that are followed.
        let Some(version) = stored.version() else {
            return ControlFlow::Continue(());
        };
        let uid = &stored.order.order_uid;
        let body = Bytes::from(stored.order.encode().into_boxed_slice());
        match self.bytes_left.checked_sub(bytes_of(uid, &body)) {
            Some(left) => self.bytes_left = left,
            None => return ControlFlow::Break(()),
        }
        self.orders.push((uid.clone(), body, version));
        ControlFlow::Continue(())
    }
}

/// Whether every partition is applied at least up to where the follower started.
fn is_covered(positions: &[Position], topic_id: &TopicId, starts: &[i64]) -> bool {
    let lag = lag(
        topic_id,
        starts.iter().copied(),
        positions.iter().map(Position::next),
    );
    let is_covered = |(lag, start): (&PartitionLag, &i64)| match lag {
        PartitionLag::Records(behind) => *behind <= 0,
        // Never consumed: nothing is missing only if there was nothing.
        PartitionLag::NoPosition => *start == 0,
        PartitionLag::OtherTopic => false,
    };
    lag.partitions().iter().zip(starts).all(is_covered)
}

/// Returns how many were kept. The newest come last, so that they are evicted last.
fn keep(app: &App, newest: Newest, epoch: CacheEpoch) -> usize {
    let mut kept = 0;
    for (uid, body, version) in newest.orders.into_iter().rev() {
        kept += usize::from(app.read_model.warmed(&uid, body, version, epoch));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Order;
    use crate::pipeline::{PartitionOffset, Source};

    fn position(partition: i32, topic_id: &str, next_offset: i64) -> Position {
        Position {
            topic_id: topic_id.into(),
            partition,
            next_offset,
            ..Position::default()
        }
    }

    #[test]
    fn no_more_rows_are_read_than_the_cache_can_hold() {
        let stored = |uid: &str, is_known: bool| StoredOrder {
            order: Order {
                order_uid: uid.into(),
                track_number: "long".repeat(1_000),
                ..Order::default()
            },
            source: is_known.then(|| Source {
                topic_id: "t".into(),
                at: PartitionOffset::new(0, 1),
            }),
            accepted_at_us: Some(1),
        };
        let mut newest = Newest::new(20_000);
        let rows = ["a", "b", "c", "d", "e", "f"].map(|uid| stored(uid, uid != "b"));
        let read = rows.iter().position(|row| newest.add(row).is_break());
        assert_eq!(
            read,
            Some(5),
            "four of 5 kB each, and one whose record is unknown"
        );
        let kept: Vec<&str> = newest.orders.iter().map(|(uid, ..)| uid.as_str()).collect();
        assert_eq!(kept, ["a", "c", "d", "e"]);
    }

    #[test]
    fn rows_are_kept_only_when_every_partition_is_applied_up_to_the_followers_start() {
        let topic = TopicId::from("t");
        let covered = |positions: &[Position]| is_covered(positions, &topic, &[5, 0, 7]);
        assert!(covered(&[
            position(0, "t", 5),
            position(1, "t", 0),
            position(2, "t", 9)
        ]));
        assert!(
            covered(&[position(0, "t", 5), position(2, "t", 7)]),
            "an empty partition"
        );
        assert!(!covered(&[
            position(0, "t", 4),
            position(1, "t", 0),
            position(2, "t", 9)
        ]));
        assert!(
            !covered(&[position(1, "t", 0), position(2, "t", 9)]),
            "never consumed"
        );
        assert!(!covered(&[
            position(0, "u", 5),
            position(1, "t", 0),
            position(2, "t", 9)
        ]));
    }
}
