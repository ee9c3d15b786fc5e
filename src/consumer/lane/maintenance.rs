//! What a lane does once a second: it looks for a recreated topic, trailing transaction markers, a
//! client that delivers nothing, and partitions that were left out.

use std::time::Duration;

use super::control::LaneExit;
use super::retrying_store::RetryingStore;
use super::{Lane, LanePartition};
use crate::consumer::batch;
use crate::consumer::clock;
use crate::consumer::status;
use crate::event_log::{LogError, ReadBack, TopicState};
use crate::pipeline::PartitionOffset;
use crate::store::{OrderStore, RejectionWindow};

/// A partition that has records beyond its position but gives none for this long is checked.
const SILENCE: Duration = Duration::from_secs(3);

impl Lane {
    /// Exits where the partitions must be acquired again.
    pub(super) fn maintain(
        &self,
        store: &mut RetryingStore,
        partitions: &mut [LanePartition],
    ) -> Result<(), LaneExit> {
        let Some(topic) = self.context.observed.topic() else {
            return Ok(());
        };
        if self.context.observed.recoveries() != self.recoveries {
            // It may be an older copy now. No rebalance happens if its group knows this member, and a
            // database that was restored is filled again from its own position.
            let why = self.context.observed.last_recovery();
            return Err(LaneExit::Reacquire(why));
        }
        for partition in partitions.iter_mut() {
            partition.check_topic_id(&topic.topic_id)?;
            let number = partition.partition;
            let Some(high) = topic.highs.get(number as usize) else {
                continue;
            };
            let lag = high - partition.next;
            if partition.is_corrupt {
                self.check_corrupt(partition)?;
            } else if lag > 0 && partition.idle_for() > SILENCE {
                self.check_silent(store, partition)?;
            }
        }
        if partitions.len() < self.partitions.len() {
            self.check_unread(store, partitions, &topic)?;
        }
        Ok(())
    }

    /// A corrupt batch may have been repaired, or corrupted only on its way. One attempt each time:
    /// the other partitions of this lane must not wait for an unavailable broker.
    fn check_corrupt(&self, partition: &LanePartition) -> Result<(), LaneExit> {
        let topic = &self.context.settings.topics.orders;
        let number = partition.partition;
        let next = PartitionOffset::new(number, partition.next);
        match self.context.log.read_from(topic, next) {
            Ok(_) => Err(readable_again(number)),
            Err(LogError::NotFound(reason)) => Err(LaneExit::Reacquire(reason)),
            Err(LogError::Unavailable(_)) => Ok(()),
            Err(LogError::Refused(reason)) => {
                self.report_corrupt(number, &reason);
                Ok(())
            }
        }
    }

    fn check_silent(
        &self,
        store: &mut RetryingStore,
        partition: &mut LanePartition,
    ) -> Result<(), LaneExit> {
        if clock::now() - partition.checked_at < SILENCE {
            return Ok(());
        }
        partition.checked_at = clock::now();
        let (number, next) = (partition.partition, partition.next);
        match self.read_from(PartitionOffset::new(number, next))? {
            // All below the committed end is decided and holds no record: markers. Moving past them
            // is what makes a lookup "caught up".
            ReadBack::End(end) if end > next => {
                self.check_hole(partition)?;
                let batch = batch::empty(&self.target(partition), next, end);
                let mut window = RejectionWindow::default();
                let condition = status::partition(number);
                if store.apply(&condition, &batch, &mut window)?.is_some() {
                    partition.next = end;
                    partition.progress.set_committed(end);
                    self.context.status.add_hole(next, end);
                    self.context.set_applied(number, end);
                }
                Ok(())
            }
            ReadBack::Record(record) if partition.idle_for() > 3 * SILENCE => {
                Err(LaneExit::Stalled(format!(
                    "the record at {} is there and was not delivered",
                    record.at()
                )))
            }
            ReadBack::End(_) | ReadBack::Record(_) => Ok(()),
        }
    }

    /// Decides again about partitions that were left unread, without acquiring them.
    fn check_unread(
        &self,
        store: &mut RetryingStore,
        partitions: &[LanePartition],
        topic: &TopicState,
    ) -> Result<(), LaneExit> {
        for number in &self.partitions {
            if partitions.iter().any(|it| it.partition == *number) {
                continue;
            }
            let condition = status::partition(*number);
            let read = |store: &mut dyn OrderStore| store.position(&topic.log_id, *number);
            let position = store.call(&condition, read)?;
            if let Some(position) = &position {
                self.context.progress.of(*number).set_position(position);
            }
            let name = &self.context.settings.topics.orders;
            // One attempt: the other partitions of this lane must not wait for this one's broker.
            let Ok(range) = self.context.log.range(name, *number) else {
                continue;
            };
            let accepted = self.accepted_gaps(store, range, position.as_ref())?;
            // Reports the reason again: an outage may have been reported in its place.
            let facts = (&topic.topic_id, range, position.as_ref());
            let decision = self.decide(*number, facts, &accepted)?;
            if decision.is_some() {
                return Err(readable_again(*number));
            }
        }
        Ok(())
    }
}

fn readable_again(partition: i32) -> LaneExit {
    LaneExit::Reacquire(format!("partition {partition} can be read again"))
}
