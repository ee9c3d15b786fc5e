//! Acquiring partitions: the owner goes onto the position row, the log is queried for the facts,
//! `acquire` decides, and the decision is committed before anything is read.

use super::control::LaneExit;
use super::retrying_store::RetryingStore;
use super::{Lane, LanePartition, MAINTENANCE_INTERVAL};
use crate::consumer::acquire::{self, AcceptedGap, Decision, Facts, LastAppliedCheck};
use crate::consumer::clock;
use crate::consumer::status;
use crate::event_log::{OffsetRange, ReadBack, TopicState};
use crate::failpoint;
use crate::migrations::{self, SchemaState};
use crate::pipeline::{LastApplied, PartitionOffset, TopicId};
use crate::store::{Claim, Position};
use crate::timeouts::timeouts;

impl Lane {
    /// Puts this owner on every partition and decides where each is read from. Those that must not
    /// be read are left out; maintenance decides about them again.
    pub(super) fn acquire_all(
        &self,
        store: &mut RetryingStore,
    ) -> Result<Vec<LanePartition>, LaneExit> {
        self.wait_for_migrations(store)?;
        let log_id = self.wait_for_topic(None)?.log_id;
        let mut claimed = Vec::new();
        for partition in &self.partitions {
            let claim = self.claim(&log_id, *partition);
            let condition = status::partition(*partition);
            let position = store.call(&condition, |store| store.acquire(&claim))?;
            if let Some(position) = &position {
                self.context.progress.of(*partition).set_acquired(position);
            }
            claimed.push((claim, position));
        }
        failpoint::reach(failpoint::Point::InAssign);
        // Former owners are fenced by now, so the positions do not move, and an end that is read
        // from here on is not below them.
        let topic = self.wait_for_topic(self.partitions.iter().copied().max())?;
        if topic.log_id != log_id {
            return Err(LaneExit::Reacquire("this is another cluster".into()));
        }
        let mut partitions = Vec::new();
        for (claim, position) in claimed {
            if let Some(position) = self.start(store, &claim, &topic, position)? {
                let progress = self.context.progress.of(claim.partition);
                progress.set_position(&position);
                partitions.push(LanePartition {
                    partition: claim.partition,
                    next: position.next_offset,
                    passed_from: position.next_offset,
                    position,
                    progress,
                    reader: None,
                    is_corrupt: false,
                    idle_since: None,
                    checked_at: clock::now(),
                });
            }
        }
        failpoint::reach(failpoint::Point::InAssign);
        Ok(partitions)
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

    fn wait_for_migrations(&self, store: &mut RetryingStore) -> Result<(), LaneExit> {
        loop {
            let history = store.call(status::DATABASE, |store| store.applied_migrations())?;
            let state = migrations::state(&history);
            if state == SchemaState::Current {
                return Ok(());
            }
            self.context.status.unhealthy(status::MIGRATIONS, state);
            // A connection that found no file stays without one, even when one is made.
            store.disconnect();
            self.control.pause(MAINTENANCE_INTERVAL)?;
        }
    }

    /// The topic as it is now, with at least that partition; waits for the log as long as it takes.
    fn wait_for_topic(&self, partition: Option<i32>) -> Result<TopicState, LaneExit> {
        let name = &self.context.settings.topics.orders;
        loop {
            let topic = self.wait_for_log(|| self.context.log.topic(name))?;
            let has_partition = partition.is_none_or(|partition| {
                usize::try_from(partition).is_ok_and(|at| at < topic.highs.len())
            });
            if has_partition {
                return Ok(topic);
            }
            self.control.pause(MAINTENANCE_INTERVAL)?;
        }
    }

    /// Decides where the partition is read from and commits the decision; `None` leaves it unread.
    fn start(
        &self,
        store: &mut RetryingStore,
        claim: &Claim,
        topic: &TopicState,
        mut position: Option<Position>,
    ) -> Result<Option<Position>, LaneExit> {
        let partition = claim.partition;
        loop {
            let range = self.range(partition)?;
            let accepted = self.accepted_gaps(store, range, position.as_ref())?;
            let facts = (&topic.topic_id, range, position.as_ref());
            let decision = self.decide(partition, facts, &accepted)?;
            let (start, why) = match decision {
                None => return Ok(None),
                Some(Decision::Continue) => return Ok(position),
                Some(Decision::Start { start, why }) => (start, why),
            };
            let condition = status::partition(partition);
            let started = store.call(&condition, |store| store.commit_start(claim, &start))?;
            tracing::info!(
                topic = %self.context.settings.topics.orders, partition,
                "partition starts at offset {}: {why}", started.next_offset
            );
            if position.is_none() || start.gap.is_none() {
                return Ok(Some(started));
            }
            // An accepted gap may end before the next unaccepted one.
            position = Some(started);
        }
    }

    /// The gaps that operators accept: by the flag, and in the database, which is asked only where
    /// there is a gap.
    pub(super) fn accepted_gaps(
        &self,
        store: &mut RetryingStore,
        range: OffsetRange,
        position: Option<&Position>,
    ) -> Result<Vec<AcceptedGap>, LaneExit> {
        let settings = &self.context.settings;
        let mut accepted = settings.accepted_gaps.clone();
        if let Some(position) = position.filter(|position| position.next_offset < range.low) {
            let condition = status::partition(position.partition);
            let gaps = store.call(&condition, |store| store.accepted_gaps(position))?;
            accepted.extend(gaps.into_iter().map(|(from, to)| AcceptedGap {
                topic: settings.topics.orders.clone(),
                partition: position.partition,
                from,
                to: to - 1,
            }));
        }
        Ok(accepted)
    }

    /// Decides where the partition is read from; `None`, and the reason reported, when it must not be
    /// read now.
    pub(super) fn decide(
        &self,
        partition: i32,
        (topic_id, range, position): (&TopicId, OffsetRange, Option<&Position>),
        accepted: &[AcceptedGap],
    ) -> Result<Option<Decision>, LaneExit> {
        let last_applied = match position {
            Some(position) if acquire::needs_last_applied_check(position, topic_id, range) => {
                match self.check_last_applied(position, range.low) {
                    Err(LaneExit::Corrupt(reason)) => {
                        self.report_corrupt(partition, &reason);
                        return Ok(None);
                    }
                    checked => checked?,
                }
            }
            _ => LastAppliedCheck::Gone,
        };
        let is_past_end = position.is_some_and(|position| position.next_offset > range.high);
        let past_end_for = self.context.past_end_for(partition, is_past_end);
        let decided = acquire::decide(&Facts {
            topic: &self.context.settings.topics.orders,
            partition,
            position,
            topic_id,
            range,
            last_applied,
            is_truncated: past_end_for >= timeouts().truncation,
            accepted,
        });
        if let Err(unread) = &decided {
            let condition = status::partition(partition);
            self.context.status.unhealthy(&condition, unread);
        }
        Ok(decided.ok())
    }

    /// Whether the log is still what it was up to the position: the last record applied is at its
    /// offset, and no record is where none was after it.
    fn check_last_applied(
        &self,
        position: &Position,
        low: i64,
    ) -> Result<LastAppliedCheck, LaneExit> {
        let last = position.last_applied.as_ref();
        let found = match last.filter(|last| last.offset >= low) {
            Some(last) => self.compare(position.partition, last)?,
            None => LastAppliedCheck::Gone,
        };
        let after = last.map_or(low, |last| low.max(last.offset + 1));
        if found != LastAppliedCheck::Different && after < position.next_offset {
            // Markers and compacted records were passed here. A log that took this one's place may
            // agree on the last record and have records where these were.
            let read = self.read_from(PartitionOffset::new(position.partition, after))?;
            if matches!(read, ReadBack::Record(record) if record.offset < position.next_offset) {
                return Ok(LastAppliedCheck::Different);
            }
        }
        Ok(found)
    }

    fn compare(&self, partition: i32, last: &LastApplied) -> Result<LastAppliedCheck, LaneExit> {
        Ok(
            match self.read_from(PartitionOffset::new(partition, last.offset))? {
                ReadBack::Record(record) if record.offset == last.offset => {
                    if LastApplied::of(&record) == *last {
                        LastAppliedCheck::Same
                    } else {
                        LastAppliedCheck::Different
                    }
                }
                // Compaction or retention deleted it.
                ReadBack::Record(_) => LastAppliedCheck::Gone,
                // It was readable when it was applied; replaying is harmless.
                ReadBack::End(_) => LastAppliedCheck::Different,
            },
        )
    }
}
