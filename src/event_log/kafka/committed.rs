//! The offsets that a group has committed.
//!
//! Those of this program carry [`METADATA`]. kafka-consumer-groups and other consumers write none, so
//! an offset that an operator has reset is told apart from one that is a moment old.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{Clients, drop_in_background, offset_list, partition_list};
use super::connectivity::KafkaContext;
use super::errors::log_error;
use super::request_timeout;
use crate::event_log::{Committed, LogError};
use crate::pipeline::PartitionOffset;

/// Stored with each offset; `kafka-consumer-groups` does not show it.
const METADATA: &str = "orders";

/// The offsets to commit.
pub(super) fn list(
    topic: &str,
    offsets: &[PartitionOffset],
) -> Result<TopicPartitionList, LogError> {
    let list = offset_list(topic, offsets)?;
    for at in offsets {
        if let Some(mut element) = list.find_partition(topic, at.partition) {
            element.set_metadata(METADATA);
        }
    }
    Ok(list)
}

/// Reads the offsets of the first `partitions` partitions by a fresh client, which does not join the
/// group; those without an offset are left out.
pub(super) fn read(
    clients: &Clients,
    group: &str,
    topic: &str,
    partitions: i32,
) -> Result<BTreeMap<i32, Committed>, LogError> {
    let failed = |error: KafkaError| log_error(&format!("read offsets of group `{group}`"), &error);
    let wanted = (0..partitions.max(0)).map(|partition| (partition, Offset::Invalid));
    let wanted: Vec<_> = wanted.collect();
    let wanted = partition_list(topic, wanted.into_iter())?;
    let client: BaseConsumer<KafkaContext> = clients
        .reader_config(group, &[])
        .create_with_context(clients.context(()))
        .map_err(failed)?;
    let read = client.committed_offsets(wanted, request_timeout());
    drop_in_background(client);
    let read = read.map_err(failed)?;
    let committed = read.elements().into_iter().filter_map(|element| {
        let Offset::Offset(offset) = element.offset() else {
            return None;
        };
        // Metadata of another program that is not UTF-8 makes this call panic.
        let is_reported = catch_unwind(AssertUnwindSafe(|| element.metadata() == METADATA));
        let is_reported = is_reported.unwrap_or(false);
        let committed = Committed {
            offset,
            is_reported,
        };
        Some((element.partition(), committed))
    });
    Ok(committed.collect())
}
