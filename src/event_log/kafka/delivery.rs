//! The outcome of each record, as the delivery callback of its producer receives it.

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::connectivity::KafkaContext;
use super::message_status::is_not_persisted;
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
            Err((error, message)) => Err(append_error(error, is_not_persisted(message))),
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

/// Only what definitely is not in the log is refused or "not accepted"; the rest is unknown.
pub(super) fn append_error(error: &KafkaError, is_not_persisted: bool) -> AppendError {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
    match code {
        Some(Code::MessageSizeTooLarge) => AppendError::TooLarge(reason),
        Some(Code::QueueFull) => {
            AppendError::NotAccepted("too many records are waiting for Kafka".into())
        }
        // The broker checks it before it writes anything (`message.timestamp.after.max.ms`).
        Some(Code::InvalidTimestamp) => AppendError::Timestamp(
            "this host's clock and the broker's differ by more than the topic allows: set the one \
             that is wrong"
                .into(),
        ),
        _ if !is_not_persisted => AppendError::Unknown(reason),
        Some(code) if may_follow_a_write(code) => AppendError::Unknown(reason),
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            AppendError::NoTopic(reason)
        }
        _ => AppendError::NotAccepted(reason),
    }
}

/// Whether a broker may give this reason although it has written the record. librdkafka takes every
/// reason it does not know for a refusal, but a broker whose disk is full answers `UNKNOWN_SERVER_ERROR`
/// when it fails at the index after the record, and the record is still there when it restarts. So only
/// what brokers check before they write counts as a refusal (`ReplicaManager.appendRecords` and
/// `UnifiedLog.analyzeAndValidateRecords` of Kafka), and what librdkafka itself says.
fn may_follow_a_write(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    let is_of_the_client = (code as i32) < Code::Unknown as i32;
    let is_checked_before_writing = matches!(
        code,
        Code::InvalidMessage
            | Code::UnknownTopicOrPartition
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::InvalidTopic
            | Code::MessageBatchTooLarge
            | Code::NotEnoughReplicas
            | Code::InvalidRequiredAcks
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnsupportedVersion
            | Code::UnsupportedForMessageFormat
            | Code::PolicyViolation
            | Code::InvalidProducerEpoch
            | Code::UnsupportedCompressionType
            | Code::InvalidRecord
    );
    !is_of_the_client && !is_checked_before_writing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_refused_and_a_missing_topic_is_told_apart() {
        let error = |code, is_not_persisted| {
            append_error(&KafkaError::MessageProduction(code), is_not_persisted)
        };
        use RDKafkaErrorCode as Code;
        for code in [
            Code::UnknownTopic,
            Code::MessageTimedOut,
            Code::OperationTimedOut,
        ] {
            assert!(
                matches!(error(code, false), AppendError::Unknown(_)),
                "{code}"
            );
        }
        for code in [Code::Unknown, Code::KafkaStorageError] {
            // librdkafka's word against what brokers do: they fail after the write, too.
            let failed = error(code, true);
            assert!(matches!(failed, AppendError::Unknown(_)), "{failed}");
        }
        let missing = error(Code::UnknownTopicOrPartition, true);
        assert!(matches!(missing, AppendError::NoTopic(_)), "{missing}");
        for code in [Code::MessageTimedOut, Code::TopicAuthorizationFailed] {
            let refused = error(code, true);
            assert!(matches!(refused, AppendError::NotAccepted(_)), "{refused}");
        }
    }
}
