//! A test's own hands on Kafka: raw records in, whole topics out, topics made, grown and deleted.
//!
//! It shares nothing with the program's client but the library: what a test reads here is what any
//! other program would see.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::{PATIENCE, eventually};

/// A record to write; `Default` is an empty one without a key, on a partition the client picks.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

impl Outgoing {
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Outgoing {
        Outgoing {
            key: Some(key.into()),
            value: Some(value.into()),
            ..Outgoing::default()
        }
    }

    pub fn to(self, partition: i32) -> Outgoing {
        Outgoing {
            partition: Some(partition),
            ..self
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Outgoing {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Commit,
    Abort,
}

/// A record as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: HashMap<String, Vec<u8>>,
    pub timestamp: Option<i64>,
}

impl Stored {
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

type Placed = Result<(i32, i64), String>;

struct Acks;

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Sender<Placed>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        let placed = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        let _ = sender.send(placed);
    }
}

/// A connection to one cluster.
pub struct Kafka {
    brokers: String,
    asker: BaseConsumer,
}

impl Kafka {
    pub fn new(brokers: &str) -> Kafka {
        let asker = settings(brokers)
            .create()
            .expect("the client's settings are right");
        Kafka {
            brokers: brokers.to_owned(),
            asker,
        }
    }

    /// Writes records in order, each acknowledged by all replicas; returns where they are.
    pub fn produce(&self, topic: &str, records: &[Outgoing]) -> Vec<(i32, i64)> {
        let producer: ThreadedProducer<Acks> = settings(&self.brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "fnv1a_random")
            .set("message.max.bytes", "20000000")
            .set("queue.buffering.max.messages", "1000000")
            .create_with_context(Acks)
            .expect("the client's settings are right");
        let (sender, placed) = channel();
        for record in records {
            send(&producer, topic, record, &sender);
        }
        producer
            .flush(PATIENCE)
            .expect("the records are acknowledged in time");
        drop(sender);
        let places: Result<Vec<_>, String> = placed.iter().collect();
        places.unwrap_or_else(|error| panic!("a record was not acknowledged: {error}"))
    }

    /// Writes records in one Kafka transaction; returns when its marker is in the log.
    pub fn produce_in_transaction(&self, topic: &str, records: &[Outgoing], ending: Ending) {
        let producer: ThreadedProducer<Acks> = settings(&self.brokers)
            .set("transactional.id", format!("{topic}-writer"))
            .create_with_context(Acks)
            .expect("the client's settings are right");
        producer
            .init_transactions(PATIENCE)
            .expect("the coordinator answers");
        producer.begin_transaction().expect("none is open");
        let (sender, _) = channel();
        for record in records {
            send(&producer, topic, record, &sender);
        }
        producer
            .flush(PATIENCE)
            .expect("the records are acknowledged in time");
        match ending {
            Ending::Commit => producer.commit_transaction(PATIENCE),
            Ending::Abort => producer.abort_transaction(PATIENCE),
        }
        .expect("the transaction ends in time");
    }

    /// Every committed record, partition by partition, from the first that is left to the ends of
    /// this moment.
    pub fn read_all(&self, topic: &str) -> Vec<Stored> {
        let consumer: BaseConsumer = settings(&self.brokers)
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("the client's settings are right");
        let mut list = TopicPartitionList::new();
        let mut left: HashMap<i32, i64> = HashMap::new();
        for (partition, (low, high)) in self.ranges(topic).into_iter().enumerate() {
            let partition = i32::try_from(partition).expect("partitions are few");
            list.add_partition_offset(topic, partition, Offset::Offset(low))
                .expect("the offset is valid");
            if low < high {
                left.insert(partition, high);
            }
        }
        consumer
            .assign(&list)
            .expect("the partitions can be assigned");
        let (mut records, deadline) = (Vec::new(), Instant::now() + PATIENCE * 2);
        while !left.is_empty() {
            assert!(
                Instant::now() < deadline,
                "`{topic}` was not read in time; left: {left:?}"
            );
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    if left
                        .get(&message.partition())
                        .is_some_and(|end| message.offset() + 1 >= *end)
                    {
                        left.remove(&message.partition());
                    }
                    records.push(stored(&message));
                }
                // Ends with transaction markers: there is no record at the last offset.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    left.remove(&partition);
                }
                Some(Err(_)) | None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Low and high of each partition.
    pub fn ranges(&self, topic: &str) -> Vec<(i64, i64)> {
        let partitions = self.partitions(topic);
        (0..partitions)
            .map(|partition| {
                eventually(
                    format!("the range of `{topic}`/{partition}"),
                    PATIENCE,
                    || {
                        self.asker
                            .fetch_watermarks(topic, partition, Duration::from_secs(5))
                            .ok()
                    },
                )
            })
            .collect()
    }

