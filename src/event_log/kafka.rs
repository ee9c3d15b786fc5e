//! The event log on Apache Kafka.
//!
//! The parts: `clients` (settings that all clients share), `producers`, `producer_selector` and
//! `delivery_reports` (append), `queries` and `describe_topics` (ids, ends, the record at an offset),
//! `membership` and `follower` (reading), `committed` (the offsets of a group), `topic_admin`, `connectivity` and `broker_watchdog`
//! (what keeps every client connected), `errors` (what the client's errors mean).
//!
//! # Invariants
//!
//! A client that is waiting in a fetch completes a query up to half a second late, so queries have a
//! client of their own, and a record at an exact offset is read by a fresh one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use self::clients::Clients;
use self::follower::KafkaFollower;
use self::membership::KafkaMembership;
use self::producers::Producers;
use self::queries::Queries;
use super::{
    Ack, AppendError, Committed, ConsumerGroups, Durability, EventLog, Follower, LogError,
    Membership, NewRecord, OffsetRange, ReadBack, TopicState,
};
use crate::pipeline::{PartitionOffset, TopicId};
use crate::timeouts::timeouts;

mod broker_watchdog;
mod change_topics;
mod clients;
mod committed;
mod connectivity;
mod delivery;
mod delivery_reports;
mod describe_topics;
mod errors;
mod follower;
mod membership;
mod message_status;
mod producer_selector;
mod producers;
mod queries;
#[cfg(test)]
mod tests;
mod topic_admin;

/// How long a request to the brokers may take.
fn request_timeout() -> Duration {
    timeouts().request
}

/// How long a change of topics may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A Kafka cluster as an event log; shared by all threads of a process.
pub struct KafkaLog {
    clients: Arc<Clients>,
    queries: Queries,
    producers: Producers,
}

impl KafkaLog {
    /// A log on `brokers` (`host:port,…`) with librdkafka properties on top of ours. Delivery reports
    /// are handled on `runtime`, or by threads without one. Connects in the background: an
    /// unreachable broker is not an error here, a wrong property is.
    pub fn open(
        brokers: &str,
        properties: &[(String, String)],
        runtime: Option<&Handle>,
    ) -> Result<KafkaLog, LogError> {
        let clients = Arc::new(Clients::new(brokers, properties));
        Ok(KafkaLog {
            queries: Queries::new(&clients)?,
            producers: Producers::new(&clients, runtime),
            clients,
        })
    }
}

impl ConsumerGroups for KafkaLog {
    fn members(&self, group: &str) -> Result<usize, LogError> {
        self.queries.members(group)
    }
}

impl EventLog for KafkaLog {
    fn append(&self, durability: Durability, record: NewRecord<'_>) -> Result<Ack, AppendError> {
        self.producers.append(durability, record)
    }

    fn warm_up(&self) -> Result<(), LogError> {
        self.producers.warm_up()
    }

    fn flush(&self, timeout: Duration) {
        self.producers.flush(timeout);
    }

    fn topic(&self, topic: &str) -> Result<TopicState, LogError> {
        self.queries.topic(topic)
    }

    fn topic_id(&self, topic: &str) -> Result<TopicId, LogError> {
        Ok(self.queries.describe(topic)?.id)
    }

    fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError> {
        self.queries.range(topic, partition)
    }

    fn offsets_since(&self, topic: &str, since_ms: i64) -> Result<Vec<i64>, LogError> {
        self.queries.offsets_since(topic, since_ms)
    }

    fn read_from(&self, topic: &str, start: PartitionOffset) -> Result<ReadBack, LogError> {
        queries::read_from(&self.clients, topic, start)
    }

    fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, Committed>, LogError> {
        let partitions = self.queries.describe(topic)?.partitions;
        committed::read(&self.clients, group, topic, partitions)
    }

    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        let member = KafkaMembership::join(&self.clients, group, topic)?;
        Ok(Box::new(member))
    }

    fn follow(
        &self,
        topic: &str,
        starts: &[PartitionOffset],
        max_delay: Duration,
    ) -> Result<Box<dyn Follower>, LogError> {
        let follower = KafkaFollower::open(&self.clients, topic, starts, max_delay)?;
        Ok(Box::new(follower))
    }
}
