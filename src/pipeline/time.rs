//! The time of day as records and headers carry it: microseconds since the epoch.
//!
//! Not for measuring durations: it jumps when the clock is set, and hosts disagree about it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time; 0 when the clock is set before the epoch.
pub fn now_us() -> i64 {
    us_after(Duration::ZERO)
}

/// The time `later` than now.
pub fn us_after(later: Duration) -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from((since + later).as_micros()).unwrap_or(i64::MAX)
}