    /// The next offset of each partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        self.ranges(topic)
            .into_iter()
            .map(|(_, high)| high)
            .collect()
    }

    /// How many partitions there are; 0 where there is no such topic.
    pub fn partitions(&self, topic: &str) -> i32 {
        let metadata = eventually("metadata", PATIENCE, || {
            self.asker
                .fetch_metadata(Some(topic), Duration::from_secs(5))
                .ok()
        });
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        i32::try_from(found.map_or(0, |found| found.partitions().len()))
            .expect("partitions are few")
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = finish(self.admin().create_topics([&topic], &options()));
        made.expect("the broker answers")[0]
            .as_ref()
            .expect("the topic can be made");
        self.wait_for_partitions(name, partitions);
    }

    /// Returns when the topic is gone for everyone who asks.
    pub fn delete_topic(&self, name: &str) {
        let gone = finish(self.admin().delete_topics(&[name], &options()));
        gone.expect("the broker answers")[0]
            .as_ref()
            .expect("the topic can be deleted");
        self.wait_for_partitions(name, 0);
    }

    pub fn grow_topic(&self, name: &str, partitions: usize) {
        let grown = finish(
            self.admin()
                .create_partitions([&NewPartitions::new(name, partitions)], &options()),
        );
        grown.expect("the broker answers")[0]
            .as_ref()
            .expect("the topic can be grown");
        self.wait_for_partitions(name, i32::try_from(partitions).expect("partitions are few"));
    }

    /// Gives a topic this one setting; all others go back to the broker's own.
    pub fn configure_topic(&self, name: &str, key: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        let changed = finish(self.admin().alter_configs([&change], &options()));
        changed.expect("the broker answers")[0]
            .as_ref()
            .expect("the topic can be configured");
    }

    /// Deletes everything below `before`, as retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))
            .expect("the offset is valid");
        finish(self.admin().delete_records(&list, &options())).expect("the records can be deleted");
    }

    fn wait_for_partitions(&self, topic: &str, wanted: i32) {
        eventually(
            format!("`{topic}` has {wanted} partitions"),
            PATIENCE,
            || (self.partitions(topic) == wanted).then_some(()),
        );
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        settings(&self.brokers)
            .create()
            .expect("the client's settings are right")
    }
}

fn send(
    producer: &ThreadedProducer<Acks>,
    topic: &str,
    record: &Outgoing,
    sender: &Sender<Placed>,
) {
    let mut headers = OwnedHeaders::new();
    for (key, value) in &record.headers {
        headers = headers.insert(Header {
            key,
            value: Some(value),
        });
    }
    let mut base: BaseRecord<'_, [u8], [u8], _> =
        BaseRecord::with_opaque_to(topic, Box::new(sender.clone())).headers(headers);
    base.partition = record.partition;
    base.key = record.key.as_deref();
    base.payload = record.value.as_deref();
    base.timestamp = record.timestamp;
    if let Err((error, _)) = producer.send(base) {
        panic!("a record was not taken by the client: {error}");
    }
}

fn stored(message: &impl Message) -> Stored {
    let headers = message.headers().map(|headers| {
        let each = headers.iter().map(|header| {
            (
                header.key.to_owned(),
                header.value.unwrap_or_default().to_vec(),
            )
        });
        each.collect()
    });
    Stored {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
        timestamp: message.timestamp().to_millis(),
    }
}

fn settings(brokers: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers)
        // The client asks for one even where it joins no group.
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("reconnect.backoff.max.ms", "500")
        .set("log_level", "0");
    settings
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE))
}

/// The admin client's futures are driven by a thread of its own; this only waits.
fn finish<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made")
        .block_on(future)
}
