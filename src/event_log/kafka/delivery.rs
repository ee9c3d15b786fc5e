//! The outcome of each record, as the delivery callback of its producer receives it.

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::connectivity::KafkaContext;
use super::producer_selector::{InFlight, ProducerSelector};
use crate::event_log::{AckSender, AppendError, Appended};

/// The context of a producer; its state is the selector that learns what became of each record.
pub(super) type DeliveryContext = KafkaContext<Arc<ProducerSelector>>;

/// Who receives the outcome of a record, and its place in flight where it must be durable.
pub(super) struct Pending {
    pub(super) sender: AckSender,
    pub(super) in_flight: Option<InFlight>,
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let outcome = match result {
            // `acks=all`: every in-sync replica has the record (durable producers).
            Ok(message) => {
                self.connectivity.responded();
                Ok(Appended {
                    partition: message.partition(),
                    offset: Some(message.offset()).filter(|offset| *offset >= 0),
                })
            }
            Err((error, _)) => Err(append_error(error)),
        };
        if let Some(record) = pending.in_flight {
            let (Ok(message) | Err((_, message))) = result;
            let partition = message.partition();
            match outcome {
                Ok(_) => self.state.acknowledged(record, partition),
                // Without a partition it was never sent to a broker.
                Err(AppendError::Unknown(_)) if partition >= 0 => {
                    self.state.unknown_outcome(record, partition);
                }
                Err(_) => self.state.refused(record),
            }
        }
        // Without a receiver the outcome is the same.
        let _ = pending.sender.send(outcome);
    }
}

/// Only what definitely never reached the log is "not accepted"; the rest is unknown.
pub(super) fn append_error(error: &KafkaError) -> AppendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => AppendError::TooLarge(error.to_string()),
        Some(RDKafkaErrorCode::QueueFull) => {
            AppendError::NotAccepted("too many records are waiting for Kafka".into())
        }
        // The broker checks it before it writes anything (`message.timestamp.after.max.ms`).
        Some(RDKafkaErrorCode::InvalidTimestamp) => AppendError::NotAccepted(
            "the broker refuses the record's timestamp: set this host's clock, or the broker's"
                .into(),
        ),
        Some(code) => AppendError::Unknown(code.to_string()),
        None => AppendError::Unknown(error.to_string()),
    }
}
