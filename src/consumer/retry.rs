//! What a failed call to the store leads to. Pure, and the match has no wildcard: a new kind of
//! failure must be decided here before it compiles.

use std::time::{Duration, Instant};

use crate::store::{Holder, StoreError};

const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(10);
const CONTENDED_PAUSE: Duration = Duration::from_millis(50);
/// Contention is usual, but not for this long.
const CONTENDED_TOLD_AFTER: Duration = Duration::from_secs(1);
/// Contention that lasts longer than this is told as red.
const CONTENDED_RED_AFTER: Duration = Duration::from_secs(60);

/// What to do after a failure. None of it dead-letters anything or moves the position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try the same again after a pause, on a fresh connection where `reconnect`.
    Retry {
        pause: Duration,
        reconnect: bool,
        told: Told,
    },
    /// Somebody else has the partition: stop writing at once.
    GiveWay(Option<Holder>),
}

/// How the failure looks to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Nothing,
    /// An outage: it resumes alone.
    Waiting(String),
    /// Somebody must act.
    Red(String),
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
        let lasting = now.saturating_duration_since(*self.since.get_or_insert(now));
        match error {
            StoreError::Unavailable(_) => Next::Retry {
                pause: back_off(self.attempts),
                reconnect: true,
                told: Told::Waiting(error.to_string()),
            },
            StoreError::Contended(_) => Next::Retry {
                pause: CONTENDED_PAUSE,
                reconnect: false,
                told: if lasting >= CONTENDED_RED_AFTER {
                    Told::Red(error.to_string())
                } else if lasting >= CONTENDED_TOLD_AFTER {
                    Told::Waiting(error.to_string())
                } else {
                    Told::Nothing
                },
            },
            // `apply` finds the one record and dead-letters it; what arrives here concerns no
            // record, so it is the schema.
            StoreError::Rejected(_) | StoreError::Misconfigured(_) => Next::Retry {
                pause: MISCONFIGURED_PAUSE,
                reconnect: true,
                told: Told::Red(error.to_string()),
            },
            StoreError::Fenced(holder) => Next::GiveWay(holder),
        }
    }
}

fn back_off(attempts: u32) -> Duration {
    let doubled = Duration::from_millis(50) * 2_u32.saturating_pow(attempts.min(10));
    doubled.min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(next: &Next) -> Duration {
        match next {
            Next::Retry { pause, .. } => *pause,
            Next::GiveWay(_) => panic!("gave way"),
        }
    }

    #[test]
    fn an_outage_is_retried_for_ever_with_a_pause_of_five_seconds_at_most() {
        let mut retry = Retry::default();
        let now = Instant::now();
        let pauses: Vec<_> = (0..20)
            .map(|_| pause(&retry.after(StoreError::Unavailable("gone".into()), now)))
            .collect();
        assert_eq!(pauses[0], Duration::from_millis(100));
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(pauses[19], Duration::from_secs(5));
    }

    #[test]
    fn contention_turns_red_after_a_minute() {
        let mut retry = Retry::default();
        let now = Instant::now();
        let told = |next| match next {
            Next::Retry { told, .. } => told,
            Next::GiveWay(_) => panic!("gave way"),
        };
        let contended = || StoreError::Contended("a lock".into());
        assert_eq!(told(retry.after(contended(), now)), Told::Nothing);
        let soon = now + CONTENDED_TOLD_AFTER;
        assert!(matches!(
            told(retry.after(contended(), soon)),
            Told::Waiting(_)
        ));
        let later = now + CONTENDED_RED_AFTER;
        assert!(matches!(
            told(retry.after(contended(), later)),
            Told::Red(_)
        ));
    }

    #[test]
    fn a_fenced_consumer_gives_way_and_never_retries() {
        let holder = Holder {
            group: "g".into(),
            host: "h".into(),
            since: "2026-01-01T00:00:00Z".into(),
        };
        let next = Retry::default().after(StoreError::Fenced(Some(holder.clone())), Instant::now());
        assert_eq!(next, Next::GiveWay(Some(holder)));
    }
}
