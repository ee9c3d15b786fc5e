//! A cache of encoded orders, bounded in bytes and time.
//!
//! Owns what is kept and for how long; the API decides what may be put in. One lock guards all of it
//! and is held for less than a microsecond.
//!
//! # Invariants
//!
//! Every put is an atomic compare-and-put by [`Version`]: in whatever order the versions of an order
//! arrive, the newest stays. For each partition the cache remembers the highest offset it evicted, so
//! that a follower that lags cannot put in a version older than an evicted one.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::RandomState;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashlink::LruCache;
use sha2::{Digest, Sha256};

use crate::pipeline::{PartitionOffset, Version};
use crate::sync;

/// How long an entry is kept that may be outdated without the follower noticing.
const UNVERSIONED_TTL: Duration = Duration::from_secs(1);

/// What an entry costs besides its body and its uid: measured as the growth of the process by 250,000
/// orders of 1 kB, so that the limit in bytes is one of memory.
const ENTRY_OVERHEAD: usize = 300;

/// One order as it is served.
#[derive(Debug)]
pub struct Entry {
    pub body: Bytes,
    /// Which record it came from; `None` when that is unknown: then any known version replaces it.
    pub version: Option<Version>,
    /// How many records the store had not applied when it was read; `None` when it had applied all.
    pub behind: Option<u64>,
    etag: OnceLock<Bytes>,
}

impl Entry {
    pub fn new(body: Bytes, version: Option<Version>, behind: Option<u64>) -> Entry {
        Entry {
            body,
            version,
            behind,
            etag: OnceLock::new(),
        }
    }

    /// A strong entity tag: the same bytes have the same tag on every instance.
    pub fn etag(&self) -> Bytes {
        let tag = || {
            let digest = Sha256::digest(&self.body);
            let hex: String = digest[..12]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            Bytes::from(format!("\"{hex}\""))
        };
        self.etag.get_or_init(tag).clone()
    }

    fn lifetime(&self, ttl: Duration) -> Duration {
        // The follower replaces it when a newer version comes.
        let is_followed = self.version.is_some() && self.behind.is_none();
        if is_followed {
            ttl
        } else {
            ttl.min(UNVERSIONED_TTL)
        }
    }

    /// Whether this entry replaces `held`.
    fn replaces(&self, held: &Entry) -> bool {
        match (&self.version, &held.version) {
            (Some(new), Some(old)) => match new.compare(old) {
                Ordering::Greater => true,
                // The same record, now known to be the newest.
                Ordering::Equal => held.behind.is_some() && self.behind.is_none(),
                Ordering::Less => false,
            },
            (Some(_), None) | (None, None) => true,
            (None, Some(_)) => false,
        }
    }
}

/// Orders by uid.
pub struct OrderCache {
    max_bytes: usize,
    ttl: Duration,
    held: Mutex<Held>,
}

/// What the lock guards.
struct Held {
    /// The least recently used first. The hasher has a random key, since clients choose the uids.
    slots: LruCache<Box<str>, Slot, RandomState>,
    bytes: usize,
    /// For each partition the highest offset that was evicted.
    evicted: HashMap<i32, i64>,
}

struct Slot {
    entry: Arc<Entry>,
    expires_at: Instant,
}

impl OrderCache {
    /// A cache of at most `max_bytes` whose entries live for `ttl` on the monotonic clock.
    pub fn new(max_bytes: u64, ttl: Duration) -> OrderCache {
        OrderCache {
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            ttl,
            held: Mutex::default(),
        }
    }

    pub fn get(&self, uid: &str) -> Option<Arc<Entry>> {
        self.lock().get(uid, Instant::now())
    }

    /// Whether there is an entry of that uid that `matches`; it does not count as used.
    pub fn holds(&self, uid: &str, matches: impl FnOnce(&Entry) -> bool) -> bool {
        let held = self.lock();
        held.slots
            .peek(uid)
            .is_some_and(|slot| matches(&slot.entry))
    }

    /// Puts `entry` in unless what is held is newer; returns what is held afterwards.
    pub fn put(&self, uid: &str, entry: impl Into<Arc<Entry>>) -> Arc<Entry> {
        let entry = entry.into();
        self.put_if(uid, &entry, |_| true).unwrap_or(entry)
    }

