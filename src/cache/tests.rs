//! Which version stays, in whatever order they arrive.

use super::*;

/// An entry from that record, accepted at that time.
fn entry(body: &'static str, source: &str, accepted_at_us: i64) -> Entry {
    let version = Version {
        source: source.parse().unwrap(),
        accepted_at_us,
    };
    Entry::new(body.into(), Some(version), None)
}

fn unversioned(body: &'static str) -> Entry {
    Entry::new(body.into(), None, None)
}

fn cache() -> OrderCache {
    OrderCache::new(1 << 20, Duration::from_secs(60))
}

fn body(cache: &OrderCache) -> Bytes {
    cache.get("a").unwrap().body.clone()
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    let cache = cache();
    cache.put("a", entry("new", "t/0/8", 2));
    let held = cache.put("a", entry("old", "t/0/7", 1));
    assert_eq!([&held.body, &body(&cache)], ["new", "new"]);
    cache.put("a", entry("newest", "t/0/9", 1));
    assert_eq!(body(&cache), "newest");
}

#[test]
fn an_entry_without_a_version_never_replaces_one_that_has_one() {
    let cache = cache();
    cache.put("a", unversioned("unversioned"));
    cache.put("a", entry("versioned", "t/0/1", 1));
    cache.put("a", unversioned("unversioned again"));
    assert_eq!(body(&cache), "versioned");
}

#[test]
fn the_same_record_known_to_be_the_newest_replaces_the_one_that_was_behind() {
    let cache = cache();
    for (behind, expected) in [(Some(3), Some(3)), (None, None), (Some(3), None)] {
        let mut same = entry("x", "t/0/1", 1);
        same.behind = behind;
        cache.put("a", same);
        assert_eq!(cache.get("a").unwrap().behind, expected);
    }
}

#[test]
fn a_lagging_follower_does_not_bring_back_what_an_evicted_entry_had_replaced() {
    let cache = cache();
    cache.put("a", entry("v2", "t/0/8", 2));
    cache.lock().evict("a");
    let follow = |uid, entry| cache.put_followed(uid, entry, true).is_some();
    assert!(!follow("a", entry("v1", "t/0/7", 1)));
    assert!(cache.get("a").is_none());
    assert!(follow("a", entry("v2", "t/0/8", 2)));
    assert!(follow("b", entry("b1", "t/1/0", 1)));
}

#[test]
fn an_eviction_by_size_is_remembered() {
    let cache = OrderCache::new(1_000, Duration::from_secs(60));
    for offset in 0..40 {
        let source = format!("t/0/{offset}");
        cache.put(&format!("uid{offset}"), entry("x", &source, 1));
    }
    assert!(cache.bytes() <= 1_000);
    let older = entry("y", "t/0/0", 1);
    assert!(cache.put_followed("other", older, true).is_none());
}

#[test]
fn the_least_recently_used_order_is_evicted_first() {
    let size_of_two = 2 * (ENTRY_OVERHEAD as u64 + 2);
    let cache = OrderCache::new(size_of_two, Duration::from_secs(60));
    for uid in ["a", "b"] {
        cache.put(uid, unversioned("x"));
    }
    cache.get("a");
    cache.put("c", unversioned("x"));
    assert!(cache.get("a").is_some() && cache.get("b").is_none() && cache.get("c").is_some());
    assert_eq!(cache.bytes() as u64, size_of_two);
}

#[test]
fn expired_entries_are_removed_whether_read_or_not_and_remembered() {
    let cache = OrderCache::new(1 << 20, Duration::from_millis(1));
    cache.put("a", entry("a", "t/0/8", 1));
    cache.put("b", entry("b", "t/0/9", 1));
    std::thread::sleep(Duration::from_millis(2));
    assert!(cache.get("a").is_none());
    assert_eq!((cache.entries(), cache.bytes()), (0, 0));
    let older = entry("older", "t/0/7", 1);
    assert!(cache.put_followed("a", older, true).is_none());
}

#[test]
fn an_entry_larger_than_the_cache_is_not_kept() {
    let cache = OrderCache::new(100, Duration::from_secs(60));
    cache.put("a", entry("x", "t/0/8", 1));
    assert_eq!((cache.entries(), cache.bytes()), (0, 0));
}

#[test]
fn a_cleared_cache_accepts_lower_offsets_again() {
    let cache = cache();
    cache.put("a", entry("old log", "t/0/900", 1));
    cache.clear();
    assert!(cache.get("a").is_none());
    cache.put("a", entry("new log", "t/0/0", 1));
    assert_eq!(body(&cache), "new log");
}

#[test]
fn equal_bodies_have_equal_tags_and_different_bodies_different_ones() {
    let tag = |body| unversioned(body).etag();
    assert_eq!(tag("x"), tag("x"));
    assert_ne!(tag("x"), tag("y"));
    assert_eq!(tag("x").len(), 26);
}
