//! CreateTopics and CreatePartitions with the broker's own reason, which rdkafka's safe interface drops.
//!
//! Every native object made here is destroyed here by a guard; what leaves are plain values.

#![expect(unsafe_code, reason = "the safe client has no interface for this")]

use std::ffi::{CString, c_char};

use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as native;

use super::CHANGE_TIMEOUT;
use super::describe_topics::{Guard, text};
use super::errors::changed;
use crate::event_log::{LogError, TopicSpec};

const CHANGE_TIMEOUT_MS: i32 = CHANGE_TIMEOUT.as_millis() as i32;

/// What became of one topic: the broker's code and its reason.
type Outcome = (String, Result<(), (RDKafkaErrorCode, String)>);

/// Creates topics; one that exists by then is left as it is. Blocks up to 30 s.
pub(super) fn create<C: ClientContext>(
    client: &Client<C>,
    wanted: &[TopicSpec],
) -> Result<(), LogError> {
    let mut topics = Vec::with_capacity(wanted.len());
    for spec in wanted {
        topics.push(NewTopic::new(spec)?);
    }
    let mut pointers: Vec<_> = topics.iter().map(|topic| topic.0).collect();
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS;
    let outcomes = request(
        client,
        operation,
        "create topics",
        |client, options, queue| {
            // SAFETY: `topics` outlives the call, which copies them.
            unsafe {
                native::rd_kafka_CreateTopics(
                    client,
                    pointers.as_mut_ptr(),
                    pointers.len(),
                    options,
                    queue,
                );
            }
        },
    )?;
    for (topic, outcome) in outcomes {
        match outcome {
            Ok(()) | Err((RDKafkaErrorCode::TopicAlreadyExists, _)) => {}
            Err((code, reason)) => {
                return Err(changed(&format!("create topic `{topic}`"), code, &reason));
            }
        }
    }
    Ok(())
}

/// Grows a topic. Blocks up to 30 s.
pub(super) fn grow<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partitions: i32,
) -> Result<(), LogError> {
    let attempt = format!("grow topic `{topic}` to {partitions} partitions");
    let name = c_string(topic)?;
    let mut reason = [0; 256];
    // SAFETY: the name outlives the call; the guard destroys what was made.
    let wanted = unsafe {
        let total = usize::try_from(partitions).unwrap_or_default();
        native::rd_kafka_NewPartitions_new(name.as_ptr(), total, reason.as_mut_ptr(), reason.len())
    };
    if wanted.is_null() {
        return Err(refused(&attempt, &reason));
    }
    // SAFETY: made above, and destroyed here only.
    let _wanted = Guard(|| unsafe { native::rd_kafka_NewPartitions_destroy(wanted) });
    let mut pointers = [wanted];
    let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS;
    let outcomes = request(client, operation, &attempt, |client, options, queue| {
        // SAFETY: `wanted` outlives the call, which copies it.
        unsafe {
            native::rd_kafka_CreatePartitions(client, pointers.as_mut_ptr(), 1, options, queue);
        }
    })?;
    outcomes
        .into_iter()
        .try_for_each(|(_, outcome)| outcome)
        .map_err(|(code, reason)| changed(&attempt, code, &reason))
}

/// A native topic to create.
struct NewTopic(*mut native::rd_kafka_NewTopic_t);

impl Drop for NewTopic {
    fn drop(&mut self) {
        // SAFETY: made in `new` and destroyed here only.
        unsafe { native::rd_kafka_NewTopic_destroy(self.0) }
    }
}

