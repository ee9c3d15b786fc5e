//! What this instance knows of orders: the cache, the lookups under way, and how far it has followed
//! the log.
//!
//! Owns the ways by which something enters the cache, each with its reason why GET does not lie by
//! it; threads, HTTP and sending are elsewhere. The surprising thing: an entry is only kept when the
//! follower reads the log from that entry's offset or below. Otherwise a newer version may have
//! passed unseen, and the entry would hide it until its time is over.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::info;

use super::lookups::{Joined, Lookups};
use super::tail::Tail;
use crate::cache::{Entry, OrderCache};
use crate::order::{Order, is_uid};
use crate::pipeline::lookup_protocol::{LookupOutcome, LookupReply};
use crate::pipeline::{ACCEPTED_AT, PartitionOffset, Record, Source, TopicId, Version};

/// See the module's head. Shared by the handlers and the threads.
pub struct Knowledge {
    pub cache: OrderCache,
    pub lookups: Lookups,
    /// How far the topic of orders has been followed.
    pub orders: Tail,
    /// How far the topic of answers has been followed.
    pub found: Tail,
}

/// Which beginning of the follower an append belongs to; taken before it.
pub struct Beginning {
    generation: u64,
    topic_id: TopicId,
}

impl Knowledge {
    /// Whether what the cache holds can be believed to be the newest.
    pub fn is_live(&self, now: Instant) -> bool {
        self.orders.is_live(now)
    }

    /// Take this before an order is appended, for [`Knowledge::accepted`]. `None` before the follower
    /// of orders has begun: such an order could not be kept, and the next GET might be answered with
    /// an older version from the store.
    pub fn beginning(&self) -> Option<Beginning> {
        let (generation, topic_id) = self.orders.beginning();
        (generation > 0).then_some(Beginning {
            generation,
            topic_id,
        })
    }

    /// This instance appended an order and the log has it. Call before the client is told: from then
    /// on a GET here gives this version or a newer one.
    pub fn accepted(
        &self,
        uid: &str,
        body: Bytes,
        at: PartitionOffset,
        accepted_at_us: i64,
        before: Beginning,
    ) {
        let topic_id = before.topic_id;
        let version = Version::new(Source { topic_id, at }, accepted_at_us);
        let entry = Arc::new(Entry::new(body, Some(version), None));
        if self.orders.covers(at) != Some(before.generation) {
            // The follower begins beyond it, so it cannot be kept. An older version may be there,
            // and a "no" on its way: both are forgotten, the next GET asks.
            self.cache.remove(uid);
            self.lookups.arrived(uid, &entry);
            return;
        }
        let held = self.cache.put_shared(uid, &entry);
        if self.orders.generation() != before.generation {
            self.cache.remove(uid);
        }
        self.lookups.arrived(uid, &held);
    }

    /// Whether the cache holds the very record at this place. Most records that an instance follows
    /// are orders that it accepted itself, and those are here before the follower comes to them. The
    /// offset must be the same: only then is the key known to be the uid.
    pub fn holds(&self, topic_id: &TopicId, at: PartitionOffset, key: &[u8]) -> bool {
        std::str::from_utf8(key).is_ok_and(|uid| {
            self.cache.holds(uid, |held| {
                let version = held.version.as_ref();
                held.behind.is_none() && version.is_some_and(|it| it.is_from(topic_id, at))
            })
        })
    }

    /// The follower read a record of the topic of orders.
    pub fn followed(&self, record: &Record, topic_id: &TopicId) {
        let Some((uid, body)) = followed_order(record) else {
            return;
        };
        let version = Version::of(record, topic_id);
        // What was accepted before this log was followed may be outranked by a version that only the
        // store knows, of a log that had this name before.
        let may_begin = version.accepted_at_us >= self.orders.begun_at_us();
        let entry = Entry::new(body, Some(version), None);
        match self.cache.put_followed(&uid, entry, may_begin) {
            Some(held) => self.lookups.arrived(&uid, &held),
            None => self.lookups.doubt(&uid),
        }
    }

