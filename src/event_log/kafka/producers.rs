//! Appending: librdkafka's producers, and the acknowledgement of each record.
//!
//! Nothing here blocks on the network: a full queue is refused at once, and the outcome of every
//! queued record is reported within `message.timeout.ms`. A timeout is "unknown" where the record was
//! sent: the broker may have it. There are two producers for durable records, see
//! `producer_selector`, and one for records that may be lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use tokio::runtime::Handle;

use super::clients::Clients;
use super::delivery::{Pending, append_error};
use super::delivery_reports::PolledProducer;
use super::errors::log_error;
use super::producer_selector::{InFlight, ProducerKind, ProducerSelector};
use super::request_timeout;
use crate::event_log::{Ack, AppendError, Durability, LogError, NewRecord};

/// librdkafka fails a record after this long; the API's deadline is longer by two seconds.
const MESSAGE_TIMEOUT_MS: &str = "5000";

/// A client with a fatal error refuses every record for ever; one that replaces it gets this long
/// before it is replaced in turn.
const REPLACEMENT_INTERVAL: Duration = Duration::from_secs(1);

/// What each producer has on top of the common settings.
const LOW_LATENCY: &[(&str, &str)] = &[("enable.idempotence", "true")];
const BATCHING: &[(&str, &str)] = &[("enable.idempotence", "true"), ("linger.ms", "2")];
const BEST_EFFORT: &[(&str, &str)] = &[("acks", "1")];

/// The producers of a log, each opened at its first use and again after a fatal error.
pub(super) struct Producers {
    clients: Arc<Clients>,
    pub(super) selector: Arc<ProducerSelector>,
    low_latency: Slot,
    batching: Slot,
    best_effort: Slot,
    /// Where delivery reports are handled; by threads without one.
    runtime: Option<Handle>,
}

struct Slot {
    settings: &'static [(&'static str, &'static str)],
    producer: RwLock<Option<Arc<KafkaProducer>>>,
}

impl Producers {
    pub(super) fn new(clients: &Arc<Clients>, runtime: Option<&Handle>) -> Producers {
        Producers {
            clients: clients.clone(),
            selector: Arc::default(),
            low_latency: Slot::new(LOW_LATENCY),
            batching: Slot::new(BATCHING),
            best_effort: Slot::new(BEST_EFFORT),
            runtime: runtime.cloned(),
        }
    }

    /// An error means that no client has the record.
    pub(super) fn append(
        &self,
        durability: Durability,
        record: NewRecord<'_>,
    ) -> Result<Ack, AppendError> {
        let in_flight = match durability {
            Durability::Durable => Some(self.selector.select(record.key)),
            Durability::BestEffort => None,
        };
        let slot = match in_flight.map(|record| record.kind) {
            Some(ProducerKind::LowLatency) => &self.low_latency,
            Some(ProducerKind::Batching) => &self.batching,
            None => &self.best_effort,
        };
        let appended = self
            .producer(slot)
            .map_err(|error| AppendError::NotAccepted(error.to_string()))
            .and_then(|producer| producer.append(record, in_flight));
        if let (Err(_), Some(record)) = (&appended, in_flight) {
            self.selector.refused(record);
        }
        appended
    }

    pub(super) fn warm_up(&self) -> Result<(), LogError> {
        for slot in self.slots() {
            self.producer(slot)?.warm_up()?;
        }
        Ok(())
    }

    pub(super) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        for producer in self.slots().into_iter().filter_map(Slot::get) {
            producer.flush(deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn slots(&self) -> [&Slot; 3] {
        [&self.low_latency, &self.batching, &self.best_effort]
    }

    fn producer(&self, slot: &Slot) -> Result<Arc<KafkaProducer>, LogError> {
        let is_usable = |producer: &Arc<KafkaProducer>| !producer.is_to_be_replaced();
        if let Some(producer) = slot.get().filter(is_usable) {
            return Ok(producer);
        }
        let mut current = slot
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = current.as_ref().filter(|producer| is_usable(producer)) {
            return Ok(producer.clone());
        }
        let opened = Arc::new(self.open(slot.settings)?);
        if let Some(dead) = current.replace(opened.clone()) {
            // Its records need its delivery reports, which dropping it would purge.
            std::thread::spawn(move || dead.flush(request_timeout()));
        }
        Ok(opened)
    }

    fn open(&self, settings: &[(&str, &str)]) -> Result<KafkaProducer, LogError> {
        let mut config = self.clients.config();
        config
            .set("acks", "all")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
            // A lone record is sent at once; others are batched while two requests are in flight.
            .set("linger.ms", "0")
            .set("max.in.flight.requests.per.connection", "2")
            // Topics are created before orders are sent: one that is missing is reported after a second.
            .set("topic.metadata.propagation.max.ms", "1000")
            .set("queue.buffering.max.messages", "10000")
            .set("queue.buffering.max.kbytes", "16384")
            // As go-orders' producer chooses partitions: both may write the same topic.
            .set("partitioner", "fnv1a_random");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let client = config
            .create_with_context(self.clients.context(self.selector.clone()))
            .map_err(|error| log_error("set up the Kafka producer", &error))?;
        Ok(KafkaProducer {
            client: PolledProducer::new(client, self.runtime.as_ref()),
            is_dead: AtomicBool::new(false),
            opened: Instant::now(),
        })
    }
}

impl Slot {
    fn new(settings: &'static [(&str, &str)]) -> Slot {
        Slot {
            settings,
            producer: RwLock::default(),
        }
    }

    fn get(&self) -> Option<Arc<KafkaProducer>> {
        let producer = self.producer.read();
        producer.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct KafkaProducer {
    client: PolledProducer,
    is_dead: AtomicBool,
    opened: Instant,
}

impl KafkaProducer {
    fn append(
        &self,
        record: NewRecord<'_>,
        in_flight: Option<InFlight>,
    ) -> Result<Ack, AppendError> {
        let (sender, ack) = Ack::pair();
        let pending = Box::new(Pending { sender, in_flight });
        let mut outgoing: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(record.topic, pending).key(record.key);
        if let Some(value) = record.value {
            outgoing = outgoing.payload(value);
        }
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (key, value) in record.headers {
                headers = headers.insert(Header {
                    key,
                    value: Some(*value),
                });
            }
            outgoing = outgoing.headers(headers);
        }
        match self.client.send(outgoing) {
            Ok(()) => Ok(ack),
            Err((error, _)) => Err(self.refused(&error)),
        }
    }

    /// The client refused a record before it left: the record will never be in the log.
    fn refused(&self, error: &KafkaError) -> AppendError {
        let is_fatal = error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal);
        if is_fatal && !self.is_dead.swap(true, Ordering::Relaxed) {
            let reason = self.client.client().fatal_error();
            let reason = reason.map_or_else(|| error.to_string(), |(_, reason)| reason);
            tracing::error!("a kafka producer has failed, replacing it: {reason}");
        }
        append_error(error, true)
    }

    fn is_to_be_replaced(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed) && self.opened.elapsed() >= REPLACEMENT_INTERVAL
    }

    /// Without this the first acknowledgement of an idempotent producer takes up to a second.
    fn warm_up(&self) -> Result<(), LogError> {
        let metadata = self.client.client().fetch_metadata(None, request_timeout());
        metadata.map_err(|error| {
            let connectivity = &self.client.context().connectivity;
            connectivity.explain(log_error("reach Kafka", &error))
        })?;
        Ok(())
    }

    fn flush(&self, timeout: Duration) {
        if let Err(error) = self.client.flush(timeout) {
            tracing::warn!("records were not acknowledged before the flush timeout: {error}");
        }
    }
}
