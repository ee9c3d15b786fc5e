//! The time of day as records and headers carry it: microseconds since the epoch.
//!
//! Not for measuring: it jumps when somebody sets the clock, and hosts do not agree on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now; 0 where the clock stands before the epoch.
pub fn micros() -> i64 {
    micros_after(Duration::ZERO)
}

/// So much later than now.
pub fn micros_after(later: Duration) -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from((since + later).as_micros()).unwrap_or(i64::MAX)
}