    /// The follower read an answer. Only what was asked for here counts, so that nobody can put an
    /// order into the cache by merely writing to the topic.
    pub fn answered(&self, record: &Record, now: Instant) {
        let Some(reply) = LookupReply::decode(record) else {
            return;
        };
        let (uid, version) = (reply.order_uid, reply.outcome.version());
        match reply.outcome {
            LookupOutcome::Found { body, behind, .. } => {
                let keep = || self.cache.put(&uid, Entry::new(body, version, behind));
                if self.lookups.found(&uid, reply.correlation_id, keep) {
                    info!("CACHE UPDATED order_uid={uid} source=order-found");
                }
            }
            LookupOutcome::NotFound(not_found) => {
                if let Some(correlation) = reply.correlation_id {
                    let live = self.is_live(now);
                    self.lookups.absent(&uid, correlation, not_found, live, now);
                }
            }
        }
    }

    /// A row of the store, read in a snapshot at or beyond the follower's start. Whether it was
    /// kept: not when the follower has begun anew since `generation`.
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
        self.lookups.arrived(uid, &held);
        true
    }

    /// What is known beyond the cache's miss; joins or begins a lookup.
    pub fn join(&self, uid: &str, now: Instant) -> Joined {
        self.lookups
            .join(uid, now, self.is_live(now), || self.cache.get(uid))
    }

    /// The follower of orders begins anew, so newer versions may have been missed. In this order:
    /// once no lookup sent before can be answered any more, nothing old enters after the clearing.
    pub fn forget(&self) {
        self.lookups.renew();
        self.cache.clear();
    }
}

/// The uid and the body to answer with; `None` for what is no order.
fn followed_order(record: &Record) -> Option<(String, Bytes)> {
    let value = record.value.as_ref()?;
    if let Some(uid) = normalised_uid(record, value) {
        return Some((uid.into(), value.clone()));
    }
    let order = Order::decode(value).ok()?;
    let body = Bytes::from(order.encode().into_boxed_slice());
    Some((order.order_uid, body))
}

