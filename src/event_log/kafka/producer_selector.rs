//! Selects which of two producers appends an order: one sends at once, the other batches for a moment.
//!
//! A small request costs the broker nearly as much as a large one. While few orders are in flight each
//! is best sent at once; under load, batches make fewer and larger requests (benches/README.md has the
//! figures). librdkafka's `linger.ms` belongs to a client for life, hence two of them.
//!
//! # Invariants
//!
//! Versions of one order reach the log in the order in which they were posted, also when the outcome
//! of the first is unknown, since a broker that was frozen may still write it. Two connections
//! guarantee no order, so an order takes the producer that has another of its key in flight or with
//! an unknown outcome, whatever the load.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::sync::lock;

/// With so many orders in flight batching is tried, for some hundred orders.
const TRY_BATCHING_FROM: usize = 64;
const TRIAL_ORDERS: u32 = 256;

/// Batching goes on while on average so many orders are in flight: with fewer clients, each waiting
/// for its response, the delay costs more than it saves. Then it rests for some thousand orders.
const KEEP_BATCHING_FROM: usize = 80;
const REST_ORDERS: u32 = 4_096;

/// How many samples the average covers.
const SAMPLES: usize = 64;

/// How many groups of keys there are; keys of one group merely share their producer.
const GROUPS: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProducerKind {
    LowLatency,
    Batching,
}

/// A record in flight; ended by exactly one of the methods of [`ProducerSelector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) kind: ProducerKind,
    group: usize,
}

/// Shared by all threads; an append costs a hash and two atomic operations.
pub(super) struct ProducerSelector {
    keys: RandomState,
    in_flight: AtomicUsize,
    load: LoadEstimator,
    /// For each group twice the number of its records that are in flight or have an unknown outcome,
    /// plus one where they take the batching producer: both change in one step, so no group is ever
    /// on two producers.
    groups: Box<[AtomicU32]>,
    has_unknown_outcomes: AtomicBool,
    /// Groups with records of which it is unknown whether the log has them, by producer and partition.
    unknown_outcomes: Mutex<BTreeSet<(ProducerKind, i32, usize)>>,
}

impl Default for ProducerSelector {
    fn default() -> ProducerSelector {
        ProducerSelector {
            keys: RandomState::new(),
            in_flight: AtomicUsize::new(0),
            load: LoadEstimator::default(),
            groups: (0..GROUPS).map(|_| AtomicU32::new(0)).collect(),
            has_unknown_outcomes: AtomicBool::new(false),
            unknown_outcomes: Mutex::default(),
        }
    }
}

impl ProducerSelector {
    /// Selects the producer for a record of this key, which is in flight from now on.
    pub(super) fn select(&self, key: &[u8]) -> InFlight {
        let group = (self.keys.hash_one(key) % GROUPS as u64) as usize;
        let is_busy = self
            .load
            .is_busy(self.in_flight.fetch_add(1, Ordering::Relaxed));
        let state = &self.groups[group];
        let mut current = state.load(Ordering::Acquire);
        loop {
            let is_empty = current < 2;
            let entered = if is_empty {
                2 + u32::from(is_busy)
            } else {
                current + 2
            };
            match state.compare_exchange_weak(current, entered, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    let kind = if entered % 2 == 0 {
                        ProducerKind::LowLatency
                    } else {
                        ProducerKind::Batching
                    };
                    return InFlight { kind, group };
                }
                Err(changed) => current = changed,
            }
        }
    }

    /// The record never left this process, or was refused for good: it will never be in the log.
    pub(super) fn refused(&self, record: InFlight) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.release(record.group);
    }

    /// The log has the record. So every outcome that was unknown before it, in that partition and of
    /// that producer, is decided: the broker reads a connection in order.
    pub(super) fn acknowledged(&self, record: InFlight, partition: i32) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.release(record.group);
        if self.has_unknown_outcomes.load(Ordering::Acquire) {
            self.decide_outcomes(record.kind, partition);
        }
    }

    /// It is unknown whether the log has the record or will: its group stays with this producer until
    /// a later record of the partition is acknowledged.
    pub(super) fn unknown_outcome(&self, record: InFlight, partition: i32) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut unknown = lock(&self.unknown_outcomes);
        self.has_unknown_outcomes.store(true, Ordering::Release);
        if !unknown.insert((record.kind, partition, record.group)) {
            // An earlier record holds the group already.
            self.release(record.group);
        }
    }

    #[cold]
    fn decide_outcomes(&self, kind: ProducerKind, partition: i32) {
        let mut unknown = lock(&self.unknown_outcomes);
        unknown.retain(|(of_kind, of_partition, group)| {
            let stays = (*of_kind, *of_partition) != (kind, partition);
            if !stays {
                self.release(*group);
            }
            stays
        });
        self.has_unknown_outcomes
            .store(!unknown.is_empty(), Ordering::Release);
    }

    fn release(&self, group: usize) {
        self.groups[group].fetch_sub(2, Ordering::AcqRel);
    }
}

