//! A test's own hands on the log of its pipeline, whichever engine that is.

use super::kafka::{Outgoing, Stored};
use super::{Files, Kafka};

/// Kafka, or the files of the embedded log.
pub enum Log {
    Kafka(Kafka),
    Embedded(Files),
}

impl Log {
    /// Writes records in order, each acknowledged; returns partition and offset of each.
    pub fn produce(&self, topic: &str, records: &[Outgoing]) -> Vec<(i32, i64)> {
        match self {
            Log::Kafka(kafka) => kafka.produce(topic, records),
            Log::Embedded(files) => files.produce(topic, records),
        }
    }

    /// Every record, partition by partition, from the first that is left.
    pub fn read_all(&self, topic: &str) -> Vec<Stored> {
        match self {
            Log::Kafka(kafka) => kafka.read_all(topic),
            Log::Embedded(files) => files.read_all(topic),
        }
    }

    /// Gives a topic this setting, as an operator would.
    pub fn configure_topic(&self, topic: &str, key: &str, value: &str) {
        match self {
            Log::Kafka(kafka) => kafka.configure_topic(topic, key, value),
            Log::Embedded(files) => files.configure_topic(topic, key, value),
        }
    }

    /// How many partitions there are; 0 where there is no such topic.
    pub fn partitions(&self, topic: &str) -> i32 {
        match self {
            Log::Kafka(kafka) => kafka.partitions(topic),
            Log::Embedded(files) => files.partitions(topic),
        }
    }

    /// The next offset of each partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        match self {
            Log::Kafka(kafka) => kafka.ends(topic),
            Log::Embedded(files) => files.ends(topic),
        }
    }
}
