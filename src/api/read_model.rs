//! What this instance knows of orders: the cache, the lookups in progress, and the followers'
//! progress.
//!
//! Owns every way by which an entry enters the cache, with the reason why GET is right to serve it.
//!
//! # Invariants
//!
//! - An entry is only kept when the follower reads the log from that entry's offset or below.
//!   Otherwise a newer version may have been missed, and the entry would hide it until it expires.
//! - Only what this process accepted is served as it is; what came from the log is decoded first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tracing::{debug, info};

use super::follower_progress::FollowerProgress;
use super::lookups::{Joined, Lookups};
use crate::cache::{Entry, OrderCache};
use crate::diagnostics::EventLimit;
use crate::escape::LogValue;
use crate::order::BorrowedOrder;
use crate::pipeline::lookup_protocol::{Forget, LookupOutcome, LookupReply};
use crate::pipeline::{MAX_AHEAD_US, PartitionOffset, Record, Source, TopicId, Version, time};
use crate::sync::lock;

/// Shared by the handlers and the threads.
pub struct ReadModel {
    pub cache: OrderCache,
    pub lookups: Lookups,
    /// The follower of the topic of orders.
    pub orders: FollowerProgress,
    /// The follower of the topic of replies.
    pub replies: FollowerProgress,
    /// How many lines the replies may have: any client can cause lookups.
    pub reply_lines: Mutex<EventLimit>,
    /// How many *forget* records were read.
    pub forgotten: AtomicU64,
}

/// What must not change between a snapshot of the store and the moment its rows enter the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheEpoch {
    generation: u64,
    forgotten: u64,
}

/// The state of the follower of orders before an append.
pub struct FollowerEpoch {
    generation: u64,
    topic_id: TopicId,
}

impl ReadModel {
    /// Whether the cache is known to hold the newest versions.
    pub fn is_live(&self, now: Instant) -> bool {
        self.orders.is_live(now)
    }

    /// Take this before an order is appended, for [`ReadModel::accepted`]. `None` before the follower
    /// of orders has started: such an order could not be kept, and the next GET might be answered with
    /// an older version from the store.
    pub fn epoch(&self) -> Option<FollowerEpoch> {
        let (generation, topic_id) = self.orders.epoch();
        (generation > 0).then_some(FollowerEpoch {
            generation,
            topic_id,
        })
    }

    /// The log has acknowledged an order of this instance. Call before the client gets its 202: from
    /// then on a GET here gives this version or a newer one.
    pub fn accepted(
        &self,
        uid: &str,
        body: Bytes,
        at: PartitionOffset,
        accepted_at_us: i64,
        before: FollowerEpoch,
    ) {
        let topic_id = before.topic_id;
        let version = Version {
            source: Source { topic_id, at },
            accepted_at_us,
        };
        let entry = Arc::new(Entry::new(body, Some(version), None));
        if self.orders.covers(at) != Some(before.generation) {
            // The follower started after it, so it cannot be kept. An older version may be cached, or
            // a miss remembered: both are forgotten, and the next GET sends a lookup.
            self.cache.remove(uid);
            self.lookups.complete(uid, &entry);
            return;
        }
        let held = self.cache.put(uid, entry);
        if self.orders.generation() != before.generation {
            self.cache.remove(uid);
        }
        self.lookups.complete(uid, &held);
    }

    /// Whether the cache holds the record at this very offset. Most records that an instance follows
    /// are orders that it accepted itself, which enter the cache before the follower reads them. Only
    /// for the same offset is the key known to be the uid.
    pub fn holds(&self, topic_id: &TopicId, at: PartitionOffset, key: &[u8]) -> bool {
        let is_this = |source: &Source| source.at == at && source.topic_id == *topic_id;
        std::str::from_utf8(key).is_ok_and(|uid| {
            self.cache.holds(uid, |held| {
                let version = held.version.as_ref();
                held.behind.is_none() && version.is_some_and(|it| is_this(&it.source))
            })
        })
    }

    /// The follower read a record of the topic of orders.
    pub fn followed(&self, record: &Record, topic_id: &TopicId) {
        let Some((uid, body)) = followed_order(record) else {
            return;
        };
        let version = Version::of(record, topic_id);
        // The store may have a newer version of a record that was accepted before this log was
        // followed, from another log that had this name before.
        let may_insert = version.accepted_at_us >= self.orders.started_at_us();
        let entry = Entry::new(body, Some(version), None);
        match self.cache.put_followed(&uid, entry, may_insert) {
            Some(held) => self.lookups.complete(&uid, &held),
            None => self.lookups.invalidate(&uid),
        }
    }

