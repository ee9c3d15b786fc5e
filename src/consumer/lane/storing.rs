//! Storing records: holes are explained, batches built, committed and logged.
//!
//! # Invariants
//!
//! A record is passed only when its transaction has been committed, or when it is certain that there
//! is none to pass.

use super::control::LaneExit;
use super::retrying_store::RetryingStore;
use super::{Lane, LanePartition};
use crate::consumer::batch::{self, Target};
use crate::consumer::status;
use crate::event_log::ReadBack;
use crate::pipeline::{PartitionOffset, Record};
use crate::store::{Applied, Batch, Gap, Outranked, RejectionWindow, SourcedOrder};

/// Up to this many records a batch get a line each.
const LOGGED_SINGLY: usize = 16;

impl Lane {
    /// Stores records in batches; returns when all of them are committed.
    pub(super) fn store(
        &self,
        store: &mut RetryingStore,
        partition: &mut LanePartition,
        mut records: Vec<Record>,
        window: &mut RejectionWindow,
    ) -> Result<(), LaneExit> {
        // The log lost its newest offsets after they were passed for markers, and has others there now.
        let passed = partition.passed_from..partition.next;
        if let Some(record) = records.iter().find(|it| passed.contains(&it.offset)) {
            return Err(LaneExit::Reacquire(format!(
                "the log was rewritten: there was no record at offset {} before",
                record.offset
            )));
        }
        // Below the position everything is stored: a new assignment may deliver some again.
        records.retain(|record| record.offset >= partition.next);
        self.check_topic_id(partition)?;
        let gaps = self.explain_holes(partition, &records)?;
        if let Some(first) = records.first() {
            partition.progress.set_storing(partition.next, first);
        }
        let mut rest = records.as_slice();
        let mut size = rest.len();
        while !rest.is_empty() {
            self.control.check_stop()?;
            let chunk = &rest[..size.min(rest.len())];
            let end = chunk.last().map_or(partition.next, |last| last.offset + 1);
            let in_chunk = |gap: &&Gap| (partition.next..end).contains(&gap.from);
            let gaps = gaps.iter().filter(in_chunk).cloned().collect();
            let batch = batch::build(&self.target(partition), partition.next, chunk, gaps);
            match store.apply(&status::partition(partition.partition), &batch, window)? {
                // Smaller batches hold fewer locks, and separate an order from its older versions.
                None => size = (chunk.len() / 2).max(1),
                Some(applied) => {
                    self.committed(partition, chunk, &batch, &applied);
                    rest = &rest[chunk.len()..];
                }
            }
        }
        Ok(())
    }

    /// Makes sure that records read just now come from the topic that the position belongs to.
    fn check_topic_id(&self, partition: &LanePartition) -> Result<(), LaneExit> {
        let topic_id = self.wait_for_log(|| self.context.topic_id())?;
        partition.check_topic_id(&topic_id)
    }

    /// Makes sure that a hole which another client confirmed just now is one of the topic that the
    /// position belongs to, and not of one that was created in its place since. Nothing remembered
    /// counts, and no topic id is ever used again: with the same id after the read, the read was of
    /// that topic.
    pub(super) fn check_hole(&self, partition: &LanePartition) -> Result<(), LaneExit> {
        let topic = &self.context.settings.topics.orders;
        let topic_id = self.wait_for_log(|| self.context.log.topic_id(topic))?;
        partition.check_topic_id(&topic_id)
    }

    pub(super) fn target(&self, partition: &LanePartition) -> Target {
        Target {
            topic: self.context.settings.topics.orders.clone(),
            partition: partition.partition,
            position_id: partition.position.id,
            epoch: partition.position.epoch,
            owner: self.owner,
        }
    }

