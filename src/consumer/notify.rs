//! Wakes one waiting thread from any other.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::clock;

/// A notification is never lost: one that comes while nobody waits ends the next wait at once.
#[derive(Default)]
pub struct Notify {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Notify {
    pub fn notify(&self) {
        let mut notified = self
            .notified
            .lock()
            .expect("no thread panics while holding this lock");
        if !*notified {
            *notified = true;
            self.changed.notify_all();
        }
    }

    /// Blocks until notified, at most `timeout`; consumes the notification.
    pub fn wait(&self, timeout: Duration) {
        if clock::skip(timeout) {
            return;
        }
        let notified = self
            .notified
            .lock()
            .expect("no thread panics while holding this lock");
        let (mut notified, _) = self
            .changed
            .wait_timeout_while(notified, timeout, |notified| !*notified)
            .expect("no thread panics while holding this lock");
        *notified = false;
    }
}
