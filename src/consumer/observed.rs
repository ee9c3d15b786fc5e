//! What was last observed of the topic and the database, so that storing an order need not query
//! them again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::clock;
use super::database_health::DatabaseHealth;
use crate::event_log::{LogError, TopicState};
use crate::pipeline::TopicId;
use crate::sync::lock;

/// How long the topic's identity, once queried, is valid for records that are read. To delete a
/// topic, create and fill it again and fetch from it takes longer: the client alone waits half a
/// second after the fetch that failed.
const TOPIC_ID_TTL: Duration = Duration::from_millis(100);

/// See the module's head.
#[derive(Default)]
pub struct Observed {
    topic: Mutex<Option<Arc<TopicState>>>,
    topic_id: Mutex<Option<(Instant, TopicId)>>,
    pub database: DatabaseHealth,
    recoveries: AtomicU64,
    /// Why the partitions must be acquired again, as of the last recovery.
    recovery: Mutex<String>,
}

impl Observed {
    /// The orders topic (identity, lows, highs); `None` before the log first answered.
    pub fn topic(&self) -> Option<Arc<TopicState>> {
        lock(&self.topic).clone()
    }

    pub fn set_topic(&self, topic: TopicState) {
        *lock(&self.topic) = Some(Arc::new(topic));
    }

    /// How often the log or the database may have become another: it has answered again after it had
    /// not, or a position was moved back.
    pub fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Relaxed)
    }

    pub fn add_recovery(&self, why: impl Into<String>) {
        *lock(&self.recovery) = why.into();
        self.recoveries.fetch_add(1, Ordering::Relaxed);
    }

    /// Why the last recovery was counted.
    pub fn last_recovery(&self) -> String {
        lock(&self.recovery).clone()
    }

    /// The topic's identity, at most [`TOPIC_ID_TTL`] old: a busy lane calls `query` ten times a
    /// second, an idle one pays a fifth of a millisecond.
    pub fn topic_id(
        &self,
        query: impl FnOnce() -> Result<TopicId, LogError>,
    ) -> Result<TopicId, LogError> {
        let known = lock(&self.topic_id).clone();
        if let Some((queried_at, topic_id)) = known
            && clock::now() - queried_at < TOPIC_ID_TTL
        {
            return Ok(topic_id);
        }
        // Before the query: its result may be old when it comes.
        let queried_at = clock::now();
        let topic_id = query()?;
        *lock(&self.topic_id) = Some((queried_at, topic_id.clone()));
        Ok(topic_id)
    }
}