    /// Offsets that are missing between records are read again by another client, from the exact
    /// offset. Only what that one does not find either is passed, counted, and a gap row where it may
    /// have been records; a record that it does find, or a corrupt batch, ends the lane before anything
    /// is stored past it.
    fn explain_holes(
        &self,
        partition: &LanePartition,
        records: &[Record],
    ) -> Result<Vec<Gap>, LaneExit> {
        let mut expected = partition.next;
        let mut gaps = Vec::new();
        for record in records {
            if record.offset > expected {
                match self.read_from(PartitionOffset::new(partition.partition, expected))? {
                    ReadBack::Record(found) if found.offset == record.offset => {
                        self.check_hole(partition)?;
                        self.context.status.add_hole(expected, record.offset);
                        gaps.extend(batch::hole(expected, record.offset));
                    }
                    _ => {
                        return Err(LaneExit::Reacquire(format!(
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
    fn committed(
        &self,
        partition: &mut LanePartition,
        chunk: &[Record],
        batch: &Batch,
        applied: &Applied,
    ) {
        (partition.next, partition.passed_from) = (batch.end, batch.end);
        partition.progress.set_committed(batch.end);
        let context = &self.context;
        context.clear_corrupt();
        context.grow_batches();
        context.set_applied(batch.partition, batch.end);
        let status = &context.status;
        status.batch_orders.observe(batch.orders.len() as f64);
        if applied.already_applied {
            // What became of its records was logged, or lost, with the answer to that COMMIT.
            tracing::info!(
                topic = %batch.topic, partition = batch.partition,
                "offsets {}-{} had been committed before", batch.start, batch.end - 1
            );
            return;
        }
        let dead_letters = batch.dead_letters.len() + applied.rejected.len();
        status.dead_letters.inc_by(dead_letters as u64);
        status.orders_outdated.inc_by(applied.outdated as u64);
        let passed = applied.rejected.len() + applied.outdated + applied.erased;
        let written = batch.orders.len().saturating_sub(passed);
        status.orders_applied.inc_by(written as u64);
        status
            .records_with_foreign_key
            .inc_by(foreign_keys(chunk, &batch.orders));
        log_batch(chunk.len(), batch, applied);
    }
}

fn log_batch(records: usize, batch: &Batch, applied: &Applied) {
    let Batch {
        topic,
        partition,
        start,
        end,
        ..
    } = batch;
    if records > LOGGED_SINGLY {
        tracing::info!(
            %topic, partition, dead_letters = batch.dead_letters.len() + applied.rejected.len(),
            "processed {} orders (offsets {start}-{})",
            batch.orders.len() - applied.outranked.len(), end - 1
        );
    }
    for sourced in &batch.orders {
        let (uid, offset) = (&sourced.order.order_uid, sourced.offset);
        let is_rejected = applied.rejected.iter().any(|(it, _)| *it == offset);
        let is_outranked = applied.outranked.iter().any(|it| it.offset == offset);
        if is_rejected || is_outranked {
            continue;
        }
        if records <= LOGGED_SINGLY {
            tracing::info!(%topic, partition, "processed order {uid} (offset {offset})");
        } else {
            tracing::debug!(%topic, partition, "processed order {uid} (offset {offset})");
        }
    }
    log_outranked(batch, &applied.outranked);
    if applied.erased > 0 {
        let erased = applied.erased;
        tracing::info!(%topic, partition, "{erased} records of erased orders left out");
    }
    let undecodable = batch.dead_letters.iter();
    let undecodable = undecodable.map(|letter| (letter.offset, &letter.reason));
    let refused = applied.rejected.iter().map(|(offset, why)| (*offset, why));
    for (offset, reason) in undecodable.chain(refused).take(LOGGED_SINGLY) {
        // A field, which is quoted: what the database says of a record may repeat its text.
        let reason = reason.as_str();
        tracing::warn!(%topic, partition, reason, "dead letter at offset {offset}");
    }
}

/// An acknowledged order that the store does not get is never passed over silently.
fn log_outranked(batch: &Batch, outranked: &[Outranked]) {
    let (topic, partition) = (&batch.topic, batch.partition);
    for Outranked { offset, stored_at } in outranked.iter().take(LOGGED_SINGLY) {
        let record = format!("{topic}/{partition}/{offset}");
        tracing::warn!(
            record,
            stored_at,
            "order left out: a version in another partition was accepted later"
        );
    }
    let more = outranked.len().saturating_sub(LOGGED_SINGLY);
    if more > 0 {
        tracing::warn!(%topic, partition, "{more} more orders left out like these");
    }
}

/// How many of the orders came under another key than their uid. They are stored all the same, but
/// the versions of such an order may be in several partitions.
fn foreign_keys(chunk: &[Record], orders: &[SourcedOrder]) -> u64 {
    let has_foreign_key = |sourced: &&SourcedOrder| {
        let at = chunk.binary_search_by_key(&sourced.offset, |record| record.offset);
        let key = at.ok().and_then(|at| chunk[at].key.as_deref());
        key != Some(sourced.order.order_uid.as_bytes())
    };
    orders.iter().filter(has_foreign_key).count() as u64
}
