//! Appending: one librdkafka producer a durability, its acknowledgements handed to whoever waits.
//!
//! Nothing here blocks on the network: a full queue is refused at once, and every queued record is
//! answered within `message.timeout.ms`. A timeout is "unknown": the broker may have the record.

use super::*;

/// librdkafka gives a record up after this long; the API's deadline is longer by two seconds.
const MESSAGE_TIMEOUT_MS: &str = "5000";

pub(super) struct KafkaProducer(ThreadedProducer<Acknowledging>);

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

impl KafkaLog {
    /// The producer for that durability, made at its first use.
    pub(super) fn producer(&self, durability: Durability) -> Result<&KafkaProducer, LogError> {
        let slot = match durability {
            Durability::Durable => &self.durable,
            Durability::BestEffort => &self.best_effort,
        };
        if let Some(producer) = slot.get() {
            return Ok(producer);
        }
        let made = KafkaProducer::open(self, durability)?;
        // Two threads may race here; the loser's producer has appended nothing.
        Ok(slot.get_or_init(|| made))
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
        config
            .create_with_context(Acknowledging(Connected(log.connection.clone())))
            .map(KafkaProducer)
            .map_err(|error| describe_error("set up the Kafka producer", &error))
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
        match self.0.send(outgoing) {
            Ok(()) => Ok(ack),
            Err((error, _)) => Err(match refusal(&error) {
                // The client refused it before it left: it will never be in the log.
                AppendError::Unknown(reason) => AppendError::NotAccepted(reason),
                sure => sure,
            }),
        }
    }

    /// Without this the first acknowledgement of an idempotent producer takes up to a second.
    pub(super) fn warm_up(&self) -> Result<(), LogError> {
        self.0
            .client()
            .fetch_metadata(None, ANSWER_WITHIN)
            .map(|_| ())
            .map_err(|error| describe_error("reach Kafka", &error))
    }

    pub(super) fn flush(&self, within: Duration) {
        if let Err(error) = self.0.flush(within) {
            tracing::warn!("records were not acknowledged before the end: {error}");
        }
    }
}
