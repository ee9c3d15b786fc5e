//! A lane: one thread with one database connection that takes its partitions, then reads, decodes
//! and stores their records until it is asked to stop.
//!
//! While it stores it simply does not read; its queues wait. A lane never moves past a record whose
//! transaction has not been committed: it retries, or it ends and the partition is taken anew from
//! the position in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::batch::{self, Place};
use super::bell::Bell;
use super::clock;
use super::connection::{Connection, Vitals};
use super::status;
use super::take::{self, Decision, Facts, TailCheck};
use super::{Context, watch};
use crate::event_log::{Fetched, LogError, LogFault, OffsetRange, ReadBack, Reader, TopicState};
use crate::migrations::SchemaState;
use crate::pipeline::{LastApplied, PartitionOffset, Record, TopicId};
use crate::store::{Applied, Batch, Claim, Gap, Holder, Position, RejectionWindow, SourcedOrder};

mod housekeeping;
#[cfg(test)]
mod model;
mod storing;
mod taking;

/// A batch is what is waiting, up to `Context::batch_limit` records or this much; never a timer.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How often an idle lane looks after its partitions.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// A partition that has records beyond its position but gives none for this long is looked into.
const SILENT: Duration = Duration::from_secs(3);
/// Up to this many orders a batch are told one by one.
const TOLD_SINGLY: usize = 16;

/// Why a lane stopped reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// Where to read must be decided anew.
    Retake(String),
    /// A batch of the log is damaged: the position stays before it.
    Corrupt(String),
    /// Records are there, and the client does not deliver them.
    Stalled(String),
    /// Another consumer has the partition, or (`None`) its position was moved.
    Fenced(Option<Holder>),
}

/// What a lane tells the polling thread.
pub enum Report {
    /// Its partitions are taken; these can be read, from these offsets.
    Taken {
        lane: usize,
        starts: Vec<PartitionOffset>,
    },
    Ended(Ended),
}

/// What the polling thread holds of a lane.
#[derive(Default)]
pub struct Control {
    pub stop: AtomicBool,
    pub bell: Bell,
    pub vitals: Vitals,
}

pub struct Lane {
    pub number: usize,
    pub owner: Uuid,
    /// How often Kafka or the database had come back when the round began.
    pub returns: u64,
    pub partitions: Vec<i32>,
    pub context: Arc<Context>,
    pub control: Arc<Control>,
    pub reports: Sender<Report>,
    pub readers: Receiver<Vec<Box<dyn Reader>>>,
}

/// A taken partition.
struct Part {
    partition: i32,
    position: Position,
    /// Everything below is stored.
    next: i64,
    reader: Option<Box<dyn Reader>>,
    /// Its reader came to a damaged batch, and is past it: nothing may be read from it any more.
    damaged: bool,
    /// Since when its reader has had nothing to give; time spent storing is not waiting.
    waiting_since: Option<Instant>,
    looked_at: Instant,
}

impl Part {
    fn waits_for(&self) -> Duration {
        self.waiting_since
            .map_or(Duration::ZERO, |since| clock::now() - since)
    }
}

/// Tells how a lane ended, also when its thread panics.
struct LastWord {
    reports: Sender<Report>,
    why: Option<Ended>,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        let panicked = || Ended::Retake("a lane ended without a reason".into());
        let why = self.why.take().unwrap_or_else(panicked);
        // The polling thread may be gone: then nobody needs to know.
        let _ = self.reports.send(Report::Ended(why));
    }
}

impl Lane {
    /// Runs to the end and reports why.
    pub fn run(self) {
        let mut last_word = LastWord {
            reports: self.reports.clone(),
            why: None,
        };
        let mut connection = Connection::new(self.context.clone(), self.control.clone());
        last_word.why = Some(match self.work(&mut connection) {
            Ok(never) => match never {},
            Err(why) => why,
        });
    }

    fn work(&self, connection: &mut Connection) -> Result<std::convert::Infallible, Ended> {
        let mut parts = self.take_all(connection)?;
        let start = |part: &Part| PartitionOffset::new(part.partition, part.next);
        let starts = parts.iter().map(start).collect();
        let _ = self.reports.send(Report::Taken {
            lane: self.number,
            starts,
        });
        self.receive_readers(&mut parts)?;
        self.read(connection, &mut parts)
    }

