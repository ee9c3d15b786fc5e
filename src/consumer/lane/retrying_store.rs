//! A lane's connection to the store: a call is repeated until it succeeds, the lane is asked to
//! stop, or another consumer turns out to have the partition.

use std::sync::Arc;
use std::time::Instant;

use super::control::{LaneControl, LaneExit};
use crate::consumer::batch;
use crate::consumer::clock;
use crate::consumer::context::Context;
use crate::consumer::retry::{Pause, Retry};
use crate::store::{Applied, Batch, OrderStore, RejectionWindow, StoreError};

pub struct RetryingStore {
    context: Arc<Context>,
    control: Arc<LaneControl>,
    store: Option<Box<dyn OrderStore>>,
}

impl RetryingStore {
    /// Connects at the first call.
    pub fn new(context: Arc<Context>, control: Arc<LaneControl>) -> RetryingStore {
        RetryingStore {
            context,
            control,
            store: None,
        }
    }

    /// Calls the store until it answers; `condition` turns unhealthy meanwhile.
    pub fn call<T>(
        &mut self,
        condition: &str,
        mut call: impl FnMut(&mut dyn OrderStore) -> Result<T, StoreError>,
    ) -> Result<T, LaneExit> {
        let mut retry = Retry::default();
        loop {
            match self.call_once(&mut call) {
                Ok(answer) => return Ok(answer),
                Err(error) => self.back_off(condition, &mut retry, error)?,
            }
        }
    }

    /// Applies a batch; `None` asks the caller for a smaller one. An outage in the middle leaves
    /// the batch whole: it is applied again, and the position row tells whether it was committed.
    pub fn apply(
        &mut self,
        condition: &str,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Option<Applied>, LaneExit> {
        let mut retry = Retry::default();
        let mut contended = 0;
        loop {
            let began = Instant::now();
            match self.call_once(|store| store.apply(batch, window)) {
                Ok(applied) => {
                    self.context
                        .status
                        .commit_duration
                        .observe_duration(began.elapsed());
                    self.context.status.healthy(condition, "reading");
                    return Ok(Some(applied));
                }
                // Smaller batches separate the versions. Any other refusal would only be repeated.
                Err(StoreError::Rejected(_)) if batch::holds_superseded(batch) => return Ok(None),
                Err(error) => {
                    contended += usize::from(matches!(error, StoreError::Contended(_)));
                    self.back_off(condition, &mut retry, error)?;
                    if contended >= 2 && batch.orders.len() + batch.dead_letters.len() > 1 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Makes the next call connect again.
    pub fn disconnect(&mut self) {
        self.store = None;
    }

    fn call_once<T>(
        &mut self,
        call: impl FnOnce(&mut dyn OrderStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let called = self.try_call(call);
        if let Err(error) = &called {
            self.context.status.store_failed(error);
        }
        called
    }

    fn try_call<T>(
        &mut self,
        call: impl FnOnce(&mut dyn OrderStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            empty => empty.insert(self.context.store.connect()?),
        };
        self.control.database.measure(|| call(store.as_mut()))
    }

    /// Pauses as the failure demands. Nothing of the call is stored, and the position stands
    /// before it.
    fn back_off(
        &mut self,
        condition: &str,
        retry: &mut Retry,
        error: StoreError,
    ) -> Result<(), LaneExit> {
        // Not reported then: another lane reports what this partition is like now.
        self.control.check_stop()?;
        let after = retry.after(error, clock::now());
        let Pause {
            pause,
            reconnect,
            unhealthy,
        } = after.map_err(LaneExit::Fenced)?;
        if let Some(reason) = unhealthy {
            self.context.status.unhealthy(condition, reason);
        }
        if reconnect {
            self.disconnect();
        }
        self.control.pause(pause)
    }
}
