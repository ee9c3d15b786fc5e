//! The writer of one topic: the one thread of a process that changes its file.
//!
//! Owns the life of that thread and the answers: it takes what is queued, has it written in one
//! transaction, and only then says so; between two batches it keeps house. The surprising thing:
//! there is no timer that gathers records. While one commit waits for the disk the next batch
//! queues up by itself.

use std::thread::JoinHandle;

use super::commit::Writing;
use super::failed::Failed;
use super::*;

/// A batch is what is waiting, up to this much.
const MAX_RECORDS: usize = 1_000;
const MAX_BYTES: usize = 4 << 20;

/// How often an idle writer looks after its file.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How long to wait before trying again, doubled up to the second: whoever waits for an answer has
/// five.
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
        let work = Work {
            topic: topic.clone(),
            queue: queue.clone(),
            writing: None,
            trouble: None,
            must_settle: false,
            kept_house: Instant::now(),
        };
        let name = format!("log-{}", topic.name);
        let thread = std::thread::Builder::new().name(name);
        Ok(Writer {
            queue,
            thread: thread.spawn(move || work.run())?,
        })
    }

    /// False after a panic: the records that it had are answered as unknown, and another is started.
    pub(super) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

/// Why nothing is written at the moment, and when that is tried again.
struct Away {
    reason: String,
    again: Instant,
    pause: Duration,
}

struct Work {
    topic: Arc<Topic>,
    queue: Arc<Queue>,
    writing: Option<Writing>,
    trouble: Option<Away>,
    /// What lies in the file beside the topic's may not be on the disk.
    must_settle: bool,
    kept_house: Instant,
}

impl Work {
    fn run(mut self) {
        loop {
            if let Some(away) = &self.trouble {
                self.queue.rest(away.again);
            }
            match self.queue.take(MAX_RECORDS, MAX_BYTES, self.patience()) {
                Taken::Records(batch) => {
                    self.write(batch);
                    self.queue.answered();
                }
                Taken::Nothing => self.idle(),
                Taken::Closed => break,
            }
            self.keep_house();
        }
        if let Some(writing) = &mut self.writing {
            // What could not be moved is moved by the next writer.
            let _ = writing.open.maintain_wal(true);
        }
    }

    /// How long to wait for records before there is something else to do.
    fn patience(&self) -> Duration {
        if self.trouble.is_some() {
            return Duration::ZERO;
        }
        let housekeeping = HOUSEKEEPING.saturating_sub(self.kept_house.elapsed());
        let writing = self.writing.as_ref();
        writing.map_or(housekeeping, |writing| {
            housekeeping.min(writing.retention.due_in(Instant::now()))
        })
    }

    fn write(&mut self, batch: Vec<Queued>) {
        if let Err(failed) = self.prepare() {
            return self.failed(batch, &failed);
        }
        let Some(writing) = &mut self.writing else {
            return;
        };
        let batch = writing.admit(&self.topic, batch);
        if batch.is_empty() {
            return;
        }
        match writing.commit(&batch) {
            // Here the records are on the disk, in the file that is at the path: 202 follows.
            Ok(places) => {
                for (record, place) in batch.into_iter().zip(places) {
                    record.answer(Ok(place));
                }
                self.topic.bells.ring();
            }
            Err(failed) => self.failed(batch, &failed),
        }
    }

    /// Has the file open, the one that is at the path.
    fn prepare(&mut self) -> Result<(), Failed> {
        self.writing.take_if(|writing| !writing.open.is_current());
        if self.writing.is_none() {
            let patient = self.trouble.is_none();
            let writing = Writing::open(&self.topic, patient, self.must_settle)?;
            self.must_settle = false;
            self.writing = Some(writing);
        }
        if let Some(away) = self.trouble.take() {
            let topic = &self.topic.name;
            tracing::info!(
                topic,
                "the log can be written again; it could not: {}",
                away.reason
            );
            self.topic.file.set_failure(None);
        }
        Ok(())
    }

    /// Answers the batch, and everything behind it: nobody waits for a disk that is being mended.
    fn failed(&mut self, batch: Vec<Queued>, failed: &Failed) {
        let reason = self.topic.error("append to", &failed.trouble).to_string();
        // Everything that is known of the file is asked anew: the counters too.
        self.writing = None;
        self.must_settle |= failed.may_be_there
            || matches!(failed.kind(), FileErrorKind::Disk | FileErrorKind::Changed);
        self.step_back(reason.clone());
        for record in batch {
            record.answer(Err(match failed.kind() {
                // The transaction was rolled back, or never begun.
                _ if failed.may_be_there => AppendError::Unknown(reason.clone()),
                FileErrorKind::Full => AppendError::Full(reason.clone()),
                _ => AppendError::NotAccepted(reason.clone()),
            }));
        }
        while let Taken::Records(behind) = self.queue.take(MAX_RECORDS, MAX_BYTES, Duration::ZERO) {
            for record in behind {
                record.answer(Err(AppendError::NotAccepted(reason.clone())));
            }
        }
        self.queue.answered();
        // Whoever reads may have to say so, too.
        self.topic.bells.ring();
    }

    fn step_back(&mut self, reason: String) {
        let pause = match &self.trouble {
            Some(away) => (away.pause * 2).min(LONGEST_PAUSE),
            None => {
                let topic = &self.topic.name;
                tracing::error!(topic, "the log cannot be written, trying on: {reason}");
                FIRST_PAUSE
            }
        };
        self.topic.file.set_failure(Some(reason.clone()));
        self.trouble = Some(Away {
            reason,
            again: Instant::now() + pause,
            pause,
        });
    }

    /// Nothing is queued: tries to come out of trouble, or goes on with what can wait.
    fn idle(&mut self) {
        if self.trouble.is_some()
            && let Err(failed) = self.prepare()
        {
            self.failed(Vec::new(), &failed);
        }
    }

    fn keep_house(&mut self) {
        let is_due = self.kept_house.elapsed() >= HOUSEKEEPING;
        if is_due {
            self.kept_house = Instant::now();
        }
        let Some(writing) = &mut self.writing else {
            return;
        };
        // A deleted file is let go of, even if nobody ever writes to it again.
        if is_due && !writing.open.is_current() {
            self.writing = None;
            // Whether there is room is asked of the next record: until one comes nobody looks.
            self.topic.file.set_shortage(None);
            return;
        }
        if let Err(trouble) = writing.keep_house(&self.topic, is_due) {
            self.failed(Vec::new(), &Failed::surely(trouble));
        }
    }
}
