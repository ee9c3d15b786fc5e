//! The writer of one topic: the one thread of a process that changes its file.
//!
//! Owns that thread and the acknowledgements: it appends what is queued in one transaction, and only
//! then acknowledges it; between two batches it maintains the file. There is no batching delay: while
//! one commit waits for the disk, the next batch is queued.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::append_failure::AppendFailure;
use super::appender::Appender;
use super::queue::{Queue, QueuedRecord};
use super::topic::Topic;
use crate::event_log::AppendError;
use crate::sqlite_file::{FileErrorKind, Warning};

/// A batch is what is queued, up to this much.
const MAX_RECORDS: usize = 1_000;
const MAX_BYTES: usize = 4 << 20;

const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Pause before a retry, doubled up to the longest: a client waits five seconds for its response.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A running writer, as its topic holds it.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(topic: &Arc<Topic>) -> io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        let writing = WriterThread {
            topic: topic.clone(),
            queue: queue.clone(),
            appender: None,
            outage: None,
            must_checkpoint: false,
            maintained_at: Instant::now(),
        };
        let thread = std::thread::Builder::new().name(format!("log-{}", topic.name));
        Ok(Writer {
            queue,
            thread: thread.spawn(move || writing.run())?,
        })
    }

    /// False after a panic: the outcome of the records that it had is unknown, and another is started.
    pub(super) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

/// Why nothing is written at the moment, and when that is retried.
struct Outage {
    reason: String,
    retry_at: Instant,
    pause: Duration,
}

struct WriterThread {
    topic: Arc<Topic>,
    queue: Arc<Queue>,
    appender: Option<Appender>,
    outage: Option<Outage>,
    /// What lies in the WAL may not be on the disk.
    must_checkpoint: bool,
    maintained_at: Instant,
}

impl WriterThread {
    fn run(mut self) {
        loop {
            if let Some(outage) = &self.outage {
                self.queue.wait_until_closed(outage.retry_at);
            }
            let wait = self.max_wait();
            let Some(batch) = self.queue.take(MAX_RECORDS, MAX_BYTES, wait) else {
                break;
            };
            if batch.is_empty() {
                self.recover();
            } else {
                self.write(batch);
                self.queue.completed();
            }
            self.maintain();
        }
        if let Some(appender) = &self.appender {
            // What cannot be moved now is moved by the next writer.
            let _ = appender.open.maintain_wal(true);
        }
    }

    /// How long to wait for records before there is something else to do.
    fn max_wait(&self) -> Duration {
        if self.outage.is_some() {
            return Duration::ZERO;
        }
        let maintenance = MAINTENANCE_INTERVAL.saturating_sub(self.maintained_at.elapsed());
        self.appender.as_ref().map_or(maintenance, |appender| {
            maintenance.min(appender.retention.due_in(Instant::now()))
        })
    }

    fn write(&mut self, batch: Vec<QueuedRecord>) {
        if let Err(failure) = self.open() {
            return self.fail(batch, &failure);
        }
        let Some(appender) = &mut self.appender else {
            return;
        };
        let batch = appender.admit(&self.topic, batch);
        if batch.is_empty() {
            return;
        }
        match appender.commit(&batch) {
            // Here the records are on the disk, in the file that is at the path: 202 follows.
            Ok(appended) => {
                for (record, appended) in batch.into_iter().zip(appended) {
                    record.complete(Ok(appended));
                }
                self.topic.notify.notify();
            }
            Err(failure) => self.fail(batch, &failure),
        }
    }

    /// Opens the file at the path unless it is open.
    fn open(&mut self) -> Result<(), AppendFailure> {
        self.appender
            .take_if(|appender| !appender.open.is_current());
        if self.appender.is_none() {
            let is_retry = self.outage.is_some();
            self.appender = Some(Appender::open(&self.topic, is_retry, self.must_checkpoint)?);
            self.must_checkpoint = false;
        }
        if let Some(outage) = self.outage.take() {
            let topic = &self.topic.name;
            let reason = outage.reason;
            tracing::info!(
                topic,
                "topic can be written again, it failed with: {reason}"
            );
            self.topic.file.warnings.set(Warning::Failure, None);
        }
        Ok(())
    }

    /// Fails the batch and everything queued behind it: no client waits for a broken disk.
    fn fail(&mut self, batch: Vec<QueuedRecord>, failure: &AppendFailure) {
        let reason = self.topic.error("append to", &failure.error).to_string();
        // Everything that is known of the file is read again: the counters too.
        self.appender = None;
        self.must_checkpoint |= failure.is_unknown
            || matches!(
                failure.error.kind,
                FileErrorKind::Disk | FileErrorKind::Changed
            );
        self.back_off(reason.clone());
        for record in batch {
            record.complete(Err(match failure.error.kind {
                _ if failure.is_unknown => AppendError::Unknown(reason.clone()),
                // The transaction was rolled back, or never begun.
                FileErrorKind::Full => AppendError::Full(reason.clone()),
                _ => AppendError::NotAccepted(reason.clone()),
            }));
        }
        let behind = self.queue.take(usize::MAX, usize::MAX, Duration::ZERO);
        for record in behind.unwrap_or_default() {
            record.complete(Err(AppendError::NotAccepted(reason.clone())));
        }
        self.queue.completed();
        // Readers may have to report it too.
        self.topic.notify.notify();
    }

    fn back_off(&mut self, reason: String) {
        let pause = match &self.outage {
            Some(outage) => (outage.pause * 2).min(LONGEST_PAUSE),
            None => {
                let topic = &self.topic.name;
                tracing::error!(topic, "topic cannot be written, retrying: {reason}");
                FIRST_PAUSE
            }
        };
        let warnings = &self.topic.file.warnings;
        warnings.set(Warning::Failure, Some(reason.clone()));
        self.outage = Some(Outage {
            reason,
            retry_at: Instant::now() + pause,
            pause,
        });
    }

    /// Nothing is queued: ends an outage where that is possible.
    fn recover(&mut self) {
        if self.outage.is_some()
            && let Err(failure) = self.open()
        {
            self.fail(Vec::new(), &failure);
        }
    }

    fn maintain(&mut self) {
        let is_due = self.maintained_at.elapsed() >= MAINTENANCE_INTERVAL;
        if is_due {
            self.maintained_at = Instant::now();
        }
        let Some(appender) = &mut self.appender else {
            return;
        };
        // A deleted file is closed, even if nobody ever writes to it again.
        if is_due && !appender.open.is_current() {
            self.appender = None;
            // The free space is read again for the next record, and not before.
            self.topic.file.warnings.set(Warning::Shortage, None);
            return;
        }
        if let Err(error) = appender.maintain(&self.topic, is_due) {
            self.fail(Vec::new(), &error.into());
        }
    }
}