    /// As [`OrderCache::put`] for a record that a follower read. When a higher offset of its partition
    /// was evicted, that may have been a newer version of this order: then, or when `may_insert` is
    /// false, the record only replaces an older entry.
    pub fn put_followed(&self, uid: &str, entry: Entry, may_insert: bool) -> Option<Arc<Entry>> {
        let entry = Arc::new(entry);
        self.put_if(uid, &entry, |held| {
            may_insert && !held.may_have_evicted_newer(&entry)
        })
    }

    fn put_if(
        &self,
        uid: &str,
        entry: &Arc<Entry>,
        may_insert: impl FnOnce(&Held) -> bool,
    ) -> Option<Arc<Entry>> {
        let now = Instant::now();
        let mut held = self.lock();
        match held.get(uid, now) {
            Some(older) if entry.replaces(&older) => {}
            None if may_insert(&held) => {}
            kept => return kept,
        }
        let slot = Slot {
            entry: entry.clone(),
            expires_at: now + entry.lifetime(self.ttl),
        };
        held.insert(uid, slot);
        held.shrink(self.max_bytes, now);
        Some(entry.clone())
    }

    /// Removes one order: what is held may not be the newest.
    pub fn remove(&self, uid: &str) {
        self.lock().take(uid);
    }

    /// Removes one order, and keeps followers that lag from bringing it back.
    pub fn evict(&self, uid: &str) {
        self.lock().evict(uid);
    }

    /// As [`OrderCache::evict`], for all orders.
    pub fn evict_all(&self) {
        let mut held = self.lock();
        let slots = LruCache::with_hasher(usize::MAX, RandomState::new());
        let slots = mem::replace(&mut held.slots, slots);
        held.bytes = 0;
        slots
            .iter()
            .for_each(|(_, slot)| held.remember(&slot.entry));
        drop(held);
        // Freed after the lock is released.
        drop(slots);
    }

    /// Removes everything: the log is another one, or was not followed for a while.
    pub fn clear(&self) {
        let all = mem::take(&mut *self.lock());
        // Freed after the lock is released.
        drop(all);
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        let mut held = self.lock();
        held.shrink(self.max_bytes, Instant::now());
        held.slots.len()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        sync::lock(&self.held)
    }
}

impl Default for Held {
    fn default() -> Held {
        Held {
            slots: LruCache::with_hasher(usize::MAX, RandomState::new()),
            bytes: 0,
            evicted: HashMap::new(),
        }
    }
}

impl Held {
    /// What is held and not expired, which becomes the most recently used.
    fn get(&mut self, uid: &str, now: Instant) -> Option<Arc<Entry>> {
        let slot = self.slots.get(uid)?;
        if slot.expires_at > now {
            return Some(slot.entry.clone());
        }
        self.evict(uid);
        None
    }

    fn insert(&mut self, uid: &str, slot: Slot) {
        self.bytes += cost(uid, &slot);
        if let Some(old) = self.slots.insert(uid.into(), slot) {
            self.bytes -= cost(uid, &old);
        }
    }

    fn take(&mut self, uid: &str) -> Option<Slot> {
        let slot = self.slots.remove(uid)?;
        self.bytes -= cost(uid, &slot);
        Some(slot)
    }

    fn evict(&mut self, uid: &str) {
        if let Some(slot) = self.take(uid) {
            self.remember(&slot.entry);
        }
    }

    /// Evicts the least recently used entries until the rest fits, and those after them that have
    /// expired.
    fn shrink(&mut self, max_bytes: usize, now: Instant) {
        while let Some((_, next)) = self.slots.iter().next()
            && (self.bytes > max_bytes || next.expires_at <= now)
            && let Some((uid, slot)) = self.slots.remove_lru()
        {
            self.bytes -= cost(&uid, &slot);
            self.remember(&slot.entry);
        }
    }

    fn remember(&mut self, evicted: &Entry) {
        if let Some(version) = &evicted.version {
            let PartitionOffset { partition, offset } = version.source.at;
            let highest = self.evicted.entry(partition).or_insert(offset);
            *highest = offset.max(*highest);
        }
    }

    fn may_have_evicted_newer(&self, entry: &Entry) -> bool {
        entry.version.as_ref().is_some_and(|version| {
            let PartitionOffset { partition, offset } = version.source.at;
            let highest = self.evicted.get(&partition);
            highest.is_some_and(|highest| *highest > offset)
        })
    }
}

fn cost(uid: &str, slot: &Slot) -> usize {
    bytes_of(uid, &slot.entry.body)
}

/// How many bytes of a cache an order takes.
pub fn bytes_of(uid: &str, body: &Bytes) -> usize {
    body.len() + uid.len() + ENTRY_OVERHEAD
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
