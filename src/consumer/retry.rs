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

/// What to do after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try the same again after a pause.
    Retry {
        pause: Duration,
        reconnect: bool,
        /// Why the partition is unhealthy; `None` while that is not worth a report.
        unhealthy: Option<String>,
    },
    /// Another consumer has the partition: stop writing at once.
    Fenced(Option<Holder>),
}

/// Counts the failures of one piece of work.
#[derive(Debug, Default)]
pub struct Retry {
    attempts: u32,
    since: Option<Instant>,
}

impl Retry {
    /// Decides what follows the failure that came at `now`.
    pub fn after(&mut self, error: StoreError, now: Instant) -> Next {
        self.attempts += 1;
        let elapsed = now.saturating_duration_since(*self.since.get_or_insert(now));
        match error {
            StoreError::Unavailable(_) => Next::Retry {
                pause: back_off(self.attempts),
                reconnect: true,
                unhealthy: Some(error.to_string()),
            },
            StoreError::Contended(_) => Next::Retry {
                pause: CONTENDED_PAUSE,
                reconnect: false,
                unhealthy: (elapsed >= CONTENDED_UNHEALTHY_AFTER).then(|| error.to_string()),
            },
            // `apply` finds the one record and dead-letters it; what arrives here concerns no
            // record, so it is the schema.
            StoreError::Rejected(_) | StoreError::Misconfigured(_) => Next::Retry {
                pause: MISCONFIGURED_PAUSE,
                reconnect: true,
                unhealthy: Some(error.to_string()),
            },
            StoreError::Fenced(holder) => Next::Fenced(holder),
        }
    }
}

fn back_off(attempts: u32) -> Duration {
    let doubled = Duration::from_millis(50) * 2_u32.saturating_pow(attempts.min(10));
    doubled.min(MAX_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retried(next: Next) -> (Duration, bool, Option<String>) {
        match next {
            Next::Retry {
                pause,
                reconnect,
                unhealthy,
            } => (pause, reconnect, unhealthy),
            Next::Fenced(_) => panic!("fenced"),
        }
    }

    #[test]
    fn an_outage_is_retried_for_ever_with_a_pause_of_five_seconds_at_most() {
        let mut retry = Retry::default();
        let now = Instant::now();
        let pauses: Vec<_> = (0..20)
            .map(|_| retried(retry.after(StoreError::Unavailable("gone".into()), now)).0)
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
        let first = retried(retry.after(contended(), now));
        assert_eq!(first, (CONTENDED_PAUSE, false, None));
        let later = now + CONTENDED_UNHEALTHY_AFTER;
        let (_, reconnect, unhealthy) = retried(retry.after(contended(), later));
        assert!(!reconnect && unhealthy.is_some());
    }

    #[test]
    fn a_fenced_consumer_never_retries() {
        let holder = Holder {
            group: "g".into(),
            host: "h".into(),
            since: "2026-01-01T00:00:00Z".into(),
        };
        let next = Retry::default().after(StoreError::Fenced(Some(holder.clone())), Instant::now());
        assert_eq!(next, Next::Fenced(Some(holder)));
    }
}
