//! The event log on Apache Kafka: the one file that names rdkafka.
//!
//! Owns how clients are configured and what their errors mean; the parts live in `kafka/`:
//! `producer`, `ways` and `delivery_reports` (append), `questions` (ends, states, records at an
//! offset), `topics` (making and describing them), `membership` and `follower` (reading), `lifeline`
//! (what keeps them all connected). The surprising thing: a client that is waiting in a fetch answers
//! questions up to half a second late, so questions have a client of their own (`helper`), and a
//! record at an exact offset is read by a fresh one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
#[cfg(test)]
use rdkafka::mocking::MockCluster;
#[cfg(test)]
use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
#[cfg(test)]
use rdkafka::types::RDKafkaApiKey;
use rdkafka::types::RDKafkaRespErr;

use super::*;
use crate::timeouts::timeouts;
use lifeline::Lifeline;

mod delivery_reports;
mod follower;
mod lifeline;
mod membership;
mod producer;
mod questions;
mod topic_ids;
mod topics;
mod ways;

/// How long a question to the broker may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A Kafka cluster as an event log; shared by all threads of a process.
pub struct KafkaLog {
    base: ClientConfig,
    brokers: String,
    connection: Arc<Connection>,
    /// Answers questions; never fetches records, so that it answers at once.
    helper: BaseConsumer<Connected>,
    partitions_seen: Mutex<BTreeMap<String, i32>>,
    producers: producer::Producers,
}

impl KafkaLog {
    /// A log on `brokers` (`host:port,…`) with librdkafka properties on top of ours. Connects in
    /// the background: a broker that is away is not an error here, a wrong property is.
    pub fn open(brokers: &str, properties: &[(String, String)]) -> Result<KafkaLog, LogError> {
        let metadata = timeouts().metadata.as_millis();
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", brokers)
            .set("client.id", "orders")
            .set("allow.auto.create.topics", "false")
            .set("socket.keepalive.enable", "true")
            // The default back-off adds up to 10 s to every recovery.
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", metadata.to_string())
            .set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in properties {
            base.set(key, value);
        }
        let connection = Arc::new(Connection::default());
        let helper = base
            .clone()
            .set("isolation.level", "read_uncommitted")
            .create_with_context(Connected::new(&connection, brokers))
            .map_err(|error| describe_error("set up the Kafka client", &error))?;
        Ok(KafkaLog {
            base,
            brokers: brokers.into(),
            connection,
            helper,
            partitions_seen: Mutex::default(),
            producers: producer::Producers::default(),
        })
    }

    /// The context of one more client.
    fn connected(&self) -> Connected {
        Connected::new(&self.connection, &self.brokers)
    }

    /// Settings of every client that reads records.
    fn reading(&self, group: &str) -> ClientConfig {
        let mut config = self.base.clone();
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("fetch.queue.backoff.ms", "20");
        config
    }
}

impl EventLog for KafkaLog {
    fn append(&self, durability: Durability, record: NewRecord<'_>) -> Result<Ack, AppendError> {
        self.hand_over(durability, record)
    }

    fn warm_up(&self, durability: Durability) -> Result<(), LogError> {
        self.warm_up_producers(durability)
    }

    fn flush(&self, within: Duration) {
        self.flush_producers(within);
    }

    fn topic(&self, topic: &str) -> Result<TopicState, LogError> {
        self.ask_topic(topic)
    }

    fn topic_id(&self, topic: &str) -> Result<TopicId, LogError> {
        Ok(self.identify(topic)?.id)
    }

    fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError> {
        let partitions = self.identify(topic)?.partitions;
        if !(0..partitions).contains(&partition) {
            let message = format!("topic `{topic}` has no partition {partition}");
            return Err(LogError::NotFound(message));
        }
        let ranges = self.ranges(topic, partition..partition + 1)?;
        Ok(ranges[0])
    }

    fn read_from(&self, topic: &str, partition: i32, offset: i64) -> Result<ReadBack, LogError> {
        self.read_back(topic, partition, offset)
    }

    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        Ok(Box::new(membership::KafkaMembership::join(
            self, group, topic,
        )?))
    }

    fn follow(
        &self,
        topic: &str,
        starts: &[PartitionOffset],
        gather: Duration,
    ) -> Result<Box<dyn Follower>, LogError> {
        Ok(Box::new(follower::KafkaFollower::open(
            self, topic, starts, gather,
        )?))
    }
}

/// Whether the cluster answers, as all clients of this process see it: one line when it changes.
/// Every acknowledgement and every record followed passes here, so it is two plain stores and loads.
struct Connection {
    opened: Instant,
    lost: AtomicBool,
    /// Milliseconds after `opened`; 0: not yet.
    answered_at_ms: AtomicU64,
}

