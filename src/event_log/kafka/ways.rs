//! By which of two producers an order goes: one sends at once, the other gathers for a moment.
//!
//! A small request costs the broker nearly as much as a large one. While few orders are under way each
//! is best sent at once; in a crowd, gathering them makes fewer and larger requests (benches/README.md
//! has the figures). librdkafka's `linger.ms` belongs to a client for life, hence two of them. The
//! surprising thing is what this must not break: versions of one order reach the log in the order in
//! which they were posted, also when nobody knows what became of the first, since a broker that was
//! frozen may still write it. Two connections promise no order, so an order goes the way on which
//! another of its key is under way or in doubt, whatever the crowd.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From so many orders under way on gathering them is tried, for some hundred orders.
const CROWD: usize = 64;
const TRIAL: u32 = 256;

/// It goes on while on average so many are under way: with fewer clients, each waiting for its
/// answer, the waiting costs more than it saves. Then it rests for some thousand orders.
const FULL: usize = 80;
const REST: u32 = 4_096;

/// How many samples the average reaches back.
const REACH: usize = 64;

/// How many groups of keys are told apart; keys of one group merely share their way.
const GROUPS: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Prompt,
    Gathering,
}

/// One record's place on its way; to be given back by exactly one of the methods of [`Ways`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub way: Way,
    group: usize,
}

/// See the module's head. Shared by all threads; an append costs a hash and two atomic operations.
pub(super) struct Ways {
    keys: RandomState,
    under_way: AtomicUsize,
    crowd: Crowd,
    /// For each group twice the number of its records on their way or in doubt, plus one where that
    /// way is the gathering one: both change in one step, so no group is ever on two ways.
    groups: Box<[AtomicU32]>,
    any_doubt: AtomicBool,
    /// Groups with records of which nobody knows whether the log has them, by way and partition.
    doubts: Mutex<BTreeSet<(Way, i32, usize)>>,
}

impl Default for Ways {
    fn default() -> Ways {
        Ways {
            keys: RandomState::new(),
            under_way: AtomicUsize::new(0),
            crowd: Crowd::default(),
            groups: (0..GROUPS).map(|_| AtomicU32::new(0)).collect(),
            any_doubt: AtomicBool::new(false),
            doubts: Mutex::default(),
        }
    }
}

impl Ways {
    /// Chooses the way of a record of this key, which is under way from now on.
    pub(super) fn enter(&self, key: &[u8]) -> Passage {
        let group = (self.keys.hash_one(key) % GROUPS as u64) as usize;
        let is_crowded = self
            .crowd
            .gathers(self.under_way.fetch_add(1, Ordering::Relaxed));
        let place = &self.groups[group];
        let mut held = place.load(Ordering::Acquire);
        loop {
            let is_empty = held < 2;
            let entered = if is_empty {
                2 + u32::from(is_crowded)
            } else {
                held + 2
            };
            match place.compare_exchange_weak(held, entered, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let way = if entered % 2 == 0 {
                        Way::Prompt
                    } else {
                        Way::Gathering
                    };
                    return Passage { way, group };
                }
                Err(now) => held = now,
            }
        }
    }

    /// It never left this process, or was refused for good: it will never be in the log.
    pub(super) fn refused(&self, passage: Passage) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.release(passage.group);
    }

    /// The log has it. So whatever was in doubt before it, in that partition and on that way, is
    /// settled: the broker reads a connection in order.
    pub(super) fn acknowledged(&self, passage: Passage, partition: i32) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.release(passage.group);
        if self.any_doubt.load(Ordering::Acquire) {
            self.settle(passage.way, partition);
        }
    }

    /// Nobody knows whether the log has it or will: its group stays on this way until a later record
    /// of the partition is acknowledged.
    pub(super) fn doubted(&self, passage: Passage, partition: i32) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let mut doubts = self.doubts();
        self.any_doubt.store(true, Ordering::Release);
        if !doubts.insert((passage.way, partition, passage.group)) {
            // An earlier doubt holds the group already.
            self.release(passage.group);
        }
    }

    #[cold]
    fn settle(&self, way: Way, partition: i32) {
        let mut doubts = self.doubts();
        doubts.retain(|(doubted, place, group)| {
            let stays = (*doubted, *place) != (way, partition);
            if !stays {
                self.release(*group);
            }
            stays
        });
        self.any_doubt.store(!doubts.is_empty(), Ordering::Release);
    }

    fn release(&self, group: usize) {
        self.groups[group].fetch_sub(2, Ordering::AcqRel);
    }

    fn doubts(&self) -> MutexGuard<'_, BTreeSet<(Way, i32, usize)>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether orders are gathered now. Threads may overwrite each other's samples: the decision is one of
/// speed alone.
#[derive(Default)]
struct Crowd {
    gathers: AtomicBool,
    /// How many orders until the next decision.
    rest: AtomicU32,
    /// [`REACH`] times the average number of orders under way.
    average: AtomicUsize,
}

