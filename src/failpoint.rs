//! Failpoints: named points at which a test crashes or stalls the process, to check that recovery
//! loses and duplicates nothing.
//!
//! Owns the grammar of `ORDERS_FAILPOINT` and what happens at a point. Code calls [`reach`] once per
//! batch or request; without the variable that is one atomic load. During a stall every thread that
//! reaches any point stalls, as in a frozen process.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};

/// The variable that arms one failpoint: `point[:count]=action`.
pub const VARIABLE: &str = "ORDERS_FAILPOINT";

/// A point that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The log has acknowledged an order, and no response has been sent.
    AfterAck,
    /// A batch is written, its transaction not committed.
    BeforeCommit,
    /// A batch is committed, and the consumer does not know yet.
    AfterCommit,
    /// First hit: a lane has claimed its partitions. Second hit: it has written their start positions.
    InAssign,
    /// The polling thread begins a turn of its loop.
    InPoll,
}

const NAMES: [(&str, Point); 5] = [
    ("after_ack", Point::AfterAck),
    ("before_commit", Point::BeforeCommit),
    ("after_commit", Point::AfterCommit),
    ("in_assign", Point::InAssign),
    ("in_poll", Point::InPoll),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Crash,
    Stall(Duration),
}

/// What happens at which point, and on which hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failpoint {
    point: Point,
    count: u32,
    action: Action,
}

impl FromStr for Failpoint {
    /// What is expected instead.
    type Err = String;

    fn from_str(text: &str) -> Result<Failpoint, String> {
        let parse = || {
            let (point, action) = text.split_once('=')?;
            let (name, count) = point.split_once(':').unwrap_or((point, "1"));
            let (_, point) = NAMES.into_iter().find(|(known, _)| *known == name)?;
            let action = match action.strip_prefix("stall ") {
                Some(time) => {
                    let seconds: u16 = time.strip_suffix('s')?.parse().ok()?;
                    Action::Stall(Duration::from_secs(seconds.into()))
                }
                None => (action == "crash").then_some(Action::Crash)?,
            };
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Failpoint {
                point,
                count,
                action,
            })
        };
        parse().ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name).join(", ");
            format!("POINT[:COUNT]=crash or POINT[:COUNT]=stall 15s, where POINT is one of {names}")
        })
    }
}

struct Armed {
    failpoint: Failpoint,
    reached: AtomicU32,
    stalled_until: Mutex<Option<Instant>>,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms the failpoint for the life of the process, and logs a warning.
pub fn arm(failpoint: Failpoint) {
    tracing::warn!("{VARIABLE} is set: this process fails on purpose at {failpoint:?}");
    ARMED.get_or_init(|| Armed::new(failpoint));
}

/// Fails when this is the armed failpoint.
#[inline]
pub fn reach(point: Point) {
    if let Some(armed) = ARMED.get() {
        armed.reach(point);
    }
}

impl Armed {
    fn new(failpoint: Failpoint) -> Armed {
        Armed {
            failpoint,
            reached: AtomicU32::new(0),
            stalled_until: Mutex::default(),
        }
    }

    fn reach(&self, point: Point) {
        let is_hit = point == self.failpoint.point
            && self.reached.fetch_add(1, Ordering::Relaxed) + 1 == self.failpoint.count;
        let left = {
            let mut until = self
                .stalled_until
                .lock()
                .expect("no thread panics while holding this lock");
            match self.failpoint.action {
                Action::Crash if is_hit => crash(),
                Action::Stall(time) if is_hit => {
                    tracing::warn!("failpoint: stalling for {time:?}");
                    *until = Some(Instant::now() + time);
                }
                _ => {}
            }
            until.map(|until| until.saturating_duration_since(Instant::now()))
        };
        // The one sleep that a stop signal does not interrupt: the process is frozen.
        std::thread::sleep(left.unwrap_or_default());
    }
}

/// Ends the process as SIGKILL does: nothing is unwound, flushed or closed.
fn crash() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    // The signal arrives before the call returns; this is for a kernel that refused it.
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_a_point_a_count_and_an_action() {
        let crash = Failpoint {
            point: Point::BeforeCommit,
            count: 3,
            action: Action::Crash,
        };
        assert_eq!("before_commit:3=crash".parse(), Ok(crash));
        let stall = Failpoint {
            point: Point::InPoll,
            count: 1,
            action: Action::Stall(Duration::from_secs(15)),
        };
        assert_eq!("in_poll=stall 15s".parse(), Ok(stall));
    }

    #[test]
    fn anything_else_is_refused_with_the_names_of_all_points() {
        for text in [
            "",
            "before_commit",
            "before_commit=",
            "nowhere=crash",
            "in_poll:0=crash",
            "in_poll:x=crash",
            "in_poll=stall 15",
            "in_poll=panic",
        ] {
            let expected = text.parse::<Failpoint>().unwrap_err();
            assert!(expected.ends_with("after_commit, in_assign, in_poll"));
        }
    }

    #[test]
    fn every_thread_that_reaches_a_point_during_a_stall_stalls() {
        let stall = Failpoint {
            point: Point::BeforeCommit,
            count: 2,
            action: Action::Stall(Duration::from_millis(300)),
        };
        let (armed, began) = (Armed::new(stall), Instant::now());
        armed.reach(Point::BeforeCommit);
        armed.reach(Point::InPoll);
        std::thread::scope(|threads| {
            threads.spawn(|| armed.reach(Point::BeforeCommit));
            while armed.reached.load(Ordering::Relaxed) < 2 {
                std::thread::yield_now();
            }
            let until = || *armed.stalled_until.lock().unwrap();
            while until().is_none() {
                std::thread::yield_now();
            }
            armed.reach(Point::InPoll);
            assert!(began.elapsed() >= Duration::from_millis(300));
        });
        let after = Instant::now();
        armed.reach(Point::BeforeCommit);
        assert!(after.elapsed() < Duration::from_millis(300));
    }
}
