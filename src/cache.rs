//! The bounded cache of ready-made bodies, and the rule by which one version replaces another.
//!
//! Owns what is kept, for how long and in how many bytes; who may put what in is the API's business.
//! Every put is an atomic compare-and-put by [`Version`]: whatever the order in which an order's
//! versions arrive, the newest stays. One lock guards all of it and is held for less than a
//! microsecond. The surprising thing: the cache remembers, for each partition, the highest offset it
//! had to forget, so that a follower that lags cannot bring back a version older than one that was
//! here and was evicted.

use std::cmp::Ordering;
use std::hash::RandomState;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashlink::LruCache;
use sha2::{Digest, Sha256};

use crate::pipeline::Version;

/// How long an answer is kept that may be outdated without anybody telling us.
const UNSURE_TTL: Duration = Duration::from_secs(1);

/// What an entry costs beside its body and its uid: measured as the growth of the process by 250,000
/// orders of 1 kB, so that the limit in bytes is one of memory.
const ENTRY_OVERHEAD: usize = 300;

/// One order as it is answered.
#[derive(Debug)]
pub struct Entry {
    pub body: Bytes,
    /// `None`: nobody knows which record it came from, so anything that does know replaces it.
    pub version: Option<Version>,
    /// How many records the store had not applied when it gave this answer; `None`: it had all.
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

    /// How long it is kept: as long as any, or shortly when nobody would tell that it is outdated.
    fn lifetime(&self, ttl: Duration) -> Duration {
        let is_sure = self.version.is_some() && self.behind.is_none();
        if is_sure { ttl } else { ttl.min(UNSURE_TTL) }
    }

    /// Whether this one takes the place of `held`.
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

/// Orders by uid, bounded in bytes and in time. Never blocks for long.
pub struct OrderCache {
    max_bytes: usize,
    ttl: Duration,
    held: Mutex<Held>,
}

/// What the lock guards.
struct Held {
    /// The least recently used first. The hasher is keyed, since clients choose the uids.
    slots: LruCache<Box<str>, Slot, RandomState>,
    bytes: usize,
    forgotten: Forgotten,
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

    /// Whether there is an entry of that uid which `is_it`; nobody counts as having asked for it.
    pub fn holds(&self, uid: &str, is_it: impl FnOnce(&Entry) -> bool) -> bool {
        let held = self.lock();
        held.slots.peek(uid).is_some_and(|slot| is_it(&slot.entry))
    }

    /// Puts `entry` in unless what is held is newer, and returns what is held then.
    pub fn put(&self, uid: &str, entry: Entry) -> Arc<Entry> {
        self.put_shared(uid, &Arc::new(entry))
    }

    /// As [`OrderCache::put`], for an entry that is needed elsewhere too.
    pub fn put_shared(&self, uid: &str, entry: &Arc<Entry>) -> Arc<Entry> {
        self.put_where(uid, entry, |_| true)
            .unwrap_or_else(|| entry.clone())
    }

    /// As [`OrderCache::put`] for a record that a follower read, with one exception: where a higher
    /// offset of its partition has been forgotten, a newer version of this very order may have been
    /// among it, so the record only replaces an older entry and never begins one. Nor does it where
    /// `may_begin` is false.
    pub fn put_followed(&self, uid: &str, entry: Entry, may_begin: bool) -> Option<Arc<Entry>> {
        let entry = Arc::new(entry);
        self.put_where(uid, &entry, |forgotten| {
            may_begin && !forgotten.may_outrank(&entry)
        })
    }

    fn put_where(
        &self,
        uid: &str,
        entry: &Arc<Entry>,
        may_begin: impl FnOnce(&Forgotten) -> bool,
    ) -> Option<Arc<Entry>> {
        let now = Instant::now();
        let mut held = self.lock();
        match held.get(uid, now) {
            Some(older) if entry.replaces(&older) => {}
            None if may_begin(&held.forgotten) => {}
            kept => return kept,
        }
        let slot = Slot {
            entry: entry.clone(),
            expires_at: now + entry.lifetime(self.ttl),
        };
        held.insert(uid, slot);
        held.make_room(self.max_bytes, now);
        Some(entry.clone())
    }

    /// Forgets one order: what is held may not be the newest.
    pub fn remove(&self, uid: &str) {
        self.lock().take(uid);
    }

    /// Forgets everything: the log is another one, or was not followed for a while.
    pub fn clear(&self) {
        let all = mem::take(&mut *self.lock());
        // Many frees, after the lock.
        drop(all);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let mut held = self.lock();
        held.make_room(self.max_bytes, Instant::now());
        held.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Held {
    fn default() -> Held {
        Held {
            slots: LruCache::with_hasher(usize::MAX, RandomState::new()),
            bytes: 0,
            forgotten: Forgotten::default(),
        }
    }
}

impl Held {
    /// What is held and not expired; from now on the most recently used.
    fn get(&mut self, uid: &str, now: Instant) -> Option<Arc<Entry>> {
        let slot = self.slots.get(uid)?;
        if slot.expires_at > now {
            return Some(slot.entry.clone());
        }
        self.forget(uid);
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

    /// Removes what nobody said was outdated, and remembers that it was here.
    fn forget(&mut self, uid: &str) {
        if let Some(slot) = self.take(uid) {
            self.forgotten.note(&slot.entry);
        }
    }

    /// Forgets the least recently used until the rest fits, and whatever is next and has expired.
    fn make_room(&mut self, max_bytes: usize, now: Instant) {
        while let Some((_, next)) = self.slots.iter().next()
            && (self.bytes > max_bytes || next.expires_at <= now)
            && let Some((uid, slot)) = self.slots.remove_lru()
        {
            self.bytes -= cost(&uid, &slot);
            self.forgotten.note(&slot.entry);
        }
    }
}

fn cost(uid: &str, slot: &Slot) -> usize {
    slot.entry.body.len() + uid.len() + ENTRY_OVERHEAD
}

/// For each partition the highest offset that was held and is not any more.
#[derive(Default)]
struct Forgotten(Vec<i64>);

impl Forgotten {
    fn note(&mut self, entry: &Entry) {
        let Some((partition, offset)) = place(entry) else {
            return;
        };
        if self.0.len() <= partition {
            self.0.resize(partition + 1, -1);
        }
        self.0[partition] = self.0[partition].max(offset);
    }

    fn may_outrank(&self, entry: &Entry) -> bool {
        place(entry).is_some_and(|(partition, offset)| {
            self.0
                .get(partition)
                .is_some_and(|highest| *highest > offset)
        })
    }
}

fn place(entry: &Entry) -> Option<(usize, i64)> {
    let version = entry.version.as_ref()?;
    Some((usize::try_from(version.partition).ok()?, version.offset))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
