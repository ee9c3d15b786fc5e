//! When a loop last ran, for `/livez`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time of a loop's last turn.
pub struct Heartbeat {
    origin: Instant,
    at_ms: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat {
            origin: Instant::now(),
            at_ms: AtomicU64::new(0),
        }
    }
}

impl Heartbeat {
    /// Called by the loop at each turn.
    pub fn record(&self) {
        self.at_ms
            .store(self.origin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// `Err` when the last turn is `timeout` ago: "`stuck` for so many seconds".
    pub fn check(&self, timeout: Duration, stuck: &str) -> Result<(), String> {
        let at = Duration::from_millis(self.at_ms.load(Ordering::Relaxed));
        let age = self.origin.elapsed().saturating_sub(at);
        if age < timeout {
            Ok(())
        } else {
            Err(format!("{stuck} for {} s", age.as_secs()))
        }
    }
}