/// Clients reconnect one after the other: the complaint of the last does not outweigh the answer
/// that the first has got. A lasting outage is complained of once a second.
const BELIEVED_FOR_MS: u64 = 3_000;

impl Default for Connection {
    fn default() -> Connection {
        Connection {
            opened: Instant::now(),
            lost: AtomicBool::new(false),
            answered_at_ms: AtomicU64::new(0),
        }
    }
}

impl Connection {
    fn failed(&self, reason: &str) {
        let answered_at_ms = self.answered_at_ms.load(Ordering::Relaxed);
        let answered_lately =
            answered_at_ms > 0 && self.now_ms() < answered_at_ms + BELIEVED_FOR_MS;
        if !answered_lately && !self.lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "kafka is unreachable, trying on");
        }
    }

    fn answered(&self) {
        self.answered_at_ms.store(self.now_ms(), Ordering::Relaxed);
        if self.lost.load(Ordering::Relaxed) && self.lost.swap(false, Ordering::Relaxed) {
            tracing::info!("kafka answers again");
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.max(1))
    }
}

/// The context of clients that need no callbacks but the connection's.
struct Connected {
    connection: Arc<Connection>,
    lifeline: Lifeline,
    /// A log line came since this was asked last.
    logged: AtomicBool,
}

impl Connected {
    fn new(connection: &Arc<Connection>, brokers: &str) -> Connected {
        Connected {
            connection: connection.clone(),
            lifeline: Lifeline::to(brokers),
            logged: AtomicBool::new(false),
        }
    }
}

impl ClientContext for Connected {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "librdkafka: {message}");
        self.logged.store(true, Ordering::Relaxed);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        note_error(&self.connection, &error, reason);
    }
}

impl ConsumerContext for Connected {}

/// Global errors are events of a client that goes on trying; they come about once a second, so only
/// the change of state is told.
fn note_error(connection: &Connection, error: &KafkaError, reason: &str) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AllBrokersDown) => connection.failed(reason),
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
            connection.failed(reason);
        }
        _ => tracing::debug!(reason, "kafka client: {error}"),
    }
}

/// What a failed call means, without any configuration value in the message (`ClientConfig` errors
/// carry them, and they may be passwords).
fn describe_error(attempt: &str, error: &KafkaError) -> LogError {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    let reason = match error {
        KafkaError::ClientConfig(_, description, key, _) => {
            return LogError::Refused(format!(
                "could not {attempt}: property `{key}`: {description}"
            ));
        }
        KafkaError::ClientCreation(reason) => {
            return LogError::Refused(format!("could not {attempt}: {reason}"));
        }
        _ => code.map_or_else(|| error.to_string(), |code| code.to_string()),
    };
    let message = format!("could not {attempt}: {reason}");
    match code {
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            LogError::NotFound(message)
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidArgument
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::InvalidTopic,
        ) => LogError::Refused(message),
        _ => LogError::Unavailable(message),
    }
}

/// What an error event of a reading client means. Corrupt is everything after which librdkafka has
/// moved past a batch without delivering it.
fn fault(error: &KafkaError) -> LogFault {
    use RDKafkaErrorCode as Code;
    let message = error.to_string();
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return LogFault::Fatal(message);
    }
    match error.rdkafka_error_code() {
        Some(
            Code::AutoOffsetReset
            | Code::OffsetOutOfRange
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId,
        ) => LogFault::Reset(message),
        Some(
            Code::BadMessage
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::BadCompression
            | Code::NotImplemented,
        ) => LogFault::Corrupt(message),
        Some(Code::Fatal | Code::Fenced) => LogFault::Fatal(message),
        _ => LogFault::Transient(message),
    }
}

/// Copies a record out of the client, so that nothing pins its fetch buffers.
fn owned(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| {
                (
                    header.key.into(),
                    Bytes::copy_from_slice(header.value.unwrap_or_default()),
                )
            })
            .collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers,
    }
}

/// A partition list with these offsets.
fn offset_list(topic: &str, offsets: &[PartitionOffset]) -> Result<TopicPartitionList, LogError> {
    let offsets = offsets.iter();
    partition_list(
        topic,
        offsets.map(|at| (at.partition, Offset::Offset(at.offset))),
    )
}

fn partition_list(
    topic: &str,
    offsets: impl ExactSizeIterator<Item = (i32, Offset)>,
) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition, offset)
            .map_err(|error| describe_error(&format!("address topic `{topic}`"), &error))?;
    }
    Ok(list)
}
