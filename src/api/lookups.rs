//! The lookups under way and the misses remembered: who waits for which uid, and since when.
//!
//! Owns the slots, one a uid however many wait (single flight), and their bounds; sending a lookup
//! and answering HTTP belong to the handlers. Time is passed in, so every rule is tested without
//! waiting. The surprising thing: a negative answer only counts while the slot it was asked for is
//! still pending, and only for those who came before the question was sent. A POST or a followed
//! record removes the slot, so a "no" that was computed before the order came can never be told
//! after it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use uuid::Uuid;

use self::pending::Pending;
use crate::cache::Entry;
use crate::pipeline::lookup_protocol::NotFound;

mod pending;

/// Locks are held for a hash lookup; sixteen of them keep the followers out of the handlers' way.
const SHARDS: usize = 16;

/// Lookups under way, over all shards; beyond it new ones are refused.
const MAX_PENDING: usize = 10_000;

/// Misses remembered, over all shards; beyond it they are simply not remembered.
const MAX_ABSENT: usize = 10_000;

/// How often a lookup is sent again while somebody waits for it.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long misses of one uid are counted and remembered.
const ABSENT_TTL: Duration = Duration::from_secs(1);

/// How many misses of one uid within [`ABSENT_TTL`] are asked for anew before memory answers. Asking
/// costs a millisecond and is always right, memory may be late by the follower's delay: a client
/// that polls gets the truth, a client that hammers gets memory.
const ASKED_ANEW: u32 = 8;

/// What a lookup came to.
#[derive(Clone, Debug)]
pub enum Answer {
    Found(Arc<Entry>),
    Absent(NotFound),
}

/// What is known when a GET misses the cache.
pub enum Joined {
    /// It came in between.
    Found(Arc<Entry>),
    /// Remembered as absent.
    Absent(NotFound),
    /// Wait here; with `ask`, a lookup must be sent under that correlation id. A change to `None`
    /// is no answer: the question has to be sent anew, see [`Lookups::ask_again`].
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
        not_found: NotFound,
        until: Instant,
        misses: u32,
    },
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
                let answer = pending.subscribe();
                let ask = pending.ask(now);
                return Joined::Waiting { answer, ask };
            }
            Some(Slot::Absent {
                not_found,
                until,
                misses,
            }) if now < *until => {
                if live && *misses >= ASKED_ANEW {
                    return Joined::Absent(not_found.clone());
                }
                (*misses, *until)
            }
            Some(Slot::Absent { .. }) | None => (0, now + ABSENT_TTL),
        };
        if self.pending.load(Ordering::Relaxed) >= MAX_PENDING {
            return Joined::Full;
        }
        let mut pending = Pending::new(now, misses, misses_until);
        let answer = pending.subscribe();
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

    /// The lookup could not be sent as `correlation`; the caller still waits. Whoever else does sends
    /// it next; where nobody does, the slot is given up and its place is free.
    pub fn not_sent(&self, uid: &str, correlation: Uuid) {
        let mut shard = self.shard(uid);
        let is_of_no_use = match shard.get_mut(uid) {
            // Once the log has a question, its answer may still come.
            Some(Slot::Pending(pending))
                if pending.correlation == correlation && !pending.acknowledged =>
            {
                pending.renew();
                pending.waiters() <= 1
            }
            Some(_) | None => false,
        };
        if is_of_no_use {
            self.remove(&mut shard, uid);
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
    /// known of its not_found is forgotten.
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

    /// The answer came back that there is no such order. Whether it counted. Those who came after
    /// the question was sent are asked for anew, except where memory would answer them anyway:
    /// `live`, and many misses.
    pub fn absent(
        &self,
        uid: &str,
        correlation: Uuid,
        not_found: NotFound,
        live: bool,
        now: Instant,
    ) -> bool {
        let mut shard = self.shard(uid);
        let Some(Slot::Pending(pending)) = shard.get_mut(uid) else {
            return false;
        };
        if pending.correlation != correlation {
            return false;
        }
        let (until, misses) = if now < pending.misses_until {
            (pending.misses_until, pending.misses + 1)
        } else {
            (now + ABSENT_TTL, 1)
        };
        let late = pending.late.take_if(|it| it.receiver_count() > 0);
        if let Some(late) = late {
            if live && misses >= ASKED_ANEW {
                pending.late = Some(late);
            } else {
                (pending.misses, pending.misses_until) = (misses, until);
                pending.renew();
                late.send_replace(None);
                let answered = std::mem::replace(&mut pending.answer, late);
                drop(shard);
                answered.send_replace(Some(Answer::Absent(not_found)));
                return true;
            }
        }
        let removed = self.remove(&mut shard, uid);
        if has_room_for_absent(&mut shard, now) {
            let slot = Slot::Absent {
                not_found: not_found.clone(),
                until,
                misses,
            };
            shard.insert(uid.into(), slot);
        }
        drop(shard);
        wake(removed, Answer::Absent(not_found));
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
                    let is_over = now >= pending.until && pending.waiters() == 0;
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
        pending.wake(answer);
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
mod model;
#[cfg(test)]
mod tests;
