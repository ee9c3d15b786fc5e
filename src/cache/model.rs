//! The cache against a map: in whatever order versions come, the cache holds what the rule says.

use std::collections::HashMap;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use support::replayable;

use super::*;
use crate::pipeline::Source;

const UIDS: [&str; 3] = ["a", "b", "c"];
const TOPICS: [&str; 2] = ["t", "u"];

/// One version of an order: topic, partition and offset, accept time, how far the store was behind.
#[derive(Clone, Debug)]
struct Put {
    at: Option<(usize, i32, i64)>,
    accepted_at_us: i64,
    behind: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Put),
    Followed(usize, Put),
    Removed(usize),
    Evicted(usize),
    Cleared,
}

fn put() -> impl Strategy<Value = Put> {
    let at = prop::option::weighted(0.9, (0..2_usize, 0..2_i32, 0..6_i64));
    let behind = prop::option::weighted(0.2, 1..3_u64);
    (at, 0..4_i64, behind).prop_map(|(at, accepted_at_us, behind)| Put {
        at,
        accepted_at_us,
        behind,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let uid = 0..UIDS.len();
    prop_oneof![
        4 => (uid.clone(), put()).prop_map(|(uid, new)| Step::Put(uid, new)),
        4 => (uid.clone(), put()).prop_map(|(uid, new)| Step::Followed(uid, new)),
        1 => uid.clone().prop_map(Step::Removed),
        1 => uid.prop_map(Step::Evicted),
        1 => Just(Step::Cleared),
    ]
}

fn entry(new: &Put) -> Entry {
    let version = new.at.map(|(topic, partition, offset)| Version {
        source: Source {
            topic_id: TOPICS[topic].into(),
            at: PartitionOffset::new(partition, offset),
        },
        accepted_at_us: new.accepted_at_us,
    });
    Entry::new(format!("{new:?}").into(), version, new.behind)
}

/// The rule, written down a second time.
fn replaces(new: &Put, held: &Put) -> bool {
    let (Some(new_at), Some(held_at)) = (new.at, held.at) else {
        return new.at.is_some() || held.at.is_none();
    };
    let is_one_log = (new_at.0, new_at.1) == (held_at.0, held_at.1);
    match is_one_log {
        true if new_at.2 == held_at.2 => new.behind.is_none() && held.behind.is_some(),
        true => new_at.2 > held_at.2,
        false => new.accepted_at_us >= held.accepted_at_us,
    }
}

#[derive(Default)]
struct Model {
    held: HashMap<usize, Put>,
    evicted: HashMap<i32, i64>,
}

impl Model {
    fn put(&mut self, uid: usize, new: Put) {
        if self.held.get(&uid).is_none_or(|held| replaces(&new, held)) {
            self.held.insert(uid, new);
        }
    }

    fn follow(&mut self, uid: usize, new: Put) {
        let may_be_older = new.at.is_some_and(|(_, partition, offset)| {
            self.evicted
                .get(&partition)
                .is_some_and(|highest| *highest > offset)
        });
        if self.held.contains_key(&uid) || !may_be_older {
            self.put(uid, new);
        }
    }

    fn evict(&mut self, uid: usize) {
        if let Some(Put {
            at: Some((_, partition, offset)),
            ..
        }) = self.held.remove(&uid)
        {
            let highest = self.evicted.entry(partition).or_insert(offset);
            *highest = offset.max(*highest);
        }
    }
}

fn perform(cache: &OrderCache, model: &mut Model, step: Step) {
    match step {
        Step::Put(uid, new) => {
            let held = cache.put(UIDS[uid], entry(&new));
            model.put(uid, new);
            let expected = format!("{:?}", model.held[&uid]);
            assert_eq!(held.body, expected, "what a put returns");
        }
        Step::Followed(uid, new) => {
            cache.put_followed(UIDS[uid], entry(&new), true);
            model.follow(uid, new);
        }
        Step::Removed(uid) => {
            cache.remove(UIDS[uid]);
            model.held.remove(&uid);
        }
        Step::Evicted(uid) => {
            cache.lock().evict(UIDS[uid]);
            model.evict(uid);
        }
        Step::Cleared => {
            cache.clear();
            *model = Model::default();
        }
    }
}

#[test]
fn what_is_held_is_what_a_map_would_hold() {
    replayable::check(2_000, vec(step(), 1..40), |steps| {
        let cache = OrderCache::new(1 << 20, Duration::from_secs(60));
        let (mut model, began) = (Model::default(), Instant::now());
        for step in steps {
            let described = format!("{step:?}");
            perform(&cache, &mut model, step);
            if began.elapsed() > UNVERSIONED_TTL / 2 {
                // On a machine this busy an entry may have expired.
                return;
            }
            for (number, uid) in UIDS.iter().enumerate() {
                let held = cache.get(uid).map(|entry| entry.body.clone());
                let expected = model.held.get(&number);
                let expected = expected.map(|new| Bytes::from(format!("{new:?}")));
                assert_eq!(held, expected, "`{uid}` after {described}");
            }
        }
    });
}

/// Puts by several threads at once: for each the uids and offsets, and whether a follower puts them.
type Puts = Vec<Vec<(usize, i64, bool)>>;

fn versioned(offset: i64) -> Entry {
    entry(&Put {
        at: Some((0, 0, offset)),
        accepted_at_us: 0,
        behind: None,
    })
}

fn offset_of(entry: &Entry) -> i64 {
    let version = entry.version.as_ref().expect("all have one");
    version.source.at.offset
}

#[test]
fn several_threads_that_put_and_get_at_once_never_see_an_order_go_back() {
    let puts = vec(vec((0..UIDS.len(), 0..50_i64, any::<bool>()), 1..60), 2..5);
    replayable::check(60, puts, |puts: Puts| {
        let cache = OrderCache::new(1 << 20, Duration::from_secs(60));
        thread::scope(|scope| {
            for puts in &puts {
                scope.spawn(|| put_and_get(&cache, puts));
            }
        });
        for (number, uid) in UIDS.iter().enumerate() {
            let offsets = puts.iter().flatten().filter(|put| put.0 == number);
            let newest = offsets.map(|put| put.1).max();
            assert_eq!(cache.get(uid).map(|entry| offset_of(&entry)), newest);
        }
    });
}

fn put_and_get(cache: &OrderCache, puts: &[(usize, i64, bool)]) {
    let mut seen = [-1; UIDS.len()];
    for (uid, offset, followed) in puts {
        let held = if *followed {
            cache.put_followed(UIDS[*uid], versioned(*offset), true)
        } else {
            Some(cache.put(UIDS[*uid], versioned(*offset)))
        };
        let held = offset_of(&held.expect("nothing was evicted"));
        assert!(held >= *offset && held >= seen[*uid]);
        seen[*uid] = held;
        for (number, uid) in UIDS.iter().enumerate() {
            let now = cache.get(uid).map_or(-1, |entry| offset_of(&entry));
            assert!(
                now >= seen[number],
                "`{uid}` went from {} back to {now}",
                seen[number]
            );
            seen[number] = now;
        }
    }
}

#[test]
fn an_order_that_was_evicted_never_comes_back_in_an_older_version() {
    // A small cache, and a follower that reads the same records again and again.
    let puts = vec((0..12_usize, 0..40_i64), 1..200);
    replayable::check(200, puts, |puts| {
        let cache = OrderCache::new(1_500, Duration::from_secs(60));
        let mut newest: HashMap<usize, i64> = HashMap::new();
        for (uid, offset) in puts {
            // An order's versions have offsets of their own.
            let (name, offset) = (format!("uid-{uid}"), offset * 12 + uid as i64);
            cache.put_followed(&name, versioned(offset), true);
            if let Some(held) = cache.get(&name) {
                let known = newest.entry(uid).or_insert(-1);
                assert!(offset_of(&held) >= *known, "`{name}` went back");
                *known = offset_of(&held);
            }
        }
    });
}
