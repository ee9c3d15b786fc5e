//! Lookups: an API instance requests an order that it does not have. The reply is final, or carries
//! how many records the store may be behind.
//!
//! Lost replies are harmless: an API sends its request again while a GET waits.
//!
//! # Invariants
//!
//! The ends of the orders topic are taken before rows and positions are read, which is one snapshot.
//! Only when the positions reach those ends is it known that there is no such order; otherwise an
//! absent one is looked up again after each commit, until its deadline.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::Context;
use super::status::LOOKUPS;
use crate::diagnostics::EventLimit;
use crate::escape::LogValue;
use crate::event_log::{
    Durability, Fetched, LogFault, Membership, MembershipEvent, NewRecord, Reader, TopicState,
};
use crate::pipeline::lookup_protocol::{
    DeadLettered, LookupOutcome, LookupReply, LookupRequest, NotFound,
};
use crate::pipeline::{Lag, PartitionOffset, Record, lag, time};
use crate::store::{LookupResult, LookupResults, OrderStore, Position};

const MAX_PENDING: usize = 10_000;
/// How many uids one query looks up.
const MAX_UIDS: usize = 500;
const MAX_BYTES: usize = 1024 * 1024;
/// How often pending lookups are tried again when nothing is committed.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const ERROR_PAUSE: Duration = Duration::from_millis(500);

/// Serves lookups until a stop is requested, through every outage.
pub fn run(context: &Arc<Context>) {
    while !context.shutdown.is_requested() {
        let settings = &context.settings;
        match context
            .log
            .join(&settings.lookup_group, &settings.topics.lookup)
        {
            Ok(membership) => Lookups::new(context.clone(), membership).serve(),
            Err(error) => context.status.unhealthy(LOOKUPS, error),
        }
        context.shutdown.wait_timeout(ERROR_PAUSE);
    }
}

/// A request that has no reply yet.
struct PendingLookup {
    request: LookupRequest,
    /// The query and its result have been logged.
    logged: bool,
    /// It is logged at debug level: any client can cause lookups.
    is_one_of_many: bool,
}

struct Lookups {
    context: Arc<Context>,
    membership: Box<dyn Membership>,
    readers: Vec<Box<dyn Reader>>,
    store: Option<Box<dyn OrderStore>>,
    pending: Vec<PendingLookup>,
    limit: EventLimit,
}

impl Lookups {
    fn new(context: Arc<Context>, membership: Box<dyn Membership>) -> Lookups {
        Lookups {
            context,
            membership,
            readers: Vec::new(),
            store: None,
            pending: Vec::new(),
            limit: EventLimit::default(),
        }
    }

    /// Returns when the group must be joined again.
    fn serve(mut self) {
        while !self.context.shutdown.is_requested() {
            if let Some(event) = self.membership.poll(Duration::ZERO)
                && !self.handle(event)
            {
                return;
            }
            if !self.receive() {
                return;
            }
            let pause = self.reply_to_pending();
            self.log_count(Instant::now());
            // Until a request or a commit.
            self.context.lookups_ready.wait(pause);
        }
    }

    /// `false` when the group must be joined again.
    fn handle(&mut self, event: MembershipEvent) -> bool {
        match event {
            MembershipEvent::Assigned(partitions) => self.read(&partitions),
            MembershipEvent::Revoked => {
                self.readers.clear();
                true
            }
            MembershipEvent::Fault(fault) => {
                tracing::debug!("lookups: {fault}");
                matches!(fault, LogFault::Transient(_))
            }
        }
    }

    /// Reads from the end on: an older request is sent again by the API that still waits.
    fn read(&mut self, partitions: &[i32]) -> bool {
        let status = &self.context.status;
        if partitions.is_empty() {
            status.healthy(LOOKUPS, "another member of the group replies");
            // The group waits for this answer; without it, it never assigns anything again.
            self.readers.clear();
            return self.membership.assign(&[]).is_ok();
        }
        let topic = &self.context.settings.topics.lookup;
        let starts = self.context.log.topic(topic).map(|ends| {
            let start = |partition: &i32| {
                let end = ends.highs.get(*partition as usize)?;
                Some(PartitionOffset::new(*partition, *end))
            };
            partitions.iter().filter_map(start).collect::<Vec<_>>()
        });
        match starts.and_then(|starts| self.membership.assign(&starts)) {
            Ok(readers) => {
                self.readers = readers;
                for reader in &mut self.readers {
                    let context = self.context.clone();
                    reader.on_ready(Box::new(move || context.lookups_ready.notify()));
                }
                status.healthy(LOOKUPS, "replying");
                true
            }
            Err(error) => {
                status.unhealthy(LOOKUPS, error);
                false
            }
        }
    }

