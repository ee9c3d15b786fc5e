//! The lookups under way and the misses remembered: who waits for which uid, and since when.
//!
//! Owns the slots, one a uid however many wait (single flight), and their bounds; sending a lookup
//! and answering HTTP belong to the handlers. Time is passed in, so every rule is tested without
//! waiting. The surprising thing: a negative answer only counts while the slot it was asked for is
//! still pending. A POST or a followed record removes the slot, so a "no" that was computed before
//! the order came can never be told after it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use crate::cache::Entry;

/// Locks are held for a hash lookup; sixteen of them keep the followers out of the handlers' way.
const SHARDS: usize = 16;

/// Lookups under way, over all shards; beyond it new ones are refused.
const MAX_PENDING: usize = 10_000;

/// Misses remembered, over all shards; beyond it they are simply not remembered.
const MAX_ABSENT: usize = 10_000;

/// How long a lookup that nobody waits for any more may still be answered into the cache. The same
/// time is its deadline for the other side.
pub const LINGER: Duration = Duration::from_secs(30);

/// How often a lookup is sent again while somebody waits for it.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long misses of one uid are counted and remembered.
const ABSENT_TTL: Duration = Duration::from_secs(1);

/// How many misses of one uid within [`ABSENT_TTL`] are asked for anew before memory answers. Asking
/// costs a millisecond and is always right, memory may be late by the follower's delay: a client
/// that polls gets the truth, a client that hammers gets memory.
const ASKED_ANEW: u32 = 8;

/// The order is known not to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Where it is a dead letter, if it is: topic/partition/offset.
    pub dead_lettered: Option<Arc<str>>,
}

/// What a lookup came to.
#[derive(Clone, Debug)]
pub enum Answer {
    Found(Arc<Entry>),
    Absent(Absence),
}

/// What is known when a GET misses the cache.
pub enum Joined {
    /// It came in between.
    Found(Arc<Entry>),
    /// Remembered as absent.
    Absent(Absence),
    /// Wait here; with `ask`, a lookup must be sent under that correlation id.
    Waiting {
        answer: watch::Receiver<Option<Answer>>,
        ask: Option<Uuid>,
    },
    /// Too many lookups are under way.
    Full,
}

enum Slot {
    Pending(Pending),
    Absent {
        absence: Absence,
        until: Instant,
        misses: u32,
    },
}

struct Pending {
    correlation: Uuid,
    answer: watch::Sender<Option<Answer>>,
    /// When the lookup was last sent; `None`: it must be sent at once.
    asked_at: Option<Instant>,
    /// The log has taken a lookup for this slot.
    acknowledged: bool,
    /// When it is given up.
    until: Instant,
    /// Misses of this uid before this one, and until when they count.
    misses: u32,
    misses_until: Instant,
}

impl Pending {
    /// The correlation id to send now, if it is time to send.
    fn ask(&mut self, now: Instant) -> Option<Uuid> {
        if self
            .asked_at
            .is_some_and(|asked_at| now < asked_at + ASK_AGAIN)
        {
            return None;
        }
        self.asked_at = Some(now);
        self.until = now + LINGER;
        Some(self.correlation)
    }

    /// From now on only answers to a new question count.
    fn renew(&mut self) {
        self.correlation = Uuid::new_v4();
        self.asked_at = None;
        self.acknowledged = false;
    }
}

