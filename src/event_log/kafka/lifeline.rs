//! Gives a client its brokers back when it has forgotten them all.
//!
//! An answer of the cluster that names no broker (a lone one that was frozen is fenced for a moment)
//! makes librdkafka forget every broker it knew, and begin again with `bootstrap.servers`. Where a
//! thread is so quick that this beginning is scheduled before the same answer is done with, it is
//! cancelled, and the client is alone for ever (confluentinc/librdkafka#5301). It shows in a client
//! that knew brokers once and knows none: in an outage they are away, not forgotten.

use std::ffi::CString;

use rdkafka_sys as native;

use super::*;

/// How often a client is looked at that has known a broker.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Beginning again by itself takes a client some milliseconds.
const MAY_BE_ALONE: Duration = Duration::from_secs(2);

/// The client keeps a copy of the names whenever they are added, for as long as it lives.
const ADD_EVERY: Duration = Duration::from_secs(30);

/// One for each client that lives long.
pub(super) struct Lifeline {
    brokers: CString,
    opened: Instant,
    /// In milliseconds after `opened`, as the next.
    next_look_ms: AtomicU64,
    /// When it was last seen to know a broker; 0: never.
    connected_at_ms: AtomicU64,
}

impl Lifeline {
    /// To these brokers, as `bootstrap.servers` names them.
    pub(super) fn to(brokers: &str) -> Lifeline {
        Lifeline {
            // With a NUL no client was made.
            brokers: CString::new(brokers).unwrap_or_default(),
            opened: Instant::now(),
            next_look_ms: AtomicU64::new(0),
            connected_at_ms: AtomicU64::new(0),
        }
    }

    /// To be called about once a second or more often, for as long as the client is there. Does not
    /// wait for the network.
    pub(super) fn hold<C: ClientContext>(&self, client: &Client<C>) {
        let now_ms = self.opened.elapsed().as_millis() as u64;
        if now_ms < self.next_look_ms.load(Ordering::Relaxed) {
            return;
        }
        let connected_at_ms = self.connected_at_ms.load(Ordering::Relaxed);
        let may_be_alone_ms = MAY_BE_ALONE.as_millis() as u64;
        let pause = if knows_a_broker(client) {
            self.connected_at_ms.store(now_ms.max(1), Ordering::Relaxed);
            LOOK_EVERY
        } else if connected_at_ms > 0 && now_ms > connected_at_ms + may_be_alone_ms {
            tracing::debug!("a client of Kafka has forgotten its brokers: telling it again");
            // SAFETY: the client is live while it is borrowed, and copies the text.
            unsafe { native::rd_kafka_brokers_add(client.native_ptr(), self.brokers.as_ptr()) };
            ADD_EVERY
        } else {
            return;
        };
        let next_ms = now_ms + pause.as_millis() as u64;
        self.next_look_ms.store(next_ms, Ordering::Relaxed);
    }
}

/// Whether the client knows a broker by its id, be it reachable or not.
fn knows_a_broker<C: ClientContext>(client: &Client<C>) -> bool {
    let client = client.native_ptr();
    let mut known = 0;
    // SAFETY: the client is live while it is borrowed; the list is the caller's, and given back to
    // the allocator that made it.
    unsafe {
        let ids = native::rd_kafka_brokers_learned_ids(client, &mut known);
        native::rd_kafka_mem_free(client, ids.cast());
    }
    known > 0
}

#[cfg(test)]
mod tests;
