//! The records that wait for a topic's writer.
//!
//! Bounded, so that a disk that does not answer costs memory for so many records and no more:
//! whoever comes then is refused at once.

use std::collections::VecDeque;

use super::*;

const MAX_RECORDS: usize = 10_000;
const MAX_BYTES: usize = 32 << 20;

/// A record on its way into the file, and who waits for it.
pub(super) struct Queued {
    pub(super) durability: Durability,
    pub(super) timestamp_ms: i64,
    pub(super) key: Box<[u8]>,
    pub(super) value: Option<Box<[u8]>>,
    /// Packed as they are stored.
    pub(super) headers: Vec<u8>,
    pub(super) waiting: AckSender,
}

impl Queued {
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len()) + self.headers.len()
    }

    /// Tells whoever waits; nobody may, and the record's fate is the same.
    pub(super) fn answer(self, answer: Result<Appended, AppendError>) {
        let _ = self.waiting.send(answer);
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
    waiting: VecDeque<Queued>,
    bytes: usize,
    /// Taken out and not answered yet.
    in_flight: usize,
    closed: bool,
}

/// What the writer is to do.
pub(super) enum Taken {
    Records(Vec<Queued>),
    Nothing,
    /// All is answered and no more will come.
    Closed,
}

impl Queue {
    pub(super) fn push(&self, record: Queued) -> Result<(), AppendError> {
        let mut state = self.state();
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

    /// What is waiting, in order, up to so many records or bytes (at least one record); waits at
    /// most `wait` for the first and not at all for the rest.
    pub(super) fn take(&self, max_records: usize, max_bytes: usize, wait: Duration) -> Taken {
        let is_idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let waited = self.filled.wait_timeout_while(self.state(), wait, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max_records && bytes < max_bytes {
            let Some(record) = state.waiting.pop_front() else {
                break;
            };
            bytes += record.size();
            taken.push(record);
        }
        if taken.is_empty() {
            return if state.closed {
                Taken::Closed
            } else {
                Taken::Nothing
            };
        }
        state.bytes -= bytes;
        state.in_flight = taken.len();
        Taken::Records(taken)
    }

    /// What was taken is answered.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.in_flight = 0;
        if state.waiting.is_empty() {
            self.emptied.notify_all();
        }
    }

    /// Waits until `until`, or until nothing more will come.
    pub(super) fn rest(&self, until: Instant) {
        let wait = until.saturating_duration_since(Instant::now());
        let rested = self
            .filled
            .wait_timeout_while(self.state(), wait, |state| !state.closed);
        drop(rested);
    }

    /// Waits until everything is answered, at most until then; says how many are not.
    pub(super) fn flush(&self, until: Instant) -> usize {
        let wait = until.saturating_duration_since(Instant::now());
        let is_busy = |state: &mut State| state.in_flight > 0 || !state.waiting.is_empty();
        let waited = self.emptied.wait_timeout_while(self.state(), wait, is_busy);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.in_flight + state.waiting.len()
    }

    /// No more records; the writer ends when it has answered those that are there.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
