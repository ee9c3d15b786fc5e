//! Whether the log may have a record that was not acknowledged, as librdkafka knows it.

#![expect(unsafe_code, reason = "the safe client has no interface for this")]

use rdkafka::message::BorrowedMessage;
use rdkafka_sys as native;

/// Whether a record was never sent to a broker, or only to brokers that refused to write it. One that
/// was once sent without a response is never counted as such, whatever happened to it later.
///
/// Only for the message of a delivery report.
pub(super) fn is_not_persisted(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is live while it is borrowed, and a producer's message as the caller promises.
    let status = unsafe { native::rd_kafka_message_status(message.ptr()) };
    status == native::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}
