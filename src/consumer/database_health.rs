//! How long a thread has been waiting for the database.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Since when the call under way has been waiting for its answer.
#[derive(Default)]
pub struct DatabaseHealth(Mutex<Option<Instant>>);

impl DatabaseHealth {
    /// How long the call under way has taken; zero when there is none.
    pub fn waiting_for(&self) -> Duration {
        lock(&self.0).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Calls the database; meanwhile other threads see that this one is waiting.
    pub fn measure<T>(&self, call: impl FnOnce() -> T) -> T {
        *lock(&self.0) = Some(Instant::now());
        let answer = call();
        *lock(&self.0) = None;
        answer
    }
}
