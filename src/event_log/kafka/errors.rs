//! What the errors of librdkafka mean to this program.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::event_log::{LogError, LogFault};

/// What a failed call means, without any configuration value in the message (`ClientConfig` errors
/// carry them, and they may be passwords).
pub(super) fn log_error(attempt: &str, error: &KafkaError) -> LogError {
    let code = match error {
        // The library does not count these.
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    };
    let reason = match error {
        KafkaError::ClientConfig(_, description, key, _) => {
            return LogError::Refused(format!(
                "could not {attempt}: property `{key}`: {description}"
            ));
        }
        KafkaError::ClientCreation(reason) => {
            return LogError::Refused(format!("could not {attempt}: {reason}"));
        }
        _ => code.map_or_else(|| error.to_string(), |code| code.to_string()),
    };
    by_code(code, format!("could not {attempt}: {reason}"))
}

/// The error of this kind with this message.
pub(super) fn by_code(code: Option<Code>, message: String) -> LogError {
    match code {
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            LogError::NotFound(message)
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidArgument
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::InvalidTopic,
        ) => LogError::Refused(message),
        _ => LogError::Unavailable(message),
    }
}

/// What the failure of a change means. A broker that responds has decided, unless it says that it could
/// not; without its response the change may have happened.
pub(super) fn changed(attempt: &str, code: Code, reason: &str) -> LogError {
    let message = format!("could not {attempt}: {reason}");
    let is_undecided = matches!(
        code,
        Code::RequestTimedOut
            | Code::NotController
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::ThrottlingQuotaExceeded
    );
    // The client's own codes are negative.
    match is_undecided || (code as i32) < 0 {
        true => LogError::Unavailable(message),
        false => LogError::Refused(message),
    }
}

/// What an error event of a reading client means. Corrupt is everything after which librdkafka has
/// moved past a batch without delivering it.
pub(super) fn log_fault(error: &KafkaError) -> LogFault {
    let message = error.to_string();
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return LogFault::Fatal(message);
    }
    match error.rdkafka_error_code() {
        Some(
            Code::AutoOffsetReset
            | Code::OffsetOutOfRange
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId,
        ) => LogFault::Reset(message),
        Some(
            Code::BadMessage
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::BadCompression
            | Code::NotImplemented,
        ) => LogFault::Corrupt(message),
        Some(Code::Fatal | Code::Fenced) => LogFault::Fatal(message),
        _ => LogFault::Transient(message),
    }
}
