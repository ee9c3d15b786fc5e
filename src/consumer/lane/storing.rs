//! Storing records: holes explained, batches built and committed, and told.
//!
//! A record is passed only when its transaction has been committed, or when it is certain that there
//! is none to pass.

use super::*;

impl Lane {
    /// Stores records in batches; returns when all of them are committed.
    pub(super) fn store(
        &self,
        connection: &mut Connection,
        part: &mut Part,
        mut records: Vec<Record>,
        window: &mut RejectionWindow,
    ) -> Result<(), Ended> {
        // Below the position everything is stored already: a new assignment may give some again.
        records.retain(|record| record.offset >= part.next);
        self.check_identity(part)?;
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
                // Smaller batches hold fewer locks, and part an order from its older versions.
                None => size = (chunk.len() / 2).max(1),
                Some(applied) => {
                    self.committed(part, chunk, &batch, &applied);
                    rest = &rest[chunk.len()..];
                }
            }
        }
        Ok(())
    }

    /// Makes sure that records read a moment ago come from the topic that the position belongs to.
    /// librdkafka reads a recreated topic on at its old offset without a word, and under the old
    /// incarnation those offsets would let an older order overwrite a newer one.
    pub(super) fn check_identity(&self, part: &Part) -> Result<(), Ended> {
        let known = &part.position.topic_id;
        loop {
            match self.context.watch.identity(&self.context) {
                Ok(identity) if known.contradicts(&identity) => {
                    let reason = "the topic was deleted and created again";
                    return Err(Ended::Retake(reason.into()));
                }
                Ok(_) => return Ok(()),
                Err(error) => self.context.status.ill(status::LOG, error.to_string()),
            }
            self.pause(HOUSEKEEPING)?;
        }
    }

    pub(super) fn place(&self, part: &Part) -> Place {
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
        context.grow_batches();
        context.applied(part.partition, batch.end);
        let status = &context.status;
        status.progress(part.partition, batch.end);
        status.batches.inc();
        if applied.already_applied {
            // Its fate was told, or lost, with the answer to that COMMIT.
            tracing::info!(
                topic = %batch.topic, partition = batch.partition,
                "offsets {}-{} had been committed before", batch.start, batch.end - 1
            );
            return;
        }
        status
            .dead_letters
            .inc_by((batch.dead_letters.len() + applied.rejected.len()) as u64);
        status.orders_outdated.inc_by(applied.outdated as u64);
        let written = batch.orders.len() - applied.rejected.len() - applied.outdated;
        status.orders_applied.inc_by(written as u64);
        status
            .records_with_foreign_key
            .inc_by(foreign_keys(chunk, &batch.orders));
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
                %topic, partition, dead_letters = batch.dead_letters.len() + applied.rejected.len(),
                "processed {} orders (offsets {start}-{})", batch.orders.len(), end - 1
            );
        }
        for sourced in &batch.orders {
            let (uid, offset) = (&sourced.order.order_uid, sourced.offset);
            if applied
                .rejected
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
        let refused = applied.rejected.iter().map(|(offset, why)| (*offset, why));
        for (offset, reason) in decoded.chain(refused).take(TOLD_SINGLY) {
            tracing::warn!(%topic, partition, "dead letter at offset {offset}: {reason}");
        }
    }
}

/// How many of the orders came under another key than their uid. They are stored all the same, but
/// the versions of such an order may lie in several partitions.
fn foreign_keys(chunk: &[Record], orders: &[SourcedOrder]) -> u64 {
    let has_foreign_key = |sourced: &&SourcedOrder| {
        let at = chunk.binary_search_by_key(&sourced.offset, |record| record.offset);
        let key = at.ok().and_then(|at| chunk[at].key.as_deref());
        key != Some(sourced.order.order_uid.as_bytes())
    };
    orders.iter().filter(has_foreign_key).count() as u64
}
