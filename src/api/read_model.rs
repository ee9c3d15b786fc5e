//! What this instance knows of orders: the cache, the lookups in progress, and the followers'
//! progress.
//!
//! Owns every way by which an entry enters the cache, with the reason why GET is right to serve it.
//!
//! # Invariants
//!
//! - An entry is only kept when the follower reads the log from that entry's offset or below.
//!   Otherwise a newer version may have been missed, and the entry would hide it until it expires.
//! - Only what this process accepted is served as it is; what came from the log is decoded first.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tracing::{debug, info};

use super::follower_progress::FollowerProgress;
use super::lookups::{Joined, Lookups};
use crate::cache::{Entry, OrderCache};
use crate::diagnostics::EventLimit;
use crate::escape::LogValue;
use crate::order::BorrowedOrder;
use crate::pipeline::lookup_protocol::{LookupOutcome, LookupReply};
use crate::pipeline::{MAX_AHEAD_US, PartitionOffset, Record, Source, TopicId, Version, time};
use crate::sync::lock;

/// Shared by the handlers and the threads.
pub struct ReadModel {
    pub cache: OrderCache,
    pub lookups: Lookups,
    /// The follower of the topic of orders.
    pub orders: FollowerProgress,
    /// The follower of the topic of replies.
    pub replies: FollowerProgress,
    /// How many lines the replies may have: any client can cause lookups.
    pub reply_lines: Mutex<EventLimit>,
}

/// The state of the follower of orders before an append.
pub struct FollowerEpoch {
    generation: u64,
    topic_id: TopicId,
}

impl ReadModel {
    /// Whether the cache is known to hold the newest versions.
    pub fn is_live(&self, now: Instant) -> bool {
        self.orders.is_live(now)
    }

    /// Take this before an order is appended, for [`ReadModel::accepted`]. `None` before the follower
    /// of orders has started: such an order could not be kept, and the next GET might be answered with
    /// an older version from the store.
    pub fn epoch(&self) -> Option<FollowerEpoch> {
        let (generation, topic_id) = self.orders.epoch();
        (generation > 0).then_some(FollowerEpoch {
            generation,
            topic_id,
        })
    }

    /// The log has acknowledged an order of this instance. Call before the client gets its 202: from
    /// then on a GET here gives this version or a newer one.
    pub fn accepted(
        &self,
        uid: &str,
        body: Bytes,
        at: PartitionOffset,
        accepted_at_us: i64,
        before: FollowerEpoch,
    ) {
        let topic_id = before.topic_id;
        let version = Version {
            source: Source { topic_id, at },
            accepted_at_us,
        };
        let entry = Arc::new(Entry::new(body, Some(version), None));
        if self.orders.covers(at) != Some(before.generation) {
            // The follower started after it, so it cannot be kept. An older version may be cached, or
            // a miss remembered: both are forgotten, and the next GET sends a lookup.
            self.cache.remove(uid);
            self.lookups.complete(uid, &entry);
            return;
        }
        let held = self.cache.put(uid, entry);
        if self.orders.generation() != before.generation {
            self.cache.remove(uid);
        }
        self.lookups.complete(uid, &held);
    }

    /// Whether the cache holds the record at this very offset. Most records that an instance follows
    /// are orders that it accepted itself, which enter the cache before the follower reads them. Only
    /// for the same offset is the key known to be the uid.
    pub fn holds(&self, topic_id: &TopicId, at: PartitionOffset, key: &[u8]) -> bool {
        let is_this = |source: &Source| source.at == at && source.topic_id == *topic_id;
        std::str::from_utf8(key).is_ok_and(|uid| {
            self.cache.holds(uid, |held| {
                let version = held.version.as_ref();
                held.behind.is_none() && version.is_some_and(|it| is_this(&it.source))
            })
        })
    }

