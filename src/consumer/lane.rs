//! A lane: one thread with one database connection that acquires its partitions, then reads, decodes
//! and stores their records until it is asked to stop.
//!
//! It does not read while it stores; its queues wait.
//!
//! # Invariants
//!
//! A lane never moves past a record whose transaction has not been committed: it retries, or it
//! exits, and the partition is acquired again at the position in the store.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use uuid::Uuid;

use self::control::{LaneControl, LaneExit, LaneReport};
use self::retrying_store::RetryingStore;
use super::clock;
use super::context::Context;
use super::progress::PartitionProgress;
use super::status;
use crate::event_log::{Fetched, LogError, LogFault, OffsetRange, ReadBack, Reader};
use crate::pipeline::{PartitionOffset, TopicId};
use crate::store::{Position, RejectionWindow};

mod acquisition;
pub mod control;
mod maintenance;
#[cfg(test)]
mod model;
mod retrying_store;
mod storing;

/// A batch is what is waiting, up to `Context::batch_limit` records or this much; never a timer.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How often a lane does its maintenance, and repeats a failed query to the log.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);
/// How long an idle lane waits to be notified before it polls its queues all the same.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub struct Lane {
    pub number: usize,
    pub owner: Uuid,
    /// How often the log or the database had recovered when the partitions were assigned.
    pub recoveries: u64,
    pub partitions: Vec<i32>,
    pub context: Arc<Context>,
    pub control: Arc<LaneControl>,
    pub reports: Sender<LaneReport>,
    pub readers: Receiver<Vec<Box<dyn Reader>>>,
}

/// An acquired partition.
struct LanePartition {
    partition: i32,
    position: Position,
    /// Everything below is stored.
    next: i64,
    /// From here to `next` there was no record when another client looked; the reader has not come there.
    passed_from: i64,
    progress: Arc<PartitionProgress>,
    reader: Option<Box<dyn Reader>>,
    /// Its reader has passed a corrupt batch: it must not be read from any more.
    is_corrupt: bool,
    /// Since when its reader has had nothing to give; time spent storing does not count.
    idle_since: Option<Instant>,
    checked_at: Instant,
}

impl LanePartition {
    fn idle_for(&self) -> Duration {
        self.idle_since
            .map_or(Duration::ZERO, |since| clock::now() - since)
    }

    /// Fails when `topic_id` is of another incarnation than the position. librdkafka continues a
    /// recreated topic at its old offset without an error, and under the old incarnation those offsets
    /// would let an older order overwrite a newer one.
    fn check_topic_id(&self, topic_id: &TopicId) -> Result<(), LaneExit> {
        if self.position.topic_id.contradicts(topic_id) {
            let reason = "the topic was deleted and created again";
            return Err(LaneExit::Reacquire(reason.into()));
        }
        Ok(())
    }
}

/// Reports how a lane exited, also when its thread panics.
struct ReportOnDrop {
    reports: Sender<LaneReport>,
    exit: Option<LaneExit>,
}

impl Drop for ReportOnDrop {
    fn drop(&mut self) {
        let panicked = || LaneExit::Reacquire("a lane panicked".into());
        let exit = self.exit.take().unwrap_or_else(panicked);
        // The polling thread may have ended: then nobody receives it.
        let _ = self.reports.send(LaneReport::Exited(exit));
    }
}

impl Lane {
    /// Runs until it exits, and reports why.
    pub fn run(self) {
        let mut report = ReportOnDrop {
            reports: self.reports.clone(),
            exit: None,
        };
        let mut store = RetryingStore::new(self.context.clone(), self.control.clone());
        report.exit = Some(match self.work(&mut store) {
            Ok(never) => match never {},
            Err(exit) => exit,
        });
    }

    fn work(&self, store: &mut RetryingStore) -> Result<Infallible, LaneExit> {
        let mut partitions = self.acquire_all(store)?;
        let start = |it: &LanePartition| PartitionOffset::new(it.partition, it.next);
        let starts = partitions.iter().map(start).collect();
        let _ = self.reports.send(LaneReport::Acquired {
            lane: self.number,
            starts,
        });
        self.receive_readers(&mut partitions)?;
        self.read(store, &mut partitions)
    }

    /// Reads one record with a client of its own.
    fn read_from(&self, start: PartitionOffset) -> Result<ReadBack, LaneExit> {
        let topic = &self.context.settings.topics.orders;
        self.query_log(|| self.context.log.read_from(topic, start))
    }

