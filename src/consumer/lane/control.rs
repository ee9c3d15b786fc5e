//! The messages between the polling thread and a lane.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::consumer::clock;
use crate::consumer::database_health::DatabaseHealth;
use crate::consumer::notify::Notify;
use crate::pipeline::PartitionOffset;
use crate::store::Holder;

/// Why a lane stopped reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneExit {
    /// It was asked to.
    Stopped,
    /// Where to read must be decided again.
    Reacquire(String),
    /// A batch of the log is corrupt: the position stays before it.
    Corrupt(String),
    /// Records are there, and the client does not deliver them.
    Stalled(String),
    /// Another consumer has the partition, or (`None`) its position was moved.
    Fenced(Option<Holder>),
}

/// What a lane reports to the polling thread.
pub enum LaneReport {
    /// Its partitions are acquired; these can be read, from these offsets.
    Acquired {
        lane: usize,
        starts: Vec<PartitionOffset>,
    },
    Exited(LaneExit),
}

/// How the polling thread steers a lane.
#[derive(Default)]
pub struct LaneControl {
    stop: AtomicBool,
    /// Notified when records arrive, and to stop.
    pub notify: Notify,
    /// Connecting does not count: another thread would wait just as long.
    pub database: DatabaseHealth,
}

impl LaneControl {
    /// Asks the lane to exit: it finishes the transaction under way, or leaves it undone.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.notify.notify();
    }

    /// Fails when the lane is asked to exit.
    pub fn check_stop(&self) -> Result<(), LaneExit> {
        if self.stop.load(Ordering::Relaxed) {
            Err(LaneExit::Stopped)
        } else {
            Ok(())
        }
    }

    /// Waits that long, unless the lane is asked to exit.
    pub fn pause(&self, pause: Duration) -> Result<(), LaneExit> {
        let until = clock::now() + pause;
        loop {
            self.check_stop()?;
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(());
            }
            self.notify.wait(left);
        }
    }
}
