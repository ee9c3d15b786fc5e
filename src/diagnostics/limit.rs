//! Limits how many lines a second the requests of clients may cause.

use std::time::{Duration, Instant};

/// How many events a second have lines of their own.
const EVENTS_A_SECOND: u64 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Counts the events of each second: the first ones are logged, the others are counted.
#[derive(Debug, Default)]
pub struct EventLimit {
    since: Option<Instant>,
    events: u64,
}

impl EventLimit {
    /// Whether one more event has lines of its own. Take the count of a second that is over first.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.events += 1;
        self.events <= EVENTS_A_SECOND
    }

    /// Begins another second where one is over; returns how many events of that one had no lines.
    pub fn take_count(&mut self, now: Instant) -> Option<u64> {
        self.since.take_if(|since| now >= *since + SECOND)?;
        let events = std::mem::take(&mut self.events);
        events.checked_sub(EVENTS_A_SECOND).filter(|it| *it > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_ten_lines_a_second_and_a_count() {
        let (mut limit, start) = (EventLimit::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        let admitted = (0..500).filter(|_| limit.admits(start)).count();
        assert_eq!(admitted, 10);
        assert_eq!(limit.take_count(after(999)), None);
        assert_eq!(limit.take_count(after(1_000)), Some(490));
        assert_eq!(limit.take_count(after(1_000)), None);
        assert!(limit.admits(after(1_000)));
        assert_eq!(limit.take_count(after(2_000)), None);
    }
}
