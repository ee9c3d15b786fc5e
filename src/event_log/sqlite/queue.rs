//! The records that wait for a topic's writer.
//!
//! Bounded, so that a disk that does not respond costs a bounded amount of memory: further records are
//! refused at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event_log::{AckSender, AppendError, Appended, Durability};
use crate::sync::lock;

const MAX_RECORDS: usize = 10_000;
const MAX_BYTES: usize = 32 << 20;

/// A record on its way into the file, and its acknowledgement.
pub(super) struct QueuedRecord {
    pub(super) durability: Durability,
    pub(super) timestamp_ms: i64,
    pub(super) key: Box<[u8]>,
    pub(super) value: Option<Box<[u8]>>,
    /// Encoded as they are stored.
    pub(super) headers: Vec<u8>,
    pub(super) ack: AckSender,
}

impl QueuedRecord {
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len()) + self.headers.len()
    }

    /// Completes the acknowledgement. That nobody waits for it changes nothing about the record.
    pub(super) fn complete(self, result: Result<Appended, AppendError>) {
        let _ = self.ack.send(result);
    }
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<QueuedRecord>,
    bytes: usize,
    /// Removed by the writer and not completed yet.
    in_flight: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn push(&self, record: QueuedRecord) -> Result<(), AppendError> {
        let mut state = lock(&self.state);
        if state.closed {
            let reason = "the log is being closed".into();
            return Err(AppendError::NotAccepted(reason));
        }
        if state.waiting.len() >= MAX_RECORDS || state.bytes + record.size() > MAX_BYTES {
            let reason = "too many records are waiting for the disk".into();
            return Err(AppendError::NotAccepted(reason));
        }
        state.bytes += record.size();
        state.waiting.push_back(record);
        if state.waiting.len() == 1 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Removes what is queued, in order, up to so many records or bytes (at least one record); waits
    /// at most `wait` for the first and not at all for the rest. `None` when the queue is closed and
    /// empty.
    pub(super) fn take(
        &self,
        max_records: usize,
        max_bytes: usize,
        wait: Duration,
    ) -> Option<Vec<QueuedRecord>> {
        let is_idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let waited = self
            .filled
            .wait_timeout_while(lock(&self.state), wait, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max_records && bytes < max_bytes {
            let Some(record) = state.waiting.pop_front() else {
                break;
            };
            bytes += record.size();
            taken.push(record);
        }
        state.bytes -= bytes;
        state.in_flight = taken.len();
        (!taken.is_empty() || !state.closed).then_some(taken)
    }

    /// Records that what the writer removed is completed.
    pub(super) fn completed(&self) {
        let mut state = lock(&self.state);
        state.in_flight = 0;
        if state.waiting.is_empty() {
            self.emptied.notify_all();
        }
    }

    /// Waits until `until`, or until the queue is closed.
    pub(super) fn wait_until_closed(&self, until: Instant) {
        let wait = until.saturating_duration_since(Instant::now());
        let waited = self
            .filled
            .wait_timeout_while(lock(&self.state), wait, |state| !state.closed);
        drop(waited);
    }

    /// Waits until everything is completed, at most until `until`; returns how many records are not.
    pub(super) fn flush(&self, until: Instant) -> usize {
        let wait = until.saturating_duration_since(Instant::now());
        let is_busy = |state: &mut State| state.in_flight > 0 || !state.waiting.is_empty();
        let waited = self
            .emptied
            .wait_timeout_while(lock(&self.state), wait, is_busy);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.in_flight + state.waiting.len()
    }

    /// Refuses further records; the writer ends when it has completed those that are queued.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }
}
