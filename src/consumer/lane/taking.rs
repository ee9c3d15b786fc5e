//! Taking partitions: the owner's name goes onto the position row, the facts are asked for, `take`
//! decides, and what it decided is written before anything is read.

use super::*;
use crate::failpoint;
use crate::timeouts::timeouts;

impl Lane {
    /// Puts this owner on every partition and decides where each is read from. Those that must not
    /// be read are left out; housekeeping looks at them again.
    pub(super) fn take_all(&self, connection: &mut Connection) -> Result<Vec<Part>, Ended> {
        self.await_migrations(connection)?;
        let log_id = self.await_topic(None)?.log_id;
        let mut claimed = Vec::new();
        for partition in &self.partitions {
            let name = status::partition(*partition);
            let claim = self.claim(&log_id, *partition);
            let position = connection.persist(&name, |store| store.acquire(&claim))?;
            claimed.push((claim, position));
        }
        failpoint::reach(failpoint::Point::InAssign);
        // Whoever had the partitions before is fenced by now, so the positions stand still, and an
        // end that is asked for from here on is not below them.
        let state = self.await_topic(self.partitions.iter().copied().max())?;
        if state.log_id != log_id {
            return Err(Ended::Retake("this is another cluster".into()));
        }
        let mut parts = Vec::new();
        for (claim, position) in claimed {
            if let Some(position) = self.settle(connection, &claim, &state, position)? {
                parts.push(Part {
                    partition: claim.partition,
                    next: position.next_offset,
                    position,
                    reader: None,
                    damaged: false,
                    waiting_since: None,
                    looked_at: clock::now(),
                });
            }
        }
        failpoint::reach(failpoint::Point::InAssign);
        Ok(parts)
    }

    pub(super) fn claim(&self, log_id: &str, partition: i32) -> Claim {
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
                    // To a connection that found no file there is none, even when one was made.
                    connection.close();
                    self.pause(HOUSEKEEPING)?;
                }
            }
        }
    }

    /// The topic as it is now, with at least that partition; waits for Kafka as long as it takes.
    fn await_topic(&self, partition: Option<i32>) -> Result<TopicState, Ended> {
        loop {
            match self.context.log.topic(&self.context.settings.topics.orders) {
                Ok(state) => {
                    let known = partition.is_none_or(|partition| {
                        usize::try_from(partition).is_ok_and(|at| at < state.highs.len())
                    });
                    if known {
                        return Ok(state);
                    }
                }
                Err(error) => self.context.status.ill(status::LOG, error.to_string()),
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
            let range = self.range(claim.partition)?;
            let topic_id = &state.topic_id;
            let Some(decision) = self.decide(claim, topic_id, range, position.as_ref())? else {
                return Ok(None);
            };
            match (decision, position) {
                (Decision::Continue { .. }, found) => return Ok(found),
                (Decision::Settle { settlement, why }, found) => {
                    let settled = connection
                        .persist(&name, |store| store.commit_start(claim, &settlement))?;
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
                (unread @ (Decision::Stop { .. } | Decision::Wait), _) => {
                    self.tell_unread(claim.partition, &unread);
                    return Ok(None);
                }
            }
        }
    }

    /// Says why a partition is not read.
    pub(super) fn tell_unread(&self, partition: i32, why: &Decision) {
        let detail = match why {
            Decision::Stop { gap } => format!(
                "stopped: offsets {}-{} were deleted before they were read; to go on without \
                 them: orders consume --accept-gap {gap}",
                gap.from, gap.to
            ),
            Decision::Wait => {
                "the position is past the end of the log; waiting a minute for the log".into()
            }
            Decision::Continue { .. } | Decision::Settle { .. } => return,
        };
        self.context
            .status
            .ill(&status::partition(partition), detail);
    }

    /// Says that a partition is not read past a batch. The others go on.
    pub(super) fn tell_damaged(&self, partition: i32, reason: &str) {
        self.context.status.ill(
            &status::partition(partition),
            format!("a batch is damaged, not reading past it: {reason}"),
        );
    }

    /// `None`, and told, where the record that the decision depends on lies in a damaged batch.
    pub(super) fn decide(
        &self,
        claim: &Claim,
        topic_id: &TopicId,
        range: OffsetRange,
        position: Option<&Position>,
    ) -> Result<Option<Decision>, Ended> {
        let tail = match position {
            Some(position) if take::needs_tail_check(Some(position), topic_id, range) => {
                match self.check_tail(position, range.low) {
                    Err(Ended::Corrupt(reason)) => {
                        self.tell_damaged(claim.partition, &reason);
                        return Ok(None);
                    }
                    checked => checked?,
                }
            }
            _ => TailCheck::Gone,
        };
        let beyond = position.is_some_and(|position| position.next_offset > range.high);
        let beyond_end_for = self.context.beyond_end_for(claim.partition, beyond);
        let decision = take::decide(&Facts {
            topic: &self.context.settings.topics.orders,
            partition: claim.partition,
            position,
            topic_id,
            range,
            tail,
            is_truncated: beyond_end_for >= timeouts().truncation,
            accepted: &self.context.settings.accepted_gaps,
        });
        Ok(Some(decision))
    }

    /// Whether the log still is what it was up to the position: the last record applied stands at
    /// its offset, and none stands where there was none behind it.
    fn check_tail(&self, position: &Position, low: i64) -> Result<TailCheck, Ended> {
        let last = position.last_applied.as_ref();
        let seen = match last.filter(|last| last.offset >= low) {
            Some(last) => self.look_at_tail(position.partition, last)?,
            None => TailCheck::Gone,
        };
        let behind = last.map_or(low, |last| low.max(last.offset + 1));
        if seen != TailCheck::Different && behind < position.next_offset {
            // Markers and compacted records were passed here. A log that was put in this one's
            // place may agree on the tail and have records where these were.
            let found = self.read_from(position.partition, behind)?;
            if matches!(found, ReadBack::Record(record) if record.offset < position.next_offset) {
                return Ok(TailCheck::Different);
            }
        }
        Ok(seen)
    }

    fn look_at_tail(&self, partition: i32, last: &LastApplied) -> Result<TailCheck, Ended> {
        Ok(match self.read_from(partition, last.offset)? {
            ReadBack::Record(record) if record.offset == last.offset => {
                if LastApplied::of(&record) == *last {
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
}
