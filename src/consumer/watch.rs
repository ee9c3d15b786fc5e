//! Threads that observe the topic (identity and ends, and so the lag) and the database once a second, and
//! one that reads what the lag needs of the log, and one that counts the open dead letters.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::context::Context;
use super::lag::{self, Lag};
use super::status::{DATABASE, LOG, MIGRATIONS};
use crate::migrations::{self, SchemaState};
use crate::store::{OrderStore, OwnedPosition, StoreError};

const INTERVAL: Duration = Duration::from_secs(1);
/// A database that has not answered for this long is unhealthy, although no call has failed.
const SILENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether the lag needs something of the log.
const READ_INTERVAL: Duration = Duration::from_millis(200);

/// How often the open dead letters are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(60);

/// How soon they are counted again when that failed.
const COUNT_RETRY: Duration = Duration::from_secs(5);

/// What may have happened in an outage.
const RESTORED: &str = "the log or the database was unavailable and may have been restored";

/// Starts them; they end with the process.
pub fn start(context: &Arc<Context>) {
    let lag = Arc::new(Lag::default());
    let (topic, of_topic) = (context.clone(), lag.clone());
    thread::spawn(move || watch_topic(&topic, &of_topic));
    let reader = context.clone();
    thread::spawn(move || {
        while !reader.shutdown.wait_timeout(READ_INTERVAL) {
            lag.read(&reader);
        }
    });
    let database = context.clone();
    thread::spawn(move || watch_database(&database));
    let dead_letters = context.clone();
    thread::spawn(move || watch_dead_letters(&dead_letters));
}

/// Counts on a connection of its own, which it does not keep: the count may take a while.
fn watch_dead_letters(context: &Context) {
    loop {
        let store = context.store.operator();
        let open = store.and_then(|mut store| store.open_dead_letters());
        // What the database says of an outage is reported by those who need it.
        let open = open.ok().map(|(open, _)| open);
        context.status.set_dead_letters_open(open);
        let pause = open.map_or(COUNT_RETRY, |_| COUNT_INTERVAL);
        if context.shutdown.wait_timeout(pause) {
            return;
        }
    }
}

fn watch_topic(context: &Context, lag: &Lag) {
    let mut has_failed = false;
    loop {
        let positions = lag::positions(context);
        check_topic(context, &mut has_failed);
        if let Some(ends) = context.observed.topic() {
            let measured = lag.tick(&positions, &ends, !has_failed);
            context.status.set_lag(measured);
        }
        if context.observed.database.waiting_for() > SILENCE {
            context.status.unhealthy(DATABASE, "it does not answer");
        }
        if context.shutdown.wait_timeout(INTERVAL) {
            return;
        }
    }
}

/// Queries the topic once; `has_failed` is whether the last query failed.
pub fn check_topic(context: &Context, has_failed: &mut bool) {
    let name = &context.settings.topics.orders;
    match context.log.topic(name) {
        Ok(topic) => {
            let detail = if topic.topic_id.is_known() {
                match topic.highs.len() {
                    1 => format!("topic `{name}` has 1 partition"),
                    count => format!("topic `{name}` has {count} partitions"),
                }
            } else {
                "the brokers have no topic ids: a recreated topic is only found by its last record"
                    .into()
            };
            context.status.healthy(LOG, detail);
            context.observed.set_topic(topic);
            if std::mem::take(has_failed) {
                context.observed.add_recovery(RESTORED);
            }
        }
        Err(error) => {
            *has_failed = true;
            context.status.unhealthy(LOG, error);
        }
    }
}

fn watch_database(context: &Context) {
    let mut store = None;
    let mut has_failed = false;
    loop {
        check_database(context, &mut store, &mut has_failed);
        if context.shutdown.wait_timeout(INTERVAL) {
            return;
        }
    }
}

/// Queries the database once, on the connection of the last time; `has_failed` is whether a query has
/// failed since the last recovery.
pub fn check_database(
    context: &Context,
    store: &mut Option<Box<dyn OrderStore>>,
    has_failed: &mut bool,
) {
    let status = &context.status;
    match context.observed.database.measure(|| query(context, store)) {
        Ok(SchemaState::Current) => {
            match context.store.warning() {
                Some(warning) => status.unhealthy(DATABASE, warning),
                None => status.healthy(DATABASE, context.store.describe()),
            }
            status.healthy(MIGRATIONS, SchemaState::Current);
        }
        Ok(other) => {
            status.healthy(DATABASE, context.store.describe());
            status.unhealthy(MIGRATIONS, other);
            *store = None;
        }
        Err(error) => {
            status.unhealthy(DATABASE, error);
            *store = None;
            *has_failed = true;
        }
    }
    if store.is_some() && std::mem::take(has_failed) {
        context.observed.add_recovery(RESTORED);
    }
}

/// Pings; on a new connection it reads the migrations too, since a restored database may lack
/// some.
fn query(
    context: &Context,
    store: &mut Option<Box<dyn OrderStore>>,
) -> Result<SchemaState, StoreError> {
    if let Some(store) = store {
        store.ping()?;
        check_moved(context, &mut **store)?;
        return Ok(SchemaState::Current);
    }
    let connected = store.insert(context.store.connect()?);
    Ok(migrations::state(&connected.applied_migrations()?))
}

/// Looks for positions that were moved back, by `orders replay` or by another hand: a lane that waits
/// for records at the end would not notice.
fn check_moved(context: &Context, store: &mut dyn OrderStore) -> Result<(), StoreError> {
    let Some(topic) = context.observed.topic() else {
        return Ok(());
    };
    // Before the query: whatever was committed by now, the query sees.
    let (_, assigned) = context.progress.assigned();
    let committed: Vec<_> = assigned
        .iter()
        .filter_map(|(number, progress)| Some((*number, progress, progress.known()?)))
        .collect();
    if committed.is_empty() {
        return Ok(());
    }
    let positions = store.positions(&topic.log_id)?;
    for (number, progress, known) in committed {
        let is_its = |owned: &&OwnedPosition| owned.position.partition == number;
        let Some(OwnedPosition { position, .. }) = positions.iter().find(is_its) else {
            continue;
        };
        let (from, to) = (known.next_offset, position.next_offset);
        if to < from && !position.topic_id.contradicts(&known.topic_id) {
            // So that it is reported once.
            progress.set_position(position);
            context.observed.add_recovery(format!(
                "the position of partition {number} was moved back from {from} to {to}: its records \
                 are applied again"
            ));
        }
    }
    Ok(())
}
