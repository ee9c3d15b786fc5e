//! Two threads that look: at the topic (identity, lows, highs) and at the database, once a second.
//!
//! Lanes read what was last seen, so that nothing on the way of an order ever asks twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Context;
use super::clock;
use super::status::{DATABASE, LOG, MIGRATIONS};
use crate::event_log::{LogError, TopicState};
use crate::migrations::{self, SchemaState};
use crate::pipeline::TopicId;
use crate::store::{OrderStore, StoreError};

const EVERY: Duration = Duration::from_secs(1);
/// A database that has not answered for this long is told, although no call has failed.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// For so long the topic's identity, once asked, vouches for records that are read. To delete a
/// topic, make and fill it again and fetch from it takes longer: the client alone waits half a
/// second after the fetch that failed.
const VOUCHED_FOR: Duration = Duration::from_millis(100);

/// What was last seen.
#[derive(Default)]
pub struct Watch {
    topic: Mutex<Option<Arc<TopicState>>>,
    identity: Mutex<Option<(Instant, TopicId)>>,
    database_asked: Mutex<Option<Instant>>,
    returns: AtomicU64,
}

impl Watch {
    pub fn topic(&self) -> Option<Arc<TopicState>> {
        self.topic
            .lock()
            .expect("no thread panics while holding this lock")
            .clone()
    }

    /// How often the log or the database has answered again after it had not.
    pub fn returns(&self) -> u64 {
        self.returns.load(Ordering::Relaxed)
    }

    /// The identity of the topic that records read just now come from. Asks the log at most ten
    /// times a second, so a loaded lane pays nothing and an idle one a fifth of a millisecond.
    pub fn identity(&self, context: &Context) -> Result<TopicId, LogError> {
        let known = self
            .identity
            .lock()
            .expect("no thread panics while holding this lock")
            .clone();
        if let Some((asked, identity)) = known
            && clock::now() - asked < VOUCHED_FOR
        {
            return Ok(identity);
        }
        // Before the question: the answer may be old by the time it comes.
        let asked = clock::now();
        let identity = context.log.topic_id(&context.settings.topics.orders)?;
        *self
            .identity
            .lock()
            .expect("no thread panics while holding this lock") = Some((asked, identity.clone()));
        Ok(identity)
    }

    /// Says so when the database has been asked and keeps silent; called by the topic's thread.
    fn tell_silence(&self, context: &Context) {
        let asked = *self
            .database_asked
            .lock()
            .expect("no thread panics while holding this lock");
        if asked.is_some_and(|asked| asked.elapsed() > SILENT_AFTER) {
            context.status.ill(DATABASE, "it does not answer");
        }
    }
}

/// Starts both; they end with the process.
pub fn start(context: &Arc<Context>) {
    let topic = context.clone();
    std::thread::spawn(move || watch_topic(&topic));
    let database = context.clone();
    std::thread::spawn(move || watch_database(&database));
}

fn watch_topic(context: &Context) {
    let mut away = false;
    loop {
        look_at_topic(context, &mut away);
        context.watch.tell_silence(context);
        if context.shutdown.wait_timeout(EVERY) {
            return;
        }
    }
}

/// Looks once; `away` says whether the log did not answer the last time.
pub fn look_at_topic(context: &Context, away: &mut bool) {
    match context.log.topic(&context.settings.topics.orders) {
        Ok(state) => {
            let detail = if state.topic_id.is_known() {
                format!(
                    "topic `{}` has {} partitions",
                    context.settings.topics.orders,
                    state.highs.len()
                )
            } else {
                "the brokers tell no topic ids: a recreated topic is only found by its last record"
                    .into()
            };
            context.status.well(LOG, detail);
            *context
                .watch
                .topic
                .lock()
                .expect("no thread panics while holding this lock") = Some(Arc::new(state));
            if std::mem::take(away) {
                context.watch.returns.fetch_add(1, Ordering::Relaxed);
            }
        }
        Err(error) => {
            *away = true;
            context.status.ill(LOG, error.to_string());
        }
    }
}

fn watch_database(context: &Context) {
    let mut store = None;
    let mut away = false;
    loop {
        look_at_database(context, &mut store, &mut away);
        if context.shutdown.wait_timeout(EVERY) {
            return;
        }
    }
}

/// Looks once, on the connection of the last time; `away` says whether there was no answer since.
pub fn look_at_database(
    context: &Context,
    store: &mut Option<Box<dyn OrderStore>>,
    away: &mut bool,
) {
    let asked = &context.watch.database_asked;
    *asked
        .lock()
        .expect("no thread panics while holding this lock") = Some(Instant::now());
    let answer = look(context, store);
    *asked
        .lock()
        .expect("no thread panics while holding this lock") = None;
    match answer {
        Ok(SchemaState::Current) => {
            match context.store.warning() {
                Some(warning) => context.status.ill(DATABASE, warning),
                None => context.status.well(DATABASE, context.store.describe()),
            }
            context.status.well(MIGRATIONS, "all applied");
        }
        Ok(other) => {
            context.status.well(DATABASE, context.store.describe());
            context.status.ill(MIGRATIONS, schema_trouble(other));
            *store = None;
        }
        Err(error) => {
            context.status.ill(DATABASE, error.to_string());
            *store = None;
            *away = true;
        }
    }
    if store.is_some() && std::mem::take(away) {
        context.watch.returns.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pings; on a new connection it asks for the migrations too, since a restored database may lack
/// some.
fn look(
    context: &Context,
    store: &mut Option<Box<dyn OrderStore>>,
) -> Result<SchemaState, StoreError> {
    if let Some(store) = store {
        return store.ping().map(|()| SchemaState::Current);
    }
    let connected = store.insert(context.store.connect()?);
    Ok(migrations::state(&connected.applied_migrations()?))
}

/// What an operator is told about a schema that is not this program's.
pub fn schema_trouble(state: SchemaState) -> String {
    match state {
        SchemaState::Current => "all applied".into(),
        SchemaState::Pending(count) => {
            format!("{count} migration(s) pending: run `orders migrate`")
        }
        SchemaState::Newer => {
            "the database has migrations that this program does not know: update `orders`".into()
        }
    }
}
