//! The lookups in progress and the misses remembered.
//!
//! Owns one lookup for each uid however many GETs wait for it (single flight), and the bounds of both.
//! Sending a lookup and answering HTTP belong to `get_order`. Time is passed in, so every rule is
//! tested without waiting.
//!
//! # Invariants
//!
//! A negative reply only counts while its lookup is still pending, and only for the GETs that came
//! before the request was sent. A POST or a followed record removes the lookup and the miss, so "not
//! found" is never answered after an order that came later than the reply was computed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use self::pending::Pending;
use crate::cache::Entry;
use crate::pipeline::lookup_protocol::NotFound;
use crate::sync::lock;

mod pending;

/// Locks are held for a hash lookup; with sixteen of them followers and GETs rarely contend.
const SHARDS: usize = 16;

/// Lookups in progress, over all shards; beyond it new ones are refused.
const MAX_PENDING: usize = 10_000;

/// Misses remembered, over all shards; beyond it they are not remembered.
const MAX_NOT_FOUND: usize = 10_000;

/// How often a lookup is sent again while a GET waits for it.
pub const RESEND_INTERVAL: Duration = Duration::from_millis(500);

/// How long misses of one uid are counted and remembered.
const NOT_FOUND_TTL: Duration = Duration::from_secs(1);

/// How many misses of one uid within [`NOT_FOUND_TTL`] are looked up before the remembered miss is
/// answered. A lookup costs a millisecond and is always right, a remembered miss may be late by the
/// follower's delay: a client that polls gets lookups, a client that floods gets the remembered miss.
const MISSES_LOOKED_UP: u32 = 8;

/// How a lookup ended.
#[derive(Clone, Debug)]
pub enum Completion {
    Found(Arc<Entry>),
    /// From a reply that does not show which request it belongs to: it may be outdated.
    Unverified(Arc<Entry>),
    NotFound(NotFound),
}

/// What is known when a GET misses the cache.
pub enum Joined {
    /// It has entered the cache since.
    Found(Arc<Entry>),
    /// A remembered miss.
    NotFound(NotFound),
    Waiting(LookupHandle),
    /// Too many lookups are in progress.
    Full,
}

/// A GET's part in a lookup.
pub struct LookupHandle {
    /// A change to `None` completes nothing: the request has to be sent again, see
    /// [`Lookups::resend`].
    pub completion: watch::Receiver<Option<Completion>>,
    /// The correlation id of a request that the caller must send.
    pub to_send: Option<Uuid>,
}

/// A miss that is remembered.
struct Miss {
    not_found: NotFound,
    /// How many there were, and until when they count.
    misses: u32,
    until: Instant,
}

/// A uid is in one of the two at most.
#[derive(Default)]
struct Shard {
    pending: HashMap<Box<str>, Pending>,
    misses: HashMap<Box<str>, Miss>,
}

/// All lookups of this instance.
pub struct Lookups {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    pending: AtomicUsize,
}

impl Default for Lookups {
    fn default() -> Lookups {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Lookups {
            shards,
            hasher: RandomState::new(),
            pending: AtomicUsize::new(0),
        }
    }
}

impl Lookups {
    /// Joins the lookup of `uid`, or starts one. `cached` reads the cache again, under the lock
    /// that a put must take: what enters between the caller's miss and this call is not missed.
    /// Remembered misses are only answered while the followers are `live`.
    pub fn join(
        &self,
        uid: &str,
        now: Instant,
        live: bool,
        cached: impl FnOnce() -> Option<Arc<Entry>>,
    ) -> Joined {
        let mut shard = self.shard(uid);
        if let Some(entry) = cached() {
            return Joined::Found(entry);
        }
        if let Some(pending) = shard.pending.get_mut(uid) {
            return Joined::Waiting(pending.join(now));
        }
        let miss = shard.misses.get(uid).filter(|miss| now < miss.until);
        let (misses, misses_until) = match miss {
            Some(miss) if live && miss.misses >= MISSES_LOOKED_UP => {
                return Joined::NotFound(miss.not_found.clone());
            }
            Some(miss) => (miss.misses, miss.until),
            None => (0, now + NOT_FOUND_TTL),
        };
        if self.pending.load(Ordering::Relaxed) >= MAX_PENDING {
            return Joined::Full;
        }
        let mut pending = Pending::new(now, misses, misses_until);
        let handle = pending.join(now);
        shard.misses.remove(uid);
        shard.pending.insert(uid.into(), pending);
        self.pending.fetch_add(1, Ordering::Relaxed);
        Joined::Waiting(handle)
    }

    /// The correlation id with which the lookup of `uid` is to be sent again now, if it is.
    pub fn resend(&self, uid: &str, now: Instant) -> Option<Uuid> {
        self.shard(uid).pending.get_mut(uid)?.due_request(now)
    }

    /// The lookup could not be sent as `correlation_id`; the caller still waits. Another GET that waits
    /// sends it next; where there is none, the slot is removed.
    pub fn not_sent(&self, uid: &str, correlation_id: Uuid) {
        let mut shard = self.shard(uid);
        // Once the log has a request, its reply may still come.
        if let Some(pending) = shard.pending.get_mut(uid)
            && pending.correlation_id == correlation_id
            && !pending.acknowledged
        {
            pending.renew();
            if pending.waiters() <= 1 {
                self.remove(&mut shard, uid);
            }
        }
    }

    /// The log has acknowledged the lookup sent as `correlation_id`.
    pub fn acknowledged(&self, uid: &str, correlation_id: Uuid) {
        if let Some(pending) = self.shard(uid).pending.get_mut(uid)
            && pending.correlation_id == correlation_id
        {
            pending.acknowledged = true;
        }
    }

