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
use super::connection::{Connection, Vitals};
use super::status;
use super::take::{self, Decision, Facts, TailCheck};
use super::{Context, watch};
use crate::event_log::{
    Fetched, LogError, LogFault, ReadBack, Reader, Record, TopicId, TopicState,
};
use crate::migrations::SchemaState;
use crate::store::{Applied, Batch, Claim, Gap, Holder, Position, RefusalWindow};

/// A batch is what is waiting, up to this much; never a timer.
const MAX_RECORDS: usize = 1_000;
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
    Fenced(Holder),
}

/// What a lane tells the polling thread.
pub enum Report {
    /// Its partitions are taken; these can be read, from these offsets.
    Taken {
        lane: usize,
        starts: Vec<(i32, i64)>,
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
    last_record_at: Instant,
    looked_at: Instant,
}

impl Lane {
    /// Runs to the end and reports why.
    pub fn run(self) {
        let mut connection = Connection::new(self.context.clone(), self.control.clone());
        let why = match self.work(&mut connection) {
            Ok(never) => match never {},
            Err(why) => why,
        };
        // The polling thread may be gone: then nobody needs to know.
        let _ = self.reports.send(Report::Ended(why));
    }

    fn work(&self, connection: &mut Connection) -> Result<std::convert::Infallible, Ended> {
        let mut parts = self.take_all(connection)?;
        let starts = parts
            .iter()
            .map(|part| (part.partition, part.next))
            .collect();
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

    /// Puts this owner on every partition and decides where each is read from. Those that must not
    /// be read are left out; housekeeping looks at them again.
    fn take_all(&self, connection: &mut Connection) -> Result<Vec<Part>, Ended> {
        self.await_migrations(connection)?;
        let log_id = self.await_topic(None)?.log_id;
        let mut parts = Vec::new();
        for partition in &self.partitions {
            let name = status::partition(*partition);
            let claim = self.claim(&log_id, *partition);
            // From here on whoever had the partition before is fenced, so the position stands still
            // and an end that is asked for afterwards is not below it.
            let position = connection.persist(&name, |store| store.take(&claim))?;
            let state = self.await_topic(Some(*partition))?;
            if let Some(position) = self.settle(connection, &claim, &state, position)? {
                parts.push(Part {
                    partition: *partition,
                    next: position.next_offset,
                    position,
                    reader: None,
                    last_record_at: Instant::now(),
                    looked_at: Instant::now(),
                });
            }
        }
        Ok(parts)
    }

    fn claim(&self, log_id: &str, partition: i32) -> Claim {
        Claim {
            log_id: log_id.into(),
            partition,
            owner: self.owner,
            group: self.context.settings.group.clone(),
            host: self.context.host.clone(),
        }
    }

    fn await_migrations(&self, connection: &mut Connection) -> Result<(), Ended> {
        loop {
            let history =
                connection.persist(status::DATABASE, |store| store.applied_migrations())?;
            match crate::migrations::state(&history) {
                SchemaState::Current => return Ok(()),
                other => {
                    self.context
                        .status
                        .ill(status::MIGRATIONS, watch::schema_trouble(other));
                    self.pause(HOUSEKEEPING)?;
                }
            }
        }
    }

    /// The topic as it is now, with at least that partition; waits for Kafka as long as it takes.
    fn await_topic(&self, partition: Option<i32>) -> Result<TopicState, Ended> {
        loop {
            match self.context.log.state(&self.context.settings.topics.orders) {
                Ok(state) => {
                    let known = partition.is_none_or(|partition| {
                        usize::try_from(partition).is_ok_and(|at| at < state.ranges.len())
                    });
                    if known {
                        return Ok(state);
                    }
                }
                Err(error) => self.context.status.ill(status::KAFKA, error.to_string()),
            }
            self.pause(HOUSEKEEPING)?;
        }
    }

    /// Decides where the partition is read from and writes the decision; `None` leaves it unread.
    fn settle(
        &self,
        connection: &mut Connection,
        claim: &Claim,
        state: &TopicState,
        mut position: Option<Position>,
    ) -> Result<Option<Position>, Ended> {
        let name = status::partition(claim.partition);
        loop {
            let decision = self.decide(claim, state, position.as_ref())?;
            match (decision, position) {
                (Decision::Continue { .. }, found) => return Ok(found),
                (Decision::Settle { settlement, why }, found) => {
                    let settled =
                        connection.persist(&name, |store| store.settle(claim, &settlement))?;
                    let next_offset = settled.next_offset;
                    tracing::info!(
                        topic = %self.context.settings.topics.orders,
                        partition = claim.partition,
                        "partition starts at offset {next_offset}: {why}"
                    );
                    if found.is_none() || settlement.gap.is_none() {
                        return Ok(Some(settled));
                    }
                    // An accepted gap may end before the next unaccepted one.
                    position = Some(settled);
                }
                (Decision::Stop { gap }, _) => {
                    self.context.status.ill(
                        &name,
                        format!(
                            "stopped: offsets {}-{} were deleted before they were read; to go on \
                             without them: orders consume --accept-gap {gap}",
                            gap.from, gap.to
                        ),
                    );
                    return Ok(None);
                }
                (Decision::Wait, _) => {
                    self.context.status.ill(
                        &name,
                        "the position is past the end of the log; waiting a minute for the log",
                    );
                    return Ok(None);
                }
            }
        }
    }

    fn decide(
        &self,
        claim: &Claim,
        state: &TopicState,
        position: Option<&Position>,
    ) -> Result<Decision, Ended> {
        let range = usize::try_from(claim.partition)
            .ok()
            .and_then(|at| state.ranges.get(at))
            .copied()
            .ok_or_else(|| Ended::Retake("the partition is gone".into()))?;
        let tail = match position {
            Some(position) if take::needs_tail_check(Some(position), &state.topic_id, range) => {
                self.check_tail(position)?
            }
            _ => TailCheck::Gone,
        };
        let beyond = position.is_some_and(|position| position.next_offset > range.high);
        let decision = take::decide(&Facts {
            topic: &self.context.settings.topics.orders,
            partition: claim.partition,
            position,
            topic_id: &state.topic_id,
            range,
            tail,
            beyond_end_for: self.context.beyond_end_for(claim.partition, beyond),
            accepted: &self.context.settings.accepted_gaps,
        });
        Ok(decision)
    }

    /// Whether the last record applied is still what the log has at its offset.
    fn check_tail(&self, position: &Position) -> Result<TailCheck, Ended> {
        let Some(tail) = &position.tail else {
            return Ok(TailCheck::Gone);
        };
        Ok(match self.read_from(position.partition, tail.offset)? {
            ReadBack::Record(record) if record.offset == tail.offset => {
                if batch::tail(&record) == *tail {
                    TailCheck::Same
                } else {
                    TailCheck::Different
                }
            }
            // Compaction or retention took it.
            ReadBack::Record(_) => TailCheck::Gone,
            // It was readable when it was applied; replaying is harmless.
            ReadBack::End(_) => TailCheck::Different,
        })
    }

    /// Reads one record with a client of its own; waits for Kafka as long as it takes.
    fn read_from(&self, partition: i32, offset: i64) -> Result<ReadBack, Ended> {
        loop {
            let topic = &self.context.settings.topics.orders;
            match self.context.log.read_from(topic, partition, offset) {
                Ok(found) => return Ok(found),
                Err(LogError {
                    unavailable: true, ..
                }) => self.pause(HOUSEKEEPING)?,
                Err(LogError {
                    missing: true,
                    message,
                    ..
                }) => return Err(Ended::Retake(message)),
                Err(error) => {
                    self.pause(HOUSEKEEPING)?;
                    return Err(Ended::Corrupt(error.to_string()));
                }
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
        let mut window = RefusalWindow::default();
        let mut looked = Instant::now();
        loop {
            let mut idle = true;
            for part in parts.iter_mut() {
                self.stopping()?;
                let Some(reader) = &mut part.reader else {
                    continue;
                };
                match reader.next(MAX_RECORDS, MAX_BYTES, Duration::ZERO) {
                    Fetched::Records(records) => {
                        idle = false;
                        part.last_record_at = Instant::now();
                        self.context.delivered();
                        self.store(connection, part, records, &mut window)?;
                    }
                    // There may be more behind an end that was reached a while ago, and the bell
                    // rang for it then.
                    Fetched::End => idle = false,
                    Fetched::Nothing => {}
                    Fetched::Fault(fault) => self.heed(part.partition, fault)?,
                }
            }
            if looked.elapsed() >= HOUSEKEEPING {
                looked = Instant::now();
                self.keep_house(connection, parts)?;
            }
            if idle {
                self.control.bell.wait(Duration::from_millis(200));
            }
        }
    }

    fn heed(&self, partition: i32, fault: LogFault) -> Result<(), Ended> {
        match fault {
            LogFault::Transient(reason) => {
                tracing::debug!(partition, "kafka: {reason}");
                Ok(())
            }
            LogFault::Reset(reason) => Err(Ended::Retake(reason)),
            LogFault::Corrupt(reason) => {
                Err(Ended::Corrupt(format!("partition {partition}: {reason}")))
            }
            LogFault::Fatal(reason) => Err(Ended::Stalled(reason)),
        }
    }

    /// Stores records in batches; returns when all of them are committed.
    fn store(
        &self,
        connection: &mut Connection,
        part: &mut Part,
        mut records: Vec<Record>,
        window: &mut RefusalWindow,
    ) -> Result<(), Ended> {
        // Below the position everything is stored already: a new assignment may give some again.
        records.retain(|record| record.offset >= part.next);
        let gaps = self.explain_holes(part, &records)?;
        let mut rest = records.as_slice();
        let mut size = rest.len();
        while !rest.is_empty() {
            self.stopping()?;
            let chunk = &rest[..size.min(rest.len())];
            let end = chunk.last().map_or(part.next, |record| record.offset + 1);
            let in_chunk = |gap: &&Gap| (part.next..end).contains(&gap.from);
            let gaps = gaps.iter().filter(in_chunk).cloned().collect();
            let batch = batch::build(&self.place(part), part.next, chunk, gaps);
            match connection.apply(&status::partition(part.partition), &batch, window)? {
                // Contended twice: smaller batches hold fewer locks.
                None => size = (size / 2).max(1),
                Some(applied) => {
                    self.committed(part, chunk, &batch, &applied);
                    rest = &rest[chunk.len()..];
                }
            }
        }
        Ok(())
    }

    fn place(&self, part: &Part) -> Place {
        Place {
            topic: self.context.settings.topics.orders.clone(),
            partition: part.partition,
            position_id: part.position.id,
            epoch: part.position.epoch,
            owner: self.owner,
        }
    }

    /// Offsets that are missing between records are read again by another client, from the exact
    /// offset. Only what that one does not find either is passed, as a gap row; a record that it
    /// does find, or a damaged batch, ends the lane before anything is stored past it.
    fn explain_holes(&self, part: &Part, records: &[Record]) -> Result<Vec<Gap>, Ended> {
        let mut expected = part.next;
        let mut gaps = Vec::new();
        for record in records {
            if record.offset > expected {
                match self.read_from(part.partition, expected)? {
                    ReadBack::Record(found) if found.offset == record.offset => gaps.push(Gap {
                        from: expected,
                        to: Some(record.offset),
                        reason: "no record there: transaction markers or compaction".into(),
                    }),
                    _ => {
                        return Err(Ended::Retake(format!(
                            "offset {expected} was not delivered, {} was",
                            record.offset
                        )));
                    }
                }
            }
            expected = record.offset + 1;
        }
        Ok(gaps)
    }

    /// The position in the store is past these records: now, and only now, this process goes on.
    fn committed(&self, part: &mut Part, chunk: &[Record], batch: &Batch, applied: &Applied) {
        part.next = batch.end;
        let context = &self.context;
        context.mended();
        context.applied(part.partition, batch.end);
        let status = &context.status;
        status.progress(part.partition, batch.end);
        status.batches.inc();
        status
            .dead_letters
            .inc_by((batch.dead_letters.len() + applied.refused.len()) as u64);
        status.orders_outdated.inc_by(applied.outdated as u64);
        let written = batch.orders.len() - applied.refused.len() - applied.outdated;
        status.orders_applied.inc_by(written as u64);
        self.tell(chunk, batch, applied);
    }

    fn tell(&self, chunk: &[Record], batch: &Batch, applied: &Applied) {
        let Batch {
            topic,
            partition,
            start,
            end,
            ..
        } = batch;
        if chunk.len() > TOLD_SINGLY {
            tracing::info!(
                %topic, partition, dead_letters = batch.dead_letters.len() + applied.refused.len(),
                "processed {} orders (offsets {start}-{})", batch.orders.len(), end - 1
            );
        }
        for sourced in &batch.orders {
            let (uid, offset) = (&sourced.order.order_uid, sourced.offset);
            if applied
                .refused
                .iter()
                .any(|(refused, _)| *refused == offset)
            {
                continue;
            }
            if chunk.len() <= TOLD_SINGLY {
                tracing::info!(%topic, partition, "processed order {uid} (offset {offset})");
            } else {
                tracing::debug!(%topic, partition, "processed order {uid} (offset {offset})");
            }
        }
        let decoded = batch
            .dead_letters
            .iter()
            .map(|letter| (letter.offset, &letter.reason));
        let refused = applied.refused.iter().map(|(offset, why)| (*offset, why));
        for (offset, reason) in decoded.chain(refused).take(TOLD_SINGLY) {
            tracing::warn!(%topic, partition, "dead letter at offset {offset}: {reason}");
        }
    }

    /// What an idle moment is good for: recreated topics, trailing transaction markers, a client
    /// that has gone silent, partitions that were left out.
    fn keep_house(&self, connection: &mut Connection, parts: &mut [Part]) -> Result<(), Ended> {
        let Some(seen) = self.context.watch.topic() else {
            return Ok(());
        };
        for part in parts.iter_mut() {
            let known = TopicId(part.position.topic_id.as_str().into());
            if known.contradicts(&seen.topic_id) {
                // librdkafka reads a recreated topic on at its old offset without a word.
                return Err(Ended::Retake(
                    "the topic was deleted and created again".into(),
                ));
            }
            let Some(range) = seen.ranges.get(part.partition as usize) else {
                continue;
            };
            self.context
                .status
                .lag(part.partition, (range.high - part.next).max(0));
            if range.high > part.next && part.last_record_at.elapsed() > SILENT {
                self.look_into_silence(connection, part)?;
            }
        }
        if parts.len() < self.partitions.len() {
            self.reconsider(connection, parts, &seen)?;
        }
        Ok(())
    }

    fn look_into_silence(&self, connection: &mut Connection, part: &mut Part) -> Result<(), Ended> {
        if part.looked_at.elapsed() < SILENT {
            return Ok(());
        }
        part.looked_at = Instant::now();
        match self.read_from(part.partition, part.next)? {
            // All below the committed end is decided and holds no record: markers. Moving over them
            // is what lets a lookup be "caught up".
            ReadBack::End(end) if end > part.next => {
                let reason = "no record there: transaction markers or compaction";
                let batch = batch::empty(&self.place(part), part.next, end, reason);
                let mut window = RefusalWindow::default();
                let name = status::partition(part.partition);
                if connection.apply(&name, &batch, &mut window)?.is_some() {
                    part.next = end;
                    self.context.applied(part.partition, end);
                }
                Ok(())
            }
            ReadBack::End(_) => Ok(()),
            ReadBack::Record(record) if part.last_record_at.elapsed() > 3 * SILENT => {
                Err(Ended::Stalled(format!(
                    "the record at {}/{} is there and was not delivered",
                    part.partition, record.offset
                )))
            }
            ReadBack::Record(_) => Ok(()),
        }
    }

    /// Looks again at partitions that were left unread, without taking them.
    fn reconsider(
        &self,
        connection: &mut Connection,
        parts: &[Part],
        seen: &TopicState,
    ) -> Result<(), Ended> {
        for partition in &self.partitions {
            if parts.iter().any(|part| part.partition == *partition) {
                continue;
            }
            let claim = self.claim(&seen.log_id, *partition);
            let name = status::partition(*partition);
            let read = |store: &mut dyn crate::store::OrderStore| {
                store.position(&claim.log_id, claim.partition)
            };
            let position = connection.persist(&name, read)?;
            let decision = self.decide(&claim, seen, position.as_ref())?;
            if !matches!(decision, Decision::Stop { .. } | Decision::Wait) {
                return Err(Ended::Retake(format!(
                    "partition {partition} can be read again"
                )));
            }
        }
        Ok(())
    }

    fn pause(&self, pause: Duration) -> Result<(), Ended> {
        let until = Instant::now() + pause;
        loop {
            self.stopping()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.control.bell.wait(left);
        }
    }
}
