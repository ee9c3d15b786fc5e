//! Appending: librdkafka's producers, and their acknowledgements handed to whoever waits.
//!
//! Nothing here blocks on the network: a full queue is refused at once, and every queued record is
//! answered within `message.timeout.ms`. A timeout is "unknown": the broker may have the record. There
//! are two producers for what must be durable, see `ways`, and one for what may be lost.

use super::delivery_reports::Polled;
use super::ways::{Passage, Way, Ways};
use super::*;

/// librdkafka gives a record up after this long; the API's deadline is longer by two seconds.
const MESSAGE_TIMEOUT_MS: &str = "5000";

/// A client with a fatal error refuses every record for ever; one that replaces it gets this long
/// before it is replaced in turn.
const REPLACED_AFTER: Duration = Duration::from_secs(1);

/// How long a crowd's records are gathered.
const GATHER_MS: &str = "2";

/// The producers of a log, and which of them an order goes by.
#[derive(Default)]
pub(super) struct Producers {
    prompt: Slot,
    gathering: Slot,
    best_effort: Slot,
    pub(super) ways: Arc<Ways>,
}

impl Producers {
    fn slot(&self, kind: Kind) -> &Slot {
        match kind {
            Kind::Durable(Way::Prompt) => &self.prompt,
            Kind::Durable(Way::Gathering) => &self.gathering,
            Kind::BestEffort => &self.best_effort,
        }
    }
}

/// What a producer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Durable(Way),
    BestEffort,
}

/// One producer, made at its first use and made anew after a fatal error.
#[derive(Default)]
struct Slot(RwLock<Option<Arc<KafkaProducer>>>);

struct KafkaProducer {
    client: Polled<Acknowledging>,
    dead: AtomicBool,
    made_at: Instant,
}

struct Acknowledging {
    connected: Connected,
    ways: Arc<Ways>,
}

impl ClientContext for Acknowledging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.connected.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connected.error(error, reason);
    }
}

/// Who is told what became of a record, and its passage where it must be durable.
struct Waiting {
    sender: AckSender,
    passage: Option<Passage>,
}

impl ProducerContext for Acknowledging {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<Waiting>) {
        let answer = match result {
            // `acks=all`: every in-sync replica has the record (durable producers).
            Ok(message) => {
                self.connected.connection.answered();
                Ok(Appended {
                    partition: message.partition(),
                    offset: Some(message.offset()).filter(|offset| *offset >= 0),
                })
            }
            Err((error, _)) => Err(refusal(error)),
        };
        if let Some(passage) = waiting.passage {
            let (Ok(message) | Err((_, message))) = result;
            self.leave(passage, &answer, message.partition());
        }
        // Nobody waits any more: the record's fate is the same.
        let _ = waiting.sender.send(answer);
    }
}

