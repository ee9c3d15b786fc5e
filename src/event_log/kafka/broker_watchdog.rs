//! Adds the brokers again to a client that has lost all of them.
//!
//! A metadata response that names no broker (a lone broker that was frozen is fenced for a moment)
//! makes librdkafka drop every broker it knew and start again from `bootstrap.servers`. If another
//! thread schedules this start before the same response has been handled completely, it
//! is cancelled, and the client stays without brokers for ever (confluentinc/librdkafka#5301). Such a
//! client knew brokers once and knows none now; in an outage brokers are unreachable, not dropped.

#![expect(unsafe_code, reason = "the safe client has no interface for this")]

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as native;

/// How often a client is checked that has known a broker.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A client that recovers by itself takes some milliseconds.
const RESTART_TIMEOUT: Duration = Duration::from_secs(2);

/// The client keeps a copy of the names whenever they are added, for as long as it lives.
const ADD_INTERVAL: Duration = Duration::from_secs(30);

/// One for each client that lives long.
pub(super) struct BrokerWatchdog {
    brokers: CString,
    created: Instant,
    /// In milliseconds after `created`, as the next.
    next_check_ms: AtomicU64,
    /// When the client was last seen to know a broker; 0: never.
    connected_at_ms: AtomicU64,
}

impl BrokerWatchdog {
    /// For a client of these brokers, as `bootstrap.servers` names them.
    pub(super) fn new(brokers: &str) -> BrokerWatchdog {
        BrokerWatchdog {
            // With a NUL no client was made.
            brokers: CString::new(brokers).unwrap_or_default(),
            created: Instant::now(),
            next_check_ms: AtomicU64::new(0),
            connected_at_ms: AtomicU64::new(0),
        }
    }

    /// Adds the brokers again if the client has lost all of them. To be called about once a second or
    /// more often; does not wait for the network.
    pub(super) fn check<C: ClientContext>(&self, client: &Client<C>) {
        let now_ms = self.created.elapsed().as_millis() as u64;
        if now_ms < self.next_check_ms.load(Ordering::Relaxed) {
            return;
        }
        let connected_at_ms = self.connected_at_ms.load(Ordering::Relaxed);
        let restart_timeout_ms = RESTART_TIMEOUT.as_millis() as u64;
        let pause = if knows_a_broker(client) {
            self.connected_at_ms.store(now_ms.max(1), Ordering::Relaxed);
            CHECK_INTERVAL
        } else if connected_at_ms > 0 && now_ms > connected_at_ms + restart_timeout_ms {
            tracing::debug!("a kafka client has lost all brokers, adding them again");
            // SAFETY: the client is live while it is borrowed, and copies the text.
            unsafe { native::rd_kafka_brokers_add(client.native_ptr(), self.brokers.as_ptr()) };
            ADD_INTERVAL
        } else {
            return;
        };
        let next_ms = now_ms + pause.as_millis() as u64;
        self.next_check_ms.store(next_ms, Ordering::Relaxed);
    }
}

/// Whether the client knows a broker by its id, reachable or not.
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
