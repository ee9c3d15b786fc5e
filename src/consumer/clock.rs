//! The monotonic clock that a lane's waits use.
//!
//! In the program it is `Instant::now`, and waits are real. The model of a lane (`lane::model`) runs
//! in one thread with a simulated clock: a wait returns at once and has moved the time on by as much.
//! So pauses of seconds and minutes cost nothing there, and everything happens in one order.

use std::time::{Duration, Instant};

#[cfg(not(test))]
pub fn now() -> Instant {
    Instant::now()
}

/// Skips a wait where the clock is simulated; whether it did.
#[cfg(not(test))]
pub fn skip(_: Duration) -> bool {
    false
}

#[cfg(test)]
pub use simulated::{SimulatedClock, now, skip};

#[cfg(test)]
mod simulated {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::{Duration, Instant};

    thread_local! {
        static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
    }

    #[derive(Clone)]
    struct Clock {
        now: Instant,
        /// What the rest of the world does while this thread waits.
        meanwhile: Rc<dyn Fn()>,
    }

    /// The clock of this thread, as long as this lives.
    pub struct SimulatedClock(());

    impl SimulatedClock {
        pub fn start(meanwhile: impl Fn() + 'static) -> SimulatedClock {
            let clock = Clock {
                now: Instant::now(),
                meanwhile: Rc::new(meanwhile),
            };
            CLOCK.set(Some(clock));
            SimulatedClock(())
        }

        /// Moves the time on; nothing happens meanwhile.
        pub fn advance(time: Duration) {
            CLOCK.with_borrow_mut(|clock| {
                if let Some(clock) = clock {
                    clock.now += time;
                }
            });
        }
    }

    impl Drop for SimulatedClock {
        fn drop(&mut self) {
            CLOCK.set(None);
        }
    }

    pub fn now() -> Instant {
        CLOCK.with_borrow(|clock| clock.as_ref().map_or_else(Instant::now, |clock| clock.now))
    }

    pub fn skip(wait: Duration) -> bool {
        SimulatedClock::advance(wait);
        let clock = CLOCK.with_borrow(Clone::clone);
        clock.map(|clock| (clock.meanwhile)()).is_some()
    }
}
