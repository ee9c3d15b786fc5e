//! A bell that one thread sleeps on and any thread rings. A ring is never lost: one that comes while
//! nobody sleeps ends the next sleep at once.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::clock;

#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub fn ring(&self) {
        let mut rung = self
            .rung
            .lock()
            .expect("no thread panics while holding this lock");
        if !*rung {
            *rung = true;
            self.changed.notify_all();
        }
    }

    /// Sleeps until the bell rings, at most `wait`; takes the ring.
    pub fn wait(&self, wait: Duration) {
        if clock::jump(wait) {
            return;
        }
        let rung = self
            .rung
            .lock()
            .expect("no thread panics while holding this lock");
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(rung, wait, |rung| !*rung)
            .expect("no thread panics while holding this lock");
        *rung = false;
    }
}
