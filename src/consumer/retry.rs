//! What a failed call to the store leads to.
//!
//! Pure, and the match has no wildcard: a new kind of failure must be decided here before it
//! compiles. None of the outcomes dead-letters anything or moves the position.

use std::time::{Duration, Instant};

use crate::store::{Holder, StoreError};

const MAX_BACK_OFF: Duration = Duration::from_secs(5);
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(10);
const CONTENDED_PAUSE: Duration = Duration::from_millis(50);
/// Contention is usual, but not for this long.
const CONTENDED_UNHEALTHY_AFTER: Duration = Duration::from_secs(1);

/// The pause before the same call is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub pause: Duration,
    pub reconnect: bool,
    /// Why the partition is unhealthy; `None` while that is not worth a report.
    pub unhealthy: Option<String>,
}

/// Counts the failures of one piece of work.
#[derive(Debug, Default)]
pub struct Retry {
    attempts: u32,
    since: Option<Instant>,
}

impl Retry {
    /// Decides what follows the failure that came at `now`. `Err` when another consumer has the
    /// partition: stop writing at once.
    pub fn after(&mut self, error: StoreError, now: Instant) -> Result<Pause, Option<Holder>> {
        self.attempts += 1;
        let elapsed = now.saturating_duration_since(*self.since.get_or_insert(now));
        let (pause, reconnect, is_unhealthy) = match &error {
            StoreError::Unavailable(_) => (back_off(self.attempts), true, true),
            StoreError::Contended(_) => {
                (CONTENDED_PAUSE, false, elapsed >= CONTENDED_UNHEALTHY_AFTER)
            }
            // `apply` finds the one record and dead-letters it; what arrives here concerns no
            // record, so it is the schema.
            StoreError::Rejected(_) | StoreError::Misconfigured(_) => {
                (MISCONFIGURED_PAUSE, true, true)
            }
            StoreError::Fenced(holder) => return Err(holder.clone()),
        };
        Ok(Pause {
            pause,
            reconnect,
            unhealthy: is_unhealthy.then(|| error.to_string()),
        })
    }
}

fn back_off(attempts: u32) -> Duration {
    let doubled = Duration::from_millis(50) * 2_u32.saturating_pow(attempts.min(10));
    doubled.min(MAX_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_retried_for_ever_with_a_pause_of_five_seconds_at_most() {
        let mut retry = Retry::default();
        let now = Instant::now();
        let pauses: Vec<_> = (0..20)
            .map(|_| retry.after(StoreError::Unavailable("refused".into()), now))
            .map(|pause| pause.unwrap().pause)
            .collect();
        assert_eq!(pauses[0], Duration::from_millis(100));
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(pauses[19], Duration::from_secs(5));
    }

    #[test]
    fn contention_is_reported_after_a_second_and_retried_on_the_same_connection() {
        let mut retry = Retry::default();
        let now = Instant::now();
        let contended = || StoreError::Contended("a lock".into());
        let first = Pause {
            pause: CONTENDED_PAUSE,
            reconnect: false,
            unhealthy: None,
        };
        assert_eq!(retry.after(contended(), now), Ok(first));
        let later = now + CONTENDED_UNHEALTHY_AFTER;
        let later = retry.after(contended(), later).unwrap();
        assert!(!later.reconnect && later.unhealthy.is_some());
    }

    #[test]
    fn a_fenced_consumer_never_retries() {
        let holder = Holder {
            group: "g".into(),
            host: "h".into(),
            since: "2026-01-01T00:00:00Z".into(),
        };
        let fenced = StoreError::Fenced(Some(holder.clone()));
        let next = Retry::default().after(fenced, Instant::now());
        assert_eq!(next, Err(Some(holder)));
    }
}
