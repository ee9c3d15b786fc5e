//! What enters the cache, what does not, and what is forgotten.

use std::time::Duration;

use super::*;
use crate::api::lookups::{Completion, LookupHandle};
use crate::event_log::TopicState;
use crate::order::Order;

const ORDER: &str = r#"{"order_uid":"a","date_created":"2021-11-26T06:22:19Z"}"#;

/// Follows one partition from offset 5 of topic `t`.
fn read_model() -> ReadModel {
    let read_model = not_started();
    start(&read_model, "t", 5);
    read_model
}

fn not_started() -> ReadModel {
    ReadModel {
        cache: OrderCache::new(1 << 20, Duration::from_secs(60)),
        lookups: Lookups::default(),
        orders: FollowerProgress::new("orders"),
        replies: FollowerProgress::new("order-found"),
        reply_lines: Mutex::default(),
        forgotten: AtomicU64::default(),
    }
}

fn start(read_model: &ReadModel, topic_id: &str, high: i64) {
    let ends = TopicState {
        log_id: "log".into(),
        topic_id: topic_id.into(),
        highs: vec![high],
    };
    read_model.orders.start(&ends, Instant::now());
    read_model.reset();
}

fn accept(read_model: &ReadModel, offset: i64, before: FollowerEpoch) {
    read_model.accepted("a", Bytes::from_static(b"{}"), at(0, offset), 1, before);
}

fn at(partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset::new(partition, offset)
}

