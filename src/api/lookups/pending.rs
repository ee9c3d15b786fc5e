//! One lookup under way, and who waits for it.
//!
//! Owns the correlation id and the two groups of waiters; when to keep, answer or drop it is decided
//! in `lookups`, under the lock that this lives behind. The surprising thing: those who come after
//! the question was sent wait apart, since a "no" to it may be older than what they know.

use std::time::Instant;

use tokio::sync::watch;
use uuid::Uuid;

use super::{ASK_AGAIN, Answer};
use crate::pipeline::lookup_protocol::LOOKUP_TTL;

/// See the module's head.
pub struct Pending {
    pub correlation: Uuid,
    /// Those who came before the question was sent.
    pub answer: watch::Sender<Option<Answer>>,
    /// Those who came after it: a "no" to it may be older than what they know.
    pub late: Option<watch::Sender<Option<Answer>>>,
    /// When the lookup was last sent; `None`: it must be sent at once.
    pub asked_at: Option<Instant>,
    /// The log has taken a lookup for this slot.
    pub acknowledged: bool,
    /// When it is given up.
    pub until: Instant,
    /// Misses of this uid before this one, and until when they count.
    pub misses: u32,
    pub misses_until: Instant,
}

impl Pending {
    /// Not sent yet; this uid was missed so many times before, which counts until then.
    pub fn new(now: Instant, misses: u32, misses_until: Instant) -> Pending {
        Pending {
            correlation: Uuid::new_v4(),
            answer: watch::channel(None).0,
            late: None,
            asked_at: None,
            acknowledged: false,
            until: now + LOOKUP_TTL,
            misses,
            misses_until,
        }
    }

    /// The correlation id to send now, if it is time to send.
    pub fn ask(&mut self, now: Instant) -> Option<Uuid> {
        if self
            .asked_at
            .is_some_and(|asked_at| now < asked_at + ASK_AGAIN)
        {
            return None;
        }
        self.asked_at = Some(now);
        self.until = now + LOOKUP_TTL;
        Some(self.correlation)
    }

    /// Where a newcomer waits.
    pub fn subscribe(&mut self) -> watch::Receiver<Option<Answer>> {
        if self.asked_at.is_none() {
            return self.answer.subscribe();
        }
        let late = self.late.get_or_insert_with(|| watch::channel(None).0);
        late.subscribe()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        let late = self.late.as_ref().map_or(0, watch::Sender::receiver_count);
        self.answer.receiver_count() + late
    }

    /// From now on only answers to a new question count.
    pub fn renew(&mut self) {
        self.correlation = Uuid::new_v4();
        self.asked_at = None;
        self.acknowledged = false;
    }

    /// Tells everybody. Nobody may be waiting any more: the answer is in the cache all the same.
    pub fn wake(self, answer: Answer) {
        if let Some(late) = self.late {
            late.send_replace(Some(answer.clone()));
        }
        self.answer.send_replace(Some(answer));
    }
}
