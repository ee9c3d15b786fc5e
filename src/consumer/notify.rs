//! Wakes one waiting thread from any other.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use crate::sync::lock;

/// A notification is never lost: one that comes while nobody waits ends the next wait at once.
#[derive(Default)]
pub struct Notify {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Notify {
    pub fn notify(&self) {
        if !std::mem::replace(&mut *lock(&self.notified), true) {
            self.changed.notify_all();
        }
    }

    /// Blocks until notified, at most `timeout`; consumes the notification.
    pub fn wait(&self, timeout: Duration) {
        if clock::skip(timeout) {
            return;
        }
        let (mut notified, _) = self
            .changed
            .wait_timeout_while(lock(&self.notified), timeout, |notified| !*notified)
            .unwrap_or_else(PoisonError::into_inner);
        *notified = false;
    }
}