/// The uid of a record that an API wrote: its value is normalised and can be answered as it is. A
/// look at its first field tells a foreign record that merely carries the header.
fn normalised_uid<'a>(record: &'a Record, value: &[u8]) -> Option<&'a str> {
    record.header(ACCEPTED_AT)?;
    let uid = std::str::from_utf8(record.key.as_ref()?)
        .ok()
        .filter(|uid| is_uid(uid))?;
    let rest = value
        .strip_prefix(br#"{"order_uid":""#)?
        .strip_prefix(uid.as_bytes())?;
    rest.starts_with(br#"","track_number":"#).then_some(uid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event_log::TopicState;

    const ORDER: &str = r#"{"order_uid":"a","date_created":"2021-11-26T06:22:19Z"}"#;

    /// Follows one partition from offset 5 of topic `t`.
    fn knowledge() -> Knowledge {
        let knowledge = not_begun();
        begin(&knowledge, "t", 5);
        knowledge
    }

    fn not_begun() -> Knowledge {
        Knowledge {
            cache: OrderCache::new(1 << 20, Duration::from_secs(60)),
            lookups: Lookups::default(),
            orders: Tail::new("orders"),
            found: Tail::new("order-found"),
        }
    }

    fn begin(knowledge: &Knowledge, topic_id: &str, high: i64) {
        let ends = TopicState {
            log_id: "log".into(),
            topic_id: topic_id.into(),
            highs: vec![high],
        };
        knowledge.orders.begin(&ends, Instant::now());
        knowledge.forget();
    }

    fn accept(knowledge: &Knowledge, offset: i64, before: Beginning) {
        knowledge.accepted("a", Bytes::from_static(b"{}"), at(0, offset), 1, before);
    }

    fn at(partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset::new(partition, offset)
    }

    fn record(key: &'static str, value: &str, headers: &[(&str, &'static str)]) -> Record {
        let header = |(name, value): &(&str, &'static str)| ((*name).into(), Bytes::from(*value));
        Record {
            partition: 0,
            offset: 7,
            timestamp_ms: 1,
            key: Some(Bytes::from(key)),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: headers.iter().map(header).collect(),
        }
    }

    fn body(record: &Record) -> Option<(String, String)> {
        let (uid, body) = followed_order(record)?;
        Some((uid, String::from_utf8(body.to_vec()).unwrap()))
    }

    #[test]
    fn an_accepted_order_is_kept_where_all_newer_ones_will_be_followed() {
        let knowledge = knowledge();
        accept(&knowledge, 5, knowledge.beginning().unwrap());
        assert!(knowledge.cache.get("a").is_some());
    }

    #[test]
    fn only_the_very_record_that_the_cache_has_is_passed_over() {
        let knowledge = knowledge();
        let topic_id = TopicId::from("t");
        let holds = |at, key: &str| knowledge.holds(&topic_id, at, key.as_bytes());
        assert!(!holds(at(0, 5), "a"));
        accept(&knowledge, 5, knowledge.beginning().unwrap());
        assert!(holds(at(0, 5), "a"));
        // A newer version, another partition, another producer's key, another log of that name.
        assert!(!holds(at(0, 6), "a") && !holds(at(1, 5), "a") && !holds(at(0, 5), "b"));
        assert!(!knowledge.holds(&"u".into(), at(0, 5), b"a"));
        // An older version under that key may be of another order: who knows what its producer did.
        assert!(!holds(at(0, 4), "a"));
    }

    #[test]
    fn an_accepted_order_is_not_kept_where_a_newer_one_may_pass_unseen() {
        let knowledge = knowledge();
        accept(&knowledge, 4, knowledge.beginning().unwrap());
        assert!(knowledge.cache.get("a").is_none());
        // The follower began anew between the append and its acknowledgement.
        let before = knowledge.beginning().unwrap();
        begin(&knowledge, "u", 0);
        accept(&knowledge, 900, before);
        assert!(knowledge.cache.get("a").is_none());
    }

    #[test]
    fn nothing_is_accepted_before_newer_versions_would_be_followed() {
        let knowledge = not_begun();
        assert!(knowledge.beginning().is_none());
        begin(&knowledge, "t", 5);
        assert!(knowledge.beginning().is_some());
    }

    #[test]
    fn what_an_api_wrote_is_answered_as_it_is() {
        let order = Order::decode(ORDER.as_bytes()).unwrap();
        let normalised = String::from_utf8(order.encode()).unwrap();
        let ours = record("a", &normalised, &[("accepted-at", "9")]);
        assert_eq!(body(&ours), Some(("a".into(), normalised.clone())));
        assert_eq!(
            body(&record("a", ORDER, &[])),
            Some(("a".into(), normalised))
        );
    }

    #[test]
    fn a_foreign_record_with_our_header_is_looked_at_all_the_same() {
        let headers = [("accepted-at", "9")];
        assert_eq!(
            body(&record("a", r#"{"order_uid":"a","sm_id":"x"}"#, &headers)),
            None
        );
        let other_key = body(&record("b", ORDER, &headers));
        assert_eq!(other_key.map(|(uid, _)| uid), Some("a".into()));
        assert_eq!(body(&record("a", "garbage", &headers)), None);
    }

    #[test]
    fn a_followed_order_is_kept_unless_a_log_before_this_one_may_have_had_a_newer_version() {
        let knowledge = knowledge();
        let topic_id = TopicId::from("t");
        let mut followed = record("a", ORDER, &[("accepted-at", "9")]);
        knowledge.followed(&followed, &topic_id);
        assert!(knowledge.cache.get("a").is_none());
        let later = knowledge.orders.begun_at_us() + 1;
        followed.headers[0].1 = Bytes::from(later.to_string());
        knowledge.followed(&followed, &topic_id);
        assert!(knowledge.cache.get("a").is_some());
    }

    #[test]
    fn an_answer_that_nobody_here_asked_for_changes_nothing() {
        let knowledge = knowledge();
        knowledge.answered(&record("a", "{}", &[]), Instant::now());
        assert!(knowledge.cache.get("a").is_none());
        let Joined::Waiting {
            ask: Some(correlation),
            ..
        } = knowledge.join("a", Instant::now())
        else {
            panic!("no lookup was to be sent")
        };
        let mut answer = record("a", "{}", &[]);
        let id = correlation.simple().to_string();
        answer
            .headers
            .push(("correlation-id".into(), Bytes::from(id)));
        knowledge.answered(&answer, Instant::now());
        assert!(knowledge.cache.get("a").is_some());
    }
}