    /// The follower read a record of the topic of orders.
    pub fn followed(&self, record: &Record, topic_id: &TopicId) {
        let Some((uid, body)) = followed_order(record) else {
            return;
        };
        let version = Version::of(record, topic_id);
        // The store may have a newer version of a record that was accepted before this log was
        // followed, from another log that had this name before.
        let may_insert = version.accepted_at_us >= self.orders.started_at_us();
        let entry = Entry::new(body, Some(version), None);
        match self.cache.put_followed(&uid, entry, may_insert) {
            Some(held) => self.lookups.complete(&uid, &held),
            None => self.lookups.invalidate(&uid),
        }
    }

    /// The follower read a reply. Only one to a request of this instance enters the cache, and only as
    /// a version that the log can have: nobody can put an order there, or one that nothing outranks,
    /// by merely writing to the topic.
    pub fn replied(&self, record: &Record, now: Instant) {
        let Some(reply) = LookupReply::decode(record) else {
            return;
        };
        let version = reply.outcome.version().filter(|it| self.is_possible(it));
        let uid = reply.order_uid;
        match reply.outcome {
            LookupOutcome::Found { body, behind, .. } => {
                let Some(correlation_id) = reply.correlation_id else {
                    let unverified = || Arc::new(Entry::new(body, None, None));
                    let entry = self.cache.get(&uid).unwrap_or_else(unverified);
                    self.lookups.reply_unverified(&uid, entry);
                    return;
                };
                let keep = || self.cache.put(&uid, Entry::new(body, version, behind));
                if !self.lookups.reply_found(&uid, correlation_id, keep) {
                    return;
                }
                self.log_updates(now);
                let uid = LogValue(&uid);
                match lock(&self.reply_lines).admits(now) {
                    true => info!("CACHE UPDATED order_uid={uid} source=order-found"),
                    false => debug!("CACHE UPDATED order_uid={uid} source=order-found"),
                }
            }
            LookupOutcome::NotFound(not_found) => {
                if let Some(correlation_id) = reply.correlation_id {
                    let live = self.is_live(now);
                    self.lookups
                        .reply_not_found(&uid, correlation_id, not_found, live, now);
                }
            }
        }
    }

    /// One line for the updates of the last second that have none.
    pub fn log_updates(&self, now: Instant) {
        if let Some(updates) = lock(&self.reply_lines).take_count(now) {
            info!("{updates} more orders entered the cache within a second source=order-found");
        }
    }

    /// Whether the log can have this version. One that it cannot have would outrank those that follow, or
    /// be taken for a record that is still to be followed: its order is kept as of unknown version.
    fn is_possible(&self, version: &Version) -> bool {
        let latest_us = time::now_us().saturating_add(2 * MAX_AHEAD_US);
        (0..=latest_us).contains(&version.accepted_at_us) && self.orders.has_passed(&version.source)
    }

    /// A row of the store, read in a snapshot at or beyond the follower's start. Whether it was kept:
    /// not when the follower has restarted since `generation`.
    pub fn warmed(&self, uid: &str, body: Bytes, version: Version, generation: u64) -> bool {
        let is_current = || self.orders.generation() == generation;
        if !is_current() {
            return false;
        }
        let held = self.cache.put(uid, Entry::new(body, Some(version), None));
        if !is_current() {
            self.cache.remove(uid);
            return false;
        }
        self.lookups.complete(uid, &held);
        true
    }

    /// Joins or starts the lookup of a uid that the cache does not have.
    pub fn join(&self, uid: &str, now: Instant) -> Joined {
        self.lookups
            .join(uid, now, self.is_live(now), || self.cache.get(uid))
    }

    /// The follower of orders restarts, so newer versions may have been missed. In this order: once no
    /// reply to an earlier request counts, nothing old enters after the cache is cleared.
    pub fn reset(&self) {
        self.lookups.renew();
        self.cache.clear();
    }
}

/// The uid and the body to serve; `None` for a record that is no order. Decoded whatever its headers
/// say: any program may write to the topic.
fn followed_order(record: &Record) -> Option<(String, Bytes)> {
    let order = BorrowedOrder::decode(record.value.as_ref()?).ok()?;
    let body = Bytes::from(order.encode().into_boxed_slice());
    Some((order.order_uid.to_string(), body))
}

#[cfg(test)]
mod tests {
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
}
