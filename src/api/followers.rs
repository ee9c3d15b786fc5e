//! The threads that follow the log: one reads the orders, one the replies, one watches both.
//!
//! Owns when a follower is opened, assigned and restarted; what a record means is decided in
//! `read_model`, and how far is far enough in `follower_progress`. Everything retries for ever.
//!
//! There is no consumer group: every instance must see every record. It starts at the ends as
//! offsets, because `latest` as Kafka's client understands it misses what comes in the next 20 ms.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::follower_progress::{Command, FollowerProgress};
use super::read_model::ReadModel;
use crate::event_log::{EventLog, Followed, Follower, LogError, LogFault, ReadBack};
use crate::pipeline::{PartitionOffset, Record, TopicId};
use crate::shutdown::Shutdown;

/// How long a follower waits for a record before it checks for commands.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How late another instance's order may be read here. Most orders followed are this instance's own,
/// which the cache already has: reading them in batches leaves the processor to the POSTs.
const ORDERS_DELAY: Duration = Duration::from_millis(10);

/// The pause before a follower is opened again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How often the ends are queried, while both followers are live and while one is not.
const QUERY_INTERVAL: Duration = Duration::from_secs(1);
const QUERY_INTERVAL_NOT_LIVE: Duration = Duration::from_millis(200);

/// Whether the record at this offset of that incarnation of the topic is known by its key.
type Holds<'a> = dyn Fn(&TopicId, PartitionOffset, &[u8]) -> bool + 'a;

/// What is done with each record, and when the follower starts at the ends.
struct FollowHandler<'a> {
    /// Whether the record at this offset, with this key, can be passed over.
    knows: &'a Holds<'a>,
    on_record: &'a dyn Fn(&Record, &TopicId),
    on_restart: &'a dyn Fn(),
    /// How late a record may be read.
    delay: Duration,
}

/// Follows the topic of orders until a stop is requested: every order enters the cache.
pub fn follow_orders(log: &dyn EventLog, read_model: &ReadModel, shutdown: &Shutdown) {
    let handler = FollowHandler {
        knows: &|topic_id, at, key| read_model.holds(topic_id, at, key),
        on_record: &|record, topic_id| read_model.followed(record, topic_id),
        on_restart: &|| read_model.reset(),
        delay: ORDERS_DELAY,
    };
    follow(log, &read_model.orders, shutdown, &handler);
}

/// Follows the topic of replies until a stop is requested: each completes its lookup.
pub fn follow_replies(log: &dyn EventLog, read_model: &ReadModel, shutdown: &Shutdown) {
    let handler = FollowHandler {
        knows: &|_, _, _| false,
        on_record: &|record, _| read_model.replied(record, Instant::now()),
        // Replies and *forget* records may have been missed.
        on_restart: &|| read_model.forget_all(),
        // A client waits for each of them.
        delay: Duration::ZERO,
    };
    follow(log, &read_model.replies, shutdown, &handler);
}

fn follow(
    log: &dyn EventLog,
    progress: &FollowerProgress,
    shutdown: &Shutdown,
    handler: &FollowHandler<'_>,
) {
    let mut restart = true;
    while !shutdown.is_requested() {
        restart |= progress.take_command() == Some(Command::Restart);
        match open(log, progress, handler, &mut restart) {
            Ok(mut follower) => {
                // Ready at once where nothing is to be read, not at the next query of `watch_log`.
                query_ends(log, progress);
                restart = read(&mut *follower, progress, shutdown, handler);
            }
            Err(error) => report(progress, &error.to_string()),
        }
        shutdown.wait_timeout(RETRY_PAUSE);
    }
}

/// A follower at the positions of `progress`, or at the ends when it has to `restart`.
fn open(
    log: &dyn EventLog,
    progress: &FollowerProgress,
    handler: &FollowHandler<'_>,
    restart: &mut bool,
) -> Result<Box<dyn Follower>, LogError> {
    if *restart {
        let ends = log.topic(&progress.topic)?;
        // The start is fixed before the cache is cleared, and stays the start however often opening
        // fails below: no newer version of what enters from here on can be missed.
        progress.start(&ends, Instant::now());
        (handler.on_restart)();
        *restart = false;
    }
    log.follow(&progress.topic, &progress.positions(), handler.delay)
}

