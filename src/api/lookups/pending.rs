//! One lookup in progress, and the GETs that wait for it.
//!
//! Owns the correlation id and the two groups of GETs; `lookups` decides when to complete or drop it,
//! under the lock that this lives behind. A GET that comes after the request was sent waits apart,
//! since a "not found" may be older than what its client knows.

use std::time::Instant;

use tokio::sync::watch;
use uuid::Uuid;

use super::{Completion, LookupHandle, RESEND_INTERVAL};
use crate::pipeline::lookup_protocol::LOOKUP_TTL;

/// A lookup that is not completed.
pub struct Pending {
    pub correlation_id: Uuid,
    /// GETs that came before the request was sent.
    pub early: watch::Sender<Option<Completion>>,
    /// GETs that came after it.
    pub late: Option<watch::Sender<Option<Completion>>>,
    /// When the lookup was last sent; `None`: it must be sent at once.
    pub sent_at: Option<Instant>,
    /// The log has acknowledged a request of this lookup.
    pub acknowledged: bool,
    /// When it expires.
    pub until: Instant,
    /// Misses of this uid before this one, and until when they count.
    pub misses: u32,
    pub misses_until: Instant,
}

impl Pending {
    /// Not sent yet; the uid was missed `misses` times before, which counts until `misses_until`.
    pub fn new(now: Instant, misses: u32, misses_until: Instant) -> Pending {
        Pending {
            correlation_id: Uuid::new_v4(),
            early: watch::channel(None).0,
            late: None,
            sent_at: None,
            acknowledged: false,
            until: now + LOOKUP_TTL,
            misses,
            misses_until,
        }
    }

    /// A GET waits for this lookup.
    pub fn join(&mut self, now: Instant) -> LookupHandle {
        let completion = if self.sent_at.is_none() {
            self.early.subscribe()
        } else {
            let late = self.late.get_or_insert_with(|| watch::channel(None).0);
            late.subscribe()
        };
        LookupHandle {
            completion,
            to_send: self.due_request(now),
        }
    }

    /// The correlation id of a request that is due now.
    pub fn due_request(&mut self, now: Instant) -> Option<Uuid> {
        if self
            .sent_at
            .is_some_and(|sent_at| now < sent_at + RESEND_INTERVAL)
        {
            return None;
        }
        self.sent_at = Some(now);
        self.until = now + LOOKUP_TTL;
        Some(self.correlation_id)
    }

    /// How many GETs wait.
    pub fn waiters(&self) -> usize {
        let late = self.late.as_ref().map_or(0, watch::Sender::receiver_count);
        self.early.receiver_count() + late
    }

    /// From now on only replies to a new request count.
    pub fn renew(&mut self) {
        self.correlation_id = Uuid::new_v4();
        self.sent_at = None;
        self.acknowledged = false;
    }

    /// Notifies every GET that still waits.
    pub fn complete(self, completion: Completion) {
        if let Some(late) = self.late {
            late.send_replace(Some(completion.clone()));
        }
        self.early.send_replace(Some(completion));
    }
}
