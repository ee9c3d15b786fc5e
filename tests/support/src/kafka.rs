//! The test's own Kafka client: writes raw records, reads whole topics, creates, grows and deletes topics.
//!
//! It shares only the library with the client of the program: a test reads what any other program
//! would read.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use orders::pipeline::PartitionOffset;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::orders::order_version;
use crate::{TIMEOUT, eventually_ok, wait_until};

/// A record to write. The default has no key and no value, and the client chooses the partition.
#[derive(Clone, Debug, Default)]
pub struct RawRecord {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

impl RawRecord {
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> RawRecord {
        RawRecord {
            key: Some(key.into()),
            value: Some(value.into()),
            ..RawRecord::default()
        }
    }

    /// The first version of an order.
    pub fn order(uid: &str) -> RawRecord {
        RawRecord::version(uid, 1)
    }

    /// That version of an order.
    pub fn version(uid: &str, version: u32) -> RawRecord {
        RawRecord::new(uid, order_version(uid, version).to_string())
    }

    /// A record that has neither a value nor anything else but that key.
    pub fn tombstone(key: &str) -> RawRecord {
        RawRecord {
            key: Some(key.into()),
            ..RawRecord::default()
        }
    }

    pub fn to(self, partition: i32) -> RawRecord {
        RawRecord {
            partition: Some(partition),
            ..self
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> RawRecord {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Records that are no orders, as another program may write them: some in each partition.
pub fn malformed_records(partitions: i32) -> Vec<RawRecord> {
    let of_one = [
        RawRecord::new("malformed", "not an order"),
        RawRecord::new("malformed", "{\"order_uid\":\"no-date\"}"),
        RawRecord::tombstone("malformed"),
    ];
    let all = (0..partitions).flat_map(|partition| of_one.clone().map(|it| it.to(partition)));
    all.collect()
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    Commit,
    Abort,
}

/// A record in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: HashMap<String, Vec<u8>>,
    pub timestamp: Option<i64>,
}

impl StoredRecord {
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

type Delivery = Result<PartitionOffset, String>;

struct Acks;

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Sender<Delivery>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        let delivered = match result {
            Ok(message) => Ok(PartitionOffset::new(message.partition(), message.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        let _ = sender.send(delivered);
    }
}

/// A connection to one cluster.
pub struct Kafka {
    brokers: String,
    client: BaseConsumer,
}

impl Kafka {
    pub fn new(brokers: &str) -> Kafka {
        let client = settings(brokers)
            .create()
            .expect("the client's settings are valid");
        Kafka {
            brokers: brokers.to_owned(),
            client,
        }
    }

    /// Writes records in order, each acknowledged by all replicas; returns their offsets.
    pub fn produce(&self, topic: &str, records: &[RawRecord]) -> Vec<PartitionOffset> {
        let acknowledged = |it: Delivery| it.expect("the record is acknowledged");
        let delivered = self.deliver(topic, records).into_iter();
        delivered.map(acknowledged).collect()
    }

    /// Writes a record that the broker may refuse; returns its offset, or the broker's reason.
    pub fn try_produce(&self, topic: &str, record: &RawRecord) -> Result<PartitionOffset, String> {
        self.deliver(topic, std::slice::from_ref(record)).remove(0)
    }

    fn deliver(&self, topic: &str, records: &[RawRecord]) -> Vec<Delivery> {
        let producer: ThreadedProducer<Acks> = settings(&self.brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "fnv1a_random")
            .set("message.max.bytes", "20000000")
            .set("queue.buffering.max.messages", "1000000")
            .create_with_context(Acks)
            .expect("the client's settings are valid");
        let (sender, delivered) = channel();
        for record in records {
            send(&producer, topic, record, &sender);
        }
        producer
            .flush(TIMEOUT)
            .expect("the records are acknowledged in time");
        drop(sender);
        delivered.iter().collect()
    }

    /// Writes records in one transaction; returns when its marker is in the log.
    pub fn produce_in_transaction(&self, topic: &str, records: &[RawRecord], end: TransactionEnd) {
        let producer: ThreadedProducer<Acks> = settings(&self.brokers)
            .set("transactional.id", format!("{topic}-writer"))
            .create_with_context(Acks)
            .expect("the client's settings are valid");
        producer
            .init_transactions(TIMEOUT)
            .expect("the coordinator answers");
        producer.begin_transaction().expect("none is open");
        let (sender, _) = channel();
        for record in records {
            send(&producer, topic, record, &sender);
        }
        producer
            .flush(TIMEOUT)
            .expect("the records are acknowledged in time");
        match end {
            TransactionEnd::Commit => producer.commit_transaction(TIMEOUT),
            TransactionEnd::Abort => producer.abort_transaction(TIMEOUT),
        }
        .expect("the transaction ends in time");
    }

    /// Every committed record, partition by partition, from the earliest offset to the current end.
    pub fn read_all(&self, topic: &str) -> Vec<StoredRecord> {
        let consumer: BaseConsumer = settings(&self.brokers)
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("the client's settings are valid");
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
        let (mut records, deadline) = (Vec::new(), Instant::now() + TIMEOUT * 2);
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
                // The last offset is a transaction marker, not a record.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    left.remove(&partition);
                }
                Some(Err(_)) | None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Low and high watermark of each partition.
    pub fn ranges(&self, topic: &str) -> Vec<(i64, i64)> {
        let range = |partition| {
            let what = format!("the range of `{topic}`/{partition}");
            let timeout = Duration::from_secs(5);
            let fetch = || self.client.fetch_watermarks(topic, partition, timeout);
            eventually_ok(what, TIMEOUT, fetch)
        };
        (0..self.partitions(topic)).map(range).collect()
    }

    /// The end offset of each partition.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        let ranges = self.ranges(topic).into_iter();
        ranges.map(|(_, high)| high).collect()
    }

    /// The number of partitions, 0 where the topic does not exist.
    pub fn partitions(&self, topic: &str) -> i32 {
        let metadata = eventually_ok("metadata", TIMEOUT, || {
            let timeout = Duration::from_secs(5);
            self.client.fetch_metadata(Some(topic), timeout)
        });
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        i32::try_from(found.map_or(0, |found| found.partitions().len()))
            .expect("partitions are few")
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        finish_one(self.admin().create_topics([&topic], &options()));
        self.wait_for_partitions(name, partitions);
    }

    /// Returns when no metadata response has the topic any more.
    pub fn delete_topic(&self, name: &str) {
        finish_one(self.admin().delete_topics(&[name], &options()));
        self.wait_for_partitions(name, 0);
    }

    pub fn grow_topic(&self, name: &str, partitions: usize) {
        let more = NewPartitions::new(name, partitions);
        finish_one(self.admin().create_partitions([&more], &options()));
        self.wait_for_partitions(name, i32::try_from(partitions).expect("partitions are few"));
    }

    /// Sets one configuration of a topic; all others return to the broker's defaults.
    pub fn configure_topic(&self, name: &str, key: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        finish_one(self.admin().alter_configs([&change], &options()));
    }

    /// Deletes all records below `before`, as retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))
            .expect("the offset is valid");
        finish(self.admin().delete_records(&list, &options())).expect("the records can be deleted");
    }

    fn wait_for_partitions(&self, topic: &str, wanted: i32) {
        let what = format!("`{topic}` to have {wanted} partitions");
        wait_until(what, TIMEOUT, || self.partitions(topic) == wanted);
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        settings(&self.brokers)
            .create()
            .expect("the client's settings are valid")
    }
}

fn send(
    producer: &ThreadedProducer<Acks>,
    topic: &str,
    record: &RawRecord,
    sender: &Sender<Delivery>,
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
        panic!("the client did not accept a record: {error}");
    }
}

fn stored(message: &impl Message) -> StoredRecord {
    let headers = message.headers().map(|headers| {
        let value = |value: Option<&[u8]>| value.unwrap_or_default().to_vec();
        let each = headers.iter();
        each.map(|header| (header.key.to_owned(), value(header.value)))
            .collect()
    });
    StoredRecord {
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
        // The client requires a group id even where it joins no group.
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("reconnect.backoff.max.ms", "500")
        .set("log_level", "0");
    settings
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT))
}

/// Waits until the broker has done the one thing that it is asked to do.
fn finish_one<T: Debug, E: Debug>(future: impl Future<Output = KafkaResult<Vec<Result<T, E>>>>) {
    let mut results = finish(future).expect("the broker answers");
    results.remove(0).expect("the broker does it");
}

/// Waits for a future of the admin client, which a thread of the client drives.
fn finish<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made")
        .block_on(future)
}