/// Reads until the follower must be opened again. Whether to forget everything then and start at the
/// ends.
fn read(
    follower: &mut dyn Follower,
    progress: &FollowerProgress,
    shutdown: &Shutdown,
    handler: &FollowHandler<'_>,
) -> bool {
    let mut topic_id = progress.topic_id();
    while !shutdown.is_requested() {
        match progress.take_command() {
            Some(Command::Restart) => return true,
            Some(Command::Reassign) => {
                topic_id = progress.topic_id();
                if let Err(error) = follower.assign(&progress.positions()) {
                    report(progress, &error.to_string());
                    return false;
                }
            }
            None => {}
        }
        let knows = |at: PartitionOffset, key: &[u8]| (handler.knows)(&topic_id, at, key);
        match follower.next(POLL_TIMEOUT, &knows) {
            Some(Followed::Known(at)) => progress.advanced(at, Instant::now()),
            Some(Followed::Record(record)) => {
                // In this order: who reads the new position finds the record in the cache.
                (handler.on_record)(&record, &topic_id);
                progress.advanced(record.at(), Instant::now());
            }
            Some(Followed::End(_)) | None => {}
            Some(Followed::Fault(fault)) => match fault {
                LogFault::Transient(why) => report(progress, &why),
                LogFault::Fatal(why) => {
                    report(progress, &why);
                    return false;
                }
                // The records from here to the end cannot be read, or belong to another log.
                LogFault::Reset(why) | LogFault::Corrupt(why) => {
                    report(progress, &why);
                    return true;
                }
            },
        }
    }
    false
}

/// Queries the ends of both topics every second until a stop is requested, and expires lookups.
pub fn watch_log(log: &dyn EventLog, read_model: &ReadModel, shutdown: &Shutdown) {
    let followers = [&read_model.orders, &read_model.replies];
    loop {
        for progress in followers {
            query_ends(log, progress);
        }
        let now = Instant::now();
        read_model.lookups.expire(now);
        read_model.log_updates(now);
        let are_live = followers.iter().all(|progress| progress.is_live(now));
        if shutdown.wait_timeout(if are_live {
            QUERY_INTERVAL
        } else {
            QUERY_INTERVAL_NOT_LIVE
        }) {
            return;
        }
    }
}

fn query_ends(log: &dyn EventLog, progress: &FollowerProgress) {
    // Before the start, the following thread queries them.
    let Some(before) = progress.snapshot() else {
        return;
    };
    let queried_at = Instant::now();
    match log.topic(&progress.topic) {
        Ok(ends) => {
            for position in progress.ends_received(&before, ends, queried_at, Instant::now()) {
                inspect(log, progress, position);
            }
        }
        Err(error) => report(progress, &error.to_string()),
    }
    if progress.recovered() {
        info!("following topic `{}`", progress.topic);
    }
}

/// Reads what is at the position of a partition that stalls: only transaction markers, which are
/// skipped, or a record that the client does not return.
fn inspect(log: &dyn EventLog, progress: &FollowerProgress, position: PartitionOffset) {
    match log.read_from(&progress.topic, position) {
        Ok(ReadBack::End(end)) => progress.skipped(position, end, Instant::now()),
        Ok(ReadBack::Record(_)) => {
            if progress.stalled(position, Instant::now()) {
                let topic = &progress.topic;
                warn!(
                    %position, "topic `{topic}` stalls, assigning its partitions again"
                );
            }
        }
        Err(error) => report(progress, &error.to_string()),
    }
}

/// Logs the first of several failures; `watch_log` logs the recovery.
fn report(progress: &FollowerProgress, why: &str) {
    if progress.failed(why) {
        warn!("cannot follow topic `{}`, retrying: {why}", progress.topic);
    }
}