    fn stopping(&self) -> Result<(), Ended> {
        if self.control.stop.load(Ordering::Relaxed) {
            Err(Ended::Stopped)
        } else {
            Ok(())
        }
    }

    /// Reads one record with a client of its own; waits for Kafka as long as it takes.
    fn read_from(&self, partition: i32, offset: i64) -> Result<ReadBack, Ended> {
        let topic = &self.context.settings.topics.orders;
        self.ask(|| self.context.log.read_from(topic, partition, offset))
    }

    fn range(&self, partition: i32) -> Result<OffsetRange, Ended> {
        let topic = &self.context.settings.topics.orders;
        self.ask(|| self.context.log.range(topic, partition))
    }

    fn ask<T>(&self, question: impl Fn() -> Result<T, LogError>) -> Result<T, Ended> {
        loop {
            match question() {
                Ok(answer) => return Ok(answer),
                Err(LogError::Unavailable(reason)) => {
                    self.context.status.ill(status::LOG, reason);
                    self.pause(HOUSEKEEPING)?;
                }
                Err(LogError::NotFound(reason)) => return Err(Ended::Retake(reason)),
                Err(LogError::Refused(reason)) => return Err(Ended::Corrupt(reason)),
            }
        }
    }

    fn receive_readers(&self, parts: &mut [Part]) -> Result<(), Ended> {
        let readers = loop {
            self.stopping()?;
            match self.readers.recv_timeout(Duration::from_millis(50)) {
                Ok(readers) => break readers,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Ended::Stopped),
            }
        };
        for mut reader in readers {
            let control = self.control.clone();
            reader.on_ready(Box::new(move || control.bell.ring()));
            let part = parts
                .iter_mut()
                .find(|part| part.partition == reader.partition());
            if let Some(part) = part {
                self.context
                    .status
                    .well(&status::partition(part.partition), "reading");
                part.reader = Some(reader);
            }
        }
        Ok(())
    }

    fn read(
        &self,
        connection: &mut Connection,
        parts: &mut [Part],
    ) -> Result<std::convert::Infallible, Ended> {
        let mut window = RejectionWindow::default();
        let mut looked = clock::now();
        loop {
            // Here too: a lane may have nothing that it is allowed to read.
            self.stopping()?;
            let mut idle = true;
            for part in parts.iter_mut() {
                self.stopping()?;
                let Some(reader) = part.reader.as_mut().filter(|_| !part.damaged) else {
                    continue;
                };
                match reader.next(self.context.batch_limit(), MAX_BYTES, Duration::ZERO) {
                    Fetched::Records(records) => {
                        idle = false;
                        part.waiting_since = None;
                        self.context.delivered();
                        self.store(connection, part, records, &mut window)?;
                    }
                    // There may be more behind an end that was reached a while ago, and the bell
                    // rang for it then.
                    Fetched::End => idle = false,
                    Fetched::Nothing => {
                        part.waiting_since.get_or_insert_with(clock::now);
                    }
                    Fetched::Fault(fault) => self.heed(part, fault)?,
                }
            }
            if clock::now() - looked >= HOUSEKEEPING {
                looked = clock::now();
                self.keep_house(connection, parts)?;
            }
            if idle {
                self.control.bell.wait(Duration::from_millis(200));
            }
        }
    }

    fn heed(&self, part: &mut Part, fault: LogFault) -> Result<(), Ended> {
        match fault {
            LogFault::Transient(reason) => {
                tracing::debug!(partition = part.partition, "log: {reason}");
                Ok(())
            }
            LogFault::Reset(reason) => Err(Ended::Retake(reason)),
            LogFault::Corrupt(reason) => {
                (part.damaged, part.waiting_since) = (true, None);
                self.tell_damaged(part.partition, &reason);
                Ok(())
            }
            LogFault::Fatal(reason) => Err(Ended::Stalled(reason)),
        }
    }

    fn pause(&self, pause: Duration) -> Result<(), Ended> {
        let until = clock::now() + pause;
        loop {
            self.stopping()?;
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(());
            }
            self.control.bell.wait(left);
        }
    }
}
