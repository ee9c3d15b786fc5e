//! Which version stays, in whatever order they arrive.

use super::*;

fn version(topic: &str, partition: i32, offset: i64, accepted_at_us: i64) -> Version {
    Version {
        topic_id: topic.into(),
        partition,
        offset,
        accepted_at_us,
    }
}

fn entry(body: &'static str, version: Option<Version>) -> Entry {
    Entry::new(Bytes::from_static(body.as_bytes()), version, None)
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
    cache.put("a", entry("new", Some(version("t", 0, 8, 2))));
    let held = cache.put("a", entry("old", Some(version("t", 0, 7, 1))));
    assert_eq!(
        (&held.body[..], &body(&cache)[..]),
        (&b"new"[..], &b"new"[..])
    );
    cache.put("a", entry("newest", Some(version("t", 0, 9, 1))));
    assert_eq!(&body(&cache)[..], b"newest");
}

#[test]
fn an_entry_without_a_version_never_replaces_one_that_has_one() {
    let cache = cache();
    cache.put("a", entry("unversioned", None));
    cache.put("a", entry("versioned", Some(version("t", 0, 1, 1))));
    cache.put("a", entry("unversioned again", None));
    assert_eq!(&body(&cache)[..], b"versioned");
}

#[test]
fn the_same_record_known_to_be_the_newest_replaces_the_one_that_was_behind() {
    let cache = cache();
    let v = || Some(version("t", 0, 1, 1));
    cache.put("a", Entry::new(Bytes::from_static(b"x"), v(), Some(3)));
    assert_eq!(cache.get("a").unwrap().behind, Some(3));
    cache.put("a", Entry::new(Bytes::from_static(b"x"), v(), None));
    assert_eq!(cache.get("a").unwrap().behind, None);
    cache.put("a", Entry::new(Bytes::from_static(b"x"), v(), Some(3)));
    assert_eq!(cache.get("a").unwrap().behind, None);
}

#[test]
fn a_lagging_follower_does_not_bring_back_what_an_evicted_entry_had_replaced() {
    let cache = cache();
    cache.put("a", entry("v2", Some(version("t", 0, 8, 2))));
    cache.lock().evict("a");
    assert!(
        cache
            .put_followed("a", entry("v1", Some(version("t", 0, 7, 1))), true)
            .is_none()
    );
    assert!(cache.get("a").is_none());
    assert!(
        cache
            .put_followed("a", entry("v2", Some(version("t", 0, 8, 2))), true)
            .is_some()
    );
    assert!(
        cache
            .put_followed("b", entry("b1", Some(version("t", 1, 0, 1))), true)
            .is_some()
    );
}

#[test]
fn an_eviction_by_size_is_remembered() {
    let cache = OrderCache::new(1_000, Duration::from_secs(60));
    for offset in 0..40 {
        cache.put(
            &format!("uid{offset}"),
            entry("x", Some(version("t", 0, offset, 1))),
        );
    }
    assert!(cache.bytes() <= 1_000);
    assert!(
        cache
            .put_followed("other", entry("y", Some(version("t", 0, 0, 1))), true)
            .is_none()
    );
}

#[test]
fn the_least_recently_used_order_is_evicted_first() {
    let size_of_two = 2 * (ENTRY_OVERHEAD as u64 + 2);
    let cache = OrderCache::new(size_of_two, Duration::from_secs(60));
    for uid in ["a", "b"] {
        cache.put(uid, entry("x", None));
    }
    cache.get("a");
    cache.put("c", entry("x", None));
    assert!(cache.get("a").is_some() && cache.get("b").is_none() && cache.get("c").is_some());
    assert_eq!(cache.bytes() as u64, size_of_two);
}

#[test]
fn expired_entries_are_removed_whether_read_or_not_and_remembered() {
    let cache = OrderCache::new(1 << 20, Duration::from_millis(1));
    cache.put("a", entry("a", Some(version("t", 0, 8, 1))));
    cache.put("b", entry("b", Some(version("t", 0, 9, 1))));
    std::thread::sleep(Duration::from_millis(2));
    assert!(cache.get("a").is_none());
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
    let older = entry("older", Some(version("t", 0, 7, 1)));
    assert!(cache.put_followed("a", older, true).is_none());
}

#[test]
fn an_entry_larger_than_the_cache_is_not_kept() {
    let cache = OrderCache::new(100, Duration::from_secs(60));
    cache.put("a", entry("x", Some(version("t", 0, 8, 1))));
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
}

#[test]
fn a_cleared_cache_accepts_lower_offsets_again() {
    let cache = cache();
    cache.put("a", entry("old log", Some(version("t", 0, 900, 1))));
    cache.clear();
    assert!(cache.get("a").is_none());
    cache.put("a", entry("new log", Some(version("t", 0, 0, 1))));
    assert_eq!(&body(&cache)[..], b"new log");
}

#[test]
fn equal_bodies_have_equal_tags_and_different_bodies_different_ones() {
    let tag = |body| entry(body, None).etag();
    assert_eq!(tag("x"), tag("x"));
    assert_ne!(tag("x"), tag("y"));
    assert_eq!(tag("x").len(), 26);
}
