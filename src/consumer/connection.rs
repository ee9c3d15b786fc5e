//! A lane's connection to the store: every call is timed, and repeated until it succeeds, the lane
//! is asked to stop, or another consumer turns out to have the partition.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Context;
use super::batch;
use super::clock;
use super::lane::{Control, Ended};
use super::retry::{Next, Retry, Told};
use crate::store::{Applied, Batch, OrderStore, RejectionWindow, StoreError};

/// Since when a lane has been waiting for the database, for the polling thread to see.
#[derive(Default)]
pub struct Vitals(Mutex<Option<(Instant, Call)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Connect,
    Statement,
}

impl Vitals {
    /// How long the call under way has taken; connecting does not count, since another thread would
    /// wait just as long.
    pub fn stuck_for(&self) -> Duration {
        match *self
            .0
            .lock()
            .expect("no thread panics while holding this lock")
        {
            Some((since, Call::Statement)) => since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    fn note(&self, call: Option<Call>) {
        *self
            .0
            .lock()
            .expect("no thread panics while holding this lock") =
            call.map(|call| (Instant::now(), call));
    }
}

pub struct Connection {
    context: Arc<Context>,
    control: Arc<Control>,
    store: Option<Box<dyn OrderStore>>,
}

impl Connection {
    pub fn new(context: Arc<Context>, control: Arc<Control>) -> Connection {
        Connection {
            context,
            control,
            store: None,
        }
    }

    /// Calls the store until it answers. `name` is the condition that tells of trouble.
    pub fn persist<T>(
        &mut self,
        name: &str,
        mut call: impl FnMut(&mut dyn OrderStore) -> Result<T, StoreError>,
    ) -> Result<T, Ended> {
        let mut retry = Retry::default();
        loop {
            match self.once(&mut call) {
                Ok(answer) => return Ok(answer),
                Err(error) => self.bear(name, &mut retry, error)?,
            }
        }
    }

    /// Applies a batch; `None` asks the caller for a smaller one. An outage in the middle leaves
    /// the batch whole: it is applied again, and the position row tells whether it was committed.
    pub fn apply(
        &mut self,
        name: &str,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Option<Applied>, Ended> {
        let mut retry = Retry::default();
        let mut contended = 0;
        loop {
            match self.once(|store| store.apply(batch, window)) {
                Ok(applied) => {
                    self.context.status.well(name, "reading");
                    return Ok(Some(applied));
                }
                // Smaller ones part the versions. Any other refusal would only come again, at once.
                Err(StoreError::Rejected(_)) if batch::holds_superseded(batch) => return Ok(None),
                Err(error) => {
                    contended += usize::from(matches!(error, StoreError::Contended(_)));
                    self.bear(name, &mut retry, error)?;
                    if contended >= 2 && batch.orders.len() + batch.dead_letters.len() > 1 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Has the next call connect anew.
    pub fn close(&mut self) {
        self.store = None;
    }

    fn once<T>(
        &mut self,
        call: impl FnOnce(&mut dyn OrderStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            empty => {
                self.control.vitals.note(Some(Call::Connect));
                let connected = self.context.store.connect();
                self.control.vitals.note(None);
                empty.insert(connected?)
            }
        };
        self.control.vitals.note(Some(Call::Statement));
        let answer = call(store.as_mut());
        self.control.vitals.note(None);
        answer
    }

    /// Waits as the failure demands, unless the lane is asked to stop meanwhile.
    fn bear(&mut self, name: &str, retry: &mut Retry, error: StoreError) -> Result<(), Ended> {
        if self.control.stop.load(Ordering::Relaxed) {
            // Nothing to tell: what this partition is like now is another lane's to say.
            return Err(Ended::Stopped);
        }
        self.context.status.store_retries.inc();
        match retry.after(error, clock::now()) {
            Next::GiveWay(holder) => Err(Ended::Fenced(holder)),
            Next::Retry {
                pause,
                reconnect,
                told,
            } => {
                if let Told::Waiting(reason) | Told::Red(reason) = told {
                    self.context.status.ill(name, reason);
                }
                if reconnect {
                    self.store = None;
                }
                let until = clock::now() + pause;
                loop {
                    // Nothing of this batch is stored, and the position stands before it.
                    if self.control.stop.load(Ordering::Relaxed) {
                        return Err(Ended::Stopped);
                    }
                    let left = until.saturating_duration_since(clock::now());
                    if left.is_zero() {
                        return Ok(());
                    }
                    self.control.bell.wait(left);
                }
            }
        }
    }
}