    /// Keeps the requests that have arrived; `false` when the group must be joined again:
    /// after a reset this client would never deliver anything.
    fn receive(&mut self) -> bool {
        for at in 0..self.readers.len() {
            match self.readers[at].next(MAX_UIDS, MAX_BYTES, Duration::ZERO) {
                Fetched::Records(records) => {
                    for record in records {
                        self.keep(record);
                    }
                }
                Fetched::Fault(LogFault::Transient(_)) | Fetched::Nothing | Fetched::End => {}
                Fetched::Fault(fault) => {
                    let reason = format!("reconnecting: {fault}");
                    self.context.status.unhealthy(LOOKUPS, reason);
                    return false;
                }
            }
        }
        true
    }

    fn keep(&mut self, record: Record) {
        let now_us = time::now_us();
        let request = LookupRequest::decode(record, now_us)
            .filter(|request| request.deadline_us > now_us)
            .filter(|_| self.pending.len() < MAX_PENDING);
        let Some(request) = request else {
            // Malformed, late, or one too many: the API sends it again while a GET waits.
            self.context.status.lookups_dropped.inc();
            return;
        };
        let now = Instant::now();
        self.log_count(now);
        let is_one_of_many = !self.limit.admits(now);
        let is_repeated = |pending: &&mut PendingLookup| pending.request.repeats(&request);
        if let Some(pending) = self.pending.iter_mut().find(is_repeated) {
            // Sent again while a GET waits: one reply is enough.
            pending.is_one_of_many |= is_one_of_many;
            pending.log_received();
            let deadline_us = &mut pending.request.deadline_us;
            *deadline_us = request.deadline_us.max(*deadline_us);
            return;
        }
        let pending = PendingLookup {
            request,
            logged: false,
            is_one_of_many,
        };
        pending.log_received();
        self.pending.push(pending);
    }

    /// One line for the lookups of the last second that have none.
    fn log_count(&mut self, now: Instant) {
        if let Some(lookups) = self.limit.take_count(now) {
            tracing::info!("{lookups} more lookups received within a second");
        }
    }

    /// Returns after which time to try again.
    fn reply_to_pending(&mut self) -> Duration {
        let now_us = time::now_us();
        let before = self.pending.len();
        self.pending
            .retain(|pending| pending.request.deadline_us > now_us);
        let expired = before - self.pending.len();
        self.context.status.lookups_dropped.inc_by(expired as u64);
        let mut rest = std::mem::take(&mut self.pending);
        while !rest.is_empty() {
            let mut batch: Vec<_> = rest.drain(..rest.len().min(MAX_UIDS)).collect();
            let replied = self.reply_to(&mut batch);
            self.pending.append(&mut batch);
            if let Err(reason) = replied {
                tracing::debug!("lookups wait: {reason}");
                self.pending.append(&mut rest);
                return ERROR_PAUSE;
            }
        }
        RETRY_INTERVAL
    }

    /// Replies where that is possible and leaves the rest in `batch`.
    fn reply_to(&mut self, batch: &mut Vec<PendingLookup>) -> Result<(), String> {
        let context = self.context.clone();
        // Before the snapshot: whatever was acknowledged before these requests is below these ends.
        let topic = &context.settings.topics.orders;
        let read_ends = || context.log.topic(topic).map_err(|error| error.to_string());
        let ends = read_ends()?;
        for pending in batch.iter().filter(|pending| !pending.logged) {
            pending.log_line(format_args!("DB QUERY order_uid={}", pending.uid()));
        }
        let uids: Vec<&str> = batch.iter().map(|it| &*it.request.order_uid).collect();
        let LookupResults { results, positions } = self.query(&ends.log_id, &uids)?;
        let lag = lag_behind(&ends, &positions);
        let mut behind = lag.records_behind();
        if behind == Some(0) && lag.is_past_end() {
            // Progress since the ends were read, or a truncated log.
            let lag = lag_behind(&read_ends()?, &positions);
            behind = lag.records_behind().filter(|_| !lag.is_past_end());
        }
        for (mut pending, result) in std::mem::take(batch).into_iter().zip(results) {
            pending.log_result(&result);
            match outcome(result, behind) {
                Some(outcome) => self.reply(&pending, &outcome),
                // It may be among the records that are not stored yet.
                None => batch.push(pending),
            }
        }
        Ok(())
    }

    fn query(&mut self, log_id: &str, uids: &[&str]) -> Result<LookupResults, String> {
        let store = match &mut self.store {
            Some(store) => store,
            empty => empty.insert(self.context.store.connect().map_err(|e| e.to_string())?),
        };
        store.lookup(log_id, uids).map_err(|error| {
            self.store = None;
            error.to_string()
        })
    }

