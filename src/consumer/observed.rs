//! What was last seen of the topic and the database, so that nothing on the way of an order asks
//! twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::clock;
use crate::event_log::{LogError, TopicState};
use crate::pipeline::TopicId;

/// How long the topic's identity, once asked for, is valid for records that are read. To delete a
/// topic, create and fill it again and fetch from it takes longer: the client alone waits half a
/// second after the fetch that failed.
const TOPIC_ID_TTL: Duration = Duration::from_millis(100);

/// See the module's head.
#[derive(Default)]
pub struct Observed {
    topic: Mutex<Option<Arc<TopicState>>>,
    topic_id: Mutex<Option<(Instant, TopicId)>>,
    database_asked_at: Mutex<Option<Instant>>,
    recoveries: AtomicU64,
}

impl Observed {
    /// The orders topic (identity, lows, highs); `None` before the log first answered.
    pub fn topic(&self) -> Option<Arc<TopicState>> {
        lock(&self.topic).clone()
    }

    pub fn set_topic(&self, topic: TopicState) {
        *lock(&self.topic) = Some(Arc::new(topic));
    }

    /// How often the log or the database has answered again after it had not.
    pub fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Relaxed)
    }

    pub fn add_recovery(&self) {
        self.recoveries.fetch_add(1, Ordering::Relaxed);
    }

    /// The topic's identity, at most [`TOPIC_ID_TTL`] old: a loaded lane asks ten times a second, an
    /// idle one pays a fifth of a millisecond.
    pub fn topic_id(
        &self,
        ask: impl FnOnce() -> Result<TopicId, LogError>,
    ) -> Result<TopicId, LogError> {
        let known = lock(&self.topic_id).clone();
        if let Some((asked_at, topic_id)) = known
            && clock::now() - asked_at < TOPIC_ID_TTL
        {
            return Ok(topic_id);
        }
        // Before the question: the answer may be old when it comes.
        let asked_at = clock::now();
        let topic_id = ask()?;
        *lock(&self.topic_id) = Some((asked_at, topic_id.clone()));
        Ok(topic_id)
    }

    /// Asks the database; meanwhile others see that it is being asked.
    pub fn asking_database<T>(&self, ask: impl FnOnce() -> T) -> T {
        *lock(&self.database_asked_at) = Some(Instant::now());
        let answer = ask();
        *lock(&self.database_asked_at) = None;
        answer
    }

    /// For how long the database has been asked without an answer.
    pub fn database_silent_for(&self) -> Duration {
        lock(&self.database_asked_at).map_or(Duration::ZERO, |asked_at| asked_at.elapsed())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while holding this lock")
}
