//! Reading as a member of a consumer group.
//!
//! The rebalance callback only records what happened; who reads what, and from where, is decided by
//! the thread that owns the membership once the store has responded. Partitions are split into
//! queues of their own, so that a slow store simply leaves records there: pause and resume would
//! cost a second each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::clients::{Clients, offset_list, to_record};
use super::committed;
use super::connectivity::{KafkaConnectivity, KafkaContext};
use super::errors::{log_error, log_fault};
use crate::event_log::{Fetched, LogError, LogFault, Membership, MembershipEvent, Reader};
use crate::pipeline::PartitionOffset;
use crate::sync::lock;

/// How long leaving a group may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// For properties that the user has not set.
const DEFAULTS: &[(&str, &str)] = &[
    // A kill -9 must not stall the group for the default 45 s.
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "2000"),
    ("max.poll.interval.ms", "60000"),
    // It counts for each split queue.
    ("queued.max.messages.kbytes", "2048"),
    ("queued.min.messages", "10000"),
];

pub(super) struct KafkaMembership {
    consumer: Arc<BaseConsumer<GroupContext>>,
    topic: String,
}

/// The context of a member; its state is the events that its callback has recorded.
type GroupContext = KafkaContext<Mutex<VecDeque<MembershipEvent>>>;

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let event = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let elements = partitions.elements();
            MembershipEvent::Assigned(elements.iter().map(|element| element.partition()).collect())
        } else {
            // The group waits for this call before it gives the partitions to others. Lanes may
            // still be storing what they hold: the fence in the store decides who is too late.
            if let Err(error) = consumer.unassign() {
                tracing::debug!("unassign: {error}");
            }
            MembershipEvent::Revoked
        };
        lock(&self.state).push_back(event);
    }
}

impl KafkaMembership {
    pub(super) fn join(
        clients: &Clients,
        group: &str,
        topic: &str,
    ) -> Result<KafkaMembership, LogError> {
        let failed = |error: KafkaError| log_error(&format!("join group `{group}`"), &error);
        let consumer: BaseConsumer<GroupContext> = clients
            .reader_config(group, DEFAULTS)
            .create_with_context(clients.context(Mutex::default()))
            .map_err(failed)?;
        consumer.subscribe(&[topic]).map_err(failed)?;
        Ok(KafkaMembership {
            consumer: Arc::new(consumer),
            topic: topic.into(),
        })
    }

    fn next_event(&self) -> Option<MembershipEvent> {
        lock(&self.consumer.context().state).pop_front()
    }
}

impl Membership for KafkaMembership {
    fn poll(&mut self, wait: Duration) -> Option<MembershipEvent> {
        if let Some(event) = self.next_event() {
            return Some(event);
        }
        let client = self.consumer.client();
        client.context().watchdog.check(client);
        match self.consumer.poll(wait) {
            // Every assigned partition has its own queue, so this record bypassed it. Dropping the
            // record would be a gap: everything is read again from the store's positions.
            Some(Ok(message)) => Some(MembershipEvent::Fault(LogFault::Reset(format!(
                "the record at {}/{} was delivered outside its partition's queue",
                message.partition(),
                message.offset()
            )))),
            Some(Err(KafkaError::PartitionEOF(_))) => None,
            Some(Err(error)) => Some(MembershipEvent::Fault(log_fault(&error))),
            None => self.next_event(),
        }
    }

    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<Vec<Box<dyn Reader>>, LogError> {
        let list = offset_list(&self.topic, starts)?;
        // Before `assign`: librdkafka leaves a queue alone that the application has split already
        // (`rd_kafka_toppar_op_fetch_start`). Split afterwards, a record that is fetched in between
        // would come out of the main queue, and the partitions would have to be assigned again.
        let readers = starts
            .iter()
            .map(|start| {
                let partition = start.partition;
                let queue = self.consumer.split_partition_queue(&self.topic, partition);
                let queue = queue.ok_or_else(|| {
                    LogError::NotFound(format!("could not read {}/{partition}", self.topic))
                })?;
                let reader = KafkaReader {
                    partition,
                    queue,
                    connectivity: self.consumer.context().connectivity.clone(),
                    event: None,
                };
                Ok(Box::new(reader) as Box<dyn Reader>)
            })
            .collect::<Result<_, LogError>>()?;
        self.consumer
            .assign(&list)
            .map_err(|error| log_error(&format!("read topic `{}`", self.topic), &error))?;
        Ok(readers)
    }

    fn applied(&self, positions: &[PartitionOffset]) {
        // Moves nothing: the store has these records already, and its own position is what counts.
        let committed = committed::list(&self.topic, positions)
            .map(|list| self.consumer.commit(&list, CommitMode::Async));
        if let Ok(Err(error)) = committed {
            tracing::debug!("group offsets were not committed: {error}");
        }
    }
}

impl Drop for KafkaMembership {
    /// Leaves the group now. A lane that was abandoned may keep its reader, and with it the client,
    /// for ever: the group must not wait for that.
    fn drop(&mut self) {
        if self.consumer.close_queue().is_err() {
            return;
        }
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        while !self.consumer.closed() && Instant::now() < deadline {
            self.consumer.poll(Duration::from_millis(20));
        }
    }
}

struct KafkaReader {
    partition: i32,
    queue: PartitionQueue<GroupContext>,
    connectivity: Arc<KafkaConnectivity>,
    /// What came after the records that were returned first.
    event: Option<Fetched>,
}

impl Reader for KafkaReader {
    fn partition(&self) -> i32 {
        self.partition
    }

    fn next(&mut self, max_records: usize, max_bytes: usize, wait: Duration) -> Fetched {
        if let Some(event) = self.event.take() {
            return event;
        }
        let mut event = None;
        let mut records = Vec::new();
        let mut bytes = 0;
        // Each record that was the last for a moment is followed by an end: only an end that nothing
        // follows is returned, and none of them ends a batch.
        let mut is_at_end = false;
        while records.len() < max_records && bytes < max_bytes {
            let timeout = if records.is_empty() && !is_at_end {
                wait
            } else {
                Duration::ZERO
            };
            match self.queue.poll(timeout) {
                None => break,
                Some(Ok(message)) => {
                    is_at_end = false;
                    bytes += message.payload_len() + message.key_len();
                    records.push(to_record(&message));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => is_at_end = true,
                Some(Err(error)) => {
                    event = Some(Fetched::Fault(log_fault(&error)));
                    break;
                }
            }
        }
        let event = event.or(is_at_end.then_some(Fetched::End));
        if records.is_empty() {
            return event.unwrap_or(Fetched::Nothing);
        }
        self.event = event;
        self.connectivity.responded();
        Fetched::Records(records)
    }

    fn on_ready(&mut self, notify: Box<dyn Fn() + Send + Sync>) {
        self.queue.set_nonempty_callback(notify);
    }
}
