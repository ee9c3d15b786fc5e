//! The log of a test's pipeline as any program may use it, for both engines.

use orders::pipeline::PartitionOffset;

use crate::kafka::{RawRecord, StoredRecord};
use crate::{EmbeddedLog, Kafka};

/// Kafka, or the files of the embedded log.
pub enum Log {
    Kafka(Kafka),
    Embedded(EmbeddedLog),
}

impl Log {
    /// Writes records in order, each acknowledged; returns where each is.
    pub fn produce(&self, topic: &str, records: &[RawRecord]) -> Vec<PartitionOffset> {
        match self {
            Log::Kafka(kafka) => kafka.produce(topic, records),
            Log::Embedded(log) => log.produce(topic, records),
        }
    }

    /// Every record, partition by partition, from the earliest offset.
    pub fn read_all(&self, topic: &str) -> Vec<StoredRecord> {
        match self {
            Log::Kafka(kafka) => kafka.read_all(topic),
            Log::Embedded(log) => log.read_all(topic),
        }
    }

    /// Sets one configuration of a topic.
    pub fn configure_topic(&self, topic: &str, key: &str, value: &str) {
        match self {
            Log::Kafka(kafka) => kafka.configure_topic(topic, key, value),
            Log::Embedded(log) => log.configure_topic(topic, key, value),
        }
    }

    /// The number of partitions, 0 where the topic does not exist.
    pub fn partitions(&self, topic: &str) -> i32 {
        match self {
            Log::Kafka(kafka) => kafka.partitions(topic),
            Log::Embedded(log) => log.partitions(topic),
        }
    }

    /// The end offset of each partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        match self {
            Log::Kafka(kafka) => kafka.ends(topic),
            Log::Embedded(log) => log.ends(topic),
        }
    }
}
