//! The bounded cache of ready-made bodies, and the rule by which one version replaces another.
//!
//! Owns what is kept, for how long and in how many bytes; who may put what in is the API's business.
//! Every put is an atomic compare-and-put by [`Version`]: whatever the order in which an order's
//! versions arrive, the newest stays. The surprising thing: the cache remembers, for each partition,
//! the highest offset it had to forget, so that a follower that lags cannot bring back a version
//! older than one that was here and was evicted.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::{Expiry, sync};
use sha2::{Digest, Sha256};

use crate::event_log::TopicId;

/// How long an answer is kept that may be outdated without anybody telling us.
const UNSURE_TTL: Duration = Duration::from_secs(1);

/// What an entry costs beside its body and its two copies of the uid: measured as the growth of the
/// process by 56,000 orders of 0.8 kB, so that the limit in bytes is one of memory.
const ENTRY_OVERHEAD: usize = 950;

/// Which record of the log a body came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub topic_id: TopicId,
    pub partition: i32,
    pub offset: i64,
    /// Microseconds since the epoch.
    pub accepted_at_us: i64,
}

impl Version {
    /// `Greater` when `self` is newer than `held`, `Equal` when both are the same record. Inside one
    /// incarnation of a partition the offset decides; otherwise the accept time, a tie going to
    /// `self`.
    pub fn compare(&self, held: &Version) -> Ordering {
        if self.partition == held.partition && self.topic_id == held.topic_id {
            self.offset.cmp(&held.offset)
        } else if self.accepted_at_us >= held.accepted_at_us {
            Ordering::Greater
        } else {
            Ordering::Less
        }
    }
}

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

/// Orders by uid, bounded in bytes and in time. Cheap to share, never blocks for long.
pub struct OrderCache {
    entries: sync::Cache<String, Arc<Entry>>,
    forgotten: Arc<Forgotten>,
}

impl OrderCache {
    /// A cache of at most `max_bytes` whose entries live for `ttl` on the monotonic clock.
    pub fn new(max_bytes: u64, ttl: Duration) -> OrderCache {
        let forgotten = Arc::new(Forgotten::default());
        let noting = forgotten.clone();
        let entries = sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|uid: &String, entry: &Arc<Entry>| {
                let bytes = entry.body.len() + 2 * uid.len() + ENTRY_OVERHEAD;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            // moka's default policy may turn a fresh entry away at once: a POST would not be found.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetime { ttl })
            .eviction_listener(move |_, entry: Arc<Entry>, cause| {
                if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
                    noting.note(&entry);
                }
            })
            .build();
        OrderCache { entries, forgotten }
    }

    pub fn get(&self, uid: &str) -> Option<Arc<Entry>> {
        self.entries.get(uid)
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
    /// among it, so the record only replaces an older entry and never begins one.
    pub fn put_followed(&self, uid: &str, entry: Entry) -> Option<Arc<Entry>> {
        let may_begin = |entry: &Entry| !self.forgotten.may_outrank(entry);
        self.put_where(uid, &Arc::new(entry), may_begin)
    }

    fn put_where(
        &self,
        uid: &str,
        entry: &Arc<Entry>,
        may_begin: impl FnOnce(&Entry) -> bool,
    ) -> Option<Arc<Entry>> {
        // An instance follows its own orders too: most puts find the same record here already, and
        // one that is newer only ever gives way to newer ones. So no lock is needed to say no.
        if let Some(held) = self.entries.get(uid)
            && !entry.replaces(&held)
        {
            return Some(held);
        }
        let decide = |held: Option<moka::Entry<String, Arc<Entry>>>| match held {
            Some(held) if entry.replaces(held.value()) => Op::Put(entry.clone()),
            None if may_begin(entry) => Op::Put(entry.clone()),
            Some(_) | None => Op::Nop,
        };
        let outcome = self.entries.entry_by_ref(uid).and_compute_with(decide);
        outcome.into_entry().map(moka::Entry::into_value)
    }

    /// Forgets one order: what is held may not be the newest.
    pub fn remove(&self, uid: &str) {
        self.entries.invalidate(uid);
    }

    /// Forgets everything: the log is another one, or was not followed for a while.
    pub fn clear(&self) {
        self.entries.invalidate_all();
        self.forgotten.clear();
    }

    /// How many entries there are. Does the housekeeping that is due: not for the hot path.
    pub fn len(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take, as of the last housekeeping.
    pub fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }
}

struct Lifetime {
    ttl: Duration,
}

impl Lifetime {
    fn of(&self, entry: &Entry) -> Option<Duration> {
        let is_sure = entry.version.is_some() && entry.behind.is_none();
        Some(if is_sure {
            self.ttl
        } else {
            self.ttl.min(UNSURE_TTL)
        })
    }
}

impl Expiry<String, Arc<Entry>> for Lifetime {
    fn expire_after_create(&self, _: &String, new: &Arc<Entry>, _: Instant) -> Option<Duration> {
        self.of(new)
    }

    fn expire_after_update(
        &self,
        _: &String,
        new: &Arc<Entry>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.of(new)
    }
}

/// For each partition the highest offset that was held and is not any more.
#[derive(Default)]
struct Forgotten(Mutex<Vec<i64>>);

impl Forgotten {
    fn note(&self, entry: &Entry) {
        let Some((partition, offset)) = place(entry) else {
            return;
        };
        let mut highest = self.lock();
        if highest.len() <= partition {
            highest.resize(partition + 1, -1);
        }
        highest[partition] = highest[partition].max(offset);
    }

    fn may_outrank(&self, entry: &Entry) -> bool {
        let Some((partition, offset)) = place(entry) else {
            return false;
        };
        self.lock()
            .get(partition)
            .is_some_and(|highest| *highest > offset)
    }

    fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
