//! DescribeTopics, which rdkafka's safe interface lacks: topic ids (KIP-516) and partition counts.
//!
//! Every native object made here is destroyed here by a guard; what leaves are plain values. A broker
//! older than 2.8 reports a zero id, which becomes an unknown [`TopicId`].

#![expect(unsafe_code, reason = "the safe client has no interface for this")]

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as native;

use super::errors::by_code;
use super::request_timeout;
use crate::event_log::LogError;
use crate::pipeline::TopicId;

/// One topic as the cluster describes it.
pub(super) struct Described {
    pub(super) id: TopicId,
    pub(super) partitions: i32,
    pub(super) replicas: i32,
}

/// Runs its closure when it goes out of scope.
pub(super) struct Guard<F: FnMut()>(pub(super) F);

impl<F: FnMut()> Drop for Guard<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A request that was sent; others may be sent before its response is received.
pub(super) struct Request<'client> {
    responses: *mut native::rd_kafka_queue_t,
    client: PhantomData<&'client ()>,
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `send` and destroyed here only. A response that comes later is dropped.
        unsafe { native::rd_kafka_queue_destroy(self.responses) }
    }
}

/// Requests the description of topics over `client`; does not block.
pub(super) fn send<'client, C: ClientContext>(
    client: &'client Client<C>,
    topics: &[&str],
) -> Result<Request<'client>, LogError> {
    let names: Vec<CString> = topics
        .iter()
        .map(|name| CString::new(*name))
        .collect::<Result<_, _>>()
        .map_err(|_| LogError::Refused(failure("a topic name holds a NUL")))?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let client = client.native_ptr();

    // SAFETY: `client` is live as long as it is borrowed; librdkafka copies the names and the
    // options during the call, and the request keeps the queue until it is dropped.
    unsafe {
        let request = Request {
            responses: native::rd_kafka_queue_new(client),
            client: PhantomData,
        };
        let collection =
            native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let _collection = Guard(|| native::rd_kafka_TopicCollection_destroy(collection));
        let options = native::rd_kafka_AdminOptions_new(
            client,
            native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        let _options = Guard(|| native::rd_kafka_AdminOptions_destroy(options));
        let mut reason = [0; 256];
        native::rd_kafka_AdminOptions_set_request_timeout(
            options,
            request_timeout_ms(),
            reason.as_mut_ptr(),
            reason.len(),
        );
        native::rd_kafka_DescribeTopics(client, collection, options, request.responses);
        Ok(request)
    }
}

impl Request<'_> {
    /// The topics in the order of the request, `None` for one that does not exist. Blocks for at most
    /// 5.5 s.
    pub(super) fn receive(self) -> Result<Vec<Option<Described>>, LogError> {
        let unavailable = |reason: &str| LogError::Unavailable(failure(reason));
        // SAFETY: the queue lives as long as `self`; the result's parts are borrowed from `event`,
        // whose guard is dropped after they are read.
        unsafe {
            let event = native::rd_kafka_queue_poll(self.responses, request_timeout_ms() + 500);
            if event.is_null() {
                return Err(unavailable("no response in time"));
            }
            let _event = Guard(|| native::rd_kafka_event_destroy(event));
            if native::rd_kafka_event_error(event)
                != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let reason = text(native::rd_kafka_event_error_string(event));
                return Err(unavailable(&reason));
            }
            let result = native::rd_kafka_event_DescribeTopics_result(event);
            if result.is_null() {
                return Err(unavailable("unexpected response"));
            }
            let mut count = 0;
            let topics = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            (0..count).map(|index| read(*topics.add(index))).collect()
        }
    }
}

/// # Safety
/// `topic` must belong to a live DescribeTopics result.
unsafe fn read(
    topic: *const native::rd_kafka_TopicDescription_t,
) -> Result<Option<Described>, LogError> {
    use native::rd_kafka_resp_err_t as Code;
    // SAFETY: as the caller promises; what the accessors return is borrowed from `topic`.
    unsafe {
        let error = native::rd_kafka_TopicDescription_error(topic);
        match native::rd_kafka_error_code(error) {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return Ok(None),
            code => {
                let message = failure(&text(native::rd_kafka_error_string(error)));
                return Err(by_code(Some(code.into()), message));
            }
        }
        let mut partitions = 0;
        let list = native::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let mut replicas = 0;
        if partitions > 0 {
            native::rd_kafka_TopicPartitionInfo_replicas(*list, &mut replicas);
        }
        Ok(Some(Described {
            id: topic_id(native::rd_kafka_TopicDescription_topic_id(topic)),
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            replicas: i32::try_from(replicas).unwrap_or(i32::MAX),
        }))
    }
}

/// # Safety
/// `id` must be null or a live uuid.
unsafe fn topic_id(id: *const native::rd_kafka_Uuid_t) -> TopicId {
    if id.is_null() {
        return TopicId::default();
    }
    // SAFETY: as the caller promises; the string is owned by the uuid and copied here.
    unsafe {
        let bits = native::rd_kafka_Uuid_most_significant_bits(id)
            | native::rd_kafka_Uuid_least_significant_bits(id);
        if bits == 0 {
            return TopicId::default();
        }
        text(native::rd_kafka_Uuid_base64str(id)).into()
    }
}

/// # Safety
/// `pointer` must be null or a live C string.
pub(super) unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return "no reason given".into();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

fn request_timeout_ms() -> i32 {
    i32::try_from(request_timeout().as_millis()).unwrap_or(i32::MAX)
}

fn failure(reason: &str) -> String {
    format!("could not describe topics: {reason}")
}
