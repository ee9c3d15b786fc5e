//! Appending: one librdkafka producer a durability, its acknowledgements handed to whoever waits.
//!
//! Nothing here blocks on the network: a full queue is refused at once, and every queued record is
//! answered within `message.timeout.ms`. A timeout is "unknown": the broker may have the record.

use super::*;

/// librdkafka gives a record up after this long; the API's deadline is longer by two seconds.
const MESSAGE_TIMEOUT_MS: &str = "5000";

/// A client with a fatal error refuses every record for ever; one that replaces it gets this long
/// before it is replaced in turn.
const REPLACED_AFTER: Duration = Duration::from_secs(1);

/// The producer of one durability, made at its first use and made anew after a fatal error.
#[derive(Default)]
pub(super) struct Slot(RwLock<Option<Arc<KafkaProducer>>>);

pub(super) struct KafkaProducer {
    client: ThreadedProducer<Acknowledging>,
    dead: AtomicBool,
    made_at: Instant,
}

struct Acknowledging(Connected);

impl ClientContext for Acknowledging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Acknowledging {
    type DeliveryOpaque = Box<AckSender>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<AckSender>) {
        let answer = match result {
            // `acks=all`: every in-sync replica has the record (durable producer).
            Ok(message) => {
                self.0.0.answered();
                Ok(Appended {
                    partition: message.partition(),
                    offset: Some(message.offset()).filter(|offset| *offset >= 0),
                })
            }
            Err((error, _)) => Err(refusal(error)),
        };
        // Nobody waits any more: the record's fate is the same.
        let _ = waiting.send(answer);
    }
}

/// Only what surely never reached the log is "not accepted"; the rest is unknown.
fn refusal(error: &KafkaError) -> AppendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => AppendError::TooLarge(error.to_string()),
        Some(RDKafkaErrorCode::QueueFull) => {
            AppendError::NotAccepted("too many records are waiting for Kafka".into())
        }
        Some(code) => AppendError::Unknown(code.to_string()),
        None => AppendError::Unknown(error.to_string()),
    }
}

impl Slot {
    pub(super) fn get(&self) -> Option<Arc<KafkaProducer>> {
        let slot = self.0.read();
        slot.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl KafkaLog {
    /// The producer for that durability.
    pub(super) fn producer(&self, durability: Durability) -> Result<Arc<KafkaProducer>, LogError> {
        let slot = match durability {
            Durability::Durable => &self.durable,
            Durability::BestEffort => &self.best_effort,
        };
        if let Some(producer) = slot.get().filter(|producer| !producer.is_to_be_replaced()) {
            return Ok(producer);
        }
        let mut held = slot.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = held
            .as_ref()
            .filter(|producer| !producer.is_to_be_replaced())
        {
            return Ok(producer.clone());
        }
        let made = Arc::new(KafkaProducer::open(self, durability)?);
        if let Some(dead) = held.replace(made.clone()) {
            // Its records are answered by its own delivery reports, which dropping it would purge.
            std::thread::spawn(move || dead.flush(ANSWER_WITHIN));
        }
        Ok(made)
    }
}

impl KafkaProducer {
    fn open(log: &KafkaLog, durability: Durability) -> Result<KafkaProducer, LogError> {
        let mut config = log.base.clone();
        config
            .set("acks", "all")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
            // Alone a record leaves at once; under load two requests in flight batch by themselves.
            .set("linger.ms", "0")
            .set("max.in.flight.requests.per.connection", "2")
            .set("queue.buffering.max.messages", "10000")
            .set("queue.buffering.max.kbytes", "32768")
            // As go-orders' producer chooses partitions: both may write the same topic.
            .set("partitioner", "fnv1a_random");
        if durability == Durability::Durable {
            config.set("enable.idempotence", "true");
        } else {
            config.set("acks", "1");
        }
        let client = config
            .create_with_context(Acknowledging(Connected(log.connection.clone())))
            .map_err(|error| describe_error("set up the Kafka producer", &error))?;
        Ok(KafkaProducer {
            client,
            dead: AtomicBool::new(false),
            made_at: Instant::now(),
        })
    }

    /// What a refused record means, for it and for this producer.
    fn examine(&self, error: &KafkaError) -> AppendError {
        let is_fatal = error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal);
        if is_fatal && !self.dead.swap(true, Ordering::Relaxed) {
            let reason = self.client.client().fatal_error();
            let reason = reason.map_or_else(|| error.to_string(), |(_, reason)| reason);
            tracing::error!("the Kafka producer is dead, making another: {reason}");
        }
        refusal(error)
    }

    fn is_to_be_replaced(&self) -> bool {
        self.dead.load(Ordering::Relaxed) && self.made_at.elapsed() >= REPLACED_AFTER
    }

    pub(super) fn append(&self, record: NewRecord<'_>) -> Result<Ack, AppendError> {
        let (sender, ack) = Ack::pair();
        let mut outgoing: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(record.topic, Box::new(sender)).key(record.key);
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
            Err((error, _)) => Err(match self.examine(&error) {
                // The client refused it before it left: it will never be in the log.
                AppendError::Unknown(reason) => AppendError::NotAccepted(reason),
                sure => sure,
            }),
        }
    }

    /// Without this the first acknowledgement of an idempotent producer takes up to a second.
    pub(super) fn warm_up(&self) -> Result<(), LogError> {
        self.client
            .client()
            .fetch_metadata(None, ANSWER_WITHIN)
            .map(|_| ())
            .map_err(|error| describe_error("reach Kafka", &error))
    }

    pub(super) fn flush(&self, within: Duration) {
        if let Err(error) = self.client.flush(within) {
            tracing::warn!("records were not acknowledged before the end: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_that_died_for_good_is_replaced_and_orders_are_taken_again() {
        let cluster = MockCluster::new(1).expect("a mock cluster starts");
        cluster
            .create_topic("orders", 1, 1)
            .expect("the topic is made");
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::InitProducerId, &[refused]);
        let log = KafkaLog::open(&cluster.bootstrap_servers(), &[]).expect("the log opens");
        let record = NewRecord {
            topic: "orders",
            key: b"a",
            value: Some(b"{}"),
            headers: &[],
        };
        let append = || log.append(Durability::Durable, record)?.wait();

        let first = append();
        assert!(first.is_err(), "the producer was to die: {first:?}");
        let until = Instant::now() + Duration::from_secs(20);
        while let Err(error) = append() {
            assert!(Instant::now() < until, "still dead: {error}");
            std::thread::yield_now();
        }
    }
}