    /// The follower read a record of the topic of replies. Only a reply to a request of this instance
    /// enters the cache, and only as a version that the log can have: nobody can put an order there, or
    /// one that nothing outranks, by merely writing to the topic.
    pub fn replied(&self, record: &Record, now: Instant) {
        if let Some(Forget { order_uid }) = Forget::decode(record) {
            return self.forget(&order_uid);
        }
        let Some(reply) = LookupReply::decode(record) else {
            return;
        };
        let version = reply.outcome.version().filter(|it| self.is_possible(it));
        let uid = reply.order_uid;
        match reply.outcome {
            LookupOutcome::Found { body, behind, .. } => {
                let Some(correlation_id) = reply.correlation_id else {
                    let unverified = || Arc::new(Entry::new(body, None, None));
                    let entry = self.cache.get(&uid).unwrap_or_else(unverified);
                    self.lookups.reply_unverified(&uid, entry);
                    return;
                };
                let keep = || self.cache.put(&uid, Entry::new(body, version, behind));
                if !self.lookups.reply_found(&uid, correlation_id, keep) {
                    return;
                }
                self.log_updates(now);
                let uid = LogValue(&uid);
                match lock(&self.reply_lines).admits(now) {
                    true => info!("CACHE UPDATED order_uid={uid} source=order-found"),
                    false => debug!("CACHE UPDATED order_uid={uid} source=order-found"),
                }
            }
            LookupOutcome::NotFound(not_found) => {
                if let Some(correlation_id) = reply.correlation_id {
                    let live = self.is_live(now);
                    self.lookups
                        .reply_not_found(&uid, correlation_id, not_found, live, now);
                }
            }
        }
    }

    /// One line for the updates of the last second that have none.
    pub fn log_updates(&self, now: Instant) {
        if let Some(updates) = lock(&self.reply_lines).take_count(now) {
            info!("{updates} more orders entered the cache within a second source=order-found");
        }
    }

    /// Whether the log can have this version. One that it cannot have would outrank those that follow, or
    /// be taken for a record that is still to be followed: its order is kept as of unknown version.
    fn is_possible(&self, version: &Version) -> bool {
        let latest_us = time::now_us().saturating_add(2 * MAX_AHEAD_US);
        (0..=latest_us).contains(&version.accepted_at_us) && self.orders.has_passed(&version.source)
    }

    /// An operator has changed or erased the order in the store, so what is held may not be its newest
    /// version. In this order: once no reply to an earlier request counts, nothing old enters after the
    /// entry is evicted. No record that is still to be followed brings it back.
    fn forget(&self, uid: &str) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.lookups.invalidate(uid);
        self.cache.evict(uid);
        info!(
            "order {} was forgotten: an operator changed it",
            LogValue(uid)
        );
    }

    /// Take this before a snapshot of the store, for [`ReadModel::warmed`].
    pub fn cache_epoch(&self) -> CacheEpoch {
        CacheEpoch {
            generation: self.orders.generation(),
            forgotten: self.forgotten.load(Ordering::SeqCst),
        }
    }

    /// A row of the store, read in a snapshot at or beyond the follower's start. Whether it was kept:
    /// not when the follower has restarted, or any order was forgotten, since `epoch`.
    pub fn warmed(&self, uid: &str, body: Bytes, version: Version, epoch: CacheEpoch) -> bool {
        let is_current = || self.cache_epoch() == epoch;
        if !is_current() {
            return false;
        }
        let held = self.cache.put(uid, Entry::new(body, Some(version), None));
        if !is_current() {
            self.cache.remove(uid);
            return false;
        }
        self.lookups.complete(uid, &held);
        true
    }

    /// Joins or starts the lookup of a uid that the cache does not have.
    pub fn join(&self, uid: &str, now: Instant) -> Joined {
        self.lookups
            .join(uid, now, self.is_live(now), || self.cache.get(uid))
    }

    /// The follower of orders restarts, so newer versions may have been missed. In this order: once no
    /// reply to an earlier request counts, nothing old enters after the cache is cleared.
    pub fn reset(&self) {
        self.lookups.renew();
        self.cache.clear();
    }

    /// The follower of replies restarts, so *forget* records may have been missed, and replies too. As in
    /// [`ReadModel::forget`], for all orders.
    pub fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.lookups.renew();
        self.cache.evict_all();
    }
}

/// The uid and the body to serve; `None` for a record that is no order. Decoded whatever its headers
/// say: any program may write to the topic.
fn followed_order(record: &Record) -> Option<(String, Bytes)> {
    let order = BorrowedOrder::decode(record.value.as_ref()?).ok()?;
    let body = Bytes::from(order.encode().into_boxed_slice());
    Some((order.order_uid.to_string(), body))
}

#[cfg(test)]
mod tests;