fn record(key: &'static str, value: &str, headers: &[(&str, &'static str)]) -> Record {
    let header = |(name, value): &(&str, &'static str)| ((*name).into(), Bytes::from(*value));
    Record {
        offset: 7,
        timestamp_ms: time::now_us() / 1_000,
        key: Some(Bytes::from(key)),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: headers.iter().map(header).collect(),
        ..Record::default()
    }
}

fn body(record: &Record) -> Option<(String, String)> {
    let (uid, body) = followed_order(record)?;
    Some((uid, String::from_utf8(body.to_vec()).unwrap()))
}

#[test]
fn an_accepted_order_is_kept_where_all_newer_ones_will_be_followed() {
    let read_model = read_model();
    accept(&read_model, 5, read_model.epoch().unwrap());
    assert!(read_model.cache.get("a").is_some());
}

#[test]
fn only_the_record_that_the_cache_holds_is_passed_over() {
    let read_model = read_model();
    let topic_id = TopicId::from("t");
    let holds = |at, key: &str| read_model.holds(&topic_id, at, key.as_bytes());
    assert!(!holds(at(0, 5), "a"));
    accept(&read_model, 5, read_model.epoch().unwrap());
    assert!(holds(at(0, 5), "a"));
    // A newer version, another partition, another key, another log of that name.
    assert!(!holds(at(0, 6), "a") && !holds(at(1, 5), "a") && !holds(at(0, 5), "b"));
    assert!(!read_model.holds(&"u".into(), at(0, 5), b"a"));
    // An older record with that key may be of another order: its producer is not known.
    assert!(!holds(at(0, 4), "a"));
}

#[test]
fn an_accepted_order_is_not_kept_where_a_newer_one_may_be_missed() {
    let read_model = read_model();
    accept(&read_model, 4, read_model.epoch().unwrap());
    assert!(read_model.cache.get("a").is_none());
    // The follower restarted between the append and its acknowledgement.
    let before = read_model.epoch().unwrap();
    start(&read_model, "u", 0);
    accept(&read_model, 900, before);
    assert!(read_model.cache.get("a").is_none());
}

#[test]
fn nothing_is_accepted_before_newer_versions_would_be_followed() {
    let read_model = not_started();
    assert!(read_model.epoch().is_none());
    start(&read_model, "t", 5);
    assert!(read_model.epoch().is_some());
}

#[test]
fn a_followed_record_is_decoded_whatever_headers_it_has() {
    let order = Order::decode(ORDER.as_bytes()).unwrap();
    let normalised = String::from_utf8(order.encode()).unwrap();
    let headers = [("accepted-at", "9")];
    for value in [ORDER, &normalised] {
        let expected = Some(("a".into(), normalised.clone()));
        assert_eq!(body(&record("a", value, &headers)), expected);
        assert_eq!(body(&record("a", value, &[])), expected);
        assert_eq!(body(&record("b", value, &headers)), expected);
    }
    let disguised = normalised.replacen("\"entry\"", "<script>", 1);
    for value in [&disguised, r#"{"order_uid":"a","sm_id":"x"}"#, "garbage"] {
        assert_eq!(body(&record("a", value, &headers)), None, "{value}");
    }
}

#[test]
fn a_followed_order_is_kept_unless_a_log_before_this_one_may_have_had_a_newer_version() {
    let read_model = read_model();
    let topic_id = TopicId::from("t");
    let mut followed = record("a", ORDER, &[("accepted-at", "9")]);
    read_model.followed(&followed, &topic_id);
    assert!(read_model.cache.get("a").is_none());
    let later = read_model.orders.started_at_us() + 1;
    followed.headers[0].1 = Bytes::from(later.to_string());
    read_model.followed(&followed, &topic_id);
    assert!(read_model.cache.get("a").is_some());
}

/// Sends a lookup of `a`; returns its handle and its correlation id in a header.
fn send_lookup(read_model: &ReadModel) -> (LookupHandle, (Box<str>, Bytes)) {
    let Joined::Waiting(handle) = read_model.join("a", Instant::now()) else {
        panic!("no lookup is to be sent")
    };
    let id = handle.to_send.expect("it is to be sent").simple();
    (handle, ("correlation-id".into(), id.to_string().into()))
}

#[test]
fn a_reply_to_another_request_changes_nothing() {
    let read_model = read_model();
    read_model.replied(&record("a", ORDER, &[]), Instant::now());
    assert!(read_model.cache.get("a").is_none());
    let (_handle, id) = send_lookup(&read_model);
    let mut reply = record("a", ORDER, &[]);
    reply.headers.push(id);
    read_model.replied(&reply, Instant::now());
    assert!(read_model.cache.get("a").is_some());
}

#[test]
fn a_reply_without_correlation_id_is_answered_and_not_kept() {
    let read_model = read_model();
    let (handle, _) = send_lookup(&read_model);
    let headers = [("source", "t/0/4"), ("accepted-at", "9")];
    read_model.replied(&record("a", ORDER, &headers), Instant::now());
    let completion = handle.completion.borrow();
    assert!(matches!(*completion, Some(Completion::Unverified(_))));
    assert!(read_model.cache.get("a").is_none());
}

#[test]
fn a_version_that_the_log_cannot_have_is_not_believed() {
    let read_model = read_model();
    let version_kept = |source: &'static str, accepted_at: &'static str| {
        read_model.cache.remove("a");
        let (_handle, id) = send_lookup(&read_model);
        let headers = [("source", source), ("accepted-at", accepted_at)];
        let mut reply = record("a", ORDER, &headers);
        reply.headers.push(id);
        read_model.replied(&reply, Instant::now());
        let entry = read_model.cache.get("a").expect("it is kept");
        entry.version.is_some()
    };
    assert!(version_kept("t/0/4", "9"));
    for source in ["t/0/5", "t/1/0", "t/2147483647/0", "u/0/4", "X/50000000/9"] {
        assert!(!version_kept(source, "9"), "{source}");
    }
    for accepted_at in ["-1", "253402300799999999", "9223372036854775807"] {
        assert!(!version_kept("t/0/4", accepted_at), "{accepted_at}");
    }
}

fn forget(read_model: &ReadModel) {
    let forget = record("a", "", &[("forget", "1")]);
    let forget = Record {
        value: None,
        ..forget
    };
    read_model.replied(&forget, Instant::now());
}

#[test]
fn a_forgotten_order_is_looked_up_again_and_no_older_record_brings_it_back() {
    let read_model = read_model();
    accept(&read_model, 8, read_model.epoch().unwrap());
    forget(&read_model);
    assert!(read_model.cache.get("a").is_none());
    let (later, topic_id) = (read_model.orders.started_at_us() + 1, TopicId::from("t"));
    let mut older = record("a", ORDER, &[("accepted-at", "9")]);
    older.headers[0].1 = Bytes::from(later.to_string());
    read_model.followed(&older, &topic_id);
    assert!(read_model.cache.get("a").is_none());
}

#[test]
fn a_reply_that_may_be_older_than_a_forget_record_does_not_count() {
    let read_model = read_model();
    let (handle, id) = send_lookup(&read_model);
    forget(&read_model);
    let mut reply = record("a", ORDER, &[]);
    reply.headers.push(id);
    read_model.replied(&reply, Instant::now());
    assert!(read_model.cache.get("a").is_none());
    assert!(handle.completion.borrow().is_none());
    assert!(read_model.lookups.resend("a", Instant::now()).is_some());
}

#[test]
fn a_row_that_was_read_before_an_order_was_forgotten_is_not_kept() {
    let read_model = read_model();
    let warmed = |epoch| {
        let version = Version {
            source: "t/0/4".parse().unwrap(),
            accepted_at_us: 1,
        };
        read_model.warmed("a", Bytes::from_static(b"{}"), version, epoch)
    };
    let before = read_model.cache_epoch();
    forget(&read_model);
    assert!(!warmed(before));
    assert!(warmed(read_model.cache_epoch()));
    read_model.forget_all();
    assert!(read_model.cache.get("a").is_none());
}