    /// Whether the log has a lookup of `uid` that may still be replied to.
    pub fn is_queued(&self, uid: &str) -> bool {
        let shard = self.shard(uid);
        shard
            .pending
            .get(uid)
            .is_some_and(|pending| pending.acknowledged)
    }

    /// Completes the lookup of an order that has entered the cache by another way, and forgets the
    /// misses of its uid.
    pub fn complete(&self, uid: &str, entry: &Arc<Entry>) {
        let mut shard = self.shard(uid);
        shard.misses.remove(uid);
        let removed = self.remove(&mut shard, uid);
        drop(shard);
        complete(removed, Completion::Found(entry.clone()));
    }

    /// A reply with an order came. Only one to a request of this instance counts. `keep` puts the order
    /// into the cache, under the lock, and returns what is held then. Whether the reply counted.
    pub fn reply_found(
        &self,
        uid: &str,
        correlation_id: Uuid,
        keep: impl FnOnce() -> Arc<Entry>,
    ) -> bool {
        let mut shard = self.shard(uid);
        let is_ours = |pending: &Pending| pending.correlation_id == correlation_id;
        if !shard.pending.get(uid).is_some_and(is_ours) {
            return false;
        }
        let held = keep();
        let removed = self.remove(&mut shard, uid);
        drop(shard);
        complete(removed, Completion::Found(held));
        true
    }

    /// An order came in a reply that does not show which request it belongs to: go-orders' consumer
    /// sends such replies, and so can anyone. It completes the GETs that wait now, and nothing is kept.
    /// Whether a GET waited.
    pub fn reply_unverified(&self, uid: &str, entry: Arc<Entry>) -> bool {
        let mut shard = self.shard(uid);
        let is_waited_for = |pending: &Pending| pending.waiters() > 0;
        if !shard.pending.get(uid).is_some_and(is_waited_for) {
            return false;
        }
        let removed = self.remove(&mut shard, uid);
        drop(shard);
        complete(removed, Completion::Unverified(entry));
        true
    }

    /// A reply came that there is no such order. Whether it counted. For GETs that came after the
    /// request was sent another one is sent, except where they would be answered with the remembered
    /// miss: `live`, and many misses.
    pub fn reply_not_found(
        &self,
        uid: &str,
        correlation_id: Uuid,
        not_found: NotFound,
        live: bool,
        now: Instant,
    ) -> bool {
        let mut shard = self.shard(uid);
        let Some(pending) = shard.pending.get_mut(uid) else {
            return false;
        };
        if pending.correlation_id != correlation_id {
            return false;
        }
        let (until, misses) = if now < pending.misses_until {
            (pending.misses_until, pending.misses + 1)
        } else {
            (now + NOT_FOUND_TTL, 1)
        };
        let late = pending.late.take_if(|it| it.receiver_count() > 0);
        if let Some(late) = late {
            if live && misses >= MISSES_LOOKED_UP {
                pending.late = Some(late);
            } else {
                (pending.misses, pending.misses_until) = (misses, until);
                pending.renew();
                late.send_replace(None);
                let completed = std::mem::replace(&mut pending.early, late);
                drop(shard);
                completed.send_replace(Some(Completion::NotFound(not_found)));
                return true;
            }
        }
        let removed = self.remove(&mut shard, uid);
        if shard.may_remember(now) {
            let miss = Miss {
                not_found: not_found.clone(),
                misses,
                until,
            };
            shard.misses.insert(uid.into(), miss);
        }
        drop(shard);
        complete(removed, Completion::NotFound(not_found));
        true
    }

    /// A record of this order was followed that cannot be kept: the order exists, and replies to
    /// earlier requests may be older.
    pub fn invalidate(&self, uid: &str) {
        let mut shard = self.shard(uid);
        shard.misses.remove(uid);
        if let Some(pending) = shard.pending.get_mut(uid) {
            pending.renew();
        }
    }

    /// A follower restarts: replies to earlier requests may be older than the records it missed, so
    /// every lookup gets another correlation id and is sent again; misses are forgotten.
    pub fn renew(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.misses.clear();
            shard.pending.values_mut().for_each(Pending::renew);
        }
    }

    /// Drops expired lookups for which no GET waits, and expired misses.
    pub fn expire(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.misses.retain(|_, miss| now < miss.until);
            let before = shard.pending.len();
            let is_kept = |pending: &Pending| now < pending.until || pending.waiters() > 0;
            shard.pending.retain(|_, pending| is_kept(pending));
            let expired = before - shard.pending.len();
            self.pending.fetch_sub(expired, Ordering::Relaxed);
        }
    }

    /// How many lookups are in progress.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    fn remove(&self, shard: &mut Shard, uid: &str) -> Option<Pending> {
        let removed = shard.pending.remove(uid)?;
        self.pending.fetch_sub(1, Ordering::Relaxed);
        Some(removed)
    }

    fn shard(&self, uid: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(uid) as usize;
        lock(&self.shards[hash % SHARDS])
    }
}

fn complete(removed: Option<Pending>, completion: Completion) {
    if let Some(pending) = removed {
        pending.complete(completion);
    }
}

impl Shard {
    /// Whether it has fewer misses than its share of [`MAX_NOT_FOUND`], once expired ones are removed.
    fn may_remember(&mut self, now: Instant) -> bool {
        let share = MAX_NOT_FOUND / SHARDS;
        if self.misses.len() >= share {
            self.misses.retain(|_, miss| now < miss.until);
        }
        self.misses.len() < share
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