impl Acknowledging {
    fn leave(&self, passage: Passage, answer: &Result<Appended, AppendError>, partition: i32) {
        match answer {
            Ok(_) => self.ways.acknowledged(passage, partition),
            // Without a partition it was never sent to a broker.
            Err(AppendError::Unknown(_)) if partition >= 0 => self.ways.doubted(passage, partition),
            Err(_) => self.ways.refused(passage),
        }
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

fn tend(producer: &BaseProducer<Acknowledging>) {
    let lifeline = &producer.context().connected.lifeline;
    lifeline.hold(producer.client());
}

impl Slot {
    fn get(&self) -> Option<Arc<KafkaProducer>> {
        let slot = self.0.read();
        slot.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl KafkaLog {
    /// Hands a record to the producer it goes by. An error means that no client has it.
    pub(super) fn hand_over(
        &self,
        durability: Durability,
        record: NewRecord<'_>,
    ) -> Result<Ack, AppendError> {
        let ways = &self.producers.ways;
        let passage = match durability {
            Durability::Durable => Some(ways.enter(record.key)),
            Durability::BestEffort => None,
        };
        let kind = passage.map_or(Kind::BestEffort, |passage| Kind::Durable(passage.way));
        let producer = self.producer(kind);
        let appended = producer
            .map_err(|error| AppendError::NotAccepted(error.to_string()))
            .and_then(|producer| producer.append(record, passage));
        if let (Err(_), Some(passage)) = (&appended, passage) {
            ways.refused(passage);
        }
        appended
    }

    pub(super) fn warm_up_producers(&self, durability: Durability) -> Result<(), LogError> {
        match durability {
            Durability::Durable => {
                self.producer(Kind::Durable(Way::Prompt))?.warm_up()?;
                self.producer(Kind::Durable(Way::Gathering))?.warm_up()
            }
            Durability::BestEffort => self.producer(Kind::BestEffort)?.warm_up(),
        }
    }

    pub(super) fn flush_producers(&self, within: Duration) {
        let until = Instant::now() + within;
        let Producers {
            prompt,
            gathering,
            best_effort,
            ..
        } = &self.producers;
        for producer in [prompt, gathering, best_effort]
            .map(Slot::get)
            .iter()
            .flatten()
        {
            producer.flush(until.saturating_duration_since(Instant::now()));
        }
    }

    fn producer(&self, kind: Kind) -> Result<Arc<KafkaProducer>, LogError> {
        let slot = self.producers.slot(kind);
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
        let made = Arc::new(KafkaProducer::open(self, kind)?);
        if let Some(dead) = held.replace(made.clone()) {
            // Its records are answered by its own delivery reports, which dropping it would purge.
            std::thread::spawn(move || dead.flush(ANSWER_WITHIN));
        }
        Ok(made)
    }
}

impl KafkaProducer {
    fn open(log: &KafkaLog, kind: Kind) -> Result<KafkaProducer, LogError> {
        let mut config = log.base.clone();
        config
            .set("acks", "all")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
            // Alone a record leaves at once; two requests in flight batch by themselves.
            .set("linger.ms", "0")
            .set("max.in.flight.requests.per.connection", "2")
            .set("queue.buffering.max.messages", "10000")
            .set("queue.buffering.max.kbytes", "16384")
            // As go-orders' producer chooses partitions: both may write the same topic.
            .set("partitioner", "fnv1a_random");
        match kind {
            Kind::Durable(Way::Prompt) => config.set("enable.idempotence", "true"),
            Kind::Durable(Way::Gathering) => config
                .set("enable.idempotence", "true")
                .set("linger.ms", GATHER_MS),
            Kind::BestEffort => config.set("acks", "1"),
        };
        let context = Acknowledging {
            connected: log.connected(),
            ways: log.producers.ways.clone(),
        };
        let client = config
            .create_with_context(context)
            .map_err(|error| describe_error("set up the Kafka producer", &error))?;
        Ok(KafkaProducer {
            client: Polled::new(client, tend),
            dead: AtomicBool::new(false),
            made_at: Instant::now(),
        })
    }

    /// What a refused record means, for it and for this producer.
    fn examine(&self, error: &KafkaError) -> AppendError {
        let is_fatal = error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal);
        if is_fatal && !self.dead.swap(true, Ordering::Relaxed) {
            let reason = self.client.producer().client().fatal_error();
            let reason = reason.map_or_else(|| error.to_string(), |(_, reason)| reason);
            tracing::error!("the Kafka producer is dead, making another: {reason}");
        }
        refusal(error)
    }

    fn is_to_be_replaced(&self) -> bool {
        self.dead.load(Ordering::Relaxed) && self.made_at.elapsed() >= REPLACED_AFTER
    }

    fn append(&self, record: NewRecord<'_>, passage: Option<Passage>) -> Result<Ack, AppendError> {
        let (sender, ack) = Ack::pair();
        let waiting = Box::new(Waiting { sender, passage });
        let mut outgoing: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(record.topic, waiting).key(record.key);
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
        match self.client.producer().send(outgoing) {
            Ok(()) => Ok(ack),
            Err((error, _)) => Err(match self.examine(&error) {
                // The client refused it before it left: it will never be in the log.
                AppendError::Unknown(reason) => AppendError::NotAccepted(reason),
                sure => sure,
            }),
        }
    }

    /// Without this the first acknowledgement of an idempotent producer takes up to a second.
    fn warm_up(&self) -> Result<(), LogError> {
        let client = self.client.producer().client();
        client
            .fetch_metadata(None, ANSWER_WITHIN)
            .map(|_| ())
            .map_err(|error| describe_error("reach Kafka", &error))
    }

    fn flush(&self, within: Duration) {
        if let Err(error) = self.client.producer().flush(within) {
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
