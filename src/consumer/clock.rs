//! The monotonic clock that a lane's waits go by.
//!
//! In the program it is `Instant::now` and waits are real. The model of a lane (`lane::model`) runs
//! in one thread with a clock that jumps: a wait is over at once and has left the time later by as
//! much. So pauses of seconds and minutes cost nothing there, and everything comes in one order.

use std::time::{Duration, Instant};

#[cfg(not(test))]
pub fn now() -> Instant {
    Instant::now()
}

/// Lets that much time pass without waiting, where the clock is one that jumps.
#[cfg(not(test))]
pub fn jump(_: Duration) -> bool {
    false
}

#[cfg(test)]
pub use jumping::{Jumping, jump, now};

#[cfg(test)]
mod jumping {
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

    /// While it lives, the clock of this thread jumps.
    pub struct Jumping(());

    impl Jumping {
        pub fn start(meanwhile: impl Fn() + 'static) -> Jumping {
            let clock = Clock {
                now: Instant::now(),
                meanwhile: Rc::new(meanwhile),
            };
            CLOCK.set(Some(clock));
            Jumping(())
        }

        /// Lets time pass in which nothing happens.
        pub fn pass(time: Duration) {
            CLOCK.with_borrow_mut(|clock| {
                if let Some(clock) = clock {
                    clock.now += time;
                }
            });
        }
    }

    impl Drop for Jumping {
        fn drop(&mut self) {
            CLOCK.set(None);
        }
    }

    pub fn now() -> Instant {
        CLOCK.with_borrow(|clock| clock.as_ref().map_or_else(Instant::now, |clock| clock.now))
    }

    pub fn jump(wait: Duration) -> bool {
        Jumping::pass(wait);
        let clock = CLOCK.with_borrow(Clone::clone);
        clock.map(|clock| (clock.meanwhile)()).is_some()
    }
}