/// Whether orders are batched now. Threads may overwrite each other's samples: the decision affects
/// speed alone.
#[derive(Default)]
struct LoadEstimator {
    is_batching: AtomicBool,
    /// How many orders until the next decision.
    rest: AtomicU32,
    /// [`SAMPLES`] times the average number of orders in flight.
    average: AtomicUsize,
}

impl LoadEstimator {
    /// The decision for one more order where so many are in flight.
    fn is_busy(&self, in_flight: usize) -> bool {
        let average = self.average.load(Ordering::Relaxed);
        let average = average - average / SAMPLES + in_flight;
        self.average.store(average, Ordering::Relaxed);
        let is_batching = self.is_batching.load(Ordering::Relaxed);
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Ordering::Relaxed);
            return is_batching;
        }
        let changes = if is_batching {
            average / SAMPLES < KEEP_BATCHING_FROM
        } else {
            in_flight >= TRY_BATCHING_FROM
        };
        if changes {
            self.is_batching.store(!is_batching, Ordering::Relaxed);
            let rest = if is_batching {
                REST_ORDERS
            } else {
                TRIAL_ORDERS
            };
            self.rest.store(rest, Ordering::Relaxed);
        }
        is_batching != changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes the selector busy with other orders.
    fn make_busy(selector: &ProducerSelector) -> Vec<InFlight> {
        let other = |number: usize| selector.select(format!("other-{number}").as_bytes());
        (0..TRY_BATCHING_FROM).map(other).collect()
    }

    /// A key that shares its group with none of the others.
    fn separate_key(selector: &ProducerSelector, others: &[InFlight]) -> String {
        let group =
            |key: &String| (selector.keys.hash_one(key.as_bytes()) % GROUPS as u64) as usize;
        let is_separate = |key: &String| others.iter().all(|other| other.group != group(key));
        let mut keys = (0..).map(|number| format!("key-{number}"));
        keys.find(is_separate)
            .expect("there are more groups than others")
    }

    #[test]
    fn orders_are_sent_at_once_under_light_load_and_batched_under_heavy_load() {
        let selector = ProducerSelector::default();
        let others = make_busy(&selector);
        assert!(
            others
                .iter()
                .all(|other| other.kind == ProducerKind::LowLatency)
        );
        let key = separate_key(&selector, &others);
        assert_eq!(selector.select(key.as_bytes()).kind, ProducerKind::Batching);
    }

    /// How many of the next orders are batched while always so many are in flight.
    fn batched(load: &LoadEstimator, in_flight: usize, orders: u32) -> usize {
        let is_busy = |_: &u32| load.is_busy(in_flight);
        (0..orders).filter(is_busy).count()
    }

    #[test]
    fn batching_goes_on_under_heavy_load_and_is_only_tried_under_medium_load() {
        let load = LoadEstimator::default();
        assert_eq!(batched(&load, TRY_BATCHING_FROM - 1, 1_000), 0);
        assert_eq!(batched(&load, TRY_BATCHING_FROM, 1), 1);
        assert_eq!(batched(&load, 100, 10_000), 10_000);
        // Now some hundred orders are batched on trial, and some thousand are not.
        let medium = batched(&load, TRY_BATCHING_FROM, 100_000);
        assert!((1..10_000).contains(&medium), "{medium} were batched");
        batched(&load, 1, TRIAL_ORDERS + REST_ORDERS);
        assert_eq!(batched(&load, 1, 100_000), 0);
        assert!(load.is_busy(20_000));
    }

    #[test]
    fn an_order_takes_the_producer_of_the_version_before_it_whatever_the_load() {
        let selector = ProducerSelector::default();
        let first = selector.select(b"a");
        let others = make_busy(&selector);
        let second = selector.select(b"a");
        assert_eq!(
            (first.kind, second.kind),
            (ProducerKind::LowLatency, ProducerKind::LowLatency)
        );
        selector.acknowledged(first, 0);
        assert_eq!(selector.select(b"a").kind, ProducerKind::LowLatency);
        drop(others);
    }

    #[test]
    fn an_order_takes_the_producer_of_an_unknown_outcome_until_a_later_record_is_acknowledged() {
        let selector = ProducerSelector::default();
        let others = make_busy(&selector);
        let key = separate_key(&selector, &others);
        let select = || selector.select(key.as_bytes());
        selector.unknown_outcome(select(), 3);
        selector.unknown_outcome(select(), 3);
        others.into_iter().for_each(|other| selector.refused(other));
        // Nothing else is in flight any more, and still the order is batched.
        while selector.load.is_busy(0) {}
        let later = select();
        assert_eq!(later.kind, ProducerKind::Batching);
        // An acknowledgement in another partition or by the other producer proves nothing.
        let elsewhere = selector.select(separate_key(&selector, &[later]).as_bytes());
        assert_eq!(elsewhere.kind, ProducerKind::LowLatency);
        selector.acknowledged(elsewhere, 3);
        let again = select();
        assert_eq!(again.kind, ProducerKind::Batching);
        selector.acknowledged(again, 4);
        selector.acknowledged(later, 3);
        assert_eq!(select().kind, ProducerKind::LowLatency);
    }

    #[test]
    fn no_key_is_ever_on_two_producers_however_many_threads_append() {
        let selector = ProducerSelector::default();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let selector = &selector;
                scope.spawn(move || {
                    let mut held: Vec<InFlight> = Vec::new();
                    for number in 0..20_000_usize {
                        let key = format!("{}", (number * 7 + thread) % 50);
                        let record = selector.select(key.as_bytes());
                        let mut same_group =
                            held.iter().filter(|other| other.group == record.group);
                        assert!(same_group.all(|other| other.kind == record.kind));
                        held.push(record);
                        if held.len() > 40 {
                            match number % 3 {
                                0 => selector.unknown_outcome(held.remove(number % 41), 0),
                                1 => selector.refused(held.remove(number % 41)),
                                _ => held
                                    .drain(..3)
                                    .for_each(|record| selector.acknowledged(record, 0)),
                            }
                        }
                    }
                    held.into_iter()
                        .for_each(|record| selector.acknowledged(record, 0));
                });
            }
        });
        assert_eq!(selector.in_flight.load(Ordering::Relaxed), 0);
        while selector.load.is_busy(0) {}
        selector.acknowledged(selector.select(b"low-latency"), 0);
        let others = make_busy(&selector);
        while !selector.load.is_busy(TRY_BATCHING_FROM) {}
        let key = separate_key(&selector, &others);
        selector.acknowledged(selector.select(key.as_bytes()), 0);
        assert!(lock(&selector.unknown_outcomes).is_empty());
    }
}
