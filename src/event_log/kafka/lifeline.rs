//! Gives a client its brokers back when it has forgotten them all.
//!
//! An answer of the cluster that names no broker (a lone one that was frozen is fenced for a moment)
//! makes librdkafka forget every broker it knew, and begin again with `bootstrap.servers`. Where a
//! thread is so quick that this beginning is scheduled before the same answer is done with, it is
//! cancelled, and the client is alone for ever (confluentinc/librdkafka#5301). It shows in silence: a
//! client that still tries says again and again that all its brokers are down.

use std::ffi::CString;

use rdkafka_sys as native;

use super::*;

/// A client that has all its brokers down tries them about once a second (`reconnect.backoff.max.ms`
/// and its jitter). Where they are merely slow to answer, adding those that it has changes nothing.
const SILENCE: Duration = Duration::from_secs(2);

/// One for each client that lives long.
pub(super) struct Lifeline {
    brokers: CString,
    opened: Instant,
    /// When the client last said that all its brokers are down, in milliseconds after `opened`; 0:
    /// not since they were last added.
    all_down_at_ms: AtomicU64,
}

impl Lifeline {
    /// To these brokers, as `bootstrap.servers` names them.
    pub(super) fn to(brokers: &str) -> Lifeline {
        Lifeline {
            // With a NUL no client was made.
            brokers: CString::new(brokers).unwrap_or_default(),
            opened: Instant::now(),
            all_down_at_ms: AtomicU64::new(0),
        }
    }

    /// The client says that all its brokers are down.
    pub(super) fn all_are_down(&self) {
        self.all_down_at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// To be called at each use of the client; does not block, and nearly always is one plain load.
    pub(super) fn hold<C: ClientContext>(&self, client: &Client<C>) {
        let at_ms = self.all_down_at_ms.load(Ordering::Relaxed);
        if at_ms == 0 || self.now_ms() < at_ms + SILENCE.as_millis() as u64 {
            return;
        }
        if self.all_down_at_ms.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        // SAFETY: the client is live while it is borrowed, and copies the text.
        unsafe { native::rd_kafka_brokers_add(client.native_ptr(), self.brokers.as_ptr()) };
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.max(1))
    }
}

#[cfg(test)]
mod tests;