impl Crowd {
    /// The decision for one more order where so many are under way.
    fn gathers(&self, under_way: usize) -> bool {
        let average = self.average.load(Ordering::Relaxed);
        let average = average - average / REACH + under_way;
        self.average.store(average, Ordering::Relaxed);
        let gathers = self.gathers.load(Ordering::Relaxed);
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Ordering::Relaxed);
            return gathers;
        }
        let is_to_change = if gathers {
            average / REACH < FULL
        } else {
            under_way >= CROWD
        };
        if is_to_change {
            self.gathers.store(!gathers, Ordering::Relaxed);
            let rest = if gathers { REST } else { TRIAL };
            self.rest.store(rest, Ordering::Relaxed);
        }
        gathers != is_to_change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many other orders under way as make a crowd.
    fn crowd(ways: &Ways) -> Vec<Passage> {
        let other = |number: usize| ways.enter(format!("other-{number}").as_bytes());
        (0..CROWD).map(other).collect()
    }

    /// A key that shares its group with none of the crowd's.
    fn lonely(ways: &Ways, others: &[Passage]) -> String {
        let group = |key: &String| (ways.keys.hash_one(key.as_bytes()) % GROUPS as u64) as usize;
        let is_lonely = |key: &String| others.iter().all(|other| other.group != group(key));
        let mut keys = (0..).map(|number| format!("key-{number}"));
        keys.find(is_lonely)
            .expect("there are more groups than others")
    }

    #[test]
    fn a_few_orders_are_sent_at_once_and_a_crowd_is_gathered() {
        let ways = Ways::default();
        let others = crowd(&ways);
        assert!(others.iter().all(|other| other.way == Way::Prompt));
        let key = lonely(&ways, &others);
        assert_eq!(ways.enter(key.as_bytes()).way, Way::Gathering);
    }

    /// How many of the next orders are gathered while always so many are under way.
    fn gathered(crowd: &Crowd, under_way: usize, orders: u32) -> usize {
        let gathers = |_: &u32| crowd.gathers(under_way);
        (0..orders).filter(gathers).count()
    }

    #[test]
    fn a_full_crowd_stays_gathered_and_a_small_one_is_tried_now_and_then() {
        let crowd = Crowd::default();
        assert_eq!(gathered(&crowd, CROWD - 1, 1_000), 0);
        assert_eq!(gathered(&crowd, CROWD, 1), 1);
        assert_eq!(gathered(&crowd, 100, 10_000), 10_000);
        // Of this one each round tries some hundred and rests for some thousand.
        let small = gathered(&crowd, CROWD, 100_000);
        assert!((1..10_000).contains(&small), "{small} were gathered");
        gathered(&crowd, 1, TRIAL + REST);
        assert_eq!(gathered(&crowd, 1, 100_000), 0);
        assert!(crowd.gathers(20_000));
    }

    #[test]
    fn an_order_follows_the_version_before_it_whatever_the_crowd() {
        let ways = Ways::default();
        let first = ways.enter(b"a");
        let others = crowd(&ways);
        let second = ways.enter(b"a");
        assert_eq!((first.way, second.way), (Way::Prompt, Way::Prompt));
        ways.acknowledged(first, 0);
        assert_eq!(ways.enter(b"a").way, Way::Prompt);
        drop(others);
    }

    #[test]
    fn an_order_follows_the_version_that_may_still_be_written_until_a_later_one_is() {
        let ways = Ways::default();
        let others = crowd(&ways);
        let key = lonely(&ways, &others);
        let enter = || ways.enter(key.as_bytes());
        ways.doubted(enter(), 3);
        ways.doubted(enter(), 3);
        others.into_iter().for_each(|other| ways.refused(other));
        // Nobody else is there any more, and still it is gathered.
        while ways.crowd.gathers(0) {}
        let later = enter();
        assert_eq!(later.way, Way::Gathering);
        // What another partition or the other way acknowledges proves nothing.
        let elsewhere = ways.enter(lonely(&ways, &[later]).as_bytes());
        assert_eq!(elsewhere.way, Way::Prompt);
        ways.acknowledged(elsewhere, 3);
        let again = enter();
        assert_eq!(again.way, Way::Gathering);
        ways.acknowledged(again, 4);
        ways.acknowledged(later, 3);
        assert_eq!(enter().way, Way::Prompt);
    }

    #[test]
    fn no_key_is_ever_on_two_ways_however_many_threads_append() {
        let ways = Ways::default();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let ways = &ways;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for number in 0..20_000_usize {
                        let key = format!("{}", (number * 7 + thread) % 50);
                        let passage = ways.enter(key.as_bytes());
                        let same_group = |other: &&Passage| other.group == passage.group;
                        let others = held.iter().filter(same_group);
                        assert!(
                            others
                                .into_iter()
                                .all(|other: &Passage| other.way == passage.way)
                        );
                        held.push(passage);
                        if held.len() > 40 {
                            match number % 3 {
                                0 => ways.doubted(held.remove(number % 41), 0),
                                1 => ways.refused(held.remove(number % 41)),
                                _ => held
                                    .drain(..3)
                                    .for_each(|passage| ways.acknowledged(passage, 0)),
                            }
                        }
                    }
                    held.into_iter()
                        .for_each(|passage| ways.acknowledged(passage, 0));
                });
            }
        });
        assert_eq!(ways.under_way.load(Ordering::Relaxed), 0);
        while ways.crowd.gathers(0) {}
        ways.acknowledged(ways.enter(b"prompt"), 0);
        let others = crowd(&ways);
        while !ways.crowd.gathers(CROWD) {}
        ways.acknowledged(ways.enter(lonely(&ways, &others).as_bytes()), 0);
        assert!(ways.doubts().is_empty());
    }
}