type Shard = HashMap<Box<str>, Slot>;

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
    /// Joins the lookup for `uid`, beginning one where there is none. `cached` looks into the cache
    /// once more under the lock that a put must take: what enters between a caller's miss and this
    /// call is not missed. `live` says whether the followers are: only then does memory answer.
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
        let (misses, misses_until) = match shard.get_mut(uid) {
            Some(Slot::Pending(pending)) => {
                let ask = pending.ask(now);
                return Joined::Waiting {
                    answer: pending.answer.subscribe(),
                    ask,
                };
            }
            Some(Slot::Absent {
                absence,
                until,
                misses,
            }) if now < *until => {
                if live && *misses >= ASKED_ANEW {
                    return Joined::Absent(absence.clone());
                }
                (*misses, *until)
            }
            Some(Slot::Absent { .. }) | None => (0, now + ABSENT_TTL),
        };
        if self.pending.load(Ordering::Relaxed) >= MAX_PENDING {
            return Joined::Full;
        }
        let (sender, answer) = watch::channel(None);
        let mut pending = Pending {
            correlation: Uuid::new_v4(),
            answer: sender,
            asked_at: None,
            acknowledged: false,
            until: now + LINGER,
            misses,
            misses_until,
        };
        let ask = pending.ask(now);
        shard.insert(uid.into(), Slot::Pending(pending));
        self.pending.fetch_add(1, Ordering::Relaxed);
        Joined::Waiting { answer, ask }
    }

    /// The correlation id under which the lookup for `uid` should be sent again now, if at all.
    pub fn ask_again(&self, uid: &str, now: Instant) -> Option<Uuid> {
        match self.shard(uid).get_mut(uid) {
            Some(Slot::Pending(pending)) => pending.ask(now),
            Some(Slot::Absent { .. }) | None => None,
        }
    }

    /// The log has taken the lookup sent as `correlation`.
    pub fn acknowledged(&self, uid: &str, correlation: Uuid) {
        if let Some(Slot::Pending(pending)) = self.shard(uid).get_mut(uid)
            && pending.correlation == correlation
        {
            pending.acknowledged = true;
        }
    }

    /// Whether the log has a lookup for `uid` that may still be answered.
    pub fn is_queued(&self, uid: &str) -> bool {
        matches!(self.shard(uid).get(uid), Some(Slot::Pending(pending)) if pending.acknowledged)
    }

    /// An order has entered the cache by another way: whoever waits for it gets it, and whatever was
    /// known of its absence is forgotten.
    pub fn arrived(&self, uid: &str, entry: &Arc<Entry>) {
        let mut shard = self.shard(uid);
        let removed = self.remove(&mut shard, uid);
        drop(shard);
        wake(removed, Answer::Found(entry.clone()));
    }

    /// An answer with an order came back. Only one that was asked for here counts: `correlation`
    /// must match, or be missing (an answerer that does not echo it). `keep` puts it into the cache,
    /// under the lock, and returns what is held then. Whether it counted.
    pub fn found(
        &self,
        uid: &str,
        correlation: Option<Uuid>,
        keep: impl FnOnce() -> Arc<Entry>,
    ) -> bool {
        let mut shard = self.shard(uid);
        let asked_here = match shard.get(uid) {
            Some(Slot::Pending(pending)) => correlation.is_none_or(|it| it == pending.correlation),
            Some(Slot::Absent { .. }) | None => false,
        };
        if !asked_here {
            return false;
        }
        let held = keep();
        let removed = self.remove(&mut shard, uid);
        drop(shard);
        wake(removed, Answer::Found(held));
        true
    }

    /// The answer came back that there is no such order. Whether it counted.
    pub fn absent(&self, uid: &str, correlation: Uuid, absence: Absence, now: Instant) -> bool {
        let mut shard = self.shard(uid);
        let (misses, misses_until) = match shard.get(uid) {
            Some(Slot::Pending(pending)) if pending.correlation == correlation => {
                (pending.misses, pending.misses_until)
            }
            Some(_) | None => return false,
        };
        let removed = self.remove(&mut shard, uid);
        let (until, misses) = if now < misses_until {
            (misses_until, misses + 1)
        } else {
            (now + ABSENT_TTL, 1)
        };
        if has_room_for_absent(&mut shard, now) {
            let slot = Slot::Absent {
                absence: absence.clone(),
                until,
                misses,
            };
            shard.insert(uid.into(), slot);
        }
        drop(shard);
        wake(removed, Answer::Absent(absence));
        true
    }

    /// A record of this order was followed that cannot be kept: there is such an order, and answers
    /// that are on their way may be older.
    pub fn doubt(&self, uid: &str) {
        let mut shard = self.shard(uid);
        match shard.get_mut(uid) {
            Some(Slot::Pending(pending)) => pending.renew(),
            Some(Slot::Absent { .. }) => drop(shard.remove(uid)),
            None => {}
        }
    }

    /// The followers begin anew: answers that are on their way may be older than what was missed, so
    /// every lookup gets another correlation id and is sent again; misses are forgotten.
    pub fn renew(&self) {
        for shard in &self.shards {
            lock(shard).retain(|_, slot| match slot {
                Slot::Pending(pending) => {
                    pending.renew();
                    true
                }
                Slot::Absent { .. } => false,
            });
        }
    }

    /// Drops what is over: lookups past their time that nobody waits for, misses past theirs.
    pub fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            let mut given_up = 0;
            lock(shard).retain(|_, slot| match slot {
                Slot::Pending(pending) => {
                    let is_over = now >= pending.until && pending.answer.receiver_count() == 0;
                    given_up += usize::from(is_over);
                    !is_over
                }
                Slot::Absent { until, .. } => now < *until,
            });
            self.pending.fetch_sub(given_up, Ordering::Relaxed);
        }
    }

    /// How many lookups are under way.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    fn remove(&self, shard: &mut Shard, uid: &str) -> Option<Slot> {
        let removed = shard.remove(uid);
        if matches!(removed, Some(Slot::Pending(_))) {
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    fn shard(&self, uid: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(uid) as usize;
        lock(&self.shards[hash % SHARDS])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(removed: Option<Slot>, answer: Answer) {
    if let Some(Slot::Pending(pending)) = removed {
        // Nobody may be waiting any more: the answer is in the cache all the same.
        pending.answer.send_replace(Some(answer));
    }
}

/// Keeps a shard's misses under its share of [`MAX_ABSENT`], making room where some are over.
fn has_room_for_absent(shard: &mut Shard, now: Instant) -> bool {
    let is_absent = |slot: &Slot| matches!(slot, Slot::Absent { .. });
    let share = MAX_ABSENT / SHARDS;
    if shard.len() < share {
        return true;
    }
    shard.retain(|_, slot| !matches!(slot, Slot::Absent { until, .. } if now >= *until));
    shard.values().filter(|slot| is_absent(slot)).count() < share
}

#[cfg(test)]
mod tests;