    fn reply(&self, pending: &PendingLookup, outcome: &LookupOutcome) {
        let message = LookupReply::encode(&pending.request, outcome);
        let record = NewRecord {
            topic: &self.context.settings.topics.found,
            key: message.key,
            value: message.value,
            headers: &message.headers(),
        };
        let order_uid = pending.uid();
        match self.context.log.append(Durability::BestEffort, record) {
            Ok(_) => {
                self.context.status.lookups_answered.inc();
                pending.log_line(format_args!("published order-found for {order_uid}"));
            }
            // Lost, which a reply may be.
            Err(error) => tracing::warn!("order-found for {order_uid} was not sent: {error}"),
        }
    }
}

impl PendingLookup {
    fn uid(&self) -> LogValue<'_> {
        LogValue(&self.request.order_uid)
    }

    fn log_received(&self) {
        let uid = self.uid();
        self.log_line(format_args!(
            "LOOKUP RECEIVED order_uid={uid} action=query-db"
        ));
    }

    /// Logs what the store had, once; an order also when it comes later.
    fn log_result(&mut self, result: &LookupResult) {
        let is_stored = matches!(result, LookupResult::Stored(_));
        if !std::mem::replace(&mut self.logged, true) || is_stored {
            let found = if is_stored { "FOUND" } else { "MISS" };
            self.log_line(format_args!("DB {found} order_uid={}", self.uid()));
        }
    }

    fn log_line(&self, line: fmt::Arguments<'_>) {
        if self.is_one_of_many {
            tracing::debug!("{line}");
        } else {
            tracing::info!("{line}");
        }
    }
}

/// What to reply when the store is so many records behind the log; `None` when only later commits
/// can tell.
fn outcome(result: LookupResult, behind: Option<i64>) -> Option<LookupOutcome> {
    let is_final = behind == Some(0);
    let not_found =
        |dead_lettered| is_final.then_some(LookupOutcome::NotFound(NotFound { dead_lettered }));
    match result {
        LookupResult::Stored(stored) => {
            let stored = *stored;
            // Unknown counts as one: the API must not take the order for the newest version.
            let behind = behind.map_or(1, i64::unsigned_abs);
            Some(LookupOutcome::Found {
                body: stored.order.encode().into(),
                source: stored.source,
                accepted_at_us: stored.accepted_at_us,
                behind: (!is_final).then_some(behind),
            })
        }
        LookupResult::Absent => not_found(None),
        LookupResult::DeadLettered { location, reason } => {
            not_found(DeadLettered::new(&location, Some(&reason)))
        }
    }
}

fn lag_behind(ends: &TopicState, positions: &[Position]) -> Lag {
    let highs = ends.highs.iter().copied();
    lag(&ends.topic_id, highs, positions.iter().map(Position::next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Order;
    use crate::store::StoredOrder;

    fn stored() -> LookupResult {
        let order = br#"{"order_uid":"a","date_created":"2021-11-26T06:22:19Z"}"#;
        LookupResult::Stored(Box::new(StoredOrder {
            order: Order::decode(order).expect("it is valid"),
            source: None,
            accepted_at_us: None,
        }))
    }

    #[test]
    fn a_store_that_may_be_behind_replies_with_what_it_has_and_says_how_far() {
        let behind_of = |behind| match outcome(stored(), behind) {
            Some(LookupOutcome::Found { behind, .. }) => behind,
            other => panic!("not found: {other:?}"),
        };
        assert_eq!(behind_of(Some(0)), None);
        assert_eq!(behind_of(Some(3)), Some(3));
        assert_eq!(behind_of(None), Some(1), "unknown");
    }

    #[test]
    fn only_a_store_that_has_caught_up_says_that_there_is_no_such_order() {
        let dead_lettered = || LookupResult::DeadLettered {
            location: "orders/0/7".into(),
            reason: "is empty".into(),
        };
        for behind in [None, Some(3)] {
            assert_eq!(outcome(LookupResult::Absent, behind), None);
            assert_eq!(outcome(dead_lettered(), behind), None);
        }
        let not_found = |location: Option<&str>| {
            Some(LookupOutcome::NotFound(NotFound {
                dead_lettered: location
                    .and_then(|location| DeadLettered::new(location, Some("is empty"))),
            }))
        };
        assert_eq!(outcome(LookupResult::Absent, Some(0)), not_found(None));
        let located = not_found(Some("orders/0/7"));
        assert_eq!(outcome(dead_lettered(), Some(0)), located);
    }
}