    fn range(&self, partition: i32) -> Result<OffsetRange, LaneExit> {
        let topic = &self.context.settings.topics.orders;
        self.query_log(|| self.context.log.range(topic, partition))
    }

    /// Repeats a query about the topic until it succeeds, also while there is no such topic.
    fn wait_for_log<T>(&self, query: impl Fn() -> Result<T, LogError>) -> Result<T, LaneExit> {
        loop {
            match query() {
                Ok(answer) => return Ok(answer),
                Err(error) => self.context.status.unhealthy(status::LOG, error),
            }
            self.control.pause(MAINTENANCE_INTERVAL)?;
        }
    }

    /// Repeats a query about a partition while the log is unavailable.
    fn query_log<T>(&self, query: impl Fn() -> Result<T, LogError>) -> Result<T, LaneExit> {
        loop {
            match query() {
                Ok(answer) => return Ok(answer),
                Err(LogError::Unavailable(reason)) => {
                    self.context.status.unhealthy(status::LOG, reason);
                    self.control.pause(MAINTENANCE_INTERVAL)?;
                }
                Err(LogError::NotFound(reason)) => return Err(LaneExit::Reacquire(reason)),
                Err(LogError::Refused(reason)) => return Err(LaneExit::Corrupt(reason)),
            }
        }
    }

    fn receive_readers(&self, partitions: &mut [LanePartition]) -> Result<(), LaneExit> {
        let readers = loop {
            self.control.check_stop()?;
            match self.readers.recv_timeout(Duration::from_millis(50)) {
                Ok(readers) => break readers,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(LaneExit::Stopped),
            }
        };
        for mut reader in readers {
            let control = self.control.clone();
            reader.on_ready(Box::new(move || control.notify.notify()));
            let number = reader.partition();
            if let Some(partition) = partitions.iter_mut().find(|it| it.partition == number) {
                let condition = status::partition(number);
                self.context.status.healthy(&condition, "reading");
                partition.reader = Some(reader);
            }
        }
        Ok(())
    }

    fn read(
        &self,
        store: &mut RetryingStore,
        partitions: &mut [LanePartition],
    ) -> Result<Infallible, LaneExit> {
        let mut window = RejectionWindow::default();
        let mut maintained_at = clock::now();
        loop {
            // Here too: a lane may have nothing that it is allowed to read.
            self.control.check_stop()?;
            let mut is_idle = true;
            for partition in partitions.iter_mut() {
                self.control.check_stop()?;
                let Some(reader) = partition.reader.as_mut().filter(|_| !partition.is_corrupt)
                else {
                    continue;
                };
                match reader.next(self.context.batch_limit(), MAX_BYTES, Duration::ZERO) {
                    Fetched::Records(records) => {
                        is_idle = false;
                        partition.idle_since = None;
                        self.context.set_delivered();
                        self.store(store, partition, records, &mut window)?;
                    }
                    // Records may have come since the end was reached, and notified the lane then.
                    Fetched::End => is_idle = false,
                    Fetched::Nothing => {
                        partition.idle_since.get_or_insert_with(clock::now);
                    }
                    Fetched::Fault(fault) => self.handle(partition, fault)?,
                }
            }
            if clock::now() - maintained_at >= MAINTENANCE_INTERVAL {
                maintained_at = clock::now();
                self.maintain(store, partitions)?;
            }
            if is_idle {
                self.control.notify.wait(POLL_INTERVAL);
            }
        }
    }

    fn handle(&self, partition: &mut LanePartition, fault: LogFault) -> Result<(), LaneExit> {
        match fault {
            LogFault::Transient(reason) => {
                tracing::debug!(partition = partition.partition, "log: {reason}");
                Ok(())
            }
            LogFault::Reset(reason) => Err(LaneExit::Reacquire(reason)),
            LogFault::Corrupt(reason) => {
                (partition.is_corrupt, partition.idle_since) = (true, None);
                self.report_corrupt(partition.partition, &reason);
                Ok(())
            }
            LogFault::Fatal(reason) => Err(LaneExit::Stalled(reason)),
        }
    }

    /// Reports that a partition is not read past a batch. The others go on.
    fn report_corrupt(&self, partition: i32, reason: &str) {
        let detail = format!("a batch is corrupt, not reading past it: {reason}");
        let condition = status::partition(partition);
        self.context.status.unhealthy(&condition, detail);
    }
}