impl NewTopic {
    fn new(spec: &TopicSpec) -> Result<NewTopic, LogError> {
        let attempt = format!("create topic `{}`", spec.name);
        let name = c_string(&spec.name)?;
        let mut reason = [0; 256];
        // SAFETY: librdkafka copies the name and the settings during the calls.
        unsafe {
            let topic = native::rd_kafka_NewTopic_new(
                name.as_ptr(),
                spec.partitions,
                spec.replication_factor,
                reason.as_mut_ptr(),
                reason.len(),
            );
            if topic.is_null() {
                return Err(refused(&attempt, &reason));
            }
            let topic = NewTopic(topic);
            for (key, value) in &spec.settings {
                let (key, value) = (c_string(key)?, c_string(value)?);
                native::rd_kafka_NewTopic_set_config(topic.0, key.as_ptr(), value.as_ptr());
            }
            Ok(topic)
        }
    }
}

/// Sends a request by `send`, and waits for the outcome of each topic.
fn request<C: ClientContext>(
    client: &Client<C>,
    operation: native::rd_kafka_admin_op_t,
    attempt: &str,
    send: impl FnOnce(
        *mut native::rd_kafka_t,
        *const native::rd_kafka_AdminOptions_t,
        *mut native::rd_kafka_queue_t,
    ),
) -> Result<Vec<Outcome>, LogError> {
    let unavailable =
        |reason: &str| LogError::Unavailable(format!("could not {attempt}: {reason}"));
    let client = client.native_ptr();
    // SAFETY: `client` is live as long as it is borrowed; queue, options and event live until their
    // guards are dropped, after the outcomes are copied out of the event.
    unsafe {
        let queue = native::rd_kafka_queue_new(client);
        let _queue = Guard(|| native::rd_kafka_queue_destroy(queue));
        let options = native::rd_kafka_AdminOptions_new(client, operation);
        let _options = Guard(|| native::rd_kafka_AdminOptions_destroy(options));
        let mut reason = [0; 256];
        for set in [
            native::rd_kafka_AdminOptions_set_request_timeout,
            native::rd_kafka_AdminOptions_set_operation_timeout,
        ] {
            set(
                options,
                CHANGE_TIMEOUT_MS,
                reason.as_mut_ptr(),
                reason.len(),
            );
        }
        send(client, options, queue);
        let event = native::rd_kafka_queue_poll(queue, CHANGE_TIMEOUT_MS + 500);
        if event.is_null() {
            return Err(unavailable("no response in time"));
        }
        let _event = Guard(|| native::rd_kafka_event_destroy(event));
        let code = native::rd_kafka_event_error(event);
        if code != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let reason = text(native::rd_kafka_event_error_string(event));
            return Err(changed(attempt, code.into(), &reason));
        }
        let mut count = 0;
        let created = native::rd_kafka_event_CreateTopics_result(event);
        let grown = native::rd_kafka_event_CreatePartitions_result(event);
        let topics = if !created.is_null() {
            native::rd_kafka_CreateTopics_result_topics(created, &mut count)
        } else if !grown.is_null() {
            native::rd_kafka_CreatePartitions_result_topics(grown, &mut count)
        } else {
            return Err(unavailable("unexpected response"));
        };
        Ok((0..count)
            .map(|index| outcome(*topics.add(index)))
            .collect())
    }
}

/// # Safety
/// `topic` must belong to a live result.
unsafe fn outcome(topic: *const native::rd_kafka_topic_result_t) -> Outcome {
    // SAFETY: as the caller promises; what the accessors return is copied.
    unsafe {
        let name = text(native::rd_kafka_topic_result_name(topic));
        let code = native::rd_kafka_topic_result_error(topic);
        let outcome = if code == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(())
        } else {
            let reason = native::rd_kafka_topic_result_error_string(topic);
            Err((code.into(), text(reason)))
        };
        (name, outcome)
    }
}

fn c_string(text: &str) -> Result<CString, LogError> {
    CString::new(text)
        .map_err(|_| LogError::Refused(format!("`{}` holds a NUL", text.escape_debug())))
}

/// What librdkafka refuses before it sends anything.
fn refused(attempt: &str, reason: &[c_char]) -> LogError {
    // SAFETY: librdkafka ends the text with a NUL inside the buffer.
    let reason = unsafe { text(reason.as_ptr()) };
    LogError::Refused(format!("could not {attempt}: {reason}"))
}
