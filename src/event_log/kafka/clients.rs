//! The clients of one cluster: the settings they share, and how records and offsets pass between
//! librdkafka and this program.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::broker_watchdog::BrokerWatchdog;
use super::connectivity::{KafkaConnectivity, KafkaContext};
use super::errors::log_error;
use crate::event_log::LogError;
use crate::pipeline::{PartitionOffset, Record};
use crate::timeouts::timeouts;

/// Makes the clients of one cluster.
pub(super) struct Clients {
    config: ClientConfig,
    pub(super) brokers: String,
    pub(super) connectivity: Arc<KafkaConnectivity>,
}

impl Clients {
    /// With librdkafka properties on top of ours.
    pub(super) fn new(brokers: &str, properties: &[(String, String)]) -> Clients {
        let metadata_ms = timeouts().metadata.as_millis();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", "orders")
            .set("allow.auto.create.topics", "false")
            .set("socket.keepalive.enable", "true")
            // The default back-off adds up to 10 s to every recovery.
            .set("reconnect.backoff.max.ms", "1000")
            .set(
                "topic.metadata.refresh.interval.ms",
                metadata_ms.to_string(),
            )
            .set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in properties {
            config.set(key, value);
        }
        Clients {
            config,
            brokers: brokers.into(),
            connectivity: Arc::default(),
        }
    }

    /// The settings of every client.
    pub(super) fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// The context of one more client, with its own part of the state.
    pub(super) fn context<T>(&self, state: T) -> KafkaContext<T> {
        KafkaContext {
            connectivity: self.connectivity.clone(),
            watchdog: BrokerWatchdog::new(&self.brokers),
            logged: AtomicBool::new(false),
            state,
        }
    }

    /// A client that lists offsets and never fetches, so that brokers respond to it at once.
    pub(super) fn query_client(&self) -> KafkaResult<BaseConsumer<KafkaContext>> {
        self.config()
            .set("isolation.level", "read_uncommitted")
            .create_with_context(self.context(()))
    }

    /// The settings of a client that reads records. `defaults` do not replace properties that the user
    /// has set.
    pub(super) fn reader_config(&self, group: &str, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("fetch.queue.backoff.ms", "20");
        for (key, value) in defaults {
            if self.config.get(key).is_none() {
                config.set(*key, *value);
            }
        }
        config
    }
}

/// Copies a record out of the client, so that nothing pins its fetch buffers.
pub(super) fn to_record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| {
                let value = Bytes::copy_from_slice(header.value.unwrap_or_default());
                (header.key.into(), value)
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
pub(super) fn offset_list(
    topic: &str,
    offsets: &[PartitionOffset],
) -> Result<TopicPartitionList, LogError> {
    let offsets = offsets.iter();
    partition_list(
        topic,
        offsets.map(|at| (at.partition, Offset::Offset(at.offset))),
    )
}

/// A partition list with one offset, or `Beginning` or `End`, for each partition.
pub(super) fn partition_list(
    topic: &str,
    offsets: impl ExactSizeIterator<Item = (i32, Offset)>,
) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition, offset)
            .map_err(|error| log_error(&format!("address topic `{topic}`"), &error))?;
    }
    Ok(list)
}

/// Closes a client on a thread of its own: closing takes up to 100 ms.
pub(super) fn drop_in_background(client: impl Send + 'static) {
    std::thread::spawn(move || drop(client));
}
